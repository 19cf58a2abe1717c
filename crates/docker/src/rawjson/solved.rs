//! What a build came to: its steps, where its time went, what its caches did, and why it failed. Values that the record keeps.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::failure::{self, Failure};
use super::vertex::{Vertex, read_cache, step_label, union, written_cache};
use super::{Solve, wire};
use monoship_core::collect::Collect as _;
use monoship_core::name::Platform;
use monoship_core::sorted::Order as _;
use monoship_core::text;
use monoship_core::time::millis;

/// A build's outcome, as far as its progress stream tells it. Whether the build succeeded is its exit code's to say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Solved {
    /// Every Dockerfile step, in the order of the first mention, base images left out.
    pub steps: Vec<Step>,
    /// How many of them came from a cache.
    pub cached: usize,
    /// What the rest of the time went into, for a timeline.
    pub phases: Vec<Phase>,
    /// Every cache that was asked, with what it answered. A scope that does not exist may say nothing and so be missing here.
    pub cache_imports: Vec<CacheTransfer>,
    /// Every cache that was written.
    pub cache_exports: Vec<CacheTransfer>,
    /// What BuildKit's checks found.
    pub warnings: Vec<Warning>,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// The last plain lines of the stream.
    pub text: Vec<String>,
}

/// One Dockerfile step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// BuildKit's name, for example `[api-build 2/4] RUN tsc`.
    pub name: String,
    /// The stage, where it has a name (`stage-1` where BuildKit gave it one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The platform, in a build for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Taken from a cache, or from another build that ran at the same time.
    pub cached: bool,
    /// How long it ran, in milliseconds; 0 for a cached one. Time in which two of its parts ran at once counts once.
    pub took_ms: u64,
    /// When it began; none where it never did.
    #[serde(default, with = "monoship_core::time::rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub started: Option<SystemTime>,
    /// BuildKit's message, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// True for a step with a cache mount: BuildKit names a RUN by its whole line.
#[must_use]
pub fn has_cache_mount(step: &str) -> bool {
    step.contains("--mount=type=cache")
}

impl Step {
    /// The instruction alone: `RUN tsc`.
    #[must_use]
    pub fn instruction(&self) -> &str {
        step_label(&self.name).map_or(self.name.as_str(), |(_, instruction)| instruction)
    }

    /// BuildKit's number of it within its stage, from 1.
    #[must_use]
    pub fn number(&self) -> Option<usize> {
        step_label(&self.name)?.0.rsplit(' ').next()?.split_once('/')?.0.parse().ok()
    }

    /// How long it ran.
    #[must_use]
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.took_ms)
    }

    fn of(step: &super::StepState, vertices: &[Vertex]) -> Self {
        // Numbers are padded with blanks.
        let words: Vec<&str> = step_label(&step.name).map_or_else(Vec::new, |(label, _)| label.split_whitespace().into_vec());
        let (platforms, stages): (Vec<&str>, Vec<&str>) =
            words.split_last().map_or(&[][..], |(_, words)| words).iter().partition(|word| word.contains('/'));
        Self {
            name: text::clean(&step.name),
            stage: stages.last().map(|stage| (*stage).to_owned()),
            platform: platforms.first().map(|platform| (*platform).to_owned()),
            cached: step.error(vertices).is_none() && step.started(vertices).is_some() && step.is_cached(vertices),
            took_ms: millis(step.took(vertices)),
            started: step.started(vertices),
            error: step.error(vertices),
        }
    }
}

