//! A service's platforms as jobs of their own, each on a runner that has its platform natively: their matrix, and what becomes of their parts.

use serde_json::{Value, json};

use super::{entry, source};
use crate::{Session, marks, platforms};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Status;
use monoship_core::name::{Platform, ServiceName};
use monoship_core::sorted::SortedSet;
use monoship_docker::mark::Mark;
use monoship_github::workflow::runner;
use monoship_report::record::TaskRecord;
use monoship_report::results::{PlanFile, Planned, Results, ServiceFile, jobs_of_a_matrix};

/// The matrix of the jobs that must build: `{"include":[{"service":"api","platform":"linux/arm64","runner":"ubuntu-24.04-arm"}]}`.
///
/// # Errors
/// A service that is not built by platform: the workflow is written for another configuration. More rows than GitHub takes.
pub fn matrix(plan: &PlanFile) -> Result<Value> {
    let mut rows = Vec::new();
    for (service, planned) in missing(plan) {
        if planned.platforms.is_empty() {
            return Err(Error::failed(format!("{service} names no platform, and the workflow asks for a job of each"))
                .hint("`cargo xtask ci workflow` writes the workflow that fits `[images] platforms`"));
        }
        let row = |platform| json!({"service": service, "platform": platform, "runner": runner(platform)});
        rows.extend(planned.platforms.iter().map(row));
    }
    Ok(json!({"include": jobs_of_a_matrix(rows)?}))
}

/// The matrix of the base's jobs: each platform that something is built for, with its runner.
#[must_use]
pub fn bases(plan: &PlanFile) -> Value {
    let all: SortedSet<&Platform> = missing(plan).flat_map(|(_, planned)| &planned.platforms).into_set();
    let rows = all.into_iter().map(|platform| json!({"platform": platform, "runner": runner(platform)}));
    json!({"include": rows.into_vec()})
}

fn missing(plan: &PlanFile) -> impl Iterator<Item = (&ServiceName, &Planned)> {
    plan.services.iter().filter(|(_, planned)| planned.present.is_none())
}

/// A service's entry in the record, by what the jobs of its platforms left. Where each built its part the index over them stands under the
/// content tag afterwards; built before is what earlier attempts built all of.
pub(super) fn joined(
    session: &Session,
    service: &ServiceName,
    plan: &Planned,
    attempt: u32,
    mut files: Results,
) -> Result<TaskRecord> {
    let mut parts = Vec::new();
    for platform in &plan.platforms {
        match files.remove(&Some(platform.clone())) {
            None => return Ok(entry(service, Status::Failed, &format!("its job for {platform} left no result"))),
            Some(file) if file.task.status != Status::Built => {
                let why = [platform.to_string(), file.task.why.clone()].join(": ");
                return Ok(TaskRecord { why, ..file.task });
            }
            Some(file) => parts.push((platform.clone(), file)),
        }
    }
    let last = parts.iter().map(|(_, file)| file.attempt).max().unwrap_or_default();
    let task = if let [(_, whole)] = parts.as_slice() { whole.task.clone() } else { index(session, service, plan, parts)? };
    if last < attempt {
        let TaskRecord { digest, size, images, .. } = task;
        let before = entry(service, Status::Unchanged, &format!("attempt {last} built it"));
        return Ok(TaskRecord { digest, size, images, ..before });
    }
    Ok(task)
}

/// Puts the index over the parts under the content tag; the jobs as one task.
fn index(session: &Session, service: &ServiceName, plan: &Planned, parts: Vec<(Platform, ServiceFile)>) -> Result<TaskRecord> {
    let image = source(session, service, plan)?;
    let digests = parts.iter().map(|(platform, file)| {
        let digest = file.task.digest.clone();
        let missing = || Error::failed(format!("the job of {service} for {platform} names no image"));
        Ok((platform.clone(), digest.ok_or_else(missing)?))
    });
    let mark = Mark { repository: marks::owner(session)?, fingerprint: Some(plan.fingerprint.clone()) };
    let digest = platforms::join(&session.registry, &image, &digests.collect::<Result<Vec<_>>>()?, &mark.annotations())?;
    let mut task = one(parts);
    (task.size, task.images) = (session.registry.image_size(&image.with_digest(digest.clone())), vec![image.to_string()]);
    task.digest = Some(digest);
    Ok(task)
}

/// What the jobs of one service did, as one task that took as long as the longest of them.
fn one(parts: Vec<(Platform, ServiceFile)>) -> TaskRecord {
    let mut tasks = parts.into_iter().map(|(platform, file)| {
        let mut task = file.task;
        for step in &mut task.steps {
            step.platform.get_or_insert_with(|| platform.to_string());
        }
        task
    });
    let first = tasks.next().expect("a service has platforms");
    tasks.fold(first, |mut all, task| {
        all.took_ms = all.took_ms.max(task.took_ms);
        all.started = all.started.into_iter().chain(task.started).min();
        all.steps.extend(task.steps);
        all.cache_imports.extend(task.cache_imports);
        all.cache_exports.extend(task.cache_exports);
        all.warnings.extend(task.warnings);
        all.missed = all.missed.or(task.missed);
        all
    })
}
