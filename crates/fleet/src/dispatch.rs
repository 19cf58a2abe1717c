//! Builds and nodes as a run goes on: who begins what next, what becomes of the builds of a node that is lost, when it is asked again, and
//! when nobody is left to ask. Every call is handed the time; whoever calls does the work.

mod spare;

use std::time::Duration;

use crate::assign::{Giving, costs, order, shares};
use crate::{Build, Node};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};

/// How long a node that was lost is left alone; twice as long each time that it is lost again.
const REST: Duration = Duration::from_secs(30);

/// The longest that it is left alone.
const LONGEST_REST: Duration = Duration::from_mins(4);

/// After which time it is asked again where nobody else can build what waits.
const SOON: Duration = Duration::from_secs(1);

/// How often in a row it is asked while that is so.
const ASKED: u32 = 2;

/// How often one build may be lost on one node: what ends two nodes may end every node.
const LOST_ON_ONE: u8 = 2;

/// What a node is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ask it whether it is there again; then [`Dispatch::answered`].
    Ask,
    /// Build this there; then [`Dispatch::ended`] or [`Dispatch::lost`].
    Build(usize),
    /// Wait until something has ended, at most so long.
    Wait(Option<Duration>),
    /// There is nothing left to do.
    Leave,
}

/// A build that goes elsewhere than was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which, as a place among the builds.
    pub build: usize,
    /// The node that did not build it, as a place among the nodes.
    pub from: usize,
    /// Why, as a fragment.
    pub why: String,
}

/// A build that no node is left for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Which, as a place among the builds.
    pub build: usize,
    /// Each node that could have built it, and why it does not.
    pub why: Vec<(usize, String)>,
}

/// The state of a run on a fleet.
///
/// ```
/// use std::time::Duration;
/// use monoship_fleet::{Build, Dispatch, Node, Turn};
///
/// let amd64 = || vec!["linux/amd64".parse().unwrap()];
/// let nodes = [Node::new("one", amd64())];
/// let builds = [Build { key: "api".to_owned(), platforms: amd64(), usual: None, last: None }];
/// let mut run = Dispatch::new(&nodes, &builds, &[Some(0)], 8);
/// let now = Duration::ZERO;
/// assert_eq!(run.turn(0, now), Turn::Build(0));
/// run.ended(0, 0);
/// assert_eq!(run.turn(0, now), Turn::Leave);
/// ```
#[derive(Debug)]
pub struct Dispatch<'a> {
    giving: Giving<'a>,
    nodes: Vec<NodeState>,
    builds: &'a [Build],
    costs: Vec<f64>,
    /// Each build's place in the order in which they are begun.
    turns: Vec<usize>,
    /// What must be over before each build is begun, by place; a build that is not in it waits for none.
    after: SortedMap<usize, Vec<usize>>,
    /// How often a build was lost on a node.
    losses: SortedMap<(usize, usize), u8>,
    /// Those that no node is there for.
    stranded: SortedSet<usize>,
    moves: Vec<Move>,
    given_up: Vec<GivenUp>,
    open: usize,
    running: usize,
    at_once: usize,
    stopped: bool,
}

#[derive(Debug)]
struct NodeState {
    at: At,
    /// What waits for it, in the order in which it is begun.
    queue: SortedSet<(usize, usize)>,
    queued: f64,
    /// What it is at, and since when.
    running: Vec<(usize, Duration)>,
    rest: Duration,
    /// How often in a row it gave no answer.
    unanswered: u32,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Asking,
    /// It is there, as far as anybody knows.
    Up,
    /// It was lost at the one time, and is asked again at the other.
    Resting(Duration, Duration),
}

impl<'a> Dispatch<'a> {
    /// A run of `builds` on `nodes`, each build at its place ([`assign`](crate::assign)), at most `at_once` of them at once. A build without
    /// a place is given up at once.
    #[must_use]
    pub fn new(nodes: &'a [Node], builds: &'a [Build], places: &[Option<usize>], at_once: usize) -> Self {
        let costs = costs(builds);
        let mut turns = vec![0; builds.len()];
        order(builds).into_iter().enumerate().for_each(|(turn, build)| turns[build] = turn);
        let state = |_| NodeState {
            at: At::Up,
            queue: SortedSet::new(),
            queued: 0.0,
            running: Vec::new(),
            rest: REST,
            unanswered: 0,
            why: String::new(),
        };
        let mut run = Self {
            giving: Giving::new(nodes, shares(nodes, builds, &costs, |_| true, |_| true)),
            nodes: (0..nodes.len()).map(state).into_vec(),
            builds,
            costs,
            turns,
            after: SortedMap::new(),
            losses: SortedMap::new(),
            stranded: SortedSet::new(),
            moves: Vec::new(),
            given_up: Vec::new(),
            open: builds.len(),
            running: 0,
            at_once: at_once.max(1),
            stopped: false,
        };
        for build in 0..builds.len() {
            match places.get(build).copied().flatten() {
                Some(node) => run.queue(build, node),
                None => drop(run.stranded.insert(build)),
            }
        }
        run.give_up();
        run
    }

