//! Each task's whole log, written from the run's events. A log that cannot be written fails no build: the first error is kept
//! and told at the end.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, StepEnd, Task};
use monoship_core::sorted::SortedMap;
use monoship_core::text;

/// Writes `<task>.log` and, where asked for, `<task>.rawjson`. Takes events from any thread.
pub struct Logs {
    folder: PathBuf,
    raw: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: SortedMap<Task, Log>,
    error: Option<Error>,
}

struct Log {
    since: Instant,
    text: BufWriter<File>,
    raw: Option<BufWriter<File>>,
}

impl Logs {
    pub(super) fn new(folder: PathBuf, raw: bool) -> Self {
        Self { folder, raw, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves files that can still be written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what an event says about its task.
    pub fn event(&self, event: &Event) {
        let Some((task, lines, is_milestone)) = described(event) else { return };
        let mut state = self.lock();
        if state.error.is_some() {
            return;
        }
        if let Err(error) = self.write(&mut state, task, event, &lines, is_milestone) {
            state.error = Some(error);
        }
    }

    fn write(&self, state: &mut State, task: &Task, event: &Event, lines: &[String], is_milestone: bool) -> Result<()> {
        if !state.logs.contains_key(task) {
            state.logs.insert(task.clone(), self.open(task)?);
        }
        let Some(log) = state.logs.get_mut(task) else { return Ok(()) };
        let seconds = log.since.elapsed().as_secs_f64();
        let mut result = lines.iter().try_for_each(|line| writeln!(log.text, "{seconds:>8.2} {line}"));
        if let (Event::Raw { line, .. }, Some(raw)) = (event, &mut log.raw) {
            result = result.and_then(|()| writeln!(raw, "{line}"));
        }
        // What was going on is on disk even if we are killed.
        if is_milestone {
            result = result.and_then(|()| log.text.flush());
        }
        result.map_err(|e| Error::io("write into", &self.folder, e))
    }

    fn open(&self, task: &Task) -> Result<Log> {
        let open = |ending: &str| {
            let path = self.folder.join(format!("{}.{ending}", task.file()));
            File::create(&path).map(BufWriter::new).map_err(|e| Error::io("create", &path, e))
        };
        let raw = if self.raw { Some(open("rawjson")?) } else { None };
        Ok(Log { since: Instant::now(), text: open("log")?, raw })
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// The first one since the beginning; later lines are then missing from the logs.
    pub fn finish(&self) -> Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        for log in state.logs.values_mut() {
            let flushed = log.text.flush().and_then(|()| log.raw.as_mut().map_or(Ok(()), std::io::Write::flush));
            flushed.map_err(|e| Error::io("write into", &self.folder, e))?;
        }
        Ok(())
    }
}

/// Whose log an event belongs to, the lines it makes there, and whether it is worth a write to disk.
fn described(event: &Event) -> Option<(&Task, Vec<String>, bool)> {
    Some(match event {
        Event::Started { task, title } => (task, vec![text::clean(title)], true),
        Event::StepStarted { task, name, .. } => (task, vec![text::clean(name)], true),
        Event::StepEnded { task, name, end, took, .. } => {
            let name = text::clean(name);
            let line = match end {
                StepEnd::Cached => format!("{name} … cached"),
                StepEnd::Ran => format!("{name} … {}", text::duration(*took)),
                StepEnd::Failed(error) => format!("{name} … failed: {}", text::clean(error)),
            };
            (task, vec![line], true)
        }
        Event::Called { task, command, .. } => (task, vec![format!("  $ {}", text::clean(command))], true),
        Event::Log { task, line } => (task, vec![format!("  {}", text::clean(line))], false),
        Event::Notice { task: Some(task), message, hint, .. } => {
            let lines = std::iter::once(format!("note: {}", text::clean(message)));
            (task, lines.chain(hint.iter().map(|hint| format!("hint: {}", text::clean(hint)))).into_vec(), false)
        }
        Event::Ended { task, status, took, .. } => (task, vec![format!("{status:?} after {}", text::duration(*took))], true),
        Event::Raw { task, .. } => (task, Vec::new(), false),
        Event::Foreseen { .. } | Event::Notice { task: None, .. } | Event::Doing { .. } | Event::Amount { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_task_has_a_log_of_its_own_and_the_stream_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().to_owned(), true);
        let line = |task, line: &str| Event::Log { task, line: line.to_owned() };
        logs.event(&Event::Raw { task: Task::Base, line: "{}".to_owned() });
        logs.event(&line(Task::Base, "\u{1b}[31mred"));
        logs.event(&line(Task::Engine, "other"));
        logs.event(&line(Task::Service("base".parse().unwrap()), "a service of that name"));
        let name = "[base 1/2] RUN x".to_owned();
        logs.event(&Event::StepEnded {
            task: Task::Base,
            name,
            end: StepEnd::Ran,
            took: Duration::from_secs(3),
            cached: 0,
            total: 1,
        });
        let on_disk = std::fs::read_to_string(dir.path().join("_base.log")).unwrap();
        assert!(on_disk.contains("red\n") && on_disk.ends_with(" [base 1/2] RUN x … 3.0s\n"), "{on_disk}");
        assert!(!on_disk.contains('\u{1b}') && !on_disk.contains("other"));
        logs.finish().unwrap();
        assert!(std::fs::read_to_string(dir.path().join("base.log")).unwrap().ends_with(" a service of that name\n"));
        assert_eq!(std::fs::read_to_string(dir.path().join("_base.rawjson")).unwrap(), "{}\n");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_at_the_end_and_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().join("gone"), false);
        for _ in 0..2 {
            logs.event(&Event::Log { task: Task::Base, line: "x".to_owned() });
        }
        assert!(logs.finish().unwrap_err().to_string().contains("_base.log"));
    }
}
