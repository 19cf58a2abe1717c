//! A small system put together of a distribution's packages, without installing any: what most stand-ins begin with. Which packages a
//! stand-in has besides, and what it starts, is not known here.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use xshell::cmd;

use crate::apt::{Apt, DistributionRelease, remove_tree};
use crate::packages::unpack;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::execute::cores;
use monoship_core::execute::process::{Invocation, shell};
use monoship_core::sorted::Order as _;

use super::Work;

/// What the official images' tools are in; the rest of a Debian comes along as their dependencies.
const SYSTEM: [&str; 24] = [
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
    "libc-bin",
    "libpam-runtime",
    "login",
    "ncurses-base",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
];

/// What `adduser`, `su` and `chpasswd` ask whether they may, as `pam-auth-update` writes it.
const AUTHENTICATION: [(&str, &str); 5] = [
    (
        "common-account",
        "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\n",
    ),
    (
        "common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    ),
    (
        "common-password",
        "password [success=1 default=ignore] pam_unix.so obscure yescrypt\npassword requisite pam_deny.so\npassword required pam_permit.so\n",
    ),
    (
        "common-session",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\nsession required pam_unix.so\n",
    ),
    (
        "common-session-noninteractive",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\nsession required pam_unix.so\n",
    ),
];

/// Shown in no running service, and a third of the system's size.
const UNUSED: [&str; 5] = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"];

/// A system that was put together.
pub(super) struct System {
    /// What its release calls itself: `bookworm`.
    pub codename: String,
    /// What dpkg says of its packages.
    status: String,
}

impl System {
    /// Unpacks a minimal system with `packages` in `root` without running any of its scripts, and does by hand the few things they would have
    /// done.
    ///
    /// # Errors
    /// When the release has no such package, or its mirror cannot be reached.
    pub fn make(work: &Work<'_>, release: DistributionRelease, packages: &[&str], root: &Path) -> Result<Self> {
        work.doing("downloading a minimal system");
        let apt = Apt::new(release, work.layout.cache(), work.events, work.shutdown)?;
        let wanted: Vec<&str> = SYSTEM.iter().chain(packages).copied().chain([apt.keyring()]).into_vec();
        merged_usr(root)?;
        let installed = unpacked(work, &apt, &wanted, root)?;
        let status = status_of(&installed);
        // An SBOM's list of system packages is read from here.
        write(&root.join("var/lib/dpkg/status"), &status)?;
        installed.iter().try_for_each(|one| listed(one, root))?;
        apt.hand_over(root)?;
        for path in UNUSED {
            remove_tree(&root.join(path))?;
        }
        configure(root)?;
        let os_release = read_text(&root.join("etc/os-release"))?;
        let codename = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let codename = codename.unwrap_or(&apt.distribution().codename).trim_matches('"').to_owned();
        Ok(Self { codename, status })
    }

    /// Unpacks `packages` and nothing around them: for programs that need no system.
    ///
    /// # Errors
    /// As [`System::make`].
    pub fn bare(work: &Work<'_>, release: DistributionRelease, packages: &[&str], root: &Path) -> Result<Self> {
        work.doing("downloading its packages");
        let apt = Apt::new(release, work.layout.cache(), work.events, work.shutdown)?;
        let status = status_of(&unpacked(work, &apt, packages, root)?);
        Ok(Self { codename: release.name(apt.distribution()).to_owned(), status })
    }

    /// A package's version as its makers count it: `1.22.1` of `1:1.22.1-9+deb12u7`.
    pub fn version(&self, package: &str) -> Option<String> {
        version_in(&self.status, package)
    }
}

fn version_in(status: &str, package: &str) -> Option<String> {
    let is_it = |stanza: &&str| stanza.lines().any(|line| line.strip_prefix("Package: ") == Some(package));
    let version = status.split("\n\n").find(is_it)?.lines().find_map(|line| line.strip_prefix("Version: "))?;
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    Some(version.rsplit_once('-').map_or(version, |(version, _)| version).to_owned())
}

/// A package that was unpacked.
struct Installed {
    /// What it says of itself: `Package: bash` and so on, a line each.
    fields: String,
    /// The paths that it has, a line each: `./usr/bin/bash`.
    contents: String,
}

impl Installed {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Unpacks packages and what they depend on, in the order of their names.
fn unpacked(work: &Work<'_>, apt: &Apt<'_>, packages: &[&str], root: &Path) -> Result<Vec<Installed>> {
    apt.update()?;
    let archives = apt.download_closure(packages)?;
    let entries = std::fs::read_dir(&archives).map_err(|e| Error::io("read", &archives, e))?;
    let mut debs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).into_vec();
    debs.retain(|deb| deb.extension().is_some_and(|e| e == "deb"));
    debs.order();
    std::fs::create_dir_all(root).map_err(|e| Error::io("create", root, e))?;
    cores::try_map(&debs, |deb| {
        let sh = shell(root)?;
        let fields = Invocation::from(cmd!(sh, "dpkg-deb --field {deb}")).read(work.shutdown)?;
        Ok(Installed { fields, contents: unpack(deb, root, work.shutdown)? })
    })
}

/// What dpkg says of packages once they are installed.
fn status_of(installed: &[Installed]) -> String {
    installed.iter().map(|one| format!("{}\nStatus: install ok installed\n\n", one.fields)).collect()
}

/// Says which files a package has, as dpkg wants it said of every installed one.
fn listed(one: &Installed, root: &Path) -> Result<()> {
    let package = one.field("Package").unwrap_or_default();
    let file = match (one.field("Multi-Arch"), one.field("Architecture")) {
        (Some("same"), Some(architecture)) => format!("{package}:{architecture}.list"),
        _ => format!("{package}.list"),
    };
    let paths = one.contents.lines().map(|path| path.trim_start_matches('.').trim_end_matches('/'));
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

/// What base-files', base-passwd's, libc-bin's, libpam-runtime's, debianutils' and mawk's scripts would have done.
fn configure(root: &Path) -> Result<()> {
    let masters = root.join("usr/share/base-passwd");
    let passwd = read_text(&masters.join("passwd.master"))?;
    let group = read_text(&masters.join("group.master"))?;
    write(&root.join("etc/passwd"), &passwd)?;
    write(&root.join("etc/group"), &group)?;
    write(&root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    let awk = root.join("usr/bin/awk");
    if root.join("usr/bin/mawk").exists() && std::fs::symlink_metadata(&awk).is_err() {
        symlink("mawk", &awk).map_err(|e| Error::io("write", &awk, e))?;
    }
    let links =
        [("usr/bin/cc", "gcc"), ("usr/bin/c++", "g++"), ("usr/bin/python", "python3"), ("usr/bin/which", "which.debianutils")];
    for (name, target) in links {
        let link = root.join(name);
        if root.join("usr/bin").join(target).exists() && std::fs::symlink_metadata(&link).is_err() {
            symlink(target, &link).map_err(|e| Error::io("write", &link, e))?;
        }
    }
    certificates(root)?;
    for (name, text) in AUTHENTICATION {
        write(&root.join("etc/pam.d").join(name), text)?;
    }
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
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).into_vec();
    files.order();
    let bundle: String = files.iter().map(|file| read_text(file)).collect::<Result<_>>()?;
    write(&root.join("etc/ssl/certs/ca-certificates.crt"), &bundle)
}

/// Adds a user and a group of its name and number.
pub(super) fn add_user(root: &Path, name: &str, id: u32, home: &str, shell: &str) -> Result<()> {
    let (passwd, group) = (root.join("etc/passwd"), root.join("etc/group"));
    write(&passwd, &format!("{}{name}:x:{id}:{id}::{home}:{shell}\n", read_text(&passwd)?))?;
    write(&group, &format!("{}{name}:x:{id}:\n", read_text(&group)?))
}

/// Accounts without passwords, which `useradd` and `usermod` add to.
pub(super) fn shadow(root: &Path) -> Result<()> {
    for (from, into, rest) in [("etc/passwd", "etc/shadow", "*:19000:0:99999:7:::"), ("etc/group", "etc/gshadow", "*::")] {
        let text = read_text(&root.join(from))?;
        let names = text.lines().filter_map(|line| line.split(':').next());
        let path = root.join(into);
        write(&path, &names.map(|name| format!("{name}:{rest}\n")).collect::<String>())?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))
            .map_err(|e| Error::io("set the mode of", &path, e))?;
    }
    Ok(())
}

/// Writes a file and the folders above it.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    std::fs::write(path, text).map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_makers_without_the_distributions_counts() {
        let status = "Package: nginx-common\nVersion: 9-1\n\nPackage: nginx\nVersion: 1.22.1-9+deb12u7\n\nPackage: busybox-static\nVersion: 1:1.35.0-4+b1\n\nPackage: native\nVersion: 3\n\n";
        let versions = ["nginx", "busybox-static", "native", "ngin"].map(|package| version_in(status, package));
        assert_eq!(versions, [Some("1.22.1".to_owned()), Some("1.35.0".to_owned()), Some("3".to_owned()), None]);
    }
}
