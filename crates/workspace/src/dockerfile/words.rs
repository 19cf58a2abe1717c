//! Words of a Dockerfile line: keyword, flags, quoting, and `${…}` substitution as BuildKit's `frontend/dockerfile/shell`
//! (lex.go) does it. Knows nothing of stages.

use std::iter::Peekable;
use std::str::Chars;

use crate::matching::{Char, ends};
use monoship_core::collect::Collect as _;

/// The keyword and what follows it, blanks between them taken off.
pub fn split_keyword(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(|c: char| c.is_whitespace()).map_or((text, ""), |(keyword, rest)| (keyword, rest.trim_start()))
}

/// The `--flags` at the front, unquoted, and the rest.
pub fn split_flags(text: &str, escape: char) -> (Vec<String>, String) {
    let mut flags = Vec::new();
    let mut rest = text.trim();
    while rest.starts_with("--") {
        let (word, after) = flag(rest, escape);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest.to_owned())
}

fn flag(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, &text[at..]),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, "")
}

/// The strings of a JSON list, the "exec form"; `None` for anything else, which is then the shell form.
pub fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Words divided by blanks outside quotes, quotes and escapes kept: the words of ARG, ENV and LABEL.
pub fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                out.push(String::new());
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ => {}
        }
        let word = out.last_mut().expect("there is always a last word");
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    out.retain(|word| !word.is_empty());
    out
}

/// Words for finding heredocs: as [`quoted_words`], but `<<` keeps the blanks after it in the word. `None` where a quote or a
/// `${` is not closed; such a line announces nothing.
pub fn raw_words(text: &str) -> Option<Vec<String>> {
    let mut out = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            out.push(String::new());
            continue;
        }
        let word = out.last_mut().expect("there is always a last word");
        word.push(c);
        match c {
            '\'' => copy_until(&mut chars, word, '\'', false)?,
            '"' => copy_until(&mut chars, word, '"', true)?,
            '\\' => word.extend(chars.next()),
            '$' if chars.peek() == Some(&'{') => copy_until(&mut chars, word, '}', true)?,
            '<' if chars.peek() == Some(&'<') => {
                word.extend(chars.next());
                while let Some(blank) = chars.next_if(|c| c.is_whitespace()) {
                    word.push(blank);
                }
            }
            _ => {}
        }
    }
    out.retain(|word| !word.is_empty());
    Some(out)
}

fn copy_until(chars: &mut Peekable<Chars<'_>>, word: &mut String, end: char, escapes: bool) -> Option<()> {
    loop {
        let c = chars.next()?;
        word.push(c);
        if c == end {
            return Some(());
        }
        if escapes && c == '\\' {
            word.push(chars.next()?);
        }
    }
}

/// A word without its quotes and escapes, and whether it had quotes; `None` where it is more than one word.
pub fn unquote(text: &str) -> Option<(String, bool)> {
    let mut word = String::new();
    let mut quoted = false;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => return None,
            None if c == '\'' || c == '"' => (quote, quoted) = (Some(c), true),
            Some(q) if c == q => quote = None,
            _ if c == '\\' && quote != Some('\'') => word.extend(chars.next()),
            _ => word.push(c),
        }
    }
    quote.is_none().then_some((word, quoted))
}

/// What a name stands for; `None` where it is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Substitutes variables and takes quotes and escapes off. With `keep_unset`, a `$NAME` or `${NAME}` that is not set stays as it is.
///
/// # Errors
/// A fragment that says what is wrong with the substitution.
pub fn expand(text: &str, escape: char, keep_unset: bool, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expander = Expander { chars: text.chars().peekable(), escape, keep_unset, lookup };
    expander.until(None, false)
}

struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    keep_unset: bool,
    lookup: Lookup<'a>,
}

