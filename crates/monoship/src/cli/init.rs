//! Flags of `init`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `init`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask init --dir ../shop --dry-run    what would be written there
  cargo xtask init --dir ../shop              write it; files that are there are never replaced
  cargo xtask init                            complete the repository you are in")]
pub struct Init {
    /// The root of the pnpm monorepo that adopts the tool
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}
