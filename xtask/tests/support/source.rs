//! A Rust file as the house rules read it: without its test code, comments and strings, and with the names that it uses spelt out.

use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    text: String,
    /// The same, byte for byte at the same place, with blanks for comments, strings and test code.
    code: String,
    /// Modules that are compiled for tests only and lie in files of their own.
    test_modules: Vec<String>,
    test_lines: usize,
}

impl Source {
    /// Reads a text.
    pub fn new(text: &str) -> Self {
        let mut code = without_words(text);
        let (test_modules, test_lines) = cut_tests(&mut code);
        Self { text: text.to_owned(), code, test_modules, test_lines }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many lines it has, but for those of test code.
    pub fn lines(&self) -> usize {
        self.text.lines().count() - self.test_lines
    }

    /// The files, of two possible names each, of its modules that are compiled for tests only.
    pub fn test_files(&self, path: &Path) -> Vec<PathBuf> {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let folder = if ["lib", "main", "mod"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
        let names = |module: &String| [folder.join(format!("{module}.rs")), folder.join(module).join("mod.rs")];
        self.test_modules.iter().flat_map(names).collect()
    }

    /// Each use of one of these names or of what lies below them, with its line. `use` lists are spelt out: `use std::{fs, io};` uses
    /// `std::fs`, and whatever is said with `fs::` afterwards need not be looked at.
    pub fn uses(&self, names: &[&str]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let line = |at: usize| 1 + self.code[..at].matches('\n').count();
        let imports = imports(&self.code);
        let is_below =
            |path: &str, name: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
        for name in names {
            let imported = imports.iter().filter(|(_, path)| {
                // A glob over what holds it brings it in too.
                is_below(path, name) || path.strip_suffix("::*").is_some_and(|all| is_below(name, all))
            });
            found.extend(imported.map(|(at, path)| (line(*at), path.clone())));
            found.extend(paths(&self.code, name).map(|at| (line(at), (*name).to_owned())));
            // `use std::env;` lets one say `env::var`, which is meant where `std::env` itself is not.
            for (_, path) in imports.iter().filter(|(_, path)| is_below(name, path) && path != name) {
                let short = &name[path.rfind("::").map_or(0, |at| at + 2)..];
                found.extend(paths(&self.code, short).map(|at| (line(at), (*name).to_owned())));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Where a path is written out, outside of `use` lists: not as the end of a longer name, nor as its beginning.
fn paths<'c>(code: &'c str, name: &'c str) -> impl Iterator<Item = usize> + 'c {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).map(|(at, _)| at).filter(move |at| {
        let (before, after) = (&code[..*at], &code[at + name.len()..]);
        // `::std::fs` is `std::fs`; `my::std::fs` is not.
        let own = before.strip_suffix("::").is_none_or(|start| !start.ends_with(is_word));
        own && !before.ends_with(is_word) && (name.ends_with('!') || !after.starts_with(is_word) && has_use(name, after))
    })
}

/// A crate's bare name is a use of it only where a path goes on.
fn has_use(name: &str, after: &str) -> bool {
    name.contains("::") || after.starts_with("::")
}

/// The full paths of all `use` declarations, with where each stands.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].trim_end();
        let starts =
            before.is_empty() || before.ends_with([';', '}', '{', ']']) || before.ends_with("pub") || before.ends_with(')');
        let Some(end) = code[at..].find(';').filter(|_| starts) else { continue };
        let tree = code[at + "use ".len()..at + end].split_whitespace().collect::<Vec<_>>().join(" ");
        spell(&tree, "", &mut |path| found.push((at, path)));
    }
    found
}

/// Spells a `use` tree out.
fn spell(tree: &str, prefix: &str, found: &mut dyn FnMut(String)) {
    let tree = tree.trim().trim_start_matches("::");
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        let whole = format!("{prefix}{path}");
        found(whole.strip_suffix("::self").map_or(whole.clone(), str::to_owned));
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].replace(' ', ""));
    let inner = &tree[open + 1..tree.rfind('}').expect("a list ends")];
    let (mut depth, mut start) = (0_u32, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    spell(&inner[start..at], &prefix, found);
                }
                start = (at + 1).min(inner.len());
            }
            _ => {}
        }
    }
}

/// The text with blanks for what is in comments, strings and characters; line ends stay.
fn without_words(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + word(&text[at..], at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_'));
        if end == at {
            at += 1;
            continue;
        }
        for byte in code[at..end].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        at = end;
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// How long the comment, string or character is that begins here; 0 where none does. `in_name`: a name goes on, so a letter opens nothing.
fn word(rest: &str, in_name: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        let mut depth = 0_u32;
        for (at, _) in rest.char_indices() {
            if rest[at..].starts_with("/*") {
                depth += 1;
            } else if rest[at..].starts_with("*/") {
                depth -= 1;
                if depth == 0 {
                    return at + 2;
                }
            }
        }
        return rest.len();
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !in_name);
    if let Some(opening) = raw {
        let hashes = opening.len() - opening.trim_start_matches('#').len();
        if opening[hashes..].starts_with('"') {
            let start = rest.len() - opening.len() + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            return rest[start..].find(&close).map_or(rest.len(), |at| start + at + close.len());
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    // A lifetime is no character: that has its closing quote after one character, or after an escape.
    let mut ahead = rest.strip_prefix('\'').unwrap_or_default().chars();
    match (ahead.next(), ahead.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Blanks every item that is compiled for tests only; the names of such modules that lie in files of their own, and how many lines went.
fn cut_tests(code: &mut String) -> (Vec<String>, usize) {
    let (mut elsewhere, mut lines) = (Vec::new(), 0);
    let mut from = 0;
    while let Some(start) = code[from..].find("#[cfg(test)]").map(|at| from + at) {
        let item = start + "#[cfg(test)]".len();
        let end = item + item_length(&code[item..]);
        let declared = code[item..end].split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(name) = declared.strip_suffix(';').and_then(|text| text.rsplit_once("mod ")).map(|(_, name)| name.trim()) {
            elsewhere.push(name.to_owned());
        }
        lines += code[start..end].lines().count();
        let blank: String = code[start..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
        from = end;
    }
    (elsewhere, lines)
}

/// How long an item is with the attributes before it: to its semicolon, or to the brace that closes its first one.
fn item_length(code: &str) -> usize {
    let mut depth = 0_u32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => {
                depth -= 1;
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}
