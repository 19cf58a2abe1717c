//! `cargo xtask init`: what another monorepo needs to use this tool, written there.

use std::fmt::Write as _;

use crate::cli;
use crate::command::{Finished, Surroundings, print};
use crate::stage::init::{self, Adoption, Change};
use monoship_core::error::{Error, Result};

/// Adopts.
///
/// # Errors
/// As the stage's.
pub fn run(flags: &cli::Init, surroundings: &Surroundings<'_>) -> Result<Finished> {
    let dir = surroundings.env.cwd.join(&flags.dir);
    let root = dir.canonicalize().map_err(|e| Error::io("find", &dir, e))?;
    let adoption = init::plan(&root)?;
    if !flags.dry_run {
        init::apply(&adoption)?;
    }
    print(&told(&adoption, flags))?;
    Ok(Finished::Well)
}

fn told(adoption: &Adoption, flags: &cli::Init) -> String {
    let mut text = String::new();
    let mut by_hand = false;
    for step in &adoption.steps {
        let (verb, more) = match &step.change {
            Change::Write(_) => ("write", String::new()),
            Change::Add(_, what) => ("change", format!(": add {what}")),
            Change::Copy(_) => ("copy", String::new()),
            Change::Keep => ("keep", String::new()),
            Change::ByHand(what) => {
                by_hand = true;
                ("left to you", format!(": {what}"))
            }
        };
        let _ = writeln!(text, "{verb:<11}  {}{more}", step.path);
    }
    for folder in &adoption.left_out {
        let _ = writeln!(text, "no service   {folder}");
    }
    let go = if flags.dir.as_os_str() == "." { String::new() } else { format!("cd {} && ", flags.dir.display()) };
    let _ = match (flags.dry_run, by_hand) {
        (true, _) => writeln!(text, "\nnothing was written; the same without --dry-run writes it"),
        (false, true) => writeln!(text, "\nnext: what is left to you, then {go}cargo xtask doctor"),
        (false, false) => writeln!(text, "\nnext: {go}cargo xtask doctor, then cargo xtask build"),
    };
    text
}
