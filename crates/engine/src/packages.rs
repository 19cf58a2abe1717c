//! The engine's programs: the distribution's packages, downloaded, unpacked and tried, in the user's cache folder. Nothing is
//! installed, no maintainer script runs. Starting them is [`super::daemon`]'s.

use monoship_core::collect::Collect as _;
use monoship_core::execute::cores;
use monoship_core::execute::pool;
use monoship_core::sorted::Order as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xshell::cmd;

use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::lock::Lock;
use monoship_core::execute::process::{Invocation, shell};
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::capability::Version;
use monoship_docker::engine::Suite;

use super::apt::{Apt, DistributionRelease, make_executable, remove_tree, require_room};
use super::ownership;
use super::sources::Family;

/// What must come from a newer release: the machine's own may lack buildx, or have an engine without the containerd store.
const NEWER: [&str; 4] = ["docker.io", "docker-buildx", "containerd", "docker-registry"];
/// Debian splits the client from the engine; Ubuntu does not.
const NEWER_DEBIAN: [&str; 1] = ["docker-cli"];

/// What must come from the machine's own release, since it is linked against that release's C library. The libraries are named
/// because following dependencies would fetch the C library itself. busybox brings `ip`, `umount` and `unzip` in
/// one static program, where a small machine has none of them.
const OWN: [&str; 11] = [
    "runc",
    "libseccomp2",
    "iptables",
    "libip4tc2",
    "libip6tc2",
    "libxtables12",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "busybox-static",
];

/// What the packages hold that no build needs, a third of their size.
const UNUSED: [&str; 8] = [
    "usr/share",
    "usr/bin/ctr",
    "usr/lib/cni",
    "usr/lib/containerd",
    "usr/bin/containerd-shim",
    "usr/bin/containerd-shim-runc-v1",
    "etc",
    "lib/systemd",
];

/// Two indexes, the downloads, and twice what they unpack to less what is thrown away.
const ROOM: u64 = 600 << 20;

/// Format of the manifest that marks an unpacked folder as whole.
const SCHEMA: u32 = 1;

/// Unpacked programs that were seen to run here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    schema: u32,
    /// The folder they were unpacked into.
    pub root: PathBuf,
    /// The release they are from, which may not be the one asked for.
    pub suite: Suite,
    /// The engine's version.
    pub engine: Version,
    /// The buildx plugin's version.
    pub buildx: Version,
}

impl Packages {
    /// The unpacked packages of `suite` under `cache`: at once where they are there, else downloaded. Where testing's do not
    /// run on this machine's C library, or its key is not known here, stable's are taken and a notice says so.
    ///
    /// # Errors
    /// When they cannot be downloaded, unpacked or run, or lie where somebody else could have put them.
    pub fn ensure(cache: &Path, suite: Suite, events: &Events, shutdown: &Shutdown) -> Result<Self> {
        check_owner(cache)?;
        if let Some(found) = Self::find(cache, suite) {
            return Ok(found);
        }
        let _lock = Lock::wait(&cache.join("lock"), shutdown, || {
            events.doing(&Task::Engine, "waiting for another run to fetch the engine");
        })?;
        if let Some(found) = Self::find(cache, suite) {
            return Ok(found);
        }
        match Self::fetch(cache, suite, events, shutdown) {
            Err(error) if suite == Suite::Testing && !error.is_cancelled() && is_unusable(&error) => {
                events.notice(
                    Level::Warning,
                    Some(Task::Engine),
                    format!("Debian testing's engine cannot be used here, so the stable one is: {error}"),
                    Some("set `suite = \"stable\"` in [builders] to go there at once".into()),
                );
                let found = Self::fetch(cache, Suite::Stable, events, shutdown)?;
                // Remembers the verdict: the next run finds stable's under testing's name and tries nothing.
                found.save(&manifest(cache, suite))?;
                Ok(found)
            }
            other => other,
        }
    }

