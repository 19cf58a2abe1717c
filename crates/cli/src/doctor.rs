//! Flags of `doctor`.

use clap::Args;

/// Flags of `doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask doctor
  cargo xtask doctor --json | jq '.findings[] | select(.severity != \"good\")'

Nothing is started, built or changed. What each finding means:
docs/troubleshooting.md.")]
pub struct Doctor {
    /// Print the findings as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
