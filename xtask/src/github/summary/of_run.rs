//! From a run's record to the rows of its summary.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Failure, ServiceRow, TierRow};
use crate::docker::rawjson::CacheTransfer;
use crate::event::Status;
use crate::record::TaskRecord;

/// The row of one task.
#[must_use]
pub fn row(task: &TaskRecord) -> ServiceRow {
    let ran = !matches!(task.status, Status::Skipped | Status::NotRun);
    let failure = task.failure.as_ref().map(|failure| {
        let line = failure.source.as_ref().map(|source| format!(" ({}:{})", source.file, source.line)).unwrap_or_default();
        let step = failure.step.as_deref().unwrap_or(&failure.message);
        Failure { step: format!("{step}{line}"), log: failure.log.join("\n") }
    });
    ServiceRow {
        steps: (!task.steps.is_empty()).then(|| (task.cached(), task.steps.len())),
        took: ran.then(|| task.took()),
        bytes: (task.size, None),
        digest: task.digest.clone(),
        failure,
        ..ServiceRow::new(&task.task.to_string(), task.status, &task.why)
    }
}

/// The cache tiers over all tasks of a run, in their order of preference.
#[must_use]
pub fn tiers(tasks: &[TaskRecord]) -> Vec<TierRow> {
    let mut order: Vec<&str> = Vec::new();
    let mut verdicts: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for tier in tasks.iter().flat_map(|task| &task.tiers) {
        if !order.contains(&tier.tier.as_str()) {
            order.push(&tier.tier);
        }
        let said = if tier.why.is_empty() { tier.verdict.clone() } else { format!("{}: {}", tier.verdict, tier.why) };
        *verdicts.entry(&tier.tier).or_default().entry(said).or_default() += 1;
    }
    let spent = |of: fn(&TaskRecord) -> &[CacheTransfer], tier: &str| {
        let transfers = tasks.iter().flat_map(of).filter(|transfer| tier_of(transfer) == tier);
        Duration::from_millis(transfers.fold(0, |sum, transfer| sum.saturating_add(transfer.took_ms)))
    };
    let rows = order.into_iter().map(|tier| TierRow {
        tier: tier.to_owned(),
        verdict: verdict(&verdicts[tier]),
        importing: spent(|task| &task.cache_imports, tier),
        exporting: spent(|task| &task.cache_exports, tier),
        saved: None,
    });
    rows.collect()
}

/// One verdict as it is; of several each with how many targets it is of.
fn verdict(said: &BTreeMap<String, usize>) -> String {
    match said.iter().next() {
        Some((only, _)) if said.len() == 1 => only.clone(),
        _ => said.iter().map(|(verdict, count)| format!("{verdict} ({count})")).collect::<Vec<_>>().join("; "),
    }
}

/// Which tier BuildKit's name of a transfer means: `gha:…` when it reads, `GitHub Actions Cache` when it writes, else a reference.
fn tier_of(transfer: &CacheTransfer) -> &'static str {
    let name = transfer.name.to_ascii_lowercase();
    if name.starts_with("gha") || name.starts_with("github actions") {
        "gha"
    } else if name.starts_with("inline") {
        "inline"
    } else {
        "registry"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Task;
    use crate::record::TierRecord;

    #[test]
    fn tiers_are_summed_over_the_targets_and_each_verdict_is_told() {
        let tier =
            |tier: &str, verdict: &str, why: &str| TierRecord { tier: tier.into(), verdict: verdict.into(), why: why.into() };
        let moved = |name: &str| CacheTransfer { name: name.into(), took_ms: 400, error: None };
        let task = |registry| TaskRecord {
            tiers: vec![tier("gha", "read-only", "the token may only read"), registry],
            cache_imports: vec![moved("gha:123"), moved("127.0.0.1:5000/cache:api")],
            cache_exports: vec![moved("GitHub Actions Cache")],
            ..TaskRecord::new(Task::Base, Status::Built)
        };
        let rows = tiers(&[task(tier("registry", "used", "")), task(tier("registry", "write-only", "nothing is there yet"))]);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.tier.as_str(), row.verdict.as_str(), row.importing.as_millis(), row.exporting.as_millis()))
            .collect();
        assert_eq!(
            shown,
            [
                ("gha", "read-only: the token may only read", 800, 800),
                ("registry", "used (1); write-only: nothing is there yet (1)", 800, 0),
            ]
        );
    }
}
