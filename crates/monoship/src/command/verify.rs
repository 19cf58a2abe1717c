//! `cargo xtask verify`: a release's claims, checked against what the registry holds.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli;
use crate::command::{Call, Finished, print_json, tell};
use monoship_core::error::{Error, Result};
use monoship_docker::cosign::Signer;
use monoship_steps::Session;
use monoship_steps::claims::{self, Expected};
use monoship_steps::signing;
use monoship_steps::verify::{self, Report};

/// The version of what `--json` prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// The report as data.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    version: u32,
    good: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Verifies.
///
/// # Errors
/// When something could not be looked up, or a check failed, which is printed before.
pub fn run(flags: &cli::Verify, call: &Call<'_>) -> Result<Finished> {
    let (session, reporter) = call.session()?;
    let claims = claims::gather(&session, &flags.tag)?;
    let cosign = Some(signing::cosign(&session)).filter(|cosign| (flags.key.is_some() || claims.signed()) && cosign.is_there());
    if flags.key.is_some() && cosign.is_none() {
        return Err(Error::usage("a signature can only be checked by cosign, which is not there")
            .hint("install cosign, or leave out --key"));
    }
    let signer = flags.key.as_ref().map(|key| Signer::Key(if key.contains("://") { key.clone() } else { here(&session, key) }));
    let expected = Expected { builder: flags.builder.clone(), stand_ins: flags.allow_stand_ins, signer, cosign };
    let changes = claims.changes(&session);
    let report = verify::verify(&claims.request(expected, &changes)?, &session.registry)?;
    reporter.finish();
    if flags.json {
        print_json(&Shown { version: VERSION, good: report.is_good(), report: &report })?;
    } else {
        tell(&report.findings.iter().fold(String::new(), |mut text, finding| {
            let _ = writeln!(text, "{finding}");
            text
        }))?;
    }
    if report.is_good() { Ok(Finished::Well) } else { Err(verify::failure(&report, flags.tag.tag.as_str())) }
}

/// A file that the command line names, wherever cosign is run.
fn here(session: &Session, file: &str) -> String {
    session.env.cwd.join(file).to_string_lossy().into_owned()
}
