//! The patterns of `packages:` in `pnpm-workspace.yaml`, as pnpm hands them to its glob library: `*`, `?`, `[…]`, `{a,b}` within
//! a path component, `**` for any number of them; none matches a leading dot unless it is written. No I/O here.

/// A list of patterns, negative ones included: a folder is wanted where a positive pattern matches and no negative does,
/// whatever their order.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    positive: Vec<Vec<String>>,
    negative: Vec<Vec<String>>,
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
                let parts = plain.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned);
                list.push(parts.collect());
            }
        }
        all
    }

    /// The positive patterns, as path components.
    #[must_use]
    pub fn positive(&self) -> &[Vec<String>] {
        &self.positive
    }

    /// True where a positive pattern matches the folder `dir` and no negative one does.
    #[must_use]
    pub fn wants(&self, dir: &str) -> bool {
        let path: Vec<&str> = dir.split('/').collect();
        self.positive.iter().any(|pattern| matches(pattern, &path, false)) && !self.rejects(dir)
    }

    /// True where a negative pattern matches the folder `dir` (relative, `/` between components).
    #[must_use]
    pub fn rejects(&self, dir: &str) -> bool {
        let path: Vec<&str> = dir.split('/').filter(|part| *part != ".").collect();
        self.negative.iter().any(|pattern| matches(pattern, &path, true))
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
    options.into_iter().flat_map(whole).collect()
}

/// True where `pattern` matches the whole of `path`. `dot` lets wildcards match a leading dot, as ignore patterns do.
fn matches(pattern: &[String], path: &[&str], dot: bool) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            matches(rest, path, dot)
                || path.split_first().is_some_and(|(name, below)| (dot || !name.starts_with('.')) && matches(pattern, below, dot))
        }
        (Some((first, rest)), Some((name, below))) => component(first, name, dot) && matches(rest, below, dot),
        _ => false,
    }
}

/// True where one component of a pattern matches a folder's name.
#[must_use]
pub fn component(pattern: &str, name: &str, dot: bool) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') && !dot {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    characters(&pattern, &name)
}

fn characters(pattern: &[char], name: &[char]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some('*'), _) => characters(&pattern[1..], name) || (!name.is_empty() && characters(pattern, &name[1..])),
        (Some('?'), Some(_)) => characters(&pattern[1..], &name[1..]),
        (Some('\\'), Some(c)) if pattern.get(1) == Some(c) => characters(&pattern[2..], &name[1..]),
        (Some('['), Some(c)) => match class(&pattern[1..], *c) {
            Some((hit, rest)) => hit && characters(rest, &name[1..]),
            None => *c == '[' && characters(&pattern[1..], &name[1..]),
        },
        (Some(p), Some(c)) => p == c && characters(&pattern[1..], &name[1..]),
        _ => false,
    }
}

/// Reads `abc]`, `a-z]`, `!a]`; what follows the bracket is returned. None where it is not closed.
fn class(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let end = pattern.iter().skip(1).position(|p| *p == ']')? + 1;
    let (inner, rest) = (&pattern[..end], &pattern[end + 1..]);
    let (negated, inner) = match inner {
        ['!' | '^', inner @ ..] => (true, inner),
        inner => (false, inner),
    };
    let mut hit = false;
    let mut at = 0;
    while at < inner.len() {
        if let [low, '-', high, ..] = inner[at..] {
            hit |= (low..=high).contains(&c);
            at += 3;
        } else {
            hit |= inner[at] == c;
            at += 1;
        }
    }
    Some((hit != negated, rest))
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
