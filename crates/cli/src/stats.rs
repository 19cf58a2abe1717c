//! The flags of `stats`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `stats`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask stats                    medians, hit rates, what each cache gives
  cargo xtask stats --html stats.html  a page, with the last build's timeline
  cargo xtask stats --push             share the history through the registry
  cargo xtask stats --json | jq '.services[] | {service, built}'")]
pub struct Stats {
    /// Write a page with the timeline of a run to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The run whose timeline the page shows [default: the newest that built something]
    #[arg(long, value_name = "ID", requires = "html")]
    pub run: Option<String>,
    /// Merge the registry's history into this one first
    #[arg(long)]
    pub pull: bool,
    /// Merge the registry's history into this one, and push the result
    #[arg(long)]
    pub push: bool,
    /// Print the statistics as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
