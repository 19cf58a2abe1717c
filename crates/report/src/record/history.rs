//! The history of runs: `target/xtask/history.jsonl`, one versioned JSON line for each, appended under a lock. A line is what
//! statistics need of a run and no more: steps that came from a cache are only counted.
//!
//! Nothing that was written is ever lost to a reader's ignorance: a line that is damaged or of a newer version is passed over
//! when reading and kept, byte for byte, when pruning.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::run::{Outcome, RunRecord, TaskRecord};
use super::runs::{Keep, RunId};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_atomically};
use monoship_core::event::{Status, Task};
use monoship_core::execute::cores;
use monoship_core::execute::lock::Lock;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::Platform;
use monoship_core::secret::mask;
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};
use monoship_docker::rawjson::PhaseKind;

/// The version of the lines this code writes; it reads every version up to it. Since 2 a line tells how long layers were fetched from caches, and the bill of materials took. Since 3 a
/// task whose inputs had not changed is `unchanged`; it was `skipped`.
pub const VERSION: u32 = 3;

/// How much of a history is read to tell how many lines it has: a hundred or two.
const START_BYTES: u64 = 64 << 10;

/// A run in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastRun {
    /// See [`VERSION`].
    pub v: u32,
    /// The run's name.
    pub id: RunId,
    /// When it began.
    #[serde(with = "monoship_core::time::rfc3339")]
    pub started: SystemTime,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// The command line after `cargo xtask`.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
    /// True where it ran in CI.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ci: bool,
    /// The commit, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The release's tag, where it published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What it did.
    #[serde(default)]
    pub tasks: Vec<PastTask>,
}

/// A task of a run in the history. All times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastTask {
    /// Which.
    pub task: Task,
    /// How it ended.
    pub status: Status,
    /// How long it took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub took: u64,
    /// The builders of a fleet that built it, by platform; an empty one is the node's own.
    #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
    pub nodes: SortedMap<String, String>,
    /// Steps taken from a cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// All steps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total: u64,
    /// The image's size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The bytes the image stores that no container sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasted: Option<u64>,
    /// Of an image that a release published: what made each layer, lowest first, and its size in bytes as it is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<(String, u64)>,
    /// The steps that ran, with the time each took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ran: Vec<(String, u64)>,
    /// Time by phase.
    #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
    pub spent: SortedMap<PhaseKind, u64>,
    /// Each tier's verdict.
    #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
    pub tiers: SortedMap<String, String>,
    /// Caches that were read: name, time, and whether it worked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<(String, u64, bool)>,
    /// Caches that were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<(String, u64, bool)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl From<&RunRecord> for PastRun {
    fn from(run: &RunRecord) -> Self {
        Self {
            v: VERSION,
            id: run.id.clone(),
            started: run.started,
            took: run.took_ms,
            command: run.command.clone(),
            outcome: run.outcome,
            ci: run.ci,
            commit: run.commit.clone(),
            release: run.release.clone(),
            tasks: run.tasks.iter().map(PastTask::from).into_vec(),
        }
    }
}

impl PastTask {
    /// How long it took to build, in milliseconds; none where it was not built, or failed.
    #[must_use]
    pub fn build_time(&self) -> Option<u64> {
        (self.status == Status::Built).then_some(self.took)
    }
}

/// How [`PastTask::nodes`] calls a build for these platforms.
#[must_use]
pub fn platforms_key(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::as_str).into_vec().join(",")
}

impl From<&TaskRecord> for PastTask {
    fn from(task: &TaskRecord) -> Self {
        let kinds = [
            PhaseKind::Pull,
            PhaseKind::Transfer,
            PhaseKind::CacheImport,
            PhaseKind::CacheFetch,
            PhaseKind::Sbom,
            PhaseKind::Export,
            PhaseKind::Push,
            PhaseKind::CacheExport,
        ];
        let spent = kinds.into_iter().map(|kind| (kind, task.spent_ms(kind))).filter(|(_, ms)| *ms > 0);
        let ran = task.steps.iter().filter(|step| !step.cached && step.started.is_some());
        let moved = |caches: &[monoship_docker::rawjson::CacheTransfer]| {
            caches.iter().map(|cache| (cache.name.clone(), cache.took_ms, cache.error.is_none())).into_vec()
        };
        Self {
            task: task.task.clone(),
            status: task.status,
            took: task.took_ms,
            nodes: task.nodes.iter().map(|node| (platforms_key(&node.platforms), node.builder.clone())).into_map(),
            cached: task.cached() as u64,
            total: task.steps.len() as u64,
            size: task.size,
            wasted: task.wasted,
            layers: task.layers.clone(),
            ran: ran.map(|step| (step.name.clone(), step.took_ms)).into_vec(),
            spent: spent.into_map(),
            tiers: task.tiers.iter().map(|tier| (tier.tier.clone(), tier.verdict.clone())).into_map(),
            imports: moved(&task.cache_imports),
            exports: moved(&task.cache_exports),
        }
    }
}

