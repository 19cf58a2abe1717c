//! A command as a team's stage runs it: logged with the stage, ended with the run, its secrets out of sight.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::Invocation;

use crate::context::Context;

/// A command that is to be run; made by [`Context::command`] and [`Context::docker`].
///
/// ```no_run
/// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
/// let version = cx.command("node").args(["--version"]).read()?;
/// cx.say(format!("node {version}"));
/// # Ok(()) }
/// ```
#[must_use = "a command does nothing until it is run or read"]
pub struct Command<'a> {
    cx: &'a Context,
    call: Invocation,
}

impl<'a> Command<'a> {
    pub(crate) fn new(cx: &'a Context, call: Invocation) -> Self {
        Self { cx, call: call.beside(cx.variables()) }
    }

    /// Adds an argument.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("git").arg("gc").run()?;
    /// # Ok(()) }
    /// ```
    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        Self { call: self.call.arg(arg), ..self }
    }

    /// Adds arguments.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("git").args(["fetch", "--tags"]).run()?;
    /// # Ok(()) }
    /// ```
    pub fn args<A: Into<OsString>>(self, args: impl IntoIterator<Item = A>) -> Self {
        Self { call: self.call.args(args), ..self }
    }

    /// Sets a variable. What is set here is shown where the command is: a secret is handed on by [`Command::secrets`], or by standard input.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("make").env("TARGET", "docs").run()?;
    /// # Ok(()) }
    /// ```
    pub fn env(self, name: &str, value: &str) -> Self {
        Self { call: self.call.env(name, value), ..self }
    }

    /// Hands it these variables, whose names say that they are secret (`…TOKEN`, `…PASSWORD`, …). It gets all others anyway, and none of these
    /// unless it is named; `AWS_*` names all that begin so.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("./deploy.sh").secrets(["DEPLOY_TOKEN", "AWS_*"]).run()?;
    /// # Ok(()) }
    /// ```
    pub fn secrets<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&str> = names.into_iter().into_vec();
        Self { call: self.call.may_have(&names), ..self }
    }

    /// Runs it in this folder, seen from the repository's root.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("make").dir("docs").run()?;
    /// # Ok(()) }
    /// ```
    pub fn dir(self, dir: impl Into<PathBuf>) -> Self {
        Self { call: self.call.dir(self.cx.root().join(dir.into())), ..self }
    }

    /// Hands it these bytes on standard input.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("kubectl").args(["apply", "--filename", "-"]).stdin("kind: Namespace\n").run()?;
    /// # Ok(()) }
    /// ```
    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { call: self.call.stdin(bytes), ..self }
    }

    /// Ends it after this time, which is then an error.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("sh").args(["-c", "./wait-for-database"]).timeout(std::time::Duration::from_secs(60)).run()?;
    /// # Ok(()) }
    /// ```
    pub fn timeout(self, limit: Duration) -> Self {
        Self { call: self.call.timeout(limit), ..self }
    }

    pub(crate) fn into_call(self) -> Invocation {
        self.call
    }

    /// Runs it; its lines go to the log as they come.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// cx.command("helm").args(["upgrade", "shop", "./chart"]).run()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When it cannot be started, fails, takes too long, or the run is stopped. The error quotes its last lines.
    pub fn run(self) -> Result<()> {
        let session = self.cx.session();
        let mut last = std::collections::VecDeque::new();
        self.note();
        let ended = self.call.stream(&session.shutdown, |line| {
            self.cx.log(line);
            last.push_back(line.to_owned());
            if last.len() > 5 {
                last.pop_front();
            }
        });
        let said = last.make_contiguous().join("\n");
        let said = said.trim();
        match ended {
            Ok(Some(0)) => Ok(()),
            Ok(code) => {
                self.note_withheld();
                Err(self.call.failure(code, said))
            }
            Err(error) if error.is_cancelled() || said.is_empty() => Err(error),
            Err(error) => Err(Error::failed(format!("{error}: {said}"))),
        }
    }

    /// Runs it and returns what it wrote to standard output, without white space at the ends.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// let branch = cx.command("git").args(["branch", "--show-current"]).read()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn read(self) -> Result<String> {
        self.note();
        let said = self.call.read(&self.cx.session().shutdown);
        said.inspect_err(|_| self.note_withheld()).map(|text| text.trim().to_owned())
    }

    fn note(&self) {
        self.cx.log(&format!("$ {}", self.call));
    }

    /// Beside a failure: what it may have missed.
    fn note_withheld(&self) {
        let names: Vec<String> = self.call.withheld().iter().map(|name| name.to_string_lossy().into_owned()).into_vec();
        if !names.is_empty() {
            let names = names.join(", ");
            self.cx.log(&format!("it was not given {names}: a secret is handed on by `Command::secrets` alone"));
        }
    }
}
