//! What the workflow files of a repository depend on: its configuration, its default branch, where the workspace and its crate lie, and which
//! folders cargo needs.

use std::path::{Component, Path};

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::Platform;
use monoship_core::sorted::SortedSet;
use monoship_github::workflow::{self, Layout, Options, Place, Prebuilt, written};
use monoship_plan::config::{Config, Folder, Signing};
use monoship_workspace::git::Git;

use crate::cargo_settings::Build;
use crate::origin::PACKAGE;

/// The options by which the files of the workspace at `home` are written. What is not given is as in the files that are there.
///
/// # Errors
/// A file that cannot be read; git failures.
pub fn options(
    home: &Path,
    config: &Config,
    layout: Option<Layout>,
    branch: Option<&str>,
    prebuilt: Option<&Prebuilt>,
    shutdown: &Shutdown,
) -> Result<Options> {
    let there = written(config.repository(home), &config.word())?;
    let branch = match (branch, &there) {
        (Some(branch), _) => branch.to_owned(),
        (None, Some(there)) => there.branch.clone(),
        (None, None) => {
            let git = Git::at(home, shutdown);
            let remote = format!("refs/remotes/{}/", git.remote_name()?.as_deref().unwrap_or("origin"));
            let head = git.ask(&["symbolic-ref", "--quiet", &format!("{remote}HEAD")])?;
            head.as_deref().and_then(|head| head.strip_prefix(&remote)).unwrap_or("main").to_owned()
        }
    };
    let prebuilt = match prebuilt {
        Some(Prebuilt::Image(image)) => Some(image.clone()),
        Some(Prebuilt::Off) => None,
        None => there.as_ref().and_then(|there| there.prebuilt.clone()),
    };
    let (cargo, tool) = of_crate(home)?;
    let place = place(config, home, cargo)?;
    Ok(Options {
        prebuilt,
        layout: layout.or(there.map(|there| there.layout)).unwrap_or_default(),
        branch,
        registry: config.images.prefix.as_ref().map_or("ghcr.io", |prefix| prefix.registry()).to_owned(),
        signing: match config.release.signing {
            Signing::Off => workflow::Signing::Off,
            Signing::Keyless(_) => workflow::Signing::Keyless,
            Signing::Key { .. } => workflow::Signing::Key,
        },
        platforms: platforms(config),
        sources: sources(cargo, &place.cargo)?,
        place,
        tool,
    })
}

/// Where the workspace at `home` lies, whose crate is in the workspace of cargo's at `cargo`.
fn place(config: &Config, home: &Path, cargo: &Path) -> Result<Place> {
    let repository = config.repository(home);
    let from_root = |path: &Path| path.strip_prefix(repository).ok().and_then(Path::to_str).map(str::to_owned);
    let folders = cargo.ancestors().take_while(|folder| folder.starts_with(repository));
    let build = Build::read(folders.map(|folder| folder.join(".cargo")))?;
    Ok(Place {
        folder: config.folder.as_ref().map(Folder::to_string).unwrap_or_default(),
        word: config.word(),
        cargo: from_root(cargo).unwrap_or_default(),
        target: build.target_dir.unwrap_or_default(),
        crosses: build.target.is_some(),
    })
}

/// What the services are built for, in the order of the configuration.
fn platforms(config: &Config) -> Vec<Platform> {
    let of_services = config.services.iter().filter_map(|service| service.platforms.as_ref()).flatten();
    let mut all: Vec<Platform> = Vec::new();
    for platform in config.images.platforms.iter().chain(of_services) {
        if !all.contains(platform) {
            all.push(platform.clone());
        }
    }
    all
}

/// The folders in which the members of the cargo workspace at `cargo` lie, and what they depend on by path: without one of them cargo
/// loads none. Without a workspace it is `xtask`. `below` is where `cargo` is from the repository's root, as the folders are.
fn sources(cargo: &Path, below: &str) -> Result<Vec<String>> {
    let default = || vec![Path::new(below).join("xtask").to_string_lossy().into_owned()];
    let Some(root) = manifest(cargo)? else { return Ok(default()) };
    let members = members(&root);
    let top = |path: &Path| top(below, path);
    let mut folders: SortedSet<String> = members.iter().filter_map(|member| top(Path::new(member))).into_set();
    for member in members.iter().filter(|member| !member.contains('*')) {
        let of_member = manifest(&cargo.join(member))?.unwrap_or_default();
        let tables = ["dependencies", "build-dependencies"].into_iter().filter_map(|key| of_member.get(key)?.as_table());
        let paths = tables.flat_map(toml::Table::values).filter_map(|dependency| dependency.get("path")?.as_str());
        let targets = ["bin", "example", "test", "bench"].into_iter().filter_map(|key| of_member.get(key)?.as_array());
        let files = targets.flatten().filter_map(|target| target.get("path")?.as_str());
        folders.extend(paths.chain(files).filter_map(|path| top(&Path::new(member).join(path))));
    }
    if root.contains_key("package") {
        folders.extend(top(Path::new("src")));
    }
    Ok(if folders.is_empty() { default() } else { folders.into_iter().into_vec() })
}

/// The name of the crate that the workspace at `home` is built by: the member of cargo's workspace that stands on the library.
///
/// # Errors
/// A manifest that cannot be read.
pub fn tool(home: &Path) -> Result<String> {
    of_crate(home).map(|(_, name)| name)
}

