//! The steps of the Dockerfile over all runs: which take the time. Pure.

use serde::Serialize;

use super::Times;
use crate::record::history::PastRun;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};

/// How many of the slowest steps are told.
const SLOWEST: usize = 10;

/// One step over all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepStats {
    /// BuildKit's name.
    pub name: String,
    /// Whose builds it is of, divided by a comma and a blank: a step that several have is run once for all.
    pub task: String,
    /// How long it takes when it runs.
    pub ran: Times,
    /// All of it together.
    pub total: u64,
}

/// The steps that took the most time together.
pub(super) fn slowest(runs: &[PastRun]) -> Vec<StepStats> {
    // A step that several builds of one run had was run once for all of them, and each waited for it: its name says the stage, and whose build
    // that is of.
    let mut found: SortedMap<&str, (SortedSet<String>, Vec<u64>)> = SortedMap::new();
    for run in runs {
        let mut of_run: SortedMap<&str, u64> = SortedMap::new();
        for task in &run.tasks {
            for (name, ms) in &task.ran {
                let longest = of_run.entry(name).or_default();
                *longest = (*ms).max(*longest);
                found.entry(name).or_default().0.insert(task.task.to_string());
            }
        }
        for (name, ms) in of_run {
            found.entry(name).or_default().1.push(ms);
        }
    }
    let steps = found.into_iter().map(|(name, (tasks, durations))| StepStats {
        name: name.to_owned(),
        task: tasks.into_iter().into_vec().join(", "),
        ran: Times::of(&durations),
        total: durations.iter().fold(0, |sum, ms| sum.saturating_add(*ms)),
    });
    let mut steps: Vec<StepStats> = steps.into_vec();
    steps.order_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    steps.truncate(SLOWEST);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::history::PastTask;
    use crate::record::history::tests::run;
    use monoship_core::event::Task;

    #[test]
    fn a_step_that_several_builds_wait_for_is_counted_once() {
        let mut run = run(0);
        let ran = |task: &str, ms: u64| PastTask {
            task: Task::Service(task.parse().unwrap()),
            ran: vec![("[base 2/2] RUN npm".to_owned(), ms)],
            ..run.tasks[0].clone()
        };
        run.tasks = vec![ran("api", 900), ran("web", 1_000)];
        let steps = slowest(&[run]);
        assert_eq!((steps[0].task.as_str(), steps[0].ran.count, steps[0].total), ("api, web", 1, 1_000));
    }
}
