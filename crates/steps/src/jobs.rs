//! Between a plan and the files by which the jobs of a matrix tell each other of it. Reads and writes them; builds nothing.

mod by_platform;

use std::path::PathBuf;
use std::time::SystemTime;

use crate::image::Image;
use crate::{Session, outcome};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Status, Task};
use monoship_core::name::{ImageRef, Platform, ServiceName, Tag};
use monoship_core::sorted::{Order as _, SortedMap};
use monoship_plan::request::BuildRequest;
use monoship_plan::{Decision, Plan};
use monoship_publish::Item;
use monoship_report::record::{RunRecord, TaskRecord};
use monoship_report::results::{self, Planned};

pub use self::by_platform::{bases, matrix as matrix_by_platform};
pub use monoship_report::results::{PlanFile, ServiceFile};

/// Where the files lie, in every job.
pub fn folder(session: &Session) -> PathBuf {
    session.state_dir().join("ci")
}

/// What the plan's job tells the others. `by_platform`: each platform of a service has a job of its own, where it has a build of its own.
///
/// `stages` is what the team's stages before the builds came to.
pub fn plan_file(plan: &Plan, commit: &str, tag: Option<Tag>, by_platform: bool, stages: Vec<TaskRecord>) -> PlanFile {
    let services = plan.services.iter().map(|service| {
        let present = match &service.decision {
            Decision::Skip { digest, .. } => Some(digest.clone()),
            Decision::Build { .. } => None,
        };
        let builds = service.target.builds().iter().filter(|_| by_platform && service.is_built());
        let platforms = builds.flat_map(|build| build.platforms.clone()).into_vec();
        let planned =
            Planned { fingerprint: service.target.fingerprint.clone(), present, why: service.decision.why(), platforms };
        (service.service.name.clone(), planned)
    });
    PlanFile { commit: commit.to_owned(), tag, services: services.into_map(), stages }
}

/// Checks that a job sees what was planned.
///
/// # Errors
/// As [`PlanFile::fits`].
pub fn check(planned: &PlanFile, plan: &Plan, commit: &str) -> Result<()> {
    plan.services.iter().try_for_each(|service| planned.fits(&service.service.name, commit, &service.target.fingerprint))
}

/// What a service's job tells: of its run, or of why there was none.
///
/// # Errors
/// When the plan has no such service.
pub fn service_file(
    planned: &PlanFile,
    name: &str,
    platform: Option<&Platform>,
    attempt: u32,
    run: Result<&RunRecord, &Error>,
) -> Result<ServiceFile> {
    let (service, plan) = planned.services.iter().find(|(service, _)| service.as_str() == name).ok_or_else(|| {
        Error::usage(format!("`{name}` is not in the plan")).hint("the matrix of `cargo xtask ci plan` names the services")
    })?;
    let task = match run {
        Ok(run) => run.tasks.iter().find(|ran| ran.task == Task::Service(service.clone())).cloned(),
        Err(error) if error.is_cancelled() => Some(entry(service, Status::Cancelled, "")),
        Err(error) => Some(entry(service, Status::Failed, &error.to_string())),
    };
    Ok(ServiceFile {
        commit: planned.commit.clone(),
        service: service.clone(),
        platform: platform.cloned(),
        fingerprint: plan.fingerprint.clone(),
        attempt,
        stages: run.map(stages_of).unwrap_or_default(),
        task: task.unwrap_or_else(|| entry(service, Status::Failed, "it was not run")),
    })
}

