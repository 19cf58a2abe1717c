//! `cargo xtask plan`: what a build would do, and why, without doing it.

use std::fmt::Write as _;
use std::mem::ManuallyDrop;

use serde::Serialize;

use crate::cli;
use crate::command::build::into_engine;
use crate::command::{Call, Finished, print_json, tell};
use crate::job::Job;
use crate::run;
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::execute::pool;
use monoship_core::name::{Digest, Fingerprint, ServiceName};
use monoship_core::sorted::SortedMap;
use monoship_plan::explain::{Reason, summary};
use monoship_plan::request::BuildRequest;
use monoship_plan::{Compared, Decision, Plan, ServicePlan};
use monoship_steps::Session;

/// The version of what `--json` prints: raised when a field changes its meaning or goes. Since 2 `action` is
/// `unchanged` where it was `skip`.
const VERSION: u32 = 2;

/// The plan as data.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    version: u32,
    services: Vec<ShownService>,
    /// With `--since` or `--affected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<ShownSince>,
}

/// What was compared with, and the services that are not in the plan.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownSince {
    commit: String,
    unaffected: Vec<ServiceName>,
    deleted: Vec<ServiceName>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownService {
    service: ServiceName,
    /// `build` or `unchanged`.
    action: &'static str,
    fingerprint: Fingerprint,
    /// Why it is built, or what affects it since the revision; else empty for an unchanged one.
    reasons: Vec<Reason>,
    /// The build that the reasons compare with, where they compare with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_build: Option<Compared>,
    /// The standing image's digest; null for one that is built.
    digest: Option<Digest>,
}

/// Plans.
///
/// # Errors
/// As the planning stage's.
pub fn run(flags: &cli::Plan, call: &Call<'_>) -> Result<Finished> {
    let early_scan = call.begin_scan();
    let (session, reporter) = call.session()?;
    let session = Session { early_scan, ..session };
    let whole = BuildRequest::new("plan", into_engine(), &session.config, pool::builds_at_once());
    let request = BuildRequest { services: flags.services.clone(), since: flags.since.asked(), ask_caches: false, ..whole };
    // They live as long as the process: taking hundreds of thousands of small things apart would cost a twentieth of a second.
    let ran = ManuallyDrop::new(run::run(call.app, session, Job::build(request).without_effects())?);
    let plan = ran.plan();
    reporter.finish();
    if flags.json {
        print_json(&shown(plan))?;
    } else {
        tell(&text(plan, flags.explain))?;
    }
    Ok(Finished::Well)
}

fn shown(plan: &Plan) -> Shown {
    let services = plan.services.iter().map(|service| {
        let (action, reasons, digest) = match &service.decision {
            Decision::Build { reasons } => ("build", reasons.clone(), None),
            Decision::Skip { digest, .. } => ("unchanged", affecting(plan, service), Some(digest.clone())),
        };
        let fingerprint = service.target.fingerprint.clone();
        let last_build = service.compared.clone();
        ShownService { service: service.service.name.clone(), action, fingerprint, reasons, last_build, digest }
    });
    let since = plan.affected.as_ref().map(|affected| ShownSince {
        commit: affected.commit.clone(),
        unaffected: affected.unaffected().cloned().into_vec(),
        deleted: affected.deleted().cloned().into_vec(),
    });
    Shown { version: VERSION, services: services.into_vec(), since }
}

/// What affects a service since the revision that is compared with; empty without one.
fn affecting(plan: &Plan, service: &ServicePlan) -> Vec<Reason> {
    plan.affected.as_ref().and_then(|affected| affected.reasons(&service.service.name)).unwrap_or_default()
}

/// One line a service, those that are not in the plan included; with `explain` every reason on a line of its own.
fn text(plan: &Plan, explain: bool) -> String {
    let mut lines: SortedMap<&ServiceName, (String, String, Vec<Reason>)> = SortedMap::new();
    for service in &plan.services {
        let (action, reasons) = match &service.decision {
            Decision::Build { reasons } => ("build", reasons.clone()),
            Decision::Skip { .. } => ("unchanged", affecting(plan, service)),
        };
        let why = match (&service.decision, reasons.is_empty()) {
            (_, true) | (Decision::Build { .. }, false) => service.why(),
            (Decision::Skip { .. }, false) => format!("the image stands, with: {}", summary(&reasons, 2)),
        };
        let every = if explain { reasons } else { Vec::new() };
        let since = service.compared.as_ref().filter(|_| explain).map(|compared| format!(", since {}", compared.text));
        lines.insert(&service.service.name, (action.to_owned() + &since.unwrap_or_default(), why, every));
    }
    if let Some(affected) = &plan.affected {
        let since = &affected.commit;
        let outside = |action: &str, why: &str| (action.to_owned(), format!("{why} since {since:.12}"), Vec::new());
        for name in affected.unaffected() {
            // One that an affected service is built from is in the plan all the same.
            lines.entry(name).or_insert_with(|| outside("unchanged", "not affected"));
        }
        lines.extend(affected.deleted().map(|name| (name, outside("gone", "deleted"))));
    }
    let width = lines.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, (action, why, every)) in lines {
        let name = name.as_str();
        if every.is_empty() {
            let _ = writeln!(text, "{name:width$}  {action:<9}  {why}");
            continue;
        }
        let _ = writeln!(text, "{name:width$}  {action}");
        for reason in every {
            let _ = writeln!(text, "{:width$}    {reason}", "");
        }
    }
    text
}
