//! Finding the Docker that is there: which engine the user's settings point at, whether it answers, and where its buildx
//! plugin is. Nothing here changes anything.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capability::{Capabilities, Version};
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::sha256_hex;

use super::{Engine, client};

/// Where the docker client looks for plugins besides the user's own folder (docker/cli, `cli-plugins/manager`), and where
/// Docker Desktop and Homebrew put them.
const PLUGIN_DIRS: [&str; 7] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
    "/opt/homebrew/lib/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/Applications/Docker.app/Contents/Resources/cli-plugins",
];

/// How long an engine that is not on a local socket may take to answer.
const REMOTE_LIMIT: Duration = Duration::from_secs(15);

/// The folder of the user's client configuration: `DOCKER_CONFIG`, else `~/.docker`.
#[must_use]
pub fn docker_config_dir(env: &Env) -> Option<PathBuf> {
    let named = env.get("DOCKER_CONFIG").map(|dir| env.cwd.join(dir));
    named.or_else(|| env.home().map(|home| home.join(".docker")))
}

/// Where buildx keeps the builders that the user has: `BUILDX_CONFIG`, else a folder beside the client's configuration.
#[must_use]
pub fn builders_dir(env: &Env) -> Option<PathBuf> {
    let named = env.get("BUILDX_CONFIG").map(|dir| env.cwd.join(dir));
    named.or_else(|| docker_config_dir(env).map(|dir| dir.join("buildx")))
}

/// A call of buildx that is to reach this builder. A Docker that is known by its context is a builder of that name, and buildx builds there
/// only from within the context (`builder.Validate` of buildx 0.29); any other is called as it is.
#[must_use]
pub fn for_builder(call: Invocation, env: &Env, builder: &str) -> Invocation {
    let is_made = builders_dir(env).is_some_and(|dir| dir.join("instances").join(builder).is_file());
    match docker_config_dir(env).filter(|dir| !is_made && context(dir, builder).is_file()) {
        // A host in the environment would win over the context.
        Some(dir) => call.env("DOCKER_CONFIG", dir).env("DOCKER_CONTEXT", builder).env_remove("DOCKER_HOST"),
        None => call,
    }
}

/// The builder that builds will use, the one of this name or the one that the user's settings choose, where it has images of its own: a Docker
/// builds on the images of its store, and every builder that was made with `docker buildx create` is none.
#[must_use]
pub fn without_store(env: &Env, builder: Option<&str>) -> Option<String> {
    let folder = builders_dir(env)?;
    let used = || Some(json(&folder.join("current"))?.get("Name")?.as_str()?.to_owned());
    let name = builder.or(env.get("BUILDX_BUILDER")).map(str::to_owned).or_else(used)?;
    folder.join("instances").join(&name).is_file().then_some(name)
}

/// The client's context store: one folder per context, called by the digest of its name.
fn context(config: &Path, name: &str) -> PathBuf {
    config.join("contexts/meta").join(sha256_hex(name.as_bytes())).join("meta.json")
}

/// The clients alone, for builders that buildx knows by name; no engine is asked. `None` where the client or the plugin is missing.
///
/// # Errors
/// When the plugin does not say which version it is.
pub fn clients(env: &Env, shutdown: &Shutdown) -> Result<Option<Engine>> {
    let Some((docker, buildx)) = on_path(env, "docker").zip(plugin(env)) else { return Ok(None) };
    let version = buildx_version(env, &buildx, shutdown)?;
    Ok(Some(engine(docker, buildx, None, version, Capabilities::of_builder(version))))
}

/// The engine or builder that the user's settings point at, if it can be used. `None`: there is no Docker here, only a client,
/// or no plugin, and nobody asked for it by name.
///
/// # Errors
/// When `DOCKER_HOST`, a context or `BUILDX_BUILDER` was set and what it names does not answer or has no plugin.
pub fn find(env: &Env, shutdown: &Shutdown) -> Result<Option<Engine>> {
    let host = Host::of(env)?;
    let builder = env.get("BUILDX_BUILDER");
    let asked_for = match (builder, &host.chosen_by) {
        (Some(name), _) => Some(format!("`BUILDX_BUILDER={name}`")),
        (None, chosen) => chosen.clone(),
    };
    let missing = |what: &str, hint: &str| match &asked_for {
        Some(asked) => Err(Error::failed(format!("{asked} is set, but {what}")).hint(hint.to_owned())),
        None => Ok(None),
    };
    let Some(docker) = on_path(env, "docker") else {
        return missing("there is no `docker` client on PATH", "install the client and the buildx plugin");
    };
    let Some(buildx) = plugin(env) else {
        return missing("the buildx plugin is not installed", "install docker-buildx for your client");
    };
    if builder.is_some() {
        let buildx_version = buildx_version(env, &buildx, shutdown)?;
        let capabilities = Capabilities::of_builder(buildx_version);
        return Ok(Some(engine(docker, buildx, None, buildx_version, capabilities)));
    }
    let answer = match host.socket() {
        Some(socket) if !client::answers(&socket) => None,
        Some(socket) => Some((client::version(&socket)?, client::has_containerd_store(&socket)?)),
        None => ask_remote(&docker, shutdown)?,
    };
    let Some((version, containerd)) = answer else {
        return missing(&format!("the engine at {} does not answer", host.address), "start it, or unset this");
    };
    let buildx_version = buildx_version(env, &buildx, shutdown)?;
    let all = Capabilities::from_versions(version, buildx_version);
    let capabilities = if containerd { all } else { all.without_containerd_store() };
    Ok(Some(engine(docker, buildx, Some(version), buildx_version, capabilities)))
}

