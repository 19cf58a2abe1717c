//! Where the embedded engine keeps things, and what it calls what it makes on the machine. No I/O but for making the data
//! folder's path absolute.

use std::path::{Path, PathBuf};

use monoship_core::error::{Error, Result};
use monoship_core::name::sha256_hex;

/// The paths and names of one embedded engine. They follow from its data folder, so that two engines never meet and a
/// stopped one can be cleaned up without any record of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    cache: PathBuf,
    data: PathBuf,
    id: String,
    user: Option<PathBuf>,
}

/// Short, because a unix socket's path holds at most 107 bytes and a data folder may lie deep. It is also emptied at boot,
/// which is right for sockets and process ids.
const RUN_ROOT: &str = "/run/xtask";

impl Layout {
    /// For packages under `cache` and state under `data`; both are created and made absolute.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn new(cache: &Path, data: &Path) -> Result<Self> {
        let made = |dir: &Path| {
            std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
            dir.canonicalize().map_err(|e| Error::io("resolve", dir, e))
        };
        let (cache, data) = (made(cache)?, made(data)?);
        let id = sha256_hex(data.as_os_str().as_encoded_bytes())[..8].to_owned();
        Ok(Self { cache, data, id, user: None })
    }

    /// The same engine, for clients of a user whose own configuration lies in this folder.
    #[must_use]
    pub fn for_user(self, config: Option<PathBuf>) -> Self {
        Self { user: config, ..self }
    }

    /// Downloaded and unpacked packages, shared by every engine of this user.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Images, build cache, registry storage, logs and state of this engine.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Eight hexadecimal digits that tell this engine from any other on the machine.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sockets and runtime state.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        Path::new(RUN_ROOT).join(&self.id)
    }

    /// What every engine's runtime folder lies in.
    #[must_use]
    pub fn run_root() -> &'static Path {
        Path::new(RUN_ROOT)
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run().join("docker.sock")
    }

    /// Runtime state of containers.
    #[must_use]
    pub fn exec_root(&self) -> PathBuf {
        self.run().join("exec")
    }

    /// The bridge; an interface name holds at most 15 bytes.
    #[must_use]
    pub fn bridge(&self) -> String {
        format!("{}{}", Self::BRIDGE_PREFIX, self.id)
    }

    /// What the bridges of embedded engines begin with.
    pub const BRIDGE_PREFIX: &str = "xt";

    /// The control group that holds every container and build step.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("xtask-{}", self.id)
    }

    /// The state file.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.data.join("state.json")
    }

    /// What the registry serves in Docker Hub's place.
    #[must_use]
    pub fn served(&self) -> PathBuf {
        self.data.join("stand-ins.json")
    }

    /// Held by whoever starts or stops this engine.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// The client configuration that embedded clients read in place of the user's: one for each of the user's own, so that runs with other
    /// credentials do not meet. A shell that was pointed at this engine has ours already.
    #[must_use]
    pub fn docker_config(&self) -> PathBuf {
        let all = self.data.join("docker-config");
        match &self.user {
            Some(ours) if ours.starts_with(&all) => ours.clone(),
            Some(theirs) => all.join(&sha256_hex(theirs.as_os_str().as_encoded_bytes())[..8]),
            None => all.join("nobody"),
        }
    }

    /// The log of the daemon or the registry.
    #[must_use]
    pub fn log(&self, program: &str) -> PathBuf {
        self.data.join("log").join(format!("{program}.log"))
    }

    /// What the daemon needs for a moment: the secrets of a step that runs are mounted from here.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.data.join("tmp")
    }

    /// The engine's own storage.
    #[must_use]
    pub fn docker_root(&self) -> PathBuf {
        self.data.join("docker")
    }

    /// The registry's storage.
    #[must_use]
    pub fn registry_root(&self) -> PathBuf {
        self.data.join("registry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_data_folders_share_nothing_and_names_fit_their_limits() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        let one = Layout::new(dir.path(), &deep.join("one")).unwrap();
        let two = Layout::new(dir.path(), &deep.join("two")).unwrap();
        assert_ne!((one.bridge(), one.socket(), one.cgroup()), (two.bridge(), two.socket(), two.cgroup()));
        assert!(one.bridge().len() <= 15);
        let longest = one.run().join("exec/containerd/containerd-debug.sock.ttrpc");
        assert!(longest.as_os_str().len() <= 107, "{}", longest.display());
        assert_eq!(one, Layout::new(dir.path(), &deep.join("one/../one")).unwrap());
    }
}
