//! The build context's ignore file. Rules that keep secrets and git's own out stand in every one; a rule about what tools make is left
//! out where it would hide a file that git tracks: somebody's `coverage/` is source.

use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::{Scope, Workspace};

use super::edit::ended;
use super::services::Service;

/// Its name; and the ending of one for a single Dockerfile.
pub(super) const FILE: &str = ".dockerignore";

/// A source that services are built from and an ignore file of the repository's own hides: it was written for a Dockerfile that gets what
/// was built before. Tests and documents may be hidden.
pub(super) fn hidden<'f>(workspace: &Workspace, services: &[Service], tracked: &'f [String], ignore: &Ignore) -> Option<&'f str> {
    let ids = services.iter().filter_map(|service| workspace.by_dir(&service.package));
    let closures: Vec<_> = ids.map(|id| workspace.closure(id, Scope::BUILD)).into_vec();
    let is_source = |path: &&String| {
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        let code = ["ts", "tsx", "js", "jsx", "mjs", "mts", "cjs", "vue", "svelte", "astro", "json"].contains(&ending);
        let aside =
            ["test", "spec", "e2e", "stories", "storybook", "mock", "bench", "docs", "example", "eslint", "prettier", "."];
        code && !path
            .split('/')
            .any(|part| aside.iter().any(|word| if *word == "." { part.starts_with('.') } else { part.contains(word) }))
    };
    let owned = |path: &&String| {
        let owner = workspace.owner(path);
        owner != workspace.root_package() && closures.iter().any(|closure| closure.packages.contains(&owner))
    };
    tracked.iter().filter(is_source).filter(owned).find(|path| ignore.excludes(path)).map(String::as_str)
}

/// The file, and the rules that were left out, each with the first tracked file that it would hide. `tracked` are the repository's
/// files, `tool` is the folder of the adopter's crate; `own_rust` is true where the repository has Rust of its own, which a build may need;
/// `public` are files that such a rule hides and that a build reads as in any clone: of the environment, and certificates.
///
/// # Errors
/// When a rule is none, which is a fault of ours.
pub(super) fn text<'a>(
    tracked: &[&'a str],
    tool: &str,
    own_rust: bool,
    public: &[&str],
) -> Result<(String, Vec<(String, &'a str)>)> {
    let mut made = String::new();
    let mut left_out = Vec::new();
    let mut tested = false;
    for line in include_str!("dockerignore").split_inclusive('\n') {
        let rule = line.trim_end();
        if rule.starts_with('#') {
            tested = rule.contains("tools make");
        }
        let is_cargos = ["Cargo.*", ".cargo"].contains(&rule);
        if is_cargos && own_rust {
            continue;
        }
        let hidden = if tested && !rule.is_empty() && !rule.starts_with('#') {
            let ignore = Ignore::parse(rule)?;
            tracked.iter().find(|path| ignore.excludes(path))
        } else {
            None
        };
        match hidden {
            Some(path) => left_out.push((rule.to_owned(), *path)),
            None => made += &line.replace("{tool}", tool),
        }
    }
    if !public.is_empty() {
        made += "\n# git has these, and they hold only what browsers get, or certificates that everybody may see.\n";
        public.iter().for_each(|path| made += &format!("!{path}\n"));
    }
    Ok((made, left_out))
}

/// True of a text that holds certificates or public keys, and nothing that is to be kept: a database's root certificates, by which a service
/// knows it.
pub(super) fn is_certificate(text: &str) -> bool {
    const KINDS: [&str; 5] = ["CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL", "PUBLIC KEY", "RSA PUBLIC KEY"];
    let kinds = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let mut kinds = kinds.peekable();
    kinds.peek().is_some() && kinds.all(|kind| KINDS.contains(&kind))
}

/// An ignore file of the repository's own, with the rules that it lacks about what `cargo xtask` is made of and makes: cargo's folder alone is
/// hundreds of megabytes, and differs after each compile. `None` where it lacks none.
///
/// # Errors
/// When the file has a rule that is none.
pub(super) fn completed(theirs: &str, tracked: &[&str], tool: &str, own_rust: bool) -> Result<Option<(String, String)>> {
    let ignore = Ignore::parse(theirs)?;
    let crate_file = format!("{tool}/Cargo.toml");
    let rules = [
        ("target", "target/debug"),
        (tool, &crate_file),
        ("xtask.*", "xtask.toml"),
        (".cargo", ".cargo/config.toml"),
        ("Cargo.*", "Cargo.lock"),
    ];
    let lacking: Vec<&str> = rules
        .into_iter()
        .filter(|(rule, of_it)| !ignore.excludes(of_it) && (!own_rust || !["Cargo.*", ".cargo"].contains(rule)))
        .filter(|(rule, _)| *rule != "target" || !tracked.iter().any(|path| path.starts_with("target/")))
        .map(|(rule, _)| rule)
        .into_vec();
    if lacking.is_empty() {
        return Ok(None);
    }
    let text = ended(theirs) + "\n# What `cargo xtask` is made of, and what it makes.\n" + &lacking.join("\n") + "\n";
    Ok(Some((text, format!("`{}`", lacking.join("`, `")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_hides_a_file_that_git_tracks() {
        let tracked = ["apps/web/src/coverage/view.ts", "packages/target/index.ts", "apps/web/dist.ts", "fixtures/a.log"];
        let (text, left_out) = text(&tracked, "xtask", false, &["apps/web/.env.production"]).unwrap();
        let ignore = Ignore::parse(&text).unwrap();
        for path in tracked.into_iter().chain(["apps/web/.env.production"]) {
            assert!(!ignore.excludes(path), "{path}");
        }
        for path in [
            ".env",
            "apps/web/.env.local",
            "apps/api/.env.production",
            "apps/api/.docker/config.json",
            "apps/web/node_modules/a/b.js",
            "target/debug/x",
            "apps/web/dist/a.js",
            "xtask/Cargo.toml",
        ] {
            assert!(ignore.excludes(path), "{path}");
        }
        let rules: Vec<&str> = left_out.iter().map(|(rule, _)| rule.as_str()).collect();
        assert_eq!(rules, ["**/*.log", "**/coverage"]);
    }

    #[test]
    fn rust_of_the_repositorys_own_reaches_a_build() {
        let (text, _) = text(&[], "ship", true, &[]).unwrap();
        let ignore = Ignore::parse(&text).unwrap();
        assert!(!ignore.excludes("Cargo.toml") && !ignore.excludes(".cargo/config.toml") && ignore.excludes("ship/src/main.rs"));
    }

    #[test]
    fn an_ignore_file_of_their_own_gets_the_rules_that_it_lacks() {
        let theirs = "node_modules\n.cargo";
        let (text, added) = completed(theirs, &["xtask.toml", "Cargo.toml"], "ship", false).unwrap().unwrap();
        assert_eq!(added, "`target`, `ship`, `xtask.*`, `Cargo.*`");
        assert_eq!(
            text,
            "node_modules\n.cargo\n\n# What `cargo xtask` is made of, and what it makes.\ntarget\nship\nxtask.*\nCargo.*\n"
        );
        assert_eq!(completed(&text, &[], "ship", false).unwrap(), None);
        // One that names what a build gets needs none, and what they have is not hidden.
        assert_eq!(completed("*\n!apps\n", &[], "xtask", false).unwrap(), None);
        let (_, added) = completed("", &["target/board.ts", "native/Cargo.toml"], "xtask", true).unwrap().unwrap();
        assert_eq!(added, "`xtask`, `xtask.*`");
    }
}
