//! Which build a node that is free takes from another one: by when it would come to its end there and here, as far as usual times tell.

use std::time::Duration;

use super::{At, Dispatch};
use crate::assign::{BOUND, LATE};
use monoship_core::collect::Collect as _;

/// How many times its usual time a build is thought to take where its cache is not.
const COLD: f64 = 2.0;

/// What is ahead of a node that is there, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// What is left of the builds that it is at.
    running: f64,
    /// That, and all that waits for it.
    all: f64,
    places: f64,
}

impl Dispatch<'_> {
    /// A build that waits for another node, which has its hands full, and that `node` may take: of the node that would come to its end last.
    /// One whose cache is there waits for it, unless that node has more than its bound or ends late, and the build is done here first even
    /// without its cache. Where `node` has builds of its own that wait (`own` is the first), it takes none but a longer one of a node that
    /// ends late.
    pub(super) fn spare(&self, node: usize, own: Option<usize>, now: Duration) -> Option<(usize, usize)> {
        let ahead: Vec<Option<Ahead>> = (0..self.nodes.len()).map(|at| self.ahead(at, now)).into_vec();
        let sum = |of: fn(&Ahead) -> f64| ahead.iter().flatten().map(of).sum::<f64>();
        // A node is late that ends after this time, from now, in milliseconds.
        let elapsed = now.as_secs_f64() * 1e3;
        let late = LATE * (elapsed + sum(|one| one.all) / sum(|one| one.places)) - elapsed;
        let full = (0..self.nodes.len()).filter(|from| *from != node && !self.is_free(*from));
        let found = full.filter_map(|from| self.of_node(from, ahead[from]?, node, ahead[node], own, late));
        found.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, from, build)| (from, build))
    }

    /// The first such build of one node, and when all that waits there would come to its end.
    fn of_node(
        &self,
        from: usize,
        theirs: Ahead,
        node: usize,
        ours: Option<Ahead>,
        own: Option<usize>,
        late: f64,
    ) -> Option<(f64, usize, usize)> {
        let over = self.giving.given[from] > BOUND * self.giving.shares[from];
        let mut wait = theirs.running / theirs.places;
        for (_, build) in &self.nodes[from].queue {
            let cost = self.costs[*build];
            let is_cached = self.builds[*build].last.as_ref() == Some(&self.giving.nodes[from].builder);
            let here = if is_cached { COLD * cost } else { cost };
            let end = (wait + cost).max(theirs.all / theirs.places);
            let helps = end > late && here <= wait + cost;
            let takes = match own {
                None => over || !is_cached || helps,
                Some(own) => {
                    let ended = ours.map_or(0.0, |ours| (ours.all + here) / ours.places);
                    helps && cost > self.costs[own] && ended.max(here) < end
                }
            };
            if takes && self.may(node, *build) && self.is_ready(*build) {
                return Some((end, from, *build));
            }
            wait += cost / theirs.places;
        }
        None
    }

    /// None of a node that is not there.
    fn ahead(&self, node: usize, now: Duration) -> Option<Ahead> {
        let state = &self.nodes[node];
        if state.at != At::Up {
            return None;
        }
        let left = |(build, begun): &(usize, Duration)| self.costs[*build] - now.saturating_sub(*begun).as_secs_f64() * 1e3;
        let running = state.running.iter().map(|one| left(one).max(0.0)).sum::<f64>();
        let places = u32::try_from(self.giving.nodes[node].builds.get()).map_or(f64::MAX, f64::from);
        Some(Ahead { running, all: running + state.queued, places })
    }
}