    /// The same, where builds wait for others to be over: each entry is a build and those that it waits for, in no circle.
    #[must_use]
    pub fn waiting(self, after: SortedMap<usize, Vec<usize>>) -> Self {
        Self { after, ..self }
    }

    /// What a node is to do now. A node that can take a build gets one as long as any waits that it may have.
    pub fn turn(&mut self, node: usize, now: Duration) -> Turn {
        if self.stopped || self.open == 0 {
            return Turn::Leave;
        }
        let is_free = self.is_free(node);
        match self.nodes[node].at {
            At::Up if is_free && self.running < self.at_once => match self.next(node, now) {
                Some(build) => {
                    self.begin(node, build, now);
                    Turn::Build(build)
                }
                None => Turn::Wait(None),
            },
            At::Asking | At::Up => Turn::Wait(None),
            At::Resting(lost, until) => {
                let wanted = self.nodes[node].unanswered < ASKED && self.stranded.iter().any(|build| self.may(node, *build));
                let until = if wanted { until.min(lost + SOON) } else { until };
                if now < until {
                    return Turn::Wait(Some(until.saturating_sub(now)));
                }
                if self.has_work(node, now) { self.ask(node) } else { Turn::Wait(None) }
            }
        }
    }

    fn ask(&mut self, node: usize) -> Turn {
        self.nodes[node].at = At::Asking;
        Turn::Ask
    }

    /// What a node answered that was asked; the error is why it cannot be built on.
    pub fn answered(&mut self, node: usize, answer: Result<(), String>, now: Duration) {
        match answer {
            Ok(()) => {
                let state = &mut self.nodes[node];
                (state.at, state.unanswered) = (At::Up, 0);
                self.reckon();
                let mine: Vec<usize> = self.stranded.iter().copied().filter(|build| self.may(node, *build)).into_vec();
                for build in mine {
                    self.stranded.remove(&build);
                    self.queue(build, node);
                }
            }
            Err(why) => {
                self.nodes[node].unanswered += 1;
                self.leave_alone(node, &why, now);
            }
        }
    }

    /// A build came to its end on a node, whether it succeeded or failed: that is not the node's doing.
    pub fn ended(&mut self, node: usize, build: usize) {
        self.let_go(node, build);
        self.open -= 1;
        self.over(build);
    }

    /// A build is over, and what came of it is known: whatever waits for it need not any longer. Of one that was given up the caller says it.
    pub fn over(&mut self, build: usize) {
        self.after.values_mut().for_each(|waits| waits.retain(|one| *one != build));
    }

    /// True where a build waits for no other.
    fn is_ready(&self, build: usize) -> bool {
        self.after.get(&build).is_none_or(Vec::is_empty)
    }

    /// A build did not finish because the node is lost. It goes elsewhere, and what waits for the node as well.
    pub fn lost(&mut self, node: usize, build: usize, why: impl Into<String>, now: Duration) {
        let why = why.into();
        self.let_go(node, build);
        self.giving.given[node] -= self.costs[build];
        *self.losses.entry((build, node)).or_default() += 1;
        self.moves.push(Move { build, from: node, why: why.clone() });
        self.leave_alone(node, &why, now);
        self.place(build);
        self.give_up();
    }

    /// Begins nothing more; what runs comes to its end.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// What goes elsewhere, in the order in which that became known.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Takes the builds that no node is left for.
    pub fn take_given_up(&mut self) -> Vec<GivenUp> {
        std::mem::take(&mut self.given_up)
    }

