//! The gates: what a run's builds took and what its images are, against the bounds of `[gates]`. Before anything is published, so that
//! what a gate stops gets no version tag. What cannot be read is not passed.

use std::time::Duration;

use crate::{Session, history, layers};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Level, Status, Task};
use monoship_core::name::ImageRef;
use monoship_core::text;
use monoship_plan::config::{Gate, Gates, Measure};
use monoship_plan::request::{BuildRequest, Destination};
use monoship_report::record::history::{PastRun, PastTask};
use monoship_report::record::rolling::{Usual, usual};
use monoship_report::record::{GateRecord, RunRecord, TaskRecord};

/// How many runs back a median is looked for.
const RUNS: usize = 500;

/// Measures, judges, and enters what exceeds a bound into the record.
pub fn check(session: &Session, request: &BuildRequest, record: &mut RunRecord) {
    let gates = &session.config.gates;
    if gates.gates.is_empty() || session.shutdown.is_closing() {
        return;
    }
    if gates.of(Measure::ImageSize).is_some() {
        fill_sizes(session, request, record);
    }
    if gates.of(Measure::WastedBytes).is_some() {
        fill_waste(session, request, record);
    }
    let by_median = gates.gates.iter().any(|gate| gate.of_median.is_some());
    let past = if by_median { history::newest(session, RUNS) } else { Ok(Vec::new()) };
    let measurable = request.warms.is_none() && !matches!(request.destination, Destination::Output(_));
    record.gates = judge(gates, &record.tasks, &past, measurable);
    if request.no_cache {
        // Nobody hits a cache that is not to be used.
        record.gates.retain(|gate| gate.gate != Measure::HitRate.key());
    }
}

/// True where no gate forbids to go on.
pub fn pass(record: &RunRecord) -> bool {
    record.gates.iter().all(|gate| !gate.fails)
}

/// An image that was carried forward is as large as it was: running again must not get it past its gate.
fn fill_sizes(session: &Session, request: &BuildRequest, record: &mut RunRecord) {
    if request.pushes() {
        for task in record.tasks.iter_mut().filter(|task| stands(task) && task.size.is_none()) {
            task.size = image(task).and_then(|image| session.registry.image_size(&image));
        }
    }
}

/// What the images waste, by looking into them.
fn fill_waste(session: &Session, request: &BuildRequest, record: &mut RunRecord) {
    let place = match request.destination {
        Destination::Engine(_) => layers::Place::Engine,
        Destination::Registry(_) => layers::Place::Registry,
        Destination::Output(_) => return,
    };
    let standing: Vec<&mut TaskRecord> =
        record.tasks.iter_mut().filter(|task| stands(task) && !task.images.is_empty()).into_vec();
    let subjects = standing.iter().map(|task| task.images[0].clone()).into_vec();
    match layers::look(session, &layers::LayersRequest { subjects, place: Some(place), ..layers::LayersRequest::default() }) {
        Ok(looked) => standing.into_iter().zip(looked).for_each(|(task, image)| task.wasted = Some(image.wasted_bytes)),
        Err(error) => {
            session.events.notice(Level::Warning, None, format!("the gate wasted-bytes cannot be checked: {error}"), None);
        }
    }
}

fn image(task: &TaskRecord) -> Option<ImageRef> {
    task.images.first()?.parse().ok()
}

fn stands(task: &TaskRecord) -> bool {
    matches!(task.task, Task::Service(_)) && matches!(task.status, Status::Built | Status::Unchanged)
}

/// What a task has of a measure, now or in the past.
struct Has {
    now: fn(&TaskRecord) -> Option<f64>,
    past: fn(&PastTask) -> Option<u64>,
    /// What the past's whole numbers are divided by.
    unit: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a bound, not an account")]
fn has(measure: Measure) -> Has {
    match measure {
        Measure::BuildTime => Has {
            now: |task| (task.status == Status::Built).then_some(task.took_ms as f64),
            past: PastTask::build_time,
            unit: 1.0,
        },
        Measure::HitRate => Has {
            now: |task| {
                let total = task.steps.len();
                (task.status == Status::Built && total > 0).then(|| task.cached() as f64 / total as f64)
            },
            past: |task| (task.status == Status::Built && task.total > 0).then(|| task.cached * 1_000_000 / task.total),
            unit: 1e6,
        },
        Measure::ImageSize => Has { now: |task| task.size.map(|bytes| bytes as f64), past: |task| task.size, unit: 1.0 },
        Measure::WastedBytes => Has { now: |task| task.wasted.map(|bytes| bytes as f64), past: |task| task.wasted, unit: 1.0 },
    }
}

/// Every bound that is exceeded, and every one of which that cannot be told. `measurable` where images are somewhere that they can be looked
/// into.
fn judge(gates: &Gates, tasks: &[TaskRecord], past: &Result<Vec<PastRun>>, measurable: bool) -> Vec<GateRecord> {
    let each = gates.gates.iter().flat_map(|gate| tasks.iter().filter(|task| stands(task)).map(move |task| (gate, task)));
    each.filter_map(|(gate, task)| judge_one(gate, task, past, gates.window, measurable)).into_vec()
}

fn judge_one(gate: &Gate, task: &TaskRecord, past: &Result<Vec<PastRun>>, window: usize, measurable: bool) -> Option<GateRecord> {
    let has = has(gate.measure);
    let record = |value, bound, text: String| GateRecord {
        gate: gate.measure.key().to_owned(),
        task: task.task.clone(),
        value,
        bound,
        fails: gate.fails,
        text: format!("{}: {text}", task.task),
    };
    // A build that did not happen took no time; an image that stands has a size, whoever can read it.
    let of_image = matches!(gate.measure, Measure::ImageSize | Measure::WastedBytes);
    let Some(value) = (has.now)(task) else {
        let text = || "it could not be measured, so nobody knows whether it is within the bound".to_owned();
        return (of_image && measurable).then(|| record(None, gate.bound, text()));
    };
    let exceeds = |bound: f64| if gate.measure == Measure::HitRate { value < bound } else { value > bound };
    let shown = |value| shown(gate.measure, value);
    let fixed = gate.bound.filter(|bound| exceeds(*bound)).map(|bound| (bound, String::new()));
    let by_median = || {
        let factor = gate.of_median?;
        let Usual { median, of } = usual(past.as_ref().ok()?, &task.task, window, has.past)?;
        #[expect(clippy::cast_precision_loss, reason = "a bound, not an account")]
        let median = median as f64 / has.unit;
        let why = format!(" ({factor} times {}, the median of {of} builds)", shown(median));
        Some((factor * median, why)).filter(|(bound, _)| exceeds(*bound))
    };
    let Some((bound, why)) = fixed.or_else(by_median) else {
        let unknown = gate.of_median.and_then(|_| past.as_ref().err());
        return unknown
            .map(|error| record(Some(value), None, format!("{} to a median that cannot be read: {error}", shown(value))));
    };
    let than = if gate.measure == Measure::HitRate { "less" } else { "more" };
    Some(record(Some(value), Some(bound), format!("{} is {than} than {}{why}", shown(value), shown(bound))))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "three digits are shown; nothing is negative")]
fn shown(measure: Measure, value: f64) -> String {
    match measure {
        Measure::BuildTime => text::duration(Duration::from_millis(value as u64)),
        Measure::HitRate => format!("{:.0} %", value * 100.0),
        Measure::ImageSize | Measure::WastedBytes => text::bytes(value as u64),
    }
}

#[cfg(test)]
mod tests;
