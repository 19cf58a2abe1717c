//! The only place that starts a process. Every child is the leader of its own process group and registered with
//! [`Shutdown`], so that a cancelled run leaves no orphan. Nothing here prints.
//!
//! duct starts the children that are waited for, and xshell's `cmd!` writes short command lines ([`shell`]); both run through
//! [`Invocation`]. What is not theirs, and why: the search on PATH (`Invocation::file`: duct clears the child's environment and sets it
//! anew, after which the standard library forks where it could spawn); pipes that are read by `poll` (`started.rs`: duct's `read` and
//! `stderr_capture` take a thread for each stream, and know no deadline that kills a group); daemons ([`Invocation::daemon`]:
//! a handle of duct's is there to be waited for, and a daemon outlives us); and running what `cmd!` wrote (xshell knows no process groups
//! and no stop switch).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead as _, BufReader, pipe};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::execute::shutdown::Shutdown;
use crate::execute::started::Started;
use crate::secret::{Secret, is_withheld, mask};

/// How many bytes of a child's error output an error message quotes, from the end.
const QUOTED_BYTES: usize = 2_000;

/// A command line that has not been run: what `--dry-run` prints and what [`Invocation::run`] executes are this one value.
///
/// A child gets our environment less what is secret in it ([`is_withheld`]); what it needs of that is named to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Variable)>,
    /// Secrets of our environment that it may have, by name; `AWS_*` means all that begin so.
    allowed: Vec<String>,
    /// Where set, it gets these variables of our environment and no others.
    only: Option<Vec<&'static str>>,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    timeout: Option<Duration>,
}

/// What becomes of a variable in a child.
#[derive(Clone, PartialEq, Eq)]
enum Variable {
    Set(OsString),
    /// Set, and shown as `***`.
    Secret(Secret),
    /// Set, and shown as what a shell would take it from; without a value only shown.
    Taken {
        shown: String,
        value: Option<Secret>,
    },
    Removed,
}

impl Variable {
    fn value(&self) -> Option<&OsStr> {
        match self {
            Self::Set(value) => Some(value),
            Self::Secret(secret) => Some(OsStr::new(secret.expose())),
            Self::Taken { value, .. } => value.as_ref().map(|secret| OsStr::new(secret.expose())),
            Self::Removed => None,
        }
    }
}

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

