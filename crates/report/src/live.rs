//! The live display: one line for each running task, redrawn in place; whatever is over scrolls away above it as one line. So
//! the display is never higher than the tasks that run, and nothing that matters is ever overwritten.
//!
//! indicatif draws: it keeps the lines in place, clears and redraws them around what scrolls by, and bounds how often. Its multi-progress
//! has a bar for each task and redraws bar by bar; here one bar's message is the whole display, which [`Board`] puts together.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::{Board, Running};
use super::style::Paint;
use super::{Show, plain};
use monoship_core::event::Event;
use monoship_core::text;

/// Drawn in turn before the name of a running task.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// What is assumed where a terminal does not tell its size, as terminals have been since the VT100.
const DEFAULT_SIZE: Size = Size { columns: 80, rows: 24 };

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The live display on a terminal.
pub(super) struct Live {
    board: Board,
    paint: Paint,
    name_columns: usize,
    frame: usize,
    bar: ProgressBar,
    size: Box<dyn Fn() -> Size>,
}

impl Live {
    pub(super) fn on_stderr(paint: Paint) -> Self {
        let size = || {
            let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
            let size = size.map(|size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() });
            size.filter(|size| size.columns > 0 && size.rows > 0).unwrap_or(DEFAULT_SIZE)
        };
        Self::on(ProgressDrawTarget::stderr(), paint, Box::new(size))
    }

    fn on(target: ProgressDrawTarget, paint: Paint, size: Box<dyn Fn() -> Size>) -> Self {
        // One bar whose message is every line: the whole display changes in one write, so a resize cannot tear it apart.
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { board: Board::default(), paint, name_columns: plain::NAME_COLUMNS, frame: 0, bar, size }
    }

    fn draw(&mut self, now: Instant) {
        let lines = lines(&self.board, (self.size)(), self.name_columns, SPINNER[self.frame % SPINNER.len()], self.paint, now);
        self.bar.set_message(lines.join("\n"));
        self.bar.tick();
    }
}

impl Show for Live {
    fn event(&mut self, now: Instant, event: Event) {
        if let Event::Started { task, .. } = &event {
            self.name_columns = self.name_columns.max(text::width(&task.to_string()));
        }
        let over = self.board.event(now, &event);
        match &event {
            Event::Ended { task, status, took, digest } => {
                let steps = over.map_or((0, 0), |running| running.steps());
                let line = plain::ended(*status, *took, digest.as_ref(), steps, self.paint);
                let name = text::pad(&task.to_string(), self.name_columns);
                self.bar.println(format!("{} {} {line}", plain::mark(*status, self.paint), self.paint.strong(&name)));
            }
            Event::Notice { level, task, message, hint } => {
                for line in plain::notice(*level, task.as_ref(), message, hint.as_deref(), self.paint) {
                    self.bar.println(line);
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        self.frame += 1;
        self.draw(now);
    }

    fn finish(&mut self, _now: Instant) {
        self.bar.finish_and_clear();
    }
}

/// The display's lines: none longer than the terminal is wide, and at most as many as fit with one to spare.
fn lines(board: &Board, size: Size, name_columns: usize, spinner: &str, paint: Paint, now: Instant) -> Vec<String> {
    let room = size.rows.saturating_sub(1).max(1);
    let running = board.running();
    let shown = if running.len() > room { room - 1 } else { running.len() };
    // A line that fills the last column makes some terminals wrap.
    let columns = size.columns.saturating_sub(1);
    let mut lines: Vec<String> =
        running[..shown].iter().map(|task| line(task, columns, name_columns, spinner, paint, now)).collect();
    if shown < running.len() {
        lines.push(text::fit(&format!("  … and {} more", running.len() - shown), columns));
    }
    lines
}

/// `⠹ api      [build 2/4] RUN tsc            5/14, 3 cached  12.3s`; on a narrow terminal the counts go first, then the step.
fn line(task: &Running, columns: usize, name_columns: usize, spinner: &str, paint: Paint, now: Instant) -> String {
    let name = text::pad(&task.task.to_string(), name_columns);
    let time = text::pad_left(&text::duration(task.elapsed(now)), 7);
    let head = text::width(spinner) + 1 + text::width(&name) + 1;
    if columns < head + 8 + text::width(&time) {
        return text::fit(&format!("{spinner} {name}"), columns);
    }
    let mut room = columns - head - text::width(&time);
    let mut counts = task.counts();
    if room < text::width(&counts) + 24 {
        counts.clear();
    }
    room -= text::width(&counts) + 1;
    let what = text::pad(&text::fit(&task.what(), room), room);
    format!("{} {} {what} {}{}", paint.hint(spinner), paint.strong(&name), paint.faint(&counts), paint.faint(&time))
}

#[cfg(test)]
mod tests;
