//! Text for people: made safe for a terminal, measured in columns, and numbers with their units. Pure; no I/O, no colour.

use std::borrow::Cow;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many columns a tab advances to, as terminals do it.
const TAB_COLUMNS: usize = 8;

/// One line from outside, safe to show: escape sequences, control and bidirectional-override characters are gone, tabs and
/// line ends are spaces, and of a line that overwrote itself with carriage returns only what a terminal would end up showing is left.
///
/// A build's output is not ours: it could otherwise clear the screen, set the window's title, write to the clipboard or command a CI system.
#[must_use]
pub fn clean(line: &str) -> String {
    if line.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return without_commands(line).into_owned();
    }
    let mut shown = String::with_capacity(line.len());
    let mut previous = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            // The eight-bit forms of CSI, and of OSC, DCS, SOS, PM and APC.
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => previous = std::mem::take(&mut shown),
            '\n' => shown.push(' '),
            '\t' => {
                let columns = width(&shown) % TAB_COLUMNS;
                shown.extend(std::iter::repeat_n(' ', TAB_COLUMNS - columns));
            }
            c if c.is_control() || is_direction_control(c) => {}
            c => shown.push(c),
        }
    }
    let shown = if shown.is_empty() { previous } else { shown };
    without_commands(&shown).into_owned()
}

/// The same text, which no CI system takes a command from wherever in a line it stands: a runner looks for `##[name]` (GitHub, Azure) and
/// `##vso[name]` (Azure) in all of it, TeamCity's agent for `##teamcity[name]`.
#[must_use]
pub fn without_commands(text: &str) -> Cow<'_, str> {
    let is_name = |after: &str| after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('[');
    let is_command = |at: usize| text[at..].strip_prefix("##").is_some_and(is_name);
    if !text.match_indices('#').any(|(at, _)| is_command(at)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 4);
    for (at, c) in text.char_indices() {
        shown.push(c);
        if is_command(at) {
            shown.push('\u{200b}');
        }
    }
    Cow::Owned(shown)
}

/// A name from outside in a line of ours: line ends, escape, control and bidirectional-override characters are written out, as `\n`. A file's
/// name may hold them, and its line would be two, of which a CI system takes the second for a command.
#[must_use]
pub fn written_out(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() || is_direction_control(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    without_commands(&shown).into_owned()
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an escape character (ECMA-48, 5.3 and 5.4).
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => skip_control_sequence(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        // Intermediate bytes, then one final byte: `ESC ( B` chooses a character set.
        Some(' '..='/') => while chars.next().is_some_and(|c| (' '..='/').contains(&c)) {},
        _ => {}
    }
}

/// Skips parameter and intermediate bytes up to the final byte of a control sequence.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next().is_some_and(|c| (' '..='?').contains(&c)) {}
}

/// Skips a command string up to its terminator, which is BEL, ST or `ESC \`.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Characters that reorder the text after them, which make a log line read other than it is.
fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
}

/// How many terminal columns `text` takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to at most `columns` columns, with `…` at the end where something was cut.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if columns > left {
            break;
        }
        left -= columns;
        fitted.push(c);
    }
    if columns > 0 {
        fitted.push('…');
    }
    fitted
}

/// `text` cut to at most `columns` columns, with `…` in the place of its middle where something was cut: of a command both ends tell.
#[must_use]
pub fn fit_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let start = fit(text, room.div_ceil(2) + 1);
    let (mut tail, mut left) = (text.len(), room / 2);
    for (at, c) in text.char_indices().rev() {
        let columns = c.width().unwrap_or(0);
        if columns > left {
            break;
        }
        left -= columns;
        tail = at;
    }
    start + &text[tail..]
}

