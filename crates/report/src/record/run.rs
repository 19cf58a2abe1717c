//! The record of one run: plain data, the same that the summary shows. No I/O here.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::record::runs::RunId;
use crate::step;
use monoship_core::event::{Status, Task};
use monoship_core::name::{Digest, Fingerprint, Platform, ServiceName};
use monoship_docker::rawjson::{CacheTransfer, Failure, Phase, PhaseKind, Solved, Step, Warning};
use monoship_plan::explain::{Reason, summary};

/// The version this code writes. A reader takes every version up to its own; a higher one is left alone. Since 3 a task whose inputs have not
/// changed is `unchanged`; it was `skipped`.
pub const VERSION: u32 = 3;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was asked for stands.
    Succeeded,
    /// Something failed.
    Failed,
    /// It was stopped.
    Cancelled,
}

/// One run of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    /// The format's version, see [`VERSION`].
    pub version: u32,
    /// The run's name, which is also its folder's.
    pub id: RunId,
    /// When it began.
    #[serde(with = "monoship_core::time::rfc3339")]
    pub started: SystemTime,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The command line after `cargo xtask`, for example `build api --push`.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, where no task says so: a file that is malformed, an engine that does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What can be done about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// True where it ran in CI.
    #[serde(default)]
    pub ci: bool,
    /// The commit that was built, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch or tag, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The release's tag, where it published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The commit that changes were counted from, where only the services they affect were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The services that those changes do not affect; they are no tasks of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unaffected: Vec<ServiceName>,
    /// What it did, in the order of the tasks' beginning.
    #[serde(default)]
    pub tasks: Vec<TaskRecord>,
    /// The gates that something exceeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateRecord>,
}

/// A bound of `[gates]` that is exceeded, or whose value nobody knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GateRecord {
    /// Its key: `build-time`, `hit-rate`, `image-size` or `wasted-bytes`.
    pub gate: String,
    /// Whose value it is.
    pub task: Task,
    /// The value: milliseconds, a share, or bytes; none where it could not be read.
    pub value: Option<f64>,
    /// What it may be at most (a hit rate: at least), in the same unit; none where that could not be read.
    pub bound: Option<f64>,
    /// True where that fails the run.
    pub fails: bool,
    /// All of it in a line.
    pub text: String,
}

/// One task of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskRecord {
    /// Which.
    pub task: Task,
    /// How it ended.
    pub status: Status,
    /// Why it was built, or skipped, or not run: one short line. Empty where there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What can be done about its failure, where the stage that failed says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The service that could not be built and whose image it is built from, so that it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking: Option<ServiceName>,
    /// When it began; none where it never did.
    #[serde(default, with = "monoship_core::time::rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub started: Option<SystemTime>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Its Dockerfile steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The first step that no cache had, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
    /// What the rest of its time went into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// What the plan said of each cache tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<TierRecord>,
    /// Caches the builder read, with what they answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_imports: Vec<CacheTransfer>,
    /// Caches the builder wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_exports: Vec<CacheTransfer>,
    /// The image's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The image's size in bytes: its layers as they are stored, compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The bytes it stores that no container sees; none where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasted: Option<u64>,
    /// Of an image that a release published: what made each layer, lowest first, and its size in bytes as it is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<(String, u64)>,
    /// Where the image is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Over everything that went in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The nodes of a fleet that built it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRecord>,
    /// What BuildKit's checks found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// The first step of a build that no cache had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Missed {
    /// BuildKit's name for it, for example `[api-build 2/4] RUN tsc`.
    pub step: String,
    /// What it takes in that differs from the last build.
    pub reasons: Vec<Reason>,
}

impl fmt::Display for Missed {
    /// `[api-build 2/4] RUN tsc: file apps/api/src/main.ts changed`, what other steps have as well and the middle of what is long left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", step::fit(&self.step, 80), summary(&self.reasons, 2))
    }
}

/// A node of a fleet, and what it built of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeRecord {
    /// Its builder's name.
    pub builder: String,
    /// The platforms it built, where they are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// The nodes that were to build it before, each with why it did not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<(String, String)>,
}

/// A cache tier's verdict for one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TierRecord {
    /// `gha`, `registry`, `image` or `inline`.
    pub tier: String,
    /// `used`, `missing`, `read-only`, `unreachable`, `left-out`, …
    pub verdict: String,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl RunRecord {
    /// A run that has just begun; the rest is filled in at its end.
    #[must_use]
    pub fn new(id: RunId, started: SystemTime, command: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            id,
            started,
            took_ms: 0,
            command: command.into(),
            outcome: Outcome::Succeeded,
            error: None,
            hint: None,
            ci: false,
            commit: None,
            reference: None,
            release: None,
            since: None,
            unaffected: Vec::new(),
            tasks: Vec::new(),
            gates: Vec::new(),
        }
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.took_ms)
    }
}

impl TaskRecord {
    /// A task with nothing to say but how it ended.
    #[must_use]
    pub fn new(task: Task, status: Status) -> Self {
        Self {
            task,
            status,
            why: String::new(),
            hint: None,
            lacking: None,
            started: None,
            took_ms: 0,
            steps: Vec::new(),
            missed: None,
            phases: Vec::new(),
            tiers: Vec::new(),
            cache_imports: Vec::new(),
            cache_exports: Vec::new(),
            digest: None,
            size: None,
            wasted: None,
            layers: Vec::new(),
            images: Vec::new(),
            fingerprint: None,
            nodes: Vec::new(),
            warnings: Vec::new(),
            failure: None,
        }
    }

    /// Takes over what the builder's stream told.
    #[must_use]
    pub fn with_solved(mut self, solved: Solved) -> Self {
        self.steps = solved.steps;
        self.phases = solved.phases;
        self.cache_imports = solved.cache_imports;
        self.cache_exports = solved.cache_exports;
        self.warnings = solved.warnings;
        self.failure = solved.failure;
        self
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.took_ms)
    }

    /// When it was over; none where it never began.
    #[must_use]
    pub fn ended(&self) -> Option<SystemTime> {
        self.started?.checked_add(self.took())
    }

    /// How many of its steps came from a cache.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.steps.iter().filter(|step| step.cached).count()
    }

    /// Milliseconds spent on one kind of phase.
    #[must_use]
    pub fn spent_ms(&self, kind: PhaseKind) -> u64 {
        self.phases.iter().filter(|phase| phase.kind == kind).fold(0, |sum, phase| sum.saturating_add(phase.took_ms))
    }
}
