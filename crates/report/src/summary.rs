//! The end of a run: a table of what became of each task, and for every failure what failed, what it said, the place in the
//! Dockerfile, and where the whole log lies.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::plain::{mark, painted_word, short_message, word};
use super::step;
use super::style::Paint;
use crate::record::{GateRecord, TaskRecord};
use monoship_core::collect::Collect as _;
use monoship_core::event::{Stage, Status, Task};
use monoship_core::name::StageName;
use monoship_core::text;
use monoship_docker::rawjson::Failure;

/// How many of a failed step's last log lines are shown; the rest is in the log.
const LOG_LINES: usize = 20;

/// A last column that has less room than this stands below its row.
const LAST_COLUMNS: usize = 24;

/// As much of a failed step's command is shown in the headline; the Dockerfile's lines follow.
const STEP_COLUMNS: usize = 100;

/// A table's cells, aligned; the last column is not padded. A column that is empty all the way down is left out. `right` says
/// which columns hold numbers; `paint` colours a padded cell by its row (counted without the head) and column.
///
/// On a terminal of so many columns the last cell goes on below itself, divided between words, where there is room for that; on a narrow one it
/// has lines of its own below the row. Where even the others have no room, the furthest of them are left out: nothing is broken.
#[must_use]
pub fn aligned(
    head: &[&str],
    rows: &[Vec<String>],
    right: &[usize],
    columns: Option<usize>,
    paint: impl Fn(usize, usize, &str) -> String,
) -> String {
    let cell = |row: usize, column: usize| rows[row].get(column).map_or("", String::as_str);
    let mut used: Vec<usize> =
        (0..head.len()).filter(|column| (0..rows.len()).any(|row| !cell(row, *column).is_empty())).into_vec();
    let width_of = |column: usize| {
        (0..rows.len()).map(|row| text::width(cell(row, column))).max().unwrap_or(0).max(text::width(head[column]))
    };
    while let Some(columns) = columns
        && used.len() > 2
    {
        // Text at the end has lines of its own where it must; a number has not.
        let last = used[used.len() - 1];
        let is_text = !right.contains(&last);
        let fixed = if is_text { &used[..used.len() - 1] } else { &used[..] };
        let head = if is_text { text::width(head[last]) + 2 } else { 0 };
        if fixed.iter().map(|column| width_of(*column) + 2).sum::<usize>() + head <= columns + 2 {
            break;
        }
        used.remove(if is_text { used.len() - 2 } else { used.len() - 1 });
    }
    let widths: Vec<usize> = used.iter().map(|column| width_of(*column)).into_vec();
    let mut table = String::new();
    let padded = |place: usize, content: &str| {
        if right.contains(&used[place]) {
            text::pad_left(content, widths[place])
        } else if place + 1 == used.len() {
            content.to_owned()
        } else {
            text::pad(content, widths[place])
        }
    };
    let heads: Vec<String> = (0..used.len()).map(|place| padded(place, head[used[place]])).into_vec();
    let _ = writeln!(table, "{}", heads.join("  ").trim_end());
    let before: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
    let room = columns.map(|columns| columns.saturating_sub(before + 1));
    for row in 0..rows.len() {
        let last = used.len() - 1;
        let said = padded(last, cell(row, used[last]));
        let mut cells: Vec<String> =
            (0..last).map(|place| paint(row, used[place], &padded(place, cell(row, used[place])))).into_vec();
        let (indent, lines) = match (room, columns) {
            (Some(room), _) if text::width(&said) > room && room >= LAST_COLUMNS && !right.contains(&used[last]) => {
                (before, text::wrapped(&said, room))
            }
            (Some(room), Some(columns)) if text::width(&said) > room && !right.contains(&used[last]) => {
                (2, [vec![String::new()], text::wrapped(&said, columns.saturating_sub(3))].concat())
            }
            _ => (before, vec![said]),
        };
        let mut lines = lines.into_iter().map(|line| paint(row, used[last], &line));
        cells.extend(lines.next());
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
        for line in lines {
            let _ = writeln!(table, "{:indent$}{line}", "");
        }
    }
    table
}

