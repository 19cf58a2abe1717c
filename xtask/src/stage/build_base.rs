//! The build-base stage: the shared target, for a cache of its own that the services' builds on other machines read.

use std::time::SystemTime;

use crate::engine::Engine;
use crate::error::Result;
use crate::event::Status;
use crate::plan::Plan;
use crate::record::ServiceRecord;
use crate::stage::Session;
use crate::stage::build::{self, Outcome, Running};
use crate::stage::planning::base_key;

/// True where the services wait for the base. BuildKit asks a remote cache for a step once: a service that meets a step of the base while
/// that is being asked for may execute what its own cache has (seen with gha and registry). Where no cache is read, it runs a step
/// that several want once for all of them, and nobody need wait for what of the base it does not use.
#[must_use]
pub fn goes_first(plan: &Plan) -> bool {
    plan.base.as_ref().is_some_and(|base| !base.spec.cache_from.is_empty())
}

/// Builds the base, where the plan has one, and remembers that this engine has it.
///
/// # Errors
/// When it cannot be remembered; a failed build is an outcome.
pub fn run(session: &Session, engine: &Engine, plan: &Plan) -> Result<Option<Outcome>> {
    let Some(base) = &plan.base else { return Ok(None) };
    let outcome = build::run(Running::of(session, &engine.buildx()), base);
    if outcome.status == Status::Built {
        let record = ServiceRecord {
            fingerprint: base.fingerprint.clone(),
            digest: None,
            images: vec![engine.store_id()],
            size: None,
            when: SystemTime::now(),
            run: Some(session.run.id.clone()),
        };
        session.state().remember(&base_key(), record, base.inputs.to_record())?;
    }
    Ok(Some(outcome))
}