fn engine(docker: PathBuf, buildx: PathBuf, engine: Option<Version>, version: Version, capabilities: Capabilities) -> Engine {
    Engine {
        docker,
        buildx,
        docker_host: None,
        docker_config: None,
        builders: None,
        registry: None,
        engine_version: engine,
        buildx_version: version,
        capabilities,
        own: None,
    }
}

/// Where the client would connect to.
struct Host {
    address: String,
    /// The setting that says so, as shown to people; `None` for the default.
    chosen_by: Option<String>,
}

impl Host {
    /// In the client's own order: `DOCKER_HOST`, `DOCKER_CONTEXT`, the configuration's `currentContext`, the default socket.
    fn of(env: &Env) -> Result<Self> {
        if let Some(address) = env.get("DOCKER_HOST") {
            return Ok(Self { address: address.to_owned(), chosen_by: Some("`DOCKER_HOST`".to_owned()) });
        }
        let dir = docker_config_dir(env);
        let config = dir.as_deref().and_then(|dir| json(&dir.join("config.json"))).unwrap_or_default();
        let named = env.get("DOCKER_CONTEXT").or_else(|| config.get("currentContext").and_then(Value::as_str));
        let default = Self { address: "unix:///var/run/docker.sock".to_owned(), chosen_by: None };
        let (Some(name), Some(dir)) = (named.filter(|name| !name.is_empty() && *name != "default"), dir) else {
            return Ok(default);
        };
        let meta = context(&dir, name);
        let host = json(&meta).and_then(|meta| Some(meta.pointer("/Endpoints/docker/Host")?.as_str()?.to_owned()));
        let Some(address) = host else {
            return Err(Error::usage(format!("the docker context `{name}` is chosen, but it does not exist"))
                .at(meta, None)
                .hint("see `docker context ls`, or unset `DOCKER_CONTEXT`"));
        };
        Ok(Self { address, chosen_by: Some(format!("the docker context `{name}`")) })
    }