    fn find(cache: &Path, suite: Suite) -> Option<Self> {
        let found: Self = serde_json::from_str(&read_text(&manifest(cache, suite)).ok()?).ok()?;
        // The file says which of our folders, never which folder: what lies there is run.
        let ours = [Suite::Testing, Suite::Stable].iter().any(|suite| found.root == folder(cache, *suite));
        let usable = found.schema == SCHEMA && ours && found.are_there();
        (usable && check_owner(cache).is_ok()).then_some(found)
    }

    /// Whether they still lie where they were unpacked: caches are emptied, also under an engine that runs.
    pub(super) fn are_there(&self) -> bool {
        self.dockerd().is_file() && self.buildx().is_file()
    }

    /// Whatever is unpacked under `cache`: every release's tools can take down what any of them made.
    #[must_use]
    pub fn any(cache: &Path) -> Option<Self> {
        [Suite::Testing, Suite::Stable].into_iter().find_map(|suite| Self::find(cache, suite))
    }

    fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::failed("cannot write a manifest").source(e))?;
        write_atomically(path, text.as_bytes())
    }

    fn fetch(cache: &Path, suite: Suite, events: &Events, shutdown: &Shutdown) -> Result<Self> {
        require_room(cache, ROOM)?;
        let staging = cache.join("staging");
        let debs = cache.join("debs").join(suite.as_str());
        remove_tree(&staging)?;
        let newer = Apt::new(DistributionRelease::of(suite), cache, events, shutdown)?;
        let own = Apt::new(DistributionRelease::Own, cache, events, shutdown)?;
        let mut from_newer = NEWER.to_vec();
        if newer.distribution().family == Family::Debian {
            from_newer.extend(NEWER_DEBIAN);
        }
        let get = |apt: &Apt<'_>, packages: &[&str]| apt.update().and_then(|()| apt.download(packages, &debs));
        let (a, b) = pool::both(|| get(&newer, &from_newer), || get(&own, &OWN));
        a.and(b)?;
        unpack_all(&debs, &staging, events, shutdown)?;
        UNUSED.into_iter().try_for_each(|path| remove(&staging.join(path)))?;
        write_wrappers(&staging)?;
        let root = folder(cache, suite);
        let tried = Self { schema: SCHEMA, root: staging, suite, engine: Version::new(0, 0, 0), buildx: Version::new(0, 0, 0) };
        let tried = tried.try_out(shutdown)?;
        remove_tree(&root)?;
        std::fs::create_dir_all(cache.join("packages")).map_err(|e| Error::io("create", cache, e))?;
        std::fs::rename(&tried.root, &root).map_err(|e| Error::io("move into place", &root, e))?;
        let done = Self { root, ..tried };
        done.save(&manifest(cache, suite))?;
        remove_tree(&debs)?;
        newer.forget()?;
        Ok(done)
    }

    /// Runs each program once: an older C library shows here and not in the middle of a build.
    fn try_out(mut self, shutdown: &Shutdown) -> Result<Self> {
        let version = |program: PathBuf, arg: &str| {
            let command = Invocation::new(program).arg(arg).timeout(Duration::from_secs(30));
            let text = command
                .read(shutdown)
                .map_err(|error| if error.is_cancelled() { error } else { Error::failed(UNUSABLE).source(error) })?;
            Ok::<_, Error>((Version::find(&text), text))
        };
        let known = |(version, text): (Option<Version>, String)| {
            version.ok_or_else(|| Error::failed(format!("no version in what the engine's program printed: `{text}`")))
        };
        self.engine = known(version(self.dockerd(), "--version")?)?;
        self.buildx = known(version(self.buildx(), "version")?)?;
        for program in [self.docker(), self.containerd(), self.registry(), self.root.join("bin/runc")] {
            version(program, "--version")?;
        }
        Ok(self)
    }

    /// The client.
    #[must_use]
    pub fn docker(&self) -> PathBuf {
        self.root.join("usr/bin/docker")
    }

    /// The buildx plugin.
    #[must_use]
    pub fn buildx(&self) -> PathBuf {
        self.root.join("usr/libexec/docker/cli-plugins/docker-buildx")
    }

    /// The engine.
    #[must_use]
    pub fn dockerd(&self) -> PathBuf {
        self.root.join("usr/sbin/dockerd")
    }

    fn containerd(&self) -> PathBuf {
        self.root.join("usr/bin/containerd")
    }

    /// The registry server.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.root.join("usr/bin/docker-registry")
    }

    /// The folders that go in front of PATH, wrappers first.
    #[must_use]
    pub fn path_entries(&self) -> [PathBuf; 3] {
        ["bin", "usr/bin", "usr/sbin"].map(|dir| self.root.join(dir))
    }

    /// One of busybox's tools.
    #[must_use]
    pub fn busybox(&self, tool: &str) -> Invocation {
        Invocation::new(self.busybox_program()).arg(tool).timeout(Duration::from_mins(1))
    }

    /// busybox itself, a static program.
    #[must_use]
    pub fn busybox_program(&self) -> PathBuf {
        let merged = self.root.join("usr/bin/busybox");
        if merged.is_file() { merged } else { self.root.join("bin/busybox") }
    }

    /// `iptables` over nftables or, where the machine uses that, over the older interface.
    #[must_use]
    pub fn iptables(&self, legacy: bool) -> Invocation {
        let name = if legacy { "bin/iptables-legacy" } else { "bin/iptables-nft" };
        Invocation::new(self.root.join(name)).timeout(Duration::from_secs(30))
    }
}

