//! The few questions we ask an engine before it is used: is it there, which version, which image store.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::capability::Version;
use crate::socket::Socket;
use monoship_core::error::{Error, Result};

/// A local engine answers these within milliseconds; one that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(5);

fn at(path: &Path) -> Socket<'_> {
    Socket { path, patience: LIMIT }
}

/// True where an engine answers on this socket.
#[must_use]
pub fn answers(socket: &Path) -> bool {
    at(socket).get("/_ping").is_ok_and(|body| body.is_some_and(|body| body.starts_with(b"OK")))
}

/// The engine's version.
///
/// # Errors
/// When it does not answer, or not with a version.
pub fn version(socket: &Path) -> Result<Version> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        version: String,
    }
    let answer: Answer = get_json(socket, "/version")?;
    let none = || Error::failed(format!("the engine calls its version `{}`, which has no numbers", answer.version));
    Version::find(&answer.version).ok_or_else(none)
}

/// True where the engine keeps images in containerd's store. `DriverStatus` says so with `driver-type`, see the Engine API's
/// `GET /info`.
///
/// # Errors
/// When it does not answer.
pub fn has_containerd_store(socket: &Path) -> Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        driver_status: Option<Vec<(String, String)>>,
    }
    let answer: Answer = get_json(socket, "/info")?;
    let status = answer.driver_status.unwrap_or_default();
    Ok(status.iter().any(|(name, value)| name == "driver-type" && value.starts_with("io.containerd.snapshotter")))
}

/// True where the engine's own store has this image.
#[must_use]
pub fn has_image(socket: &Path, name: &str) -> bool {
    at(socket).get(&format!("/images/{name}/json")).is_ok_and(|found| found.is_some())
}

/// What the engine answers to a question that every engine knows.
fn get_json<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T> {
    let unknown = || Error::failed(format!("the engine at {} does not know GET {path}", socket.display()));
    at(socket).get_json(path)?.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_nobody_listens_on_is_no_engine() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        assert!(!answers(&socket) && !has_image(&socket, "node:24"));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(!answers(&socket));
        assert!(version(&socket).unwrap_err().to_string().contains("docker.sock"));
    }
}
