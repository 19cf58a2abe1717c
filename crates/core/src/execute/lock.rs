//! A file lock that waits with its eyes open: it can say what it waits for, and ends when the run is stopped.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::execute::shutdown::Shutdown;

/// Held until dropped. The kernel releases it when the process dies, so that a crash leaves nothing to clean up.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it; `waiting` is called once, where it is not free.
    ///
    /// # Errors
    /// When the file cannot be made or locked, or the run is closing.
    pub fn wait(path: &Path, shutdown: &Shutdown, waiting: impl FnOnce()) -> Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        let file = File::options().create(true).append(true).open(path).map_err(|e| Error::io("open", path, e))?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            shutdown.check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_gets_the_lock_when_it_is_free_and_gives_up_when_the_run_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/lock");
        let shutdown = Shutdown::new();
        let held = Lock::wait(&path, &shutdown, || ()).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::wait(&path, &shutdown, || ()).map(drop));
            std::thread::sleep(Duration::from_millis(60));
            assert!(!waiter.is_finished());
            drop(held);
            waiter.join().unwrap().unwrap();
        });
        let _held = Lock::wait(&path, &shutdown, || ()).unwrap();
        shutdown.close();
        assert!(Lock::wait(&path, &shutdown, || ()).err().unwrap().is_cancelled());
    }
}
