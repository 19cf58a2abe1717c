//! How long things usually take in this working tree, for guesses: in which order, on which node, until when. Nothing depends on it that must
//! be right.

use std::time::Duration;

use crate::Session;
use monoship_core::event::{Status, Task};
use monoship_core::name::Platform;
use monoship_report::record::history::{PastRun, PastTask, platforms_key};
use monoship_report::record::rolling::{lately, usual_run};

/// How many runs are looked at.
const RUNS: usize = 100;

/// How many builds of a service tell what is usual for it.
const OF: usize = 9;

/// The newest runs.
pub struct Past(Vec<PastRun>);

impl Past {
    /// Reads them. A history that cannot be read costs the guesses, and no build.
    pub fn read(session: &Session) -> Self {
        Self(session.history().newest(RUNS).unwrap_or_default())
    }

    /// How long a build usually takes; none where it was never built.
    pub fn build(&self, task: &Task) -> Option<Duration> {
        lately(&self.0, task, OF, PastTask::build_time).map(Duration::from_millis)
    }

    /// How long a run that builds just these usually takes.
    pub fn run(&self, services: &[Task]) -> Option<Duration> {
        usual_run(&self.0, services, OF).map(Duration::from_millis)
    }

    /// The builder of a fleet that made the last build for these platforms.
    pub fn node(&self, task: &Task, platforms: &[Platform]) -> Option<String> {
        let key = platforms_key(platforms);
        let mut tasks = self.0.iter().rev().flat_map(|run| &run.tasks);
        tasks.find_map(|past| past.nodes.get(&key).filter(|_| past.task == *task && past.status == Status::Built)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_builds_tell_how_long_one_takes_and_where_it_was_made() {
        let api = Task::Service("api".parse().unwrap());
        let run = |status: Status, took: u64, node: &str| -> PastRun {
            let task = json!({"task": api, "status": status, "took": took, "nodes": {"linux/amd64": node}});
            let run = json!({"v": 3, "id": "20261129T051540427-3b78", "started": "2026-11-29T05:15:40Z", "took": took, "outcome": "succeeded", "command": "build"});
            PastRun { tasks: vec![serde_json::from_value(task).unwrap()], ..serde_json::from_value(run).unwrap() }
        };
        let past = Past(vec![
            run(Status::Built, 9_000, "one"),
            run(Status::Built, 3_000, "two"),
            run(Status::Built, 5_000, "three"),
            run(Status::Failed, 1, "four"),
        ]);
        let amd64 = ["linux/amd64".parse().unwrap()];
        assert_eq!(past.build(&api), Some(Duration::from_secs(5)));
        assert_eq!(past.node(&api, &amd64).as_deref(), Some("three"), "where it failed has no cache of it");
        assert_eq!((past.build(&Task::Base), past.node(&Task::Base, &amd64), past.node(&api, &[])), (None, None, None));
    }
}
