//! The patterns of `packages:` in `pnpm-workspace.yaml`, as pnpm hands them to its glob library: `*`, `?`, `[…]`, `{a,b}` within
//! a path component, `**` for any number of them; none matches a leading dot unless it is written. No I/O here.

use crate::matching::{Char, Count, Token, ends, matches};
use monoship_core::collect::Collect as _;

/// A list of patterns, negative ones included: a folder is wanted where a positive pattern matches and no negative does,
/// whatever their order.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    positive: Vec<Vec<Component>>,
    negative: Vec<Vec<Component>>,
}

impl Patterns {
    /// Takes the patterns apart. A trailing `/` and a leading `./` mean nothing.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for pattern in patterns {
            let (list, pattern) = match pattern.strip_prefix('!') {
                Some(rest) => (&mut all.negative, rest),
                None => (&mut all.positive, pattern),
            };
            for plain in expand(pattern) {
                let parts = plain.split('/').filter(|part| !matches!(*part, "" | "."));
                let mut parts: Vec<Component> = parts.map(Component::read).into_vec();
                // Two `**` side by side say no more than one, and would make whoever walks by them come twice.
                parts.dedup_by(|a, b| a.is_any() && b.is_any());
                list.push(parts);
            }
        }
        all
    }

    /// The positive patterns, as path components.
    #[must_use]
    pub fn positive(&self) -> &[Vec<Component>] {
        &self.positive
    }

    /// True where a positive pattern matches the folder `dir` and no negative one does.
    #[must_use]
    pub fn wants(&self, dir: &str) -> bool {
        let path: Vec<&str> = dir.split('/').into_vec();
        self.positive.iter().any(|pattern| whole(pattern, &path, false)) && !self.rejects(dir)
    }

    /// True where a positive pattern matches the file `path` or a folder that it is in, whatever begins with a dot, and no negative one does.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').into_vec();
        let within = |pattern: &Vec<Component>| {
            let pattern: Vec<Within<'_>> = pattern.iter().map(|component| Within { component, dot: true }).into_vec();
            ends(&pattern, &path)[1..].contains(&true)
        };
        self.positive.iter().any(within) && !self.negative.iter().any(within)
    }

    /// The positive patterns as they are written, `{a,b}` expanded.
    pub fn written(&self) -> impl Iterator<Item = String> {
        let text = |pattern: &Vec<Component>| pattern.iter().map(|part| part.text.as_str()).into_vec().join("/");
        self.positive.iter().filter(|pattern| !pattern.is_empty()).map(text)
    }

    /// True where a negative pattern matches the folder `dir` (relative, `/` between components).
    #[must_use]
    pub fn rejects(&self, dir: &str) -> bool {
        let path: Vec<&str> = dir.split('/').filter(|part| *part != ".").into_vec();
        self.negative.iter().any(|pattern| whole(pattern, &path, true))
    }
}

/// Expands the first `{a,b}` and, recursively, what remains.
fn expand(pattern: &str) -> Vec<String> {
    let group = pattern.find('{').and_then(|open| {
        let mut depth = 0usize;
        let close = pattern[open..].char_indices().find(|(_, c)| {
            depth = if *c == '{' { depth + 1 } else { depth - usize::from(*c == '}') };
            depth == 0
        })?;
        Some((open, open + close.0))
    });
    let Some((open, close)) = group else { return vec![pattern.to_owned()] };
    let mut options = vec![String::new()];
    let mut depth = 0usize;
    for c in pattern[open + 1..close].chars() {
        match c {
            ',' if depth == 0 => options.push(String::new()),
            _ => {
                depth = match c {
                    '{' => depth + 1,
                    '}' => depth - 1,
                    _ => depth,
                };
                options.last_mut().expect("there is always one").push(c);
            }
        }
    }
    let whole = |option: String| expand(&format!("{}{option}{}", &pattern[..open], &pattern[close + 1..]));
    options.into_iter().flat_map(whole).into_vec()
}

/// True where `pattern` matches the whole of `path`. `dot` lets wildcards match a leading dot, as ignore patterns do.
fn whole(pattern: &[Component], path: &[&str], dot: bool) -> bool {
    let pattern: Vec<Within<'_>> = pattern.iter().map(|component| Within { component, dot }).into_vec();
    matches(&pattern, path)
}

/// One component of a pattern.
#[derive(Debug, Clone)]
pub struct Component {
    text: String,
    tokens: Vec<Char>,
}

