//! The build-base stage: the shared target, built once before the services, so that none of them waits for another's copy of it.

use crate::engine::Engine;
use crate::plan::TargetPlan;
use crate::stage::Session;
use crate::stage::build::{self, Outcome, Running};

/// Builds the base.
pub fn run(session: &Session, engine: &Engine, base: &TargetPlan) -> Outcome {
    build::run(Running::of(session, &engine.buildx()), &base.spec)
}