    /// True where a build is not over yet, or not begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open > 0
    }

    fn is_free(&self, node: usize) -> bool {
        self.nodes[node].running.len() < self.giving.nodes[node].builds.get()
    }

    fn may(&self, node: usize, build: usize) -> bool {
        let losses = self.losses.get(&(build, node)).copied().unwrap_or_default();
        losses < LOST_ON_ONE && self.giving.nodes[node].has(&self.builds[build].platforms)
    }

    fn has_work(&self, node: usize, now: Duration) -> bool {
        let stranded = || self.stranded.iter().any(|build| self.may(node, *build));
        !self.nodes[node].queue.is_empty() || stranded() || self.spare(node, None, now).is_some()
    }

    /// The next build of a node: one that would come too late elsewhere, its own, or one that would wait elsewhere.
    fn next(&mut self, node: usize, now: Duration) -> Option<usize> {
        let own = self.nodes[node].queue.iter().map(|(_, build)| *build).find(|build| self.is_ready(*build));
        let Some((from, build)) = self.spare(node, own, now) else {
            let build = own?;
            self.unqueue(build, node);
            return Some(build);
        };
        self.unqueue(build, from);
        self.giving.given[from] -= self.costs[build];
        self.giving.given[node] += self.costs[build];
        self.moves.push(Move { build, from, why: "it was busy".to_owned() });
        Some(build)
    }

    fn begin(&mut self, node: usize, build: usize, now: Duration) {
        self.nodes[node].running.push((build, now));
        self.running += 1;
    }

    fn let_go(&mut self, node: usize, build: usize) {
        self.nodes[node].running.retain(|(one, _)| *one != build);
        self.running -= 1;
    }

    fn queue(&mut self, build: usize, node: usize) {
        self.giving.given[node] += self.costs[build];
        self.nodes[node].queued += self.costs[build];
        self.nodes[node].queue.insert((self.turns[build], build));
    }

    fn unqueue(&mut self, build: usize, node: usize) {
        self.nodes[node].queue.remove(&(self.turns[build], build));
        self.nodes[node].queued -= self.costs[build];
    }

    /// Puts a node to rest; what waits for it goes elsewhere.
    fn leave_alone(&mut self, node: usize, why: &str, now: Duration) {
        let state = &mut self.nodes[node];
        if !matches!(state.at, At::Resting(..)) {
            state.at = At::Resting(now, now + state.rest);
            state.rest = (state.rest * 2).min(LONGEST_REST);
        }
        why.clone_into(&mut state.why);
        let waiting: Vec<usize> = state.queue.iter().map(|(_, build)| *build).into_vec();
        self.reckon();
        for build in waiting {
            self.unqueue(build, node);
            self.giving.given[node] -= self.costs[build];
            self.moves.push(Move { build, from: node, why: why.to_owned() });
            self.place(build);
        }
        self.give_up();
    }

    /// Gives a build to a node that is there; where none is, it waits for one.
    fn place(&mut self, build: usize) {
        let there = |node: usize| self.is_there(node) && self.may(node, build);
        match self.giving.choose(&self.builds[build], self.costs[build], there) {
            Some(node) => self.queue(build, node),
            None => drop(self.stranded.insert(build)),
        }
    }

    fn is_there(&self, node: usize) -> bool {
        !matches!(self.nodes[node].at, At::Resting(..))
    }

    /// Shares anew, among the nodes that are there.
    fn reckon(&mut self) {
        let there: Vec<bool> = (0..self.nodes.len()).map(|node| self.is_there(node)).into_vec();
        self.giving.shares = shares(self.giving.nodes, self.builds, &self.costs, |node| there[node], |_| true);
    }

    /// Gives up what no node is left for: each was asked again, or has lost it before.
    fn give_up(&mut self) {
        let hopeless = |node: usize, build: usize| {
            let silent = matches!(self.nodes[node].at, At::Resting(..)) && self.nodes[node].unanswered >= ASKED;
            silent || !self.may(node, build)
        };
        let able = |build: usize| -> Vec<usize> {
            (0..self.nodes.len()).filter(|node| self.giving.nodes[*node].has(&self.builds[build].platforms)).into_vec()
        };
        let is_lost = |build: &usize| able(*build).iter().all(|node| hopeless(*node, *build));
        let lost: Vec<usize> = self.stranded.iter().copied().filter(is_lost).into_vec();
        let why = |build: usize| able(build).into_iter().map(|node| (node, self.nodes[node].why.clone())).into_vec();
        let given_up: Vec<GivenUp> = lost.iter().map(|build| GivenUp { build: *build, why: why(*build) }).into_vec();
        for build in lost {
            self.stranded.remove(&build);
            self.open -= 1;
        }
        self.given_up.extend(given_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_another_build_is_begun_nowhere_before_that_is_over() {
        let amd64 = || vec!["linux/amd64".parse().unwrap()];
        let nodes = ["one", "two"].map(|name| Node::new(name, amd64()).builds(std::num::NonZeroUsize::MIN));
        let builds =
            ["web", "worker", "api"].map(|key| Build { key: key.to_owned(), platforms: amd64(), usual: None, last: None });
        let places = [Some(0), Some(0), Some(0)];
        let begin = || Dispatch::new(&nodes, &builds, &places, 8).waiting([(0, vec![2]), (1, vec![2])].into());
        let now = Duration::ZERO;

        let mut run = begin();
        assert_eq!(run.turn(0, now), Turn::Build(2));
        // The other node has nothing of its own, and takes nothing that cannot be begun.
        assert_eq!([run.turn(0, now), run.turn(1, now)], [Turn::Wait(None); 2]);
        run.ended(0, 2);
        assert_eq!([run.turn(0, now), run.turn(1, now)], [Turn::Build(0), Turn::Build(1)]);

        // What is lost is not over; what was given up is, once its caller says so.
        let mut run = begin();
        assert_eq!(run.turn(0, now), Turn::Build(2));
        run.lost(0, 2, "gone", now);
        assert_eq!(run.turn(1, now), Turn::Build(2));
        assert_eq!(run.turn(1, now), Turn::Wait(None));
        run.over(2);
        run.ended(1, 2);
        assert!(matches!(run.turn(1, now), Turn::Build(0 | 1)));
    }
}
