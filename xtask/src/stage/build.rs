//! One build: the command line run, its progress turned into events, its outcome read back. Who is built, and
//! whether, was decided before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use crate::docker::buildx;
use crate::docker::rawjson::{Solve, Solved};
use crate::event::{Event, Status, Task};
use crate::execute::process::Invocation;
use crate::name::Digest;
use crate::plan::spec::BuildSpec;
use crate::stage::Session;

/// How one build ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whose build it was.
    pub task: Task,
    /// How it ended.
    pub status: Status,
    /// What its progress stream told.
    pub solved: Solved,
    /// When it began.
    pub begun: SystemTime,
    /// From start to end.
    pub took: Duration,
    /// The image's digest, as the builder reports it: the index's where there is one.
    pub digest: Option<Digest>,
    /// The image's size in bytes, where it is known.
    pub size: Option<u64>,
    /// Why it failed, where BuildKit did not say.
    pub why: Option<String>,
}

/// What a build is run with.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    session: &'a Session,
    /// The buildx plugin on the chosen engine.
    buildx: &'a Invocation,
}

impl<'a> Running<'a> {
    /// Builds of a session on one engine.
    pub fn of(session: &'a Session, buildx: &'a Invocation) -> Self {
        Self { session, buildx }
    }
}

/// The command line of a build, as run and as `--dry-run` prints it.
pub fn command(session: &Session, buildx: &Invocation, spec: &BuildSpec) -> Invocation {
    buildx.clone().args(buildx::build_arguments(spec, &metadata_file(session, spec)))
}

fn metadata_file(session: &Session, spec: &BuildSpec) -> PathBuf {
    session.run.folder().join(format!("{}.metadata.json", spec.task))
}

/// Runs one build to its end. A failure is an outcome, not an error: the other builds go on.
pub fn run(running: Running<'_>, spec: &BuildSpec) -> Outcome {
    let Running { session, buildx } = running;
    let (started, begun) = (Instant::now(), SystemTime::now());
    session.events.emit(Event::Started { task: spec.task.clone(), title: format!("target {}", spec.target) });
    let mut solve = Solve::new(spec.task.clone()).with_raw(session.raw);
    let call = command(session, buildx, spec);
    session.events.emit(Event::Log { task: spec.task.clone(), line: format!("$ {call}") });
    let ended = call.stream(&session.shutdown, |line| solve.line(line).into_iter().for_each(|event| session.events.emit(event)));
    let mut solved = solve.finish();
    let (status, why) = match ended {
        Ok(Some(0)) => (Status::Built, None),
        Ok(code) => (Status::Failed, solved.failure.is_none().then(|| silent(spec, code, &solved))),
        Err(error) if error.is_cancelled() => (Status::Cancelled, None),
        Err(error) => (Status::Failed, Some(error.to_string())),
    };
    if status != Status::Failed {
        // A cancelled build has one too: that it was cancelled.
        solved.failure = None;
    }
    let digest = if status == Status::Built { digest(&metadata_file(session, spec)) } else { None };
    let took = started.elapsed();
    session.events.emit(Event::Ended { task: spec.task.clone(), status, took, digest: digest.clone() });
    Outcome { task: spec.task.clone(), status, solved, begun, took, digest, size: None, why }
}

fn silent(spec: &BuildSpec, code: Option<i32>, solved: &Solved) -> String {
    let last = solved.text.iter().rev().find(|line| !line.trim().is_empty());
    let said = last.map(|line| format!(": {line}")).unwrap_or_default();
    let how = code.map_or("was ended by a signal".to_owned(), |code| format!("exited with {code}"));
    format!("the build of target {} {how}{said}", spec.target)
}

/// The image's digest from buildx's metadata file; none for outputs that make no image.
fn digest(metadata: &Path) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "containerimage.digest")]
        digest: Option<Digest>,
    }
    let text = std::fs::read(metadata).ok()?;
    serde_json::from_slice::<Metadata>(&text).ok()?.digest
}
