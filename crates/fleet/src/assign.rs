//! Where each build is to go before any has begun: to the node that has its cache, within what a node may be given.

use std::cmp::Reverse;

use monoship_core::collect::Collect as _;
use monoship_core::name::Platform;
use monoship_core::sorted::{Order as _, SortedMap};

use crate::rank::{hash, score};
use crate::{Build, Node};

/// A node is given at most so many times its share of the work while another has none (Mirrokni, Thorup and Zadimoghaddam 2018: consistent
/// hashing with bounded loads).
pub const BOUND: f64 = 1.25;

/// By the usual times, no node is to come to its end later than so many times the least that all could take.
pub(crate) const LATE: f64 = 1.05;

/// What a node was given, and its share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The usual times of its builds, in milliseconds.
    pub given: f64,
    /// What it would have if all nodes that have a build's platforms had a part of it by their weights, in milliseconds.
    pub share: f64,
}

/// What each build costs in milliseconds: its usual time. Nobody knows what one costs that was never built; the mean of the others is taken.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of builds are far below 2^53")]
pub(crate) fn costs(builds: &[Build]) -> Vec<f64> {
    let known = || builds.iter().filter_map(|build| build.usual).map(|usual| usual.as_millis().max(1) as f64);
    let mean = known().sum::<f64>() / known().count().max(1) as f64;
    let unknown = if mean > 0.0 { mean } else { 1.0 };
    builds.iter().map(|build| build.usual.map_or(unknown, |usual| usual.as_millis().max(1) as f64)).into_vec()
}

/// The builds in the order in which they are begun: what nobody knows the time of first, then the longest (Graham's rule).
pub(crate) fn order(builds: &[Build]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..builds.len()).into_vec();
    // Stable: equal ones keep their order.
    places.order_by_key(|at| Reverse(builds[*at].usual.map_or((true, None), |usual| (false, Some(usual)))));
    places
}

/// Each node's share of the work of `counted` builds among the nodes that are `there`, in milliseconds.
pub(crate) fn shares(
    nodes: &[Node],
    builds: &[Build],
    costs: &[f64],
    there: impl Fn(usize) -> bool,
    counted: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let mut by_platforms: SortedMap<&[Platform], f64> = SortedMap::new();
    for at in (0..builds.len()).filter(|at| counted(*at)) {
        *by_platforms.entry(&builds[at].platforms).or_default() += costs[at];
    }
    let mut shares = vec![0.0; nodes.len()];
    for (platforms, work) in by_platforms {
        let able: Vec<usize> = (0..nodes.len()).filter(|at| there(*at) && nodes[*at].has(platforms)).into_vec();
        let weights: f64 = able.iter().map(|at| f64::from(nodes[*at].weight.get())).sum();
        for at in able {
            shares[at] += work * f64::from(nodes[at].weight.get()) / weights;
        }
    }
    shares
}

/// What is known of the nodes while builds are given to them.
#[derive(Debug)]
pub(crate) struct Giving<'a> {
    pub nodes: &'a [Node],
    /// Of each node's name.
    pub hashes: Vec<u64>,
    pub given: Vec<f64>,
    pub shares: Vec<f64>,
    /// When each of a node's places is free again; empty where nobody counts that.
    free: Vec<Vec<f64>>,
    /// The least time that a node's share can take.
    least: Vec<f64>,
}

impl<'a> Giving<'a> {
    pub fn new(nodes: &'a [Node], shares: Vec<f64>) -> Self {
        let hashes = nodes.iter().map(|node| hash(&node.builder)).into_vec();
        Self { nodes, hashes, given: vec![0.0; nodes.len()], shares, free: Vec::new(), least: Vec::new() }
    }

    /// The same, which also counts when a node would come to an end: two long builds too many are few beside what else it has.
    fn counting(self, costs: &[f64]) -> Self {
        let longest = costs.iter().copied().fold(0.0, f64::max);
        let places = |node: &Node| node.builds.get();
        let alone = |at: usize| self.shares[at] / u32::try_from(places(&self.nodes[at])).map_or(f64::MAX, f64::from);
        let least = (0..self.nodes.len()).map(|at| alone(at).max(longest)).into_vec();
        let free = self.nodes.iter().map(|node| vec![0.0; places(node)]).into_vec();
        Self { free, least, ..self }
    }