/// The outcome table: one row for each image and for whatever else did not simply succeed.
#[must_use]
pub fn table(tasks: &[TaskRecord], paint: Paint, columns: Option<usize>) -> String {
    let shown: Vec<&TaskRecord> = tasks.iter().filter(|task| is_shown(task)).into_vec();
    if shown.is_empty() {
        return String::new();
    }
    let stages = stages(tasks);
    let result = |task: &TaskRecord, stage: &StageName| stage_of(tasks, task, stage).map(|found| found.status);
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|task| {
            let mut cells = row(task);
            let results = stages.iter().map(|stage| result(task, stage).map(|status| stage_word(status).to_owned()));
            cells.splice(2..2, results.map(Option::unwrap_or_default));
            cells
        })
        .into_vec();
    let mut head = vec!["service", "status", "cached", "time", "size", "digest", "node", "why"];
    let named: Vec<Cow<'_, str>> = stages.iter().map(|stage| column_of(stage, &head)).into_vec();
    head.splice(2..2, named.iter().map(|name| &**name));
    let after = 2 + stages.len();
    aligned(&head, &rows, &[after, after + 1, after + 2], columns, |row, column, cell| match column {
        0 => paint.strong(cell),
        1 => painted_word(shown[row].status, cell, paint),
        at if at < after => result(shown[row], &stages[at - 2]).map_or_else(|| cell.to_owned(), |s| painted_word(s, cell, paint)),
        at if at >= after + 3 => paint.faint(cell),
        _ => cell.to_owned(),
    })
}

/// What a stage's column is called, beside columns that may have its name.
pub(crate) fn column_of<'s>(stage: &'s StageName, others: &[&str]) -> Cow<'s, str> {
    let is_taken = others.iter().any(|other| other.eq_ignore_ascii_case(stage.as_str()));
    if is_taken { Cow::Owned(format!("stage {stage}")) } else { Cow::Borrowed(stage.as_str()) }
}

/// The stages that a team added for each image, in the order in which they were run: a column each.
fn stages(tasks: &[TaskRecord]) -> Vec<StageName> {
    let mut stages: Vec<StageName> = Vec::new();
    for task in tasks {
        if let Task::Stage(Stage { stage, service: Some(_) }) = &task.task
            && !stages.contains(stage)
        {
            stages.push(stage.clone());
        }
    }
    stages
}

/// What a stage came to for a service.
#[must_use]
pub fn stage_of<'t>(tasks: &'t [TaskRecord], service: &TaskRecord, stage: &StageName) -> Option<&'t TaskRecord> {
    let Task::Service(service) = &service.task else { return None };
    let is_it =
        |task: &&TaskRecord| matches!(&task.task, Task::Stage(at) if at.stage == *stage && at.service.as_ref() == Some(service));
    tasks.iter().find(is_it)
}

/// How a stage ended, in a table's cell.
#[must_use]
pub fn stage_word(status: Status) -> &'static str {
    match status {
        Status::Done | Status::Built => "passed",
        Status::Unchanged => "passed before",
        other => word(other),
    }
}

/// What makes no image is a means to an end: it is of interest only where it failed. A stage for an image has a column; one of the run's
/// own is shown.
fn is_shown(task: &TaskRecord) -> bool {
    match &task.task {
        Task::Base | Task::Service(_) | Task::Stage(Stage { service: None, .. }) => true,
        Task::Stage(_) => false,
        _ => !matches!(task.status, Status::Done | Status::Unchanged),
    }
}

fn row(task: &TaskRecord) -> Vec<String> {
    let ran = !matches!(task.status, Status::Unchanged | Status::NotRun);
    vec![
        task.task.to_string(),
        word(task.status).to_owned(),
        if task.steps.is_empty() { String::new() } else { format!("{}/{}", task.cached(), task.steps.len()) },
        if ran { text::duration(task.took()) } else { String::new() },
        task.size.map(text::bytes).unwrap_or_default(),
        task.digest.as_ref().map(|digest| format!("sha256:{}", digest.short())).unwrap_or_default(),
        nodes(task),
        text::clean(&task.why),
    ]
}

/// The nodes of a fleet that built a task.
pub(crate) fn nodes(task: &TaskRecord) -> String {
    let mut names: Vec<&str> = task.nodes.iter().map(|node| node.builder.as_str()).into_vec();
    names.dedup();
    names.join(", ")
}

/// What went elsewhere than to the node it was meant for, a line each, with why.
#[must_use]
pub fn moves(tasks: &[TaskRecord], paint: Paint) -> String {
    let lines = tasks.iter().flat_map(|task| task.nodes.iter().map(move |node| (task, node)));
    let lines = lines.flat_map(|(task, node)| node.moved.iter().map(move |moved| (task, node, moved)));
    let lines = lines.map(|(task, node, (from, why))| {
        format!("{} {} went from {from} to {}: {}\n", paint.faint("moved:"), task.task, node.builder, text::clean(why))
    });
    lines.collect()
}

/// For each task that executed something, the first step that no cache had, and what of its inputs explains it; a line for all that have the
/// same.
#[must_use]
pub fn misses(tasks: &[TaskRecord], paint: Paint) -> String {
    let missed: Vec<_> = tasks.iter().filter_map(|task| Some((task.task.to_string(), task.missed.as_ref()?))).into_vec();
    if missed.is_empty() {
        return String::new();
    }
    let mut lines: Vec<(String, String)> = Vec::new();
    for (name, missed) in missed {
        let missed = text::clean(&missed.to_string());
        match lines.iter_mut().find(|(_, known)| *known == missed) {
            Some((names, _)) => names.extend([", ", name.as_str()]),
            None => lines.push((name, missed)),
        }
    }
    let width = lines.iter().map(|(names, _)| text::width(names)).max().unwrap_or(0);
    let lines = lines.iter().map(|(names, missed)| format!("  {}  {missed}\n", text::pad(names, width)));
    format!("{}\n{}", paint.faint("first step that no cache had:"), lines.collect::<String>())
}

