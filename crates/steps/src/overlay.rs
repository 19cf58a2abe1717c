//! What a team's code says over the configuration, whichever commit's that is.

use monoship_plan::tags::Tags;

use crate::service::Service;

/// What a team's code says over `xtask.toml`, whichever commit's that is.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// Services that are declared in Rust.
    pub services: Vec<Service>,
    /// The rules for tags, in place of the templates alone.
    pub tags: Option<Tags>,
}
