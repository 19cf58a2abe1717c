//! What happened, kept under `target/xtask/`: one folder for each run with its record and its logs, the state that tells an
//! unchanged service, and the history behind `stats`. Every file is versioned, replaced or appended in one step, and read with
//! tolerance: a file that cannot be understood is as good as none, and is left alone where a newer version wrote it.

mod advice;
pub mod ended;
pub mod history;
pub mod logs;
mod passed;
pub mod rolling;
pub mod run;
pub mod runs;
pub mod state;
pub mod stats;
pub mod unfinished;

pub use ended::Ended;
pub use history::History;
pub use logs::Logs;
pub use passed::Passed;
pub use run::{GateRecord, Missed, NodeRecord, Outcome, RunRecord, TaskRecord, TierRecord};
pub use runs::{Keep, Run, RunId, Runs};
pub use state::{ServiceRecord, State};
pub use unfinished::Unfinished;
