//! A child that runs while its starter does something else, and what it leaves. How one is started, and what of it
//! duct does, is `process.rs`'s to say.

use std::io::{self, PipeReader, Read as _};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::process::{Invocation, Output};
use super::shutdown::{Running, Shutdown};
use crate::collect::Collect as _;
use crate::error::{Error, Result};

/// How much is read of a pipe at once: what it holds.
const PIPE_BYTES: usize = 64 << 10;

/// A child that was started. What it writes waits in its pipes until [`Started::finish`]; dropped before, it is killed with its group.
pub struct Started {
    pub(super) invocation: Invocation,
    pub(super) shutdown: Shutdown,
    pub(super) running: Running,
    pub(super) handle: duct::Handle,
    pub(super) streams: [PipeReader; 2],
    pub(super) deadline: Option<Instant>,
}

impl Started {
    /// Waits for its end and returns both streams, whatever the exit code. No thread is needed for that: starting and joining two for each
    /// child costs more than reading what git says.
    ///
    /// # Errors
    /// When it passes its time limit, or the run is closing.
    pub fn finish(self) -> Result<Output> {
        let Self { invocation, shutdown, running, handle, streams, deadline } = self;
        let lost = |error| Error::failed(format!("lost track of `{invocation}`")).source(error);
        let read = read_both(&streams, deadline).map_err(lost)?;
        let ended = match (&read, deadline) {
            (None, _) => None,
            (Some(_), None) => Some(handle.wait().map_err(lost)?),
            (Some(_), Some(deadline)) => handle.wait_deadline(deadline).map_err(lost)?,
        };
        let (Some([stdout, stderr]), Some(ended)) = (read, ended) else {
            running.kill();
            return Err(invocation.too_slow());
        };
        let output = Output { code: ended.status.code(), stdout, stderr };
        drop(running);
        shutdown.check()?;
        Ok(output)
    }
}

/// Reads two pipes to their ends as they fill, so that neither stops the writer. `None` where the time is up before.
fn read_both(pipes: &[PipeReader; 2], deadline: Option<Instant>) -> io::Result<Option<[Vec<u8>; 2]>> {
    let mut read = [Vec::new(), Vec::new()];
    let mut open = [true; 2];
    let mut buffer = vec![0; PIPE_BYTES];
    while open.contains(&true) {
        let at: Vec<usize> = (0..2).filter(|at| open[*at]).into_vec();
        let mut waiting: Vec<PollFd<'_>> = at.iter().map(|at| PollFd::new(&pipes[*at], PollFlags::IN)).into_vec();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut waiting, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<usize> = at.iter().zip(&waiting).filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| *at).into_vec();
        for at in ready {
            let count = (&pipes[at]).read(&mut buffer)?;
            open[at] = count > 0;
            read[at].extend_from_slice(&buffer[..count]);
        }
    }
    Ok(Some(read))
}
