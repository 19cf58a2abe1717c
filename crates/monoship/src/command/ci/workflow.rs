//! `cargo xtask ci workflow`: writes the workflow files, or shows how they differ from what would be written.

use crate::cli;
use crate::command::{Call, Finished, print};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_github::workflow::{check, write};
use monoship_init::workflow::options;

/// Writes or checks.
///
/// # Errors
/// When a file cannot be read or written, or differs where only a check was asked for.
pub(super) fn run(flags: &cli::CiWorkflow, call: &Call<'_>) -> Result<Finished> {
    let home = call.home()?;
    let config = call.config(&home)?;
    // GitHub looks for them there alone, wherever the workspace lies.
    let root = config.repository(&home);
    let (branch, prebuilt) = (flags.branch.as_deref(), flags.prebuilt.as_ref());
    let options = options(&home, &config, flags.layout, branch, prebuilt, call.shutdown)?;
    if !flags.check {
        let files = write(root, &options, flags.overwrite)?;
        let lines: Vec<String> = files.iter().map(|file| format!("wrote {}\n", file.display())).into_vec();
        print(&if lines.is_empty() { "the workflow files are as they would be written\n".to_owned() } else { lines.concat() })?;
        return Ok(Finished::Well);
    }
    let drifted = check(root, &options)?;
    if drifted.is_empty() {
        return Ok(Finished::Well);
    }
    for drift in &drifted {
        print(&format!("{}\n{}", drift.path, drift.diff.as_deref().unwrap_or("is not there\n")))?;
    }
    let paths: Vec<&str> = drifted.iter().map(|drift| drift.path.as_str()).into_vec();
    let of = config.folder.as_ref().map(|folder| format!(" in {folder}/")).unwrap_or_default();
    Err(Error::failed(format!("not as `cargo xtask ci workflow`{of} writes it: {}", paths.join(", ")))
        .hint(format!("run `cargo xtask ci workflow`{of} and commit what it writes")))
}
