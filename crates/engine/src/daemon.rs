//! Starting, finding, stopping and removing the private daemon and its registry. What they are made of is
//! [`super::packages`]'s, what a build does with them is the handle's.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use serde_json::json;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::lock::Lock;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::capability::Version;
use monoship_docker::engine::Suite;

use super::apt::remove_tree;
use super::layout::Layout;
use super::ownership;
use super::packages::Packages;
use super::process::ProcessId;
use super::state::{Served, StandIn, State};
use super::{EngineOptions, cleanup, mark, network};
use monoship_docker::engine::client;

/// How long a daemon may take until it answers: half a second on an idle machine, more on a busy one with much state.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long it may take to stop its containers and itself.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What the build cache takes at most.
const CACHE_AT_MOST: &str = "20GB";
/// The first engine that can be told how much of the disk to leave to others.
const SPACE_IS_LEFT: Version = Version::new(28, 0, 0);

/// What the daemon needs of the caller's environment: how to reach the network. Not its tokens, and nothing that says where to look for
/// clients, sockets or collectors.
const OF_DAEMON: [&str; 10] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "no_proxy",
];

/// What `engine status` tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EngineStatus {
    /// True where the daemon and the registry run and the daemon answers.
    pub running: bool,
    /// `unix://…`, for `DOCKER_HOST`.
    pub docker_host: String,
    /// For `DOCKER_CONFIG`.
    pub docker_config: String,
    /// Where its images, cache, logs and state are.
    pub data: String,
    /// Where the unpacked packages are.
    pub packages: Option<String>,
    /// The release the packages are from.
    pub suite: Option<Suite>,
    /// The engine's version.
    pub engine: Option<String>,
    /// The buildx plugin's version.
    pub buildx: Option<String>,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// Where the registry listens.
    pub registry: Option<SocketAddr>,
    /// How long it has been running, in seconds.
    pub uptime_seconds: Option<u64>,
    /// Images that stand in for ones of Docker Hub.
    pub stand_ins: Vec<StandIn>,
}

/// The state of the engine if it runs, answers, and can be asked by its own client, in a millisecond or two.
#[must_use]
pub fn running(layout: &Layout) -> Option<State> {
    let state = State::load(&layout.state())?;
    (state.is_running() && state.packages.are_there() && client::answers(&layout.socket())).then_some(state)
}

/// Starts the engine unless it runs already. Whatever a killed one left is cleaned up first.
///
/// # Errors
/// When the packages cannot be had, this is not root, or the daemon does not come up.
pub fn up(layout: &Layout, options: &EngineOptions, events: &Events, shutdown: &Shutdown) -> Result<State> {
    if let Some(state) = running(layout) {
        return Ok(state);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::failed("the embedded engine needs root: it makes a network bridge and mounts file systems")
            .hint("install Docker with buildx, set `DOCKER_HOST`, or run this as root; a rootless engine is not supported"));
    }
    events.during(&Task::Engine, "starting the embedded engine", || up_locked(layout, options, events, shutdown))
}

fn up_locked(layout: &Layout, options: &EngineOptions, events: &Events, shutdown: &Shutdown) -> Result<State> {
    mark::claim(layout.data(), "XTASK_ENGINE_DATA")?;
    mark::claim(layout.cache(), "XTASK_CACHE_DIR")?;
    let _lock =
        Lock::wait(&layout.lock(), shutdown, || events.doing(&Task::Engine, "waiting for another run to start the engine"))?;
    if let Some(state) = running(layout) {
        return Ok(state);
    }
    ownership::check(layout.data())?;
    let packages = Packages::ensure(layout.cache(), options.suite, events, shutdown)?;
    events.doing(&Task::Engine, "starting the daemon and its registry");
    cleanup::stop(layout, Some(&packages), STOP_LIMIT, events, shutdown)?;
    let result = start(layout, packages.clone(), options, events, shutdown);
    if result.is_err() {
        // Under a switch of its own: what was started must go also where the run was stopped.
        cleanup::stop(layout, Some(&packages), Duration::from_secs(1), events, &Shutdown::new())?;
    }
    result
}