    fn socket(&self) -> Option<PathBuf> {
        self.address.strip_prefix("unix://").map(PathBuf::from)
    }
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// Over ssh or TLS the client itself is the one that knows how to connect.
fn ask_remote(docker: &Path, shutdown: &Shutdown) -> Result<Option<(Version, bool)>> {
    let call = Invocation::new(docker).args(["info", "--format", "{{.ServerVersion}} {{json .DriverStatus}}"]);
    match call.timeout(REMOTE_LIMIT).run(shutdown) {
        Ok(output) if output.success() => {
            let text = output.text();
            Ok(Version::find(&text).map(|version| (version, text.contains("io.containerd.snapshotter"))))
        }
        Err(error) if error.is_cancelled() => Err(error),
        _ => Ok(None),
    }
}

/// True where the `docker` client is there and its buildx plugin is not.
#[must_use]
pub fn lacks_plugin(env: &Env) -> bool {
    on_path(env, "docker").is_some() && plugin(env).is_none()
}

/// Where a program lies on PATH.
#[must_use]
pub fn on_path(env: &Env, program: &str) -> Option<PathBuf> {
    std::env::split_paths(env.get("PATH")?).map(|dir| dir.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The buildx plugin, in the folders the client looks in and in its order.
fn plugin(env: &Env) -> Option<PathBuf> {
    let user = docker_config_dir(env);
    let config = user.as_deref().and_then(|dir| json(&dir.join("config.json"))).unwrap_or_default();
    let extra = config.get("cliPluginsExtraDirs").and_then(Value::as_array).cloned().unwrap_or_default();
    let extra = extra.iter().filter_map(|dir| dir.as_str().map(PathBuf::from)).into_vec();
    let own = user.map(|dir| dir.join("cli-plugins"));
    let dirs = extra.into_iter().chain(own).chain(PLUGIN_DIRS.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join("docker-buildx")).find(|path| is_program(path))
}

/// A plugin file that was asked for its version.
#[derive(Serialize, Deserialize, PartialEq)]
struct Asked {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// Asking costs a twentieth of a second on every build, so that the answer is kept for as long as the file is the same.
fn buildx_version(env: &Env, buildx: &Path, shutdown: &Shutdown) -> Result<Version> {
    let metadata = std::fs::metadata(buildx).map_err(|e| Error::io("read", buildx, e))?;
    let asked = Asked { path: buildx.to_owned(), bytes: metadata.len(), modified: metadata.modified().ok() };
    let file = env.cache_dir().join("buildx-version.json");
    let known: Option<(Asked, Version)> = read_text(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
    if let Some((_, version)) = known.filter(|(before, _)| *before == asked) {
        return Ok(version);
    }
    let text = Invocation::new(buildx).arg("version").timeout(REMOTE_LIMIT).read(shutdown)?;
    let version = Version::find(&text)
        .ok_or_else(|| Error::failed(format!("`{}` calls itself `{text}`, which has no version", buildx.display())))?;
    if let Ok(text) = serde_json::to_string(&(asked, version)) {
        // Only a shortcut: where it cannot be written, the next run asks again.
        let _ = write_atomically(&file, text.as_bytes());
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(dir: &Path) -> Env {
        Env::new(dir, []).with("HOME", dir.to_str().unwrap()).with("PATH", dir.join("bin").to_str().unwrap())
    }

    fn program(path: &Path, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_docker_that_is_known_by_its_context_is_built_on_from_within_it() {
        let dir = tempfile::tempdir().unwrap();
        let env = env(dir.path()).with("DOCKER_HOST", "tcp://elsewhere:2375");
        let config = dir.path().join(".docker");
        let call =
            |builder: &str| for_builder(Invocation::new("buildx").env("DOCKER_HOST", "unix:///x"), &env, builder).to_string();
        let file = |path: &Path| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        };
        assert_eq!(call("far"), "DOCKER_HOST=unix:///x buildx");
        file(&context(&config, "far"));
        assert!(call("far").contains("DOCKER_CONTEXT=far") && call("near").starts_with("DOCKER_HOST="), "{}", call("far"));
        file(&config.join("buildx/instances/far"));
        assert_eq!(call("far"), "DOCKER_HOST=unix:///x buildx", "a builder that was made goes before a context");
    }

    #[test]
    fn a_client_alone_is_not_a_docker_that_works() {
        let dir = tempfile::tempdir().unwrap();
        assert!(find(&env(dir.path()), &Shutdown::new()).unwrap().is_none());
        program(&dir.path().join("bin/docker"), "exit 1");
        program(&dir.path().join(".docker/cli-plugins/docker-buildx"), "exit 1");
        let dead = env(dir.path()).with("DOCKER_HOST", "unix:///nowhere/docker.sock");
        let error = find(&dead, &Shutdown::new()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/docker.sock does not answer"), "{error}");
        let remote = env(dir.path()).with("DOCKER_HOST", "ssh://host");
        assert!(find(&remote, &Shutdown::new()).unwrap_err().to_string().contains("ssh://host"));
    }

    #[test]
    fn a_chosen_context_is_resolved_and_an_unknown_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join(".docker/contexts/meta").join(sha256_hex(b"desk")).join("meta.json");
        std::fs::create_dir_all(meta.parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(".docker/config.json"), r#"{"currentContext":"desk"}"#).unwrap();
        let error = Host::of(&env(dir.path())).err().unwrap();
        assert!(error.to_string().contains("`desk`"), "{error}");
        std::fs::write(&meta, r#"{"Endpoints":{"docker":{"Host":"unix:///x.sock"}}}"#).unwrap();
        let host = Host::of(&env(dir.path())).ok().unwrap();
        assert_eq!(host.socket(), Some(PathBuf::from("/x.sock")));
    }

    #[test]
    fn a_builder_by_name_is_taken_as_it_is_and_its_plugin_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join("bin/docker"), "exit 1");
        let asked = dir.path().join("asked");
        let script = format!("echo x >> {}; echo github.com/docker/buildx v0.29.1 abc", asked.display());
        program(&dir.path().join(".docker/cli-plugins/docker-buildx"), &script);
        let env = env(dir.path()).with("BUILDX_BUILDER", "remote");
        for _ in 0..2 {
            let found = find(&env, &Shutdown::new()).unwrap().unwrap();
            assert_eq!((found.buildx_version, found.engine_version), (Version::new(0, 29, 1), None));
        }
        assert_eq!(std::fs::read_to_string(asked).unwrap().lines().count(), 1);
    }
}
