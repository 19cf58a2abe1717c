//! What a long build tells the terminal itself: a title, and progress that the taskbar or the tab shows. Text only.
//!
//! Sources: OSC 2 and the title stack (CSI 22 t, CSI 23 t) as in xterm's ctlseqs; OSC 9;4 as in ConEmu's documentation, "ANSI escape codes".

use std::time::{Duration, Instant};

use super::super::board::Whole;

/// A build shorter than this tells nothing: it is over before anybody looks elsewhere.
const LONG: Duration = Duration::from_secs(5);

/// Which of the two the terminal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals {
    /// A title that can be put back.
    pub title: bool,
    /// Progress.
    pub progress: bool,
}

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: String,
}

impl Told {
    /// What to write now; empty where nothing changed.
    pub(super) fn now(&mut self, signals: Signals, whole: &Whole, now: Instant) -> String {
        if whole.elapsed(now) < LONG {
            return String::new();
        }
        let mut text = String::new();
        if signals.title {
            let failed = if whole.failed > 0 { format!(", {} failed", whole.failed) } else { String::new() };
            text = format!("\x1b]2;{}/{} built{failed}\x07", whole.built, whole.total);
        }
        if signals.progress {
            let share = whole.over() * 100 / whole.total.max(1);
            // 1 is progress, 2 is progress with an error.
            text = format!("{text}\x1b]9;4;{};{share}\x1b\\", if whole.failed > 0 { 2 } else { 1 });
        }
        if text == self.last {
            return String::new();
        }
        let is_first = self.last.is_empty();
        self.last.clone_from(&text);
        if is_first && signals.title { format!("\x1b[22;2t{text}") } else { text }
    }

    /// What takes it all back.
    pub(super) fn end(&self, signals: Signals) -> String {
        if self.last.is_empty() {
            return String::new();
        }
        let title = if signals.title { "\x1b[23;2t" } else { "" };
        let progress = if signals.progress { "\x1b]9;4;0;\x1b\\" } else { "" };
        format!("{title}{progress}")
    }
}
