//! The newest past of a task, for "slower than usual": rolling medians over the builds that were. Pure.

use super::history::{PastRun, PastTask};
use super::run::Outcome;
use super::stats::median;
use monoship_core::collect::Collect as _;
use monoship_core::event::{Status, Task};

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
    let values = newest(runs, task, window, value);
    (values.len() >= ENOUGH).then(|| Usual { median: median(&values), of: values.len() })
}

/// The same for whoever only compares tasks with each other: few values will do, `None` is of none at all.
#[must_use]
pub fn lately(runs: &[PastRun], task: &Task, window: usize, value: impl Fn(&PastTask) -> Option<u64>) -> Option<u64> {
    let values = newest(runs, task, window, value);
    (!values.is_empty()).then(|| median(&values))
}

/// Below this many runs that built the same there is nothing that a run usually takes.
const ALIKE: usize = 3;

/// How long a run that builds just these services usually takes, in milliseconds: the median over the newest `window` of those that did, and
/// succeeded. Where there are hardly any, as long as its slowest service does, if every one of them has been built before: at least that long.
#[must_use]
pub fn usual_run(runs: &[PastRun], services: &[Task], window: usize) -> Option<u64> {
    let built = |task: &&PastTask| matches!(task.task, Task::Service(_)) && task.status == Status::Built;
    let is_alike = |run: &&PastRun| {
        run.outcome == Outcome::Succeeded
            && run.tasks.iter().filter(built).count() == services.len()
            && run.tasks.iter().filter(built).all(|task| services.contains(&task.task))
    };
    let alike: Vec<u64> = runs.iter().rev().filter(is_alike).map(|run| run.took).take(window).into_vec();
    if alike.len() >= ALIKE {
        return Some(median(&alike));
    }
    let each: Option<Vec<u64>> =
        services.iter().map(|task| Some(usual(runs, task, window, PastTask::build_time)?.median)).collect();
    each?.into_iter().max()
}

fn newest(runs: &[PastRun], task: &Task, window: usize, value: impl Fn(&PastTask) -> Option<u64>) -> Vec<u64> {
    let tasks = runs.iter().rev().flat_map(|run| &run.tasks).filter(|past| past.task == *task);
    tasks.filter_map(value).take(window).into_vec()
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::run;
    use super::*;

    #[test]
    fn the_usual_is_the_newest_builds_median_and_needs_five() {
        let runs: Vec<PastRun> = (0..100).map(run).collect();
        let api = Task::Service("api".parse().unwrap());
        let took = PastTask::build_time;
        // api is built in every fourth run: 80, 84, 88, 92 and 96 are its newest.
        assert_eq!(usual(&runs, &api, 5, took), Some(Usual { median: 9_400, of: 5 }));
        assert_eq!(usual(&runs, &api, 20, took).unwrap().of, 20);
        assert_eq!(usual(&runs[..16], &api, 20, took), None, "four builds");
        assert_eq!(lately(&runs, &api, 5, took), Some(9_400));
        assert!(lately(&runs[..16], &api, 20, took).is_some());
        assert_eq!(lately(&runs, &Task::Base, 20, took), None);
        assert_eq!(usual(&runs, &Task::Base, 20, took), None);
    }

    #[test]
    fn what_a_run_usually_takes_is_told_by_runs_that_built_the_same() {
        let service = |name: &str| Task::Service(name.parse().unwrap());
        let past = |names: &[&str], took: u64, outcome| PastRun {
            took,
            outcome,
            tasks: names
                .iter()
                .map(|name| PastTask { task: service(name), status: Status::Built, took: took - 100, ..run(0).tasks[0].clone() })
                .collect(),
            ..run(0)
        };
        let mut runs: Vec<PastRun> = [1_000, 9_000, 3_000].map(|took| past(&["api"], took, Outcome::Succeeded)).to_vec();
        runs.push(past(&["api"], 500_000, Outcome::Failed));
        runs.push(past(&["api", "web"], 700_000, Outcome::Succeeded));
        let [api, web] = ["api", "web"].map(service);
        assert_eq!(usual_run(&runs, std::slice::from_ref(&api), 9), Some(3_000));
        assert_eq!(usual_run(&runs, &[api.clone(), web.clone()], 9), None, "one such run, and web has been built once");
        runs.extend((0..5).map(|_| past(&["web"], 40_100, Outcome::Succeeded)));
        assert_eq!(usual_run(&runs, &[api, web], 9), Some(40_000), "the slower of the two");
        assert_eq!(usual_run(&[], &[], 9), None);
    }
}
