//! Ending one child from another thread, where the rest of the run goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::execute::shutdown::Running;

/// Ends a child that is being waited for elsewhere; one that is started afterwards ends at once.
///
/// ```
/// use monoship_core::execute::process::{Invocation, Stop};
/// use monoship_core::execute::shutdown::Shutdown;
///
/// let stop = Stop::default();
/// stop.now();
/// let code = Invocation::new("sleep").arg("60").stream_until(&Shutdown::new(), &stop, |_| ()).unwrap();
/// assert_eq!(code, None);
/// ```
#[derive(Default)]
pub struct Stop(Mutex<State>);

#[derive(Default)]
struct State {
    stopped: bool,
    running: Option<Arc<Running>>,
}

impl Stop {
    /// Ends the child, with all that it started.
    pub fn now(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(running) = &state.running {
            running.kill();
        }
    }

    /// A child has begun; it has ended when the value that is handed back is dropped.
    pub(super) fn begin(&self, running: &Arc<Running>) -> Until<'_> {
        let mut state = self.lock();
        if state.stopped {
            running.kill();
        }
        state.running = Some(Arc::clone(running));
        Until(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What it holds is as true after a panic as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this is there, a child is.
pub(super) struct Until<'a>(&'a Stop);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.lock().running = None;
    }
}
