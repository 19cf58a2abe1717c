//! buildx's `--progress=rawjson` stream, read line by line: [`Solve`] turns it into events while it runs and into a
//! [`Solved`] at its end. Pure: the process is run elsewhere, nothing is printed or written here.
//!
//! Source of the format: BuildKit's `client.SolveStatus` (`client/graph.go`), one value a line since buildx 0.14, spread over
//! many lines by buildx 0.12 and 0.13. The stream shares standard error with plain text: where a build fails, an excerpt of
//! the Dockerfile and `ERROR: …` follow.

mod failure;
mod framing;
mod solved;
mod step;
mod vertex;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use monoship_core::event::{Event, StepEnd, Task};
use monoship_core::text;

pub use failure::{Excerpt, Failure, Lost};
pub use solved::{CacheTransfer, Phase, PhaseKind, Solved, Step, Warning, has_cache_mount};

use framing::{Frame, Framing};
use step::StepState;
use vertex::{Kind, Vertex};

/// How many plain lines are kept, from the end. An excerpt and an error are far shorter.
const TEXT_LINES: usize = 200;

/// A plain line longer than this is cut; an error quotes the whole instruction it is about, and that may be a long one.
const TEXT_BYTES: usize = 16_000;

/// A step that runs again (BuildKit computes a cache key, then executes) is reported again only if it took this much longer.
const REPORT_AGAIN: Duration = Duration::from_millis(100);

/// One build's progress. Feed every line of standard error to [`Solve::line`], then call [`Solve::finish`].
///
/// Nothing in the stream can make it fail or panic; memory is bounded by the number of steps, not by what they log.
pub struct Solve {
    task: Task,
    raw: bool,
    framing: Framing,
    vertices: Vec<Vertex>,
    by_digest: HashMap<String, usize>,
    steps: Vec<StepState>,
    by_step: HashMap<String, usize>,
    /// The vertex that was last told of as what is being done, for as long as it runs.
    told: Option<usize>,
    warnings: Vec<Warning>,
    text: VecDeque<String>,
}

impl Solve {
    /// A build whose events belong to `task`.
    #[must_use]
    pub fn new(task: Task) -> Self {
        Self {
            task,
            raw: false,
            framing: Framing::default(),
            vertices: Vec::new(),
            by_digest: HashMap::new(),
            steps: Vec::new(),
            by_step: HashMap::new(),
            told: None,
            warnings: Vec::new(),
            text: VecDeque::new(),
        }
    }

    /// Also emits every line as [`Event::Raw`], for `--progress=rawjson` and for keeping the stream.
    #[must_use]
    pub fn with_raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Takes one line, without its end, and says what it means.
    pub fn line(&mut self, line: &str) -> Vec<Event> {
        let mut events = Vec::new();
        match self.framing.push(line) {
            Frame::Incomplete => {}
            Frame::Status(status, raw) => {
                self.emit_raw(&raw, &mut events);
                self.status(status, &mut events);
            }
            Frame::Text(lines) => lines.iter().for_each(|line| self.plain(line, &mut events)),
        }
        events
    }

    fn emit_raw(&self, line: &str, events: &mut Vec<Event>) {
        if self.raw {
            events.push(Event::Raw { task: self.task.clone(), line: line.to_owned() });
        }
    }

    fn plain(&mut self, line: &str, events: &mut Vec<Event>) {
        self.emit_raw(line, events);
        let line = self.keep_text(line);
        if !line.is_empty() {
            events.push(Event::Log { task: self.task.clone(), line });
        }
    }

    /// Keeps the line, cleaned, among the last ones.
    fn keep_text(&mut self, line: &str) -> String {
        if self.text.len() == TEXT_LINES {
            self.text.pop_front();
        }
        let line = text::clean(&line[..line.floor_char_boundary(TEXT_BYTES)]);
        self.text.push_back(line.clone());
        line
    }

