//! A terminal of a given size that keeps what it would show, what scrolled off included, and divides its lines anew as its width changes.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::super::screen::Size;

/// Cloning is cheap, and every clone is the same terminal.
#[derive(Clone)]
pub struct Vt(Arc<Mutex<State>>);

struct State {
    size: Size,
    lines: Vec<Line>,
    row: usize,
    column: usize,
    /// What does not fit a line goes on in the next; else it is lost.
    wraps: bool,
    escape: Option<String>,
    told: Vec<String>,
}

#[derive(Default, Clone)]
struct Line {
    cells: Vec<char>,
    /// It goes on in the next.
    wraps: bool,
}

impl Vt {
    pub fn new(columns: usize, rows: usize) -> Self {
        let lines = vec![Line::default()];
        Self(Arc::new(Mutex::new(State {
            size: Size { columns, rows },
            lines,
            row: 0,
            column: 0,
            wraps: true,
            escape: None,
            told: Vec::new(),
        })))
    }

    pub fn size(&self) -> Size {
        self.0.lock().unwrap().size
    }

    /// All lines, without what is empty at the end.
    pub fn text(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let mut lines: Vec<String> =
            state.lines.iter().map(|line| line.cells.iter().collect::<String>().trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// What was told the terminal itself: the contents of its OSC and CSI t sequences.
    pub fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().told.clone()
    }

    /// Somebody drags the window's corner.
    pub fn resize(&self, columns: usize, rows: usize) {
        let state = &mut *self.0.lock().unwrap();
        let (mut lines, mut row, mut column) = (Vec::new(), 0, 0);
        let mut at = 0;
        while at < state.lines.len() {
            let mut whole: Vec<char> = Vec::new();
            let mut cursor = None;
            loop {
                if at == state.row {
                    cursor = Some(whole.len() + state.column);
                }
                whole.extend(&state.lines[at].cells);
                at += 1;
                if at >= state.lines.len() || !state.lines[at - 1].wraps {
                    break;
                }
            }
            let first = lines.len();
            let count = whole.len().div_ceil(columns).max(1);
            for part in 0..count {
                let cells = whole.iter().skip(part * columns).take(columns).copied().collect();
                lines.push(Line { cells, wraps: part + 1 < count });
            }
            if let Some(cursor) = cursor {
                let part = (cursor / columns).min(count - 1);
                (row, column) = (first + part, (cursor - part * columns).min(columns));
            }
        }
        // What is empty below the cursor goes first.
        while lines.len() > row + 1 && lines.last().is_some_and(|line: &Line| line.cells.is_empty()) {
            lines.pop();
        }
        (state.lines, state.row, state.column, state.size) = (lines, row, column, Size { columns, rows });
    }
}

impl State {
    fn top(&self) -> usize {
        self.lines.len().saturating_sub(self.size.rows)
    }

    fn line(&mut self) -> &mut Line {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Line::default());
        }
        &mut self.lines[self.row]
    }

    fn put(&mut self, c: char) {
        match c {
            '\n' => {
                self.row += 1;
                self.line();
            }
            '\r' => self.column = 0,
            c => {
                // A terminal goes on in the next line only once there is something to put there.
                if self.column == self.size.columns && !self.wraps {
                    self.column -= 1;
                }
                if self.column == self.size.columns {
                    self.line().wraps = true;
                    (self.row, self.column) = (self.row + 1, 0);
                }
                let column = self.column;
                let line = self.line();
                if line.cells.len() <= column {
                    line.cells.resize(column + 1, ' ');
                }
                line.cells[column] = c;
                self.column += 1;
            }
        }
    }

    /// A whole escape sequence, without the escape character.
    fn obey(&mut self, sequence: &str) {
        let number = |default: usize| sequence[1..sequence.len() - 1].parse().unwrap_or(default);
        match (sequence.chars().next(), sequence.chars().last()) {
            (Some('['), Some('A')) => self.row = self.row.saturating_sub(number(1)).max(self.top()),
            (Some('['), Some('B')) => {
                self.row = (self.row + number(1)).min(self.lines.len().max(self.size.rows) - 1);
                self.line();
            }
            (Some('['), Some('K')) => {
                let from = if number(0) == 2 { 0 } else { self.column };
                let line = self.line();
                line.cells.truncate(from);
                line.wraps = false;
            }
            (Some('['), Some('J')) => {
                let column = self.column;
                self.line().cells.truncate(column);
                self.lines.truncate(self.row + 1);
            }
            (Some('['), Some('h' | 'l')) if sequence.starts_with("[?7") => self.wraps = sequence.ends_with('h'),
            (Some('['), Some('m')) => {}
            (Some('[' | ']'), _) => self.told.push(sequence.trim_end_matches(['\u{7}', '\\', '\u{1b}']).to_owned()),
            _ => panic!("the terminal does not know {sequence:?}"),
        }
    }

    fn take(&mut self, c: char) {
        let Some(mut sequence) = self.escape.take() else {
            if c == '\u{1b}' {
                self.escape = Some(String::new());
            } else {
                self.put(c);
            }
            return;
        };
        sequence.push(c);
        let is_whole = match sequence.chars().next() {
            Some('[') => sequence.len() > 1 && c.is_ascii_alphabetic(),
            Some(']') => c == '\u{7}' || sequence.ends_with("\u{1b}\\"),
            _ => true,
        };
        if is_whole {
            self.obey(&sequence);
        } else {
            self.escape = Some(sequence);
        }
    }
}

impl Write for Vt {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        String::from_utf8_lossy(bytes).chars().for_each(|c| state.take(c));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
