//! The live display: one line for each running task and one for the whole, redrawn in place; whatever is over scrolls away above as one
//! line. So the display is hardly higher than the tasks that run, and nothing that matters is ever overwritten.
//!
//! indicatif draws: it clears and redraws the display around what scrolls by. Its multi-progress has a bar for each task and redraws bar by
//! bar; here one bar's message is the whole display, which [`Board`] puts together.

mod screen;
mod signal;

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::{Board, Row};
use super::style::{Paint, Terminal};
use super::{Show, plain};
use crate::output;
use monoship_core::collect::Collect as _;
use monoship_core::event::Event;
use monoship_core::text;
use screen::{Screen, Size};
pub use signal::Signals;

/// Drawn in turn before the name of a running task.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// What is assumed where a terminal does not tell its size, as terminals have been since the VT100.
const DEFAULT_SIZE: Size = Size { columns: 80, rows: 24 };

/// Nobody sees more than this; bursts of events would have it redrawn a thousand times a second.
const BETWEEN: Duration = Duration::from_millis(50);

/// A terminal narrower than this has no room for counts.
const WIDE: usize = 60;

/// The live display on a terminal.
pub(super) struct Live {
    board: Board,
    paint: Paint,
    signals: Signals,
    told: signal::Told,
    name_columns: usize,
    frame: usize,
    bar: ProgressBar,
    screen: Screen,
    /// What is on the screen, the terminal's size as it was drawn, and when that was.
    drawn: (Vec<String>, Size, Option<Instant>),
}

/// The terminal's columns, where standard error is one.
#[must_use]
pub fn columns() -> Option<usize> {
    size_of_stderr().map(|size| size.columns)
}

/// The terminal's columns, where standard output is one.
#[must_use]
pub fn columns_of_output() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn size_of_stderr() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let size = size.map(|size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() });
    size.filter(|size| size.columns > 0 && size.rows > 0)
}

impl Live {
    pub(super) fn on_stderr(paint: Paint, terminal: Terminal) -> Self {
        let screen = Screen::new(output::err(), || size_of_stderr().unwrap_or(DEFAULT_SIZE), terminal.reflows);
        Self::on(screen, paint, terminal.signals)
    }

    fn on(screen: Screen, paint: Paint, signals: Signals) -> Self {
        // One bar whose message is every line: the whole display changes in one write.
        let bar = ProgressBar::with_draw_target(None, target(&screen));
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let drawn = (Vec::new(), screen.size(), None);
        let (board, told) = (Board::default(), signal::Told::default());
        Self { board, paint, signals, told, name_columns: plain::NAME_COLUMNS, frame: 0, bar, screen, drawn }
    }

    /// Takes away what was drawn for another width of the terminal.
    fn settle(&mut self) {
        let size = self.screen.size();
        if size != self.drawn.1 {
            self.screen.erase(&std::mem::take(&mut self.drawn.0));
            // A new target knows of no lines.
            self.bar.set_draw_target(target(&self.screen));
            self.bar.set_message("");
            self.drawn.1 = size;
        }
    }

    fn draw(&mut self, now: Instant) {
        self.settle();
        let lines = lines(&self.board, self.drawn.1, self.name_columns, SPINNER[self.frame % SPINNER.len()], self.paint, now);
        self.bar.set_message(lines.join("\n"));
        (self.drawn.0, self.drawn.2) = (lines, Some(now));
        if let Some(whole) = self.board.whole() {
            let news = self.told.now(self.signals, whole, now);
            if !news.is_empty() {
                self.screen.signal(&news);
            }
        }
    }
}

fn target(screen: &Screen) -> ProgressDrawTarget {
    ProgressDrawTarget::term_like(Box::new(screen.clone()))
}

