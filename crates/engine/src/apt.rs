//! apt, used without touching the system: the machine's mirrors, keys and proxy settings, but lists, caches and state in a
//! folder of ours. Signatures are always checked. What the packages are for is not known here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::event::{Events, Task};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::Order as _;
use monoship_docker::engine::Suite;

use super::sources::{Distribution, Family, Source, own_release, parse_deb822, parse_one_line};

/// How long one apt call may take before we say that the mirror hangs.
const LIMIT: Duration = Duration::from_mins(5);
/// What an index and the largest download need: with less, apt neither goes on nor ends.
const ROOM: u64 = 100 << 20;

/// A distribution release to take packages from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistributionRelease {
    /// What this machine runs, with its updates.
    Own,
    /// Newer than what is installed: `testing` on Debian, `devel` on Ubuntu.
    Testing,
    /// The current stable release; on Ubuntu the machine's own.
    Stable,
    /// One that is named, of this machine's distribution: its own where it is that one, with updates; else the release as it came out.
    Named(&'static str),
}

impl DistributionRelease {
    /// The release of a setting.
    #[must_use]
    pub fn of(suite: Suite) -> Self {
        match suite {
            Suite::Testing => Self::Testing,
            Suite::Stable => Self::Stable,
        }
    }

    /// What to call it in the name of a folder.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Testing => "testing",
            Self::Stable => "stable",
            Self::Named(name) => name,
        }
    }

    /// What to call it on a machine that runs `own`.
    pub(super) fn name(self, own: &Distribution) -> &str {
        match self {
            Self::Own => &own.codename,
            Self::Testing if own.family == Family::Ubuntu => "devel",
            other => other.folder(),
        }
    }
}

/// apt with lists of its own for one release.
pub struct Apt<'a> {
    dir: PathBuf,
    distribution: Distribution,
    sources: Vec<Source>,
    events: &'a Events,
    shutdown: &'a Shutdown,
}

impl<'a> Apt<'a> {
    /// For `release`, with lists and caches under `root`.
    ///
    /// # Errors
    /// When this is no Debian or Ubuntu, its sources name no mirror of its release, or the folder cannot be written.
    pub fn new(release: DistributionRelease, root: &Path, events: &'a Events, shutdown: &'a Shutdown) -> Result<Self> {
        let (distribution, own, base) = machine()?;
        let release = match release {
            DistributionRelease::Named(name) if name == distribution.codename => DistributionRelease::Own,
            other => other,
        };
        let dir = root.join("apt").join(release.folder());
        let sources = match (release, distribution.family) {
            (DistributionRelease::Own, _) | (DistributionRelease::Stable, Family::Ubuntu) => own,
            (DistributionRelease::Testing, Family::Debian) => vec![base.with_suites(vec!["testing".into()], &distribution)],
            (DistributionRelease::Stable, Family::Debian) => vec![base.with_suites(vec!["stable".into()], &distribution)],
            (DistributionRelease::Testing, Family::Ubuntu) => vec![base.with_suites(vec!["devel".into()], &distribution)],
            (DistributionRelease::Named(name), _) => vec![base.with_suites(vec![name.into()], &distribution)],
        };
        for folder in ["lists/partial", "archives/partial", "sources"] {
            let path = dir.join(folder);
            std::fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
        }
        let stanzas: Vec<String> = sources.iter().map(Source::to_deb822).into_vec();
        write_atomically(&dir.join("sources/xtask.sources"), stanzas.join("\n").as_bytes())?;
        write_atomically(&dir.join("status"), b"")?;
        write_atomically(&dir.join("apt.conf"), configuration(&dir)?.as_bytes())?;
        Ok(Self { dir, distribution, sources, events, shutdown })
    }

