//! Why a build failed: the vertex that gave the error, the end of its log, and the text that follows the stream.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::step::StepState;
use super::vertex::{Kind, Vertex};
use monoship_core::collect::Collect as _;

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// What failed, by BuildKit's name; none where it never came to a step (a syntax error, an unknown target).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The error, without the words that say that it is one.
    pub message: String,
    /// The last lines the step wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The place in the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Excerpt>,
}

impl Failure {
    /// The image that is named by a digest which its registry does not have, where that is why. Quay, for one, deletes what no tag points to.
    #[must_use]
    pub fn gone(&self) -> Option<&str> {
        let (_, named) = self.message.split_once("failed to resolve source metadata for ")?;
        let (image, _) = named.split_once("@sha256:")?;
        self.message.ends_with(": not found").then_some(image)
    }

    /// Which layer's snapshot the engine lost while it was in use, where that is why.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        let said = |doing: &str| self.message.contains(doing) && self.message.contains("does not exist: not found");
        if said("failed to prepare extraction snapshot") {
            return Some(Lost::Unpacking);
        }
        if self.message.contains("image \"") && self.message.ends_with("\": already exists") {
            return Some(Lost::Name);
        }
        said("during finalize: failed to stat active key during commit").then_some(Lost::Cached)
    }
}

/// What the engine lost on the way. None is anybody's mistake, and all are got over by asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The garbage collector took it while an image was unpacked above it, as happens where images are loaded side by side
    /// (moby/buildkit#6521, containerd/containerd#10835; seen in about one of ten parallel loads on engine 28.5). Every step stands.
    Unpacking,
    /// It is of a step in the cache that a cancelled build had just done (moby/buildkit#6808; seen in about one of three builds that
    /// were cancelled at such a moment). Until the engine is started anew, whoever takes that step from the cache fails.
    Cached,
    /// No snapshot, but the image's name: another build gave it to its image at the same moment, as one does that goes on after its run was
    /// killed (seen on engine 28.5, two of four services). Every step stands.
    Name,
}

/// What was lost, and what is done about it.
impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpacking => "the engine lost a layer that it was unpacking (moby/buildkit#6521): asking again",
            Self::Name => "another build named its image alike at the same moment: asking again",
            Self::Cached => "the engine lost a layer of its cache (moby/buildkit#6808): executing every step anew",
        })
    }
}

/// A piece of the Dockerfile as BuildKit quotes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Excerpt {
    /// The file, as BuildKit names it: the last part of its path.
    pub file: String,
    /// The line it is about, counted from 1.
    pub line: usize,
    /// Lines with their numbers; those it is about are marked with `>>>`.
    pub lines: Vec<String>,
}

/// The failure, or none where nothing says there is one.
pub(super) fn find(vertices: &[Vertex], steps: &[StepState], text: &[String]) -> Option<Failure> {
    let vertex = culprit(vertices);
    let said = error_text(text);
    // Caches that could not be read, and those that could not be written with `ignore-error`, fail nothing.
    let harmless = |vertex: &Vertex| matches!(vertex.kind, Kind::CacheImport | Kind::CacheExport);
    let vertex = vertex.filter(|vertex| said.is_some() || !harmless(vertex));
    let message = said.or_else(|| vertex.and_then(|vertex| vertex.error.clone()))?;
    let name = |vertex: &Vertex| vertex.step.map_or(&vertex.name, |step| &steps[step].name).clone();
    Some(Failure {
        step: vertex.map(|vertex| monoship_core::text::clean(&name(vertex))),
        message,
        log: vertex.map(|vertex| vertex.tail.iter().cloned().into_vec()).unwrap_or_default(),
        source: excerpt(text),
    })
}

/// The vertex to blame. When one fails BuildKit cancels the others, and these carry an error too.
fn culprit(vertices: &[Vertex]) -> Option<&Vertex> {
    let failed = |vertex: &&Vertex| vertex.error.as_ref().is_some_and(|error| !error.contains("context canceled"));
    let rank = |vertex: &&Vertex| match vertex.kind {
        Kind::Step => 0,
        Kind::Base | Kind::Transfer | Kind::Sbom | Kind::Export => 1,
        Kind::Other => 2,
        Kind::CacheExport => 3,
        Kind::CacheImport => 4,
    };
    vertices.iter().filter(failed).filter(|vertex| vertex.kind != Kind::CacheImport).min_by_key(rank)
}

/// The text after the last `ERROR: `, to the end, on one line.
fn error_text(text: &[String]) -> Option<String> {
    let first = text.iter().rposition(|line| line.starts_with("ERROR: "))?;
    let lines = text[first..].iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let message = lines.into_vec().join(" ");
    let mut message = message.as_str();
    for noise in ["ERROR: ", "failed to build: ", "failed to solve: "] {
        message = message.strip_prefix(noise).unwrap_or(message);
    }
    Some(message.to_owned())
}

/// The last excerpt: `file:line`, a rule, numbered lines, a rule.
fn excerpt(text: &[String]) -> Option<Excerpt> {
    let is_rule = |line: &String| line.len() >= 10 && line.bytes().all(|byte| byte == b'-');
    let end = text.iter().rposition(is_rule)?;
    let start = text[..end].iter().rposition(is_rule)?;
    let (file, line) = text.get(start.checked_sub(1)?)?.rsplit_once(':')?;
    let lines = text[start + 1..end].iter().map(|line| line.trim_end().to_owned()).into_vec();
    Some(Excerpt { file: file.to_owned(), line: line.parse().ok()?, lines })
}
