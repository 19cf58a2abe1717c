//! How output looks: which display, and whether with colour. Pure functions of the flags and the environment.

use super::live::Signals;
use monoship_core::env::Env;

/// How progress is shown: what `--progress` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Progress {
    /// Live on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// One line a step, prefixed with the service.
    Plain,
    /// Problems and the final table only.
    Quiet,
    /// BuildKit's own progress stream, one JSON object a line.
    #[value(name = "rawjson")]
    RawJson,
}

/// Which display is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Redrawn in place.
    Live,
    /// Prefixed lines.
    Plain,
    /// A foldable group for each task, as GitHub Actions shows them.
    Grouped,
    /// Problems only.
    Quiet,
    /// JSON lines.
    RawJson,
}

/// How standard error looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Which display.
    pub mode: Mode,
    /// In which colours.
    pub paint: Paint,
    /// What the terminal knows, where it is one.
    pub terminal: Terminal,
}

/// What a terminal does that not every terminal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terminal {
    /// It divides lines anew as its width changes.
    pub reflows: bool,
    /// It shows a title or progress of its own.
    pub signals: Signals,
}

impl Terminal {
    /// What is known of a terminal by its variables. Most divide lines anew; xterm, screen and the Linux console cut them. Progress is told to
    /// those that cargo tells of it (its `term.progress.term-integration`).
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let term = env.get("TERM").unwrap_or_default();
        let inside = env.get("TMUX").is_some();
        let cuts = !inside && (env.get("XTERM_VERSION").is_some() || env.get("STY").is_some() || term == "linux");
        let has_title =
            ["xterm", "tmux", "screen", "alacritty", "foot", "rxvt", "wezterm"].iter().any(|name| term.starts_with(name));
        let is_program = |name: &str| env.get("TERM_PROGRAM").is_some_and(|program| program.eq_ignore_ascii_case(name));
        let progress = env.get("ConEmuANSI") == Some("ON")
            || env.get("WT_SESSION").is_some()
            || is_program("WezTerm")
            || is_program("ghostty")
            || (is_program("iTerm.app") && env.get("TERM_FEATURES").is_some_and(|features| features.contains('P')));
        Self { reflows: !cuts, signals: Signals { title: has_title, progress: progress && !inside } }
    }
}

impl Style {
    /// Decides from what was asked for and where standard error goes. A display that redraws itself is of no use in a pipe, on
    /// a terminal without cursor movement, or in a CI log, even where CI gives it a terminal.
    #[must_use]
    pub fn choose(asked: Progress, env: &Env) -> Self {
        let mode = match asked {
            Progress::Auto if env.stderr_is_terminal && !env.is_ci() && !is_dumb(env) => Mode::Live,
            Progress::Auto if env.flag("GITHUB_ACTIONS") => Mode::Grouped,
            Progress::Auto | Progress::Plain => Mode::Plain,
            Progress::Quiet => Mode::Quiet,
            Progress::RawJson => Mode::RawJson,
        };
        Self { mode, paint: Paint { colour: colour(env, env.stderr_is_terminal) }, terminal: Terminal::of(env) }
    }
}

/// Whether a stream is coloured: `NO_COLOR` forbids it, `CLICOLOR_FORCE` (or `FORCE_COLOR`) demands it, otherwise a terminal
/// gets it unless `CLICOLOR=0` (the conventions of no-color.org and bixense.com/clicolors).
#[must_use]
pub fn colour(env: &Env, is_terminal: bool) -> bool {
    if env.get("NO_COLOR").is_some() {
        return false;
    }
    let forced = env.flag("CLICOLOR_FORCE") || env.flag("FORCE_COLOR");
    forced || (is_terminal && !is_dumb(env) && env.get("CLICOLOR") != Some("0"))
}

fn is_dumb(env: &Env) -> bool {
    env.get("TERM") == Some("dumb")
}

/// Puts text into colour, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    /// Whether to do it.
    pub colour: bool,
}

