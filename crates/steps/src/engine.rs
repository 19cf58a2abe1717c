//! Where the engine comes from: the Docker that is there, or, where this program was built with it, the embedded one.

use std::path::PathBuf;

use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::Events;
use monoship_core::execute::http::Http;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::engine::{Engine, StandIns, Suite, existing};
use monoship_plan::config::{Config, EngineChoice};

const INSTALL: &str = "install Docker with buildx and start it, or point `DOCKER_HOST` at an engine";

/// The engine to use, started where it is the embedded one: see [`EngineChoice`]. `BUILDX_BUILDER` means a builder that buildx knows, which
/// is not asked here.
///
/// # Errors
/// When none can be had, or the one the user points at does not answer.
fn find(env: &Env, choice: EngineChoice, suite: Suite, events: &Events, shutdown: &Shutdown) -> Result<Engine> {
    if let Some(found) = existing(env, choice, suite, shutdown)? {
        return Ok(found);
    }
    if choice == EngineChoice::Docker {
        return Err(Error::failed("no Docker answers here").hint(INSTALL));
    }
    embedded::up(env, suite, events, shutdown)
}

/// The engine of a configuration: the clients alone where it names builders that buildx knows, else a Docker that answers, or the embedded
/// engine.
///
/// # Errors
/// When none can be had.
pub fn configured(env: &Env, config: &Config, events: &Events, shutdown: &Shutdown) -> Result<Engine> {
    let find = if names_builders(config) { for_builders } else { find };
    find(env, config.engine, config.suite, events, shutdown)
}

/// The same if it runs: nothing is started.
///
/// # Errors
/// As [`configured`].
pub fn configured_running(env: &Env, config: &Config, shutdown: &Shutdown) -> Result<Option<Engine>> {
    let running = if names_builders(config) { running_for_builders } else { running };
    running(env, config.engine, config.suite, shutdown)
}

/// True where builds go to builders that buildx knows: there need be no Docker beside them.
fn names_builders(config: &Config) -> bool {
    config.builder.is_some() || !config.fleet.is_empty()
}

/// What builds on such builders are called with: the clients that are there, or the embedded engine's; then that is started, as the place that
/// images are loaded into.
fn for_builders(env: &Env, choice: EngineChoice, suite: Suite, events: &Events, shutdown: &Shutdown) -> Result<Engine> {
    if let Some(found) = clients(env, choice, suite, shutdown)? {
        return Ok(found);
    }
    if choice == EngineChoice::Docker {
        let hint = "install the client and the buildx plugin";
        return Err(Error::failed("there is no `docker` client with buildx here, to call the builders with").hint(hint));
    }
    Ok(embedded::up(env, suite, events, shutdown)?.with_builders_of(env))
}

/// The same without starting anything.
fn running_for_builders(env: &Env, choice: EngineChoice, suite: Suite, shutdown: &Shutdown) -> Result<Option<Engine>> {
    let found = clients(env, choice, suite, shutdown)?;
    if found.is_some() || choice == EngineChoice::Docker {
        return Ok(found);
    }
    Ok(embedded::running(env, suite)?.map(|engine| engine.with_builders_of(env)))
}

fn clients(env: &Env, choice: EngineChoice, suite: Suite, shutdown: &Shutdown) -> Result<Option<Engine>> {
    if is_embedded(env, choice, suite) { Ok(None) } else { existing::clients(env, shutdown) }
}

/// The engine to use if it runs, a Docker or the embedded engine: nothing is started.
///
/// # Errors
/// When the one the user points at does not answer.
pub fn running(env: &Env, choice: EngineChoice, suite: Suite, shutdown: &Shutdown) -> Result<Option<Engine>> {
    let found = existing(env, choice, suite, shutdown)?;
    if found.is_some() || choice == EngineChoice::Docker { Ok(found) } else { embedded::running(env, suite) }
}

/// A shell that was pointed at the embedded engine, to use `docker` with it, means that engine, and not some Docker.
fn existing(env: &Env, choice: EngineChoice, suite: Suite, shutdown: &Shutdown) -> Result<Option<Engine>> {
    if is_embedded(env, choice, suite) { Ok(None) } else { existing::find(env, shutdown) }
}

