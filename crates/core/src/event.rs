//! What a run says while it runs: plain data, emitted by whoever does the work, read by reporters and by the record. Whoever
//! emits never prints; whoever reads never decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{Digest, ServiceName, StageName};
use crate::secret::mask_in;
use crate::tool;

/// Something a run works on that has a line of its own in the progress display.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Bringing up the embedded engine, stand-ins included.
    Engine,
    /// The sparse checkout.
    Checkout,
    /// Making the plan.
    Plan,
    /// Filling a new builder's cache mounts.
    Restore,
    /// The shared base image.
    Base,
    /// One service's image.
    Service(ServiceName),
    /// Keeping what the cache mounts have that is new.
    Keep,
    /// Putting the version tags.
    Publish,
    /// The release's notes.
    Notes,
    /// A stage that the team added: over the whole run, or for one service's image.
    #[serde(untagged)]
    Stage(Stage),
}

/// A stage of a team's own, as a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stage {
    /// What the team calls it.
    pub stage: StageName,
    /// Whose image it works on; none where it is the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{}@{service}", self.stage),
            None => self.stage.fmt(f),
        }
    }
}

impl Task {
    /// What its files in a run's folder begin with. A service may be called as a task of ours is, and none begins so.
    #[must_use]
    pub fn file(&self) -> String {
        match self {
            Self::Service(_) | Self::Stage(_) => self.to_string(),
            _ => format!("_{self}"),
        }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Self::Stage(stage) = self {
            return f.pad(&stage.to_string());
        }
        f.pad(match self {
            Self::Engine => "engine",
            Self::Checkout => "checkout",
            Self::Plan => "plan",
            Self::Restore => "restore",
            Self::Base => "base",
            Self::Service(name) => name.as_str(),
            Self::Keep => "keep",
            Self::Publish => "publish",
            Self::Notes => "notes",
            Self::Stage(_) => unreachable!("shown above"),
        })
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The builder was called and succeeded.
    Built,
    /// Its inputs are unchanged and its image is there: nothing was called.
    #[serde(alias = "skipped")]
    Unchanged,
    /// Another task that is not a build is done (engine, checkout, publish, notes).
    Done,
    /// It failed.
    Failed,
    /// It was running when the run was stopped.
    Cancelled,
    /// It had not begun when the run was stopped, or what it needs failed.
    NotRun,
}

/// How serious a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something is not as it should be, and the run goes on.
    Warning,
}

/// How a build step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnd {
    /// Taken from a cache.
    Cached,
    /// Executed.
    Ran,
    /// Failed with BuildKit's message.
    Failed(String),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant's text says what its fields are")]
pub enum Event {
    /// What the run has before it: the services that are built, how many need nothing, and how long such a run usually takes.
    Foreseen { waiting: Vec<Task>, unchanged: usize, usual: Option<Duration> },
    /// A task begins; `title` says what it is about to do.
    Started { task: Task, title: String },
    /// What a task is doing right now, for the live display only; empty where that is over and nothing has followed. A task that has not
    /// started is shown for as long as it does something.
    Doing { task: Task, what: String },
    /// Bytes (or files) done of a total; `total` is 0 where it is not known.
    Amount { task: Task, done: u64, total: u64 },
    /// A Dockerfile step began. `name` is BuildKit's, for example `[api-build 2/4] RUN tsc`; `vertex` is the same in two builds that share
    /// the step, and empty where nobody knows.
    StepStarted { task: Task, name: String, vertex: String },
    /// A Dockerfile step ended; `cached` and `total` count the task's steps so far.
    StepEnded { task: Task, name: String, end: StepEnd, took: Duration, cached: usize, total: usize },
    /// A line of the builder's own progress stream, as it came. Only where somebody asked for it.
    Raw { task: Task, line: String },
    /// The builder is called with this command line. `log` is the file where that, and all that it writes, is kept.
    Called { task: Task, command: String, log: String },
    /// A line a child wrote.
    Log { task: Task, line: String },
    /// Something a person should know; `hint` says what to do.
    Notice { level: Level, task: Option<Task>, message: String, hint: Option<String> },
    /// A task is over. `digest` is the image's, where it made one.
    Ended { task: Task, status: Status, took: Duration, digest: Option<Digest> },
}

impl Event {
    /// Masks every text in it.
    fn mask(&mut self) {
        match self {
            Self::Started { title: text, .. }
            | Self::Doing { what: text, .. }
            | Self::StepStarted { name: text, .. }
            | Self::Called { command: text, .. }
            | Self::Raw { line: text, .. }
            | Self::Log { line: text, .. } => mask_in(text),
            Self::StepEnded { name, end, .. } => {
                mask_in(name);
                if let StepEnd::Failed(message) = end {
                    mask_in(message);
                }
            }
            Self::Notice { message, hint, .. } => {
                mask_in(message);
                hint.iter_mut().for_each(mask_in);
            }
            Self::Foreseen { .. } | Self::Amount { .. } | Self::Ended { .. } => {}
        }
    }
}

/// Where events go. Cloning is cheap; every clone feeds the same readers.
#[derive(Clone)]
pub struct Events {
    sink: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Events {
    /// Hands every event to `sink`, from whichever thread emits it.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink) }
    }

    /// Nobody listens.
    #[must_use]
    pub fn none() -> Self {
        Self::new(drop)
    }

    /// Emits one event, its secrets masked: whoever listens may write it down.
    pub fn emit(&self, mut event: Event) {
        event.mask();
        (self.sink)(event);
    }

    /// Emits a notice.
    pub fn notice(&self, level: Level, task: Option<Task>, message: impl Into<String>, hint: Option<String>) {
        let hint = hint.map(|hint| tool::named(&hint).into_owned());
        self.emit(Event::Notice { level, task, message: tool::named(&message.into()).into_owned(), hint });
    }

    /// Does a task's work between its two events. The work's error is the task's failure.
    ///
    /// # Errors
    /// The work's.
    pub fn during<T>(&self, task: &Task, title: impl Into<String>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        self.emit(Event::Started { task: task.clone(), title: title.into() });
        let done = work();
        let status = match &done {
            Ok(_) => Status::Done,
            Err(error) if error.is_cancelled() => Status::Cancelled,
            Err(_) => Status::Failed,
        };
        self.emit(Event::Ended { task: task.clone(), status, took: started.elapsed(), digest: None });
        done
    }

    /// Says what a task is doing right now.
    pub fn doing(&self, task: &Task, what: impl Into<String>) {
        self.emit(Event::Doing { task: task.clone(), what: what.into() });
    }
}
