//! A stop switch that follows the run's with a delay: what has begun may end, and what was put may be taken back.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monoship_core::execute::shutdown::Shutdown;

/// How often the run's stop switch is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The switch; nobody throws it any more once this is dropped.
pub(super) struct Late {
    switch: Shutdown,
    alive: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Late {
    /// Thrown `delay` after the run's is, or after now where that is thrown already.
    pub(super) fn after(own: &Shutdown, delay: Duration) -> Self {
        let switch = Shutdown::new();
        let (alive, watched) = channel::<()>();
        let (own, follower) = (own.clone(), switch.clone());
        let watch = std::thread::spawn(move || {
            let mut closing_since = None;
            while matches!(watched.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                if own.is_closing() && closing_since.get_or_insert_with(Instant::now).elapsed() > delay {
                    return follower.kill();
                }
            }
        });
        Self { switch, alive: Some(alive), watch: Some(watch) }
    }

    pub(super) fn switch(&self) -> &Shutdown {
        &self.switch
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        drop(self.alive.take());
        // It has nothing to fail at.
        let _ = self.watch.take().map(JoinHandle::join);
    }
}
