//! Builds on a fleet: nodes are asked, watched, lost and asked again. What goes where and when is `monoship-fleet`'s to say; here it is
//! done, with the real nodes and the real time.

mod node;
mod trial;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::node::{Connection, Met};
use crate::Session;
use crate::build::{Outcome, Place, TargetBuilds};
use crate::usual::Past;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::pool;
use monoship_core::execute::process::Invocation;
use monoship_core::name::ServiceName;
use monoship_core::text::counted;
use monoship_docker::engine::{Engine, existing};
use monoship_docker::spec::BuildSpec;
use monoship_fleet::{Build, Dispatch, GivenUp, Node, Turn};
use monoship_plan::{Plan, TargetPlan, fleet as plans};

pub use self::node::{NodeState, look};
pub use self::trial::trial;

/// After which time a node that waits looks whether the run is being stopped.
const LOOK: Duration = Duration::from_millis(500);

/// Gives each build of a plan its node, where there is a fleet.
///
/// # Errors
/// As [`plans::place`].
pub fn place(session: &Session, plan: &mut Plan) -> Result<()> {
    if session.config.fleet.is_empty() {
        return Ok(());
    }
    let past = Past::read(session);
    plans::place(plan, &session.config.fleet, |spec| known(&past, spec))
}

/// A build as the fleet knows it.
fn known(past: &Past, spec: &BuildSpec) -> Build {
    let (usual, last) = (past.build(&spec.task), past.node(&spec.task, &spec.platforms));
    Build { key: spec.task.to_string(), platforms: spec.platforms.clone(), usual, last }
}

/// What builds wait for.
pub trait Order: Sync {
    /// The places of the builds that must be over before this one begins.
    fn after(&self, build: usize) -> &[usize];

    /// What it cannot be built without and that could not be made, once those are over. Else it is ready to begin.
    fn lacks(&self, build: usize) -> Option<ServiceName>;
}

/// In any order.
impl Order for () {
    fn after(&self, _: usize) -> &[usize] {
        &[]
    }

    fn lacks(&self, _: usize) -> Option<ServiceName> {
        None
    }
}

/// The nodes of a run.
pub struct Fleet<'a> {
    session: &'a Session,
    nodes: &'a [Node],
    buildx: Invocation,
}

struct State<'a, T> {
    dispatch: Dispatch<'a>,
    results: Vec<T>,
}

/// The builds of a run, and what is done with each outcome.
struct Run<'a, T, F> {
    fleet: &'a Fleet<'a>,
    builds: &'a [(&'a TargetBuilds<'a>, usize)],
    order: &'a dyn Order,
    base: Option<&'a TargetPlan>,
    concluded: F,
    state: Mutex<State<'a, T>>,
    changed: Condvar,
    /// Of each node.
    met: Vec<Met>,
    began: Instant,
}

impl<'a> Fleet<'a> {
    /// The fleet of the configuration, called by an engine's clients.
    pub fn new(session: &'a Session, engine: &Engine) -> Self {
        Self { session, nodes: &session.config.fleet, buildx: engine.buildx() }
    }