/// What reading a history gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// The runs that could be read, oldest first, each once.
    pub runs: Vec<PastRun>,
    /// Lines that are no JSON or lack what every version has: a write that a crash cut short.
    pub damaged: usize,
    /// Lines that a newer version wrote.
    pub newer: usize,
}

/// A history file.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
    shutdown: Shutdown,
}

impl History {
    /// The history under `root`, which is `target/xtask`. A run that is closing waits for no other that writes it.
    #[must_use]
    pub fn new(root: &Path, shutdown: &Shutdown) -> Self {
        Self { path: root.join("history.jsonl"), shutdown: shutdown.clone() }
    }

    /// Appends a run. Safe against another process doing the same; a line that an earlier crash cut short is closed first.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, run: &PastRun) -> Result<()> {
        let json = serde_json::to_string(run).map_err(|e| Error::failed("cannot write the history").source(e))?;
        self.append_lines(&[json])
    }

    /// Appends the runs of another history (as text, for example one that CI shares through the registry) that are not in this
    /// one yet. Returns how many came in. Lines of a newer version come along.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn merge(&self, other: &str) -> Result<usize> {
        let mine = self.text()?;
        let news = missing(other, &mine);
        if !news.is_empty() {
            self.append_lines(&news)?;
        }
        Ok(news.len())
    }

    fn append_lines(&self, lines: &[impl AsRef<str>]) -> Result<()> {
        let _lock = self.lock()?;
        let io = |e| Error::io("write", &self.path, e);
        let mut file = File::options().create(true).append(true).read(true).open(&self.path).map_err(io)?;
        let mut text = String::new();
        if file.seek(SeekFrom::End(-1)).is_ok() {
            let mut last = [b'\n'];
            file.read_exact(&mut last).map_err(io)?;
            if last != [b'\n'] {
                text.push('\n');
            }
        }
        for line in lines {
            text.push_str(&mask(line.as_ref()));
            text.push('\n');
        }
        file.write_all(text.as_bytes()).map_err(io)
    }

    /// The lock is a file of its own, because pruning replaces the history itself.
    fn lock(&self) -> Result<Lock> {
        Lock::wait(&self.path.with_extension("lock"), &self.shutdown, || ())
    }

    /// The history for sharing it: every line but damaged ones.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn lines(&self) -> Result<String> {
        let text = self.text()?;
        Ok(missing(&text, "").iter().flat_map(|line| [line, "\n"]).collect())
    }

    /// The whole history as text; empty where there is none. Bytes that are not UTF-8 (a torn write) are replaced.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    fn text(&self) -> Result<String> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Error::io("read", &self.path, error)),
        }
    }

    /// Reads the newest `count` lines' runs, oldest first, without reading the rest as runs: for the end of every build.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn newest(&self, count: usize) -> Result<Vec<PastRun>> {
        let text = self.text()?;
        let start = text.trim_end().rmatch_indices('\n').nth(count.saturating_sub(1)).map_or(0, |(at, _)| at);
        Ok(parse(&text[start..]).runs)
    }

    /// Reads every run that can be read.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self) -> Result<Read> {
        Ok(parse(&self.text()?))
    }

    /// Prunes once the history is a tenth beyond `keep`, as far as its start tells: reading all of it at the end of every run would cost
    /// more than it gives.
    ///
    /// # Errors
    /// As [`History::prune`].
    pub fn tidy(&self, keep: Keep, now: SystemTime) -> Result<()> {
        let io = |e| Error::io("read", &self.path, e);
        let file = File::open(&self.path).map_err(io)?;
        let size = usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(usize::MAX);
        let mut start = Vec::new();
        file.take(START_BYTES).read_to_end(&mut start).map_err(io)?;
        let text = String::from_utf8_lossy(&start);
        let oldest = now.checked_sub(keep.age + keep.age / 10);
        let first = text.lines().find_map(|line| if let Line::Run(run) = read_line(line) { Some(run.started) } else { None });
        let is_old = first.zip(oldest).is_some_and(|(first, oldest)| first < oldest);
        let lines = text.lines().count().saturating_mul(size) / start.len().max(1);
        if is_old || lines > keep.count + keep.count / 10 {
            self.prune(keep, now)?;
        }
        Ok(())
    }

    /// Drops runs beyond `keep`; damaged lines go with them. Lines of a newer version are counted by themselves, and go by the day in their
    /// names. Where more than half would be too old, the clock is wrong rather than they, and none goes for its age. Returns how many lines went.
    ///
    /// # Errors
    /// When the file cannot be read or replaced.
    pub fn prune(&self, keep: Keep, now: SystemTime) -> Result<usize> {
        let _lock = self.lock()?;
        let text = self.text()?;
        let oldest = now.checked_sub(keep.age);
        let lines: Vec<(&str, Line)> = text.lines().map(|line| (line, read_line(line))).into_vec();
        let count = |is: fn(&Line) -> bool| lines.iter().filter(|(_, line)| is(line)).count();
        let (runs, newer) = (count(|line| matches!(line, Line::Run(_))), count(|line| matches!(line, Line::Newer)));
        let is_old = |run: &PastRun| oldest.is_some_and(|oldest| run.started < oldest);
        let old = lines.iter().filter(|(_, line)| matches!(line, Line::Run(run) if is_old(run))).count();
        let by_age = old * 2 <= runs;
        let day = oldest.map(|oldest| monoship_core::time::rfc3339::text(oldest).replace('-', ""));
        let is_old_day = |line: &str| line_id(line).zip(day.as_deref()).is_some_and(|(id, day)| id.get(..8) < day.get(..8));
        let (mut index, mut newer_index) = (0, 0);
        let kept = lines.iter().filter(|(text, line)| match line {
            Line::Newer => {
                newer_index += 1;
                newer - newer_index < keep.count && !(by_age && is_old_day(text))
            }
            Line::Damaged => false,
            Line::Run(run) => {
                index += 1;
                runs - index < keep.count && !(by_age && is_old(run))
            }
        });
        let kept: Vec<&str> = kept.map(|(line, _)| *line).into_vec();
        let gone = lines.len() - kept.len();
        if gone > 0 {
            let text: String = kept.iter().flat_map(|line| [line, "\n"]).collect();
            write_atomically(&self.path, text.as_bytes())?;
        }
        Ok(gone)
    }
}