fn start(layout: &Layout, packages: Packages, options: &EngineOptions, events: &Events, shutdown: &Shutdown) -> Result<State> {
    let run = layout.run();
    std::fs::create_dir_all(&run).map_err(|e| Error::io("create", &run, e))?;
    for dir in [layout.docker_root(), layout.registry_root(), layout.data().join("log")] {
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    }
    let network = network::raise(&packages, layout, events, shutdown)?;
    let (registry, address) = start_registry(layout, &packages, events, shutdown)?;
    let dockerd = start_dockerd(layout, &packages, network, address, options)?;
    wait_until(layout, "dockerd", &dockerd, shutdown, || client::answers(&layout.socket()))?;
    let state = State::new(packages, dockerd, registry, address);
    state.save(&layout.state())?;
    Ok(state)
}

/// The port of the last start if it is free, so that names and caches that mention it stay right.
fn registry_port(layout: &Layout) -> Result<u16> {
    let file = layout.data().join("registry-port");
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let last = read_text(&file).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let address = match last.map(bind) {
        Some(Ok(address)) => address,
        _ => bind(0).map_err(|e| Error::failed("no loopback port is free for the registry").source(e))?,
    };
    write_atomically(&file, address.port().to_string().as_bytes())?;
    Ok(address.port())
}

fn start_registry(layout: &Layout, packages: &Packages, events: &Events, shutdown: &Shutdown) -> Result<(ProcessId, SocketAddr)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, registry_port(layout)?));
    network::guard(packages, layout, address.port(), events, shutdown)?;
    // JSON is YAML. The format is the distribution project's `configuration.md`.
    let config = json!({
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": layout.registry_root(), "maxthreads": 100},
            "delete": {"enabled": true},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": address.to_string()},
    });
    let file = layout.run().join("registry.yml");
    write_atomically(&file, config.to_string().as_bytes())?;
    // It would send traces to whatever collector a caller's variables name, and let others take the place of this file's words.
    let command = Invocation::new(packages.registry()).only(&[]).arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
    let registry = started(command.daemon(&layout.log("registry"))?, layout, "registry")?;
    wait_until(layout, "registry", &registry, shutdown, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    })?;
    Ok((registry, address))
}

fn start_dockerd(
    layout: &Layout,
    packages: &Packages,
    network: network::Network,
    registry: SocketAddr,
    options: &EngineOptions,
) -> Result<ProcessId> {
    let run = layout.run();
    let config = json!({
        "hosts": [format!("unix://{}", layout.socket().display())],
        "data-root": layout.docker_root(),
        "exec-root": layout.exec_root(),
        "pidfile": run.join("dockerd.pid"),
        "features": {"containerd-snapshotter": true},
        "bridge": layout.bridge(),
        // The packet filter is ours to set and to clean, see `network`.
        "iptables": false,
        "ip6tables": false,
        "ip-forward": false,
        "mtu": network.mtu,
        "userland-proxy": true,
        "userland-proxy-path": packages.root.join("usr/sbin/docker-proxy"),
        "cgroup-parent": format!("/{}", layout.cgroup()),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "registry-mirrors": [format!("http://{registry}")],
        "insecure-registries": [registry.to_string()],
        "shutdown-timeout": 3,
        "builder": {"gc": collection(packages.engine)},
    });
    let file = run.join("daemon.json");
    write_atomically(&file, config.to_string().as_bytes())?;
    let mut search: Vec<OsString> = packages.path_entries().map(Into::into).into();
    search.extend(std::env::split_paths(&options.path).map(Into::into));
    let search = std::env::join_paths(search).map_err(|e| Error::failed("the engine's folder cannot be on PATH").source(e))?;
    let command = Invocation::new(packages.dockerd())
        .only(&OF_DAEMON)
        .arg("--config-file")
        .arg(&file)
        .env("PATH", search)
        .env("DOCKER_TMPDIR", layout.tmp());
    let command = match options.trust.hand_over(layout)? {
        // moby's name for the program that starts BuildKit's steps: builder/builder-next/executor_linux.go.
        Some(starter) => command.env("DOCKER_BUILDKIT_RUNC_COMMAND", starter),
        None => command,
    };
    started(command.daemon(&layout.log("dockerd"))?, layout, "dockerd")
}

/// How much of the disk the build cache may take. BuildKit's own rules keep a tenth of the disk's size, whatever else lies on it, and a build
/// then fails where it could have let go of old steps. The keys are moby's, daemon/config/builder.go.
fn collection(engine: Version) -> serde_json::Value {
    if engine < SPACE_IS_LEFT {
        return json!({"enabled": true, "defaultKeepStorage": CACHE_AT_MOST});
    }
    json!({
        "enabled": true,
        "defaultReservedSpace": "2GB",
        "defaultMaxUsedSpace": CACHE_AT_MOST,
        "defaultMinFreeSpace": "6GB",
    })
}

