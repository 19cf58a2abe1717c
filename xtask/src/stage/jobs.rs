//! Between a plan and the files by which the jobs of a matrix tell each other of it. Reads and writes them; builds nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::event::Status;
use crate::github::results::{self, Image, Outcome, Planned};
use crate::name::{ImageRef, ServiceName, Tag};
use crate::plan::{Decision, Plan};
use crate::record::{RunRecord, TaskRecord};
use crate::stage::Session;
use crate::stage::publish::Item;

pub use crate::github::results::{PlanFile, ServiceFile};

/// The images of a complete run, by service.
pub type Collected = BTreeMap<ServiceName, results::Collected>;

/// Where the files lie, in every job.
pub fn folder(session: &Session) -> PathBuf {
    session.state_dir().join("ci")
}

/// What the plan's job tells the others.
pub fn plan_file(plan: &Plan, commit: &str, tag: Option<Tag>) -> PlanFile {
    let services = plan.services.iter().map(|service| {
        let present = match &service.decision {
            Decision::Skip { digest, .. } => Some(digest.clone()),
            Decision::Build { .. } => None,
        };
        let planned = Planned { fingerprint: service.target.fingerprint.clone(), present, why: service.decision.why() };
        (service.service.name.clone(), planned)
    });
    PlanFile { commit: commit.to_owned(), tag, services: services.collect() }
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
pub fn service_file(planned: &PlanFile, name: &str, attempt: u32, run: Result<&RunRecord, &Error>) -> Result<ServiceFile> {
    let (service, entry) = planned.services.iter().find(|(service, _)| service.as_str() == name).ok_or_else(|| {
        Error::usage(format!("`{name}` is not in the plan")).hint("the matrix of `cargo xtask ci plan` names the services")
    })?;
    let outcome = match run {
        Ok(run) => {
            run.tasks.iter().find_map(|task| of_task(task, name)).unwrap_or_else(|| Outcome::Failed("it was not run".to_owned()))
        }
        Err(error) => Outcome::Failed(error.to_string()),
    };
    Ok(ServiceFile {
        commit: planned.commit.clone(),
        service: service.clone(),
        fingerprint: entry.fingerprint.clone(),
        attempt,
        outcome,
    })
}

fn of_task(task: &TaskRecord, name: &str) -> Option<Outcome> {
    if task.task.to_string() != name {
        return None;
    }
    let image = task.images.first().and_then(|image| image.parse::<ImageRef>().ok());
    Some(match (task.status, image, &task.digest) {
        (Status::Built | Status::Skipped, Some(image), Some(digest)) => Outcome::Built(Image {
            image,
            digest: digest.clone(),
            steps: (task.cached(), task.steps.len()),
            milliseconds: task.took_ms,
            bytes: task.size,
        }),
        (Status::Built | Status::Skipped, ..) => Outcome::Checked,
        (Status::Cancelled | Status::NotRun, ..) => Outcome::Failed("it was cancelled".to_owned()),
        _ => {
            let failure = task.failure.as_ref();
            let step = failure.and_then(|failure| failure.step.as_deref()).map(|step| format!("{step}: ")).unwrap_or_default();
            Outcome::Failed(format!("{step}{}", failure.map_or(&task.why, |failure| &failure.message)))
        }
    })
}

/// What is to be published of a complete run.
///
/// # Errors
/// When there is no registry.
pub fn items(session: &Session, planned: &PlanFile, collected: &Collected, tags: &[Tag]) -> Result<Vec<Item>> {
    let item = |(service, entry): (&ServiceName, &Planned)| {
        let digest = match collected.get(service) {
            Some(results::Collected::Built(image)) => Some(image.digest.clone()),
            Some(results::Collected::Present(digest)) => Some(digest.clone()),
            Some(results::Collected::Checked) | None => None,
        };
        // From our own configuration, not from the file: what is published lies in our repository.
        let source = session.config.images.image(service)?.with_tag(entry.fingerprint.content_tag());
        Ok(Item { service: service.clone(), source, digest, tags: tags.to_vec() })
    };
    planned.services.iter().map(item).collect()
}