fn is_embedded(env: &Env, choice: EngineChoice, suite: Suite) -> bool {
    let own = || env.get("DOCKER_HOST").is_some_and(|host| embedded::address(env, suite).as_deref() == Some(host));
    choice == EngineChoice::Embedded || choice == EngineChoice::Auto && own()
}

/// Makes the stand-ins that `images` need on this engine, and names those that are served by one. Others than the embedded engine have none.
///
/// # Errors
/// When an image can neither be had nor made; the error names it and what to do.
pub fn stand_ins(
    engine: &Engine,
    images: &[ImageRef],
    policy: StandIns,
    events: &Events,
    http: &Http,
) -> Result<Vec<(ImageRef, Digest)>> {
    if engine.is_embedded() { embedded::stand_ins(engine, images, policy, events, http) } else { Ok(Vec::new()) }
}

/// The stand-ins that this engine serves now.
pub fn served(engine: &Engine) -> Vec<(ImageRef, Digest)> {
    embedded::served(engine)
}

/// Where the embedded engine keeps things, or would: packages, then data.
pub fn folders(env: &Env, suite: Suite) -> Option<(PathBuf, PathBuf)> {
    embedded::folders(env, suite)
}

#[cfg(feature = "embedded-engine")]
mod embedded {
    use super::{Digest, Engine, Env, Error, Events, Http, INSTALL, ImageRef, PathBuf, Result, Shutdown, StandIns, Suite};
    use monoship_core::collect::Collect as _;
    use monoship_engine::{EngineOptions, standin};

    pub fn up(env: &Env, suite: Suite, events: &Events, shutdown: &Shutdown) -> Result<Engine> {
        if !cfg!(target_os = "linux") {
            return Err(Error::failed("no Docker answers here, and the embedded engine runs on Linux only").hint(INSTALL));
        }
        monoship_engine::up(&EngineOptions::new(env, suite), events, shutdown)
    }

    pub fn running(env: &Env, suite: Suite) -> Result<Option<Engine>> {
        if cfg!(target_os = "linux") { monoship_engine::running(&EngineOptions::new(env, suite)) } else { Ok(None) }
    }

    /// Where it listens, or would.
    pub fn address(env: &Env, suite: Suite) -> Option<String> {
        monoship_engine::address(&EngineOptions::new(env, suite)).ok()?
    }

    pub fn stand_ins(
        engine: &Engine,
        images: &[ImageRef],
        policy: StandIns,
        events: &Events,
        http: &Http,
    ) -> Result<Vec<(ImageRef, Digest)>> {
        let served = standin::ensure(engine, images, policy, events, http)?;
        Ok(served.into_iter().map(|served| (served.image, served.digest)).into_vec())
    }

    pub fn served(engine: &Engine) -> Vec<(ImageRef, Digest)> {
        standin::served(engine).into_iter().map(|served| (served.image, served.digest)).into_vec()
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as without the feature")]
    pub fn folders(env: &Env, suite: Suite) -> Option<(PathBuf, PathBuf)> {
        let options = EngineOptions::new(env, suite);
        Some((options.cache_dir, options.data_dir))
    }
}

#[cfg(not(feature = "embedded-engine"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signatures as with the feature")]
mod embedded {
    use super::{Digest, Engine, Env, Error, Events, Http, INSTALL, ImageRef, PathBuf, Result, Shutdown, StandIns, Suite};

    pub fn up(_: &Env, _: Suite, _: &Events, _: &Shutdown) -> Result<Engine> {
        let hint = format!("{INSTALL}; or turn on the feature `embedded-engine` of `monoship` in xtask/Cargo.toml");
        Err(Error::failed("no Docker answers here, and this program was built without the embedded engine").hint(hint))
    }

    pub fn running(_: &Env, _: Suite) -> Result<Option<Engine>> {
        Ok(None)
    }

    pub fn address(_: &Env, _: Suite) -> Option<String> {
        None
    }

    pub fn stand_ins(_: &Engine, _: &[ImageRef], _: StandIns, _: &Events, _: &Http) -> Result<Vec<(ImageRef, Digest)>> {
        Ok(Vec::new())
    }

    pub fn served(_: &Engine) -> Vec<(ImageRef, Digest)> {
        Vec::new()
    }

    pub fn folders(_: &Env, _: Suite) -> Option<(PathBuf, PathBuf)> {
        None
    }
}