impl Paint {
    /// Text as it is.
    pub const PLAIN: Self = Self { colour: false };

    /// What went well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.sgr("32", text)
    }

    /// What went wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.sgr("1;31", text)
    }

    /// What to look at.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.sgr("1;33", text)
    }

    /// What to do.
    #[must_use]
    pub fn hint(self, text: &str) -> String {
        self.sgr("1;36", text)
    }

    /// What it is about.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// What may be overlooked.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.sgr("2", text)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(terminal: bool, vars: &[(&str, &str)]) -> Env {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut env = Env::new("/", vars);
        env.stderr_is_terminal = terminal;
        env
    }

    #[test]
    fn the_display_is_live_only_on_a_terminal_that_a_person_looks_at() {
        let mode = |asked, env| Style::choose(asked, &env).mode;
        assert_eq!(mode(Progress::Auto, env(true, &[])), Mode::Live);
        assert_eq!(mode(Progress::Auto, env(false, &[])), Mode::Plain);
        assert_eq!(mode(Progress::Auto, env(true, &[("CI", "true")])), Mode::Plain);
        assert_eq!(mode(Progress::Auto, env(true, &[("CI", "false")])), Mode::Live);
        assert_eq!(mode(Progress::Auto, env(true, &[("TERM", "dumb")])), Mode::Plain);
        assert_eq!(mode(Progress::Auto, env(true, &[("GITHUB_ACTIONS", "true")])), Mode::Grouped);
        assert_eq!(mode(Progress::Plain, env(true, &[])), Mode::Plain);
        assert_eq!(mode(Progress::Quiet, env(true, &[])), Mode::Quiet);
        assert_eq!(mode(Progress::RawJson, env(false, &[])), Mode::RawJson);
    }

    #[test]
    fn colour_obeys_no_color_then_force_then_the_terminal() {
        assert!(colour(&env(true, &[]), true));
        assert!(!colour(&env(false, &[]), false));
        assert!(!colour(&env(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]), true));
        assert!(colour(&env(true, &[("NO_COLOR", "")]), true), "an empty NO_COLOR is not set");
        assert!(colour(&env(false, &[("CLICOLOR_FORCE", "1")]), false));
        assert!(!colour(&env(false, &[("CLICOLOR_FORCE", "0")]), false));
        assert!(!colour(&env(true, &[("CLICOLOR", "0")]), true));
        assert!(!colour(&env(true, &[("TERM", "dumb")]), true));
    }

    #[test]
    fn a_terminal_is_told_only_what_it_is_known_to_understand() {
        let of = |vars: &[(&str, &str)]| Terminal::of(&env(true, vars));
        let xterm = of(&[("TERM", "xterm-256color"), ("XTERM_VERSION", "XTerm(390)")]);
        assert_eq!(xterm, Terminal { reflows: false, signals: Signals { title: true, progress: false } });
        let wezterm = [("TERM", "xterm-256color"), ("TERM_PROGRAM", "WezTerm")];
        assert_eq!(of(&wezterm), Terminal { reflows: true, signals: Signals { title: true, progress: true } });
        let inside = [wezterm.as_slice(), &[("TMUX", "/tmp/tmux-0/default,1,0")]].concat();
        assert_eq!(of(&inside), Terminal { reflows: true, signals: Signals { title: true, progress: false } });
        assert_eq!(of(&[("TERM", "linux")]), Terminal::default());
        assert!(of(&[("TERM_PROGRAM", "iTerm.app"), ("TERM_FEATURES", "T3LrMSc7UUw9Ts3BFGsSyHNoSxFP")]).signals.progress);
        assert!(!of(&[("TERM_PROGRAM", "iTerm.app")]).signals.progress);
    }

    #[test]
    fn without_colour_text_stays_as_it_is() {
        assert_eq!(Paint::PLAIN.bad("error"), "error");
        assert_eq!(Paint { colour: true }.bad("error"), "\x1b[1;31merror\x1b[0m");
    }
}
