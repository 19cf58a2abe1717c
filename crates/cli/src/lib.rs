//! The command line: every flag of every verb, and nothing else. What a verb does lives in `command/`.

mod cache;
mod ci;
mod doctor;
mod init;
mod layers;
mod open;
mod stats;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use monoship_core::name::{ImageRef, Platform, ReleaseTag};
use monoship_plan::config::EngineChoice;
use monoship_plan::request;
use monoship_report::Progress;

pub use cache::{Cache, CacheClear, CacheLs, CachePrune, CacheWarm, Removing};
pub use ci::{Ci, CiPart, CiWorkflow};
pub use doctor::Doctor;
pub use init::Init;
pub use layers::{Layers, Store};
pub use open::Open;
pub use stats::Stats;

/// Builds and releases every Docker service of this pnpm monorepo.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "Examples:
  cargo xtask build                     build what changed
  cargo xtask build api web             only these
  cargo xtask plan --explain            what would be built, and why
  cargo xtask release v1.2.3            publish a tag: images and notes
  cargo xtask ci                        in CI: do what the event asks for

Exit codes: 0 ok; 1 a service, check or gate failed; 2 usage or configuration;
130 cancelled.")]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration [default: xtask.toml at the repository's root, which may be missing]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// The folder of the workspace [default: the one around the working folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub workspace: Option<PathBuf>,
    /// Which engine to use: the installed Docker, or the embedded one
    #[arg(long, global = true, value_enum, help_heading = "Global options")]
    pub engine: Option<EngineChoice>,
    /// How progress is shown; auto is live on a terminal and plain lines elsewhere
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto, help_heading = "Global options")]
    pub progress: Progress,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build the services' images
    Build(Build),
    /// Say what a build would do, and why
    #[command(
        after_help = "Examples:\n  cargo xtask plan --explain\n  cargo xtask plan --since v1.2.3\n  cargo xtask plan --json | jq '.services[] | select(.action == \"build\")'"
    )]
    Plan(Plan),
    /// Update the pinned base images in xtask.lock
    #[command(after_help = "Examples:\n  cargo xtask update\n  cargo xtask update node:24-bookworm-slim")]
    Update(Update),
    /// Release a tag: images, version tags, and the notes on GitHub
    Release(Release),
    /// Do what the CI system's event asks for
    Ci(Ci),
    /// Check a release: tags, digests, attestations and notes against tag, lock and pins
    Verify(Verify),
    /// Show what is in images: layers and their Dockerfile lines, waste, large files, changes
    Layers(Layers),
    /// Say what builds cost over time: medians, trends, hit rates, slowest steps, what each cache costs and saves
    Stats(Stats),
    /// Show the last build's timeline, and what builds cost over time, in the browser
    Open(Open),
    /// Adopt this tool in another pnpm monorepo, or complete it in this one
    Init(Init),
    /// Check everything a run needs, and say how to fix what is wrong
    Doctor(Doctor),
    /// Start, stop and look at the embedded engine
    #[cfg(feature = "embedded-engine")]
    Engine {
        /// What to do with it.
        #[command(subcommand)]
        action: Engine,
    },
    /// List, prune, clear and fill the caches: GitHub's, the registry's, the engine's
    Cache {
        /// What to do with them.
        #[command(subcommand)]
        action: Cache,
    },
    /// Write what one package needs of the workspace: manifests and lock, a production set, sources
    Prune(Prune),
    /// Print a shell's completion script
    #[command(after_help = "Examples:
  cargo xtask completions bash > ~/.cargo-xtask.bash
  cargo xtask completions zsh > ~/.cargo-xtask.zsh
  cargo xtask completions fish > ~/.config/fish/conf.d/cargo-xtask.fish

bash: and `. ~/.cargo-xtask.bash` in ~/.bashrc
zsh:  and `. ~/.cargo-xtask.zsh` in ~/.zshrc, after compinit")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Flags of `prune`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask prune api                  manifests, production, sources in out/
  cargo xtask prune @acme/web --docker   json, full and the lock, as turbo does
  cargo xtask prune api --workspace ../shop --out /tmp/api --json")]