    /// The distribution the packages are for.
    #[must_use]
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// Fetches the package index unless it was fetched within the last hour.
    ///
    /// # Errors
    /// When the mirror cannot be reached, a signature is wrong, or the disk is full.
    pub fn update(&self) -> Result<()> {
        let stamp = self.dir.join("updated");
        let age = std::fs::metadata(&stamp).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age < Duration::from_hours(1)) {
            return Ok(());
        }
        self.run(&["update".into()], &self.dir)?;
        write_atomically(&stamp, b"")
    }

    /// Downloads exactly these packages into `into`; files that are whole already are kept.
    ///
    /// # Errors
    /// When one does not exist, cannot be fetched or does not match its checksum.
    pub fn download(&self, packages: &[&str], into: &Path) -> Result<()> {
        std::fs::create_dir_all(into).map_err(|e| Error::io("create", into, e))?;
        let mut args = vec!["download".to_owned()];
        args.extend(packages.iter().map(|p| (*p).to_owned()));
        self.run(&args, into)
    }

    /// Downloads these packages and all they depend on, as for a machine on which nothing is installed. Returns the folder
    /// that holds them, and only them.
    ///
    /// # Errors
    /// As [`Apt::download`].
    pub fn download_closure(&self, packages: &[&str]) -> Result<PathBuf> {
        let archives = self.dir.join("archives");
        let mut args: Vec<String> = ["install", "--download-only", "--yes", "--no-install-recommends"].map(Into::into).into();
        args.extend(packages.iter().map(|p| (*p).to_owned()));
        self.run(&["clean".to_owned()], &self.dir)?;
        self.run(&args, &self.dir)?;
        Ok(archives)
    }

    /// The package with the keys that releases of this distribution are signed by.
    #[must_use]
    pub fn keyring(&self) -> &'static str {
        match self.distribution.family {
            Family::Debian => "debian-archive-keyring",
            Family::Ubuntu => "ubuntu-keyring",
        }
    }

    /// Gives a system that was put together of this release's packages the machine's mirror, its keys, and what it says of fetching: proxies,
    /// how old an index may be.
    ///
    /// # Errors
    /// When a file cannot be written, or apt does not say its configuration.
    pub fn hand_over(&self, root: &Path) -> Result<()> {
        let stanzas: Vec<String> = self.sources.iter().map(Source::to_deb822).into_vec();
        let put = |path: &str, text: &[u8]| -> Result<()> {
            let path = root.join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
            }
            std::fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
        };
        put("etc/apt/sources.list.d/machine.sources", stanzas.join("\n").as_bytes())?;
        for key in self.sources.iter().filter_map(Source::keyring).collect::<monoship_core::sorted::SortedSet<_>>() {
            if let Ok(bytes) = std::fs::read(key) {
                put(key.trim_start_matches('/'), &bytes)?;
            }
        }
        let dump = Invocation::new("apt-config").arg("dump").read(self.shutdown)?;
        let is_known = |line: &&str| {
            line.starts_with("Acquire::") && !line.contains("IndexTargets") && !line.contains('/')
                || line.starts_with("Acquire::http")
        };
        let fetching: String = dump.lines().filter(is_known).map(|line| format!("{line}\n")).collect();
        put("etc/apt/apt.conf.d/machine", fetching.as_bytes())?;
        for folder in [
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
            "var/lib/dpkg/updates",
            "etc/apt/preferences.d",
        ] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
        }
        put("var/lib/dpkg/arch", b"").or(Ok(()))
    }

    /// Forgets the index and the downloads.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn forget(&self) -> Result<()> {
        remove_tree(&self.dir)
    }

    /// apt deadlocks where the disk runs full under it (seen with 2.6, an index being stored), so that room is looked for first.
    fn run(&self, args: &[String], dir: &Path) -> Result<()> {
        require_room(&self.dir, ROOM)?;
        let invocation = Invocation::new("apt-get")
            .arg("--quiet")
            .arg("--config-file")
            .arg(self.dir.join("apt.conf"))
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .dir(dir)
            .timeout(LIMIT);
        let mut said = Vec::new();
        let code = invocation.stream(self.shutdown, |line| {
            if let Some(what) = fetching(line) {
                self.events.doing(&Task::Engine, what);
            }
            if line.starts_with("E:") || line.starts_with("W:") || line.starts_with("Err:") {
                said.push(line.to_owned());
            }
        });
        match code {
            Ok(Some(0)) => Ok(()),
            Err(error) if error.is_cancelled() => Err(error),
            ended => require_room(dir, 1 << 20).and_then(|()| Err(explain(&said, ended?, dir))),
        }
    }
}

/// Whose packages this machine's mirror has.
///
/// # Errors
/// As [`Apt::new`].
pub(super) fn family() -> Result<Family> {
    Ok(machine()?.0.family)
}

/// The machine's distribution, the sources of its release, and the one to derive other suites from.
fn machine() -> Result<(Distribution, Vec<Source>, Source)> {
    let no_docker = "install Docker with buildx, or point `DOCKER_HOST` at an engine, and run this again";
    let os_release = read_text(Path::new("/etc/os-release"))?;
    let distribution = Distribution::parse(&os_release).ok_or_else(|| {
        Error::failed("the embedded engine is made of Debian or Ubuntu packages, and this is neither").hint(no_docker)
    })?;
    let mut sources = Vec::new();
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.order();
    for file in files {
        // A source of somebody else that we may not read is none of our business.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => sources.extend(parse_deb822(&text)),
            Some("list") => sources.extend(parse_one_line(&text)),
            _ => {}
        }
    }
    let (own, base) = own_release(&sources, &distribution).ok_or_else(|| {
        let codename = &distribution.codename;
        Error::failed(format!("no source in /etc/apt names the main component of this machine's release, `{codename}`"))
            .hint(format!("add a mirror of {codename} to /etc/apt/sources.list.d, or {no_docker}"))
    })?;
    Ok((distribution, own, base))
}

