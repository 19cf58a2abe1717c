//! Stopping a run: once it is closing no new child may start, and every child's process group is ended. No policy on what a
//! run is lives here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::collect::Collect as _;
use crate::error::{Error, Result};
use crate::sorted::SortedSet;

/// How long a child may take to end by itself after SIGTERM before its group gets SIGKILL. A runner gives us 7.5 s
/// after SIGINT, and the promise to a person at the keyboard is three seconds, so this stays well below both.
pub const GRACE: Duration = Duration::from_millis(1_500);

/// The run's stop switch, shared by everything that starts a child. Cloning is cheap and means the same run.
#[derive(Clone, Default)]
pub struct Shutdown {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    closing: bool,
    groups: SortedSet<i32>,
    held: usize,
}

/// Something that has to come to its end before the process does; see [`Shutdown::hold`].
pub struct Hold {
    shutdown: Shutdown,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shutdown.lock().held -= 1;
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("closing", &self.is_closing()).finish_non_exhaustive()
    }
}

impl Shutdown {
    /// A switch that nothing has thrown yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while holding this lock leaves a set of numbers that is still valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once a stop was asked for.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Keeps a stopped run from ending the process for as long as the value lives: for what must be put back. A second signal of the same
    /// kind ends it all the same.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.lock().held += 1;
        Hold { shutdown: self.clone() }
    }

    /// True while something must come to its end first.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lock().held > 0
    }

    /// # Errors
    /// `cancelled`, once a stop was asked for. For loops that start no child.
    pub fn check(&self) -> Result<()> {
        if self.is_closing() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Asks every child to end (SIGTERM to its group) and refuses new ones; groups that are still there after [`GRACE`]
    /// are killed. Blocks at most a little over [`GRACE`]. Called by the signal thread, never by a worker.
    pub fn close(&self) {
        let groups = {
            let mut state = self.lock();
            state.closing = true;
            state.groups.clone()
        };
        signal_all(&groups, Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && self.lock().groups.iter().any(|group| group_lives(*group)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// Kills what is left at once.
    pub fn kill(&self) {
        let mut state = self.lock();
        state.closing = true;
        signal_all(&state.groups, Signal::KILL);
    }

    /// Starts a child through `start`, which returns its process group and a value, unless the run is closing. Holding
    /// the lock across the start is what makes "no new child once closing" exact.
    pub(super) fn start<T>(&self, start: impl FnOnce() -> Result<(u32, T)>) -> Result<(Running, T)> {
        let mut state = self.lock();
        if state.closing {
            return Err(Error::cancelled());
        }
        let (pid, value) = start()?;
        let group = pid.cast_signed();
        state.groups.insert(group);
        Ok((Running { shutdown: self.clone(), group }, value))
    }
}

/// A registered child; dropping it means the child has been waited for, or is given up: whatever is left of its group is killed.
pub(super) struct Running {
    shutdown: Shutdown,
    group: i32,
}

impl Running {
    /// Ends the whole group at once.
    pub(super) fn kill(&self) {
        signal_all(&[self.group].into_iter().into_set(), Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        self.shutdown.lock().groups.remove(&self.group);
    }
}

fn signal_all(groups: &SortedSet<i32>, signal: Signal) {
    for group in groups.iter().filter_map(|group| Pid::from_raw(*group)) {
        // ESRCH: it ended between our look and the signal, which is what we wanted.
        let _ = kill_process_group(group, signal);
    }
}

fn group_lives(group: i32) -> bool {
    Pid::from_raw(group).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}
