//! Flags of `layers`.

use clap::{Args, ValueEnum};

use monoship_core::name::{Platform, Tag};

/// Flags of `layers`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  cargo xtask layers                   every service, as it was built last
  cargo xtask layers api --tag v1.2.3  one service's release
  cargo xtask layers ghcr.io/org/repo/api:latest --from registry
  cargo xtask layers --json | jq '.images[] | {image, wasted: .\"wasted-bytes\"}'")]
pub struct Layers {
    /// Services, or whole image names [default: every service]
    #[arg(value_name = "IMAGE|SERVICE")]
    pub subjects: Vec<String>,
    /// The tag of services' images [default: dev in the engine, else latest in the registry]
    #[arg(long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Where to look [default: the engine, then the registry]
    #[arg(long, value_enum, value_name = "WHERE")]
    pub from: Option<Store>,
    /// The platform, if the image has several
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// How many lines a list has at most
    #[arg(long, value_name = "N", default_value_t = 8, allow_negative_numbers = true, value_parser = super::whole, conflicts_with = "json")]
    pub top: usize,
    /// Print it all as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Where images are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// The engine that runs.
    Engine,
    /// The image's registry.
    Registry,
}
