//! The engine a build runs on: the Docker that is there and answers, any builder buildx knows, or, on Linux without either, the
//! embedded engine made of the distribution's packages. What is built on it is not known here.

pub mod apt;
mod cleanup;
pub mod client;
pub mod credentials;
pub mod daemon;
pub mod existing;
pub mod hub;
pub mod layout;
mod network;
pub mod packages;
pub mod process;
pub mod sources;
pub mod standin;
pub mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{EngineChoice, Suite};
use crate::docker::capability::{Capabilities, Version};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::event::Events;
use crate::execute::process::Invocation;
use crate::execute::shutdown::Shutdown;

use self::layout::Layout;
use self::state::State;

/// Where the embedded engine keeps things and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Packages and stand-ins, shared by this user's engines.
    pub cache_dir: PathBuf,
    /// Images, build cache, registry, logs and state of this engine.
    pub data_dir: PathBuf,
    /// The release the packages are from.
    pub suite: Suite,
    /// The folder of the user's client configuration, whose credentials are handed through.
    pub user_config: Option<PathBuf>,
    /// PATH for the daemon.
    pub path: String,
}

impl EngineOptions {
    /// The user's one engine, or the one whose data `XTASK_ENGINE_DATA` names; packages are under [`Env::cache_dir`].
    #[must_use]
    pub fn new(env: &Env, suite: Suite) -> Self {
        let cache_dir = env.cache_dir().join("engine");
        let data_dir = env.get("XTASK_ENGINE_DATA").map_or_else(|| cache_dir.join("data"), |dir| env.cwd.join(dir));
        let path = env.get("PATH").unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").to_owned();
        Self { cache_dir, data_dir, suite, user_config: existing::docker_config_dir(env), path }
    }

    /// Where this engine's things are.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn layout(&self) -> Result<Layout> {
        Layout::new(&self.cache_dir, &self.data_dir)
    }
}

/// An engine that answers, and how to call its clients.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The `docker` client.
    pub docker: PathBuf,
    /// The buildx plugin, called directly: a fifth faster than through the client.
    pub buildx: PathBuf,
    /// For `DOCKER_HOST`; `None` leaves the user's own setting.
    pub docker_host: Option<String>,
    /// For `DOCKER_CONFIG`; `None` leaves the user's own setting.
    pub docker_config: Option<PathBuf>,
    /// The loopback registry that comes with the embedded engine.
    pub registry: Option<SocketAddr>,
    /// The engine's version; `None` for a builder that is not an engine's.
    pub engine_version: Option<Version>,
    /// The plugin's version.
    pub buildx_version: Version,
    /// What the two can do.
    pub capabilities: Capabilities,
    /// Set for the embedded engine.
    layout: Option<Layout>,
}

impl Engine {
    /// The engine to use: see [`EngineChoice`]. `BUILDX_BUILDER` means a builder buildx knows, which is not asked here.
    ///
    /// # Errors
    /// When none can be had, or the one the user points at does not answer.
    pub fn find(env: &Env, choice: EngineChoice, suite: Suite, events: &Events, shutdown: &Shutdown) -> Result<Self> {
        let existing = if choice == EngineChoice::Embedded { None } else { existing::find(env, shutdown)? };
        if let Some(found) = existing {
            return Ok(found);
        }
        let install = "install Docker with buildx and start it, or point `DOCKER_HOST` at an engine";
        if choice == EngineChoice::Docker {
            return Err(Error::failed("no Docker answers here").hint(install));
        }
        if !cfg!(target_os = "linux") {
            return Err(Error::failed("no Docker answers here, and the embedded engine runs on Linux only").hint(install));
        }
        Self::up(&EngineOptions::new(env, suite), events, shutdown)
    }

    /// The engine to use if it runs: as [`Engine::find`], and nothing is started.
    ///
    /// # Errors
    /// When the one the user points at does not answer.
    pub fn running(env: &Env, choice: EngineChoice, suite: Suite, shutdown: &Shutdown) -> Result<Option<Self>> {
        let existing = if choice == EngineChoice::Embedded { None } else { existing::find(env, shutdown)? };
        if existing.is_some() || choice == EngineChoice::Docker || !cfg!(target_os = "linux") {
            return Ok(existing);
        }
        let options = EngineOptions::new(env, suite);
        if !options.data_dir.is_dir() {
            return Ok(None);
        }
        let layout = options.layout()?;
        Ok(daemon::running(&layout).map(|state| Self::embedded(layout, &state)))
    }