/// What an error says that makes stable's packages worth a try.
const UNUSABLE: &str = "a program of the engine does not run on this machine";

fn is_unusable(error: &Error) -> bool {
    let text = error.to_string();
    text.contains(UNUSABLE) || text.contains("NO_PUBKEY") || text.contains("couldn't be verified")
}

/// Where a release's packages are unpacked.
fn folder(cache: &Path, suite: Suite) -> PathBuf {
    cache.join("packages").join(suite.as_str())
}

/// Checks every folder between the cache and the programs.
fn check_owner(cache: &Path) -> Result<()> {
    let folders = [cache.to_owned(), cache.join("packages"), folder(cache, Suite::Testing), folder(cache, Suite::Stable)];
    folders.iter().try_for_each(|dir| ownership::check(dir))
}

fn manifest(cache: &Path, suite: Suite) -> PathBuf {
    cache.join("packages").join(format!("{}.json", suite.as_str()))
}

/// Unpacks every `.deb` in `debs`, side by side.
pub(super) fn unpack_all(debs: &Path, into: &Path, events: &Events, shutdown: &Shutdown) -> Result<()> {
    std::fs::create_dir_all(into).map_err(|e| Error::io("create", into, e))?;
    let entries = std::fs::read_dir(debs).map_err(|e| Error::io("read", debs, e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).into_vec();
    files.retain(|file| file.extension().is_some_and(|e| e == "deb"));
    // The largest first, or the last one to start decides how long it takes.
    files.order_by_key(|file| std::cmp::Reverse(std::fs::metadata(file).map_or(0, |m| m.len())));
    cores::try_map(&files, |file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        events.doing(&Task::Engine, format!("unpacking {}", name.split('_').next().unwrap_or(&name)));
        unpack(file, into, shutdown).map(drop)
    })?;
    Ok(())
}

