//! From a Dockerfile's text to its logical lines: parser directives, continuations, comments and heredocs. What an
//! instruction means is not known here. The rules are those of BuildKit's `frontend/dockerfile/parser` (parser.go,
//! directives.go, split_command.go), quirks included.

use super::words;
use monoship_core::collect::Collect as _;

/// An instruction before it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logical {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its text, continuations joined and comments gone.
    pub text: String,
    /// The documents that follow it.
    pub heredocs: Vec<Heredoc>,
}

/// A here-document of a RUN, COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// True for `<<-`: leading tabs are taken off.
    pub chomp: bool,
    /// False where the word was quoted: variables stay as they are.
    pub expand: bool,
    /// What is between, line ends included.
    pub content: String,
}

/// What the head of the file says, and the instructions.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines {
    /// The value of `# syntax=`.
    pub syntax: Option<String>,
    /// The escape character, `\` or a backtick.
    pub escape: char,
    /// The instructions, in order.
    pub logical: Vec<Logical>,
}

/// Why a file cannot be cut into instructions: the line (from 1) and a fragment.
pub type Fault = (usize, String);

/// Cuts `text` into logical lines.
pub fn cut(text: &str) -> Result<Lines, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut physical = text.split_inclusive('\n').enumerate().map(|(at, line)| (at + 1, line));
    let mut out = Lines { syntax: syntax_below_shebang(text), escape: '\\', logical: Vec::new() };
    let mut directives = Directives::default();
    while let Some((number, line)) = physical.next() {
        let line = trim_end_of_line(line).trim_start();
        directives.read(line, number, &mut out)?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (first, mut more) = continued(line, out.escape);
        let mut joined = first.to_owned();
        while more {
            let Some((_, next)) = physical.next() else { break };
            let next = trim_end_of_line(next);
            let bare = next.trim_start();
            if bare.is_empty() || bare.starts_with('#') {
                continue;
            }
            let (part, goes_on) = continued(next, out.escape);
            joined.push_str(part);
            more = goes_on;
        }
        if joined.trim().is_empty() {
            continue;
        }
        let mut heredocs = announced(&joined);
        for heredoc in &mut heredocs {
            read_heredoc(heredoc, number, &mut physical)?;
        }
        out.logical.push(Logical { line: number, text: joined.trim().to_owned(), heredocs });
    }
    Ok(out)
}

fn read_heredoc<'t>(
    heredoc: &mut Heredoc,
    number: usize,
    physical: &mut impl Iterator<Item = (usize, &'t str)>,
) -> Result<(), Fault> {
    for (_, line) in physical {
        let bare = trim_end_of_line(line);
        let candidate = if heredoc.chomp { bare.trim_start_matches('\t') } else { bare };
        if candidate == heredoc.name {
            return Ok(());
        }
        heredoc.content.push_str(line);
    }
    Err((number, format!("the heredoc `{}` has no end", heredoc.name)))
}

fn trim_end_of_line(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without its continuation mark, and whether it had one: the escape character, last but for blanks, and not
/// itself preceded by one.
fn continued(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(head) if !head.ends_with(escape) => (head, true),
        _ => (line, false),
    }
}

#[derive(Default)]
struct Directives {
    done: bool,
    seen: Vec<String>,
}

impl Directives {
    /// Directives stand before anything else, comments included; the first line that is none ends them.
    fn read(&mut self, line: &str, number: usize, out: &mut Lines) -> Result<(), Fault> {
        if self.done {
            return Ok(());
        }
        let Some((name, value)) = directive(line) else {
            self.done = true;
            return Ok(());
        };
        if self.seen.contains(&name) {
            return Err((number, format!("only one `{name}` directive can be used")));
        }
        match name.as_str() {
            "syntax" => out.syntax = Some(value.to_owned()),
            "escape" => {
                out.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => return Err((number, format!("the escape character is `{value}`; it can be a backslash or a backtick"))),
                }
            }
            _ => {}
        }
        self.seen.push(name);
        Ok(())
    }
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    (matches!(name.as_str(), "syntax" | "escape" | "check") && !value.is_empty()).then_some((name, value))
}

/// A first line `#!…`, which BuildKit skips where it looks for the frontend (`DetectSyntax`), and which ends the directives where it reads the file.
fn shebang(text: &str) -> Option<&str> {
    text.split_inclusive('\n').next().filter(|line| line.starts_with("#!"))
}

fn syntax_below_shebang(text: &str) -> Option<String> {
    text.strip_prefix(shebang(text)?)?
        .lines()
        .map_while(directive)
        .find(|(name, _)| name == "syntax")
        .map(|(_, value)| value.to_owned())
}

/// The text with its `# syntax=` as a comment, after the directives that it stood among: every line below keeps its number.
pub fn without_syntax(text: &str) -> String {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut others, mut syntax) = (shebang(rest).unwrap_or_default().to_owned(), String::new());
    rest = &rest[others.len()..];
    while let Some(line) = rest.split_inclusive('\n').next() {
        let Some((name, _)) = directive(trim_end_of_line(line).trim_start()) else { break };
        if name == "syntax" {
            syntax = format!("#{}", line.trim_start());
        } else {
            others += line;
        }
        rest = &rest[line.len()..];
    }
    others + &syntax + rest
}

/// The heredocs a line announces, empty of content. Only RUN, COPY and ADD (and these under ONBUILD) have any, and not in JSON form.
fn announced(text: &str) -> Vec<Heredoc> {
    let (mut keyword, mut rest) = words::split_keyword(text);
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        (keyword, rest) = words::split_keyword(rest);
    }
    let may = ["RUN", "COPY", "ADD"].iter().any(|k| keyword.eq_ignore_ascii_case(k));
    let args = words::split_flags(rest, '\\').1;
    if !may || !text.contains("<<") || words::json_list(&args).is_some() {
        return Vec::new();
    }
    words::raw_words(text).unwrap_or_default().iter().filter_map(|word| heredoc(word)).into_vec()
}

/// Reads a word of the form `[fd]<<[-]NAME`, NAME quoted or not.
fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let (name, quoted) = words::unquote(rest)?;
    (!name.is_empty()).then_some(Heredoc { name, chomp, expand: !quoted, content: String::new() })
}
