//! What every task is doing, as far as events told: the state behind the live display and behind plain heartbeats. Pure.

use std::time::{Duration, Instant};

use super::step;
use monoship_core::event::{Event, Status, Task};
use monoship_core::text;

/// A task that has told nothing for this long may hang, and that is said.
pub(super) const QUIET: Duration = Duration::from_secs(30);

/// The tasks that are running, in the order they began, and what the run has before and behind it.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// When the first event came.
    since: Option<Instant>,
    running: Vec<Running>,
    whole: Option<Whole>,
}

/// The run as a whole: what becomes of its services.
#[derive(Debug)]
pub(super) struct Whole {
    since: Instant,
    /// The services that have not begun.
    pub(super) waiting: Vec<Task>,
    /// How many are built in all.
    pub(super) total: usize,
    pub(super) built: usize,
    pub(super) failed: usize,
    pub(super) unchanged: usize,
    pub(super) usual: Option<Duration>,
}

/// One running task.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: Task,
    pub(super) since: Instant,
    is_started: bool,
    what: String,
    amount: Option<(u64, u64)>,
    steps: Vec<Step>,
    ended: Vec<String>,
    cached: usize,
    total: usize,
    /// When it last told anything.
    heard: Instant,
    /// The last line that it wrote.
    wrote: Option<String>,
}

/// A step that runs.
#[derive(Debug)]
struct Step {
    name: String,
    vertex: String,
    since: Instant,
}

/// A line of the display: a running task, and those that wait for the same step.
pub(super) struct Row<'b> {
    pub(super) running: &'b Running,
    pub(super) with: Vec<&'b Task>,
}

impl Board {
    /// Takes in an event that happened at `now`. A task that ended is handed back with what was known of it.
    pub(super) fn event(&mut self, now: Instant, event: &Event) -> Option<Running> {
        let since = *self.since.get_or_insert(now);
        match event {
            Event::Foreseen { waiting, unchanged, usual } => {
                let (waiting, total) = (waiting.clone(), waiting.len());
                self.whole = Some(Whole { since, waiting, total, built: 0, failed: 0, unchanged: *unchanged, usual: *usual });
            }
            Event::Started { task, title } => {
                if let Some(whole) = &mut self.whole {
                    whole.waiting.retain(|waiting| waiting != task);
                }
                let running = self.task(now, task);
                running.is_started = true;
                running.set(title);
            }
            Event::Doing { task, what } => {
                let running = self.task(now, task);
                running.set(what);
                // What only did something for a moment will have no end.
                if what.is_empty() && !running.is_started {
                    self.running.retain(|running| running.task != *task);
                }
            }
            Event::Amount { task, done, total } => self.task(now, task).amount = Some((*done, *total)),
            Event::StepStarted { task, name, vertex } => self.task(now, task).step_started(now, name, vertex),
            Event::StepEnded { task, name, cached, total, .. } => {
                let running = self.task(now, task);
                running.step_ended(name);
                (running.cached, running.total) = (*cached, *total);
            }
            Event::Log { task, line } => {
                let line = text::clean(line);
                let running = self.task(now, task);
                if !line.trim().is_empty() {
                    running.wrote = Some(line);
                }
            }
            Event::Ended { task, status, .. } => {
                self.count(task, *status);
                let index = self.running.iter().position(|running| running.task == *task)?;
                return Some(self.running.remove(index));
            }
            Event::Called { .. } | Event::Raw { .. } | Event::Notice { .. } => {}
        }
        None
    }

    fn count(&mut self, task: &Task, status: Status) {
        let Some(whole) = self.whole.as_mut().filter(|_| matches!(task, Task::Service(_))) else { return };
        match status {
            Status::Built => whole.built += 1,
            Status::Failed => whole.failed += 1,
            Status::Unchanged | Status::Done | Status::Cancelled | Status::NotRun => {}
        }
    }

    fn task(&mut self, now: Instant, task: &Task) -> &mut Running {
        let index = self.running.iter().position(|running| running.task == *task).unwrap_or_else(|| {
            self.running.push(Running::new(task.clone(), now));
            self.running.len() - 1
        });
        let running = &mut self.running[index];
        running.heard = now;
        running
    }

    pub(super) fn running(&self) -> &[Running] {
        &self.running
    }

    /// The run as a whole, from the moment that something is known to be built.
    pub(super) fn whole(&self) -> Option<&Whole> {
        self.whole.as_ref().filter(|whole| whole.total > 0)
    }