/// Unpacks one `.deb`, and returns the paths that it has, a line each: `./usr/bin/bash`.
pub(super) fn unpack(deb: &Path, into: &Path, shutdown: &Shutdown) -> Result<String> {
    let sh = shell(into)?;
    let command = Invocation::from(cmd!(sh, "dpkg-deb --vextract {deb} {into}").env("LC_ALL", "C.UTF-8"));
    let output = command.run(shutdown)?;
    let tail = output.error_tail();
    if output.success() {
        return Ok(output.text());
    }
    let full = tail.contains("No space left");
    let no_room = || Error::io("write into", into, std::io::ErrorKind::StorageFull.into());
    Err(if full { no_room() } else { command.failure(output.code, &tail) })
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_tree(path),
        Ok(_) => std::fs::remove_file(path).map_err(|e| Error::io("remove", path, e)),
        Err(_) => Ok(()),
    }
}

/// runc and iptables are linked against libraries that lie in our folder. The variables are set for them alone, so that
/// nothing a container or a credential helper starts inherits them.
fn write_wrappers(root: &Path) -> Result<()> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).map_err(|e| Error::io("create", &bin, e))?;
    let programs = [
        ("runc", "usr/sbin/runc"),
        ("iptables-nft", "usr/sbin/xtables-nft-multi\" \"iptables"),
        ("iptables-legacy", "usr/sbin/xtables-legacy-multi\" \"iptables"),
    ];
    for (name, program) in programs {
        let script = format!(
            "#!/bin/sh\nroot=\"${{0%/*}}/..\"\nlib=\"$root/usr/lib/{triplet}\"\n\
             LD_LIBRARY_PATH=\"$lib:$root/lib/{triplet}\" XTABLES_LIBDIR=\"$lib/xtables\" exec \"$root/{program}\" \"$@\"\n"
        );
        let path = bin.join(name);
        write_atomically(&path, script.as_bytes())?;
        make_executable(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapper_finds_its_program_wherever_the_folder_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("with space");
        write_wrappers(&root).unwrap();
        std::fs::create_dir_all(root.join("usr/sbin")).unwrap();
        let moved = dir.path().join("moved");
        std::fs::rename(&root, &moved).unwrap();
        std::fs::copy("/bin/sh", moved.join("usr/sbin/runc")).unwrap();
        let command = Invocation::new(moved.join("bin/runc")).args(["-c", "echo $LD_LIBRARY_PATH"]);
        let path = command.read(&Shutdown::new()).unwrap();
        assert!(path.starts_with(moved.join("bin/../usr/lib").to_str().unwrap()), "{path}");
    }

    #[test]
    fn a_folder_without_its_manifest_is_not_taken_for_whole() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("packages/testing/usr/sbin")).unwrap();
        assert_eq!(Packages::find(dir.path(), Suite::Testing), None);
        std::fs::write(manifest(dir.path(), Suite::Testing), "{\"schema\":1").unwrap();
        assert_eq!(Packages::find(dir.path(), Suite::Testing), None);
    }

    #[test]
    fn programs_are_run_only_out_of_the_caches_own_folder_and_only_where_nobody_else_may_write() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let version = Version::new(1, 0, 0);
        let put = |root: &Path| {
            let found =
                Packages { schema: SCHEMA, root: root.to_owned(), suite: Suite::Testing, engine: version, buildx: version };
            for program in [found.dockerd(), found.buildx()] {
                std::fs::create_dir_all(program.parent().unwrap()).unwrap();
                std::fs::write(program, "").unwrap();
            }
            found.save(&manifest(&cache, Suite::Testing)).unwrap();
        };
        put(&dir.path().join("elsewhere"));
        assert_eq!(Packages::find(&cache, Suite::Testing), None, "a file that names another folder");
        put(&folder(&cache, Suite::Testing));
        assert!(Packages::find(&cache, Suite::Testing).is_some());
        for open in [cache.join("packages"), cache.clone(), folder(&cache, Suite::Testing)] {
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
            assert_eq!(Packages::find(&cache, Suite::Testing), None, "{}", open.display());
            let refused = Packages::ensure(&cache, Suite::Testing, &Events::none(), &Shutdown::new()).unwrap_err();
            assert!(refused.to_string().contains("others may write into"), "{refused}");
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
