//! A terminal's screen, as `tmux capture-pane -e` prints it, as an SVG: text that can be read, searched and scaled. Only what our output has
//! is known: bold, faint and the sixteen colours (ECMA-48, 8.3.117).

use std::fmt::Write as _;

/// A letter's width and a line's height, in the picture's units.
const LETTER: f64 = 7.8;
const LINE: u32 = 19;
const MARGIN: u32 = 16;
/// The window's bar.
const BAR: u32 = 30;

/// How a stretch of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Look {
    bold: bool,
    faint: bool,
    colour: Option<u8>,
}

/// The picture.
pub fn svg(screen: &str) -> String {
    let lines: Vec<Vec<(Look, String)>> = lines(screen);
    let columns = lines.iter().map(|line| line.iter().map(|(_, text)| text.chars().count()).sum::<usize>()).max().unwrap_or(0);
    let width = f64::from(u32::try_from(columns).unwrap()).mul_add(LETTER, f64::from(2 * MARGIN)).ceil();
    let height = BAR + u32::try_from(lines.len()).unwrap() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>A terminal: cargo xtask build</title>\n\
         <style>text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;fill:#d7dae0;white-space:pre}}\
         .b{{font-weight:700}}.f{{fill:#8b919d}}.c1{{fill:#f07178}}.c2{{fill:#7fd88f}}.c3{{fill:#e5c07b}}.c4{{fill:#7aa2f7}}.c5{{fill:#c79bf0}}\
         .c6{{fill:#6cc7d6}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#16181d\"/>\n"
    );
    for (index, colour) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let _ = writeln!(svg, "<circle cx=\"{}\" cy=\"18\" r=\"5.5\" fill=\"{colour}\"/>", 20 + index * 18);
    }
    for (index, line) in lines.iter().enumerate() {
        let y = BAR + MARGIN + u32::try_from(index).unwrap() * LINE + 12;
        let mut column = 0;
        for (look, text) in line {
            let x = f64::from(column).mul_add(LETTER, f64::from(MARGIN));
            let length = u32::try_from(text.chars().count()).unwrap();
            column += length;
            if text.trim().is_empty() {
                continue;
            }
            // Whatever the reader's font is, the columns stand.
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" textLength=\"{:.1}\"{}>{}</text>",
                f64::from(length) * LETTER,
                class(*look),
                escaped(text)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn class(look: Look) -> String {
    let colour = look.colour.map(|colour| format!("c{colour}"));
    let parts = [look.bold.then(|| "b".to_owned()), look.faint.then(|| "f".to_owned()), colour];
    let names: Vec<String> = parts.into_iter().flatten().collect();
    if names.is_empty() { String::new() } else { format!(" class=\"{}\"", names.join(" ")) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Each line's stretches. What is set holds on over a line's end.
fn lines(screen: &str) -> Vec<Vec<(Look, String)>> {
    let mut look = Look::default();
    let read = |line: &str| {
        let mut pieces = line.split("\u{1b}[");
        let mut stretches = vec![(look, pieces.next().unwrap_or_default().to_owned())];
        for piece in pieces {
            let (codes, text) = piece.split_once('m').unwrap_or_else(|| panic!("no colour: {piece:?}"));
            codes.split(';').for_each(|code| set(&mut look, code));
            stretches.push((look, text.to_owned()));
        }
        // A bare `ESC ( B` is left by tmux where it resets.
        stretches.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    };
    screen.trim_end().lines().map(str::trim_end).map(read).collect()
}

fn set(look: &mut Look, code: &str) {
    match code.parse().unwrap_or(0_u8) {
        0 => *look = Look::default(),
        1 => look.bold = true,
        2 => look.faint = true,
        22 => (look.bold, look.faint) = (false, false),
        39 => look.colour = None,
        // The background's; nothing of ours sets it.
        49 => {}
        colour @ (30..=37) => look.colour = Some(colour - 30),
        colour @ (90..=97) => look.colour = Some(colour - 90),
        other => panic!("nothing of ours has the attribute {other}"),
    }
}
