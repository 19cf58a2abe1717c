//! An error as a person sees it: `error:` with the place and the cause, `hint:` with what to do.

use super::commands::inert;
use super::style::Paint;
use monoship_core::error::Error;
use monoship_core::text;

/// The error's lines, each ended. An error may quote what a child said, or a name from outside, so nothing in it can steer the terminal, or
/// the runner, which takes a line for a command however it is indented.
#[must_use]
pub fn text(error: &Error, paint: Paint) -> String {
    let mut shown = labelled(&paint.bad("error:"), &error.to_string());
    if let Some(hint) = error.hint_text() {
        shown += &labelled(&paint.hint("hint:"), hint);
    }
    shown
}

/// The label before the first line, the others indented.
fn labelled(label: &str, message: &str) -> String {
    let lines = message.lines().map(|line| inert(&text::clean(line))).enumerate();
    lines.map(|(number, line)| if number == 0 { format!("{label} {line}\n") } else { format!("  {line}\n") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_hint_stand_on_lines_of_their_own() {
        let error = Error::usage("unknown key `regsitry`").at("xtask.toml", Some(3)).hint("did you mean `registry`?");
        let expected = "error: xtask.toml:3: unknown key `regsitry`\nhint: did you mean `registry`?\n";
        assert_eq!(text(&error, Paint::PLAIN), expected);
        let coloured = text(&error, Paint { colour: true });
        assert!(coloured.starts_with("\x1b[1;31merror:\x1b[0m xtask.toml:3:") && coloured.contains("\x1b[1;36mhint:\x1b[0m"));
    }

    #[test]
    fn what_a_child_said_is_quoted_line_by_line_and_harmless() {
        let error = Error::failed("`docker info` failed: no\n\x1b[2Jdaemon");
        assert_eq!(text(&error, Paint::PLAIN), "error: `docker info` failed: no\n  daemon\n");
        let error = Error::usage("there is no service `x\n::add-mask::a`").hint("##[group]y");
        assert!(text(&error, Paint::PLAIN).lines().all(|line| !line.trim_start().starts_with("::") && !line.contains("##[")));
    }
}