    /// When the first of a node's places is free; none where nobody counts that.
    fn first_free(&self, at: usize) -> Option<f64> {
        self.free.get(at)?.iter().copied().min_by(f64::total_cmp)
    }

    fn ends_late(&self, at: usize, cost: f64) -> bool {
        self.first_free(at).is_some_and(|first| first + cost > LATE * self.least[at])
    }

    fn give(&mut self, at: usize, cost: f64) {
        self.given[at] += cost;
        if let Some(first) = self.free.get_mut(at).and_then(|places| places.iter_mut().min_by(|a, b| a.total_cmp(b))) {
            *first += cost;
        }
    }

    /// True where a node may be given so much more. A build cannot be divided: who has none may have any.
    fn is_within(&self, at: usize, cost: f64) -> bool {
        self.given[at] <= 0.0 || self.given[at] + cost <= BOUND * self.shares[at]
    }

    /// The same for one that does not have the build's cache.
    fn takes(&self, at: usize, cost: f64) -> bool {
        self.given[at] <= 0.0 || self.is_within(at, cost) && !self.ends_late(at, cost)
    }

    /// The node that a build goes to, of those that `may`: the most preferred one that takes it, or the one with the least for its weight.
    pub fn choose(&self, build: &Build, cost: f64, may: impl Fn(usize) -> bool) -> Option<usize> {
        let able = || (0..self.nodes.len()).filter(|at| self.nodes[*at].has(&build.platforms) && may(*at));
        let last = build.last.as_ref().and_then(|last| able().find(|at| self.nodes[*at].builder == *last));
        // It has the cache: it may end late.
        if let Some(last) = last.filter(|at| self.is_within(*at, cost)) {
            return Some(last);
        }
        let key = hash(&build.key);
        let drawn = |at: usize| score(self.hashes[at], self.nodes[at].weight.get(), key);
        let taking = able().filter(|at| self.takes(*at, cost)).map(|at| (drawn(at), at));
        if let Some((_, at)) = taking.max_by(|a, b| a.0.total_cmp(&b.0)) {
            return Some(at);
        }
        let filled =
            |at: usize| self.first_free(at).unwrap_or(0.0) + (self.given[at] + cost) / f64::from(self.nodes[at].weight.get());
        able().map(|at| (filled(at), at)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, at)| at)
    }
}

/// The node of each build, as a place in `nodes`; none where no node has its platforms.
///
/// A build goes to the node that made it last, or else to the one that its key prefers ([`preferred`](crate::preferred)); to the next one
/// where that has [`BOUND`] times its share already. What was built before is placed first: a node that leaves moves what it had, and
/// nothing of the others'.
///
/// ```
/// use monoship_fleet::{Build, Node, assign};
///
/// let amd64 = || vec!["linux/amd64".parse().unwrap()];
/// let nodes = ["one", "two"].map(|name| Node::new(name, amd64()));
/// let builds = ["api", "web"].map(|name| Build { key: name.to_owned(), platforms: amd64(), usual: None, last: None });
/// let places = assign(&nodes, &builds);
/// assert_ne!(places[0], places[1], "two idle nodes have one each");
/// ```
#[must_use]
pub fn assign(nodes: &[Node], builds: &[Build]) -> Vec<Option<usize>> {
    let costs = costs(builds);
    let mut giving = Giving::new(nodes, shares(nodes, builds, &costs, |_| true, |_| true)).counting(&costs);
    let mut places = vec![None; builds.len()];
    let is_known = |build: &Build| build.last.as_ref().is_some_and(|last| nodes.iter().any(|node| node.builder == *last));
    let (known, new): (Vec<usize>, Vec<usize>) = order(builds).into_iter().partition(|at| is_known(&builds[*at]));
    for at in known.into_iter().chain(new) {
        places[at] = giving.choose(&builds[at], costs[at], |_| true);
        if let Some(node) = places[at] {
            giving.give(node, costs[at]);
        }
    }
    places
}

/// What each node has by these places.
#[must_use]
pub fn loads(nodes: &[Node], builds: &[Build], places: &[Option<usize>]) -> Vec<Load> {
    let costs = costs(builds);
    let shares = shares(nodes, builds, &costs, |_| true, |_| true);
    let mut loads: Vec<Load> = shares.into_iter().map(|share| Load { given: 0.0, share }).into_vec();
    for (place, cost) in places.iter().zip(costs) {
        if let Some(at) = place {
            loads[*at].given += cost;
        }
    }
    loads
}