fn started(pid: u32, layout: &Layout, program: &str) -> Result<ProcessId> {
    ProcessId::of(pid).ok_or_else(|| died(layout, program))
}

fn wait_until(layout: &Layout, program: &str, process: &ProcessId, shutdown: &Shutdown, is_up: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while !is_up() {
        shutdown.check()?;
        if !process.is_alive() {
            return Err(died(layout, program));
        }
        if Instant::now() > deadline {
            let log = layout.log(program);
            return Err(Error::failed(format!("{program} did not answer within {} s", START_LIMIT.as_secs()))
                .hint(format!("its log is {}", log.display())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The error for a daemon that ended while starting, with the end of its log.
fn died(layout: &Layout, program: &str) -> Error {
    let log = layout.log(program);
    let bytes = std::fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().into_vec();
    let tail = lines[lines.len().saturating_sub(3)..].join("\n");
    if tail.contains("no space left on device") {
        return Error::io("write into", layout.data(), std::io::ErrorKind::StorageFull.into());
    }
    Error::failed(format!("{program} ended while starting: {tail}")).hint(format!("its whole log is {}", log.display()))
}

/// Stops the engine and takes back everything it made on the machine; its data stays. One that does not run is fine.
///
/// # Errors
/// When something it made cannot be removed.
pub fn down(layout: &Layout, events: &Events, shutdown: &Shutdown) -> Result<()> {
    let _lock = Lock::wait(&layout.lock(), shutdown, || {
        events.doing(&Task::Engine, "waiting for another run to start or stop the engine");
    })?;
    let started_from = State::load(&layout.state()).map(|state| state.packages);
    let packages = started_from.clone().filter(Packages::are_there).or_else(|| Packages::any(layout.cache()));
    cleanup::stop(layout, packages.as_ref(), STOP_LIMIT, events, shutdown)?;
    if let (Some(gone), None) = (started_from, packages) {
        let text = format!("{} is gone, and with it the tools that remove the engine's network", gone.root.display());
        let hint = "it goes with the engine's next start and stop";
        events.notice(Level::Warning, Some(Task::Engine), text, Some(hint.into()));
    }
    Ok(())
}

/// [`down`], then deletes the engine's data and, with `packages_too`, the unpacked packages. The mark of the folder stays.
///
/// # Errors
/// As [`down`], when a folder has no mark of ours, and when something cannot be deleted.
pub fn reset(layout: &Layout, packages_too: bool, events: &Events, shutdown: &Shutdown) -> Result<()> {
    mark::check(layout.data())?;
    if packages_too {
        mark::check(layout.cache())?;
    }
    down(layout, events, shutdown)?;
    for dir in ["docker", "registry", "log", "docker-config", "tmp"] {
        remove_tree(&layout.data().join(dir))?;
    }
    for file in [layout.state(), layout.served(), layout.data().join("registry-port")] {
        cleanup::remove_file(&file)?;
    }
    if packages_too {
        let _lock = Lock::wait(&layout.cache().join("lock"), shutdown, || {
            events.doing(&Task::Engine, "waiting for another run to fetch the engine");
        })?;
        for dir in ["packages", "staging", "debs", "apt", "stand-ins"] {
            remove_tree(&layout.cache().join(dir))?;
        }
    }
    Ok(())
}

/// What there is to tell about the engine, running or not.
#[must_use]
pub fn status(layout: &Layout) -> EngineStatus {
    let state = running(layout);
    let packages = state.as_ref().map(|s| s.packages.clone()).or_else(|| Packages::any(layout.cache()));
    let uptime = |s: &State| SystemTime::now().duration_since(s.started).unwrap_or_default().as_secs();
    let shown = |path: &Path| path.display().to_string();
    EngineStatus {
        running: state.is_some(),
        docker_host: format!("unix://{}", layout.socket().display()),
        docker_config: shown(&layout.docker_config()),
        data: shown(layout.data()),
        packages: packages.as_ref().map(|p| shown(&p.root)),
        suite: packages.as_ref().map(|p| p.suite),
        engine: packages.as_ref().map(|p| p.engine.to_string()),
        buildx: packages.as_ref().map(|p| p.buildx.to_string()),
        pid: state.as_ref().map(|s| s.dockerd.pid),
        registry: state.as_ref().map(|s| s.registry_address),
        uptime_seconds: state.as_ref().map(uptime),
        stand_ins: Served::load(&layout.served()).stand_ins,
    }
}
