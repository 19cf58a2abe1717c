//! The build-base stage: the shared target, for a cache of its own that the services' builds on other machines read.

use std::time::SystemTime;

use crate::build::{Outcome, Running, TargetBuilds};
use crate::fleet::Fleet;
use crate::planning::base_key;
use crate::{Session, given};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::Status;
use monoship_core::execute::pool;
use monoship_docker::engine::Engine;
use monoship_plan::Plan;
use monoship_report::record::ServiceRecord;

/// Builds the base and the services. Where a cache is read or written, the services wait for the base, and are not built without it:
/// BuildKit asks a remote cache for a step once, and a service that meets a step of the base while that is being asked for may execute
/// what its own cache has (seen with gha and registry); and a service's cache that was written beside the base's lacked steps (seen with
/// registry). Elsewhere the builder runs a step that several want once for all of them, and nobody need wait for what of the base it does
/// not use.
///
/// # Errors
/// As [`run`]'s and the services'.
pub fn with(
    session: &Session,
    engine: &Engine,
    plan: &Plan,
    services: impl FnOnce() -> Result<Vec<Outcome>>,
) -> Result<(Option<Outcome>, Vec<Outcome>)> {
    let Some(base) = &plan.base else { return Ok((None, services()?)) };
    given::fetch(session, base.builds().iter().chain(plan.to_build().flat_map(|service| service.target.builds())))?;
    if base.spec.cache_from.is_empty() && base.spec.cache_to.is_empty() {
        let (services, base) = pool::both(services, || run(session, engine, plan));
        return Ok((base?, services?));
    }
    let base = run(session, engine, plan)?;
    let stands = base.as_ref().is_some_and(|base| base.status == Status::Built);
    Ok((base, if stands { services()? } else { Vec::new() }))
}

/// Builds the base, where the plan has one, and remembers that this engine has it.
///
/// # Errors
/// When it cannot be remembered; a failed build is an outcome.
pub fn run(session: &Session, engine: &Engine, plan: &Plan) -> Result<Option<Outcome>> {
    let Some(base) = &plan.base else { return Ok(None) };
    given::fetch(session, base.builds())?;
    let buildx = engine.buildx();
    let builds = TargetBuilds::new(Running::new(session, &buildx), base);
    if !session.config.fleet.is_empty() {
        let each: Vec<_> = (0..builds.builds()).map(|at| (&builds, at)).into_vec();
        // Not remembered: it stands on one of several, and the others take it from its cache.
        return Ok(Fleet::new(session, engine).run(&each, &(), None, each.len(), |_, outcome| Ok(outcome))?.pop());
    }
    let Some(outcome) = builds.run_all() else { return Ok(None) };
    if outcome.status == Status::Built {
        let record = ServiceRecord {
            fingerprint: base.fingerprint.clone(),
            digest: None,
            images: vec![engine.store_id()],
            size: None,
            when: SystemTime::now(),
            run: Some(session.run.id.clone()),
        };
        drop(session.state().remember(&base_key(), record, base.inputs.to_record())?);
    }
    Ok(Some(outcome))
}
