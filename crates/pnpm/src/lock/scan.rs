//! The line rules of a pnpm lock: which lines make an entry, where its key and value are. Nothing here knows what a key means.

use std::ops::Range;

use memchr::{memchr, memchr_iter};
use rustc_hash::FxHashSet;

use super::{Refusal, Span};

/// A `key:` at some depth with everything below it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key, quotes left out.
    pub(super) key: Span,
    /// What stands beside the key, quotes left out; empty where nothing does.
    pub(super) value: Span,
    /// All its lines, the last line end included, blank lines after it not.
    pub(super) lines: Span,
    /// Its lines below the key, in the same way.
    pub(super) body: Span,
    /// The same lines, by number.
    pub(super) below: Range<usize>,
}

/// The line, counted from 1, that the byte `at` is in.
pub(super) fn line_number(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].bytes().filter(|byte| *byte == b'\n').count() + 1
}

fn refuse<T>(text: &str, at: usize, reason: &str) -> Result<T, Refusal> {
    Err(refusal(text, at, reason))
}

fn refusal(text: &str, at: usize, reason: &str) -> Refusal {
    Refusal { line: line_number(text, at), reason: reason.to_owned(), broken: false }
}

/// A lock's text by lines, each looked at once: what it takes to walk over those that are too deep to matter.
pub(super) struct Lines<'a> {
    pub(super) text: &'a str,
    /// Where each line starts, and the text's end.
    starts: Vec<usize>,
    /// How far each is indented, [`DEEP`] at most; [`BLANK`] for one of nothing but spaces.
    depths: Vec<u8>,
}

/// Deeper than any line.
const BLANK: u8 = u8::MAX;
/// Deeper than any that is looked at.
const DEEP: usize = 254;

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let (mut starts, mut depths) = (Vec::with_capacity(text.len() / 28), Vec::with_capacity(text.len() / 28));
        let mut at = 0;
        while at < bytes.len() {
            let end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length + 1);
            let line = &bytes[at..end];
            let key = line.iter().position(|byte| *byte != b' ').unwrap_or(line.len());
            starts.push(at);
            depths.push(match &line[key..] {
                b"" | b"\n" => BLANK,
                [b':', b' ', ..] => shallow(key + 2),
                _ => shallow(key),
            });
            at = end;
        }
        starts.push(bytes.len());
        Self { text, starts, depths }
    }

    /// The lines that start within `span`, by number.
    pub(super) fn within(&self, span: &Span) -> Range<usize> {
        let first_from = |at: usize| self.starts[..self.depths.len()].partition_point(|start| *start < at);
        first_from(span.start)..first_from(span.end)
    }

    /// Splits `lines`, given by number, into the entries whose keys are indented by `indent` spaces. Deeper lines
    /// belong to the entry above; a shallower one is refused. A blank line separates entries, or belongs to a text block; either way it
    /// is only kept between lines.
    ///
    /// A key too long for one line is written as `? key`, and its value starts on the next line behind `: `, which counts as
    /// two more spaces (YAML 1.2, compact mappings).
    pub(super) fn entries(&self, lines: Range<usize>, indent: u8) -> Result<Vec<Entry>, Refusal> {
        let text = self.text;
        let Range { start: mut line, end } = lines;
        let mut all = Vec::new();
        while line < end {
            let (at, depth) = (self.starts[line], self.depths[line]);
            line += 1;
            if depth == BLANK {
                continue;
            }
            if depth != indent {
                let too = if depth < indent { "is indented too little" } else { "belongs to no key" };
                return refuse(text, at, &format!("a line that {too}"));
            }
            let (first, mut last) = (line, line);
            while line < end && self.depths[line] > indent {
                line += 1;
                if self.depths[line - 1] != BLANK {
                    last = line;
                }
            }
            let mut entry = entry(text, at + usize::from(depth), at..self.starts[first], first..last)?;
            if first < last {
                let start = self.starts[first];
                (entry.lines.end, entry.body.end) = (self.starts[last], self.starts[last]);
                let value = start + usize::from(indent);
                if self.depths[first] == indent + 2 && text[value..].starts_with(": ") {
                    explicit_value(text, &mut entry, value + 2, self.starts[first + 1])?;
                }
            }
            all.push(entry);
        }
        match again(text, &all) {
            // No reader of YAML takes it. Merges by hand leave such.
            Some(entry) => Err(Refusal { broken: true, ..refusal(text, entry.lines.start, "a key that stands twice") }),
            None => Ok(all),
        }
    }
}

