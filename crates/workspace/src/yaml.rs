//! A small YAML tree for hand-written settings files, `pnpm-workspace.yaml` above all: what was quoted stays quoted, the order
//! stays. Not for the lock file: that one is scanned by lines (crate `monoship-pnpm`), as parsing it as YAML takes twenty times as long.

use std::collections::HashMap;
use std::fmt::Write as _;

use saphyr_parser::{Event, Parser, ScalarStyle};

use monoship_core::collect::Collect as _;

/// A YAML value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yaml {
    /// A scalar's text, and whether it was written in quotes or as a block (and so is a string, whatever it looks like).
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// True where it can only be a string.
        quoted: bool,
    },
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping, in the file's order.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// A string value.
    pub fn string(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), quoted: true }
    }

    /// The value of a mapping's key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A scalar's text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Scalar { text, .. } = self { Some(text) } else { None }
    }

    /// A mapping's entries; none for anything else, so that an empty `key:` reads as an empty mapping.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// A sequence's items; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// Calls `visit` with every scalar's text, keys excluded.
    pub fn scalars<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Self::Scalar { text, .. } => visit(text),
            Self::List(items) => items.iter().for_each(|item| item.scalars(visit)),
            Self::Map(entries) => entries.iter().for_each(|(_, value)| value.scalars(visit)),
        }
    }

    /// The value as a YAML document in block style. Keys and strings are in double quotes (JSON's escapes are YAML's too).
    #[must_use]
    pub fn emit(&self) -> String {
        let mut out = String::new();
        self.emit_at(0, &mut out);
        out
    }

    fn emit_at(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    write!(out, "{indent}{}:", quoted(key)).expect("writing to a String cannot fail");
                    value.emit_value(depth, out);
                }
            }
            Self::List(items) if !items.is_empty() => {
                for item in items {
                    write!(out, "{indent}-").expect("writing to a String cannot fail");
                    item.emit_value(depth, out);
                }
            }
            _ => self.emit_value(depth, out),
        }
    }

    /// What follows `key:` or `-`, line end included.
    fn emit_value(&self, depth: usize, out: &mut String) {
        match self {
            Self::Scalar { text, quoted: false } if !text.contains('\n') => {
                out.push(' ');
                out.push_str(text);
                out.push('\n');
            }
            Self::Scalar { text, .. } => {
                out.push(' ');
                out.push_str(&quoted(text));
                out.push('\n');
            }
            Self::List(items) if items.is_empty() => out.push_str(" []\n"),
            Self::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            _ => {
                out.push('\n');
                self.emit_at(depth + 1, out);
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// What is wrong with a YAML text, and in which line (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// A lowercase fragment.
    pub message: String,
}

/// Reads every document of `text`; an empty one is an empty mapping.
///
/// # Errors
/// On malformed YAML, on a key that is no scalar or stands twice, and on merge keys (`<<`), which pnpm's versions read differently.
pub fn parse(text: &str) -> Result<Vec<Yaml>, YamlError> {
    read(text, false)
}

/// The same for files whose readers know merge keys, such as compose's: the merged keys stand behind the mapping's own, which win.
///
/// # Errors
/// As [`parse`]; a merge key whose value is no mapping and no list of them.
pub fn parse_with_merges(text: &str) -> Result<Vec<Yaml>, YamlError> {
    read(text, true)
}

fn read(text: &str, merges: bool) -> Result<Vec<Yaml>, YamlError> {
    let mut builder = Builder { merges, ..Builder::default() };
    for step in Parser::new_from_str(text) {
        let (event, span) = step.map_err(|e| YamlError { line: e.marker().line(), message: in_words(e.info()).to_owned() })?;
        builder.event(event).map_err(|message| YamlError { line: span.start.line(), message: message.to_owned() })?;
    }
    Ok(builder.documents)
}

/// What the parser says, as a person says it.
fn in_words(said: &str) -> &str {
    let has = |part: &str| said.contains(part);
    match () {
        () if has("tab") && !has("table") => "a tab is not allowed here: indent with spaces",
        () if has("quoted scalar") && has("end of stream") => "a quote is not closed",
        () if has("mapping values are not allowed") || has("placement of ':'") => {
            "a `:` is not allowed here: put the text in quotes, or start a new line"
        }
        () if has("flow sequence") => "expected a `,` or a `]` here",
        () if has("flow mapping") => "expected a `,` or a `}` here",
        () if has("expect ':'") || has("simple key expected") => "a `:` belongs after a key",
        () if has("indentation") || has("indented") || has("expected key") || has("'-' indicator") || has("sequence entries") => {
            "this line is not indented as those above it are"
        }
        () if has("node content") => "a value is missing here, or a bracket is not closed",
        () if has("unknown anchor") => "this alias names no anchor",
        () => said,
    }
}

/// A collection under construction, with the anchor it is known by (0 for none).
enum Open {
    List(Vec<Yaml>, usize),
    Map(Vec<(String, Yaml)>, Option<String>, usize),
}

#[derive(Default)]
struct Builder {
    merges: bool,
    documents: Vec<Yaml>,
    open: Vec<Open>,
    anchors: HashMap<usize, Yaml>,
    root: Option<Yaml>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(_) => self.root = None,
            Event::DocumentEnd => {
                let empty = || Yaml::Map(Vec::new());
                let root = self.root.take().unwrap_or_else(empty);
                let blank = matches!(&root, Yaml::Scalar { text, quoted: false } if text.is_empty() || text == "~");
                self.documents.push(if blank { empty() } else { root });
            }
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                self.value(Yaml::Scalar { text: text.into_owned(), quoted }, anchor)?;
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or("an alias to something that is not complete")?;
                self.value(value, 0)?;
            }
            Event::SequenceStart(anchor, _) => self.open.push(Open::List(Vec::new(), anchor)),
            Event::MappingStart(anchor, _) => self.open.push(Open::Map(Vec::new(), None, anchor)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items, anchor)) => self.value(Yaml::List(items), anchor)?,
                Some(Open::Map(entries, _, anchor)) => self.value(Yaml::Map(merged(entries)?), anchor)?,
                None => return Err("an end without a beginning"),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
        }
        Ok(())
    }

    fn value(&mut self, value: Yaml, anchor: usize) -> Result<(), &'static str> {
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(items, _)) => items.push(value),
            Some(Open::Map(entries, key, _)) => match (key.take(), value) {
                (Some(key), value) => entries.push((key, value)),
                (None, Yaml::Scalar { text, quoted: false }) if text == MERGE && !self.merges => {
                    return Err("merge keys (`<<`) are not supported");
                }
                (None, Yaml::Scalar { text, .. }) if text != MERGE && entries.iter().any(|(there, _)| *there == text) => {
                    return Err("a key that stands twice");
                }
                (None, Yaml::Scalar { text, .. }) => *key = Some(text),
                (None, _) => return Err("a key that is not a scalar"),
            },
        }
        Ok(())
    }
}

