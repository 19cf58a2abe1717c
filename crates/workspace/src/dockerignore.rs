//! `.dockerignore`: which paths of a context are left out. The semantics are those of moby's `patternmatcher` (and its
//! `ignorefile`) as BuildKit's file sender walks with it, quirks included. No I/O here but [`Ignore::load`].
//!
//! Moby turns a pattern into a Go regular expression. Where that leaks (`[:alpha:]` in a class, `\d`, a `*` between brackets) the
//! pattern is refused rather than guessed at.
//!
//! Not the `ignore` crate: it reads `.gitignore`, and what BuildKit's sender leaves out decides fingerprints.

use std::path::Path;

use crate::matching::{Char, matches};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};

/// The patterns of an ignore file, in order; the last one that matches a path decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
    /// How many patterns there are up to the last exception: what a later one matches is left out for good, with all below it.
    revocable: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Pattern {
    /// `!pattern`: puts back what an earlier one took out.
    exception: bool,
    shape: Shape,
}

/// The four ways of matching that moby has; the first three are fast paths that differ from the regular expression in corners.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Tokens {
        tokens: Vec<Char>,
        /// The longest run of plain characters, which every path that matches holds: hardly any path does, and searching for it is
        /// a hundred times as fast as matching.
        needle: String,
    },
}

impl Ignore {
    /// Parses the text of an ignore file.
    ///
    /// # Errors
    /// When a pattern is malformed, with its line.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (exception, written) = match line.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.trim()),
            };
            if written.is_empty() {
                return Err(Error::usage("a `!` needs a pattern after it").at(".dockerignore", Some(at + 1)));
            }
            let cleaned = clean(written);
            let relative = if cleaned.len() > 1 { cleaned.strip_prefix('/').unwrap_or(&cleaned) } else { &cleaned };
            let shape = Shape::compile(relative).map_err(|what| {
                Error::usage(format!("`{written}` is not a pattern: {what}")).at(".dockerignore", Some(at + 1))
            })?;
            patterns.push(Pattern { exception, shape });
        }
        let revocable = patterns.iter().rposition(|pattern| pattern.exception).map_or(0, |at| at + 1);
        Ok(Self { patterns, revocable })
    }

    /// Reads and parses the ignore file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or a pattern is malformed, with its place.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(&read_text(path)?).map_err(|error| {
            let line = error.place().and_then(|(_, line)| line);
            error.at(path, line)
        })
    }

    /// True where nothing is ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True where `path` (relative to the context, with slashes) is left out. For many paths use [`Ignore::walker`].
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        self.walker().excludes(path)
    }

    /// A matcher that remembers the parents of the last path: quick for sorted paths.
    #[must_use]
    pub fn walker(&self) -> Walker<'_> {
        Walker { ignore: self, parents: Vec::new() }
    }

    /// One step of the walk (`MatchesUsingParentResults`): whether `path` is left out, and which patterns matched it, given which
    /// matched its parent.
    pub(crate) fn step(&self, path: &str, parent: Option<&[bool]>) -> (bool, Vec<bool>) {
        if let Some(parent) = parent.filter(|parent| parent[self.revocable..].contains(&true)) {
            return (true, parent.to_vec());
        }
        let mut excluded = false;
        let mut matches = vec![false; self.patterns.len()];
        for (at, pattern) in self.patterns.iter().enumerate() {
            let mut hit = parent.is_some_and(|parent| parent[at]);
            if !hit {
                // One that cannot change the verdict is not looked at, and does not count as matched for what lies below.
                if pattern.exception != excluded {
                    continue;
                }
                hit = pattern.shape.matches(path);
            }
            matches[at] = hit;
            if hit {
                excluded = !pattern.exception;
            }
        }
        (excluded, matches)
    }
}

impl Ignore {
    /// True where nothing below the folder `path`, which is left out by the patterns that `matches` tells of, can be put back
    /// (`filter.go` of BuildKit's sender, which then does not look into it).
    pub(crate) fn is_final(&self, path: &str, matches: &[bool]) -> bool {
        let below = |text: &str| text.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let can_put_back = |pattern: &Pattern| match &pattern.shape {
            Shape::Exact(exact) => below(exact),
            Shape::Prefix(prefix) => below(prefix) || path.starts_with(prefix.trim_end_matches('/')),
            Shape::Suffix(_) | Shape::Tokens { .. } => true,
        };
        matches.get(self.revocable..).is_some_and(|rest| rest.contains(&true))
            || !self.patterns.iter().any(|pattern| pattern.exception && can_put_back(pattern))
    }
}

/// See [`Ignore::walker`].
#[derive(Debug)]
pub struct Walker<'a> {
    ignore: &'a Ignore,
    /// The folders above the last path, outermost first, each with the patterns that matched it.
    parents: Vec<(String, Vec<bool>)>,
}

