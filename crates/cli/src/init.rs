//! Flags of `init`.

use std::path::PathBuf;

use clap::Args;

use monoship_init::origin::From;

/// Flags of `init`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask init --dir ../shop --dry-run  what would be written there
  cargo xtask init --dir ../shop            write it; what is there is kept
  cargo xtask init --service api --service web   for these two services alone
  cargo xtask init --dir ../shop --from git=https://host/owner/name#v1.2.3
  cargo xtask init --dir ../shop --try api  and build and start a service of it
  cargo xtask init                          complete the repository you are in
  cargo xtask init --refresh                after an update: what is generated")]
pub struct Init {
    /// The root of the pnpm monorepo that adopts the library
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Where the library comes from: crates-io, git or path; with `=`, which version, address (`#` and a revision), or folder
    #[arg(long, value_name = "SOURCE")]
    pub from: Option<From>,
    /// The name of the crate and its folder, and the command: `cargo NAME` [default: that of the existing crate, else xtask]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Adopt only this service, by its name or its folder, repeatable; the rest are listed as `not-services` [default: all that are found; on a
    /// terminal you are asked]
    #[arg(long = "service", value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Once everything is written, build this service and start it; say what is missing, with the line to add
    #[arg(long = "try", value_name = "SERVICE", conflicts_with = "dry_run")]
    pub attempt: Option<String>,
    /// Write a Dockerfile also for services that already have one; without this, existing ones are used as they are
    #[arg(long)]
    pub new_dockerfile: bool,
    /// Show what the library would generate today (Dockerfile, workflows, .dockerignore), and write the files that
    /// nobody edited
    #[arg(long, conflicts_with_all = ["from", "name", "services", "new_dockerfile", "attempt"])]
    pub refresh: bool,
    /// Take all services that are found, without asking; with --refresh, also write the files that somebody edited
    #[arg(long)]
    pub yes: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `cargo NAME` is by cargo itself or by what comes with it: no alias is asked for then, or one hides the command.
const COMMANDS: &str = "add b bench build c check clean clippy config d doc fetch fix fmt generate-lockfile git-checkout help info init install \
                        locate-project login logout metadata miri new owner package pkgid publish r read-manifest remove report rm run rustc \
                        rustdoc search t test tree uninstall update vendor verify-project version yank";

/// A name that cargo takes for a package and for an alias, and a shell for one word.
fn name(text: &str) -> Result<String, String> {
    if COMMANDS.split_whitespace().any(|command| command == text) {
        return Err(format!("`cargo {text}` is a command of cargo's own"));
    }
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(rest);
    if is_name { Ok(text.to_owned()) } else { Err("a crate's name is lower-case letters, digits, `-` and `_`".to_owned()) }
}
