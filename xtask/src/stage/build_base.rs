//! The build-base stage: the shared target, built once before the services, so that none of them waits for another's copy of it.

use std::time::SystemTime;

use crate::engine::Engine;
use crate::error::Result;
use crate::event::Status;
use crate::plan::TargetPlan;
use crate::record::ServiceRecord;
use crate::stage::Session;
use crate::stage::build::{self, Outcome, Running};
use crate::stage::planning::base_key;

/// Builds the base and remembers that this engine has it.
///
/// # Errors
/// When it cannot be remembered; a failed build is an outcome.
pub fn run(session: &Session, engine: &Engine, base: &TargetPlan) -> Result<Outcome> {
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
    Ok(outcome)
}
