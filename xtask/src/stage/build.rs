//! One build: the command line run, its progress turned into events, its outcome read back. Who is built, and
//! whether, was decided before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use crate::docker::buildx;
use crate::docker::rawjson::{Failure, Solve, Solved};
use crate::error::{Error, Result};
use crate::event::{Event, Level, Status, Task};
use crate::execute::process::Invocation;
use crate::name::Digest;
use crate::plan::TargetPlan;
use crate::plan::explain::Reason;
use crate::plan::spec::BuildSpec;
use crate::plan::steps::StepChange;
use crate::record::Missed;
use crate::stage::{Session, platforms};

/// How often a build is asked for whose image the engine could not unpack, the first time included.
const TRIES: usize = 4;

/// How one build ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whose build it was.
    pub task: Task,
    /// How it ended.
    pub status: Status,
    /// What its progress stream told.
    pub solved: Solved,
    /// The first step that no cache had, and why.
    pub missed: Option<Missed>,
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
    // The builds of one target for several platforms each write one.
    let platform = if let [one] = spec.platforms.as_slice() { one.scope_suffix() } else { String::new() };
    session.run.folder().join(format!("{}{platform}.metadata.json", spec.task))
}

/// Runs one build to its end. A failure is an outcome, not an error: the other builds go on.
pub fn run(running: Running<'_>, target: &TargetPlan) -> Outcome {
    let (session, spec) = (running.session, &target.spec);
    let builds = target.builds();
    let (started, begun) = (Instant::now(), SystemTime::now());
    session.events.emit(Event::Started { task: spec.task.clone(), title: format!("target {}", spec.target) });
    let message = "the engine lost a layer that it was unpacking (moby/buildkit#6521): asking again";
    let lost = || session.events.notice(Level::Info, Some(spec.task.clone()), message, None);
    let (mut ended, mut solved) = (Ok(Some(0)), Solved::default());
    for build in builds {
        let one;
        (ended, one) = unpacked(|| call(running, build), lost);
        solved = if builds.len() > 1 { solved.and(one, &build.platforms) } else { one };
        if !matches!(ended, Ok(Some(0))) {
            break;
        }
    }
    let (mut status, mut why) = match ended {
        Ok(Some(0)) => (Status::Built, None),
        Ok(code) => (Status::Failed, solved.failure.is_none().then(|| silent(spec, code, &solved))),
        Err(error) if error.is_cancelled() => (Status::Cancelled, None),
        Err(error) => (Status::Failed, Some(error.to_string())),
    };
    if status != Status::Failed {
        // A cancelled build has one too: that it was cancelled.
        solved.failure = None;
    }
    let mut digest = None;
    if status == Status::Built {
        match made(session, target) {
            Ok(made) => digest = made,
            Err(error) => (status, why) = (Status::Failed, Some(error.to_string())),
        }
    }
    let took = started.elapsed();
    session.events.emit(Event::Ended { task: spec.task.clone(), status, took, digest: digest.clone() });
    let missed = missed(target, &solved);
    if let Some(missed) = &missed {
        let message = format!("first step that no cache had: {missed}");
        session.events.notice(Level::Info, Some(spec.task.clone()), message, None);
    }
    Outcome { task: spec.task.clone(), status, solved, missed, begun, took, digest, size: None, why }
}

/// Puts the first step that no cache had together with what the plan knows of its inputs.
fn missed(target: &TargetPlan, solved: &Solved) -> Option<Missed> {
    let first = solved.first_miss()?;
    let is_it = |step: &&StepChange| step.stage == first.stage && Some(step.number) == first.number();
    let reasons = match &target.changes {
        _ if target.spec.no_cache => vec![Reason::NoCache],
        None => vec![Reason::NeverBuilt],
        Some(changes) => changes.iter().find(is_it).map_or_else(|| vec![Reason::NotCached], |step| step.reasons.clone()),
    };
    Some(Missed { step: first.name.clone(), reasons })
}

