//! One build: the command line run, its progress turned into events and into a log, its outcome read back. Who is built, and
//! whether, was decided before.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::docker::buildx;
use crate::docker::rawjson::{Solve, Solved};
use crate::error::{Error, Result};
use crate::event::{Event, Events, Status, StepEnd, Task};
use crate::execute::process::Invocation;
use crate::execute::shutdown::Shutdown;
use crate::name::Digest;
use crate::plan::spec::BuildSpec;

/// How one build ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whose build it was.
    pub task: Task,
    /// How it ended.
    pub status: Status,
    /// What its progress stream told.
    pub solved: Solved,
    /// From start to end.
    pub took: Duration,
    /// The image's digest, as the builder reports it: the index's where there is one.
    pub digest: Option<Digest>,
    /// The whole log.
    pub log: PathBuf,
    /// Why it failed, where BuildKit did not say.
    pub error: Option<Error>,
}

/// What a build is run with.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    /// The buildx plugin on the chosen engine.
    pub buildx: &'a Invocation,
    /// The run's folder: logs and metadata go there.
    pub dir: &'a Path,
    /// Where events go.
    pub events: &'a Events,
    /// The run's stop switch.
    pub shutdown: &'a Shutdown,
    /// Emit the builder's stream as it comes.
    pub raw: bool,
}

/// The command line of a build, as run and as `--dry-run` prints it.
pub fn command(buildx: &Invocation, spec: &BuildSpec, metadata: &Path) -> Invocation {
    buildx.clone().args(buildx::build_arguments(spec, metadata))
}

/// Runs one build to its end. A failure is an outcome, not an error: the other builds go on.
pub fn run(running: Running<'_>, spec: &BuildSpec) -> Outcome {
    let started = Instant::now();
    let name = spec.task.to_string();
    let log = running.dir.join(format!("{name}.log"));
    let metadata = running.dir.join(format!("{name}.metadata.json"));
    running.events.emit(Event::Started { task: spec.task.clone(), title: format!("target {}", spec.target) });
    let (solved, ended) = stream(running, spec, &log, &metadata);
    let (status, error) = match ended {
        Ok(Some(0)) => (Status::Built, None),
        Ok(code) => (Status::Failed, solved.failure.is_none().then(|| silent(spec, code, &solved))),
        Err(error) if error.is_cancelled() => (Status::Cancelled, None),
        Err(error) => (Status::Failed, Some(error)),
    };
    let digest = if status == Status::Built { digest(&metadata) } else { None };
    let took = started.elapsed();
    running.events.emit(Event::Ended { task: spec.task.clone(), status, took, digest: digest.clone() });
    Outcome { task: spec.task.clone(), status, solved, took, digest, log, error }
}

/// Feeds the builder's stream to the parser, the events and the log.
fn stream(running: Running<'_>, spec: &BuildSpec, log: &Path, metadata: &Path) -> (Solved, Result<Option<i32>>) {
    let mut solve = Solve::new(spec.task.clone()).with_raw(running.raw);
    let file = match File::create(log).map_err(|e| Error::io("write", log, e)) {
        Ok(file) => file,
        Err(error) => return (solve.finish(), Err(error)),
    };
    let mut file = Log { file: BufWriter::new(file), failed: None };
    let call = command(running.buildx, spec, metadata);
    file.line(&format!("$ {call}"));
    let ended = call.stream(running.shutdown, |line| {
        for event in solve.line(line) {
            file.event(&event);
            running.events.emit(event);
        }
    });
    let written = file.finish().map_err(|e| Error::io("write", log, e));
    (solve.finish(), ended.and_then(|code| written.map(|()| code)))
}

fn silent(spec: &BuildSpec, code: Option<i32>, solved: &Solved) -> Error {
    let last = solved.text.iter().rev().find(|line| !line.trim().is_empty());
    let said = last.map(|line| format!(": {line}")).unwrap_or_default();
    let how = code.map_or("was ended by a signal".to_owned(), |code| format!("exited with {code}"));
    Error::failed(format!("the build of target {} {how}{said}", spec.target))
}

/// The log, in plain text: each step as it begins and ends, with what it said in between.
struct Log {
    file: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl Log {
    /// The first failure is kept and told at the end: a full disk must not stop a build half-way.
    fn line(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = writeln!(self.file, "{line}").err();
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted { name, .. } => self.line(name),
            Event::StepEnded { name, end, took, .. } => {
                let how = match end {
                    StepEnd::Cached => "CACHED".to_owned(),
                    StepEnd::Ran => format!("DONE {:.1}s", took.as_secs_f64()),
                    StepEnd::Failed(message) => format!("ERROR {message}"),
                };
                self.line(&format!("{name} {how}"));
            }
            Event::Log { line, .. } => self.line(&format!("    {line}")),
            _ => {}
        }
    }

    fn finish(mut self) -> std::io::Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
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
