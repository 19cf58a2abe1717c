//! One node of the build graph: what it is by its name, when it ran, and the end of what it logged.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::solved::PhaseKind;
use super::wire;
use monoship_core::collect::Collect as _;
use monoship_core::name;
use monoship_core::text;

/// How many of a step's last log lines are kept for a failure.
const TAIL_LINES: usize = 40;

/// A log line longer than this is cut: what a failure quotes must fit a screen, and memory must stay bounded.
const LINE_BYTES: usize = 4_000;

/// What a vertex is. BuildKit says so only by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// A Dockerfile instruction that makes a layer or runs something.
    Step,
    /// `FROM`: pulling a base image.
    Base,
    /// Sending the build context, or the Dockerfile.
    Transfer,
    /// Reading a cache's manifest.
    CacheImport,
    /// Writing a cache.
    CacheExport,
    /// Making, loading or pushing the image.
    Export,
    /// Listing what the image holds.
    Sbom,
    /// Everything else: metadata, tokens, provenance.
    #[default]
    Other,
}

/// Tells what a vertex is by its name.
pub(super) fn kind_of(name: &str) -> Kind {
    if read_cache(name).is_some() {
        return Kind::CacheImport;
    }
    if written_cache(name).is_some() {
        return Kind::CacheExport;
    }
    if name.starts_with("exporting to ") || name.starts_with("importing to ") || name.starts_with("pushing ") {
        return Kind::Export;
    }
    let local =
        ["[internal] load build context", "[internal] load build definition", "[internal] load .dockerignore", "[context "];
    if local.iter().any(|prefix| name.starts_with(prefix)) {
        return Kind::Transfer;
    }
    match step_label(name) {
        Some((_, instruction)) if instruction.starts_with("FROM ") => Kind::Base,
        Some(_) => Kind::Step,
        None if name.contains("] generating sbom using ") => Kind::Sbom,
        None => Kind::Other,
    }
}

/// The cache that a vertex reads.
pub(super) fn read_cache(name: &str) -> Option<&str> {
    name.strip_prefix("importing cache manifest from ")
}

/// The kind of cache that a vertex writes. Each of BuildKit's exporters has words of its own (`cache/remotecache/*`: `Name()`).
pub(super) fn written_cache(name: &str) -> Option<&str> {
    match name {
        "exporting to GitHub Actions Cache" => Some("gha"),
        "exporting inline cache" => Some("inline"),
        _ => name.strip_prefix("exporting cache to "),
    }
}

/// `[linux/amd64 build 2/4] RUN tsc` → (`linux/amd64 build 2/4`, `RUN tsc`); none where the bracket does not end in `n/m`.
pub(super) fn step_label(name: &str) -> Option<(&str, &str)> {
    let (label, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let (number, count) = label.rsplit(' ').next()?.split_once('/')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && digits(count)).then_some((label, instruction))
}

/// Everything known of one digest.
#[derive(Debug, Default)]
pub(super) struct Vertex {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The step it is, or is a part of.
    pub(super) step: Option<usize>,
    /// True once any event of it said so; later events drop the flag.
    pub(super) cached: bool,
    /// The first error it gave.
    pub(super) error: Option<String>,
    /// When it ran: start and, once it is known, end.
    pub(super) runs: Vec<(SystemTime, Option<SystemTime>)>,
    /// The same for the phases of an export, or the layers that a step's cache brought, by their name.
    pub(super) phases: Vec<(String, SystemTime, Option<SystemTime>)>,
    amounts: HashMap<String, (u64, u64)>,
    partial: Vec<u8>,
    pub(super) tail: VecDeque<String>,
}

impl Vertex {
    /// Takes in one more event.
    pub(super) fn update(&mut self, event: wire::Vertex) {
        if !event.name.is_empty() {
            self.kind = kind_of(&event.name);
            self.name = event.name;
        }
        self.cached |= event.cached;
        if !event.error.is_empty() && self.error.is_none() {
            self.error = Some(text::clean(&event.error));
        }
        let Some(started) = event.started else { return };
        match self.runs.iter_mut().find(|(start, _)| *start == started) {
            Some((_, end)) => *end = event.completed.or(*end),
            None => self.runs.push((started, event.completed)),
        }
    }