/// An entry whose key an earlier one has. As pnpm writes them keys are sorted, so that a look at the neighbours is mostly enough.
fn again<'e>(text: &str, entries: &'e [Entry]) -> Option<&'e Entry> {
    let key = |entry: &Entry| &text[entry.key.clone()];
    if entries.is_sorted_by(|a, b| key(a) < key(b)) {
        return None;
    }
    let mut seen = FxHashSet::default();
    entries.iter().find(|entry| !seen.insert(key(entry)))
}

impl Lines<'_> {
    /// Of `lines`, those below the key that is written so, `indent` spaces in, by number.
    pub(super) fn below(&self, lines: Range<usize>, indent: u8, key: &str) -> Option<Range<usize>> {
        let is_key =
            |line: &usize| self.depths[*line] == indent && self.text[self.starts[*line]..self.starts[*line + 1]].trim() == key;
        let first = lines.clone().find(is_key)? + 1;
        let last = (first..lines.end).find(|line| self.depths[*line] <= indent).unwrap_or(lines.end);
        Some(first..last)
    }
}

/// A depth as it is kept.
fn shallow(depth: usize) -> u8 {
    u8::try_from(depth.min(DEEP)).unwrap_or(BLANK)
}

/// Reads the line of a key. `at` is where the key starts; the entry's lines start with the line itself.
fn entry(text: &str, at: usize, lines: Span, below: Range<usize>) -> Result<Entry, Refusal> {
    let line = text[at..lines.end].trim_end_matches('\n');
    let body = lines.end..lines.end;
    if line.starts_with("? ") {
        let key = scalar(text, at + 2, at + line.len())?;
        return Ok(Entry { key, value: lines.end..lines.end, lines, body, below });
    }
    let colon = match line.bytes().next() {
        Some(quote @ (b'\'' | b'"')) => match line[1..].find(quote as char) {
            Some(close) if line[close + 2..].starts_with(':') => close + 2,
            _ => return refuse(text, at, "a key with an escape in it"),
        },
        Some(b'-' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'{' | b'[' | b'%') | None => {
            return refuse(text, at, "something other than a key");
        }
        Some(_) => match colon(line) {
            Some(colon) => colon,
            None => return refuse(text, at, "a line without a key"),
        },
    };
    let beside = line[colon + 1..].trim_start();
    let value = scalar(text, at + line.len() - beside.len(), at + line.len())?;
    Ok(Entry { key: scalar(text, at, at + colon)?, value, lines, body, below })
}

/// Where a plain key ends: before the first colon that a blank or the line's end follows. (Searching for two characters at once
/// would cost most of the scan: the search is prepared anew for each line.)
fn colon(line: &str) -> Option<usize> {
    let followed = |at: &usize| matches!(line.as_bytes().get(at + 1), None | Some(b' '));
    line.match_indices(':').map(|(at, _)| at).find(followed)
}

/// The value of an entry with an explicit key stands behind `: `, on one line where it is `{}` and else as its first key.
fn explicit_value(text: &str, entry: &mut Entry, at: usize, end: usize) -> Result<(), Refusal> {
    let rest = text[at..end].trim_end_matches('\n');
    if rest == "{}" {
        entry.value = scalar(text, at, at + rest.len())?;
    }
    Ok(())
}

/// A scalar's text without its quotes. Escapes, anchors, tags and text blocks are refused: the lock's keys and references
/// have none, and a range of bytes could not stand for them.
fn scalar(text: &str, start: usize, end: usize) -> Result<Span, Refusal> {
    let scalar = &text[start..end];
    match scalar.as_bytes().first() {
        Some(quote @ (b'\'' | b'"')) => match scalar[1..].strip_suffix(char::from(*quote)) {
            Some(inner) if !inner.contains([char::from(*quote), '\\']) => Ok(start + 1..end - 1),
            _ => refuse(text, start, "a quoted text with an escape in it"),
        },
        Some(b'&' | b'*' | b'!' | b'|' | b'>') => refuse(text, start, "an anchor, alias, tag or text block"),
        _ if memchr_iter(b'#', scalar.as_bytes()).any(|at| at > 0 && scalar.as_bytes()[at - 1] == b' ') => {
            refuse(text, start, "a comment")
        }
        _ => Ok(start..end),
    }
}
