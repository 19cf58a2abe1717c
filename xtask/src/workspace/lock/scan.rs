//! The line rules of a pnpm lock: which lines make an entry, where its key and value are. Nothing here knows what a key means.

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
}

/// The line, counted from 1, that the byte `at` is in.
pub(super) fn line_number(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].bytes().filter(|byte| *byte == b'\n').count() + 1
}

fn refuse<T>(text: &str, at: usize, reason: &str) -> Result<T, Refusal> {
    Err(Refusal { line: line_number(text, at), reason: reason.to_owned() })
}

/// Splits `range`, which holds whole lines, into the entries whose keys are indented by `indent` spaces. Deeper lines
/// belong to the entry above; a shallower one is refused.
///
/// A key too long for one line is written as `? key`, and its value starts on the next line behind `: `, which counts as
/// two more spaces (YAML 1.2, compact mappings).
pub(super) fn entries(text: &str, range: Span, indent: usize) -> Result<Vec<Entry>, Refusal> {
    let mut all: Vec<Entry> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = text[at..range.end].find('\n').map_or(range.end, |length| at + length + 1);
        let line = text[at..end].strip_suffix('\n').unwrap_or(&text[at..end]);
        let spaces = line.bytes().take_while(|byte| *byte == b' ').count();
        let rest = &line[spaces..];
        let depth = if rest.starts_with(": ") { spaces + 2 } else { spaces };
        if rest.is_empty() {
            // A blank line separates entries, or belongs to a text block; either way it is only kept between lines.
        } else if depth == indent {
            all.push(entry(text, at + depth, at..end)?);
        } else if depth < indent {
            return refuse(text, at, "a line that is indented too little");
        } else {
            let Some(last) = all.last_mut() else { return refuse(text, at, "a line that belongs to no key") };
            if last.lines.end == last.body.start && rest.starts_with(": ") && depth == indent + 2 {
                explicit_value(text, last, at + depth, end)?;
            }
            last.lines.end = end;
            last.body.end = end;
        }
        at = end;
    }
    Ok(all)
}

/// Reads the line of a key. `at` is where the key starts; the entry's lines start with the line itself.
fn entry(text: &str, at: usize, lines: Span) -> Result<Entry, Refusal> {
    let line = text[at..lines.end].trim_end_matches('\n');
    let body = lines.end..lines.end;
    if line.starts_with("? ") {
        let key = scalar(text, at + 2, at + line.len())?;
        return Ok(Entry { key, value: lines.end..lines.end, lines, body });
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
    Ok(Entry { key: scalar(text, at, at + colon)?, value, lines, body })
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
    for quote in ['\'', '"'] {
        if let Some(inner) = scalar.strip_prefix(quote) {
            return match inner.strip_suffix(quote) {
                Some(inner) if !inner.contains([quote, '\\']) => Ok(start + 1..end - 1),
                _ => refuse(text, start, "a quoted text with an escape in it"),
            };
        }
    }
    match scalar.bytes().next() {
        Some(b'&' | b'*' | b'!' | b'|' | b'>') => refuse(text, start, "an anchor, alias, tag or text block"),
        _ if scalar.match_indices('#').any(|(at, _)| scalar[..at].ends_with(' ')) => refuse(text, start, "a comment"),
        _ => Ok(start..end),
    }
}
