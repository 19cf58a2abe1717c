//! Taking back what a failed or stopped publication put: every tag to where the journal says it was.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::SortedSet;
use std::time::Duration;

use super::claim::Claim;
use super::journal::Entry;
use super::late::Late;
use super::order::Others;
use super::put::Stop;
use super::read;
use super::{Journal, Plan, Step, TagPlan};
use monoship_core::error::{Error, Result};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::retry::Policy;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::registry::{Deletion, Registry};

/// How long putting tags back may take once the run is stopped. A registry that takes longer is not coming back; the process waits for it,
/// and says so. Who cannot wait asks a second time to stop, and the journal stays.
const ROLLBACK_LIMIT: Duration = Duration::from_mins(2);

/// How often a tag is read until it is back; the pauses between double, three seconds in all.
const ROUNDS: u32 = 7;

/// The first pause.
const PAUSE: Duration = Duration::from_millis(50);

/// Puts the tags back that this run has put (`put`), and those of a dead run that it carried on, where it was alone. Returns the error to
/// report: the one that led here, with what became of the tags as its hint. The journal goes where everything is as before; else it stays, so
/// that a rerun completes the publication.
pub(super) fn run(
    plan: &Plan,
    journal: &Journal,
    registry: &Registry,
    events: &Events,
    stop: Stop,
    put: &SortedSet<ImageRef>,
    mut claim: Claim,
) -> Error {
    let stopped = stop.error.is_cancelled();
    // The run's own switch may be thrown already, and would refuse every request.
    let late = Late::after(registry.shutdown(), ROLLBACK_LIMIT);
    let registry = registry.clone().under(late.switch());
    let quick = if stopped { registry.clone().policy(Policy::ONCE) } else { registry.clone() };
    let put_any = plan.resumed || !put.is_empty();
    let left = if put_any { put_all_back(plan, journal, &quick, events, stopped, put, &claim) } else { Vec::new() };
    if !left.is_empty() {
        hand_over(plan, &registry, put);
    }
    let word = claim.end(&registry);
    drop(late);
    told(plan, events, stop, &left, word)
}

/// The error of a run that was stopped before it put anything.
pub(super) fn nothing_was_put(plan: &Plan, registry: &Registry, events: &Events, stop: Stop, mut claim: Claim) -> Error {
    let word = claim.end(registry);
    told(plan, events, stop, &[], word)
}

fn put_all_back(
    plan: &Plan,
    journal: &Journal,
    registry: &Registry,
    events: &Events,
    stopped: bool,
    put: &SortedSet<ImageRef>,
    claim: &Claim,
) -> Vec<String> {
    if let Some(why) = claim.why_not_alone(registry) {
        return vec![format!("any tag ({why})")];
    }
    events.doing(&Task::Publish, "putting the tags back");
    if stopped {
        let hint = "stop it once more to end it here; a rerun then completes the publication".to_owned();
        events.notice(Level::Info, Some(Task::Publish), "putting the tags back before it ends", Some(hint));
    }
    let entries: Vec<_> = journal.services.values().into_vec();
    // One tag of a repository after the other: distribution 2.8 loses track of a tag that moves while it deletes a manifest.
    in_parallel(&entries, |entry| put_service_back(registry, entry, (!plan.resumed).then_some(put)))
        .into_iter()
        .flatten()
        .into_vec()
}

/// What stays of ours where a newer release stands whole: its run may have ended before our last tag came, so its floating tags are put again.
/// A rerun does the same, where the registry does not let us now.
fn hand_over(plan: &Plan, registry: &Registry, put: &SortedSet<ImageRef>) {
    let Some(order) = &plan.order else { return };
    let repositories: Vec<&ImageRef> = plan.services.iter().map(|service| &service.source).into_vec();
    let Ok(Others { existing, whole }) = Others::read(Some(order), registry, &repositories) else { return };
    for (service, existing) in plan.services.iter().zip(&existing) {
        for tag in &service.tags {
            let target = service.source.with_tag(tag.tag.clone());
            let Some((_, exact)) = order.newest_of(&tag.tag, &whole, existing).filter(|_| put.contains(&target)) else {
                continue;
            };
            let is_ours = read::digest(registry, &target).is_ok_and(|now| now.as_ref() == Some(service.manifest.digest()));
            if let Some(Ok(Some(theirs))) = is_ours.then(|| registry.manifest(&target.with_tag(exact.clone()))) {
                // It is said already that the tag was not put back.
                let _ = registry.put_manifest(&target, &theirs);
            }
        }
    }
}

/// `word` is the name under which others still see this run.
fn told(plan: &Plan, events: &Events, stop: Stop, left: &[String], word: Option<&str>) -> Error {
    let Stop { error, for_good } = stop;
    let stopped = error.is_cancelled();
    if left.is_empty() {
        let removed = match word {
            Some(word) => Journal::of_a_word(plan, word).save(&plan.journal),
            None => std::fs::remove_file(&plan.journal).map_err(|error| Error::io("remove", &plan.journal, error)),
        };
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
fn put_service_back(registry: &Registry, entry: &Entry, put: Option<&SortedSet<ImageRef>>) -> Vec<String> {
    // By where it was, not by this run's steps: a resumed run takes back what the interrupted one put, too.
    let moved = |tag: &&TagPlan| tag.before.as_ref() != Some(&entry.digest) && !matches!(tag.step, Step::HeldBy(_));
    let mut left = Vec::new();
    // Floating tags come last in the list: they are the first to go.
    for tag in entry.tags.iter().rev().filter(moved) {
        let target = entry.source.with_tag(tag.tag.clone());
        // What another run had put before is its success.
        if put.is_some_and(|put| !put.contains(&target)) {
            continue;
        }
        if let Err(error) = put_back(registry, &target, &entry.digest, tag, put.is_some()) {
            left.push(format!("{target} ({error})"));
        }
    }
    left
}

/// Puts a tag back, and reads it until it is: a registry's cache may say what was. `put` where this run has put it, or may have; else it may
/// never have come to point to ours. Nobody else moves it, but for a person: a digest that is neither ours nor the one before is theirs.
fn put_back(registry: &Registry, target: &ImageRef, ours: &Digest, tag: &TagPlan, put: bool) -> Result<()> {
    let (mut done, mut last, mut refused) = (false, None, false);
    for round in 0..ROUNDS {
        if round > 1 || (round == 1 && !done) {
            std::thread::sleep(PAUSE * (1 << (round - 1)));
        }
        let now = read::digest(registry, target)?;
        if now.as_ref() == Some(ours) || (put && !done && !refused && now == tag.before) {
            match back(registry, target, tag) {
                Ok(()) => done = true,
                // Whom a registry refuses this it may have refused that: then the tag reads as it was to the end.
                Err(error) if now == tag.before && !error.is_cancelled() => refused = true,
                Err(error) => return Err(error),
            }
        } else if !refused && ((done && now == tag.before) || last.replace(now.clone()) == Some(now)) {
            return Ok(());
        }
    }
    if refused { Ok(()) } else { Err(Error::failed("it reads back as ours again and again")) }
}

fn back(registry: &Registry, target: &ImageRef, tag: &TagPlan) -> Result<()> {
    let Some(before) = &tag.before else {
        return match registry.remove_tag(target, &tag.tag)? {
            Deletion::Deleted | Deletion::Absent => Ok(()),
            Deletion::Unsupported => Err(Error::failed("the registry does not delete tags")),
        };
    };
    let old = registry.need_manifest(&target.without_reference().with_digest(before.clone()))?;
    registry.put_manifest(target, &old)
}