impl Invocation {
    /// A command without arguments; `program` is looked up on the child's PATH unless it has a slash.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            allowed: Vec::new(),
            only: None,
            dir: None,
            stdin: None,
            timeout: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable for the child.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Variable::Set(value.into())));
        self
    }

    /// Sets a variable that holds a secret: it shows as `***`.
    #[must_use]
    pub fn env_secret(mut self, name: impl Into<OsString>, value: Secret) -> Self {
        self.env.push((name.into(), Variable::Secret(value)));
        self
    }

    /// Lets the child have these of our own secret variables, where we have them; a name that ends in `*` means all that begin so.
    #[must_use]
    pub fn may_have(mut self, names: &[&str]) -> Self {
        self.allowed.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Lets the child have these variables of ours and no others, beside those that are set.
    #[must_use]
    pub fn only(mut self, names: &[&'static str]) -> Self {
        self.only = Some(names.to_vec());
        self
    }

    /// Sets a variable for the child whose value is neither displayed nor in any debug output: `command`, which a shell takes it from, is
    /// displayed in its place. Without a value nothing is set: the invocation is only to be shown.
    #[must_use]
    pub fn secret_env(mut self, name: impl Into<OsString>, command: &Self, value: Option<Secret>) -> Self {
        // Quotes within `$(…)` stand for themselves, whatever is around it.
        self.env.push((name.into(), Variable::Taken { shown: format!("\"$({command})\""), value }));
        self
    }

    /// Takes a variable away from the child.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Variable::Removed));
        self
    }

    /// Runs in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Feeds `bytes` to the child's standard input; without this it reads end-of-file.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Kills the child and fails once `limit` has passed.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The arguments, for tests and for `--dry-run --json`.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.args.iter().map(OsString::as_os_str)
    }

    /// The program, as given.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The program's file as execvp would find it on the child's PATH, else the name it was given. duct hands each child its whole
    /// environment, and where PATH is among what a child is given, the standard library spawns only a file and forks for a name.
    #[expect(clippy::disallowed_methods, reason = "a child's variables are this process's, but those that the invocation sets")]
    fn file(&self) -> OsString {
        let is_path = |(name, _): &&(OsString, Variable)| name == "PATH";
        let set = self.env.iter().rfind(is_path).map(|(_, value)| value.value().map(OsStr::to_owned));
        let path = set.unwrap_or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let runs = |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
        let found = || std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(&self.program)).find(runs);
        let file = if self.program.as_encoded_bytes().contains(&b'/') { None } else { found() };
        file.map_or_else(|| self.program.clone(), PathBuf::into_os_string)
    }

    /// Variables of our environment that the child does not get.
    #[expect(clippy::disallowed_methods, reason = "a child's variables are this process's, but those that the invocation sets")]
    fn withheld(&self) -> Vec<OsString> {
        let named = |name: &str, one: &str| one.strip_suffix('*').map_or(one == name, |start| name.starts_with(start));
        let goes = |(name, value): &(OsString, OsString)| {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            match &self.only {
                Some(only) => !only.iter().any(|one| named(&name, one)),
                None => is_withheld(&name, &value) && !self.allowed.iter().any(|one| named(&name, one)),
            }
        };
        std::env::vars_os().filter(goes).map(|(name, _)| name).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(self.file(), &self.args).unchecked();
        for name in self.withheld() {
            expression = expression.env_remove(name);
        }
        for (name, value) in &self.env {
            expression = match value.value() {
                Some(value) => expression.env(name, value),
                None => expression.env_remove(name),
            };
        }
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        expression = match &self.stdin {
            Some(bytes) => expression.stdin_bytes(bytes.clone()),
            None => expression.stdin_null(),
        };
        expression.before_spawn(|command| {
            command.process_group(0);
            Ok(())
        })
    }

    fn not_started(&self, error: std::io::Error) -> Error {
        let program = self.program.to_string_lossy();
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let failed = Error::failed(format!("cannot start `{program}`")).source(NotStarted(error));
        if missing { failed.hint(format!("is `{program}` installed and on PATH?")) } else { failed }
    }

    /// Runs to the end and captures both streams, whatever the exit code.
    ///
    /// # Errors
    /// When it cannot be started, passes its time limit, or the run is closing.
    pub fn run(&self, shutdown: &Shutdown) -> Result<Output> {
        self.start(shutdown)?.finish()
    }

    /// Starts it, for who has something else to do until it ends.
    ///
    /// # Errors
    /// When it cannot be started, or the run is closing.
    pub fn start(&self, shutdown: &Shutdown) -> Result<Started> {
        let (running, (handle, streams)) = shutdown.start(|| {
            let ((stdout, out), (stderr, err)) = pipe().and_then(|out| Ok((out, pipe()?))).map_err(|e| self.not_started(e))?;
            let handle = self.expression().stdout_file(out).stderr_file(err).start().map_err(|e| self.not_started(e))?;
            Ok((handle.pids()[0], (handle, [stdout, stderr])))
        })?;
        let deadline = self.timeout.map(|limit| Instant::now() + limit);
        Ok(Started { invocation: self.clone(), shutdown: shutdown.clone(), running, handle, streams, deadline })
    }

    pub(super) fn too_slow(&self) -> Error {
        let limit = self.timeout.unwrap_or_default().as_secs_f64();
        Error::failed(format!("`{self}` did not finish within {limit:.0} s"))
    }

    /// Runs to the end and returns standard output as text; a failure quotes the end of standard error.
    ///
    /// # Errors
    /// As [`Invocation::run`], and when the exit code is not 0.
    pub fn read(&self, shutdown: &Shutdown) -> Result<String> {
        let output = self.run(shutdown)?;
        if output.success() { Ok(output.text()) } else { Err(self.failure(output.code, &output.error_tail())) }
    }

    /// The error for a run that ended with `code` after saying `tail`.
    #[must_use]
    pub fn failure(&self, code: Option<i32>, tail: &str) -> Error {
        let how = code.map_or("was ended by a signal".to_owned(), |code| format!("failed with exit code {code}"));
        let said = if tail.is_empty() { String::new() } else { format!(": {tail}") };
        Error::failed(format!("`{self}` {how}{said}"))
    }

    /// Runs to the end, handing each line of standard error and standard output (merged, without the line end, invalid
    /// UTF-8 replaced) to `on_line` as it comes. Returns the exit code.
    ///
    /// # Errors
    /// When it cannot be started, passes its time limit, or the run is closing.
    pub fn stream(&self, shutdown: &Shutdown, mut on_line: impl FnMut(&str)) -> Result<Option<i32>> {
        let expression = self.expression().stderr_to_stdout();
        let (running, reader) = shutdown.start(|| {
            let reader = expression.reader().map_err(|e| self.not_started(e))?;
            Ok((reader.pids()[0], reader))
        })?;
        // Not `Option::map`: its closure would drop `running`, and so kill the child, where there is no limit.
        let (watch, unwatched) = match self.timeout {
            Some(limit) => (Some(Watchdog::start(limit, running)), None),
            None => (None, Some(running)),
        };
        let mut lines = BufReader::new(&reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => on_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])),
                Err(error) => return Err(Error::failed(format!("cannot read from `{self}`")).source(error)),
            }
        }
        let expired = watch.is_some_and(Watchdog::stop);
        let output = reader.try_wait().map_err(|e| Error::failed(format!("lost track of `{self}`")).source(e))?;
        drop(unwatched);
        shutdown.check()?;
        if expired {
            return Err(self.too_slow());
        }
        Ok(output.and_then(|output| output.status.code()))
    }

    /// Starts a process that outlives us: in a session of its own, both streams appended to `log`. Returns its process id.
    /// It is not registered with any [`Shutdown`]; whoever starts a daemon records its pid and stops it.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    pub fn daemon(&self, log: &Path) -> Result<u32> {
        let file = std::fs::File::options().create(true).append(true).open(log);
        let file = file.map_err(|e| Error::io("open", log, e))?;
        let twin = file.try_clone().map_err(|e| Error::io("open", log, e))?;
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).stdin(std::process::Stdio::null()).stdout(file).stderr(twin).process_group(0);
        for name in self.withheld() {
            command.env_remove(name);
        }
        for (name, value) in &self.env {
            match value.value() {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let child = command.spawn().map_err(|e| self.not_started(e))?;
        Ok(child.id())
    }
}