    /// The running tasks as they are shown: a step that several wait for stands once, with whoever began it first.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for running in &self.running {
            let shared = running.steps.last().filter(|step| !step.vertex.is_empty());
            let at = |row: &&mut Row<'_>| {
                let there = row.running.steps.last();
                shared.zip(there).is_some_and(|(step, there)| step.vertex == there.vertex)
            };
            match rows.iter_mut().find(at) {
                Some(row) => row.with.push(&running.task),
                None => rows.push(Row { running, with: Vec::new() }),
            }
        }
        rows
    }

    /// The task whose step runs longest of those that have written something.
    pub(super) fn slowest(&self) -> Option<&Running> {
        let wrote = self.running.iter().filter(|running| running.wrote.is_some() && !running.steps.is_empty());
        wrote.min_by_key(|running| running.steps.last().map(|step| step.since))
    }
}

impl Whole {
    /// How many services are under way.
    pub(super) fn running(&self) -> usize {
        self.total.saturating_sub(self.built + self.failed + self.waiting.len())
    }

    /// How many are over.
    pub(super) fn over(&self) -> usize {
        self.built + self.failed
    }

    /// How long since the run began.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// `1/4 built · 2 running · 1 waiting · 12.3s, usually 35s`.
    pub(super) fn text(&self, now: Instant) -> String {
        let mut parts = vec![format!("{}/{} built", self.built, self.total)];
        let counts = [
            (self.failed, "failed"),
            (self.running(), "running"),
            (self.waiting.len(), "waiting"),
            (self.unchanged, "unchanged"),
        ];
        parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")));
        let usual = self.usual.map(|usual| format!(", usually {}", text::about(usual))).unwrap_or_default();
        parts.push(format!("{}{usual}", text::duration(self.elapsed(now))));
        parts.join(" · ")
    }
}

impl Running {
    fn new(task: Task, since: Instant) -> Self {
        Self {
            task,
            since,
            is_started: false,
            what: String::new(),
            amount: None,
            steps: Vec::new(),
            ended: Vec::new(),
            cached: 0,
            total: 0,
            heard: since,
            wrote: None,
        }
    }

    fn set(&mut self, what: &str) {
        self.what = text::clean(what);
        self.amount = None;
    }

    fn step_started(&mut self, now: Instant, name: &str, vertex: &str) {
        self.amount = None;
        self.wrote = None;
        self.steps.retain(|step| step.name != name);
        self.steps.push(Step { name: name.to_owned(), vertex: vertex.to_owned(), since: now });
    }

    fn step_ended(&mut self, name: &str) {
        self.steps.retain(|step| step.name != name);
        if !self.ended.iter().any(|step| step == name) {
            self.ended.push(name.to_owned());
        }
    }

    /// What it is doing, in at most `columns` columns: its newest step that still runs, with how long that has run, else what it last said,
    /// with the amount done. `more` is said after it, and never cut.
    pub(super) fn what(&self, now: Instant, columns: usize, more: &str) -> String {
        let mut tail = String::new();
        if let Some(step) = self.steps.last() {
            tail = format!(" {}", text::duration(now.saturating_duration_since(step.since)));
            if self.steps.len() > 1 {
                tail = format!("{tail}, and {} more", self.steps.len() - 1);
            }
        } else if let Some(amount) = self.amount {
            tail = format!(" {}", amount_text(amount));
        }
        if let Some(quiet) = self.quiet(now) {
            tail = format!("{tail}, {quiet}");
        }
        tail.push_str(more);
        let room = columns.saturating_sub(text::width(&tail));
        let said = match self.steps.last() {
            Some(step) => step::fit(&step.name, room),
            None if self.what.is_empty() => text::fit("waiting for the builder", room),
            None => text::fit(&self.what, room),
        };
        text::fit(&(said + &tail), columns)
    }

    /// `no output for 40s`, where it has told nothing for so long that it may hang.
    pub(super) fn quiet(&self, now: Instant) -> Option<String> {
        let quiet = now.saturating_duration_since(self.heard);
        (quiet >= QUIET).then(|| format!("no output for {}", text::age(quiet)))
    }

    /// The last line that it wrote.
    pub(super) fn wrote(&self) -> Option<&str> {
        self.wrote.as_deref()
    }

    /// `5/14`: the steps that are over, of those known; empty for what has no steps.
    pub(super) fn counts(&self) -> String {
        match self.total {
            0 => String::new(),
            total => format!("{}/{total}", self.ended.len()),
        }
    }

    /// Steps taken from a cache, and all steps.
    pub(super) fn steps(&self) -> (usize, usize) {
        (self.cached, self.total)
    }

    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// `12.3 MB of 45.6 MB`, or what is known of it.
fn amount_text((done, total): (u64, u64)) -> String {
    match total {
        0 => text::bytes(done),
        total => format!("{} of {}", text::bytes(done), text::bytes(total)),
    }
}
