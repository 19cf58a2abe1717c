//! Concurrency groups: at most one run of a group at a time; a later one stops the earlier and takes over. As `concurrency:` with
//! `cancel-in-progress` does for workflows, but on any machine.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};
use crate::execute::lock::Lock;
use crate::execute::retry;
use crate::execute::shutdown::Shutdown;

/// How long the earlier run gets to end after SIGTERM: its children have three seconds, and then what must be put back is put back, which a
/// slow registry may draw out to two minutes.
const TAKEOVER: Duration = Duration::from_mins(3);

/// Membership of a group, for as long as this value lives.
#[derive(Debug)]
pub struct Group {
    lock: Lock,
    stopped: Option<i32>,
}

impl Group {
    /// Enters the group whose lock is `file`, stopping whoever is in it when `cancel`, else refusing.
    ///
    /// # Errors
    /// When the group is taken and `cancel` is false, when the earlier run does not end in time, or the file cannot be used.
    pub fn enter(file: &Path, cancel: bool, shutdown: &Shutdown) -> Result<Self> {
        if let Some(lock) = Lock::take_free(file)? {
            return Self::claimed(lock, None);
        }
        let (holder, is_here) = holder(file, shutdown)?;
        if !cancel {
            return Err(Error::failed(format!("process {holder} is already releasing this tag"))
                .at(file, None)
                .hint("wait for it, or let this one take over"));
        }
        let Some(pid) = Pid::from_raw(holder).filter(|_| is_here) else {
            return Err(Error::failed(format!(
                "process {holder} is already releasing this tag, in another container or machine"
            ))
            .at(file, None)
            .hint("wait for it, or stop it there: its number means somebody else here"));
        };
        // It may have ended since we read its id; then the lock is free.
        let _ = kill_process(pid, Signal::TERM);
        if let Some(lock) = Lock::wait_at_most(file, TAKEOVER, shutdown)? {
            return Self::claimed(lock, Some(holder));
        }
        let seconds = TAKEOVER.as_secs();
        Err(Error::failed(format!("the earlier run (process {holder}) did not end within {seconds} s of SIGTERM"))
            .at(file, None)
            .hint(format!("end it with `kill -9 {holder}` and run this again; what it did is kept")))
    }

    /// The process that was in the group and was stopped.
    pub fn stopped(&self) -> Option<i32> {
        self.stopped
    }

    /// Writes who we are into the locked file.
    fn claimed(mut lock: Lock, stopped: Option<i32>) -> Result<Self> {
        let own = std::process::id();
        lock.write(&format!("{own} {}", identity(own).unwrap_or_default()))?;
        Ok(Self { lock, stopped })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Who reads it would take us for the next holder; the lock itself is free in any case.
        let _ = self.lock.write("");
    }
}

/// What tells a process from any other that had or has its number: its process-number namespace and when it began.
fn identity(pid: u32) -> Option<String> {
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start is field 22 (proc_pid_stat(5)).
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{} {started}", namespace.display()))
}

/// Who holds the lock, and whether that number means the same process here. The holder writes its id right after it has the lock, so an
/// empty file is a moment old at most.
fn holder(path: &Path, shutdown: &Shutdown) -> Result<(i32, bool)> {
    for _ in 0..50 {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let (number, said) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        // Never a process group or ourselves: only a plain id of another process may be signalled.
        if let Ok(pid) = number.parse::<i32>()
            && pid > 0
        {
            let is_here = pid.cast_unsigned() != std::process::id() && identity(pid.cast_unsigned()).is_some_and(|is| is == said);
            return Ok((pid, is_here));
        }
        retry::sleep(Duration::from_millis(20), shutdown)?;
    }
    Err(Error::failed("the lock is held by a process that does not say who it is").at(path, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_a_dead_process_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/v1.lock");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "999999").unwrap();
        let entered = Group::enter(&file, true, &Shutdown::new()).unwrap();
        assert_eq!(entered.stopped(), None);
    }

    #[test]
    fn a_second_run_is_refused_or_takes_over_once_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("v1.lock");
        // The first run is a real process that holds the real lock: util-linux's flock(1) would do, python is not everywhere.
        // So hold it from here under another name, and let a `sleep` be who is signalled.
        let first = Group::enter(&file, true, &Shutdown::new()).unwrap();
        let sleeper = crate::execute::process::Invocation::new("sleep").arg("60").daemon(&dir.path().join("log")).unwrap();
        // The same number of another container, or of a process that began at another time, is nobody's to stop.
        for other in ["pid:[1] 5".to_owned(), String::new(), identity(sleeper).unwrap() + "0"] {
            std::fs::write(&file, format!("{sleeper} {other}")).unwrap();
            let refused = Group::enter(&file, true, &Shutdown::new()).unwrap_err();
            assert!(refused.to_string().contains("in another container"), "{refused}");
        }
        assert!(!std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap().contains(") Z "), "a stranger was stopped");
        std::fs::write(&file, format!("{sleeper} {}", identity(sleeper).unwrap())).unwrap();
        let refused = Group::enter(&file, false, &Shutdown::new()).unwrap_err();
        assert!(refused.to_string().contains(&format!("process {sleeper}")), "{refused}");
        let waiter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(first);
        });
        let entered = Group::enter(&file, true, &Shutdown::new()).unwrap();
        assert_eq!(entered.stopped().map(i32::cast_unsigned), Some(sleeper));
        waiter.join().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "the first run was not stopped: {stat}");
    }
}