pub struct Prune {
    /// The package: its name, its folder, or the last part of its folder
    #[arg(value_name = "PACKAGE")]
    pub package: String,
    /// The output folder; refused if a folder in it holds other files
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Remove other files from the folders that are written
    #[arg(long)]
    pub overwrite: bool,
    /// Leave development dependencies out
    #[arg(long)]
    pub prod: bool,
    /// Lay it out as `turbo prune --docker` does, with the root's own dependencies
    #[arg(long)]
    pub docker: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

fn whole(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

fn whole_from_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number from 1".to_owned())
}

/// From where changes are counted.
#[derive(Debug, Clone, Args)]
pub struct Since {
    /// Compare with this revision in place of the last build, and build only what differs
    #[arg(long, value_name = "REV", conflicts_with = "affected")]
    since: Option<String>,
    /// Only services changed since this branch diverged from the default branch
    #[arg(long)]
    affected: bool,
}

impl Since {
    /// What the flags ask for.
    #[must_use]
    pub fn asked(&self) -> Option<request::Since> {
        let default = self.affected.then_some(request::Since::DefaultBranch);
        self.since.clone().map(request::Since::Revision).or(default)
    }
}

/// Flags of `build`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask build                       build what changed, load it
  cargo xtask build api --no-cache        build one service from nothing
  cargo xtask build --affected            build what this branch touches
  cargo xtask build --push --tag pr-12    push images with attestations
  cargo xtask build --dry-run             print the exact commands, run nothing
  cargo xtask build --json | jq '.tasks'  the outcome as data")]
pub struct Build {
    /// The services to build [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Only what a change affects
    #[command(flatten)]
    pub since: Since,
    /// How many services build at once [default: twice the cores]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = whole_from_one)]
    pub jobs: Option<NonZeroUsize>,
    /// Stop the other services when one fails
    #[arg(long)]
    pub fail_fast: bool,
    /// Build services whose inputs are unchanged too
    #[arg(long)]
    pub force: bool,
    /// Build services whose inputs are unchanged too, and execute every step, cached or not
    #[arg(long)]
    pub no_cache: bool,
    /// Read no cache; `none` is the only value
    #[arg(long, value_enum, value_name = "none", hide_possible_values = true)]
    pub cache_from: Option<NoTier>,
    /// Write no cache; `none` is the only value
    #[arg(long, value_enum, value_name = "none", hide_possible_values = true)]
    pub cache_to: Option<NoTier>,
    /// Push to the registry instead of loading into the engine
    #[arg(long, conflicts_with = "output")]
    pub push: bool,
    /// Push images to a registry that others use, even if they are built on stand-ins for their base images
    #[arg(long)]
    pub allow_stand_ins: bool,
    /// Write images elsewhere: a buildx output, in which `{service}` is replaced by the name
    #[arg(long, value_name = "OUTPUT")]
    pub output: Option<String>,
    /// Let --output replace files and folders that it did not write
    #[arg(long, requires = "output")]
    pub overwrite: bool,
    /// The image tag, repeatable [default: dev; with --push: the branch and sha-COMMIT]
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "output")]
    pub tags: Vec<monoship_core::name::Tag>,
    /// The platforms to build, separated by commas
    #[arg(long = "platform", value_delimiter = ',', value_name = "OS/ARCH")]
    pub platforms: Vec<Platform>,
    /// Provenance of pushed images: max, min or false
    #[arg(long, value_name = "MODE", requires = "push")]
    pub provenance: Option<String>,
    /// Bill of materials of pushed images: true, false or a generator image
    #[arg(long, value_name = "WHICH", requires = "push")]
    pub sbom: Option<String>,
    /// Refuse base images that xtask.lock does not pin
    #[arg(long)]
    pub locked: bool,
    /// Print the commands that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the outcome as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Flags of `plan`.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Only what a change affects
    #[command(flatten)]
    pub since: Since,
    /// Show every reason, each on its own line
    #[arg(long)]
    pub explain: bool,
    /// Print the plan as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Flags of `update`.