/// The root of the cargo workspace that has that crate, and the crate's name. One crate may be for several workspaces: it lies at `home` or
/// in a folder above it, as far as the repository goes.
fn of_crate(home: &Path) -> Result<(&Path, String)> {
    let depth = home.ancestors().position(|folder| folder.join(".git").exists()).unwrap_or_default();
    let mut cargos = None;
    for folder in home.ancestors().take(depth + 1) {
        let Some(root) = manifest(folder)? else { continue };
        for member in members(&root) {
            let found = manifest(&folder.join(member))?;
            if let Some(name) = found.as_ref().and_then(crate_name) {
                return Ok((folder, name.to_owned()));
            }
        }
        // A pattern among the members may stand for the crate.
        if root.contains_key("workspace") {
            cargos.get_or_insert(folder);
        }
    }
    let root = home.ancestors().nth(depth).unwrap_or(home);
    if let Some(own) = manifest(&root.join("xtask"))?.filter(|own| crate_name(own).is_some()) {
        check_member(&own, "xtask")?;
    }
    Ok((cargos.unwrap_or(root), "xtask".to_owned()))
}

/// The name of the crate, where this is the manifest of one that stands on the library.
pub(super) fn crate_name(manifest: &toml::Table) -> Option<&str> {
    manifest.get("dependencies")?.get(PACKAGE)?;
    manifest.get("package")?.get("name")?.as_str()
}

/// Refuses a crate that is a workspace of cargo's for itself: the workflow files, and an alias that works in every folder, take it for a member.
///
/// # Errors
/// That it is one.
pub(super) fn check_member(manifest: &toml::Table, folder: &str) -> Result<()> {
    if !manifest.contains_key("workspace") {
        return Ok(());
    }
    Err(Error::usage("this crate is a cargo workspace of its own, and CI compiles it as a member of the repository's")
        .at(format!("{folder}/Cargo.toml"), None)
        .hint(format!(
            "move its `[workspace]` and `[profile]` into the root's Cargo.toml, with `members = [\"{folder}\"]`, and name it by `--package` in the alias"
        )))
}

fn manifest(dir: &Path) -> Result<Option<toml::Table>> {
    let file = dir.join("Cargo.toml");
    Ok(if file.is_file() { read_text(&file)?.parse().ok() } else { None })
}

fn members(root: &toml::Table) -> Vec<&str> {
    let members = root.get("workspace").and_then(|workspace| workspace.get("members")?.as_array()).into_iter().flatten();
    members.filter_map(toml::Value::as_str).into_vec()
}

/// The folder that a path begins with which starts at `below`: the first that is not on the way there. None of a path that leads out of the
/// repository, and of a pattern.
fn top(below: &str, path: &Path) -> Option<String> {
    let way: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).into_vec();
    let mut parts = way.clone();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let shared = way.iter().zip(&parts).take_while(|(way, part)| way == part).count();
    let folder = parts.get(..=shared)?;
    (!folder.concat().contains(['*', '?', '['])).then(|| folder.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_needs_every_member_and_what_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let of = |manifest: &str| {
            std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
            sources(dir.path(), "").unwrap()
        };
        assert_eq!(of("[workspace]\nmembers = ['xtask', './crates/*', 'native/a']\n"), ["crates", "native", "xtask"]);
        assert_eq!(of("[package]\nname = 'x'\n[workspace]\nmembers = ['ship']\n"), ["ship", "src"]);
        std::fs::create_dir(dir.path().join("xtask")).unwrap();
        let crate_manifest = "[dependencies]\na = { path = '../vendor/a' }\nb = { path = '../../b' }\n";
        std::fs::write(dir.path().join("xtask/Cargo.toml"), crate_manifest).unwrap();
        assert_eq!(of("[workspace]\nmembers = ['xtask']\n"), ["vendor", "xtask"]);
    }

    #[test]
    fn the_crate_is_the_nearest_one_up_to_the_repositorys_root() {
        let dir = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let adopted = |folder: &str, name: &str| {
            put(&format!("{folder}Cargo.toml"), &format!("[workspace]\nmembers = ['{name}']\n"));
            put(
                &format!("{folder}{name}/Cargo.toml"),
                &format!("[package]\nname = '{name}'\n[dependencies]\nmonoship = '0.1'\n"),
            );
        };
        let found = |home: &str| {
            let home = dir.path().join("repo").join(home);
            let (cargo, name) = of_crate(&home).unwrap();
            (cargo.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned(), name)
        };
        let is = |folder: &str, name: &str| (folder.to_owned(), name.to_owned());
        adopted("", "outside");
        put("repo/.git/HEAD", "");
        put("repo/services/web/package.json", "{}");
        assert_eq!(found("services/web"), is("repo", "xtask"), "what lies outside of the repository is another's");
        adopted("repo/", "ship");
        assert_eq!(found("services/web"), is("repo", "ship"));
        // A team's own Rust in the folder is not the crate.
        put("repo/services/web/Cargo.toml", "[workspace]\nmembers = ['native']\n");
        put("repo/services/web/native/Cargo.toml", "[package]\nname = 'native'\n");
        assert_eq!(found("services/web"), is("repo", "ship"));
        adopted("repo/services/web/", "xtask");
        assert_eq!((found("services/web"), found("services/api")), (is("repo/services/web", "xtask"), is("repo", "ship")));

        // What it depends on lies in its folder or beside it, and counts from the root.
        put("repo/services/web/xtask/Cargo.toml", "[dependencies]\na = { path = '../../lib' }\nb = { path = '../../../b/c' }\n");
        let sources = sources(&dir.path().join("repo/services/web"), "services/web").unwrap();
        assert_eq!(sources, ["b", "services/lib", "services/web/xtask"]);
    }
}
