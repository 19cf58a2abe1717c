//! From the builds' outcomes to the run's record: the same value that the summary shows, `--json` prints and the history keeps.

use std::time::SystemTime;

use crate::usual::Past;
use crate::{Session, build, gates, history};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Event, Level, Stage, Status, Task};
use monoship_core::execute::pool::in_parallel;
use monoship_core::name::{ImageRef, ServiceName};
use monoship_core::time::millis;
use monoship_docker::layers::stored;
use monoship_docker::spec::provisional;
use monoship_plan::cache::Tier;
use monoship_plan::request::BuildRequest;
use monoship_plan::{Decision, Plan};
use monoship_publish::Published;
use monoship_report::record::{Outcome, RunRecord, TaskRecord, TierRecord};
use monoship_workspace::git::Head;

/// A record without tasks.
pub fn empty(session: &Session, request: &BuildRequest) -> RunRecord {
    let record = RunRecord::new(session.run.id.clone(), session.begun, request.command.clone());
    RunRecord { ci: session.env.is_ci(), ..record }
}

/// A record in which nothing has run yet: skipped services stand in it, the others are marked as not run.
pub fn begin(session: &Session, request: &BuildRequest, plan: &Plan) -> RunRecord {
    let mut record = empty(session, request);
    if let Some(affected) = plan.affected.as_ref().filter(|_| !request.unaffected_too) {
        record.since = Some(affected.commit.clone());
        record.unaffected = affected.unaffected().cloned().into_vec();
        let names: Vec<&str> = affected.unaffected().map(ServiceName::as_str).into_vec();
        let which =
            if names.is_empty() { "every service is affected".to_owned() } else { format!("not affected: {}", names.join(", ")) };
        session.events.notice(Level::Info, None, format!("since {:.12} {which}", affected.commit), None);
    }
    let mounts = plan.mounts.iter().map(|mounts| tier(&mounts.tier));
    record.tasks.push(TaskRecord { tiers: mounts.into_vec(), ..planning(session) });
    for service in &plan.services {
        let task = Task::Service(service.service.name.clone());
        let mut entry = match &service.decision {
            Decision::Build { .. } => TaskRecord::new(task, Status::NotRun),
            Decision::Skip { digest, size } => {
                TaskRecord { digest: Some(digest.clone()), size: *size, ..TaskRecord::new(task, Status::Unchanged) }
            }
        };
        entry.why = service.why();
        let names = service.target.spec.output.names().iter();
        // A part of an image keeps the name under which it was pushed.
        let named =
            |name: &ImageRef| if service.target.is_part { provisional(name, session.run.id.as_str()) } else { name.clone() };
        entry.images = names.map(|name| named(name).to_string()).into_vec();
        entry.fingerprint = Some(service.target.fingerprint.clone());
        record.tasks.push(entry);
    }
    record
}

/// Tells what the run has before it, once it is known.
pub fn foresee(session: &Session, record: &RunRecord) {
    let with =
        |status: Status| record.tasks.iter().filter(move |task| matches!(task.task, Task::Service(_)) && task.status == status);
    let waiting: Vec<Task> = with(Status::NotRun).map(|task| task.task.clone()).into_vec();
    if waiting.is_empty() {
        return;
    }
    let usual = Past::read(session).run(&waiting);
    session.events.emit(Event::Foreseen { waiting, unchanged: with(Status::Unchanged).count(), usual });
}

/// The plan's making, which is over now: the time since the run began, or since what came before it.
fn planning(session: &Session) -> TaskRecord {
    let before = session.ended.tasks().iter().filter_map(TaskRecord::ended).max();
    let started = before.unwrap_or(session.begun);
    let took = SystemTime::now().duration_since(started).unwrap_or_default();
    TaskRecord { started: Some(started), took_ms: millis(took), ..TaskRecord::new(Task::Plan, Status::Done) }
}

/// Enters the base's outcome, before the services.
pub fn add_base(record: &mut RunRecord, outcome: Option<build::Outcome>, plan: &Plan) {
    if let (Some(outcome), Some(base)) = (outcome, &plan.base) {
        let entry = filled(TaskRecord::new(outcome.task.clone(), outcome.status), outcome, &base.tiers);
        let first_service = record.tasks.iter().position(|task| matches!(task.task, Task::Service(_)));
        record.tasks.insert(first_service.unwrap_or(record.tasks.len()), entry);
    }
}