    /// The embedded engine, started unless it runs. A running one costs a few milliseconds.
    ///
    /// # Errors
    /// When it cannot be had or started.
    pub fn up(options: &EngineOptions, events: &Events, shutdown: &Shutdown) -> Result<Self> {
        let layout = options.layout()?;
        let state = daemon::up(&layout, options.suite, &options.path, events, shutdown)?;
        let config = layout.docker_config();
        credentials::merge(options.user_config.as_deref(), &config, &state.packages.buildx())?;
        Ok(Self::embedded(layout, &state))
    }

    fn embedded(layout: Layout, state: &State) -> Self {
        let packages = &state.packages;
        Self {
            docker: packages.docker(),
            buildx: packages.buildx(),
            docker_host: Some(format!("unix://{}", layout.socket().display())),
            docker_config: Some(layout.docker_config()),
            registry: Some(state.registry_address),
            engine_version: Some(packages.engine),
            buildx_version: packages.buildx,
            capabilities: Capabilities::from_versions(packages.engine, packages.buildx),
            layout: Some(layout),
        }
    }

    /// True for the embedded engine.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.layout.is_some()
    }

    /// A call of the `docker` client on this engine.
    #[must_use]
    pub fn docker(&self) -> Invocation {
        self.client(&self.docker)
    }

    /// A call of the buildx plugin on this engine: `engine.buildx().arg("build")`.
    #[must_use]
    pub fn buildx(&self) -> Invocation {
        self.client(&self.buildx)
    }

    /// The socket of the containerd that keeps its images, where it is known.
    #[must_use]
    pub fn containerd(&self) -> Option<PathBuf> {
        self.layout.as_ref().map(Layout::containerd_socket)
    }

    fn client(&self, program: &Path) -> Invocation {
        let mut call = Invocation::new(program);
        if let Some(host) = &self.docker_host {
            // A context chosen in the environment would win over the host.
            call = call.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT");
        }
        if let Some(config) = &self.docker_config {
            call = call.env("DOCKER_CONFIG", config).env_remove("BUILDX_CONFIG");
        }
        if self.is_embedded() {
            call = call.env_remove("BUILDX_BUILDER").env_remove("DOCKER_TLS_VERIFY");
        }
        call
    }

    /// What identifies the image store that `load` puts images into, for whoever remembers what is in it.
    #[must_use]
    pub fn store_id(&self) -> String {
        match &self.layout {
            Some(layout) => layout.id().to_owned(),
            None => self.docker_host.clone().unwrap_or_else(|| "default".to_owned()),
        }
    }
}

/// The certificate bundle that this machine's tools were told to trust, to be handed to install steps as the build secret
/// `ca`: the first of the usual variables that names a file. `None` where none does; the defaults are good then.
#[must_use]
pub fn ca_bundle(env: &Env) -> Option<PathBuf> {
    let names = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"];
    let files = names.into_iter().filter_map(|name| env.get(name)).map(|file| env.cwd.join(file));
    files.into_iter().find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_bundle_is_the_first_file_that_a_variable_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
        let env = Env::new(dir.path(), []).with("NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem").with("CURL_CA_BUNDLE", "ca.pem");
        assert_eq!(ca_bundle(&env), Some(dir.path().join("ca.pem")));
        assert_eq!(ca_bundle(&Env::new(dir.path(), []).with("SSL_CERT_FILE", "")), None);
    }

    #[test]
    fn an_engine_of_ones_own_shares_the_packages_and_nothing_else() {
        let env = Env::new("/w", []).with("XTASK_CACHE_DIR", "c");
        let options = EngineOptions::new(&env, Suite::Stable);
        assert_eq!((options.suite, &options.data_dir), (Suite::Stable, &PathBuf::from("/w/c/engine/data")));
        let own = EngineOptions::new(&env.with("XTASK_ENGINE_DATA", "own"), Suite::Stable);
        assert_eq!((own.cache_dir, own.data_dir), (options.cache_dir, PathBuf::from("/w/own")));
    }
}
