//! A log for GitHub Actions: while tasks run, one line at the beginning and end of each; what a task wrote follows its end as one
//! foldable group. Tasks run side by side, and groups can be neither nested nor interleaved.

use std::io::Write;
use std::time::Instant;

use super::Show;
use super::board::Board;
use super::commands::{Annotation, Severity, end_group, group, inert};
use super::plain::{SILENCE, ended, foreseen, notice, step_ended};
use super::step;
use super::style::Paint;
use monoship_core::collect::Collect as _;
use monoship_core::event::{Event, Level, Task};
use monoship_core::sorted::SortedMap;
use monoship_core::text;

/// Collects lines, and writes them a task at a time.
pub(super) struct Groups {
    paint: Paint,
    out: Box<dyn Write + Send>,
    board: Board,
    held: SortedMap<Task, Vec<String>>,
    /// When each running task last showed a sign of life.
    spoke: SortedMap<Task, Instant>,
}

impl Groups {
    pub(super) fn new(paint: Paint, out: Box<dyn Write + Send>) -> Self {
        Self { paint, out, board: Board::default(), held: SortedMap::new(), spoke: SortedMap::new() }
    }

    fn write(&mut self, line: &str) {
        // Nobody reads any more: that is no reason to stop a build.
        drop(writeln!(self.out, "{line}"));
    }

    fn hold(&mut self, task: &Task, line: &str) {
        self.held.entry(task.clone()).or_default().push(inert(line));
    }

    /// What was held back of a task, as a group.
    fn release(&mut self, task: &Task, title: &str) {
        let lines = self.held.remove(task).unwrap_or_default();
        if lines.is_empty() {
            return self.write(&inert(title));
        }
        self.write(&group(title));
        for line in lines {
            self.write(&line);
        }
        self.write(&end_group());
    }

    fn notice(&mut self, level: Level, task: Option<&Task>, message: &str, hint: Option<&str>) {
        if level == Level::Info {
            for line in notice(level, task, message, hint, self.paint, None) {
                self.write(&inert(&line));
            }
            return;
        }
        let about = task.map(|task| format!("{task}: ")).unwrap_or_default();
        let hint = hint.map(|hint| format!("\nhint: {}", text::clean(hint))).unwrap_or_default();
        let message = format!("{about}{}{hint}", text::clean(message));
        let annotation = Annotation { severity: Severity::Warning, title: Some("cargo xtask"), place: None, message: &message };
        self.write(&annotation.command());
    }
}

impl Show for Groups {
    fn event(&mut self, now: Instant, event: Event) {
        let over = self.board.event(now, &event);
        match &event {
            Event::Started { task, title } => {
                self.spoke.insert(task.clone(), now);
                self.write(&inert(&format!("{task}: {}", text::clean(title))));
            }
            Event::Foreseen { waiting, unchanged, usual } => {
                if let Some(line) = foreseen(waiting, *unchanged, *usual) {
                    self.write(&inert(&line));
                }
            }
            Event::StepStarted { task, name, .. } => self.hold(task, &step::text(name)),
            Event::StepEnded { task, name, end, took, .. } => self.hold(task, &step_ended(name, end, *took, self.paint)),
            Event::Log { task, line } => self.hold(task, &format!("  {}", text::clean(line))),
            Event::Notice { level, task, message, hint } => self.notice(*level, task.as_ref(), message, hint.as_deref()),
            Event::Ended { task, status, took, digest } => {
                let steps = over.map_or((0, 0), |running| running.steps());
                let title = format!("{task}: {}", ended(*status, *took, digest.as_ref(), steps, self.paint));
                self.release(task, &title);
                self.spoke.remove(task);
            }
            Event::Called { .. } | Event::Doing { .. } | Event::Amount { .. } | Event::Raw { .. } => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        let silent: Vec<(Task, String)> = self
            .board
            .running()
            .iter()
            .filter_map(|running| {
                let spoke = self.spoke.get(&running.task).copied().unwrap_or(running.since);
                let line = format!("{}: still running: {}", running.task, running.what(now, usize::MAX, ""));
                (now.saturating_duration_since(spoke) >= SILENCE).then(|| (running.task.clone(), line))
            })
            .into_vec();
        for (task, line) in silent {
            self.spoke.insert(task, now);
            self.write(&inert(&line));
        }
        drop(self.out.flush());
    }

    fn finish(&mut self, _now: Instant) {
        // A run that was stopped leaves tasks without an end.
        for task in self.held.keys().cloned().into_vec() {
            self.release(&task, &format!("{task}: unfinished"));
        }
        drop(self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use monoship_core::event::{Status, StepEnd};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(events: Vec<Event>) -> String {
        let out = Shared::default();
        let mut groups = Groups::new(Paint::PLAIN, Box::new(out.clone()));
        let now = Instant::now();
        for event in events {
            groups.event(now, event);
        }
        groups.tick(now + SILENCE);
        groups.finish(now);
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn tasks_side_by_side_become_groups_one_after_the_other_and_no_child_gives_commands() {
        let task = |name: &str| Task::Service(name.parse().unwrap());
        let log = |name: &str, line: &str| Event::Log { task: task(name), line: line.to_owned() };
        let started = |name: &str| Event::Started { task: task(name), title: format!("target {name}") };
        let step = Event::StepEnded {
            task: task("api"),
            name: "[api 1/2] RUN tsc".into(),
            end: StepEnd::Cached,
            took: Duration::ZERO,
            cached: 1,
            total: 2,
        };
        let ended = Event::Ended { task: task("api"), status: Status::Built, took: Duration::from_secs(12), digest: None };
        let warning =
            Event::Notice { level: Level::Warning, task: None, message: "100 % old".into(), hint: Some("do this".into()) };
        let text = shown(vec![started("api"), started("web"), log("web", "::error::x"), step, log("api", "hm"), warning, ended]);
        let expected = "\
api: target api
web: target web
::warning title=cargo xtask::100 %25 old%0Ahint: do this
::group::api: built in 12.0s, 1 of 2 steps cached
[api 1/2] RUN tsc … cached
  hm
::endgroup::
web: still running: target web
::group::web: unfinished
\u{200b}  ::error::x
::endgroup::
";
        assert_eq!(text, expected);
    }
}