impl Component {
    /// Reads a component, which has no slash in it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Char::Star,
                '?' => Char::One,
                '\\' => Char::Is(chars.next().unwrap_or('\\')),
                '[' => match class(chars.as_str()) {
                    Some((class, rest)) => {
                        chars = rest.chars();
                        class
                    }
                    None => Char::Is('['),
                },
                c => Char::Is(c),
            });
        }
        Self { text: text.to_owned(), tokens }
    }

    /// True for `**`, which stands for any number of folders.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.text == "**"
    }

    /// The one name it matches, where nothing in it is special.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        (!self.text.contains(['*', '?', '[', '\\'])).then_some(&self.text)
    }

    /// True where it matches a folder's name. `dot` lets wildcards match a leading dot.
    #[must_use]
    pub fn matches(&self, name: &str, dot: bool) -> bool {
        if name.starts_with('.') && !self.text.starts_with('.') && !dot {
            return false;
        }
        matches(&self.tokens, &name.chars().into_vec())
    }
}

/// A component as it is to be taken: with leading dots, or not.
struct Within<'a> {
    component: &'a Component,
    dot: bool,
}

impl Token<&str> for Within<'_> {
    fn count(&self) -> Count {
        if self.component.is_any() { Count::Many } else { Count::One }
    }

    fn takes(&self, name: &&str) -> bool {
        self.component.matches(name, self.dot)
    }
}

/// Reads `abc]`, `a-z]`, `!a]`, after the `[`; what follows the bracket is returned. None where it is not closed.
fn class(text: &str) -> Option<(Char, &str)> {
    let (end, _) = text.char_indices().skip(1).find(|(_, c)| *c == ']')?;
    let (inner, rest) = (&text[..end], &text[end + 1..]);
    let (negated, inner) = match inner.strip_prefix(['!', '^']) {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    let mut inner: &[char] = &inner.chars().into_vec();
    let mut ranges = Vec::new();
    while let [low, after @ ..] = inner {
        let (high, rest) = if let ['-', high, rest @ ..] = after { (high, rest) } else { (low, after) };
        ranges.push((*low, *high));
        inner = rest;
    }
    Some((Char::Class { negated, ranges }, rest))
}

/// Writes a folder's name so that as a pattern it matches only itself.
#[must_use]
pub fn escape(dir: &str) -> String {
    // Mostly there is nothing to escape, and this is asked for each package of each closure.
    if dir.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.')) {
        return dir.to_owned();
    }
    let mut out = String::with_capacity(dir.len());
    for c in dir.chars() {
        if "*?[]{}()!\\|".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(patterns: &[&str], dir: &str) -> bool {
        Patterns::new(patterns.iter().copied()).wants(dir)
    }

    #[test]
    fn patterns_match_as_pnpm_reads_them() {
        for (patterns, dir, expected) in [
            (&["packages/*"][..], "packages/a", true),
            (&["packages/*"], "packages/a/b", false),
            (&["packages/*"], "packages/.hidden", false),
            (&["examples/.*/*"], "examples/.test/a", true),
            (&["packages/**"], "packages", true),
            (&["packages/**"], "packages/a/b", true),
            (&["./{apps,libs/{x,y}}/*/"], "libs/y/z", true),
            (&["./{apps,libs/{x,y}}/*/"], "libs/z", false),
            (&["**", "!**/test/**"], "a/test", false),
            (&["!**/test/**", "**"], "a/test/b", false),
            (&["web-?[a-c]"], "web-1b", true),
            (&["web-?[!a-c]"], "web-1b", false),
            (&["unclosed["], "unclosed[", true),
            (&["a/**/**/b"], "a/b", true),
            (&["a/**/b/**"], "a/x/b", true),
            (&["a/**/b"], "a/.x/b", false),
            (&["**", "!**/.*/**"], "a/.x/b", false),
            (&["[]a]"], "]", true),
            (&["\\*"], "x", false),
        ] {
            assert_eq!(wanted(patterns, dir), expected, "{patterns:?} {dir}");
        }
    }

    #[test]
    fn an_escaped_folder_matches_itself_only() {
        for dir in ["apps/(group)", "a/[id]", "a/*", "@scope/x"] {
            assert!(wanted(&[&escape(dir)], dir), "{dir}");
        }
        assert!(!wanted(&[&escape("a/*")], "a/b"));
    }
}