const MERGE: &str = "<<";

/// A mapping with what its merge keys name (<https://yaml.org/type/merge.html>).
fn merged(entries: Vec<(String, Yaml)>) -> Result<Vec<(String, Yaml)>, &'static str> {
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key == MERGE);
    for (_, value) in merges {
        let maps = match value {
            Yaml::List(maps) => maps,
            map => vec![map],
        };
        for map in maps {
            let Yaml::Map(more) = map else { return Err("a merge key (`<<`) takes a mapping") };
            let new: Vec<(String, Yaml)> =
                more.into_iter().filter(|(key, _)| own.iter().all(|(there, _)| there != key)).into_vec();
            own.extend(new);
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_reads_back_as_the_same_tree() {
        let text = "a: 1.0\n\"b\": 'true'\nlist:\n  - x: {y: [1, '2']}\n    z: |\n      two\n      lines\n  - plain # why\n\
                    empty: {}\nnone:\n'@types/node': \"^1\\t\"\nanchor: &one {k: v}\nalias: *one\n";
        let tree = parse(text).unwrap();
        assert_eq!(parse(&tree[0].emit()).unwrap(), tree);
        assert_eq!(tree[0].get("a"), Some(&Yaml::Scalar { text: "1.0".into(), quoted: false }));
        assert_eq!(tree[0].get("alias"), tree[0].get("anchor"));
        assert!(tree[0].emit().contains("\"b\": \"true\"\n"), "{}", tree[0].emit());
    }

    #[test]
    fn errors_name_the_line_and_nothing_panics() {
        assert_eq!(parse("a: 1\nb: [\n").unwrap_err().line, 3);
        assert_eq!(parse("a: 1\n<<: {b: 1}\n").unwrap_err().line, 2);
        let twice = parse("packages:\n  - a\nb: {}\npackages:\n  - c\n").unwrap_err();
        assert_eq!((twice.line, twice.message.as_str()), (4, "a key that stands twice"));
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("# nothing\n---\n---\na: 1\n").unwrap().len(), 2);
    }

    #[test]
    fn merge_keys_are_followed_where_readers_know_them_and_a_mappings_own_keys_win() {
        let text = "one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nall:\n  <<: [*one, *two]\n  c: 3\n";
        let tree = parse_with_merges(text).unwrap().remove(0);
        assert_eq!(tree.get("all"), parse("all: {c: 3, a: 1, b: 1}").unwrap()[0].get("all"));
        assert_eq!(parse_with_merges("a:\n  <<: text\n").unwrap_err().message, "a merge key (`<<`) takes a mapping");
    }
}