/// What one start of the builder came to: its exit code, and what its progress stream told.
type Ended = (Result<Option<i32>>, Solved);

/// Calls the builder until the engine could unpack what it built, at most [`TRIES`] times.
fn unpacked(mut call: impl FnMut() -> Ended, lost: impl Fn()) -> Ended {
    let (mut ended, mut solved) = call();
    for _ in 1..TRIES {
        if !solved.failure.as_ref().is_some_and(Failure::is_lost_snapshot) {
            break;
        }
        lost();
        let (again, outcome) = call();
        // Which steps were run is what the first call tells: for the others, all are cached.
        (ended, solved) = (again, Solved { steps: solved.steps, cached: solved.cached, phases: solved.phases, ..outcome });
    }
    (ended, solved)
}

fn call(running: Running<'_>, spec: &BuildSpec) -> Ended {
    let Running { session, buildx } = running;
    let mut solve = Solve::new(spec.task.clone()).with_raw(session.raw);
    let call = command(session, buildx, spec);
    session.events.emit(Event::Log { task: spec.task.clone(), line: format!("$ {call}") });
    let ended = call.stream(&session.shutdown, |line| solve.line(line).into_iter().for_each(|event| session.events.emit(event)));
    (ended, solve.finish())
}

fn silent(spec: &BuildSpec, code: Option<i32>, solved: &Solved) -> String {
    let last = solved.text.iter().rev().find(|line| !line.trim().is_empty());
    let said = last.map(|line| format!(": {line}")).unwrap_or_default();
    let how = code.map_or("was ended by a signal".to_owned(), |code| format!("exited with {code}"));
    format!("the build of target {} {how}{said}", spec.target)
}

/// The image's digest; an image in parts is joined.
fn made(session: &Session, target: &TargetPlan) -> Result<Option<Digest>> {
    let digests = || target.builds().iter().map(|build| digest(&metadata_file(session, build)));
    let Some(image) = target.spec.joined().filter(|_| !target.by_platform.is_empty()) else {
        return Ok(digests().next().flatten());
    };
    let parts = target.spec.platforms.iter().cloned().zip(digests());
    let parts = parts.map(|(platform, digest)| {
        digest
            .map(|digest| (platform.clone(), digest))
            .ok_or_else(|| Error::failed(format!("the builder names no image for {platform}")))
    });
    platforms::join(&session.registry, image, &parts.collect::<Result<Vec<_>>>()?).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As engine 28.5 says it.
    const LOST: &str = "failed to prepare extraction snapshot \"extract-292467999-KHrT sha256:2c49\": parent snapshot \
                        sha256:b222 does not exist: not found";

    fn failed(message: &str, cached: usize) -> Ended {
        let failure = Failure { step: None, message: message.to_owned(), log: Vec::new(), source: None };
        (Ok(Some(1)), Solved { failure: Some(failure), cached, ..Solved::default() })
    }

    #[test]
    fn a_layer_lost_while_unpacking_is_asked_for_again_and_the_steps_are_those_that_were_run() {
        let mut calls = vec![(Ok(Some(0)), Solved { cached: 12, ..Solved::default() }), failed(LOST, 10), failed(LOST, 9)];
        let (ended, solved) = unpacked(|| calls.pop().unwrap(), || ());
        assert_eq!((ended.unwrap(), solved.cached, solved.failure), (Some(0), 9, None));
        assert!(calls.is_empty());
    }

    #[test]
    fn nothing_else_is_asked_for_again_and_nothing_without_end() {
        for (message, expected) in [("process \"/bin/sh -c tsc\" did not complete successfully: exit code: 2", 1), (LOST, TRIES)]
        {
            let mut calls = 0;
            let (ended, solved) = unpacked(|| (calls += 1, failed(message, 0)).1, || ());
            assert_eq!((calls, ended.unwrap(), solved.failure.unwrap().message.as_str()), (expected, Some(1), message));
        }
    }
}