/// `text` in lines of at most `columns` columns, divided between words; a word that is longer has a line of its own.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Lines for a terminal of so many columns: one that is longer goes on below itself, divided between words, from where its last column begins
/// (what follows two spaces in its first half). Colours are kept, and take no room. Without a terminal (`None`) the text stays as it is.
#[must_use]
pub fn folded(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let mut folded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if shown_width(line) <= columns {
            folded.extend([line, end]);
            continue;
        }
        let indent = hanging(line, columns / 2);
        let mut at = 0;
        for (index, word) in line.split(' ').enumerate() {
            let (gap, takes) = (usize::from(index > 0), shown_width(word));
            if !word.is_empty() && at > indent && at + gap + takes > columns {
                folded.push('\n');
                folded.extend(std::iter::repeat_n(' ', indent));
                at = indent + takes;
            } else {
                folded.extend(std::iter::repeat_n(' ', gap));
                at += gap + takes;
            }
            folded.push_str(word);
        }
        folded.push_str(end);
    }
    folded
}

/// Where the lines below a line begin: under its last column, else two further than itself.
fn hanging(line: &str, most: usize) -> usize {
    let plain = shown(line);
    let start = plain.len() - plain.trim_start().len();
    let columns = plain.match_indices("  ").map(|(at, _)| at + plain[at..].len() - plain[at..].trim_start().len());
    let last = columns.map(|at| width(&plain[..at])).filter(|at| *at <= most).max();
    last.filter(|at| *at > start).unwrap_or(start + 2)
}

fn shown_width(text: &str) -> usize {
    width(&shown(text))
}

/// Without its colours.
fn shown(text: &str) -> Cow<'_, str> {
    if text.contains('\u{1b}') { Cow::Owned(clean(text)) } else { Cow::Borrowed(text) }
}

/// `text` followed by spaces up to `columns` columns; longer text stays whole.
#[must_use]
pub fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{:missing$}", "")
}

/// The last `columns` columns' worth of room filled from the left: numbers line up at their end.
#[must_use]
pub fn pad_left(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{:missing$}{text}", "")
}

/// A size in decimal units with three significant digits at most, as registries and Docker show it: `142 MB`, `1.25 GB`.
#[must_use]
pub fn bytes(size: u64) -> String {
    let mut unit = "B";
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = size as f64;
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 {
        return format!("{value:.0} {unit}");
    }
    let digits = if value >= 9.995 { 1 } else { 2 };
    format!("{value:.digits$} {unit}")
}

/// A duration to a tenth of a second below a minute, then to the second: `0.4s`, `12.3s`, `1m 04s`, `2h 05m`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = (time.as_millis() + 500) / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if hours == 0 { format!("{minutes}m {:02}s", seconds % 60) } else { format!("{hours}h {:02}m", minutes % 60) }
}

/// A duration that is no measurement but a habit: `3.2s`, then to the second: `35s`, `1m 04s`.
#[must_use]
pub fn about(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1000;
    if (10..60).contains(&seconds) { format!("{seconds}s") } else { duration(time) }
}

/// `1 record`, `3 records`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// How long ago something was, in its largest unit: `40s`, `12m`, `5h`, `30d`.
#[must_use]
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_outside_cannot_steer_the_terminal() {
        assert_eq!(clean("plain"), "plain");
        assert_eq!(clean("\x1b[31mred\x1b[0m \x1b[1;38;5;4mx\x1b[K"), "red x");
        assert_eq!(clean("\x1b]0;title\x07a\x1b]52;c;Zm9v\x1b\\b\x1bP1$r\u{9c}c\x1b(Bd\x1bce"), "abcde");
        assert_eq!(clean("\u{9b}2Jcleared\u{9d}0;x\u{7}"), "cleared");
        assert_eq!(clean("a\u{202e}b\u{0}c\u{8}d\u{7f}"), "abcd");
        assert_eq!(clean("1\tx"), "1       x");
        assert_eq!(clean("\x1b]never ended"), "");
    }

    #[test]
    fn a_name_with_line_ends_and_escapes_stays_one_line_and_says_what_it_holds() {
        assert_eq!(written_out("src/ü b.ts"), "src/ü b.ts");
        assert_eq!(written_out("##[add-mask]a"), "#\u{200b}#[add-mask]a");
        assert_eq!(written_out("a\n::error::\u{1b}[31m\rb\u{202e}\t"), r"a\n::error::\u{1b}[31m\rb\u{202e}\t");
    }

    #[test]
    fn of_a_line_that_overwrote_itself_the_last_state_is_left() {
        assert_eq!(clean("10%\r50%\r100%"), "100%");
        assert_eq!(clean("100%\r"), "100%");
        assert_eq!(clean("\r"), "");
        assert_eq!(clean("ssh: no such host\r\nfatal: nothing was read"), "ssh: no such host fatal: nothing was read");
    }

    #[test]
    fn text_is_cut_and_padded_by_columns_not_by_bytes() {
        assert_eq!(fit("服务器", 5), "服务…");
        assert_eq!(fit("naïve", 5), "naïve");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit_middle("install everything @acme/api", 15), "install…cme/api");
        assert_eq!(fit_middle("服务器服务器", 6), "服…器");
        assert_eq!([fit_middle("abc", 0), fit_middle("abc", 1), fit_middle("abc", 2)], ["", "…", "a…"]);
        assert_eq!(folded("one two three\nfour\n", Some(7)), "one two\n  three\nfour\n");
        let line = "api  build   file apps/api/src/main.ts changed; file package.json changed";
        let expected = "\
api  build   file apps/api/src/main.ts
             changed; file package.json
             changed
