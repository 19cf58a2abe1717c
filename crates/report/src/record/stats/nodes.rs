//! The nodes of a fleet over all runs: what each built, and what it was to build and did not. Pure.

use serde::Serialize;

use super::{Times, is_image, share};
use crate::record::history::PastRun;
use monoship_core::collect::Collect as _;
use monoship_core::event::Status;
use monoship_core::sorted::SortedMap;

/// A node of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeStats {
    /// Its builder's name.
    pub node: String,
    /// How long a build takes in which it had a part.
    pub built: Times,
    /// How many of its builds failed.
    pub failed: usize,
    /// The share of steps that came from a cache, in its builds.
    pub hit_rate: Option<f64>,
}

#[derive(Default)]
struct Sums {
    durations: Vec<u64>,
    failed: usize,
    cached: u64,
    total: u64,
}

/// The nodes, by name.
pub(super) fn nodes(runs: &[PastRun]) -> Vec<NodeStats> {
    let mut sums: SortedMap<&str, Sums> = SortedMap::new();
    for task in runs.iter().flat_map(|run| &run.tasks).filter(|task| is_image(&task.task)) {
        let mut names: Vec<&str> = task.nodes.values().map(String::as_str).into_vec();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let sum = sums.entry(name).or_default();
            sum.failed += usize::from(task.status == Status::Failed);
            if task.status == Status::Built {
                sum.durations.push(task.took);
                sum.cached += task.cached;
                sum.total += task.total;
            }
        }
    }
    let stats = sums.into_iter().map(|(node, sum)| NodeStats {
        node: node.to_owned(),
        built: Times::of(&sum.durations),
        failed: sum.failed,
        hit_rate: share(sum.cached, sum.total),
    });
    stats.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::history::tests::run;

    #[test]
    fn a_node_has_the_builds_that_it_had_a_part_in() {
        let mut past = run(0);
        for (at, (status, nodes)) in [(Status::Built, ["one", "two"]), (Status::Failed, ["two", "two"])].into_iter().enumerate() {
            let task = &mut past.tasks[at];
            (task.status, task.took) = (status, 1_000);
            task.nodes = SortedMap::from([
                ("linux/amd64".to_owned(), nodes[0].to_owned()),
                ("linux/arm64".to_owned(), nodes[1].to_owned()),
            ]);
        }
        let found = nodes(&[past]);
        let found: Vec<_> = found.iter().map(|node| (node.node.as_str(), node.built.count, node.failed)).collect();
        assert_eq!(found, [("one", 1, 0), ("two", 1, 1)]);
    }
}