    fn status(&mut self, status: wire::Status, events: &mut Vec<Event>) {
        for vertex in status.vertexes {
            let index = self.vertex(&vertex.digest);
            let was_running = self.vertices[index].is_running();
            let step = self.step_of(index, &vertex);
            self.vertices[index].update(vertex);
            match step {
                Some(step) => self.step_changed(step, events),
                None if !was_running && self.vertices[index].is_running() => self.doing(index, events),
                None if was_running && self.told == Some(index) && !self.vertices[index].is_running() => self.done_with(events),
                None => {}
            }
        }
        for status in status.statuses {
            let index = self.vertex(&status.vertex);
            if let Some(phase) = self.vertices[index].status(&status) {
                self.told = Some(index);
                events.push(Event::Doing { task: self.task.clone(), what: phase });
            }
            if let Some((done, total)) = self.vertices[index].amount(&status) {
                events.push(Event::Amount { task: self.task.clone(), done, total });
            }
        }
        for log in status.logs {
            let index = self.vertex(&log.vertex);
            for line in self.vertices[index].log(&log) {
                events.push(Event::Log { task: self.task.clone(), line });
            }
        }
        self.warnings.extend(status.warnings.into_iter().map(Warning::from));
    }

    fn vertex(&mut self, digest: &str) -> usize {
        if let Some(index) = self.by_digest.get(digest) {
            return *index;
        }
        self.vertices.push(Vertex::default());
        self.by_digest.insert(digest.to_owned(), self.vertices.len() - 1);
        self.vertices.len() - 1
    }

    /// The step that a vertex belongs to, made where it is first named. `COPY --link` is two vertices and one step, held
    /// together by their progress group.
    fn step_of(&mut self, index: usize, vertex: &wire::Vertex) -> Option<usize> {
        if let Some(step) = self.vertices[index].step {
            return Some(step);
        }
        let Kind::Step = vertex::kind_of(&vertex.name) else { return None };
        let (key, name) = match &vertex.progress_group {
            Some(group) if !group.id.is_empty() => (group.id.clone(), group.name.clone()),
            _ => (vertex.digest.clone(), vertex.name.clone()),
        };
        let next = self.steps.len();
        let step = *self.by_step.entry(key.clone()).or_insert(next);
        if step == next {
            self.steps.push(StepState::new(&name, key));
        }
        self.steps[step].members.push(index);
        self.vertices[index].step = Some(step);
        Some(step)
    }

    fn doing(&mut self, index: usize, events: &mut Vec<Event>) {
        if let Some(what) = self.vertices[index].doing() {
            self.told = Some(index);
            events.push(Event::Doing { task: self.task.clone(), what });
        }
    }

    /// What was told of is over: what else still runs is told of, or that nothing does.
    fn done_with(&mut self, events: &mut Vec<Event>) {
        let mut running = (0..self.vertices.len()).rev().filter(|index| self.vertices[*index].is_running());
        let next = running.find_map(|index| Some((index, self.vertices[index].doing()?)));
        self.told = next.as_ref().map(|(index, _)| *index);
        events.push(Event::Doing { task: self.task.clone(), what: next.map_or_else(String::new, |(_, what)| what) });
    }

    fn step_changed(&mut self, index: usize, events: &mut Vec<Event>) {
        let step = &self.steps[index];
        let outcome = step.outcome(&self.vertices);
        let took = step.took(&self.vertices);
        let (task, name, vertex) = (self.task.clone(), step.name.clone(), step.key.clone());
        let Some(end) = outcome else {
            if !step.started_reported && step.runs_uncached(&self.vertices) {
                self.steps[index].started_reported = true;
                events.push(Event::StepStarted { task, name, vertex });
            }
            return;
        };
        let news = match &step.reported {
            None => true,
            Some((reported, before)) => *reported != end || took >= *before + REPORT_AGAIN,
        };
        if news {
            if !step.started_reported && end != StepEnd::Cached {
                events.push(Event::StepStarted { task: task.clone(), name: name.clone(), vertex });
            }
            let step = &mut self.steps[index];
            step.started_reported = true;
            step.reported = Some((end.clone(), took));
            let (cached, total) = self.counts();
            events.push(Event::StepEnded { task, name, end, took, cached, total });
        }
    }

    /// Steps taken from a cache so far, and steps known so far.
    fn counts(&self) -> (usize, usize) {
        let cached = |step: &&StepState| matches!(step.reported, Some((StepEnd::Cached, _)));
        (self.steps.iter().filter(cached).count(), self.steps.len())
    }
}

#[cfg(test)]
mod tests;