impl Show for Live {
    fn event(&mut self, now: Instant, event: Event) {
        if let Event::Started { task, .. } = &event {
            self.name_columns = self.name_columns.max(text::width(&task.to_string()));
        }
        let over = self.board.event(now, &event);
        match &event {
            Event::Ended { task, status, took, digest } => {
                self.settle();
                let steps = over.map_or((0, 0), |running| running.steps());
                let line = plain::ended(*status, *took, digest.as_ref(), steps, self.paint);
                let name = text::pad(&task.to_string(), self.name_columns);
                self.bar.println(format!("{} {} {line}", plain::mark(*status, self.paint), self.paint.strong(&name)));
            }
            Event::Notice { level, task, message, hint } => {
                self.settle();
                let columns = self.drawn.1.columns;
                for line in plain::notice(*level, task.as_ref(), message, hint.as_deref(), self.paint, Some(columns)) {
                    self.bar.println(line);
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.drawn.2.is_some_and(|drawn| now.saturating_duration_since(drawn) < BETWEEN) {
            return;
        }
        self.frame += 1;
        self.draw(now);
    }

    fn finish(&mut self, _now: Instant) {
        self.settle();
        self.bar.finish_and_clear();
        let end = self.told.end(self.signals);
        if !end.is_empty() {
            self.screen.signal(&end);
        }
    }
}

/// The display's lines: none longer than the terminal is wide, and at most as many as fit with one to spare.
fn lines(board: &Board, size: Size, name_columns: usize, spinner: &str, paint: Paint, now: Instant) -> Vec<String> {
    // A line that fills the last column makes some terminals wrap.
    let columns = size.columns.saturating_sub(1);
    let whole = board.whole();
    let room = size.rows.saturating_sub(1).max(1);
    let for_rows = room - usize::from(whole.is_some());
    let rows = board.rows();
    let shown = if rows.len() > for_rows { for_rows.saturating_sub(1) } else { rows.len() };
    let mut spare = for_rows.saturating_sub(rows.len());
    let mut take = |wanted: bool| {
        let is_room = wanted && spare > 0;
        spare -= usize::from(is_room);
        is_room
    };
    let waiting = whole.filter(|whole| !whole.waiting.is_empty() && take(true));
    let slowest = board.slowest().filter(|_| take(true));
    let indent = " ".repeat(name_columns + 3);
    let mut lines = Vec::new();
    for row in &rows[..shown] {
        lines.push(line(row, columns, name_columns, spinner, paint, now));
        if let Some(wrote) = slowest.filter(|slowest| slowest.task == row.running.task).and_then(|slowest| slowest.wrote()) {
            lines.push(paint.faint(&text::fit(&format!("{indent}│ {wrote}"), columns)));
        }
    }
    if shown < rows.len() && for_rows > 0 {
        lines.push(text::fit(&format!("  … and {} more", rows.len() - shown), columns));
    }
    if let Some(whole) = waiting {
        let names: Vec<String> = whole.waiting.iter().map(ToString::to_string).into_vec();
        lines.push(paint.faint(&text::fit(&format!("  {} {}", text::pad("waiting", name_columns), names.join(", ")), columns)));
    }
    if let Some(whole) = whole {
        lines.push(paint.strong(&text::fit(&format!("  {}", whole.text(now)), columns)));
    }
    lines
}

/// `⠹ api         12.3s   5/14 [build 2/4] RUN tsc 3.1s`: what is long comes last, so that a line is no wider than it must be. On a narrow
/// terminal the counts go first, then the step.
fn line(row: &Row<'_>, columns: usize, name_columns: usize, spinner: &str, paint: Paint, now: Instant) -> String {
    let task = row.running;
    let name = text::pad(&task.task.to_string(), name_columns);
    let time = text::pad_left(&text::duration(task.elapsed(now)), 7);
    let counts = if columns < WIDE { String::new() } else { text::pad_left(&task.counts(), 6) };
    let head = text::width(spinner) + 1 + text::width(&name) + text::width(&time) + text::width(&counts) + 1;
    let Some(room) = columns.checked_sub(head).filter(|room| *room >= 8) else {
        return text::fit(&format!("{spinner} {}", name.trim_end()), columns);
    };
    let what = task.what(now, room, &waiters(&row.with, room / 2));
    let what = if task.quiet(now).is_some() { paint.warning(&what) } else { what };
    format!("{} {}{}{} {what}", paint.hint(spinner), paint.strong(&name), paint.faint(&time), paint.faint(&counts))
}

/// `, for api and web too`, or how many where the names are too long.
fn waiters(with: &[&monoship_core::event::Task], columns: usize) -> String {
    if with.is_empty() {
        return String::new();
    }
    let names: Vec<String> = with.iter().map(ToString::to_string).into_vec();
    let named = format!(", for {} too", names.join(", "));
    if text::width(&named) <= columns { named } else { format!(", for {} more", with.len()) }
}

#[cfg(test)]
mod tests;
