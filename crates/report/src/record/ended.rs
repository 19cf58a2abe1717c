//! The tasks of a run that are no builds (engine, checkout, publish, notes), taken from its events: those who do them know nothing
//! of the record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::run::TaskRecord;
use monoship_core::event::{Event, Task};
use monoship_core::time::millis;

/// Listens to a run. Cloning is cheap; every clone knows the same.
#[derive(Clone, Default)]
pub struct Ended {
    tasks: Arc<Mutex<Vec<TaskRecord>>>,
}

impl Ended {
    /// Notes a task that is over. Builds and a team's stages have outcomes that say more; they are left out.
    pub fn event(&self, event: &Event) {
        let Event::Ended { task, status, took, .. } = event else { return };
        if matches!(task, Task::Base | Task::Service(_) | Task::Stage(_)) {
            return;
        }
        let mut record = TaskRecord::new(task.clone(), *status);
        record.started = SystemTime::now().checked_sub(*took);
        record.took_ms = millis(*took);
        self.lock().push(record);
    }

    /// What has ended so far, in that order.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskRecord> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TaskRecord>> {
        // A panic elsewhere leaves a list that is whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
