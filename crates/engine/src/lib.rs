//! The embedded engine: for Linux without a Docker, a private daemon and registry made of the distribution's own packages, unpacked in the
//! user's cache folder. Nothing is installed, and a Docker that is there is not touched. What is built on it is not known here.

pub mod apt;
mod cleanup;
pub mod credentials;
pub mod daemon;
pub mod hub;
pub mod layout;
mod mark;
mod network;
pub mod ownership;
pub mod packages;
pub mod process;
pub mod sources;
pub mod standin;
pub mod state;
pub mod trust;

use std::path::PathBuf;

use monoship_core::env::Env;
use monoship_core::error::Result;
use monoship_core::event::Events;
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::capability::Capabilities;
use monoship_docker::engine::{Engine, Own, Suite, existing};

use self::layout::Layout;
use self::state::State;
use self::trust::Trust;

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
    /// What build steps trust, of an engine that this starts.
    pub trust: Trust,
}

impl EngineOptions {
    /// The user's one engine, or the one whose data `XTASK_ENGINE_DATA` names; packages are under [`Env::cache_dir`].
    #[must_use]
    pub fn new(env: &Env, suite: Suite) -> Self {
        let cache_dir = env.cache_dir().join("engine");
        let data_dir = env.get("XTASK_ENGINE_DATA").map_or_else(|| cache_dir.join("data"), |dir| env.cwd.join(dir));
        let path = env.get("PATH").unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").to_owned();
        Self { cache_dir, data_dir, suite, user_config: existing::docker_config_dir(env), path, trust: Trust::of(env) }
    }

    /// Where this engine's things are.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn layout(&self) -> Result<Layout> {
        Ok(Layout::new(&self.cache_dir, &self.data_dir)?.for_user(self.user_config.clone()))
    }
}

/// The embedded engine if it runs; nothing is started, and no folder is made.
///
/// # Errors
/// When a folder that is there cannot be read.
pub fn running(options: &EngineOptions) -> Result<Option<Engine>> {
    if !options.data_dir.is_dir() {
        return Ok(None);
    }
    let layout = options.layout()?;
    Ok(daemon::running(&layout).map(|state| embedded(&layout, &state)))
}

/// Where the embedded engine listens, for `DOCKER_HOST`; `None` where it has never run.
///
/// # Errors
/// As [`running`].
pub fn address(options: &EngineOptions) -> Result<Option<String>> {
    if !options.data_dir.is_dir() {
        return Ok(None);
    }
    Ok(Some(daemon::status(&options.layout()?).docker_host))
}

/// The embedded engine, started unless it runs. A running one costs a few milliseconds.
///
/// # Errors
/// When it cannot be had or started.
pub fn up(options: &EngineOptions, events: &Events, shutdown: &Shutdown) -> Result<Engine> {
    let layout = options.layout()?;
    let state = daemon::up(&layout, options, events, shutdown)?;
    configure(options, &layout, &state)?;
    Ok(embedded(&layout, &state))
}

/// Brings the client configuration of this user up to date, where the engine runs: for whoever is told where it lies.
///
/// # Errors
/// When the user's configuration cannot be read, or ours not written.
pub fn configure_clients(options: &EngineOptions) -> Result<()> {
    let layout = options.layout()?;
    daemon::running(&layout).map_or(Ok(()), |state| configure(options, &layout, &state))
}

fn configure(options: &EngineOptions, layout: &Layout, state: &State) -> Result<()> {
    credentials::merge(options.user_config.as_deref(), &layout.docker_config(), &state.packages.buildx())
}

fn embedded(layout: &Layout, state: &State) -> Engine {
    let packages = &state.packages;
    let own = Own { cache: layout.cache().to_owned(), data: layout.data().to_owned(), id: layout.id().to_owned() };
    Engine {
        docker: packages.docker(),
        buildx: packages.buildx(),
        docker_host: Some(format!("unix://{}", layout.socket().display())),
        builders: None,
        docker_config: Some(layout.docker_config()),
        registry: Some(state.registry_address),
        engine_version: Some(packages.engine),
        buildx_version: packages.buildx,
        capabilities: Capabilities::from_versions(packages.engine, packages.buildx),
        own: Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_of_ones_own_shares_the_packages_and_nothing_else() {
        let env = Env::new("/w", []).with("XTASK_CACHE_DIR", "c");
        let options = EngineOptions::new(&env, Suite::Stable);
        assert_eq!((options.suite, &options.data_dir), (Suite::Stable, &PathBuf::from("/w/c/engine/data")));
        let own = EngineOptions::new(&env.with("XTASK_ENGINE_DATA", "own"), Suite::Stable);
        assert_eq!((own.cache_dir, own.data_dir), (options.cache_dir, PathBuf::from("/w/own")));
    }
}
