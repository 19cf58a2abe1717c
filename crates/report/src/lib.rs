//! What a person sees while it runs and at its end. Reads events, never files; decides nothing.
//!
//! A [`Reporter`] owns one thread that turns events into a live display, into prefixed lines, or into JSON lines. Emitting an
//! event only puts it on a channel, so no build waits for a terminal.

mod board;
pub mod closing;
pub mod commands;
pub mod error;
mod grouped;
#[cfg(feature = "html")]
pub mod html;
pub mod job_summary;
pub mod layers;
mod live;
pub mod output;
mod plain;
pub mod record;
pub mod results;
pub mod stats;
pub mod step;
mod style;
pub mod summary;

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monoship_core::event::{Event, Events};

pub use live::{Signals, columns, columns_of_output};
pub use style::{Mode, Paint, Progress, Style, Terminal, colour};

/// How often the live display is redrawn, and how often plain output looks for tasks that have fallen silent.
const FRAME: Duration = Duration::from_millis(100);

enum Message {
    Event(Instant, Event),
    Finish,
}

/// Shows a run's events on a thread of its own.
pub struct Reporter {
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// One way of showing events.
trait Show {
    /// Takes in an event that happened at `now`.
    fn event(&mut self, now: Instant, event: Event);
    /// Called every [`FRAME`] and after each burst of events.
    fn tick(&mut self, now: Instant);
    /// The run is over: nothing unfinished may be left on the screen.
    fn finish(&mut self, now: Instant);
}

impl Reporter {
    /// Starts showing events as `style` says. `out` is standard error, except in tests; the live display draws on the terminal
    /// that standard error is.
    #[must_use]
    pub fn start(style: Style, out: impl Write + Send + 'static) -> Self {
        match style.mode {
            Mode::Live => Self::with(move || Box::new(live::Live::on_stderr(style.paint, style.terminal))),
            Mode::Grouped => Self::with(move || Box::new(grouped::Groups::new(style.paint, Box::new(out)))),
            mode => Self::with(move || Box::new(plain::Lines::new(mode, style.paint, live::columns(), Box::new(out)))),
        }
    }

    /// The display is made on the thread that owns it.
    fn with(show: impl FnOnce() -> Box<dyn Show> + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || run(&receiver, show().as_mut()));
        Self { sender, thread: Some(thread) }
    }

    /// Where a run's events go to be shown. Events emitted after [`Reporter::finish`] are lost.
    #[must_use]
    pub fn events(&self) -> Events {
        let sender = self.sender.clone();
        // A send fails only where the run has already been summed up; there is nobody left to tell.
        Events::new(move |event| drop(sender.send(Message::Event(Instant::now(), event))))
    }

    /// Shows what has been emitted so far, takes the live display away, and returns once all is written.
    pub fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Both fail only where the thread has panicked, and then its message is already on standard error.
        drop(self.sender.send(Message::Finish));
        drop(thread.join());
    }
}

/// So that an early return leaves a clean terminal too.
impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(receiver: &Receiver<Message>, show: &mut dyn Show) {
    loop {
        let mut next = receiver.recv_timeout(FRAME);
        loop {
            match next {
                Ok(Message::Event(at, event)) => show.event(at, event),
                Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => return show.finish(Instant::now()),
                Err(RecvTimeoutError::Timeout) => break,
            }
            next = receiver.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
        show.tick(Instant::now());
    }
}
