//! `xtask.toml`: the layer as written, and the configuration as validated. Nothing here looks at packages or images.

mod arguments;
mod fleet;
mod folder;
mod gates;
pub mod given;
mod load;
mod notify;
pub mod pins;
mod place;
mod stats;
pub mod upkeep;
mod validated;
mod written;

pub use arguments::argument;
pub use folder::Folder;
pub use gates::{Gate, Gates, Measure};
pub use load::of_text;
pub use monoship_docker::engine::{StandIns, Suite};
pub use monoship_fleet::Node;
pub use notify::{Notify, Occasion};
pub use upkeep::Upkeep;
pub use validated::{Attest, Cache, Config, DEFAULT_PATTERNS, Declared, Images, Keyless, Own, Release, ServiceConfig, Signing};
pub use written::{EngineChoice, Provenance, Sbom, Switch};
