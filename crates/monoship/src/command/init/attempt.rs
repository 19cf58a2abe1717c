//! `init --try`: one service is built and started, and what keeps it from either is told with the line that fixes it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::command::{Call, Finished, build, say, tell};
use crate::job::Job;
use crate::run;
use monoship_core::error::{Error, Result};
use monoship_core::event::Task;
use monoship_core::execute::pool;
use monoship_core::execute::retry::sleep;
use monoship_core::name::ServiceName;
use monoship_docker::engine::Engine;
use monoship_init::diagnosis;
use monoship_plan::request::BuildRequest;
use monoship_steps::Session;

/// How long a service has to answer its health check.
const HEALTHY: Duration = Duration::from_mins(1);
/// How long one without a health check has to stay up.
const STAYS: Duration = Duration::from_secs(5);

/// Builds and starts a service of the repository at `root`.
///
/// # Errors
/// An unknown service, and whatever keeps the run from an outcome.
pub fn run(service: &str, root: &Path, call: &Call<'_>) -> Result<Finished> {
    let mut env = call.env.clone();
    root.clone_into(&mut env.cwd);
    let there = call.with(&env);
    let (session, reporter) = there.build_session()?;
    let name: ServiceName = service.parse()?;
    let request =
        BuildRequest::new(format!("init --try {service}"), build::into_engine(), &session.config, pool::builds_at_once());
    let job = Job::build(BuildRequest { services: vec![service.to_owned()], ..request });
    let ran = run::run(call.app, session, job)?;
    reporter.finish();
    let session = &ran.session;
    let finished = build::conclude(&there, session, ran.record(), "", false)?;
    if !matches!(finished, Finished::Well) {
        let log = session.run.log_path(&Task::Service(name));
        told(&std::fs::read_to_string(log).unwrap_or_default())?;
        return Ok(Finished::Badly);
    }
    start(&name, session)
}

fn start(service: &ServiceName, session: &Session) -> Result<Finished> {
    let engine = session.find_engine()?;
    let image = session.config.images.image(service)?.with_tag("dev".parse()?).to_string();
    let id = engine.docker().args(["run", "--detach", &image]).read(&session.shutdown)?.trim().to_owned();
    say(&format!("started {image}"));
    let ended = watch(&engine, &id, session);
    let log = engine.docker().args(["logs", "--tail", "200", &id]).run(&session.shutdown);
    // It is nobody's but ours, and goes whatever became of it.
    let removed = engine.docker().args(["rm", "--force", "--volumes", &id]).read(&session.shutdown);
    let log = log.map(|output| output.text() + "\n" + &output.error_tail()).unwrap_or_default();
    match ended? {
        Ok(how) => {
            removed?;
            tell(&format!("{service} starts: {how}\n"))?;
            Ok(Finished::Well)
        }
        Err(how) => {
            let lines: Vec<&str> = log.trim().lines().collect();
            lines[lines.len().saturating_sub(15)..].iter().for_each(|line| say(&format!("  │ {line}")));
            tell(&format!("{service} does not start: {how}\n"))?;
            told(&log)?;
            Ok(Finished::Badly)
        }
    }
}

/// Waits for the health check, or for a while; the outer error is the run's.
fn watch(engine: &Engine, id: &str, session: &Session) -> Result<Result<String, String>> {
    let format = "{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}";
    let began = Instant::now();
    loop {
        let state = engine.docker().args(["inspect", "--format", format, id]).read(&session.shutdown)?;
        let words: Vec<&str> = state.split_whitespace().collect();
        match words[..] {
            ["running", _, "healthy"] => return Ok(Ok("its health check passes".to_owned())),
            ["running", _, "none"] if began.elapsed() > STAYS => return Ok(Ok("it stays up; it has no health check".to_owned())),
            ["running", _, "unhealthy"] => return Ok(Err("its health check fails".to_owned())),
            ["running" | "created", ..] if began.elapsed() < HEALTHY => sleep(Duration::from_millis(200), &session.shutdown)?,
            ["running", ..] => return Ok(Err("its health check does not pass".to_owned())),
            [_, code, ..] => return Ok(Err(format!("it ends with exit code {code}"))),
            _ => return Err(Error::failed(format!("the engine says `{state}` of a container"))),
        }
    }
}

fn told(output: &str) -> Result<()> {
    let mut text = String::new();
    for finding in diagnosis::of(output) {
        let _ = writeln!(text, "why: {}\nfix: {}", finding.what, finding.fix);
    }
    tell(&text)
}