/// The lines of one history's text, each once, whose runs another's does not have.
#[must_use]
pub fn missing<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
    let mut known: SortedSet<String> = other.lines().filter_map(line_id).into_set();
    text.lines().filter(|line| line_id(line).is_some_and(|id| known.insert(id))).into_vec()
}

/// Reads a history's text.
#[must_use]
pub fn parse(text: &str) -> Read {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).into_vec();
    let mut read = Read::default();
    let mut seen = SortedSet::new();
    for line in cores::map(&lines, |line| read_line(line)) {
        match line {
            Line::Run(run) => {
                if seen.insert(run.id.clone()) {
                    read.runs.push(*run);
                }
            }
            Line::Newer => read.newer += 1,
            Line::Damaged => read.damaged += 1,
        }
    }
    read.runs.order_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    read
}

enum Line {
    Run(Box<PastRun>),
    Newer,
    Damaged,
}

/// What every version has.
#[derive(Deserialize)]
struct AnyVersion {
    v: u32,
    id: String,
}

fn read_line(line: &str) -> Line {
    match serde_json::from_str::<PastRun>(line) {
        Ok(run) if run.v <= VERSION => Line::Run(Box::new(run)),
        Ok(_) => Line::Newer,
        Err(_) => match serde_json::from_str::<AnyVersion>(line) {
            Ok(any) if any.v > VERSION => Line::Newer,
            _ => Line::Damaged,
        },
    }
}

fn line_id(line: &str) -> Option<String> {
    serde_json::from_str::<AnyVersion>(line).ok().map(|any| any.id)
}

#[cfg(test)]
pub(crate) mod tests;
