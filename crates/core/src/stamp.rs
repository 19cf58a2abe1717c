//! The line by which a generated file says which version of the library wrote it, and whether anybody has edited it since. Pure.

use crate::name::sha256_hex;

/// What the line begins with. Every file that is generated takes `#` for a comment.
const MARK: &str = "# monoship: ";

/// How far down the line is looked for: people put licence notes and `# syntax=` above it.
const WITHIN: usize = 20;

/// What a generated file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The version that wrote it.
    pub version: semver::Version,
    /// True where the file is no longer what that version wrote.
    pub edited: bool,
}

/// The line for a file whose other lines are `body`.
fn line(version: &str, body: &str) -> String {
    format!("{MARK}{version} {}", digest(body))
}

/// A file of these lines, with the stamp as its line number `at`, counted from 0.
#[must_use]
pub fn stamped(body: &str, at: usize, version: &str) -> String {
    let split = body.split_inclusive('\n').take(at).map(str::len).sum();
    let (head, tail) = body.split_at(split);
    format!("{head}{}\n{tail}", line(version, body))
}

/// What a file says of itself; `None` where it has no such line, as a file that somebody made their own by taking the line out.
#[must_use]
pub fn read(text: &str) -> Option<Stamp> {
    let (at, said) = text.lines().enumerate().take(WITHIN).find_map(|(at, line)| Some((at, line.strip_prefix(MARK)?)))?;
    let (version, written) = said.trim_end().split_once(' ')?;
    let lines = text.split_inclusive('\n').enumerate().filter(|(number, _)| *number != at);
    let body: String = lines.map(|(_, line)| line).collect();
    Some(Stamp { version: version.parse().ok()?, edited: digest(&body) != written })
}

/// A short hash of the text. Git may have changed its line ends.
fn digest(body: &str) -> String {
    sha256_hex(body.replace("\r\n", "\n").as_bytes())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_who_wrote_it_and_whether_it_was_edited() {
        for at in [0, 1] {
            let text = stamped("# one\ntwo\nthree\n", at, "1.2.3");
            assert_eq!(text.lines().nth(at).map(|line| line.starts_with("# monoship: 1.2.3 ")), Some(true), "{text}");
            let stamp = read(&text).unwrap();
            assert_eq!((stamp.version.to_string().as_str(), stamp.edited), ("1.2.3", false));
            assert!(!read(&text.replace('\n', "\r\n")).unwrap().edited, "git's line ends are no edit");
            assert!(read(&text.replace("two", "2")).unwrap().edited);
            assert!(read(&format!("# licence\n{text}")).unwrap().edited);
        }
    }

    #[test]
    fn a_file_without_the_line_is_nobodys() {
        for text in ["", "FROM x\n", "# monoship: \n", "# monoship: soon 0\n", "# monoship: 1.2.3\n"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
