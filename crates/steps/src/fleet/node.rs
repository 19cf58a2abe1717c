//! One node of a fleet: asking whether it is there, and watching it while it builds.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Session;
use crate::build::{CONNECTING, Ended, Watch};
use monoship_core::collect::Collect as _;
use monoship_core::execute::process::{Invocation, Stop};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::Platform;
use monoship_docker::spec::BuildSpec;
use monoship_fleet::{Answer, Node, last_of, told};
use monoship_plan::TargetPlan;

/// How long a node may take to say that it is there. buildx itself waits for 20 s, and a build for one that refuses without end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one that is refused may take to say why.
const REASONS: Duration = Duration::from_secs(3);

/// How often in a row a node is asked that is building and does not answer.
const ASKED: usize = 3;

/// How long a build may say nothing at its beginning before its node is asked.
const GREETING: Duration = Duration::from_secs(1);

/// After which silence of a build its node is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Its builder, as buildx sees it; nothing is known of one that buildx does not know.
    pub answer: Answer,
    /// Why it cannot be built on.
    pub problem: Option<String>,
}

/// Asks buildx for a node: whether it runs, its version and its platforms.
#[must_use]
pub fn look(buildx: &Invocation, node: &Node, shutdown: &Shutdown) -> NodeState {
    let call = buildx.clone().args(["inspect", &node.builder]).timeout(PATIENCE);
    let silent = |_| format!("it did not answer within {} s", PATIENCE.as_secs());
    let (answer, problem) = match call.run(shutdown).map_err(silent) {
        Err(why) => (Answer::default(), Some(why)),
        Ok(output) if !output.success() => {
            (Answer::default(), Some(output.error_tail().trim_start_matches("ERROR: ").to_owned()))
        }
        Ok(output) => {
            let answer = Answer::read(&output.text());
            let problem = answer.problem();
            let problem = problem.map(|problem| reason(buildx, node, shutdown).unwrap_or(problem));
            (answer, problem)
        }
    };
    NodeState { answer, problem }
}

/// The caches that the base's build for these platforms has written: no node but the one that built it has more of it.
pub(super) fn written(base: &TargetPlan, platforms: &[Platform]) -> Vec<String> {
    let of_platforms = |build: &&BuildSpec| platforms.is_empty() || build.platforms.iter().any(|one| platforms.contains(one));
    base.builds().iter().filter(of_platforms).flat_map(|build| &build.cache_to).filter_map(|cache| read_back(cache)).into_vec()
}

/// A cache that was written, as it is read: `type=registry,ref=R,mode=max` by `type=registry,ref=R`. None of one that lies in an image.
fn read_back(written: &str) -> Option<String> {
    let names = ["type", "ref", "scope", "version"];
    let parts = written.split(',').filter(|part| part.split_once('=').is_some_and(|(name, _)| names.contains(&name)));
    let parts: Vec<&str> = parts.into_vec();
    let found = parts.iter().any(|part| part.starts_with("ref=") || part.starts_with("scope="));
    found.then(|| parts.join(","))
}

/// Why a node is not there: `inspect` only says that it is not.
fn reason(buildx: &Invocation, node: &Node, shutdown: &Shutdown) -> Option<String> {
    let call = buildx.clone().args(["du", "--builder", &node.builder]).timeout(REASONS);
    let output = call.run(shutdown).ok().filter(|output| !output.success())?;
    Some(last_of(&output.error_tail())).filter(|said| !said.is_empty())
}

/// A node, as a run uses it.
pub(super) struct Connection<'a> {
    session: &'a Session,
    buildx: &'a Invocation,
    node: &'a Node,
    met: &'a Met,
}

/// What a node answered last, whichever of its places asked; none before anybody had to ask.
#[derive(Debug, Default)]
pub(super) struct Met(Mutex<Option<Result<(), String>>>);

impl<'a> Connection<'a> {
    pub fn new(session: &'a Session, buildx: &'a Invocation, node: &'a Node, met: &'a Met) -> Self {
        Self { session, buildx, node, met }
    }

    /// Asks it anew.
    pub fn ask_again(&self) -> Result<(), String> {
        let answer = self.ask();
        *self.met.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
        answer
    }