/// Enters the services' outcomes. A step of the base that failed has failed for each of them; it is said once, with the base.
pub fn add_services(record: &mut RunRecord, outcomes: Vec<build::Outcome>, plan: &Plan) {
    let base = record.tasks.iter().find(|task| task.task == Task::Base);
    let broken = base.and_then(|base| base.failure.as_ref()?.step.clone());
    for outcome in outcomes {
        let failed_at = outcome.solved.failure.as_ref().and_then(|failure| failure.step.as_ref());
        if broken.is_some() && failed_at == broken.as_ref() {
            continue;
        }
        let planned = plan.services.iter().find(|s| outcome.task == Task::Service(s.service.name.clone()));
        let tiers = planned.map_or(&[][..], |service| &service.target.tiers);
        if let Some(entry) = record.tasks.iter_mut().find(|entry| entry.task == outcome.task) {
            if let Some(lacking) = outcome.lacking {
                (entry.why, entry.lacking) = (outcome.why.unwrap_or_default(), Some(lacking));
                continue;
            }
            *entry = filled(entry.clone(), outcome, tiers);
        }
    }
}

fn filled(entry: TaskRecord, outcome: build::Outcome, tiers: &[Tier]) -> TaskRecord {
    let mut entry = entry.with_solved(outcome.solved);
    entry.missed = outcome.missed;
    entry.status = outcome.status;
    entry.started = Some(outcome.begun);
    entry.took_ms = millis(outcome.took);
    entry.digest = outcome.digest;
    entry.size = outcome.size;
    entry.nodes = outcome.nodes;
    entry.hint = outcome.hint;
    entry.tiers = tiers.iter().map(tier).into_vec();
    if let Some(why) = outcome.why {
        entry.why = why;
    }
    entry
}

fn tier(tier: &Tier) -> TierRecord {
    let (verdict, why) = (tier.verdict.name().to_owned(), tier.verdict.why().unwrap_or_default().to_owned());
    TierRecord { tier: tier.kind.to_string(), verdict, why }
}

/// Notes which release a record is of, and what the layers of the published images take, for whoever compares releases.
pub fn of_release(session: &Session, record: &mut RunRecord, tag: &str, published: &[Published]) {
    record.release = Some(tag.to_owned());
    let layers = in_parallel(published, |one| stored(&session.registry, &one.repository.with_digest(one.digest.clone())));
    for (one, layers) in published.iter().zip(layers) {
        let task = Task::Service(one.service.clone());
        if let (Some(entry), Some(layers)) = (record.tasks.iter_mut().find(|entry| entry.task == task), layers) {
            entry.layers = layers;
        }
    }
}

/// Appends a complete record to the history.
pub fn remember(session: &Session, record: &RunRecord) {
    history::append(session, record);
}

/// Completes the record.
pub fn complete(session: &Session, mut record: RunRecord, failed: bool) -> RunRecord {
    let (before, after): (Vec<_>, Vec<_>) =
        session.ended.tasks().into_iter().partition(|task| matches!(task.task, Task::Engine | Task::Checkout));
    record.tasks.splice(0..0, before);
    let of_run = |task: &TaskRecord| matches!(&task.task, Task::Restore | Task::Stage(Stage { service: None, .. }));
    let (stages, tasks): (Vec<_>, Vec<_>) = record.tasks.into_iter().chain(after).partition(of_run);
    record.tasks = tasks;
    // A stage of the run's own stands where it was done: before what began later.
    for stage in stages {
        let later = record.tasks.iter().position(|task| task.started > stage.started);
        record.tasks.insert(later.unwrap_or(record.tasks.len()), stage);
    }
    let any = |status: Status| record.tasks.iter().any(|task| task.status == status);
    record.outcome = if failed || any(Status::Failed) || !gates::pass(&record) {
        Outcome::Failed
    } else if any(Status::Cancelled) || session.shutdown.is_closing() {
        Outcome::Cancelled
    } else {
        Outcome::Succeeded
    };
    if record.commit.is_none() {
        (record.commit, record.reference) = name(session, session.git().head());
    }
    // What other machines did began before this command.
    let before = session.begun.duration_since(record.started).unwrap_or_default();
    record.took_ms = millis(before + session.started.elapsed());
    record
}

/// The commit and, where it has a name, the branch. CI checks out a commit and says the name beside it.
pub fn name(session: &Session, head: Result<Head>) -> (Option<String>, Option<String>) {
    // A run that is being stopped starts no child, and a folder without git has neither: the record does without.
    let (commit, branch) = head.and_then(Head::read).unwrap_or_default();
    (commit, session.env.get("GITHUB_REF_NAME").map(str::to_owned).or(branch))
}
