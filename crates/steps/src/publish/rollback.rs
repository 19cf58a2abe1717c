//! Taking back what a failed or stopped publication put: every tag to where the journal says it was.

use monoship_core::execute::pool::in_parallel;
use std::collections::BTreeSet;
use std::time::Duration;

use super::journal::Entry;
use super::late::Late;
use super::put::Stop;
use super::{Journal, Plan, Step, TagPlan};
use monoship_core::error::{Error, Result};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::retry::Policy;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::registry::{Deletion, Registry};

/// How long putting tags back may take once the run is stopped. A registry that takes longer is not coming back; the process waits for it,
/// and says so. Who cannot wait asks a second time to stop, and the journal stays.
const ROLLBACK_LIMIT: Duration = Duration::from_mins(2);

/// Puts the tags back that this run has put (`put`), and those of a dead run that it carried on. Returns the error to report: the one that led
/// here, with what became of the tags as its hint. The journal goes where everything is as before; else it stays, so that a rerun completes
/// the publication.
pub(super) fn run(
    plan: &Plan,
    journal: &Journal,
    registry: &Registry,
    events: &Events,
    stop: Stop,
    put: &BTreeSet<ImageRef>,
) -> Error {
    let Stop { error, for_good } = stop;
    events.doing(&Task::Publish, "putting the tags back");
    let stopped = error.is_cancelled();
    if stopped {
        let hint = "stop it once more to end it here; a rerun then completes the publication".to_owned();
        events.notice(Level::Info, Some(Task::Publish), "putting the tags back before it ends", Some(hint));
    }
    // The run's own switch may be thrown already, and would refuse every request.
    let late = Late::after(registry.shutdown(), ROLLBACK_LIMIT);
    let registry = registry.clone().under(late.switch());
    let registry = if stopped { registry.policy(Policy::ONCE) } else { registry };
    let entries: Vec<_> = journal.services.values().collect();
    // One tag of a repository after the other: distribution 2.8 loses track of a tag that moves while it deletes a manifest.
    let left: Vec<String> = in_parallel(&entries, |entry| put_all_back(&registry, entry, (!plan.resumed).then_some(put)))
        .into_iter()
        .flatten()
        .collect();
    drop(late);
    if left.is_empty() {
        let removed = std::fs::remove_file(&plan.journal);
        let again = if for_good { "" } else { "; run this again" };
        let whole = format!("no tag of {} has moved{again}", plan.name);
        let hint = if removed.is_ok() { whole } else { format!("{whole} (the journal {} stays)", plan.journal.display()) };
        return if stopped || error.hint_text().is_some() { notice(events, error, hint) } else { error.hint(hint) };
    }
    let left = left.join("; ");
    let hint = match error.hint_text().filter(|_| for_good) {
        _ if !for_good => format!("{} is half published; run this again to complete it. Not put back: {left}", plan.name),
        way_out => {
            let way_out = way_out.map(|way_out| format!("{way_out}. ")).unwrap_or_default();
            format!("{way_out}{} is half published, and another run is refused the same. Not put back: {left}", plan.name)
        }
    };
    if stopped { notice(events, error, hint) } else { error.hint(hint) }
}

/// A cancellation has no words of its own, and a hint of the failure itself is worth more than ours.
fn notice(events: &Events, error: Error, hint: String) -> Error {
    events.notice(Level::Warning, Some(Task::Publish), hint, None);
    error
}

/// Puts one service's tags back, those of `put` where it is known what was; returns those that it could not, each with the reason.
fn put_all_back(registry: &Registry, entry: &Entry, put: Option<&BTreeSet<ImageRef>>) -> Vec<String> {
    // By where it was, not by this run's steps: a resumed run takes back what the interrupted one put, too.
    let moved = |tag: &&TagPlan| tag.before.as_ref() != Some(&entry.digest) && !matches!(tag.step, Step::HeldBy(_));
    let mut left = Vec::new();
    // Floating tags come last in the list: they are the first to go.
    for tag in entry.tags.iter().rev().filter(moved) {
        let target = entry.source.with_tag(tag.tag.clone());
        // Two runs of one release have one digest: what the other one put is its success.
        if put.is_some_and(|put| !put.contains(&target)) {
            continue;
        }
        match put_back(registry, &target, &entry.digest, tag) {
            Ok(Deletion::Deleted | Deletion::Absent) => {}
            Ok(Deletion::Unsupported) => left.push(format!("{target} (the registry does not take tags away)")),
            Err(error) => left.push(format!("{target} ({error})")),
        }
    }
    left
}

/// `Absent` where the tag never came to point to ours.
fn put_back(registry: &Registry, target: &ImageRef, ours: &Digest, tag: &TagPlan) -> Result<Deletion> {
    let now = registry.resolve(target)?.map(|found| found.digest);
    if now == tag.before || now.as_ref() != Some(ours) {
        return Ok(Deletion::Absent);
    }
    let Some(before) = &tag.before else { return registry.remove_tag(target, &tag.tag) };
    let old = registry.need_manifest(&target.without_reference().with_digest(before.clone()))?;
    registry.put_manifest(target, &old)?;
    Ok(Deletion::Deleted)
}
