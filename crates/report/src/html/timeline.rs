//! The timeline of a run as values: which stretch of which task lay where, and which of them the run waited for. Pure.

use std::time::SystemTime;

use crate::record::{RunRecord, TaskRecord};
use monoship_core::collect::Collect as _;
use monoship_core::event::{Stage, Status, Task};
use monoship_core::sorted::{Order as _, SortedSet};
use monoship_core::time::millis;
use monoship_docker::rawjson::PhaseKind;

/// Two stretches that are no further apart than this follow each other: BuildKit takes a few milliseconds between steps.
const FOLLOWS_MS: u64 = 250;

/// Two builds' records of one step begin this close to each other: each counts from its own first message. It took the same in both.
const SAME_MS: u64 = 500;

/// What a stretch of time was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A Dockerfile step that ran.
    Step,
    /// A step that failed.
    Failed,
    /// A step that was stopped.
    Stopped,
    /// Something else the builder did.
    Phase(PhaseKind),
    /// A task without steps of its own.
    Whole,
}

/// One stretch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stretch {
    /// The index of its task in the record.
    pub(super) task: usize,
    pub(super) what: What,
    pub(super) label: String,
    /// Milliseconds from the beginning of the run.
    pub(super) from_ms: u64,
    /// Milliseconds, as the record has it.
    pub(super) took_ms: u64,
    /// True where the run waited for it.
    pub(super) is_critical: bool,
    /// The other tasks that it was run for as well: a step that several builds need is run once.
    pub(super) also: Vec<usize>,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.from_ms.saturating_add(self.took_ms)
    }
}

/// Every stretch of a run, by task and beginning, the critical ones marked, each once.
pub(super) fn stretches(run: &RunRecord) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> =
        run.tasks.iter().enumerate().flat_map(|(index, task)| of_task(index, task, run.started)).into_vec();
    for index in critical(&stretches, run) {
        stretches[index].is_critical = true;
    }
    each_once(stretches)
}

/// Puts together what is one step in the records of several builds: BuildKit tells each of them of it, with the same times.
fn each_once(stretches: Vec<Stretch>) -> Vec<Stretch> {
    let mut kept: Vec<Stretch> = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let is_it = |known: &&mut Stretch| {
            matches!(stretch.what, What::Step | What::Failed | What::Stopped | What::Phase(PhaseKind::Pull))
                && known.task != stretch.task
                && (known.what, known.label.as_str()) == (stretch.what, stretch.label.as_str())
                && known.from_ms.abs_diff(stretch.from_ms) <= SAME_MS
                && known.took_ms == stretch.took_ms
        };
        match kept.iter_mut().find(is_it) {
            Some(known) => {
                known.is_critical |= stretch.is_critical;
                known.also.push(stretch.task);
            }
            None => kept.push(stretch),
        }
    }
    kept
}

fn of_task(index: usize, task: &TaskRecord, zero: SystemTime) -> Vec<Stretch> {
    let stretch = |what, label: &str, started: SystemTime, took_ms| Stretch {
        task: index,
        what,
        label: label.to_owned(),
        from_ms: millis_since(zero, started),
        took_ms,
        is_critical: false,
        also: Vec::new(),
    };
    let ran = task.steps.iter().filter(|step| !step.cached);
    let steps = ran.filter_map(|step| {
        let what = match step.error {
            Some(_) if task.status == Status::Cancelled => What::Stopped,
            Some(_) => What::Failed,
            None => What::Step,
        };
        Some(stretch(what, &step.name, step.started?, step.took_ms))
    });
    let phases = task.phases.iter().filter(|phase| phase.took_ms > 0);
    let phases = phases.map(|phase| stretch(What::Phase(phase.kind), title(phase.kind), phase.started, phase.took_ms));
    let mut all: Vec<Stretch> = steps.chain(phases).into_vec();
    if let (true, Some(started)) = (all.is_empty() && task.took_ms > 0, task.started) {
        all.push(stretch(What::Whole, &task.task.to_string(), started, task.took_ms));
    }
    all.order_by_key(|stretch| (stretch.from_ms, stretch.end()));
    all
}

pub(super) fn millis_since(zero: SystemTime, time: SystemTime) -> u64 {
    time.duration_since(zero).map_or(0, millis)
}

/// What a phase is called.
pub(super) fn title(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Pull => "pulling the base image",
        PhaseKind::Transfer => "sending the context",
        PhaseKind::CacheImport => "reading a cache",
        PhaseKind::CacheFetch => "fetching layers from a cache",
        PhaseKind::Sbom => "listing what the image holds",
        PhaseKind::Export => "making the image",
        PhaseKind::Push => "pushing",
        PhaseKind::CacheExport => "writing a cache",
    }
}

