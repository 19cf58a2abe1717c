//! Flags of `cache` and its actions.

use clap::{Args, Subcommand};

use monoship_plan::config::upkeep::{Age, Leftover, Size, Tier};

/// What to do with the caches.
#[derive(Debug, Clone, Subcommand)]
pub enum Cache {
    /// List what each scope holds: size, age, last hit, and who uses it
    Ls(CacheLs),
    /// Remove what nobody needs; what a tag that stays leads to is never touched
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
    /// Only these tiers, divided by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER")]
    pub tier: Vec<Tier>,
    /// Print the scopes as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `cache prune`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache prune --dry-run                    what would go, and why
  cargo xtask cache prune --max-age 30d --yes          also what was not used for 30 days
  cargo xtask cache prune --max-count 10               also all but the newest 10 unreleased images of each service
  cargo xtask cache prune --tier engine --max-size 20GB
  cargo xtask cache prune --only closed-pulls,old-indexes

Releases, tags of branches that exist, and tags that xtask did not make always stay.")]
pub struct CachePrune {
    /// Only these tiers, divided by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER")]
    pub tier: Vec<Tier>,
    /// Remove what was not used for longer [default: `max-age` in xtask.toml]
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Age>,
    /// Keep the newest so many unreleased images of each service [default: `max-count` in xtask.toml]
    #[arg(long, value_name = "N")]
    pub max_count: Option<usize>,
    /// Remove the oldest until the registry, and the engine's cache, hold no more [default: `max-size` in xtask.toml]
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// Only these kinds of leftovers, divided by commas [default: `prune` in xtask.toml, else all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    pub only: Vec<Leftover>,
    /// Keep tags of this pattern too, repeatable
    #[arg(long, value_name = "PATTERN")]
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
    /// Print the plan and what became of it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `cache clear`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache clear api              api's caches; its next build executes every step
  cargo xtask cache clear --yes            all caches, the engine's build cache too
  cargo xtask cache clear --dry-run

Worth it after suspicious build artifacts, a vulnerability in a base image, or a major dependency update.
Images and their tags stay.")]
pub struct CacheClear {
    /// The services, or the base's target [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Only these tiers, divided by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIER")]
    pub tier: Vec<Tier>,
    /// How it is carried out
    #[command(flatten)]
    pub removing: Removing,
}

/// Flags of `cache warm`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask cache warm                        into the engine: what the remote caches hold is fetched, the rest is built
  cargo xtask cache warm --tier registry        from here into the registry's cache
  cargo xtask cache warm api --tier gha         in a job: into the cache of the job's branch")]
pub struct CacheWarm {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The tier to fill
    #[arg(long, value_enum, value_name = "TIER", default_value = "engine")]
    pub tier: Tier,
    /// Print the commands that would run, and run none
    #[arg(long)]
    pub dry_run: bool,
    /// Print the outcome as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
