//! Runs by what they were for: a median over plans, edits and releases together says nothing. Pure.

use serde::Serialize;

use super::Times;
use crate::record::history::PastRun;
use crate::record::run::Outcome;
use monoship_core::collect::Collect as _;
use monoship_core::event::{Status, Task};
use monoship_core::sorted::SortedMap;

/// Runs of one kind that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KindStats {
    /// The verb, and how much was built: `build, 1 service`.
    pub kind: String,
    /// How long one takes.
    pub took: Times,
}

/// Each kind's times: by verb, of these what builds least first.
pub(super) fn kinds(runs: &[PastRun]) -> Vec<KindStats> {
    let mut by_kind: SortedMap<(&str, Built), Vec<u64>> = SortedMap::new();
    for run in runs.iter().filter(|run| run.outcome == Outcome::Succeeded) {
        let verb = run.command.split(' ').next().unwrap_or_default();
        by_kind.entry((verb, built(run))).or_default().push(run.took);
    }
    let kind = |(verb, built): (&str, Built)| format!("{verb}, {}", built.text());
    by_kind.into_iter().map(|(at, durations)| KindStats { kind: kind(at), took: Times::of(&durations) }).into_vec()
}

/// How much a run built, by what one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Built {
    Nothing,
    One,
    Several,
}

impl Built {
    fn text(self) -> &'static str {
        match self {
            Self::Nothing => "nothing built",
            Self::One => "1 service",
            Self::Several => "several services",
        }
    }
}

fn built(run: &PastRun) -> Built {
    match run.tasks.iter().filter(|task| matches!(task.task, Task::Service(_)) && task.status == Status::Built).count() {
        0 => Built::Nothing,
        1 => Built::One,
        _ => Built::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::history::tests::run;

    #[test]
    fn runs_that_build_nothing_one_and_several_services_have_medians_of_their_own() {
        let of = |command: &str, took: u64, built: usize, outcome| {
            let mut run = PastRun { command: command.to_owned(), took, outcome, ..run(0) };
            run.tasks.truncate(4);
            for (index, task) in run.tasks.iter_mut().enumerate() {
                task.status = if index < built { Status::Built } else { Status::Unchanged };
            }
            run
        };
        let runs = [
            of("release v1.0.0", 90_000, 4, Outcome::Succeeded),
            of("build", 30_000, 3, Outcome::Succeeded),
            of("build", 100, 0, Outcome::Succeeded),
            of("build api", 3_000, 1, Outcome::Succeeded),
            of("build", 5_000, 1, Outcome::Succeeded),
            of("build", 1, 1, Outcome::Failed),
        ];
        let found: Vec<_> = kinds(&runs).into_iter().map(|kind| (kind.kind, kind.took.count, kind.took.median)).collect();
        let expected = [
            ("build, nothing built", 1, 100),
            ("build, 1 service", 2, 3_000),
            ("build, several services", 1, 30_000),
            ("release, several services", 1, 90_000),
        ];
        assert_eq!(found, expected.map(|(kind, count, median)| (kind.to_owned(), count, median)));
    }
}
