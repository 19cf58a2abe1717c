//! Which part of a lock's file is the lock. pnpm 11 and later may put a document of their own (`configDependencies`,
//! `packageManagerDependencies`) before it; tools and merges leave comments, a mark of the byte order, or an empty document. All of that is
//! kept byte for byte. Nothing here knows what a key means.

use std::borrow::Cow;

use super::scan::line_number;
use super::{Refusal, Span};

/// How a file is written, beside its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// Lines end by a carriage return and a line feed, as git may write them on checkout (`core.autocrlf`), in place of a line feed, as pnpm
    /// writes them.
    returns: bool,
    /// A byte order mark stands before all, which editors put there and pnpm takes off.
    mark: bool,
}

/// The byte order mark.
const MARK: char = '\u{feff}';

impl Ends {
    /// The text with line feeds only, and how it was written. Of a file with both line ends, those with a carriage return are not told apart:
    /// every reader of YAML takes the two for the same (YAML 1.2, 5.4).
    ///
    /// # Errors
    /// A carriage return elsewhere than at the end of a line.
    pub(super) fn take(text: &str) -> Result<(Cow<'_, str>, Self), Refusal> {
        let bare = text.strip_prefix(MARK).unwrap_or(text);
        let mark = bare.len() < text.len();
        if memchr::memchr(b'\r', bare.as_bytes()).is_none() {
            return Ok((Cow::Borrowed(bare), Self { returns: false, mark }));
        }
        let plain = bare.replace("\r\n", "\n");
        if let Some(at) = plain.find('\r') {
            return Err(Refusal {
                line: line_number(&plain, at),
                reason: "a carriage return within a line".to_owned(),
                broken: false,
            });
        }
        let feeds = memchr::memchr_iter(b'\n', plain.as_bytes()).count();
        let returns = bare.len() - plain.len() == feeds;
        Ok((Cow::Owned(plain), Self { returns, mark }))
    }

    /// The text, written so.
    pub(super) fn put(self, text: String) -> String {
        let text = if self.returns { text.replace('\n', "\r\n") } else { text };
        if self.mark { format!("{MARK}{text}") } else { text }
    }
}

/// Where the lock itself is: the last document that holds anything, less the comments before its first key.
///
/// # Errors
/// More than two documents that hold anything, or one that begins beside its mark.
pub(super) fn main(text: &str) -> Result<Span, Refusal> {
    let refuse = |at, reason: &str| Err(Refusal { line: line_number(text, at), reason: reason.to_owned(), broken: false });
    let mut documents: Vec<Span> = Vec::new();
    let mut start = 0;
    for mark in marks(text, start) {
        documents.push(start..mark.start);
        let beside = text[mark.start + 3..mark.end].trim();
        if !(beside.is_empty() || beside.starts_with('#')) {
            return refuse(mark.start, "a document that begins beside its mark");
        }
        start = mark.end;
    }
    documents.push(start..text.len());
    documents.retain(|document| first_key(text, document).is_some());
    match documents.as_slice() {
        [] => Ok(text.len()..text.len()),
        [_, _, third, ..] => refuse(third.start.saturating_sub(1), "a third document"),
        [.., last] => Ok(first_key(text, last).unwrap_or(last.start)..last.end),
    }
}

/// The lines that part documents: `---` or `...`, and what stands beside it.
fn marks(text: &str, start: usize) -> impl Iterator<Item = Span> {
    let is_mark = |at: &usize| {
        let rest = &text.as_bytes()[*at..];
        (rest.starts_with(b"---") || rest.starts_with(b"...")) && matches!(rest.get(3), None | Some(b' ' | b'\t' | b'\n'))
    };
    let line_starts = ["\n---", "\n..."].map(|mark| memchr::memmem::find_iter(text.as_bytes(), mark).map(|at| at + 1));
    let [dashes, dots] = line_starts.map(Iterator::collect::<Vec<usize>>);
    let mut all: Vec<usize> = std::iter::once(start).chain(dashes).chain(dots).filter(is_mark).collect();
    all.sort_unstable();
    all.into_iter().map(|at| at..text[at..].find('\n').map_or(text.len(), |end| at + end + 1))
}

/// Where the first line of a document is that is no comment, directive or blank line.
fn first_key(text: &str, document: &Span) -> Option<usize> {
    let mut at = document.start;
    for line in text[document.clone()].split_inclusive('\n') {
        if !(line.trim().is_empty() || line.starts_with(['#', '%'])) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// The line, counted from 1, of the first mark that an unfinished merge has left in a file.
#[must_use]
pub fn conflict(text: &str) -> Option<usize> {
    let is_mark = |line: &str| ["<<<<<<<", ">>>>>>>"].iter().any(|mark| line.strip_prefix(mark).is_some_and(ends_word));
    text.lines().position(is_mark).map(|at| at + 1)
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}
