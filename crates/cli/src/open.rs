//! The flags of `open`.

use clap::Args;

/// Flags of `open`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask open            the last build's timeline, and costs over time
  cargo xtask open --run 20261129T051540427-3b78

The page is target/xtask/stats.html: one file, to be passed on as it is.")]
pub struct Open {
    /// The run whose timeline the page shows [default: the newest that built something]
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
}
