//! The build-services stage: one builder process a service, several at once, each with an outcome of its own.

use crate::engine::Engine;
use crate::error::Result;
use crate::event::Status;
use crate::execute::pool;
use crate::plan::request::Request;
use crate::plan::{Plan, ServicePlan};
use crate::stage::Session;
use crate::stage::build::{self, Outcome, Running};

/// Builds every service that is to be built. One failure stops nobody else, unless the request says so.
///
/// # Errors
/// When the worker threads cannot be started; a failed build is an outcome.
pub fn run(session: &Session, engine: &Engine, plan: &Plan, request: &Request) -> Result<Vec<Outcome>> {
    let services: Vec<&ServicePlan> = plan.to_build().collect();
    let buildx = engine.buildx();
    pool::each(request.jobs.get(), &services, |service| {
        let outcome = build::run(Running::of(session, &buildx), &service.target.spec);
        if request.fail_fast && outcome.status == Status::Failed {
            session.shutdown.close();
        }
        outcome
    })
}
