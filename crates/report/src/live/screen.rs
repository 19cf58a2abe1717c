//! The terminal that the live display is drawn on. indicatif fills each line up to the right edge, so that the terminal goes on in the next
//! by itself; a terminal that is made narrower or wider afterwards takes such lines for one, and divides it anew. Here every line ends for
//! itself, and a block that was drawn before the change is cleared by the rows that it takes now.

use std::fmt::{Debug, Formatter, Write as _};
use std::io::{Result, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use monoship_core::text;

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Cloning is cheap, and every clone is the same terminal.
#[derive(Clone)]
pub(super) struct Screen {
    state: Arc<Mutex<State>>,
}

struct State {
    out: Box<dyn Write + Send>,
    size: Box<dyn Fn() -> Size + Send>,
    /// Where the terminal divides lines anew as its width changes.
    reflows: bool,
    buffer: String,
    /// The cursor is at the end of a line that is whole: another begins below it.
    at_end: bool,
    /// indicatif writes each line in two: its text, and what fills it up.
    is_filler: bool,
}

impl Debug for Screen {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

impl Screen {
    pub(super) fn new(out: impl Write + Send + 'static, size: impl Fn() -> Size + Send + 'static, reflows: bool) -> Self {
        let state =
            State { out: Box::new(out), size: Box::new(size), reflows, buffer: String::new(), at_end: false, is_filler: false };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves a terminal that can still be written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn size(&self) -> Size {
        (self.lock().size)()
    }

    /// Clears a block of lines that were drawn when the terminal had another width; the cursor is at the end of the last.
    pub(super) fn erase(&self, lines: &[String]) {
        let mut state = self.lock();
        let columns = (state.size)().columns.max(1);
        let rows = |line: &String| if state.reflows { text::width(&text::clean(line)).div_ceil(columns).max(1) } else { 1 };
        let above = lines.iter().map(rows).sum::<usize>().saturating_sub(1);
        if !lines.is_empty() {
            // Row by row: tmux keeps what a whole screen is cleared of, and above it stands what the display has scrolled by.
            let _ = write!(state.buffer, "{}\r\x1b[2K", up(above));
            (0..above).for_each(|_| state.buffer.push_str("\x1b[1B\x1b[2K"));
            state.buffer.push_str(&up(above));
        }
        (state.at_end, state.is_filler) = (false, false);
        // Nobody looks any more: that is no reason to stop a build.
        let _ = state.flush();
    }

    /// Writes what moves no cursor: the window's title, the taskbar's progress.
    pub(super) fn signal(&self, sequence: &str) {
        let mut state = self.lock();
        state.buffer.push_str(sequence);
        let _ = state.flush();
    }
}

impl State {
    fn flush(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.buffer);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

fn up(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\x1b[{rows}A") }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(self.size().columns).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.size().rows).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> Result<()> {
        self.lock().buffer.push_str(&up(n));
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> Result<()> {
        if n > 0 {
            let _ = write!(self.lock().buffer, "\x1b[{n}B");
        }
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> Result<()> {
        Ok(())
    }

    fn write_line(&self, s: &str) -> Result<()> {
        let mut state = self.lock();
        let _ = write!(state.buffer, "{s}\r\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> Result<()> {
        let mut state = self.lock();
        if state.is_filler {
            // At the right edge it would clear the last character.
            if !s.is_empty() {
                state.buffer.push_str("\x1b[K");
            }
        } else {
            if state.at_end {
                state.buffer.push_str("\r\n");
            }
            let columns = (state.size)().columns;
            if text::width(&text::clean(s)) <= columns {
                // A terminal may be narrower already than it says: then the line is cut, and takes one row all the same.
                let _ = write!(state.buffer, "\x1b[?7l{s}\x1b[?7h");
            } else {
                state.buffer.push_str(s);
            }
            state.at_end = true;
        }
        state.is_filler = !state.is_filler;
        Ok(())
    }

    fn clear_line(&self) -> Result<()> {
        let mut state = self.lock();
        state.buffer.push_str("\r\x1b[2K");
        (state.at_end, state.is_filler) = (false, false);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.lock().flush()
    }
}