/// The gates that something exceeds, a line each.
#[must_use]
pub fn gates(gates: &[GateRecord], paint: Paint) -> String {
    let line = |gate: &GateRecord| {
        let word = if gate.fails { paint.bad("gate failed:") } else { paint.warning("gate:") };
        format!("{word} {}: {}\n", gate.gate, text::clean(&gate.text))
    };
    gates.iter().map(line).collect()
}

/// `3 built, 1 unchanged, 1 failed in 34.2s`.
#[must_use]
pub fn totals(tasks: &[TaskRecord], took: Duration, paint: Paint) -> String {
    let order = [Status::Built, Status::Unchanged, Status::Failed, Status::Cancelled, Status::NotRun];
    let of = |is: fn(&Task) -> bool| tasks.iter().filter(move |task| is(&task.task)).into_vec();
    let services = of(|task| matches!(task, Task::Service(_)));
    // A run of the base alone has no services to count.
    let counted = if services.is_empty() { of(|task| *task == Task::Base) } else { services };
    let counts = order.iter().filter_map(|status| {
        let count = counted.iter().filter(|task| task.status == *status).count();
        (count > 0).then(|| painted_word(*status, &format!("{count} {}", word(*status)), paint))
    });
    let counts: Vec<String> = counts.into_vec();
    // Nothing that rests on a base that failed was run.
    let base = tasks.iter().any(|task| task.task == Task::Base && task.status == Status::Failed);
    let base = base.then(|| painted_word(Status::Failed, "base failed", paint));
    let counts: Vec<String> =
        base.filter(|_| counts.iter().all(|count| !count.contains("failed"))).into_iter().chain(counts).into_vec();
    let counts = if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") };
    format!("{counts} in {}\n", text::duration(took))
}

/// Everything there is to say of each task that failed. `log` names a task's whole log.
#[must_use]
pub fn failures(tasks: &[TaskRecord], log: impl Fn(&Task) -> PathBuf, paint: Paint) -> String {
    // A service whose image a stage refused: the stage has said why.
    let by_stage = |service: &TaskRecord| {
        let refused = |task: &TaskRecord| {
            matches!(&task.task, Task::Stage(at) if task.status == Status::Failed
            && at.service.as_ref().is_some_and(|name| service.task == Task::Service(name.clone())))
        };
        service.failure.is_none() && tasks.iter().any(refused)
    };
    let failed = tasks.iter().filter(|task| task.status == Status::Failed && !by_stage(task));
    let shown: Vec<String> = failed.map(|task| failure(task, &log(&task.task), paint)).into_vec();
    shown.join("\n")
}

fn failure(task: &TaskRecord, log: &std::path::Path, paint: Paint) -> String {
    let mut shown = format!("{} {}", mark(Status::Failed, paint), paint.strong(&task.task.to_string()));
    match &task.failure {
        Some(failure) => shown.push_str(&details(failure, paint)),
        None if task.why.is_empty() => shown.push_str(" failed\n"),
        None => drop(writeln!(shown, " failed: {}", text::clean(&task.why))),
    }
    if let Some(hint) = &task.hint {
        let _ = writeln!(shown, "  {} {}", paint.hint("hint:"), text::clean(hint));
    }
    let _ = writeln!(shown, "  {} {}", paint.faint("whole log:"), log.display());
    shown
}

fn details(failure: &Failure, paint: Paint) -> String {
    let mut shown = match &failure.step {
        Some(step) => format!(" failed at {}: {}\n", step::fit(step, STEP_COLUMNS), short_message(&failure.message)),
        None => format!(" failed: {}\n", text::clean(&failure.message)),
    };
    let from = failure.log.len().saturating_sub(LOG_LINES);
    if from > 0 {
        let _ = writeln!(shown, "  {} {}", paint.faint("│"), paint.faint(&format!("… {from} lines before these")));
    }
    for line in &failure.log[from..] {
        let _ = writeln!(shown, "  {} {}", paint.faint("│"), text::clean(line));
    }
    if let Some(source) = &failure.source {
        let _ = writeln!(shown, "  {}", paint.strong(&format!("{}:{}", text::clean(&source.file), source.line)));
        for line in &source.lines {
            let line = text::clean(line);
            let _ = writeln!(shown, "  {}", if line.contains("| >>>") { paint.bad(&line) } else { line });
        }
    }
    shown
}

#[cfg(test)]
mod tests;