/// What a stretch of a build's time that is no step went into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseKind {
    /// Pulling base images.
    Pull,
    /// Sending the context and the Dockerfile.
    Transfer,
    /// Reading caches' manifests.
    CacheImport,
    /// Fetching and unpacking layers of steps that a cache had, where a later step or the image needed them.
    CacheFetch,
    /// Listing what the image holds, for its bill of materials.
    Sbom,
    /// Making the image, loading or pushing it included.
    Export,
    /// The part of the export that went to a registry.
    Push,
    /// Writing caches.
    CacheExport,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Phase {
    /// What it went into.
    pub kind: PhaseKind,
    /// When it began.
    #[serde(with = "monoship_core::time::rfc3339")]
    pub started: SystemTime,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A cache that was read or written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CacheTransfer {
    /// Of one that was read what BuildKit calls it: `localhost:5000/cache:api`, `gha:123`. Of one that was written its kind: `registry`, `gha`.
    pub name: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Why it did not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A finding of BuildKit's Dockerfile checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Warning {
    /// One line: `FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)`.
    pub short: String,
    /// More of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Where it is explained; empty where it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The file, as BuildKit names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl From<wire::Warning> for Warning {
    fn from(warning: wire::Warning) -> Self {
        let readable = |bytes: &[u8]| text::clean(&String::from_utf8_lossy(bytes));
        Self {
            short: readable(&warning.short),
            detail: warning.detail.iter().map(|line| readable(line)).into_vec(),
            url: text::clean(&warning.url),
            file: warning.source_info.map(|info| text::clean(&info.filename)).filter(|name| !name.is_empty()),
            line: warning.range.first().and_then(|range| range.start.as_ref()).map(|start| start.line).filter(|line| *line > 0),
        }
    }
}

impl Solved {
    /// The first step that no cache had, by the time it began: what comes after it had to be executed for its sake.
    #[must_use]
    pub fn first_miss(&self) -> Option<&Step> {
        self.steps.iter().filter(|step| !step.cached && step.started.is_some()).min_by_key(|step| step.started)
    }

    /// This build and a later one of the same target for another platform, as one.
    #[must_use]
    pub fn and(mut self, later: Self, platforms: &[Platform]) -> Self {
        let platform = platforms.first().map(ToString::to_string);
        self.steps.extend(later.steps.into_iter().map(|step| Step { platform: platform.clone(), ..step }));
        self.cached += later.cached;
        self.phases.extend(later.phases);
        self.cache_imports.extend(later.cache_imports);
        self.cache_exports.extend(later.cache_exports);
        self.warnings.extend(later.warnings.into_iter().filter(|warning| !self.warnings.contains(warning)).into_vec());
        Self { failure: later.failure, text: later.text, ..self }
    }

    /// How many steps there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.steps.len()
    }

    /// How long the build spent on one kind of phase; phases that overlap count once.
    #[must_use]
    pub fn spent(&self, kind: PhaseKind) -> Duration {
        let of_kind = self.phases.iter().filter(|phase| phase.kind == kind);
        union(of_kind.filter_map(|p| Some((p.started, p.started.checked_add(Duration::from_millis(p.took_ms))?))).into_vec())
    }
}

impl Solve {
    /// The stream is over: what it came to.
    #[must_use]
    pub fn finish(mut self) -> Solved {
        for line in self.framing.rest() {
            self.keep_text(&line);
        }
        for vertex in &mut self.vertices {
            vertex.flush();
        }
        let steps: Vec<Step> = self.steps.iter().map(|step| Step::of(step, &self.vertices)).into_vec();
        let transfers = |cache: fn(&str) -> Option<&str>| {
            self.vertices.iter().filter_map(|vertex| Some(transfer(vertex, cache(&vertex.name)?))).into_vec()
        };
        let mut solved = Solved {
            cached: steps.iter().filter(|step| step.cached).count(),
            phases: self.vertices.iter().flat_map(Vertex::timeline).map(phase).into_vec(),
            cache_imports: transfers(read_cache),
            cache_exports: transfers(written_cache),
            steps,
            warnings: std::mem::take(&mut self.warnings),
            failure: None,
            text: self.text.iter().cloned().into_vec(),
        };
        solved.phases.order_by_key(|phase| phase.started);
        solved.failure = failure::find(&self.vertices, &self.steps, &solved.text);
        solved
    }
}

fn transfer(vertex: &Vertex, cache: &str) -> CacheTransfer {
    let runs = vertex.runs.iter().filter_map(|(start, end)| Some((*start, (*end)?))).into_vec();
    CacheTransfer { name: text::clean(cache), took_ms: millis(union(runs)), error: vertex.error.clone() }
}

fn phase((kind, started, ended): (PhaseKind, SystemTime, SystemTime)) -> Phase {
    Phase { kind, started, took_ms: millis(ended.duration_since(started).unwrap_or_default()) }
}