impl Expander<'_> {
    /// Everything up to `stop`, which is consumed; with `raw`, escapes stay (patterns need them).
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                _ if Some(c) == stop => return Ok(out),
                '\'' => loop {
                    match self.chars.next().ok_or("a single quote is not closed")? {
                        '\'' => break,
                        c => out.push(c),
                    }
                },
                '"' => self.double_quoted(&mut out)?,
                '$' => out.push_str(&self.dollar()?),
                _ if c == self.escape => {
                    if raw {
                        out.push(c);
                    }
                    out.extend(self.chars.next());
                }
                _ => out.push(c),
            }
        }
        match stop {
            None => Ok(out),
            Some(stop) => Err(format!("`{stop}` is missing")),
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next().ok_or("a double quote is not closed")? {
                '"' => return Ok(()),
                '$' => out.push_str(&self.dollar()?),
                c if c == self.escape => {
                    let escape = self.escape;
                    let escaped = self.chars.next_if(|c| matches!(c, '"' | '$') || *c == escape);
                    out.push(escaped.unwrap_or(c));
                }
                c => out.push(c),
            }
        }
    }

    fn dollar(&mut self) -> Result<String, String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(match (self.lookup)(&name) {
                _ if name.is_empty() => "$".to_owned(),
                Some(value) => value,
                None if self.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        let name = self.name();
        if name.is_empty() {
            return Err("bad substitution".to_owned());
        }
        let value = (self.lookup)(&name);
        let mut operator = self.chars.next().ok_or("`}` is missing")?;
        let colon = operator == ':';
        if colon {
            operator = self.chars.next().ok_or("`}` is missing")?;
        }
        match operator {
            '}' if !colon => Ok(match value {
                Some(value) => value,
                None if self.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            '-' | '+' | '?' => {
                let word = self.until(Some('}'), false)?;
                let value = value.filter(|value| !(colon && value.is_empty()));
                match (operator, value) {
                    ('-', value) => Ok(value.unwrap_or(word)),
                    ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
                    (_, Some(value)) => Ok(value),
                    (_, None) if word.is_empty() => Err(format!("{name} must be set")),
                    (_, None) => Err(format!("{name}: {word}")),
                }
            }
            '#' | '%' | '/' if !colon => self.pattern(&name, operator, value),
            _ => Err(format!("unsupported modifier `{operator}` in the substitution of {name}")),
        }
    }

    /// `${name#p}`, `${name##p}`, `${name%p}`, `${name%%p}`, `${name/p/r}`, `${name//p/r}`.
    fn pattern(&mut self, name: &str, operator: char, value: Option<String>) -> Result<String, String> {
        let doubled = self.chars.next_if_eq(&operator).is_some();
        let (pattern, replacement) = if operator == '/' {
            (self.until(Some('/'), true)?, self.until(Some('}'), true)?)
        } else {
            (self.until(Some('}'), true)?, String::new())
        };
        let Some(value) = value else {
            return Ok(if self.keep_unset { format!("${{{name}}}") } else { String::new() });
        };
        let mut chars: Vec<char> = value.chars().into_vec();
        let mut pattern = shell_pattern(&pattern);
        Ok(match operator {
            '#' => {
                let cut = length(&ends(&pattern, &chars), doubled).unwrap_or(0);
                chars[cut..].iter().collect()
            }
            '%' => {
                // From the back: the text and the pattern turned round.
                pattern.reverse();
                chars.reverse();
                let cut = length(&ends(&pattern, &chars), doubled).unwrap_or(0);
                chars[cut..].iter().rev().collect()
            }
            _ => replaced(&chars, &pattern, &replacement, doubled),
        })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(special) = self.chars.next_if(|c| "@*#?-$!".contains(*c)) {
            return special.to_string();
        }
        let digits = self.chars.peek().is_some_and(char::is_ascii_digit);
        while let Some(c) = self.chars.next_if(|c| if digits { c.is_ascii_digit() } else { c.is_alphanumeric() || *c == '_' }) {
            name.push(c);
        }
        name
    }
}

/// The shortest or the longest of the lengths that are possible.
fn length(possible: &[bool], longest: bool) -> Option<usize> {
    if longest { possible.iter().rposition(|is| *is) } else { possible.iter().position(|is| *is) }
}

fn replaced(value: &[char], pattern: &[Char], replacement: &str, all: bool) -> String {
    let mut out = String::new();
    let mut at = 0;
    let mut go_on = true;
    while at < value.len() {
        let hit = if go_on { length(&ends(pattern, &value[at..]), true).filter(|taken| *taken > 0) } else { None };
        if let Some(taken) = hit {
            out.push_str(replacement);
            (at, go_on) = (at + taken, all);
        } else {
            out.push(value[at]);
            at += 1;
        }
    }
    out
}

/// The shell's `*` and `?`; a backslash takes the next character as it is.
fn shell_pattern(text: &str) -> Vec<Char> {
    let mut chars = text.chars();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Char::All,
            '?' => Char::Each,
            '\\' => Char::Is(chars.next().unwrap_or('\\')),
            c => Char::Is(c),
        });
    }
    tokens
}
