//! A container that a stage starts from an image, and that ends with the stage whatever comes of it.

use monoship_core::error::{Error, Result};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

use crate::context::Context;
use crate::stages::Image;

/// A running container; it is removed when this value goes, also where the run is stopped.
///
/// ```no_run
/// # fn smoke(cx: &monoship::Context, image: &monoship::Image) -> monoship::Result<()> {
/// let container = cx.start(image, &["--env", "PORT=8080"])?;
/// let answer = container.exec(&["node", "-e", "fetch('http://127.0.0.1:8080/health').then(r => process.exit(r.ok ? 0 : 1))"])?;
/// # Ok(()) }
/// ```
pub struct Container<'a> {
    cx: &'a Context,
    docker: Invocation,
    id: String,
}

impl Context {
    /// Starts a container from an image, on the engine that this run builds on. `options` are those of `docker run`: `--env`, `--publish`,
    /// `--volume`. An image in a registry is pulled.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, image: &monoship::Image) -> monoship::Result<()> {
    /// let container = cx.start(image, &["--env", "PORT=8080"])?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Where there is no engine, or the image does not start.
    pub fn start(&self, image: &Image, options: &[&str]) -> Result<Container<'_>> {
        let name = image.name().ok_or_else(|| Error::failed(format!("no image of {} was kept to start", image.service())))?;
        let docker = self.docker()?.into_call();
        let run = docker.clone().args(["run", "--detach"]).args(options.iter().copied()).arg(&name);
        self.log(&format!("$ {run}"));
        let id = run.read(&self.session().shutdown)?.trim().to_owned();
        Ok(Container { cx: self, docker, id })
    }
}

impl Container<'_> {
    /// Its id.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, image: &monoship::Image) -> monoship::Result<()> {
    /// let container = cx.start(image, &[])?;
    /// cx.say(format!("{} runs as {}", image.service(), container.id()));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs a command in it and returns what that wrote to standard output.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, image: &monoship::Image) -> monoship::Result<()> {
    /// let version = cx.start(image, &[])?.exec(&["node", "--version"])?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When it fails, or the container has ended.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        let call = self.docker.clone().args(["exec", &self.id]).args(command.iter().copied());
        self.cx.log(&format!("$ {call}"));
        call.read(&self.cx.session().shutdown)
    }

    /// What it has written so far, both streams.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, image: &monoship::Image) -> monoship::Result<()> {
    /// let container = cx.start(image, &[])?;
    /// cx.log(&container.logs()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the engine does not say.
    pub fn logs(&self) -> Result<String> {
        let output = self.docker.clone().args(["logs", &self.id]).run(&Shutdown::new())?;
        Ok(output.text() + &output.error_tail())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Ok(logs) = self.logs() {
            self.cx.log(&logs);
        }
        // A run that is being stopped starts no child of its own any more; this one has to go all the same.
        let removed = self.docker.clone().args(["rm", "--force", "--volumes", &self.id]).read(&Shutdown::new());
        if let Err(error) = removed {
            self.cx.warn(format!("a container was left behind: {error}"), format!("`docker rm --force {}` removes it", self.id));
        }
    }
}
