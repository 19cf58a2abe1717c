//! A Dockerfile step: one vertex, or the vertices of one progress group.

use std::time::{Duration, SystemTime};

use super::vertex::{Vertex, step_label, union};
use monoship_core::collect::Collect as _;
use monoship_core::event::StepEnd;

/// A step while the build runs.
pub(super) struct StepState {
    /// BuildKit's name for it, the group's where it is a group.
    pub(super) name: String,
    /// Its vertex's digest, or its group's id.
    pub(super) key: String,
    pub(super) members: Vec<usize>,
    pub(super) started_reported: bool,
    /// The end that was reported last, and how long the step had taken by then.
    pub(super) reported: Option<(StepEnd, Duration)>,
}

impl StepState {
    pub(super) fn new(name: &str, key: String) -> Self {
        Self { name: name.to_owned(), key, members: Vec::new(), started_reported: false, reported: None }
    }

    fn members<'a>(&'a self, vertices: &'a [Vertex]) -> impl Iterator<Item = &'a Vertex> {
        self.members.iter().map(|index| &vertices[*index])
    }

    /// The vertices that decide whether it was a hit. Of `COPY --link` that is the copy: the merge that puts it on top
    /// (`LINK COPY …`) runs again whenever anything below it changed, and costs nothing.
    fn decisive<'a>(&'a self, vertices: &'a [Vertex]) -> impl Iterator<Item = &'a Vertex> {
        let is_merge = |vertex: &Vertex| step_label(&vertex.name).is_some_and(|(_, text)| text.starts_with("LINK "));
        let only_merges = self.members(vertices).all(is_merge);
        self.members(vertices).filter(move |vertex| only_merges || !is_merge(vertex))
    }

    /// Its end, once all of its vertices have one.
    pub(super) fn outcome(&self, vertices: &[Vertex]) -> Option<StepEnd> {
        if let Some(error) = self.error(vertices) {
            return Some(StepEnd::Failed(error));
        }
        if !self.members(vertices).all(Vertex::is_done) {
            return None;
        }
        Some(if self.is_cached(vertices) { StepEnd::Cached } else { StepEnd::Ran })
    }

    /// True where all that decides it came from a cache.
    pub(super) fn is_cached(&self, vertices: &[Vertex]) -> bool {
        self.decisive(vertices).all(|vertex| vertex.cached)
    }

    /// True where something of it has begun that is not known to be in a cache.
    pub(super) fn runs_uncached(&self, vertices: &[Vertex]) -> bool {
        self.decisive(vertices).any(|vertex| vertex.is_running() && !vertex.cached)
    }

    /// The first error of its vertices.
    pub(super) fn error(&self, vertices: &[Vertex]) -> Option<String> {
        self.members(vertices).find_map(|vertex| vertex.error.clone())
    }

    /// How long it ran; nothing where it came from a cache.
    pub(super) fn took(&self, vertices: &[Vertex]) -> Duration {
        if self.is_cached(vertices) {
            return Duration::ZERO;
        }
        union(self.members(vertices).flat_map(|v| v.runs.iter().filter_map(|(start, end)| Some((*start, (*end)?)))).into_vec())
    }

    /// When it began first.
    pub(super) fn started(&self, vertices: &[Vertex]) -> Option<SystemTime> {
        self.members(vertices).flat_map(|vertex| vertex.runs.iter().map(|(start, _)| *start)).min()
    }
}
