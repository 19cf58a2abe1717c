//! `cargo xtask plan`: what a build would do, and why, without doing it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli;
use crate::command::build::{cores, into_engine};
use crate::command::{Finished, Surroundings, print, print_json};
use crate::error::Result;
use crate::name::{Digest, Fingerprint, ServiceName};
use crate::pipeline;
use crate::plan::explain::Reason;
use crate::plan::request::Request;
use crate::plan::{Decision, Plan};

/// The version of what `--json` prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// The plan as data.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    version: u32,
    services: Vec<ShownService>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownService {
    service: ServiceName,
    /// `build` or `skip`.
    action: &'static str,
    fingerprint: Fingerprint,
    /// Why it is built; empty for a skipped one.
    reasons: Vec<Reason>,
    /// The standing image's digest; null for one that is built.
    digest: Option<Digest>,
}

/// Plans.
///
/// # Errors
/// As the planning stage's.
pub fn run(flags: &cli::Plan, surroundings: &Surroundings<'_>) -> Result<Finished> {
    let (session, reporter) = surroundings.session()?;
    let whole = Request::new("plan", into_engine(), &session.config, cores());
    let request = Request { services: flags.services.clone(), ..whole };
    let (_, _, plan) = pipeline::prepare(&session, &session.home, &request)?;
    reporter.finish();
    if flags.json {
        print_json(&shown(&plan))?;
    } else {
        print(&text(&plan, flags.explain))?;
    }
    Ok(Finished::Well)
}

fn shown(plan: &Plan) -> Shown {
    let services = plan.services.iter().map(|service| {
        let (action, reasons, digest) = match &service.decision {
            Decision::Build { reasons } => ("build", reasons.clone(), None),
            Decision::Skip { digest, .. } => ("skip", Vec::new(), Some(digest.clone())),
        };
        let fingerprint = service.target.fingerprint.clone();
        ShownService { service: service.service.name.clone(), action, fingerprint, reasons, digest }
    });
    Shown { version: VERSION, services: services.collect() }
}

/// One line a service; with `explain` every reason on a line of its own.
fn text(plan: &Plan, explain: bool) -> String {
    let width = plan.services.iter().map(|service| service.service.name.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for service in &plan.services {
        let name = service.service.name.as_str();
        match &service.decision {
            Decision::Build { reasons } if explain => {
                let _ = writeln!(text, "{name:width$}  build");
                for reason in reasons {
                    let _ = writeln!(text, "{:width$}    {reason}", "");
                }
            }
            Decision::Build { .. } => drop(writeln!(text, "{name:width$}  build  {}", service.decision.why())),
            Decision::Skip { .. } => drop(writeln!(text, "{name:width$}  skip   {}", service.decision.why())),
        }
    }
    text
}
