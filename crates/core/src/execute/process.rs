//! The only place that starts a process. Every child is the leader of its own process group and registered with
//! [`Shutdown`], so that a cancelled run leaves no orphan. Nothing here prints.
//!
//! duct starts the children that are waited for, and xshell's `cmd!` writes short command lines ([`shell`]); both run through
//! [`Invocation`]. What is not theirs, and why: the search on PATH (`Invocation::file`: duct clears the child's environment and sets it
//! anew, after which the standard library forks where it could spawn); pipes that are read by `poll` (`started.rs`: duct's `read` and
//! `stderr_capture` take a thread for each stream, and know no deadline that kills a group); daemons ([`Invocation::daemon`]:
//! a handle of duct's is there to be waited for, and a daemon outlives us); and running what `cmd!` wrote (xshell knows no process groups
//! and no stop switch).

mod invocation;
mod output;
mod stop;
#[cfg(test)]
mod tests;

pub use self::invocation::{Invocation, quoted};
pub use self::output::{NotStarted, Output};
pub use self::stop::Stop;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, pipe};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::invocation::Variable;
use crate::error::{Error, Result};
use crate::execute::shutdown::Shutdown;
use crate::execute::started::Started;
use crate::secret::is_withheld;
use crate::text;

impl Invocation {
    /// The program's file as execvp would find it on the child's PATH, else the name it was given. duct hands each child its whole
    /// environment, and where PATH is among what a child is given, the standard library spawns only a file and forks for a name. A path is one
    /// from the folder that the child runs in, as a shell there takes it: duct takes it from ours.
    #[expect(clippy::disallowed_methods, reason = "a child's variables are this process's, but those that the invocation sets")]
    fn file(&self) -> OsString {
        if self.program.as_encoded_bytes().contains(&b'/') {
            return self.dir.as_ref().map_or_else(|| self.program.clone(), |dir| dir.join(&self.program).into_os_string());
        }
        let is_path = |(name, _): &&(OsString, Variable)| name == "PATH";
        let set = self.env.iter().rfind(is_path).map(|(_, value)| value.value().map(OsStr::to_owned));
        let beside = self.beside.iter().rfind(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
        let path = set.unwrap_or_else(|| beside.or_else(|| std::env::var_os("PATH"))).unwrap_or_default();
        let runs = |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
        let found = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(&self.program)).find(runs);
        found.map_or_else(|| self.program.clone(), PathBuf::into_os_string)
    }

    /// Variables of our environment that the child does not get, nor others by their names.
    #[expect(clippy::disallowed_methods, reason = "a child's variables are this process's, but those that the invocation sets")]
    #[must_use]
    pub fn withheld(&self) -> Vec<OsString> {
        let named = |name: &str, one: &str| one.strip_suffix('*').map_or(one == name, |start| name.starts_with(start));
        let goes = |(name, value): &(OsString, OsString)| {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            match &self.only {
                Some(only) => !only.iter().any(|one| named(&name, one)),
                None => is_withheld(&name, &value) && !self.allowed.iter().any(|one| named(&name, one)),
            }
        };
        let all = std::env::vars_os().chain(self.beside.iter().cloned()).filter(goes).map(|(name, _)| name);
        all.filter(|name| !self.env.iter().any(|(set, _)| set == name)).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
    fn expression(&self) -> duct::Expression {
        let mut expression = duct::cmd(self.file(), &self.args).unchecked();
        // What duct is told first counts: what is set for the child, the last of it first, then what it is not given of ours.
        for (name, value) in self.env.iter().rev() {
            expression = match value.value() {
                Some(value) => expression.env(name, value),
                None => expression.env_remove(name),
            };
        }
        for name in self.withheld() {
            expression = expression.env_remove(name);
        }
        for (name, value) in &self.beside {
            expression = expression.env(name, value);
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
        // The system does not tell a missing program from a missing folder to run it in.
        if let Some(dir) = self.dir.as_ref().filter(|dir| missing && !dir.is_dir()) {
            return Error::failed(format!("there is no folder {}", dir.display()));
        }
        let failed = Error::failed(format!("cannot start `{program}`")).source(NotStarted::new(error));
        match (missing, program.contains('/')) {
            (true, true) => {
                let file = PathBuf::from(self.file());
                failed.hint(format!("is {} there, and the program that its first line names?", file.display()))
            }
            (true, false) => failed.hint(format!("is `{program}` installed and on PATH?")),
            (false, _) => failed,
        }
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
        let limit = text::duration(self.timeout.unwrap_or_default());
        Error::failed(format!("`{}` did not finish within {limit}", self.brief()))
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
        Error::failed(format!("`{}` {how}{said}", self.brief()))
    }

    /// Runs to the end, handing each line of standard error and standard output (merged, without the line end, invalid
    /// UTF-8 replaced) to `on_line` as it comes. Returns the exit code.
    ///
    /// # Errors
    /// When it cannot be started, passes its time limit, or the run is closing.
    pub fn stream(&self, shutdown: &Shutdown, on_line: impl FnMut(&str)) -> Result<Option<i32>> {
        self.stream_until(shutdown, &Stop::default(), on_line)
    }

    /// The same for a child that somebody else may end before: the exit code is none then. `stop` is for one child at a time.
    ///
    /// # Errors
    /// As [`Invocation::stream`].
    pub fn stream_until(&self, shutdown: &Shutdown, stop: &Stop, mut on_line: impl FnMut(&str)) -> Result<Option<i32>> {
        let expression = self.expression().stderr_to_stdout();
        let (running, reader) = shutdown.start(|| {
            let reader = expression.reader().map_err(|e| self.not_started(e))?;
            Ok((reader.pids()[0], reader))
        })?;
        let running = Arc::new(running);
        let until = stop.begin(&running);
        let watch = self.timeout.map(|limit| Watchdog::start(limit, Arc::clone(&running)));
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
        drop((until, running));
        shutdown.check()?;
        if expired {
            return Err(self.too_slow());
        }
        Ok(output.and_then(|output| output.status.code()))
    }

    /// Starts a process that outlives us: in a session of its own and in the root folder, for ours may be deleted while it runs; both
    /// streams appended to `log`. Returns its process id.
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
        command.current_dir(self.dir.as_deref().unwrap_or(Path::new("/")));
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
    fn start(limit: Duration, running: Arc<super::shutdown::Running>) -> Self {
        let (done, finished) = std::sync::mpsc::channel();
        let deadline = Instant::now() + limit;
        let thread = std::thread::spawn(move || {
            let expired = finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err();
            if expired {
                running.kill();
            }
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
