//! `cargo xtask ci workflow`: writes the workflow files, or shows how they differ from what would be written.

use crate::cli;
use crate::command::{Finished, Surroundings, print};
use monoship_core::error::{Error, Result};
use monoship_github::workflow::{self, Options, check, write, written};
use monoship_plan::config::Signing;
use monoship_workspace::git::Git;

/// Writes or checks.
///
/// # Errors
/// When a file cannot be read or written, or differs where only a check was asked for.
pub(super) fn run(flags: &cli::CiWorkflow, surroundings: &Surroundings<'_>) -> Result<Finished> {
    let home = surroundings.home()?;
    let config = surroundings.config(&home)?;
    let there = written(&home)?;
    let git = Git::at(&home, surroundings.shutdown);
    let branch = match (&flags.branch, &there) {
        (Some(branch), _) => branch.clone(),
        (None, Some(there)) => there.branch.clone(),
        (None, None) => {
            let head = git.ask(&["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"])?;
            head.as_deref().and_then(|head| head.strip_prefix("origin/")).unwrap_or("main").to_owned()
        }
    };
    let options = Options {
        layout: flags.layout.or(there.map(|there| there.layout)).unwrap_or_default(),
        branch,
        registry: config.images.prefix.as_ref().map_or("ghcr.io", |prefix| prefix.registry()).to_owned(),
        signing: match config.release.signing {
            Signing::Off => workflow::Signing::Off,
            Signing::Keyless(_) => workflow::Signing::Keyless,
            Signing::Key { .. } => workflow::Signing::Key,
        },
    };
    if !flags.check {
        let files = write(&home, &options)?;
        let lines: Vec<String> = files.iter().map(|file| format!("wrote {}\n", file.display())).collect();
        print(&if lines.is_empty() { "the workflow files are as they would be written\n".to_owned() } else { lines.concat() })?;
        return Ok(Finished::Well);
    }
    let drifted = check(&home, &options)?;
    if drifted.is_empty() {
        return Ok(Finished::Well);
    }
    for drift in &drifted {
        print(&format!("{}\n{}", drift.path, drift.diff.as_deref().unwrap_or("is not there\n")))?;
    }
    let paths: Vec<&str> = drifted.iter().map(|drift| drift.path).collect();
    Err(Error::failed(format!("not as `cargo xtask ci workflow` writes it: {}", paths.join(", ")))
        .hint("run `cargo xtask ci workflow` and commit what it writes"))
}