/// What the services' jobs left, as the record of one attempt at a run: what an earlier one built was there before, as was a service
/// without a file, unless it should have one.
///
/// # Errors
/// As [`results::collect`]; when there is no registry, and something was there.
pub fn collect(
    session: &Session,
    request: &BuildRequest,
    planned: &PlanFile,
    attempt: u32,
) -> Result<(RunRecord, Vec<TaskRecord>)> {
    let mut files = results::collect(planned, &folder(session))?;
    let mut record = outcome::empty(session, request);
    let mut stages: Vec<TaskRecord> = files.values().flat_map(SortedMap::values).flat_map(|file| file.stages.clone()).into_vec();
    // Of a stage that several jobs of a service came to, what failed counts.
    stages.order_by_key(|stage| stage.status != Status::Failed);
    for (service, plan) in &planned.services {
        let mut of_service = files.remove(service).unwrap_or_default();
        if plan.present.is_none() && !plan.platforms.is_empty() {
            record.tasks.push(by_platform::joined(session, service, plan, attempt, of_service)?);
            continue;
        }
        record.tasks.push(match (of_service.remove(&None), &plan.present) {
            (Some(file), _) if file.attempt < attempt && file.task.status == Status::Built => TaskRecord {
                digest: file.task.digest,
                size: file.task.size,
                images: file.task.images,
                ..entry(service, Status::Unchanged, &format!("attempt {} built it", file.attempt))
            },
            (Some(file), _) => file.task,
            (None, Some(digest)) => TaskRecord {
                digest: Some(digest.clone()),
                images: vec![source(session, service, plan)?.to_string()],
                ..entry(service, Status::Unchanged, &plan.why)
            },
            (None, None) => entry(service, Status::Failed, "its job left no result"),
        });
    }
    // The run began when the first of them did.
    record.started = record.tasks.iter().filter_map(|task| task.started).fold(session.begun, SystemTime::min);
    record.tasks.extend(planned.stages.iter().cloned());
    Ok((record, stages))
}

/// What a team's stages came to for the service's image.
fn stages_of(run: &RunRecord) -> Vec<TaskRecord> {
    let of_image = |task: &&TaskRecord| matches!(&task.task, Task::Stage(stage) if stage.service.is_some());
    run.tasks.iter().filter(of_image).cloned().into_vec()
}

fn entry(service: &ServiceName, status: Status, why: &str) -> TaskRecord {
    TaskRecord { why: why.to_owned(), ..TaskRecord::new(Task::Service(service.clone()), status) }
}

/// Where a service's image stands. From our own configuration, not from a file: what is published lies in our repository.
fn source(session: &Session, service: &ServiceName, plan: &Planned) -> Result<ImageRef> {
    Ok(session.config.images.image(service)?.with_tag(plan.fingerprint.content_tag()))
}

/// What keeps a run from being published, all of it in a line; `None` where nothing does.
pub fn trouble(record: &RunRecord) -> Option<String> {
    let services = record.tasks.iter().filter(|task| matches!(task.task, Task::Service(_)));
    let of_task = |task: &TaskRecord| {
        let what = match (task.status, &task.failure) {
            (Status::Built | Status::Unchanged, _) => return None,
            (Status::Cancelled | Status::NotRun, _) if task.lacking.is_none() => "it was cancelled".to_owned(),
            (_, Some(failure)) => {
                let step = failure.step.as_deref().map(|step| format!("{step}: ")).unwrap_or_default();
                format!("{step}{}", failure.message)
            }
            (_, None) => task.why.clone(),
        };
        Some(format!("{}: {what}", task.task))
    };
    let gates = record.gates.iter().filter(|gate| gate.fails).map(|gate| format!("gate {}: {}", gate.gate, gate.text));
    let troubles: Vec<String> = services.filter_map(of_task).chain(gates).into_vec();
    (!troubles.is_empty()).then(|| troubles.join("; "))
}

/// The stages of a team's own that failed, none of them for one image: what was published before them stands.
pub fn failed_stages(record: &RunRecord) -> Option<Error> {
    let of_run = |task: &&TaskRecord| matches!(&task.task, Task::Stage(stage) if stage.service.is_none());
    let failed: Vec<&TaskRecord> = record.tasks.iter().filter(of_run).filter(|task| task.status == Status::Failed).into_vec();
    let said: Vec<String> = failed.iter().map(|task| format!("{} failed: {}", task.task, task.why)).into_vec();
    let hint = failed.iter().find_map(|task| task.hint.clone());
    let hint = hint.unwrap_or_else(|| "re-run this job: what is published stands, and the stage runs again".to_owned());
    (!said.is_empty()).then(|| Error::failed(said.join("; ")).hint(hint))
}

/// What is to be published of a complete run.
///
/// # Errors
/// When there is no registry.
pub fn items(session: &Session, planned: &PlanFile, images: &[Image], tags: &[Tag]) -> Result<Vec<Item>> {
    let item = |(service, plan): (&ServiceName, &Planned)| {
        let image = images.iter().find(|image| image.service == *service);
        let (source, digest) = (source(session, service, plan)?, image.and_then(|image| image.digest.clone()));
        Ok(Item { service: service.clone(), source, digest, tags: tags.to_vec() })
    };
    planned.services.iter().map(item).collect()
}
