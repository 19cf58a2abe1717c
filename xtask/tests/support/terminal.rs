//! A program on a terminal, `script`'s, where somebody types.

#![expect(clippy::disallowed_methods, reason = "a test types as a user does")]

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a program may take until it shows what it is waited for: no claim about its speed, but the end of a test that would hang.
const PATIENCE: Duration = Duration::from_mins(2);

/// The terminal. Its program ends with this value.
pub struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs a shell's command line on one.
    pub fn new(line: &str) -> Self {
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", line, "/dev/null"]).env("TERM", "xterm");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut output, all) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut part) {
                all.lock().unwrap().extend(&part[..length]);
            }
        });
        Self { keys: child.stdin.take(), child, shown }
    }

    /// Presses keys.
    pub fn types(&mut self, keys: &str) {
        self.keys.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, whatever else is.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.shown().contains(text) {
            assert!(Instant::now() < until, "{text:?} is never shown: {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that was shown, without what moves the cursor or sets a colour.
    pub fn shown(&self) -> String {
        let bytes = self.shown.lock().unwrap().clone();
        let text = String::from_utf8_lossy(&bytes);
        let mut parts = text.split('\u{1b}');
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // A control sequence ends with a letter; an escape without a bracket is one character long.
            let end = if part.starts_with('[') { part.find(|c: char| c.is_ascii_alphabetic()) } else { Some(0) };
            plain.push_str(end.and_then(|end| part.get(end + 1..)).unwrap_or_default());
        }
        plain
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal is gone with `script`, and its program with the terminal.
        drop(self.keys.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
