//! Putting the section into a body, and taking it out again. Bytes outside the section are copied, never rebuilt.

use std::ops::Range;

use super::{Form, Markers, ReleaseNotes, longest_fit};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;

/// A body with the section in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The whole body.
    pub body: String,
    /// How much of the section fitted.
    pub form: Form,
    /// What a person should look at: broken markers, a shortened section.
    pub warnings: Vec<String>,
}

/// Puts the section into `body`: in the place of the one that is there, or at the end. Doing it twice changes nothing.
///
/// | the markers | what happens |
/// |---|---|
/// | none, or only inside code fences | appended; put in front where the body ends inside an open fence |
/// | one pair | replaced |
/// | an opening one alone | the section takes its place; the old text below it stays, with a warning |
/// | a closing one alone | appended; it stays |
/// | several pairs | the first is replaced; the others stay, with a warning |
///
/// # Errors
/// When even the shortest form does not leave the body within GitHub's limit.
pub fn merge(body: &str, notes: &ReleaseNotes) -> Result<Merged> {
    let layout = Layout::read(body, &notes.markers());
    let end = layout.line_end(body);
    let (form, body) =
        longest_fit(|form| layout.fill(body, &notes.section(form).replace('\n', end), end), |made| made.chars().count())?;
    let mut warnings = layout.warnings;
    match form {
        Form::Full => {}
        Form::Short => warnings.push("platforms and changes were left out of the notes: the body is near its limit".to_owned()),
        Form::List => warnings.push("the notes list only names and digests: the body is near its limit".to_owned()),
        Form::Pointer => warnings.push("the notes only say where the images are listed: the body is near its limit".to_owned()),
    }
    Ok(Merged { body, form, warnings })
}

/// The section of a body, markers excluded.
pub(super) fn section_of<'b>(body: &'b str, markers: &Markers) -> Option<&'b str> {
    let (marks, _) = marks(body, markers);
    let pair = pairs(&marks).into_iter().next()?;
    Some(&body[marks[pair.0].range.end..marks[pair.1].range.start])
}

/// A marker alone on its line, outside code fences; the range is the marker itself, without the line end.
struct Mark {
    opens: bool,
    range: Range<usize>,
}

/// Where the section goes.
enum Place {
    /// Over these bytes.
    Over(Range<usize>),
    /// After everything.
    Append,
    /// Before everything.
    Prepend,
}

struct Layout {
    place: Place,
    warnings: Vec<String>,
}

impl Layout {
    fn read(body: &str, markers: &Markers) -> Self {
        let (marks, open_fence) = marks(body, markers);
        let mut pairs = pairs(&marks).into_iter().map(|(open, close)| marks[open].range.start..marks[close].range.end);
        let mut warnings = Vec::new();
        let Some(first) = pairs.next() else {
            let place = match marks.iter().find(|mark| mark.opens) {
                Some(mark) => {
                    warnings.push(format!(
                        "the line `{}` is missing: the old list was left below the new one; delete it by hand",
                        markers.end
                    ));
                    Place::Over(mark.range.clone())
                }
                None if open_fence => Place::Prepend,
                None => Place::Append,
            };
            return Self { place, warnings };
        };
        if pairs.next().is_some() {
            warnings.push("there is more than one list of images between markers: only the first was renewed".to_owned());
        }
        Self { place: Place::Over(first), warnings }
    }