";
        assert_eq!(folded(&format!("{line}\n"), Some(40)), expected);
        let painted = line.replace("build", "\u{1b}[1mbuild\u{1b}[0m");
        assert_eq!(clean(&folded(&painted, Some(40))), clean(&folded(line, Some(40))), "colours take no room");
        assert_eq!(folded("  • unbreakable-word-of-many-letters x", Some(10)), "  • unbreakable-word-of-many-letters\n    x");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable x", 4), ["unbreakable", "x"]);
        assert_eq!(pad("服", 4), "服  ");
        assert_eq!(pad_left("7", 3), "  7");
    }

    #[test]
    fn sizes_and_durations_have_three_digits_at_most() {
        let sizes = [0, 999, 1000, 9_994, 142_400_000, 999_600_000, 1_250_000_000];
        assert_eq!(sizes.map(bytes), ["0 B", "999 B", "1.00 kB", "9.99 kB", "142 MB", "1.00 GB", "1.25 GB"]);
        let times = [0, 449, 59_940, 59_960, 64_000, 3_599_600, 7_500_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(times, ["0.0s", "0.4s", "59.9s", "1m 00s", "1m 04s", "1h 00m", "2h 05m"]);
    }

    #[test]
    fn a_habit_is_told_to_the_second() {
        assert_eq!([3_240, 34_960, 64_000].map(|ms| about(Duration::from_millis(ms))), ["3.2s", "35s", "1m 04s"]);
    }

    #[test]
    fn no_text_is_a_command_to_a_ci_system() {
        for evil in ["##[set-output name=a;]b", "a ##vso[task.complete]", "###[x]", "#\u{7}#[y]", "é ##teamcity[z]"] {
            let shown = clean(evil);
            assert!(["##[", "##vso[", "##teamcity["].iter().all(|command| !shown.contains(command)), "{shown}");
            assert_eq!(shown.replace('\u{200b}', ""), evil.replace('\u{7}', ""));
        }
        for plain in ["## Heading [1]", "a # [b]", "#[derive]", "##"] {
            assert_eq!(clean(plain), plain);
        }
    }

    #[test]
    fn any_text_cleans_to_one_line_without_control_characters() {
        let mut seed = 7_u64;
        for _ in 0..3_000 {
            let text: String = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let pool = ['\x1b', '[', ']', '\r', '\n', '\u{7}', 'm', '3', ';', '\\', 'é', '\u{9b}', '\t', 'P', '(', '服'];
                pool[usize::try_from(seed >> 60).unwrap()]
            })
            .take(24)
            .collect();
            assert!(clean(&text).chars().all(|c| !c.is_control()), "{text:?}");
            assert!(width(&fit(&clean(&text), 9)) <= 9);
        }
    }
}
