//! What a finished child left, and why one could not be started.

use std::fmt;

use crate::secret::mask;

/// How many bytes of a child's error output an error message quotes, from the end.
const QUOTED_BYTES: usize = 2_000;

/// What a finished child left: its exit code (`None` where a signal ended it) and both streams.
#[derive(Debug, Clone)]
pub struct Output {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// Why a program could not be started: the source of the error that says so.
#[derive(Debug)]
pub struct NotStarted(std::io::Error);

impl NotStarted {
    pub(super) fn new(error: std::io::Error) -> Self {
        Self(error)
    }

    /// True where there is no such program.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.0.kind() == std::io::ErrorKind::NotFound
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotStarted {}

impl Output {
    /// True for exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output as text, invalid UTF-8 replaced, without the trailing line ends.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// The end of standard error, for an error message.
    #[must_use]
    pub fn error_tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        // Before it is cut: half a secret would be known by nobody.
        let text = mask(text.trim_end());
        let mut from = text.len().saturating_sub(QUOTED_BYTES);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text[from..].to_owned()
    }
}
