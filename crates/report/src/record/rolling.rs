//! The newest past of a task, for "slower than usual": rolling medians over the builds that were. Pure.

use super::history::{PastRun, PastTask};
use super::stats::median;
use monoship_core::event::Task;

/// Below this many builds there is no usual.
const ENOUGH: usize = 5;

/// A median and how many values it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usual {
    /// The median.
    pub median: u64,
    /// Of so many.
    pub of: usize,
}

/// The median of a value over the newest `window` runs in which `task` has one; `None` where there are too few.
#[must_use]
pub fn usual(runs: &[PastRun], task: &Task, window: usize, value: impl Fn(&PastTask) -> Option<u64>) -> Option<Usual> {
    let tasks = runs.iter().rev().flat_map(|run| &run.tasks).filter(|past| past.task == *task);
    let values: Vec<u64> = tasks.filter_map(value).take(window).collect();
    (values.len() >= ENOUGH).then(|| Usual { median: median(&values), of: values.len() })
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::run;
    use super::*;
    use monoship_core::event::Status;

    #[test]
    fn the_usual_is_the_newest_builds_median_and_needs_five() {
        let runs: Vec<PastRun> = (0..100).map(run).collect();
        let api = Task::Service("api".parse().unwrap());
        let took = |task: &PastTask| (task.status == Status::Built).then_some(task.took);
        // api is built in every fourth run: 80, 84, 88, 92 and 96 are its newest.
        assert_eq!(usual(&runs, &api, 5, took), Some(Usual { median: 9_400, of: 5 }));
        assert_eq!(usual(&runs, &api, 20, took).unwrap().of, 20);
        assert_eq!(usual(&runs[..16], &api, 20, took), None, "four builds");
        assert_eq!(usual(&runs, &Task::Base, 20, took), None);
    }
}
