//! Lines to values. A status is one line, or, from buildx 0.12 and 0.13, an indented object over many; anything else is text.

use super::wire::Status;

/// A status that grows beyond this is given up and shown as text.
const MAX_BYTES: usize = 16 << 20;

/// What one more line completed.
pub(super) enum Frame {
    /// A value's first lines; more follow.
    Incomplete,
    /// A status, and its JSON on one line.
    Status(Status, String),
    /// Lines that are no JSON. More than one where an object was begun and turned out to be none.
    Text(Vec<String>),
}

/// The lines of an object that has not ended.
#[derive(Default)]
pub(super) struct Framing {
    lines: Vec<String>,
    bytes: usize,
}

impl Framing {
    pub(super) fn push(&mut self, line: &str) -> Frame {
        let line = line.trim_end_matches('\r');
        if self.lines.is_empty() {
            return match line {
                "{" => self.keep(line),
                _ if line.starts_with('{') => one(line),
                _ => Frame::Text(vec![line.to_owned()]),
            };
        }
        let frame = self.keep(line);
        // The indented form's own closing brace is the only one in the first column; text inside it would be indented.
        let inside = line.starts_with("  ");
        if line == "}" {
            let object: String = self.take().iter().map(|line| line.trim()).collect();
            return one(&object);
        }
        if inside && self.bytes <= MAX_BYTES { frame } else { Frame::Text(self.take()) }
    }

    /// What was begun and never ended.
    pub(super) fn rest(&mut self) -> Vec<String> {
        self.take()
    }

    fn keep(&mut self, line: &str) -> Frame {
        self.bytes += line.len();
        self.lines.push(line.to_owned());
        Frame::Incomplete
    }

    fn take(&mut self) -> Vec<String> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }
}

fn one(line: &str) -> Frame {
    match serde_json::from_str(line) {
        Ok(status) => Frame::Status(status, line.to_owned()),
        Err(_) => Frame::Text(vec![line.to_owned()]),
    }
}