/// Read by apt after the machine's own files, so that proxies and certificates set there hold, and hooks do not: they are
/// for the system's state, which we do not touch. `Error-Mode` makes a source that failed an error; apt would only warn.
fn configuration(dir: &Path) -> Result<String> {
    let dir = dir.to_str().filter(|d| !d.contains(['"', ';', '\n'])).ok_or_else(|| {
        Error::failed(format!("apt cannot work in a folder of this name: {}", dir.display()))
            .hint("set `XTASK_CACHE_DIR` to a plainer path")
    })?;
    Ok(format!(
        r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
#clear Acquire::IndexTargets::deb::CNF;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear APT::Default-Release;
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{dir}/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{dir}";
Dir::State::Lists "{dir}/lists";
Dir::State::Status "{dir}/status";
Dir::Cache "{dir}";
Dir::Cache::Archives "{dir}/archives";
Dir::Cache::PkgCache "";
Dir::Cache::SrcPkgCache "";
"#
    ))
}

/// `Get:1 http://… testing/main amd64 containerd amd64 2.1.9 [29.5 MB]` → `downloading containerd (29.5 MB)`.
fn fetching(line: &str) -> Option<String> {
    let (number, rest) = line.strip_prefix("Get:")?.split_once(' ')?;
    number.parse::<u32>().ok()?;
    let (rest, size) = rest.strip_suffix(']')?.rsplit_once(" [")?;
    let words: Vec<&str> = rest.split(' ').into_vec();
    let what = match words[..] {
        [_, _, _, package, _, _] => package.to_owned(),
        [_, suite, ..] => format!("the index of {}", suite.split('/').next().unwrap_or(suite)),
        _ => return None,
    };
    Some(format!("downloading {what} ({size})"))
}

fn explain(said: &[String], code: Option<i32>, dir: &Path) -> Error {
    let text = said.join("; ");
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let error = Error::failed(format!("apt could not fetch the engine's packages (exit code {code:?}): {text}"));
    if has(&["No space left", "enough free space"]) {
        return Error::io("write into", dir, std::io::ErrorKind::StorageFull.into());
    }
    if has(&[UNSIGNED, "is not signed", "NO_PUBKEY"]) {
        return error.hint("the machine's keyring does not know the key of that release: install a newer archive keyring");
    }
    if has(&["Could not resolve", "Could not connect", "Connection failed", "Unable to connect", "timed out"]) {
        return error.hint("the mirror in /etc/apt cannot be reached: check the network and apt's proxy settings");
    }
    error
}

/// Fails where the disk that holds `dir` has less than `bytes` left.
///
/// # Errors
/// Then, naming the folder; a disk that cannot be asked is taken to have room.
pub(super) fn require_room(dir: &Path, bytes: u64) -> Result<()> {
    let Ok(disk) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let message = format!("{} has {} MB left, and this needs {} MB", dir.display(), free >> 20, bytes >> 20);
    Err(Error::failed(message).hint("the disk is full: free some room, or set `XTASK_CACHE_DIR` to a folder on another one"))
}

/// What apt says where it does not know a release's key.
const UNSIGNED: &str = "couldn't be verified";

/// Lets everybody run a file.
///
/// # Errors
/// When its mode cannot be changed.
pub(super) fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(file, mode).map_err(|e| Error::io("make executable", file, e))
}

/// Removes a folder and all in it; one that is not there is fine.
///
/// # Errors
/// When something in it cannot be removed.
pub(super) fn remove_tree(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", dir, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_what_is_fetched_and_not_from_where() {
        let cases = [
            ("Get:1 http://m.example/debian testing/main amd64 containerd amd64 2.1.9+ds1-5 [29.5 MB]", "containerd (29.5 MB)"),
            ("Get:2 http://m.example/debian testing/main amd64 Packages [10.1 MB]", "the index of testing (10.1 MB)"),
            ("Get:1 http://m.example/debian testing InRelease [151 kB]", "the index of testing (151 kB)"),
        ];
        for (line, what) in cases {
            assert_eq!(fetching(line).unwrap(), format!("downloading {what}"));
        }
        assert_eq!(fetching("Hit:1 http://m.example/debian testing InRelease"), None);
        assert_eq!(fetching("Get:x"), None);
    }

    #[test]
    fn a_full_disk_is_named_as_such_and_an_unknown_key_gets_its_hint() {
        let full = explain(&["E: You don't have enough free space in /c/archives/.".into()], Some(100), Path::new("/c"));
        assert!(full.to_string().contains("/c") && full.hint_text().unwrap().contains("is full"), "{full}");
        let key = explain(&["E: The following signatures couldn't be verified: NO_PUBKEY 1".into()], Some(100), Path::new("/c"));
        assert!(key.hint_text().unwrap().contains("keyring"));
    }

    #[test]
    fn a_folder_name_that_would_break_apts_syntax_is_refused() {
        assert!(configuration(Path::new("/a\";x")).is_err());
        assert!(configuration(Path::new("/a b")).unwrap().contains("\"/a b/lists\""));
    }
}
