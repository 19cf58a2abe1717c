//! The lock of a file, which every lock of ours is: whoever waits for it can say what it waits for, and stops waiting when the run is
//! stopped. The operating system holds it, so that a process that dies, however it dies, holds nothing.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::execute::retry;
use crate::execute::shutdown::Shutdown;

/// How long a waiter sleeps between two tries. A closing run is noticed as soon.
const PAUSE: Duration = Duration::from_millis(20);

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it; `waiting` is called once, where it is not free. A free lock is given to a
    /// closing run too: it has to put things away.
    ///
    /// # Errors
    /// When the file cannot be made or locked, or the run is closing.
    pub fn wait(path: &Path, shutdown: &Shutdown, waiting: impl FnOnce()) -> Result<Self> {
        if let Some(lock) = Self::take_free(path)? {
            return Ok(lock);
        }
        waiting();
        loop {
            retry::sleep(PAUSE, shutdown)?;
            if let Some(lock) = Self::take_free(path)? {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock, waiting no longer than `limit`; `None` where it was not free in all that time.
    ///
    /// # Errors
    /// As [`Lock::wait`].
    pub fn wait_at_most(path: &Path, limit: Duration, shutdown: &Shutdown) -> Result<Option<Self>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(lock) = Self::take_free(path)? {
                return Ok(Some(lock));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            retry::sleep(PAUSE, shutdown)?;
        }
    }

    /// Takes the lock where it is free.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn take_free(path: &Path) -> Result<Option<Self>> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|e| Error::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
            Err(TryLockError::WouldBlock) => Ok(None),
        }
    }

    /// Replaces what the locked file says: whoever finds it locked can read it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, text: &str) -> Result<()> {
        use std::io::{Seek as _, Write as _};
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        };
        write(&mut self.file).map_err(|e| Error::io("write", &self.path, e))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child between its fork and its exec has the file open too: closing alone would leave it locked until then.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_forked_child_has_of_a_file_keeps_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take_free(&path).unwrap().unwrap();
        let inherited = held.file.try_clone().unwrap();
        assert!(Lock::take_free(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::take_free(&path).unwrap().is_some());
        drop(inherited);
    }

    #[test]
    fn a_waiter_gets_the_lock_when_it_is_free_and_gives_up_when_the_run_stops() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/lock");
        let shutdown = Shutdown::new();
        let held = Lock::wait(&path, &shutdown, || ()).unwrap();
        assert!(Lock::take_free(&path).unwrap().is_none());
        assert!(Lock::wait_at_most(&path, Duration::from_millis(40), &shutdown).unwrap().is_none());
        std::thread::scope(|scope| {
            let (told, waits) = std::sync::mpsc::channel();
            let waiter = scope.spawn(|| Lock::wait(&path, &shutdown, move || told.send(()).unwrap()).map(drop));
            waits.recv().unwrap();
            assert!(!waiter.is_finished());
            drop(held);
            waiter.join().unwrap().unwrap();
        });
        let held = Lock::wait(&path, &shutdown, || ()).unwrap();
        shutdown.close();
        assert!(Lock::wait(&path, &shutdown, || ()).unwrap_err().is_cancelled());
        assert!(Lock::wait_at_most(&path, Duration::from_mins(1), &shutdown).unwrap_err().is_cancelled());
        drop(held);
        assert!(Lock::wait(&path, &shutdown, || ()).is_ok(), "a closing run puts things away");
    }
}
