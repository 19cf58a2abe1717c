//! Flags of `cache` and its actions.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use monoship_plan::config::upkeep::{Age, Leftover, Size, Tier};

/// What to do with the caches.
#[derive(Debug, Clone, Subcommand)]
pub enum Cache {
    /// List what each scope holds: size, age, last hit, and who uses it
    Ls(CacheLs),
    /// Remove what nobody needs; never touches what a remaining tag needs
    Prune(CachePrune),
    /// Forget a service's caches, or all of them, so that the next build starts from nothing
    Clear(CacheClear),
    /// Fill a tier by building, so that later builds find their steps there
    Warm(CacheWarm),
}

/// Flags of `cache ls`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache ls
  cargo xtask cache ls --tier registry
  cargo xtask cache ls --json | jq '[.scopes[].bytes] | add'")]
pub struct CacheLs {
    /// Only these tiers, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER")]
    pub tier: Vec<Tier>,
    /// Print the scopes as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `cache prune`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache prune --dry-run            what would go, and why
  cargo xtask cache prune --max-age 30d --yes  also what is unused for 30 days
  cargo xtask cache prune --max-count 10       also unreleased images, but 10
  cargo xtask cache prune --tier engine --max-size 20GB
  cargo xtask cache prune --only closed-pulls,old-indexes

Releases, tags of branches that exist, and tags of others always stay.")]
pub struct CachePrune {
    /// Only these tiers, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER")]
    pub tier: Vec<Tier>,
    /// Remove what has not been used for longer than this [default: `max-age` in xtask.toml]
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Age>,
    /// Keep this many of each service's newest unreleased images [default: `max-count` in xtask.toml]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::whole)]
    pub max_count: Option<usize>,
    /// Remove the oldest until the registry and the engine's cache hold no more than this [default: `max-size` in xtask.toml]
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// Only these kinds of leftovers, separated by commas [default: `prune` in xtask.toml, else all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    pub only: Vec<Leftover>,
    /// Also keep tags that match this pattern; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = NonEmptyStringValueParser::new())]
    pub protect: Vec<String>,
    /// How it is carried out
    #[command(flatten)]
    pub removing: Removing,
}

/// How removals are carried out.
#[derive(Debug, Clone, Copy, Args)]
pub struct Removing {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Print what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the plan and its outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `cache clear`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache clear api     api's caches: its next build runs every step
  cargo xtask cache clear --yes   all caches, the engine's build cache too
  cargo xtask cache clear --dry-run

Worth it after suspicious build artifacts, a vulnerability in a base image, or
a major dependency update. Images and their tags stay.")]
pub struct CacheClear {
    /// The services, or the base's target [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Only these tiers, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER")]
    pub tier: Vec<Tier>,
    /// How it is carried out
    #[command(flatten)]
    pub removing: Removing,
}

/// Flags of `cache warm`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache warm                  fetch or build into the engine
  cargo xtask cache warm --tier registry  from here into the registry's cache
  cargo xtask cache warm api --tier gha   in a job: into its branch's cache")]
pub struct CacheWarm {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tier to fill
    #[arg(long, value_enum, value_name = "TIER", default_value = "engine")]
    pub tier: Tier,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the outcome as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
