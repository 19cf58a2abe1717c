//! What is known of each service's last builds: the answer to "is there an image for this fingerprint?", and the inputs of the
//! newest build for "why is it built again?". One small file for each service, so that two runs do not wait for each other and
//! a plan reads only what it asks for; the inputs, which are large, lie beside it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::runs::RunId;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_atomically};
use monoship_core::execute::lock::Lock;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, Fingerprint, ServiceName};
use monoship_core::secret::mask;

/// The version this code writes and reads.
const VERSION: u32 = 1;

/// How many builds of a service are remembered: enough for going back and forth between branches, and still one disk block.
const REMEMBERED: usize = 8;

/// One build of a service that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceRecord {
    /// Over everything that went in, what is made of it included.
    pub fingerprint: Fingerprint,
    /// The image's digest, where the builder told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where the image was put. Whether it is still there is for the caller to look.
    pub images: Vec<String>,
    /// The image's size in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When it was built.
    #[serde(with = "monoship_core::time::rfc3339")]
    pub when: SystemTime,
    /// The run that built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

#[derive(Serialize, Deserialize)]
struct Builds {
    version: u32,
    /// Newest first.
    builds: Vec<ServiceRecord>,
}

#[derive(Serialize, Deserialize)]
struct WentIn {
    version: u32,
    fingerprint: Fingerprint,
    inputs: serde_json::Value,
}

/// The build state of a repository.
#[derive(Debug, Clone)]
pub struct State {
    folder: PathBuf,
    shutdown: Shutdown,
}

impl State {
    /// The state under `root`, which is `target/xtask`. A run that is closing waits for no other that changes it.
    #[must_use]
    pub fn new(root: &Path, shutdown: &Shutdown) -> Self {
        Self { folder: root.join("state"), shutdown: shutdown.clone() }
    }

    // Completion scripts take the services' names from these.
    fn path(&self, service: &ServiceName, ending: &str) -> PathBuf {
        self.folder.join(format!("{service}.{ending}"))
    }

    /// The builds that are remembered, newest first. A missing, damaged or newer file means that nothing is known: the worst
    /// that follows is a build that was not needed.
    #[must_use]
    pub fn builds(&self, service: &ServiceName) -> Vec<ServiceRecord> {
        let read = std::fs::read(self.path(service, "json")).ok();
        let builds = read.and_then(|bytes| serde_json::from_slice::<Builds>(&bytes).ok());
        builds.filter(|file| file.version == VERSION).map(|file| file.builds).unwrap_or_default()
    }

    /// The newest build.
    #[must_use]
    pub fn latest(&self, service: &ServiceName) -> Option<ServiceRecord> {
        self.builds(service).into_iter().next()
    }

    /// The newest build of these very inputs.
    #[must_use]
    pub fn find(&self, service: &ServiceName, fingerprint: &Fingerprint) -> Option<ServiceRecord> {
        self.builds(service).into_iter().find(|build| build.fingerprint == *fingerprint)
    }

    /// What went into the newest build, with its fingerprint.
    #[must_use]
    pub fn inputs(&self, service: &ServiceName) -> Option<(Fingerprint, serde_json::Value)> {
        let bytes = std::fs::read(self.path(service, "inputs.json")).ok()?;
        let file: WentIn = serde_json::from_slice(&bytes).ok()?;
        (file.version == VERSION).then_some((file.fingerprint, file.inputs))
    }

    /// Sees to it that the next build of a service is made, and executes every step.
    ///
    /// # Errors
    /// When that cannot be noted down.
    pub fn clear(&self, service: &ServiceName) -> Result<()> {
        self.forget(Some(service))?;
        write_atomically(&self.path(service, "cleared"), b"")
    }

    /// True where [`State::clear`] was called and no build has succeeded since.
    #[must_use]
    pub fn is_cleared(&self, service: &ServiceName) -> bool {
        self.path(service, "cleared").exists()
    }

