//! The few questions we ask an engine over its unix socket: is it there, which version, which image store. HTTP/1.0, so that
//! an answer ends where the connection does; starting the `docker` client for this would take a tenth of a second.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::docker::capability::Version;
use crate::error::{Error, Result};

/// A local engine answers these within milliseconds; one that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(5);
/// More than any honest answer to these questions.
const MAX_BYTES: u64 = 4 << 20;

/// True where an engine answers on this socket.
#[must_use]
pub fn answers(socket: &Path) -> bool {
    get(socket, "/_ping").is_ok_and(|body| body.starts_with(b"OK"))
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
    get(socket, &format!("/images/{name}/json")).is_ok()
}

fn get_json<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T> {
    let body = get(socket, path)?;
    serde_json::from_slice(&body).map_err(|e| failed(socket, path).source(e))
}

fn failed(socket: &Path, path: &str) -> Error {
    Error::failed(format!("the engine at {} did not answer GET {path}", socket.display()))
}

fn get(socket: &Path, path: &str) -> Result<Vec<u8>> {
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(MAX_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|e| failed(socket, path).source(e))?;
    body_of(&answer).map(<[u8]>::to_vec).ok_or_else(|| {
        let first = answer.split(|b| *b == b'\n').next().unwrap_or_default();
        failed(socket, path).source(String::from_utf8_lossy(first).trim().to_owned())
    })
}

/// The body of an answer with status 200.
fn body_of(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let status = answer[..end].split(|b| *b == b' ').nth(1)?;
    (status == b"200").then_some(&answer[end + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_with_status_200_has_a_body() {
        assert_eq!(body_of(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nOK"), Some(&b"OK"[..]));
        assert_eq!(body_of(b"HTTP/1.1 500 Oops\r\n\r\nno"), None);
        assert_eq!(body_of(b"HTTP/1.0 200 OK\r\nA:"), None);
    }

    #[test]
    fn a_socket_nobody_listens_on_is_no_engine_and_the_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        assert!(!answers(&socket));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(!answers(&socket));
        assert!(version(&socket).unwrap_err().to_string().contains("docker.sock"));
    }
}
