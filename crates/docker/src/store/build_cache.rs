//! The engine's build cache, record by record: `GET /system/df?type=build-cache` (Docker Engine API 1.42 and later).

use std::time::SystemTime;

use serde::Deserialize;

use super::{ImageStore, Reach, at};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;

/// One record of BuildKit's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `regular`, `source.local`, `exec.cachemount`, `frontend`, `internal`.
    pub kind: String,
    /// Its size.
    pub bytes: u64,
    /// A build is using it.
    pub in_use: bool,
    /// Its content belongs to an image too, so that removing it frees nothing.
    pub shared: bool,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When a build last used it.
    pub used: Option<SystemTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    build_cache: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(default)]
    in_use: bool,
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    size: i64,
    created_at: Option<String>,
    last_used_at: Option<String>,
}

fn time(text: Option<String>) -> Option<SystemTime> {
    humantime::parse_rfc3339(&text?).ok()
}

impl ImageStore {
    /// The records of the engine's build cache; `None` for an engine that is not on a local socket: its client prints sizes and ages
    /// rounded for people.
    ///
    /// # Errors
    /// As [`ImageStore::ids`].
    pub fn build_cache(&self) -> Result<Option<Vec<Record>>> {
        let Reach::Socket(socket) = &self.reach else { return Ok(None) };
        let Some(usage) = at(socket).get_json::<Usage>("/system/df?type=build-cache")? else { return Ok(None) };
        let records = usage.build_cache.unwrap_or_default().into_iter().map(|listed| Record {
            kind: listed.kind,
            bytes: u64::try_from(listed.size).unwrap_or(0),
            in_use: listed.in_use,
            shared: listed.shared,
            created: time(listed.created_at),
            used: time(listed.last_used_at),
        });
        Ok(Some(records.into_vec()))
    }
}
