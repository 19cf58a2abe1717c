//! `cargo xtask engine`: start, stop and look at the embedded engine. What it is made of is the library's business.

use std::fmt::Write as _;

use crate::cli::Engine as Action;
use crate::command::{print, print_json};
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::Events;
use monoship_core::execute::process::quoted;
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::engine::Suite;
use monoship_engine::EngineOptions;
use monoship_engine::daemon::{self, EngineStatus};
use monoship_engine::layout::Layout;

/// How many lines of each log are printed.
const LOG_LINES: usize = 200;

/// Does what `action` says with the engine of this environment.
///
/// # Errors
/// When the engine cannot be had, started, stopped or removed.
pub fn run(action: &Action, suite: Suite, env: &Env, events: &Events, shutdown: &Shutdown) -> Result<()> {
    let options = EngineOptions::new(env, suite);
    let layout = options.layout()?;
    match action {
        Action::Up => {
            monoship_engine::up(&options, events, shutdown)?;
            print(&described(&daemon::status(&layout)))
        }
        Action::Status { json: true } => print_json(&daemon::status(&layout)),
        Action::Status { json: false } => print(&described(&daemon::status(&layout))),
        Action::Env => print(&variables(&daemon::status(&layout))?),
        Action::Logs => print(&logs(&layout)?),
        Action::Down => daemon::down(&layout, events, shutdown),
        Action::Reset { all } => daemon::reset(&layout, *all, events, shutdown),
    }
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
fn described(status: &EngineStatus) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    if !status.running {
        return format!("not running; its data is in {}\n", status.data);
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
    text + &format!("export DOCKER_HOST={} DOCKER_CONFIG={}\n", status.docker_host, status.docker_config)
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
        let lines: Vec<&str> = whole.lines().collect();
        writeln!(text, "==> {} <==", path.display()).expect("writing to a String cannot fail");
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            text += line;
            text.push('\n');
        }
    }
    Ok(text)
}
