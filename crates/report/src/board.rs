//! What every task is doing, as far as events told: the state behind the live display and behind plain heartbeats. Pure.

use std::time::{Duration, Instant};

use monoship_core::event::{Event, Task};
use monoship_core::text;

/// The tasks that are running, in the order they began.
#[derive(Debug, Default)]
pub(super) struct Board {
    running: Vec<Running>,
}

/// One running task.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: Task,
    pub(super) since: Instant,
    what: String,
    amount: Option<(u64, u64)>,
    steps: Vec<String>,
    ended: Vec<String>,
    cached: usize,
    total: usize,
}

impl Board {
    /// Takes in an event that happened at `now`. A task that ended is handed back with what was known of it.
    pub(super) fn event(&mut self, now: Instant, event: &Event) -> Option<Running> {
        match event {
            Event::Started { task, title } => self.task(now, task).set(title),
            Event::Doing { task, what } => self.task(now, task).set(what),
            Event::Amount { task, done, total } => self.task(now, task).amount = Some((*done, *total)),
            Event::StepStarted { task, name } => self.task(now, task).step_started(name),
            Event::StepEnded { task, name, cached, total, .. } => {
                let running = self.task(now, task);
                running.step_ended(name);
                (running.cached, running.total) = (*cached, *total);
            }
            Event::Ended { task, .. } => {
                let index = self.running.iter().position(|running| running.task == *task)?;
                return Some(self.running.remove(index));
            }
            Event::Raw { .. } | Event::Log { .. } | Event::Notice { .. } => {}
        }
        None
    }

    fn task(&mut self, now: Instant, task: &Task) -> &mut Running {
        let index = self.running.iter().position(|running| running.task == *task).unwrap_or_else(|| {
            self.running.push(Running::new(task.clone(), now));
            self.running.len() - 1
        });
        &mut self.running[index]
    }

    pub(super) fn running(&self) -> &[Running] {
        &self.running
    }
}

impl Running {
    fn new(task: Task, since: Instant) -> Self {
        Self { task, since, what: String::new(), amount: None, steps: Vec::new(), ended: Vec::new(), cached: 0, total: 0 }
    }

    fn set(&mut self, what: &str) {
        self.what = text::clean(what);
        self.amount = None;
    }

    fn step_started(&mut self, name: &str) {
        self.amount = None;
        self.steps.retain(|step| step != name);
        self.steps.push(name.to_owned());
    }

    fn step_ended(&mut self, name: &str) {
        self.steps.retain(|step| step != name);
        if !self.ended.iter().any(|step| step == name) {
            self.ended.push(name.to_owned());
        }
    }

    /// What it is doing: its newest step that still runs, else what it last said, with the amount done.
    pub(super) fn what(&self) -> String {
        let Some(step) = self.steps.last() else {
            return match self.amount {
                Some(amount) => format!("{} {}", self.what, amount_text(amount)),
                None => self.what.clone(),
            };
        };
        let step = text::clean(step);
        match self.steps.len() {
            1 => step,
            more => format!("{step} (and {} more)", more - 1),
        }
    }

    /// `5/14, 3 cached`; empty for what has no steps.
    pub(super) fn counts(&self) -> String {
        match self.total {
            0 => String::new(),
            total => format!("{}/{total}, {} cached", self.ended.len(), self.cached),
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