impl Walker<'_> {
    /// As [`Ignore::excludes`].
    pub fn excludes(&mut self, path: &str) -> bool {
        let path = path.trim_matches('/');
        if self.ignore.patterns.is_empty() || path.is_empty() || path == "." {
            return false;
        }
        let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        while self.parents.last().is_some_and(|(folder, _)| !below(folder)) {
            self.parents.pop();
        }
        let mut known = self.parents.last().map_or(0, |(folder, _)| folder.len() + 1);
        while let Some(slash) = path[known..].find('/') {
            let folder = &path[..known + slash];
            let (_, matches) = self.ignore.step(folder, self.parents.last().map(|(_, m)| m.as_slice()));
            self.parents.push((folder.to_owned(), matches));
            known += slash + 1;
        }
        self.ignore.step(path, self.parents.last().map(|(_, m)| m.as_slice())).0
    }
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Tokens,
}

impl Shape {
    /// Moby's `Pattern.compile`, after the syntax check that Go's `filepath.Match` makes.
    fn compile(pattern: &str) -> Result<Self, String> {
        check(pattern)?;
        let mut kind = Kind::Exact;
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_none() {
                        tokens.push(Char::Rest);
                        kind = if kind == Kind::Exact { Kind::Prefix } else { Kind::Tokens };
                    } else {
                        tokens.push(Char::Folders);
                        kind = Kind::Tokens;
                    }
                    if first {
                        kind = Kind::Suffix;
                    }
                }
                '*' => (kind, ()) = (Kind::Tokens, tokens.push(Char::Star)),
                '?' => (kind, ()) = (Kind::Tokens, tokens.push(Char::One)),
                '\\' => {
                    let escaped = chars.next().ok_or("a backslash ends it")?;
                    if escaped.is_alphanumeric() || !escaped.is_ascii() {
                        return Err(format!("`\\{escaped}` means something else to each tool that reads it"));
                    }
                    (kind, ()) = (Kind::Tokens, tokens.push(Char::Is(escaped)));
                }
                '[' => (kind, ()) = (Kind::Tokens, tokens.push(class(&mut chars)?)),
                ']' => (kind, ()) = (Kind::Tokens, tokens.push(Char::Is(']'))),
                '^' => tokens.push(Char::Start),
                c => tokens.push(Char::Is(c)),
            }
            first = false;
        }
        Ok(match kind {
            Kind::Exact => Self::Exact(pattern.to_owned()),
            Kind::Prefix => Self::Prefix(pattern[..pattern.len() - 2].to_owned()),
            Kind::Suffix => Self::Suffix(pattern[2..].to_owned()),
            Kind::Tokens => Self::Tokens { needle: longest_run(&tokens), tokens },
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path),
            Self::Tokens { tokens, needle } => path.contains(needle.as_str()) && matches(tokens, &path.chars().into_vec()),
        }
    }
}

/// The longest run of characters that stand for themselves.
fn longest_run(tokens: &[Char]) -> String {
    let plain = |token: &Char| if let Char::Is(c) = token { Some(*c) } else { None };
    let runs = tokens.split(|token| plain(token).is_none()).map(|run| run.iter().filter_map(plain).collect::<String>());
    runs.max_by_key(String::len).unwrap_or_default()
}

/// A class, after its `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Char, String> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Char::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
        if high < low {
            return Err(format!("the range `{low}-{high}` is empty"));
        }
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, String> {
    match chars.next().ok_or("a `[` is not closed")? {
        '\\' => {
            let escaped = chars.next().ok_or("a `[` is not closed")?;
            if escaped.is_ascii_alphanumeric() { Err(format!("`\\{escaped}` in brackets")) } else { Ok(escaped) }
        }
        c @ ('-' | ']') => Err(format!("`{c}` in brackets must be written `\\{c}`")),
        '[' if chars.peek() == Some(&':') => Err("`[:` in brackets".to_owned()),
        c @ ('*' | '?') => Err(format!("`{c}` in brackets")),
        c => Ok(c),
    }
}

/// The syntax check, which moby makes with Go's `filepath.Match(pattern, ".")`. That one stops looking at the first chunk
/// that cannot match; a pattern it lets pass so is malformed for the regular expression too, so all of it is checked here.
fn check(pattern: &str) -> Result<(), String> {
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return Err("a backslash ends it".to_owned()),
            '[' => drop(class(&mut chars)?),
            _ => {}
        }
    }
    Ok(())
}

/// Go's `filepath.Match` for one path component: `*`, `?`, `[…]` and `\`; nothing else is special.
///
/// # Errors
/// A fragment, when the pattern is malformed.
pub fn path_match(pattern: &str, name: &str) -> Result<bool, String> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Char::Star,
            '?' => Char::One,
            '[' => class(&mut chars)?,
            '\\' => Char::Is(chars.next().ok_or("a backslash ends it")?),
            c => Char::Is(c),
        });
    }
    let name: Vec<char> = name.chars().into_vec();
    Ok(matches(&tokens, &name))
}

#[cfg(test)]
mod tests;
