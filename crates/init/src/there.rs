//! What a repository has that decides what adopting it takes.

use std::path::{Path, PathBuf};

use monoship_core::collect::Collect as _;
use monoship_core::error::{Result, read_text};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::SortedSet;
use monoship_workspace::Workspace;
use monoship_workspace::git::Git;

use super::{ignore, variables};

/// What of the repository decides the steps.
#[derive(Default)]
pub(super) struct There {
    pub root: PathBuf,
    /// The files that git tracks or would track.
    pub files: Vec<String>,
    /// `owner/name`, where the git remote is on GitHub.
    pub repository: Option<String>,
}

impl There {
    pub fn read(root: &Path, shutdown: &Shutdown) -> Result<Self> {
        let git = Git::at(root, shutdown);
        let tree = git.worktree()?;
        let files = tree.files().iter().map(|file| file.path.to_string()).into_vec();
        let remote = git.remote()?.filter(|remote| remote.host == "github.com");
        let repository = remote.map(|remote| format!("{}/{}", remote.owner, remote.name));
        Ok(Self { root: root.to_owned(), files, repository })
    }

    pub fn paths(&self) -> Vec<&str> {
        self.files.iter().map(String::as_str).into_vec()
    }

    /// The ignore file, and what it leaves out.
    pub fn ignore(&self, name: &str) -> Result<(String, Vec<(String, &str)>)> {
        let paths = self.paths();
        // The root's is everybody's, not a build's, unless a bundler's settings say that theirs lies elsewhere (Vite's `envDir`).
        let is_settings = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.contains(".config."));
        let says = |path: &str| self.text(path).is_ok_and(|text| text.is_some_and(|text| text.contains("envDir")));
        let is_apart = paths.iter().copied().filter(is_settings).any(says);
        let is_named = |path: &str| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            [".env", ".env.production"].contains(&name) && (is_apart || !folder.is_empty())
        };
        let is_public = |path: &str| self.text(path).is_ok_and(|text| text.is_some_and(|text| variables::is_public(&text)));
        let is_certificate = |path: &str| {
            let may_be = [".pem", ".key"].iter().any(|end| path.ends_with(end));
            may_be && self.text(path).is_ok_and(|text| text.is_some_and(|text| ignore::is_certificate(&text)))
        };
        let is_for_all = |path: &&str| is_named(path) && is_public(path) || is_certificate(path);
        let public: Vec<&str> = paths.iter().copied().filter(is_for_all).into_vec();
        ignore::text(&paths, name, self.has_own_rust(name), &public)
    }

    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let path = self.root.join(path);
        if path.exists() { read_text(&path).map(Some) } else { Ok(None) }
    }

    /// The folders of Rust packages and workspaces, but for the root.
    pub fn crates(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.strip_suffix("/Cargo.toml"))
    }

    /// True where somebody else than the crate `name` needs cargo's files.
    pub fn has_own_rust(&self, name: &str) -> bool {
        self.crates().any(|folder| folder != name)
    }

    /// The top folders in which crates lie, or will: those of pnpm's packages too.
    pub fn apart(&self, workspace: &Workspace, name: &str) -> Vec<String> {
        let packages = workspace.packages().iter().map(|package| package.dir.as_str()).filter(|dir| *dir != ".");
        let top = |dir: &str| dir.split('/').next().unwrap_or(dir).to_owned();
        let tops: SortedSet<String> = packages.chain(self.crates()).map(top).filter(|top| top != name).into_set();
        tops.into_iter().into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_environment_is_a_builds_where_settings_say_so() {
        let root = tempfile::tempdir().unwrap();
        let files = [(".env.production", "VITE_A=1\n"), (".env", "SECRET=1\n"), ("apps/a/vite.config.ts", "export default {}\n")];
        let put = |(path, text): (&str, &str)| {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        files.into_iter().for_each(put);
        let files = files.iter().map(|(path, _)| (*path).to_owned()).into_vec();
        let there = There { root: root.path().to_owned(), files, repository: None };
        assert!(!there.ignore("xtask").unwrap().0.contains("!.env"));
        put(("apps/a/vite.config.ts", "export default { envDir: '../..' }\n"));
        assert!(there.ignore("xtask").unwrap().0.ends_with("\n!.env.production\n"));
    }

    #[test]
    fn certificates_and_public_keys_that_git_has_reach_a_build_and_private_keys_do_not() {
        let root = tempfile::tempdir().unwrap();
        let block = |label: &str| format!("-----BEGIN {label}-----\nMA==\n-----END {label}-----\n");
        let both = block("CERTIFICATE") + &block("EC PRIVATE KEY");
        let files = [
            ("ca.pem", format!("# Amazon\n{0}{0}", block("CERTIFICATE"))),
            ("jwt.key", block("PUBLIC KEY")),
            ("server.pem", both),
            ("server.key", block("PRIVATE KEY")),
            ("empty.pem", String::new()),
        ];
        files.iter().for_each(|(path, text)| std::fs::write(root.path().join(path), text).unwrap());
        let files = files.iter().map(|(path, _)| (*path).to_owned()).into_vec();
        let there = There { root: root.path().to_owned(), files, repository: None };
        assert!(there.ignore("xtask").unwrap().0.ends_with("that everybody may see.\n!ca.pem\n!jwt.key\n"));
    }
}
