//! `cargo xtask engine`: start, stop and look at the embedded engine. What it is made of is the library's business.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::Engine as Action;
use crate::command::{print, print_json, tell};
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::Events;
use monoship_core::execute::pool::in_parallel;
use monoship_core::execute::process::quoted;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::text::clean;
use monoship_docker::engine::{Suite, existing};
use monoship_engine::EngineOptions;
use monoship_engine::daemon::{self, EngineStatus};
use monoship_engine::layout::Layout;
use monoship_fleet::Place;
use monoship_plan::config::Config;
use monoship_steps::engine;
use monoship_steps::fleet::{NodeState, look};

/// How many lines of each log are printed.
const LOG_LINES: usize = 200;

/// Does what `action` says with the engine of this environment.
///
/// # Errors
/// When the engine cannot be had, started, stopped or removed.
pub fn run(
    action: &Action,
    suite: Suite,
    config: Option<&Config>,
    env: &Env,
    events: &Events,
    shutdown: &Shutdown,
) -> Result<()> {
    let options = EngineOptions::new(env, suite);
    let layout = options.layout()?;
    match action {
        Action::Up => {
            monoship_engine::up(&options, events, shutdown)?;
            tell(&described(&daemon::status(&layout), &[]))
        }
        Action::Status { json } => {
            let (engine, nodes) =
                (daemon::status(&layout), config.map_or(Ok(Vec::new()), |config| nodes(config, env, shutdown))?);
            if *json {
                return print_json(&Shown { engine, nodes });
            }
            monoship_engine::configure_clients(&options)?;
            tell(&described(&engine, &nodes))
        }
        Action::Env => {
            monoship_engine::configure_clients(&options)?;
            print(&variables(&daemon::status(&layout))?)
        }
        Action::Logs => print(&logs(&layout)?),
        Action::Down => daemon::down(&layout, events, shutdown),
        Action::Reset { all } => daemon::reset(&layout, *all, events, shutdown),
    }
}

/// What `status --json` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    engine: EngineStatus,
    /// The nodes of `[builders] fleet`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<Node>,
}

/// A node of the fleet, asked now.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    builder: String,
    endpoints: Vec<String>,
    /// BuildKit's, of each endpoint.
    versions: Vec<String>,
    /// Why it cannot be built on.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Asks every node of the fleet.
fn nodes(config: &Config, env: &Env, shutdown: &Shutdown) -> Result<Vec<Node>> {
    if config.fleet.is_empty() {
        return Ok(Vec::new());
    }
    let Some(engine) = engine::configured_running(env, config, shutdown)? else { return Ok(Vec::new()) };
    Ok(in_parallel(&config.fleet, |node| {
        let buildx = existing::for_builder(engine.buildx(), env, &node.builder);
        let NodeState { answer, problem } = look(&buildx, node, shutdown);
        let of = |value: fn(&Place) -> &String| answer.places.iter().map(|place| value(place).clone()).into_vec();
        let (endpoints, versions) = (of(|place| &place.endpoint), of(|place| &place.version));
        Node { builder: node.builder.clone(), endpoints, versions, problem }
    }))
}

/// What a shell evaluates so that `docker` talks to the engine: the user's own client where there is one, else the engine's.
fn variables(status: &EngineStatus) -> Result<String> {
    let Some(packages) = status.packages.as_ref().filter(|_| status.running) else {
        return Err(Error::failed("the embedded engine does not run").hint("start it with `cargo xtask engine up`"));
    };
    Ok(format!(
        "export DOCKER_HOST={} DOCKER_CONFIG={}\nexport PATH=\"$PATH\":{}\n",
        quoted(status.docker_host.as_ref()),
        quoted(status.docker_config.as_ref()),
        quoted(format!("{packages}/usr/bin").as_ref())
    ))
}

/// The last line is one that a shell can evaluate.
fn described(status: &EngineStatus, nodes: &[Node]) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    if !status.running {
        return listed(nodes) + &format!("not running; its data is in {}\n", status.data);
    }
    let registry = status.registry.map_or_else(|| "none".to_owned(), |address| address.to_string());
    let uptime = humantime::format_duration(std::time::Duration::from_secs(status.uptime_seconds.unwrap_or(0)));
    let mut text = format!(
        "running for {uptime}: engine {}, buildx {}, registry {registry}\ndata      {}\npackages  {}\n",
        known(&status.engine),
        known(&status.buildx),
        status.data,
        known(&status.packages),
    );
    for stand_in in &status.stand_ins {
        writeln!(text, "stand-in  {}: {}", stand_in.image, stand_in.made_of).expect("writing to a String cannot fail");
    }
    text + &listed(nodes) + &format!("export DOCKER_HOST={} DOCKER_CONFIG={}\n", status.docker_host, status.docker_config)
}

fn listed(nodes: &[Node]) -> String {
    let places = |node: &Node| {
        let places = node.endpoints.iter().zip(&node.versions);
        places.map(|(endpoint, version)| clean(format!("{endpoint} {version}").trim_end())).into_vec().join(", ")
    };
    let state = |node: &Node| match &node.problem {
        Some(problem) => format!("not to be built on: {}", clean(problem)),
        None => places(node),
    };
    nodes.iter().map(|node| format!("node      {}: {}\n", node.builder, state(node))).collect()
}

fn logs(layout: &Layout) -> Result<String> {
    let mut text = String::new();
    for program in ["registry", "dockerd"] {
        let path = layout.log(program);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.map_err(|e| Error::io("read", &path, e))?,
        };
        let whole = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = whole.lines().into_vec();
        writeln!(text, "==> {} <==", path.display()).expect("writing to a String cannot fail");
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            text += line;
            text.push('\n');
        }
    }
    Ok(text)
}
