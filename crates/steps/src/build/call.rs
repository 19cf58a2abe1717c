//! One call of the builder: its command line, its progress as it comes, and the call again where the engine has lost a layer.

use std::path::PathBuf;

use crate::{Session, given};
use monoship_core::error::Result;
use monoship_core::event::Event;
use monoship_core::execute::process::{Invocation, Stop};
use monoship_docker::buildx;
use monoship_docker::engine::existing;
use monoship_docker::rawjson::{Failure, Lost, Solve, Solved};
use monoship_docker::spec::BuildSpec;

/// What buildx calls its wait for a builder that it has not reached yet (0.29): its own word, and no sign of the builder.
pub const CONNECTING: &str = "[internal] waiting for connection";

/// How often a build is asked for of which the engine lost a layer, the first time included.
const TRIES: usize = 4;

/// The command line of a build, as run and as `--dry-run` prints it.
pub fn command(session: &Session, buildx: &Invocation, spec: &BuildSpec) -> Invocation {
    let call = match &spec.builder {
        Some(builder) => existing::for_builder(buildx.clone(), &session.env, builder),
        None => buildx.clone(),
    };
    let told = spec.provisional(session.run.id.as_str());
    given::with_secrets(session, spec, call.args(buildx::build_arguments(&told, &metadata_file(session, spec))))
}

/// Where the builder says what it made.
pub(super) fn metadata_file(session: &Session, spec: &BuildSpec) -> PathBuf {
    // The builds of one target for several platforms each write one.
    let platform = if let [one] = spec.platforms.as_slice() { one.scope_suffix() } else { String::new() };
    session.run.folder().join(format!("{}.metadata{platform}.json", spec.task.file()))
}

/// What one start of the builder came to: its exit code, and what its progress stream told.
pub type Ended = (Result<Option<i32>>, Solved);

/// Calls the builder once, and hands its progress to `emit` as it comes; `heard` is called at every sign of life.
pub fn stream(
    session: &Session,
    buildx: &Invocation,
    spec: &BuildSpec,
    stop: &Stop,
    heard: &dyn Fn(),
    emit: &dyn Fn(Event),
) -> Ended {
    let mut solve = Solve::new(spec.task.clone()).with_raw(session.raw);
    let call = command(session, buildx, spec);
    let log = session.run.log_path(&spec.task);
    let log = log.strip_prefix(&session.home).unwrap_or(&log).display().to_string();
    session.events.emit(Event::Called { task: spec.task.clone(), command: call.to_string(), log });
    let ended = call.stream_until(&session.shutdown, stop, |line| {
        if !line.contains(CONNECTING) {
            heard();
        }
        solve.line(line).into_iter().for_each(emit);
    });
    (ended, solve.finish())
}

/// Calls the builder until the engine loses no layer on the way, at most [`TRIES`] times; without its cache once that has lost one.
pub(super) fn retry_lost(mut call: impl FnMut(bool) -> Ended, tell: impl Fn(Lost)) -> Ended {
    let (mut ended, mut solved) = call(false);
    let mut anew = false;
    for _ in 1..TRIES {
        let Some(lost) = solved.failure.as_ref().and_then(Failure::lost) else { break };
        tell(lost);
        anew |= lost == Lost::Cached;
        let (again, outcome) = call(anew);
        let came_through = solved.steps.iter().all(|step| step.error.is_none());
        solved = match solved {
            // Which steps were run is what the first call tells: for the others, all are cached.
            Solved { steps, cached, phases, .. } if came_through => Solved { steps, cached, phases, ..outcome },
            _ => outcome,
        };
        ended = again;
    }
    (ended, solved)
}

/// What is said of a build that failed and did not say why.
pub fn silent(spec: &BuildSpec, code: Option<i32>, solved: &Solved) -> String {
    let last = solved.text.iter().rev().find(|line| !line.trim().is_empty());
    let said = last.map(|line| format!(": {line}")).unwrap_or_default();
    let how = code.map_or("was ended by a signal".to_owned(), |code| format!("exited with {code}"));
    format!("the build of target {} {how}{said}", spec.target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_docker::rawjson::Step;

    /// As engine 28.5 says it.
    const LOST: &str = "failed to prepare extraction snapshot \"extract-292467999-KHrT sha256:2c49\": parent snapshot \
                        sha256:b222 does not exist: not found";

    /// As engine 28.5 says it of a step that a cancelled build was at.
    const LET_GO: &str = "failed to commit 1uko to rxm3 during finalize: failed to stat active key during commit: snapshot 1uko \
                          does not exist: not found";

    /// As engine 28.5 says it where two builds load one image at once.
    const TAKEN: &str = "failed to build: failed to solve: image \"docker.io/local/shop/api:dev\": already exists";

    fn failed(message: &str, cached: usize) -> Ended {
        let failure = Failure { step: None, message: message.to_owned(), log: Vec::new(), source: None };
        (Ok(Some(1)), Solved { failure: Some(failure), cached, ..Solved::default() })
    }

    #[test]
    fn a_layer_lost_while_unpacking_is_asked_for_again_and_the_steps_are_those_that_were_run() {
        let mut calls = vec![(Ok(Some(0)), Solved { cached: 12, ..Solved::default() }), failed(LOST, 10), failed(TAKEN, 9)];
        let (ended, solved) = retry_lost(|anew| (assert!(!anew), calls.pop().unwrap()).1, |_| ());
        assert_eq!((ended.unwrap(), solved.cached, solved.failure), (Some(0), 9, None));
        assert!(calls.is_empty());
    }

    #[test]
    fn a_step_whose_layer_the_cache_lost_is_executed_anew_with_all_others_and_the_steps_are_those_of_then() {
        let (code, mut lost) = failed(LET_GO, 6);
        let error = Some(LET_GO.to_owned());
        let name = "[web-build 2/2] RUN tsc".to_owned();
        lost.steps.push(Step { name, stage: None, platform: None, cached: false, took_ms: 1, started: None, error });
        let mut calls = vec![(Ok(Some(0)), Solved { cached: 1, ..Solved::default() }), (code, lost)];
        let mut asked = Vec::new();
        let (ended, solved) = retry_lost(|anew| (asked.push(anew), calls.pop().unwrap()).1, |_| ());
        assert_eq!((ended.unwrap(), solved.cached, solved.steps.len(), asked), (Some(0), 1, 0, vec![false, true]));
    }

    #[test]
    fn nothing_else_is_asked_for_again_and_nothing_without_end() {
        for (message, expected) in [("process \"/bin/sh -c tsc\" did not complete successfully: exit code: 2", 1), (LOST, TRIES)]
        {
            let mut calls = 0;
            let (ended, solved) = retry_lost(|_| (calls += 1, failed(message, 0)).1, |_| ());
            assert_eq!((calls, ended.unwrap(), solved.failure.unwrap().message.as_str()), (expected, Some(1), message));
        }
    }
}
