//! The build-services stage: one builder process a service and platform, several at once, each service with an outcome of its own.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::docker::store::ImageStore;
use crate::engine::Engine;
use crate::error::Result;
use crate::event::Status;
use crate::execute::pool;
use crate::plan::request::Request;
use crate::plan::services::Service;
use crate::plan::spec::Output;
use crate::plan::{Plan, ServicePlan};
use crate::record::ServiceRecord;
use crate::stage::build::{Job, Outcome, Running};
use crate::stage::planning::image_store;
use crate::stage::project::Project;
use crate::stage::{Session, contexts, gates};

/// Builds every service that is to be built. One failure stops nobody else, unless the request says so. What succeeded is remembered
/// at once, so that a run that dies later has not built it in vain.
///
/// # Errors
/// When a context cannot be written, or a success cannot be remembered; a failed build is an outcome.
pub fn run(session: &Session, project: &Project, engine: &Engine, plan: &Plan, request: &Request) -> Result<Vec<Outcome>> {
    let services: Vec<&ServicePlan> = plan.to_build().collect();
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let chosen: Vec<Service> = services.iter().map(|service| service.service.clone()).collect();
    let cut = contexts::plan(project, &chosen)?;
    let (buildx, store) = (engine.buildx(), image_store(session, engine));
    let running = Running::of(session, &buildx);
    let each =
        services.into_iter().map(|service| Work { service, job: Job::of(running, &service.target), written: Mutex::default() });
    let each: Vec<Work<'_>> = each.collect();
    let calls: Vec<(&Work<'_>, usize)> = each.iter().flat_map(|work| (0..work.job.builds()).map(move |at| (work, at))).collect();
    let outcomes = pool::each(request.jobs.get(), &calls, |(work, at)| -> Result<Option<Outcome>> {
        work.write(|| cut.write(session, &work.service.service.name))?;
        let Some(mut outcome) = work.job.run(*at) else { return Ok(None) };
        if outcome.status == Status::Built {
            remember(session, &store, work.service, &mut outcome)?;
        }
        if request.fail_fast && outcome.status == Status::Failed {
            session.shutdown.close();
        }
        Ok(Some(outcome))
    })?;
    outcomes.into_iter().filter_map(Result::transpose).collect()
}

/// A service's builds, and whether its contexts are written.
struct Work<'a> {
    service: &'a ServicePlan,
    job: Job<'a>,
    written: Mutex<bool>,
}

impl Work<'_> {
    /// Writes the contexts before the first of the builds; the others wait for that.
    fn write(&self, write: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if !*written {
            write()?;
            *written = true;
        }
        Ok(())
    }
}

/// Keeps what was built, as the engine knows it: by which id and how large.
fn remember(session: &Session, store: &ImageStore, service: &ServicePlan, outcome: &mut Outcome) -> Result<()> {
    let spec = &service.target.spec;
    if let Output::Load { names, .. } = &spec.output
        && let Some(name) = names.first()
        && let Some(image) = store.inspect(name)?
    {
        outcome.digest = Some(image.id);
        outcome.size = Some(image.size);
    }
    if let (Output::Push { names, .. }, Some(digest)) = (&spec.output, &outcome.digest)
        && let Some(name) = names.first()
    {
        outcome.size = gates::size_in_registry(session, &name.with_digest(digest.clone()));
    }
    let record = ServiceRecord {
        fingerprint: service.target.fingerprint.clone(),
        digest: outcome.digest.clone(),
        images: spec.output.names().iter().map(ToString::to_string).collect(),
        size: outcome.size,
        when: SystemTime::now(),
        run: Some(session.run.id.clone()),
    };
    session.state().remember(&service.service.name, record, service.target.inputs.to_record())
}