    /// Runs builds, each on its node or, where that is lost, on another, at most `at_once` of them at once. A node whose build says
    /// nothing is asked whether it is there. What it needs of the base, which another one may have built, it takes from that one's cache. What
    /// `concluded` makes of the targets' outcomes is handed back in the order in which they ended.
    ///
    /// # Errors
    /// Those of `concluded`. A build that fails, or that no node is left for, is an outcome.
    pub fn run<T: Send>(
        &self,
        builds: &[(&TargetBuilds<'_>, usize)],
        order: &dyn Order,
        base: Option<&TargetPlan>,
        at_once: usize,
        concluded: impl Fn(usize, Option<Outcome>) -> Result<Option<T>> + Sync,
    ) -> Result<Vec<T>> {
        let past = Past::read(self.session);
        let specs: Vec<Build> = builds.iter().map(|(target, at)| known(&past, target.spec(*at))).into_vec();
        let places: Vec<Option<usize>> = builds
            .iter()
            .map(|(target, at)| self.nodes.iter().position(|node| target.spec(*at).builder.as_ref() == Some(&node.builder)))
            .into_vec();
        let after = (0..builds.len()).map(|at| (at, order.after(at).to_vec())).filter(|(_, after)| !after.is_empty());
        let dispatch = Dispatch::new(self.nodes, &specs, &places, at_once).waiting(after.into_map());
        let run = Run {
            fleet: self,
            builds,
            order,
            base,
            concluded,
            state: Mutex::new(State { dispatch, results: Vec::new() }),
            changed: Condvar::new(),
            met: self.nodes.iter().map(|_| Met::default()).into_vec(),
            began: Instant::now(),
        };
        // A node waits for its builds, so each of its places has a thread.
        let hands = |at: usize| std::iter::repeat_n(at, self.nodes[at].builds.get().min(builds.len()));
        let workers: Vec<usize> = (0..self.nodes.len()).flat_map(hands).into_vec();
        let worked = pool::each(workers.len(), &workers, |node| run.work(*node))?;
        let state = run.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        worked.into_iter().collect::<Result<()>>()?;
        Ok(state.results)
    }
}

impl<'r, T: Send, F: Fn(usize, Option<Outcome>) -> Result<Option<T>> + Sync> Run<'r, T, F> {
    /// What one place of a node does until nothing is left.
    fn work(&self, node: usize) -> Result<()> {
        let session = self.fleet.session;
        let buildx = existing::for_builder(self.fleet.buildx.clone(), &session.env, &self.fleet.nodes[node].builder);
        let connection = Connection::new(session, &buildx, &self.fleet.nodes[node], &self.met[node]);
        loop {
            let mut state = self.lock();
            if session.shutdown.is_closing() {
                state.dispatch.stop();
            }
            match state.dispatch.turn(node, self.began.elapsed()) {
                Turn::Leave => {
                    self.changed.notify_all();
                    return Ok(());
                }
                Turn::Wait(time) => {
                    drop(self.changed.wait_timeout(state, time.unwrap_or(LOOK).min(LOOK)));
                }
                Turn::Ask => {
                    drop(state);
                    let answer = connection.ask_again();
                    // Whoever is stopped gets no answer, and the node is not to blame.
                    if !session.shutdown.is_closing() {
                        self.change(|dispatch, now| dispatch.answered(node, answer, now))?;
                    }
                }
                Turn::Build(build) => {
                    let moves = state.dispatch.moves().iter().filter(|moved| moved.build == build);
                    let named = |at: usize| self.fleet.nodes[at].builder.clone();
                    let moved = moves.map(|moved| (named(moved.from), moved.why.clone())).into_vec();
                    drop(state);
                    let (target, at) = self.builds[build];
                    let caches = self.base.map_or_else(Vec::new, |base| node::written(base, &target.spec(at).platforms));
                    let place = Place { builder: &self.fleet.nodes[node].builder, moved, caches };
                    let ran = match self.order.lacks(build) {
                        Some(lacking) => Ok(target.leave_out(at, &lacking)),
                        None => target.run_on(at, &place, &connection),
                    };
                    match ran {
                        Err(why) => self.change(|dispatch, now| dispatch.lost(node, build, why, now))?,
                        Ok(outcome) => {
                            let result = (self.concluded)(build, outcome);
                            let failed = result.is_err();
                            let result = self.keep(result);
                            self.change(|dispatch, _| {
                                dispatch.ended(node, build);
                                if failed {
                                    dispatch.stop();
                                }
                            })?;
                            result?;
                        }
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'r, T>> {
        // A worker that panicked ends the run with its panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, result: Result<Option<T>>) -> Result<()> {
        self.lock().results.extend(result?);
        Ok(())
    }

    /// Changes what is known, and tells of it: which builds go elsewhere, and which nowhere.
    fn change(&self, change: impl FnOnce(&mut Dispatch<'_>, Duration)) -> Result<()> {
        let (moved, given_up) = {
            let mut state = self.lock();
            let before = state.dispatch.moves().len();
            change(&mut state.dispatch, self.began.elapsed());
            let moved = state.dispatch.moves()[before..].to_vec();
            (moved, state.dispatch.take_given_up())
        };
        self.changed.notify_all();
        if let Some(first) = moved.first() {
            let node = &self.fleet.nodes[first.from].builder;
            let message = format!("the node {node} is lost: {}; {} elsewhere", first.why, went(moved.len()));
            let hint = "it is left alone for a while and asked again; `cargo xtask doctor` asks every node";
            self.fleet.session.events.notice(Level::Warning, None, message, Some(hint.to_owned()));
        }
        for given_up in given_up {
            let (target, at) = self.builds[given_up.build];
            let outcome = target.give_up(at, self.nowhere(&given_up));
            self.keep((self.concluded)(given_up.build, outcome))?;
            self.lock().dispatch.over(given_up.build);
            self.changed.notify_all();
        }
        Ok(())
    }

    fn nowhere(&self, given_up: &GivenUp) -> Error {
        let why = given_up.why.iter().map(|(at, why)| format!("{}: {why}", self.fleet.nodes[*at].builder));
        let why: Vec<String> = why.into_vec();
        Error::failed(format!("no node of the fleet is left to build it ({})", why.join("; ")))
    }
}

fn went(builds: usize) -> String {
    format!("{} {}", counted(builds, "build"), if builds == 1 { "goes" } else { "go" })
}
