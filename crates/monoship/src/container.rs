//! A container that a stage starts from an image, and that ends with the stage whatever comes of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

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
        let mark = format!("{MARK}={}", unique());
        let run = docker.clone().args(["run", "--detach", "--label", &mark]).args(options.iter().copied()).arg(&name);
        self.log(&format!("$ {run}"));
        match run.read(&self.session().shutdown) {
            Ok(id) => Ok(Container { cx: self, docker, id: id.trim().to_owned() }),
            Err(error) => {
                self.remove_marked(&docker, &mark);
                Err(error)
            }
        }
    }

    /// Removes what a start that failed left: `docker run` makes a container before it starts it, and keeps it where a port is taken, the
    /// command is not there, or the run is stopped meanwhile.
    fn remove_marked(&self, docker: &Invocation, mark: &str) {
        let shutdown = Shutdown::new();
        let made = docker.clone().args(["ps", "--all", "--quiet", "--filter", &format!("label={mark}")]).read(&shutdown);
        for id in made.unwrap_or_default().split_whitespace() {
            self.warn_of_left(removed(docker, id, &self.session().shutdown), id);
        }
    }

    fn warn_of_left(&self, removed: Result<String>, id: &str) {
        if let Err(error) = removed {
            self.warn(format!("a container was left behind: {error}"), format!("`docker rm --force {id}` removes it"));
        }
    }
}

/// Removes a container. A run that is being stopped starts no child of its own any more, and does not end before this one has come to its end.
fn removed(docker: &Invocation, id: &str, run: &Shutdown) -> Result<String> {
    let _held = run.hold();
    docker.clone().args(["rm", "--force", "--volumes", id]).read(&Shutdown::new())
}

/// The label by which a container that did not start is found again.
const MARK: &str = "monoship.start";

/// A word that no other start on this machine's engine has.
fn unique() -> String {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{}", std::process::id(), since.as_nanos(), STARTS.fetch_add(1, Ordering::Relaxed))
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
        let run = &self.cx.session().shutdown;
        let _held = run.hold();
        if let Ok(logs) = self.logs() {
            self.cx.log(&logs);
        }
        self.cx.warn_of_left(removed(&self.docker, &self.id, run), &self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_run_does_not_end_before_its_container_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (held, run) = (dir.path().join("held"), Shutdown::new());
        run.close();
        // In place of docker: ends well once the run was seen to be held.
        let wait = "for try in $(seq 500); do if [ -e \"$0\" ]; then exit 0; fi; sleep 0.01; done; exit 1";
        let docker = Invocation::new("sh").args(["-c", wait]).arg(&held);
        let done = std::thread::scope(|scope| {
            let removing = scope.spawn(|| removed(&docker, "c0ffee", &run));
            while !removing.is_finished() {
                if run.is_held() {
                    std::fs::write(&held, "").unwrap();
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            removing.join().unwrap()
        });
        assert!(done.is_ok() && !run.is_held(), "{done:?}");
    }
}