#[derive(Debug, Clone, Args)]
pub struct Update {
    /// The image to update, as the Dockerfile names it [default: all]
    #[arg(value_name = "IMAGE")]
    pub image: Option<ImageRef>,
}

/// Flags of `release`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask release v1.2.3               build, publish, write the notes
  cargo xtask release v1.2.3 --dry-run     show all of it, do nothing
  cargo xtask release v1.2.3 --notes-only  only the notes of what is published
  cargo xtask release v1.2.3 --create      also create the GitHub release

A release that failed or was killed anywhere is completed by running it again.")]
pub struct Release {
    /// The tag: a semantic version, with or without `v`
    #[arg(value_name = "TAG")]
    pub tag: ReleaseTag,
    /// How many services build at once [default: twice the cores]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = whole_from_one)]
    pub jobs: Option<NonZeroUsize>,
    /// Create the GitHub release if there is none
    #[arg(long)]
    pub create: bool,
    /// Write the notes to this file too
    #[arg(long, value_name = "FILE")]
    pub notes_file: Option<PathBuf>,
    /// Only write the notes of images that are already published
    #[arg(long, conflicts_with_all = ["jobs", "move_tags", "json", "allow_stand_ins", "no_cancel", "keep_checkout"])]
    pub notes_only: bool,
    /// Move version tags that exist with other content
    #[arg(long)]
    pub move_tags: bool,
    /// Release the tag as it is in this clone, whatever `origin` has and on whatever branch its commit is
    #[arg(long)]
    pub local_tag: bool,
    /// Release images even if they are built on stand-ins for their base images
    #[arg(long)]
    pub allow_stand_ins: bool,
    /// Build every image from scratch, without caches, whatever the registry holds
    #[arg(long, conflicts_with = "notes_only")]
    pub rebuild: bool,
    /// Fail if another run is releasing this tag, instead of stopping it and taking over
    #[arg(long)]
    pub no_cancel: bool,
    /// Leave the sparse checkout in place
    #[arg(long)]
    pub keep_checkout: bool,
    /// Print the commands that would run, the tags, the notes and what changes in them; do nothing
    #[arg(long, conflicts_with_all = ["json", "no_cancel"])]
    pub dry_run: bool,
    /// Print the outcome as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Flags of `verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask verify v1.2.3
  cargo xtask verify v1.2.3 --builder https://github.com/org/repo/
  cargo xtask verify v1.2.3 --json | jq '.findings[] | .verdict'")]
pub struct Verify {
    /// The release's tag
    #[arg(value_name = "TAG")]
    pub tag: ReleaseTag,
    /// What the builder's id must start with [default: any builder]
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub builder: Option<String>,
    /// Require a signature by this key, checked by cosign
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub key: Option<String>,
    /// Accept base images that xtask.lock does not pin
    #[arg(long)]
    pub allow_stand_ins: bool,
    /// Print the findings as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// The value of `--cache-from` and `--cache-to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NoTier {
    /// None at all.
    None,
}

/// What to do with the embedded engine.
#[cfg(feature = "embedded-engine")]
#[derive(Debug, Clone, Subcommand)]
pub enum Engine {
    /// Start it, fetching its packages the first time
    #[command(alias = "start")]
    Up,
    /// Say whether it runs, and where
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the lines that point a shell's `docker` at it: eval "$(cargo xtask engine env)"
    Env,
    /// Print its log
    Logs,
    /// Stop it and leave nothing running
    #[command(alias = "stop")]
    Down,
    /// Stop it and delete its images and caches
    Reset {
        /// Delete its packages too
        #[arg(long)]
        all: bool,
    },
}