    /// Remembers a build that succeeded, and its inputs. Safe against another process doing the same. Hands back the builds that are
    /// forgotten for it, of whose inputs none is remembered any more.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn remember(&self, service: &ServiceName, build: ServiceRecord, inputs: serde_json::Value) -> Result<Vec<ServiceRecord>> {
        let mut forgotten = Vec::new();
        self.locked(|| {
            let fingerprint = build.fingerprint.clone();
            let file = WentIn { version: VERSION, fingerprint: fingerprint.clone(), inputs };
            write_json(&self.path(service, "inputs.json"), &file)?;
            let mut builds = self.builds(service);
            builds.retain(|known| known.fingerprint != fingerprint || known.images != build.images);
            builds.insert(0, build);
            forgotten = builds.split_off(REMEMBERED.min(builds.len()));
            forgotten.retain(|old| builds.iter().all(|kept| kept.fingerprint != old.fingerprint));
            write_json(&self.path(service, "json"), &Builds { version: VERSION, builds })?;
            remove(&self.path(service, "cleared"))
        })?;
        Ok(forgotten)
    }

    /// Forgets a service, or all of them: the next build does not skip.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget(&self, service: Option<&ServiceName>) -> Result<()> {
        self.locked(|| {
            let paths: Vec<PathBuf> = match service {
                Some(service) => ["json", "inputs.json"].iter().map(|ending| self.path(service, ending)).into_vec(),
                None => std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()).into_vec(),
            };
            let mut files = paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json"));
            files.try_for_each(|path| remove(path))
        })
    }

    /// Runs `change` while no other process changes the state.
    fn locked<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let _lock = Lock::wait(&self.folder.join("lock"), &self.shutdown, || ())?;
        change()
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).map_err(|e| Error::failed(format!("cannot write {}", path.display())).source(e))?;
    write_atomically(path, mask(&json).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn api() -> ServiceName {
        "api".parse().unwrap()
    }

    fn build(of: &str, image: &str) -> ServiceRecord {
        ServiceRecord {
            fingerprint: Fingerprint::of(of.as_bytes()),
            digest: Some(Digest::of(of.as_bytes())),
            images: vec![image.to_owned()],
            size: Some(1),
            when: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
            run: None,
        }
    }

    #[test]
    fn a_build_is_found_by_its_fingerprint_also_after_others() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path(), &Shutdown::new());
        assert_eq!(state.latest(&api()), None);
        for (of, image) in [("main", "a"), ("branch", "a"), ("main", "b"), ("main", "a")] {
            state.remember(&api(), build(of, image), serde_json::json!({ "of": of })).unwrap();
        }
        assert_eq!(state.find(&api(), &Fingerprint::of(b"branch")), Some(build("branch", "a")));
        assert_eq!(state.latest(&api()), Some(build("main", "a")));
        assert_eq!(state.builds(&api()).len(), 3, "the same build in the same place is one");
        assert_eq!(state.inputs(&api()).unwrap().1["of"], "main");
        let remember = |n: usize| state.remember(&api(), build(&n.to_string(), "a"), serde_json::Value::Null).unwrap();
        assert_eq!((0..20).map(|n| remember(n).len()).sum::<usize>(), 20 + 2 - REMEMBERED, "what goes is handed back once");
        assert_eq!(state.builds(&api()).len(), REMEMBERED);
        state.forget(Some(&api())).unwrap();
        assert_eq!((state.latest(&api()), state.inputs(&api())), (None, None));
    }

    #[test]
    fn what_was_cleared_stays_so_until_a_build_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path(), &Shutdown::new());
        state.remember(&api(), build("x", "a"), serde_json::Value::Null).unwrap();
        assert!(!state.is_cleared(&api()));
        state.clear(&api()).unwrap();
        assert!(state.is_cleared(&api()) && state.latest(&api()).is_none());
        state.remember(&api(), build("x", "a"), serde_json::Value::Null).unwrap();
        assert!(!state.is_cleared(&api()));
    }

    #[test]
    fn a_damaged_or_newer_state_means_nothing_is_known_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path(), &Shutdown::new());
        for damaged in ["", "{\"version\":1,\"builds\":[{", "{\"version\":2,\"builds\":[]}", "\u{0}\u{0}"] {
            std::fs::create_dir_all(&state.folder).unwrap();
            std::fs::write(state.path(&api(), "json"), damaged).unwrap();
            assert_eq!(state.latest(&api()), None);
            state.remember(&api(), build("x", "a"), serde_json::Value::Null).unwrap();
            assert!(state.latest(&api()).is_some());
        }
    }

    #[test]
    fn two_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path(), &Shutdown::new());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let state = &state;
                scope.spawn(move || {
                    drop(state.remember(&api(), build(&writer.to_string(), "a"), serde_json::Value::Null).unwrap());
                });
            }
        });
        assert_eq!(state.builds(&api()).len(), 4);
    }

    #[test]
    fn a_run_that_is_closing_does_not_wait_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let shutdown = Shutdown::new();
        let state = State::new(dir.path(), &shutdown);
        state.remember(&api(), build("x", "a"), serde_json::Value::Null).unwrap();
        let held = Lock::wait(&state.folder.join("lock"), &Shutdown::new(), || ()).unwrap();
        shutdown.close();
        assert!(state.remember(&api(), build("y", "a"), serde_json::Value::Null).unwrap_err().is_cancelled());
        drop(held);
        state.remember(&api(), build("y", "a"), serde_json::Value::Null).unwrap();
        assert_eq!(state.builds(&api()).len(), 2);
    }
}
