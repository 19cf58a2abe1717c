//! `cargo xtask prune`: writes the pruned contexts of one package of any pnpm workspace.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli;
use crate::command::{Call, Finished, print_json, tell};
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::text::counted;
use monoship_report::Reporter;
use monoship_report::output;
use monoship_steps::prune::{PruneOptions, PruneReport, write};

/// Does what the flags say: the report goes to standard output, warnings to standard error.
///
/// # Errors
/// As [`write()`].
pub fn run(flags: &cli::Prune, call: &Call<'_>) -> Result<Finished> {
    let cwd = &call.env.cwd;
    let workspace = call.home()?;
    let config = call.config(&workspace)?;
    if cwd.join(&flags.out).is_file() {
        return Err(Error::usage(format!("`--out`: {} is a file", flags.out.display())).hint("name a folder"));
    }
    let options = PruneOptions {
        workspace,
        package: flags.package.clone(),
        out: cwd.join(&flags.out),
        home: call.env.home().map(Path::to_owned),
        overwrite: flags.overwrite,
        dockerfile: String::new(),
        include: Vec::new(),
        production: flags.prod,
        docker: flags.docker,
    };
    let report = write(&options.by(&config), call.shutdown)?;
    let reporter = Reporter::start(call.style(), output::err());
    for warning in &report.warnings {
        reporter.events().notice(Level::Warning, None, warning, None);
    }
    reporter.finish();
    if flags.json {
        print_json(&report)?;
    } else {
        tell(&described(&report))?;
    }
    Ok(Finished::Well)
}

fn described(report: &PruneReport) -> String {
    let mut text = format!("{} and what it needs, in {}\n", report.package, report.out.display());
    let [kept, all] = report.lock_entries;
    let lock = if report.whole_lock { "the whole lock".to_owned() } else { format!("{kept} of {all} lock entries") };
    let PruneReport { files, changed, removed, .. } = report;
    let (packages, files) = (counted(report.packages.len(), "package"), counted(*files, "file"));
    writeln!(text, "{packages}, {lock}; {files}, {changed} written, {removed} removed").expect("writing to a String cannot fail");
    text
}