    /// Asks it, unless somebody has. A build that says something after all is an answer as well.
    fn meet(&self, has_spoken: &dyn Fn() -> bool) -> Result<(), String> {
        let mut met = self.met.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = met.get_or_insert_with(|| self.ask());
        if has_spoken() {
            *answer = Ok(());
        }
        answer.clone()
    }

    /// Whether it is there; the error is why it is not.
    fn ask(&self) -> Result<(), String> {
        look(self.buildx, self.node, &self.session.shutdown).problem.map_or(Ok(()), Err)
    }

    /// Why the node of a build that says nothing is lost; none where the build or the node says something after all. One answer may be late
    /// on a node that has much to do.
    fn is_silent(&self, silent_for: &dyn Fn() -> Duration) -> Option<String> {
        let mut said = None;
        for _ in 0..ASKED {
            let before = silent_for();
            said = Some(self.ask().err()?);
            if silent_for() < before {
                return None;
            }
        }
        said
    }

    /// Whether a build's end was the node's: why.
    fn blamed(&self, (code, solved): &Ended) -> Option<String> {
        match code {
            Ok(Some(0)) => return None,
            Err(error) if error.is_cancelled() => return None,
            _ => {}
        }
        let failure = solved.failure.as_ref();
        if let Some(failure) = failure.filter(|failure| failure.step.as_deref() == Some(CONNECTING)) {
            return Some(self.ask().err().unwrap_or_else(|| last_of(&failure.message)));
        }
        let step = failure.filter(|failure| failure.step.is_some());
        let of_steps = step.into_iter().flat_map(|failure| failure.log.iter().chain([&failure.message])).map(String::as_str);
        let message = failure.map(|failure| failure.message.as_str());
        let stepless = solved.text.iter().map(String::as_str).chain(message.filter(|_| step.is_none()));
        if let Some(loss) = told(stepless, of_steps) {
            return Some(loss.to_string());
        }
        // Whatever it said: a build that ended at no step may have ended with its node.
        if step.is_none() { self.ask().err() } else { None }
    }
}

impl Watch for Connection<'_> {
    fn during(&self, build: &mut dyn FnMut(&Stop, &(dyn Fn() + Sync)) -> Ended) -> Result<Ended, String> {
        let began = Instant::now();
        let (stop, heard) = (Stop::default(), Mutex::new(began));
        let sign = || {
            if let Ok(mut heard) = heard.lock() {
                *heard = Instant::now();
            }
        };
        let silent_for = || heard.lock().map_or(Duration::ZERO, |heard| heard.elapsed());
        let has_spoken = || heard.lock().is_ok_and(|heard| *heard > began);
        let (done, ended) = channel::<()>();
        let (ended, gone) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                // Moved in, so that it lives on this side alone.
                let ended = ended;
                // A node that is there builds at once, and need not be asked.
                if ended.recv_timeout(GREETING) != Err(RecvTimeoutError::Timeout) {
                    return None;
                }
                if !has_spoken()
                    && let Err(why) = self.meet(&has_spoken)
                {
                    stop.now();
                    return Some(why);
                }
                let mut wait = SILENCE;
                while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    wait = SILENCE.saturating_sub(silent_for());
                    if wait.is_zero() {
                        wait = SILENCE;
                        if let Some(why) = self.is_silent(&silent_for) {
                            stop.now();
                            return Some(why);
                        }
                    }
                }
                None
            });
            let ended = build(&stop, &sign);
            drop(done);
            (ended, watcher.join().ok().flatten())
        });
        if matches!(ended.0, Ok(Some(0))) || self.session.shutdown.is_closing() {
            return Ok(ended);
        }
        match gone.or_else(|| self.blamed(&ended)) {
            Some(why) if !self.session.shutdown.is_closing() => Err(why),
            _ => Ok(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_was_written_is_read_under_the_same_name() {
        let registry = "type=registry,ref=127.0.0.1:5000/org/cache:base,mode=max,compression=zstd,ignore-error=true";
        assert_eq!(read_back(registry).unwrap(), "type=registry,ref=127.0.0.1:5000/org/cache:base");
        assert_eq!(
            read_back("type=gha,scope=monorepo-base,mode=max,version=2").unwrap(),
            "type=gha,scope=monorepo-base,version=2"
        );
        assert_eq!(read_back("type=inline"), None);
    }
}