/// The chain of stretches that the run's end waited for: from the last one back to whatever ended right before it, in its own
/// task or in one that its task waits for. Where nothing did, the chain goes on with the latest that ended before.
fn critical(stretches: &[Stretch], run: &RunRecord) -> SortedSet<usize> {
    let mut chain = SortedSet::new();
    let mut at = (0..stretches.len()).max_by_key(|index| stretches[*index].end());
    while let Some(index) = at {
        chain.insert(index);
        let stretch = &stretches[index];
        let (task, begun) = (&run.tasks[stretch.task], run.tasks[stretch.task].started);
        let begun = begun.map_or(0, |started| millis_since(run.started, started).saturating_add(FOLLOWS_MS));
        let comes_before = |other: &usize| {
            let earlier = &stretches[*other];
            let (mine, theirs) = (rank(&task.task), rank(&run.tasks[earlier.task].task));
            // A build may wait for another one's end: only so many run at once.
            let may_wait = earlier.task == stretch.task || theirs < mine || (theirs == mine && earlier.end() <= begun);
            may_wait
                && !chain.contains(other)
                && earlier.from_ms < stretch.from_ms
                && earlier.end() <= stretch.from_ms.saturating_add(FOLLOWS_MS)
        };
        at = (0..stretches.len()).filter(comes_before).max_by_key(|other| (stretches[*other].end(), stretches[*other].took_ms));
    }
    chain
}

/// The stage a task belongs to; a later one waits for the earlier ones.
fn rank(task: &Task) -> u8 {
    match task {
        Task::Checkout => 0,
        Task::Engine => 1,
        Task::Plan => 2,
        Task::Restore => 3,
        Task::Base => 4,
        Task::Service(_) => 5,
        Task::Stage(Stage { service: Some(_), .. }) => 6,
        Task::Keep => 7,
        Task::Publish => 8,
        Task::Notes => 9,
        Task::Stage(_) => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    #[test]
    fn stretches_lie_where_the_record_has_them() {
        let run = run();
        let stretches = stretches(&run);
        for stretch in &stretches {
            let task = &run.tasks[stretch.task];
            let steps = task.steps.iter().filter_map(|step| Some((step.started?, step.took_ms, step.name.as_str())));
            let phases = task.phases.iter().map(|phase| (phase.started, phase.took_ms, title(phase.kind)));
            let whole = task.started.map(|started| (started, task.took_ms, "publish"));
            let found = steps.chain(phases).chain(whole).any(|(started, took_ms, label)| {
                (millis_since(run.started, started), took_ms, label) == (stretch.from_ms, stretch.took_ms, stretch.label.as_str())
            });
            assert!(found, "{stretch:?}");
        }
        let ran = run.tasks.iter().flat_map(|task| &task.steps).filter(|step| !step.cached).count();
        assert_eq!(stretches.iter().filter(|s| matches!(s.what, What::Step | What::Failed)).count(), ran);
    }

    #[test]
    fn the_critical_path_goes_from_the_base_through_the_slowest_service_to_the_end() {
        let critical: Vec<String> = stretches(&run()).into_iter().filter(|s| s.is_critical).map(|s| s.label).collect();
        let expected = [
            "sending the context",
            "[base 2/2] RUN pnpm fetch",
            "[api-build 1/3] COPY . .",
            "[api-build 2/3] RUN tsc",
            "making the image",
            "publish",
        ];
        assert_eq!(critical, expected);
    }

    #[test]
    fn a_step_that_two_builds_wait_for_is_one_stretch_and_what_was_stopped_has_not_failed() {
        let mut run = run();
        let (api, web) = (1, 2);
        let step = run.tasks[api].steps[1].clone();
        let shared = monoship_docker::rawjson::Step { name: "[base 2/2] RUN npm".to_owned(), ..step };
        run.tasks[api].steps.push(shared.clone());
        run.tasks[web].steps.push(shared);
        run.tasks[web].status = Status::Cancelled;
        let drawn = stretches(&run);
        let npm: Vec<_> = drawn.iter().filter(|stretch| stretch.label.ends_with("npm")).collect();
        assert_eq!(npm.iter().map(|stretch| (stretch.task, stretch.also.as_slice())).collect::<Vec<_>>(), [(api, &[web][..])]);
        assert!(drawn.iter().any(|stretch| stretch.what == What::Stopped) && drawn.iter().all(|s| s.what != What::Failed));
    }

    #[test]
    fn a_run_without_tasks_has_no_timeline() {
        let run = RunRecord { tasks: Vec::new(), ..run() };
        assert_eq!(stretches(&run), []);
    }
}
