//! The flags of `stats`.

use std::path::PathBuf;

use clap::Args;

/// Flags of `stats`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask stats                      medians, trends, hit rates, what each cache costs and gives
  cargo xtask stats --html stats.html    the same with the last build's timeline, as one page
  cargo xtask stats --push               share the history through the registry; --pull only reads it
  cargo xtask stats --json | jq '.services[] | {service, built}'")]
pub struct Stats {
    /// Write a page with the timeline of a run to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The run whose timeline the page shows [default: the newest that built something]
    #[arg(long, value_name = "ID", requires = "html")]
    pub run: Option<String>,
    /// Take in the history that the registry holds first
    #[arg(long)]
    pub pull: bool,
    /// Take in the history that the registry holds, and put the whole there
    #[arg(long)]
    pub push: bool,
    /// Print the statistics as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
