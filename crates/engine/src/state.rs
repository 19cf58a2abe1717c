//! What a running embedded engine is known by between our runs: one JSON file, replaced in one step. Only data.

use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::name::{Digest, ImageRef};

use super::packages::Packages;
use super::process::ProcessId;

/// Format of the state file; another one is treated like none at all.
const SCHEMA: u32 = 1;

/// A started engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    schema: u32,
    /// What it was started from.
    pub packages: Packages,
    /// The engine.
    pub dockerd: ProcessId,
    /// The registry.
    pub registry: ProcessId,
    /// Where the registry listens.
    pub registry_address: SocketAddr,
    /// When it was started.
    #[serde(with = "rfc3339")]
    pub started: SystemTime,
}

/// Raised with every change to how stand-ins are made, so that the next build makes them anew.
pub const RECIPES: u32 = 7;

/// What the registry serves in Docker Hub's place, and why. Kept apart from [`State`], since it is as true after a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    recipes: u32,
    /// Whether Docker Hub could be reached, and when that was tried.
    pub hub: Option<HubVerdict>,
    /// The images made because Docker Hub could not be reached.
    pub stand_ins: Vec<StandIn>,
}

/// What a try to reach Docker Hub gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HubVerdict {
    /// True where it answered.
    pub reachable: bool,
    /// When it was tried.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
}

/// An image of ours that is served under a Docker Hub name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIn {
    /// The name it stands in for.
    pub image: ImageRef,
    /// The manifest it is served as.
    pub digest: Digest,
    /// What it was made of, for people: `Debian bookworm, node 24.1.0, npm 11.2.0`.
    pub made_of: String,
}

impl State {
    /// For an engine that was just started.
    #[must_use]
    pub fn new(packages: Packages, dockerd: ProcessId, registry: ProcessId, registry_address: SocketAddr) -> Self {
        Self { schema: SCHEMA, packages, dockerd, registry, registry_address, started: SystemTime::now() }
    }

    /// What `path` holds. A file that is missing, torn or of another format is `None`: everything in it can be found out again.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        let state: Self = serde_json::from_str(&read_text(path).ok()?).ok()?;
        (state.schema == SCHEMA).then_some(state)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        save(self, path)
    }

    /// True while both processes are the ones we started.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.dockerd.is_alive() && self.registry.is_alive()
    }
}

impl Default for Served {
    fn default() -> Self {
        Self { recipes: RECIPES, hub: None, stand_ins: Vec::new() }
    }
}

impl Served {
    /// What `path` holds; nothing where it is missing, torn or of other recipes: stand-ins are then made again.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let served: Option<Self> = read_text(path).ok().and_then(|text| serde_json::from_str(&text).ok());
        served.filter(|served| served.recipes == RECIPES).unwrap_or_default()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        save(self, path)
    }
}

fn save(value: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::failed("cannot write the engine's state").source(e))?;
    write_atomically(path, text.as_bytes())
}

mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_the_file_and_a_torn_file_is_no_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let me = ProcessId::of(std::process::id()).unwrap();
        let packages = serde_json::json!({
            "schema": 1, "root": "/p", "suite": "testing",
            "engine": {"major": 28, "minor": 5, "patch": 2}, "buildx": {"major": 0, "minor": 29, "patch": 1},
        });
        let packages = serde_json::from_value(packages).unwrap();
        let mut state = State::new(packages, me.clone(), me, "127.0.0.1:5000".parse().unwrap());
        state.started = SystemTime::UNIX_EPOCH;
        state.save(&path).unwrap();
        assert_eq!(State::load(&path), Some(state.clone()));
        assert!(state.is_running());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(State::load(&path), None);
        let stand_in = StandIn { image: "node:24".parse().unwrap(), digest: Digest::of(b""), made_of: "Debian".into() };
        let hub = Some(HubVerdict { reachable: false, at: SystemTime::UNIX_EPOCH });
        let served = Served { hub, stand_ins: vec![stand_in], ..Served::default() };
        assert_eq!(Served::load(&path), Served::default());
        let path = dir.path().join("stand-ins.json");
        served.save(&path).unwrap();
        assert_eq!(Served::load(&path), served);
        let path = dir.path().join("state.json");
        std::fs::write(&path, text.replace("\"schema\": 1", "\"schema\": 2")).unwrap();
        assert_eq!(State::load(&path), None);
    }
}