/// Kills a child's group when its time is up.
struct Watchdog {
    done: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(limit: Duration, running: super::shutdown::Running) -> Self {
        let (done, finished) = std::sync::mpsc::channel();
        let deadline = Instant::now() + limit;
        let thread = std::thread::spawn(move || {
            let expired = finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err();
            drop(running);
            expired
        });
        Self { done, thread }
    }

    /// True where the time was up before this call.
    fn stop(self) -> bool {
        // The thread has gone where the time was up; then nobody receives.
        let _ = self.done.send(());
        self.thread.join().unwrap_or(false)
    }
}

/// A shell in the folder `dir`, for short sequential glue: `Invocation::from(cmd!(sh, "tar --extract --file {archive}"))`.
///
/// # Errors
/// When the program's own working folder is gone.
pub fn shell(dir: &Path) -> Result<xshell::Shell> {
    let shell = xshell::Shell::new().map_err(|e| Error::failed("the working folder cannot be used").source(e))?;
    shell.change_dir(dir);
    Ok(shell)
}

impl From<xshell::Cmd<'_>> for Invocation {
    /// What `xshell::cmd!` says, run under [`Shutdown`] as everything is. The shell's folder and variables come along.
    fn from(cmd: xshell::Cmd<'_>) -> Self {
        let command: std::process::Command = cmd.into();
        let variable = |value: Option<&OsStr>| value.map_or(Variable::Removed, |value| Variable::Set(value.to_owned()));
        Self {
            program: command.get_program().to_owned(),
            args: command.get_args().map(OsStr::to_owned).collect(),
            env: command.get_envs().map(|(name, value)| (name.to_owned(), variable(value))).collect(),
            dir: command.get_current_dir().map(Path::to_owned),
            ..Self::new("")
        }
    }
}