    /// True while it has begun and not ended.
    pub(super) fn is_running(&self) -> bool {
        self.runs.iter().any(|(_, end)| end.is_none())
    }

    /// True once it has begun and everything it began has ended.
    pub(super) fn is_done(&self) -> bool {
        !self.runs.is_empty() && !self.is_running()
    }

    /// Takes in a status; a phase that begins is returned by its name.
    pub(super) fn status(&mut self, status: &wire::VertexStatus) -> Option<String> {
        let started = status.started?;
        if !matches!(self.kind, Kind::Export | Kind::CacheExport | Kind::Step) {
            return None;
        }
        if let Some((_, _, end)) = self.phases.iter_mut().find(|(id, start, _)| *id == status.id && *start == started) {
            *end = status.completed.or(*end);
            return None;
        }
        self.phases.push((status.id.clone(), started, status.completed));
        (self.kind != Kind::Step).then(|| phase_title(&status.id))
    }

    /// The bytes done and to do over all of its parts, where this status has any.
    pub(super) fn amount(&mut self, status: &wire::VertexStatus) -> Option<(u64, u64)> {
        let total = u64::try_from(status.total).ok().filter(|total| *total > 0)?;
        let done = u64::try_from(status.current).unwrap_or(0).min(total);
        self.amounts.insert(status.id.clone(), (done, total));
        Some(self.amounts.values().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1.saturating_add(part.1))))
    }

    /// Takes in what it wrote, and returns the lines that this completed, cleaned.
    pub(super) fn log(&mut self, log: &wire::Log) -> Vec<String> {
        self.partial.extend_from_slice(&log.data);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            // Without an end in sight the oldest bytes go: a progress bar redraws itself with carriage returns only.
            let excess = self.partial.len().saturating_sub(LINE_BYTES);
            self.partial.drain(..excess);
            return Vec::new();
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        let lines: Vec<String> = whole[..end].split(|byte| *byte == b'\n').map(log_line).into_vec();
        for line in &lines {
            self.keep(line.clone());
        }
        lines
    }

    fn keep(&mut self, line: String) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// A last line without an end counts as a line.
    pub(super) fn flush(&mut self) -> Option<String> {
        let partial = std::mem::take(&mut self.partial);
        let line = log_line(&partial);
        (!line.is_empty()).then(|| {
            self.keep(line.clone());
            line
        })
    }

    /// What to show while it runs, for those that are worth it.
    pub(super) fn doing(&self) -> Option<String> {
        match self.kind {
            Kind::Base => {
                step_label(&self.name).map(|(_, from)| format!("pulling {}", image_name(from.trim_start_matches("FROM "))))
            }
            Kind::Transfer => Some("sending the context".to_owned()),
            Kind::CacheImport | Kind::CacheExport | Kind::Export => Some(self.name.clone()),
            Kind::Sbom => Some("listing what the image holds".to_owned()),
            Kind::Step | Kind::Other => None,
        }
    }

    /// The stretches of time it counts for, by what they went into.
    pub(super) fn timeline(&self) -> Vec<(PhaseKind, SystemTime, SystemTime)> {
        let kind = match self.kind {
            Kind::Base => PhaseKind::Pull,
            Kind::Transfer => PhaseKind::Transfer,
            Kind::CacheImport => PhaseKind::CacheImport,
            Kind::CacheExport => PhaseKind::CacheExport,
            Kind::Export => PhaseKind::Export,
            Kind::Sbom => PhaseKind::Sbom,
            Kind::Step => return self.fetches(),
            Kind::Other => return Vec::new(),
        };
        let runs = self.runs.iter().filter_map(|(start, end)| Some((kind, *start, (*end)?)));
        let pushes = self.phases.iter().filter(|(id, ..)| self.kind == Kind::Export && id.starts_with("pushing "));
        let pushes = pushes.filter_map(|(_, start, end)| Some((PhaseKind::Push, *start, (*end)?)));
        runs.chain(pushes).into_vec()
    }

    /// The layers that a cached step had to be brought: BuildKit tells of them on the step, by their digests. The engine's own cache has
    /// its layers unpacked, so that these came from a cache elsewhere. A step that runs may unpack its base image, which is no cache.
    fn fetches(&self) -> Vec<(PhaseKind, SystemTime, SystemTime)> {
        let is_layer = |id: &str| id.trim_start_matches("extracting ").starts_with("sha256:");
        let layers = self.phases.iter().filter(|(id, ..)| self.cached && is_layer(id));
        let stretches = merged(layers.filter_map(|(_, start, end)| Some((*start, (*end)?))).into_vec());
        stretches.into_iter().map(|(start, end)| (PhaseKind::CacheFetch, start, end)).into_vec()
    }
}