    /// The body's own line end: CRLF where most of its lines end so. The old section decides only where nothing else has lines:
    /// a rerun must find what the last run decided.
    fn line_end(&self, body: &str) -> &'static str {
        let (before, inside, after) = match &self.place {
            Place::Over(range) => (&body[..range.start], &body[range.clone()], &body[range.end..]),
            Place::Append | Place::Prepend => (body, "", ""),
        };
        let count = |parts: &[&str]| {
            let all: usize = parts.iter().map(|part| part.matches('\n').count()).sum();
            let crlf: usize = parts.iter().map(|part| part.matches("\r\n").count()).sum();
            (all, crlf)
        };
        let outside = count(&[before, after]);
        let (all, crlf) = if outside.0 > 0 { outside } else { count(&[inside]) };
        if crlf * 2 > all { "\r\n" } else { "\n" }
    }

    fn fill(&self, body: &str, section: &str, end: &str) -> String {
        match &self.place {
            Place::Append if body.is_empty() => section.to_owned(),
            Place::Append => {
                let blank = body.ends_with("\n\n") || body.ends_with("\n\r\n");
                let gap = if blank { 0 } else { 1 + usize::from(!body.ends_with('\n')) };
                format!("{body}{}{section}{end}", end.repeat(gap))
            }
            Place::Prepend => format!("{section}{end}{end}{body}"),
            Place::Over(range) => format!("{}{section}{}", &body[..range.start], &body[range.end..]),
        }
    }
}

/// Indices of an opening marker and the closing one that follows it with no other marker between.
fn pairs(marks: &[Mark]) -> Vec<(usize, usize)> {
    let next_closes = |at: usize| marks[at].opens && marks.get(at + 1).is_some_and(|next| !next.opens);
    (0..marks.len()).filter(|at| next_closes(*at)).map(|at| (at, at + 1)).into_vec()
}

/// The markers, and whether the body ends inside a code fence. A marker with spaces before it is in a list or in code, so it is
/// not ours; our writer puts none there.
fn marks(body: &str, markers: &Markers) -> (Vec<Mark>, bool) {
    let mut marks = Vec::new();
    let mut fence: Option<Fence> = None;
    let mut start = 0;
    for line in body.split_inclusive('\n') {
        let text = line.trim_end();
        match &fence {
            Some(open) if open.closed_by(text) => fence = None,
            Some(_) => {}
            None if text == markers.begin || text == markers.end => {
                marks.push(Mark { opens: text == markers.begin, range: start..start + text.len() });
            }
            None => fence = Fence::opened_by(text),
        }
        start += line.len();
    }
    (marks, fence.is_some())
}

/// A fenced code block, by CommonMark 0.31 §4.5: up to three spaces, three or more backticks or tildes.
struct Fence {
    mark: char,
    length: usize,
}

impl Fence {
    fn opened_by(line: &str) -> Option<Self> {
        let (mark, length, info) = Self::run(line)?;
        let is_code_span = mark == '`' && info.contains('`');
        (length >= 3 && !is_code_span).then_some(Self { mark, length })
    }

    fn closed_by(&self, line: &str) -> bool {
        Self::run(line).is_some_and(|(mark, length, rest)| mark == self.mark && length >= self.length && rest.trim().is_empty())
    }

    fn run(line: &str) -> Option<(char, usize, &str)> {
        let text = line.trim_start_matches(' ');
        let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let rest = text.trim_start_matches(mark);
        (line.len() - text.len() <= 3).then_some((mark, text.len() - rest.len(), rest))
    }
}

/// What changes from `old` to `new`, as lines with `-`, `+` and up to three of context; places apart from each other have a line
/// with `…` between them. Empty where nothing changes.
#[must_use]
pub fn diff(old: &str, new: &str) -> String {
    const CONTEXT: usize = 3;
    let lines = |text: &'_ str| text.split('\n').map(|line| line.replace('\r', "␍")).into_vec();
    let (old, new) = (lines(old), lines(new));
    let places = similar::group_diff_ops(similar::capture_diff_slices(similar::Algorithm::Myers, &old, &new), CONTEXT);
    let mut shown = String::new();
    for (at, place) in places.iter().enumerate() {
        if at > 0 {
            shown.push_str("…\n");
        }
        for change in place.iter().flat_map(|op| op.iter_changes(&old, &new)) {
            let sign = match change.tag() {
                similar::ChangeTag::Equal => ' ',
                similar::ChangeTag::Delete => '-',
                similar::ChangeTag::Insert => '+',
            };
            shown.extend([sign, ' ']);
            shown.push_str(&change.value());
            shown.push('\n');
        }
    }
    shown
}