/// As it is displayed: nothing else of it may be shown.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line that can be pasted into a POSIX shell, variables first; in the place of secrets stands `***`. The folder is not part of it.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            match value {
                Variable::Set(value) => write!(f, "{}={} ", name.to_string_lossy(), mask(&quoted(value)))?,
                Variable::Secret(secret) => write!(f, "{}={secret} ", name.to_string_lossy())?,
                Variable::Taken { shown, .. } => write!(f, "{}={shown} ", name.to_string_lossy())?,
                Variable::Removed => {}
            }
        }
        f.write_str(&mask(&quoted(&self.program)))?;
        for arg in &self.args {
            write!(f, " {}", mask(&quoted(arg)))?;
        }
        Ok(())
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new("sh").args(["-c", script])
    }

    #[test]
    fn a_command_shows_as_a_line_a_shell_takes_back() {
        let line = Invocation::new("printf").args(["%s|", "a b", "it's", "", "x=1"]).env("A", "1 2").to_string();
        assert_eq!(line, r"A='1 2' printf %s'|' 'a b' 'it'\''s' '' x=1".replace("%s'|'", "'%s|'"));
        assert_eq!(sh(&line).read(&Shutdown::new()).unwrap(), "a b|it's||x=1|");
    }

    #[test]
    fn a_secret_variable_reaches_the_child_and_nothing_that_is_shown() {
        let command = Invocation::new("gh").args(["auth", "token"]);
        let call = sh("printf %s \"$T\"").secret_env("T", &command, Some(Secret::new("s3cret")));
        assert_eq!(call.read(&Shutdown::new()).unwrap(), "s3cret");
        let shown = format!("{call} {call:?}");
        assert!(shown.starts_with("T=\"$(gh auth token)\" sh -c ") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_failure_names_the_command_its_code_and_what_it_said() {
        let error = sh("echo no room >&2; exit 7").read(&Shutdown::new()).unwrap_err().to_string();
        assert!(error.ends_with("failed with exit code 7: no room"), "{error}");
        let error = Invocation::new("no-such-program-here").read(&Shutdown::new()).unwrap_err();
        assert!(error.hint_text().is_some_and(|h| h.contains("no-such-program-here")));
    }

    #[test]
    fn a_secret_variable_reaches_the_child_and_is_shown_nowhere() {
        let secret = Secret::new("s3cret-of-this-child");
        let call = sh("echo \"$X\"; echo \"said $X\" >&2; exit 3").env_secret("X", secret.clone());
        let output = call.run(&Shutdown::new()).unwrap();
        assert_eq!(output.text(), secret.expose());
        let error = call.read(&Shutdown::new()).unwrap_err();
        for shown in [format!("{call} {call:?} {error} {error:?}"), call.clone().timeout(Duration::ZERO).too_slow().to_string()] {
            assert!(!shown.contains(secret.expose()) && shown.contains("X=*** sh -c"), "{shown}");
        }
        let as_argument = Invocation::new("echo").arg(format!("--key={}", secret.expose())).to_string();
        assert_eq!(as_argument, "echo --key=***");
    }

    #[test]
    fn a_child_gets_our_variables_less_the_secret_ones_or_those_alone_that_it_is_named() {
        let run = |call: Invocation| call.read(&Shutdown::new()).unwrap();
        // Cargo gives each test these; the process's own environment cannot be set here.
        let all = run(Invocation::new("env"));
        assert!(all.contains("CARGO_PKG_NAME=") && all.contains("PATH="), "{all}");
        let one = run(Invocation::new("/usr/bin/env").only(&["CARGO_PKG_N*"]).env("Y", "1"));
        assert!(one.lines().all(|line| line.starts_with("CARGO_PKG_NAME=") || line == "Y=1"), "{one}");
        Secret::new(env!("CARGO_PKG_DESCRIPTION"));
        let withheld = run(Invocation::new("env"));
        assert!(!withheld.contains("CARGO_PKG_DESCRIPTION=") && withheld.contains("PATH="), "{withheld}");
        let named = run(Invocation::new("env").may_have(&["CARGO_PKG_DESC*"]));
        assert!(named.contains("CARGO_PKG_DESCRIPTION="), "{named}");
    }

    #[test]
    fn lines_come_from_both_streams_and_the_exit_code_after_them() {
        let mut lines = Vec::new();
        let code = sh("echo out; echo err >&2; exit 3").stream(&Shutdown::new(), |l| lines.push(l.to_owned())).unwrap();
        lines.sort();
        assert_eq!((code, lines), (Some(3), vec!["err".to_owned(), "out".to_owned()]));
    }

    #[test]
    fn a_slow_child_is_killed_with_its_whole_group() {
        for invocation in [sh("sleep 3600 & sleep 3600"), sh("sleep 3600 & sleep 3600; true")] {
            let slow = invocation.timeout(Duration::from_millis(100));
            assert!(slow.run(&Shutdown::new()).unwrap_err().to_string().contains("did not finish"));
            assert!(slow.stream(&Shutdown::new(), |_| ()).unwrap_err().to_string().contains("did not finish"));
        }
    }

    #[test]
    fn once_closing_children_end_and_none_starts() {
        let shutdown = Shutdown::new();
        let closer = shutdown.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            closer.close();
        });
        // Ignores SIGTERM and has a grandchild: only SIGKILL to the group ends it.
        let error = sh("trap '' TERM; sleep 3600 & sleep 3600 & wait").stream(&shutdown, |_| ()).unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        thread.join().unwrap();
        assert!(sh("true").run(&shutdown).unwrap_err().is_cancelled());
    }
}