fn log_line(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(LINE_BYTES)];
    text::clean(String::from_utf8_lossy(bytes).trim_end_matches('\r'))
}

/// Digests say nothing to a person, and the phases that carry one are many.
fn phase_title(id: &str) -> String {
    id.split(" sha256:").next().unwrap_or(id).to_owned()
}

/// `docker.io/library/node:24-slim@sha256:…` → `node:24-slim`.
fn image_name(reference: &str) -> &str {
    name::familiar(reference.split('@').next().unwrap_or(reference))
}

/// How long the union of these stretches is.
pub(super) fn union(stretches: Vec<(SystemTime, SystemTime)>) -> Duration {
    merged(stretches).into_iter().map(|(start, end)| end.duration_since(start).unwrap_or_default()).sum()
}

/// The union of these stretches, in order, each as long as it goes on.
fn merged(mut stretches: Vec<(SystemTime, SystemTime)>) -> Vec<(SystemTime, SystemTime)> {
    stretches.sort_unstable();
    let mut merged: Vec<(SystemTime, SystemTime)> = Vec::new();
    for (start, end) in stretches {
        match merged.last_mut().filter(|(_, last)| start <= *last) {
            Some((_, last)) => *last = end.max(*last),
            None => merged.push((start, end)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vertex_is_told_by_its_name() {
        let kinds = [
            ("[api-build 2/4] RUN tsc", Kind::Step),
            ("[2/4] COPY a [b] c", Kind::Step),
            ("[linux/amd64->arm64 build 12/40] RUN x", Kind::Step),
            ("[deps 1/4] FROM docker.io/library/node:24", Kind::Base),
            ("[internal] load build context", Kind::Transfer),
            ("[context src] load from client", Kind::Transfer),
            ("importing cache manifest from gha:1234", Kind::CacheImport),
            ("[linux/amd64] generating sbom using docker.io/docker/buildkit-syft-scanner:stable-1", Kind::Sbom),
            ("exporting cache to registry", Kind::CacheExport),
            ("exporting to GitHub Actions Cache", Kind::CacheExport),
            ("exporting inline cache", Kind::CacheExport),
            ("exporting to docker image format", Kind::Export),
            ("[auth] library/node:pull token for registry-1.docker.io", Kind::Other),
            ("[a b/c] RUN x", Kind::Other),
            ("[/] RUN x", Kind::Other),
            ("[", Kind::Other),
            ("", Kind::Other),
        ];
        for (name, kind) in kinds {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }

    #[test]
    fn overlapping_stretches_count_once() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(union(vec![(at(5), at(9)), (at(1), at(3)), (at(2), at(4)), (at(6), at(7))]), Duration::from_secs(7));
        assert_eq!(union(vec![(at(5), at(2))]), Duration::ZERO);
    }

    #[test]
    fn lines_are_put_together_from_pieces_and_long_ones_are_cut() {
        let mut vertex = Vertex::default();
        let mut log = |data: &[u8]| vertex.log(&wire::Log { vertex: String::new(), data: data.to_vec() });
        assert!(log(b"one, ").is_empty());
        assert_eq!(log(b"still one\r\ntwo\nthr"), ["one, still one", "two"]);
        assert_eq!(log(&[b"ee\n".as_slice(), &[b'x'; 9_000], b"\n"].concat())[1].len(), LINE_BYTES);
        assert!(log(&vec![b'y'; 100_000]).is_empty());
        assert_eq!(vertex.flush().map(|line| line.len()), Some(LINE_BYTES));
    }
}
