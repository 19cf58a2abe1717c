//! Standard output and standard error. Whoever started us may have set the pipe behind one not to wait (a parent that runs an event loop does,
//! and the setting is the pipe's, not its own): what a reader has not taken yet is waited for here, and not lost.

use std::io::{self, ErrorKind, Stderr, Stdout, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A writer that waits for its reader.
#[derive(Debug)]
pub struct Patient<W>(W);

/// Standard output.
#[must_use]
pub fn out() -> Patient<Stdout> {
    Patient(io::stdout())
}

/// Standard error.
#[must_use]
pub fn err() -> Patient<Stderr> {
    Patient(io::stderr())
}

impl<W: Write + AsFd> Patient<W> {
    fn patiently<T>(&mut self, mut attempt: impl FnMut(&mut W) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return done,
            }
        }
    }
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.patiently(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::*;

    #[test]
    fn a_pipe_that_does_not_wait_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
        // More than any pipe holds.
        let text: Vec<u8> = (0..4_000_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
        let read = std::thread::scope(|scope| {
            let read = scope.spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).map(|_| read)
            });
            let mut to = Patient(writer);
            to.write_all(&text).and_then(|()| to.flush()).unwrap();
            drop(to);
            read.join().unwrap().unwrap()
        });
        assert!(read == text, "{} of {} bytes", read.len(), text.len());
    }
}
