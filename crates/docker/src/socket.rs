//! HTTP with an engine on its unix socket (Docker Engine API, unversioned paths), for questions that are asked on every run: starting
//! the `docker` client for one costs 50 ms. HTTP/1.0, so that an answer ends where the connection does. What the questions
//! and answers mean is their askers' affair.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use monoship_core::error::{Error, Result};

/// More than any honest answer that is held in memory.
const MAX_BYTES: u64 = 64 << 20;

/// An engine's socket.
#[derive(Debug, Clone, Copy)]
pub struct Socket<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// The longest silence of the engine that is waited for.
    pub patience: Duration,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// What is said where the status is not the hoped for one: the engine's own message, or else the status.
    #[must_use]
    pub fn failure(&self, doing: &str) -> Error {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        let said =
            serde_json::from_slice::<Body>(&self.body).map_or_else(|_| format!("status {}", self.status), |body| body.message);
        Error::failed(format!("the engine could not {doing}: {said}"))
    }
}

impl Socket<'_> {
    /// Asks, and takes the whole answer.
    ///
    /// # Errors
    /// When nobody listens, the engine is silent for too long, or it breaks off.
    pub fn ask(&self, method: &str, target: &str) -> Result<Answer> {
        let exchange = || -> std::io::Result<Vec<u8>> {
            let mut answer = Vec::new();
            self.send(method, target)?.take(MAX_BYTES).read_to_end(&mut answer)?;
            Ok(answer)
        };
        let bytes = exchange().map_err(|e| self.silent(method, target).source(e))?;
        split(&bytes).ok_or_else(|| self.silent(method, target))
    }

    /// The body of a 200, `None` for a 404.
    ///
    /// # Errors
    /// As [`Self::ask`], and for every other status.
    pub fn get(&self, target: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.ask("GET", target)?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            _ => Err(answer.failure(&format!("answer GET {target}"))),
        }
    }

    /// The same, read as JSON.
    ///
    /// # Errors
    /// As [`Self::get`], and where the JSON is not of the expected shape.
    pub fn get_json<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>> {
        let Some(body) = self.get(target)? else { return Ok(None) };
        let read = serde_json::from_slice(&body);
        read.map(Some).map_err(|e| Error::failed(format!("the engine's answer to GET {target} is unexpected JSON")).source(e))
    }

    /// The body of a 200, as it comes: it may be larger than memory.
    ///
    /// # Errors
    /// As [`Self::ask`], and for every other status; `doing` says what could not be done.
    pub fn download(&self, target: &str, doing: &str) -> Result<impl Read + use<>> {
        let lost = |e| self.silent("GET", target).source(e);
        let mut stream = BufReader::new(self.send("GET", target).map_err(lost)?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).map_err(lost)? > 0 {}
        match status(&head) {
            Some(200) => Ok(stream),
            Some(status) => {
                let mut body = Vec::new();
                stream.take(MAX_BYTES).read_to_end(&mut body).map_err(lost)?;
                Err(Answer { status, body }.failure(doing))
            }
            None => Err(self.silent("GET", target)),
        }
    }

    fn send(&self, method: &str, target: &str) -> std::io::Result<UnixStream> {
        let mut stream = UnixStream::connect(self.path)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.write_all(format!("{method} {target} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        Ok(stream)
    }

    fn silent(&self, method: &str, target: &str) -> Error {
        Error::failed(format!("the engine at {} did not answer {method} {target}", self.path.display()))
            .hint("is the engine running? `docker info` and `cargo xtask engine status` tell")
    }
}

fn status(head: &str) -> Option<u16> {
    head.lines().next()?.split(' ').nth(1)?.parse().ok()
}

fn split(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = answer[end + 4..].to_vec();
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    // A daemon that dies in mid-answer must not look like one that has nothing.
    length.is_none_or(|length| length == body.len()).then_some(Answer { status: status(head)?, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_when_it_is_whole() {
        let answer = |status, body: &str| Some(Answer { status, body: body.into() });
        assert_eq!(split(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nOK"), answer(200, "OK"));
        assert_eq!(split(b"HTTP/1.1 500 Oops\r\ncontent-LENGTH: 2\r\n\r\nno"), answer(500, "no"));
        assert_eq!(split(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno"), None);
        assert_eq!(split(b"HTTP/1.0 200 OK\r\nA:"), None);
        assert_eq!(split(b"HTTP/1.0\r\n\r\nOK"), None);
    }

    #[test]
    fn a_socket_nobody_listens_on_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let socket = Socket { path: &path, patience: Duration::from_secs(1) };
        assert!(socket.ask("GET", "/_ping").unwrap_err().to_string().contains("docker.sock"));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(socket.get("/version").unwrap_err().to_string().contains("docker.sock did not answer GET /version"));
        assert!(socket.download("/images/get", "hand out its images").is_err());
    }
}
