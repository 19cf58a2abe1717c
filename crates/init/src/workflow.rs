//! What the workflow files of a repository depend on: its configuration, its default branch, and which of its folders cargo needs.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use monoship_core::error::{Result, read_text};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::Platform;
use monoship_github::workflow::{self, Layout, Options, Prebuilt, written};
use monoship_plan::config::{Config, Signing};
use monoship_workspace::git::Git;

use crate::origin::PACKAGE;

/// The options by which the files of the repository at `home` are written. What is not given is as in the files that are there.
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
    let there = written(home)?;
    let branch = match (branch, &there) {
        (Some(branch), _) => branch.to_owned(),
        (None, Some(there)) => there.branch.clone(),
        (None, None) => {
            let head = Git::at(home, shutdown).ask(&["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"])?;
            head.as_deref().and_then(|head| head.strip_prefix("origin/")).unwrap_or("main").to_owned()
        }
    };
    let prebuilt = match prebuilt {
        Some(Prebuilt::Image(image)) => Some(image.clone()),
        Some(Prebuilt::Off) => None,
        None => there.as_ref().and_then(|there| there.prebuilt.clone()),
    };
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
        sources: sources(home)?,
        tool: tool(home)?,
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

/// The folders at the root in which the members of cargo's workspace lie, and what they depend on by path: without one of them cargo
/// loads none. Without a workspace it is `xtask`.
fn sources(home: &Path) -> Result<Vec<String>> {
    let Some(root) = manifest(home)? else { return Ok(vec!["xtask".to_owned()]) };
    let members = members(&root);
    let mut folders: BTreeSet<String> = members.iter().filter_map(|member| top(Path::new(member))).collect();
    for member in members.iter().filter(|member| !member.contains('*')) {
        let of_member = manifest(&home.join(member))?.unwrap_or_default();
        let tables = ["dependencies", "build-dependencies"].into_iter().filter_map(|key| of_member.get(key)?.as_table());
        let paths = tables.flat_map(toml::Table::values).filter_map(|dependency| dependency.get("path")?.as_str());
        let targets = ["bin", "example", "test", "bench"].into_iter().filter_map(|key| of_member.get(key)?.as_array());
        let files = targets.flatten().filter_map(|target| target.get("path")?.as_str());
        folders.extend(paths.chain(files).filter_map(|path| top(&Path::new(member).join(path))));
    }
    if root.contains_key("package") {
        folders.insert("src".to_owned());
    }
    Ok(if folders.is_empty() { vec!["xtask".to_owned()] } else { folders.into_iter().collect() })
}

/// The name of the repository's own crate: the member of cargo's workspace that stands on the library.
///
/// # Errors
/// A manifest that cannot be read.
pub fn tool(home: &Path) -> Result<String> {
    for member in manifest(home)?.iter().flat_map(members) {
        let found =
            manifest(&home.join(member))?.filter(|found| found.get("dependencies").is_some_and(|d| d.get(PACKAGE).is_some()));
        if let Some(name) = found.as_ref().and_then(|found| found.get("package")?.get("name")?.as_str()) {
            return Ok(name.to_owned());
        }
    }
    Ok("xtask".to_owned())
}

fn manifest(dir: &Path) -> Result<Option<toml::Table>> {
    let file = dir.join("Cargo.toml");
    Ok(if file.is_file() { read_text(&file)?.parse().ok() } else { None })
}

fn members(root: &toml::Table) -> Vec<&str> {
    let members = root.get("workspace").and_then(|workspace| workspace.get("members")?.as_array()).into_iter().flatten();
    members.filter_map(toml::Value::as_str).collect()
}

/// The first folder of a path from the root; none of a path that leads out of it, or of a pattern.
fn top(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let first = *parts.first()?;
    (!first.contains(['*', '?', '['])).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_needs_every_member_and_what_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let of = |manifest: &str| {
            std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
            sources(dir.path()).unwrap()
        };
        assert_eq!(of("[workspace]\nmembers = ['xtask', './crates/*', 'native/a']\n"), ["crates", "native", "xtask"]);
        assert_eq!(of("[package]\nname = 'x'\n[workspace]\nmembers = ['ship']\n"), ["ship", "src"]);
        std::fs::create_dir(dir.path().join("xtask")).unwrap();
        let crate_manifest = "[dependencies]\na = { path = '../vendor/a' }\nb = { path = '../../b' }\n";
        std::fs::write(dir.path().join("xtask/Cargo.toml"), crate_manifest).unwrap();
        assert_eq!(of("[workspace]\nmembers = ['xtask']\n"), ["vendor", "xtask"]);
    }
}
