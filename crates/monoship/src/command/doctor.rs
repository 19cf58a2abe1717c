//! `cargo xtask doctor`: every finding with its fix, then one verdict.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli;
use crate::command::{Call, Finished, print_json, tell};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::text::{clean, pad};
use monoship_doctor::{Checkup, Finding, Severity, worst};
use monoship_report::{Paint, colour};

/// The version of what `--json` prints: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    version: u32,
    /// The worst severity among the findings.
    verdict: Severity,
    findings: &'a [Finding],
}

/// Looks at everything.
///
/// # Errors
/// When standard output cannot be written: what is wrong with the repository is a finding, and no error.
pub fn run(flags: &cli::Doctor, call: &Call<'_>) -> Result<Finished> {
    let home = call.home();
    let config = home.as_ref().ok().map(|home| call.config(home));
    let checkup = Checkup::new(call.env, home, config, call.shutdown)?;
    let findings = checkup.findings();
    call.shutdown.check()?;
    let verdict = worst(&findings);
    if flags.json {
        print_json(&Shown { version: VERSION, verdict, findings: &findings })?;
    } else {
        let paint = Paint { colour: colour(call.env, call.env.stdout_is_terminal) };
        tell(&(findings.iter().map(|finding| line(finding, paint)).collect::<String>() + &conclusion(&findings, paint)))?;
    }
    Ok(if verdict == Severity::Problem { Finished::Badly } else { Finished::Well })
}

fn line(finding: &Finding, paint: Paint) -> String {
    let mark = match finding.severity {
        Severity::Good => paint.good("✓ ok     "),
        Severity::Note => paint.strong("· note   "),
        Severity::Warning => paint.warning("! warning"),
        Severity::Problem => paint.bad("✗ problem"),
    };
    let mut line = format!("{mark}  {}  {}", pad(finding.area, 10), clean(&finding.what));
    if finding.severity != Severity::Good {
        let _ = write!(line, " {}", paint.faint(&format!("[{}]", finding.code)));
    }
    line.push('\n');
    if let Some(fix) = &finding.fix {
        let _ = writeln!(line, "{:23}{} {}", "", paint.hint("fix:"), clean(fix));
    }
    line
}

fn conclusion(findings: &[Finding], paint: Paint) -> String {
    let count = |severity: Severity, name: &str| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> = [(Severity::Problem, "problem"), (Severity::Warning, "warning"), (Severity::Note, "note")]
        .iter()
        .filter_map(|(severity, name)| count(*severity, name))
        .into_vec();
    let verdict = match worst(findings) {
        Severity::Problem => paint.bad("a run will fail"),
        Severity::Warning => paint.warning("a run will work, and could do better"),
        Severity::Good | Severity::Note => paint.good("all is well"),
    };
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    format!("\n{verdict}{counts}\n")
}
