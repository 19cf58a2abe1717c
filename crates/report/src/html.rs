//! A run and the history as one HTML page that needs nothing else: no font, no network, and no script, which only adds search and keys.
//! Readable in light and dark, on a phone and on paper. Numbers are the record's own; `data-ms` holds them unrounded.

mod charts;
mod nodes;
mod timeline;

use std::fmt::Write as _;
use std::time::Duration;

use crate::record::history::PastRun;
use crate::record::stats::Stats;
use crate::record::{Outcome, RunRecord, TaskRecord};
use monoship_core::collect::Collect as _;
use monoship_core::event::Status;
use monoship_core::name::sha256_base64;
use monoship_core::sorted::SortedSet;
use monoship_core::text;

use super::plain::word;
use super::step;
use super::summary;
use timeline::{Stretch, What};

/// What may lie between two ticks of the time axis, in milliseconds.
const TICKS: [u64; 17] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
    7_200_000, 36_000_000,
];

/// So many have room on a phone.
const MOST_TICKS: u64 = 6;

/// A step that takes less than this part of the run is short.
const SHORT: u64 = 150;

/// A tick's label right of here, in percent, would stand over the edge.
const LAST_TICK: f64 = 96.0;

/// What fills an image, for the page: each layer's instruction and its size in bytes, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayers {
    /// The service.
    pub service: String,
    /// Instruction and bytes.
    pub layers: Vec<(String, u64)>,
}

/// What the page shows.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The run whose timeline is drawn.
    pub run: Option<&'a RunRecord>,
    /// Over all of the history.
    pub stats: &'a Stats,
    /// The history, oldest first.
    pub history: &'a [PastRun],
    /// What fills the images, where it was looked at.
    pub layers: &'a [ImageLayers],
}

/// The page.
#[must_use]
pub fn page(page: &Page<'_>) -> String {
    let mut body = String::new();
    match page.run {
        Some(run) => body.push_str(&run_section(run)),
        None => body.push_str("<h1>cargo xtask stats</h1>"),
    }
    body.push_str(&charts::all(page));
    let script = include_str!("html/page.js");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n<script>{script}</script>\n</body>\n</html>\n",
        // This script runs and no other.
        sha256_base64(script.as_bytes()),
        page.run.map_or_else(|| "cargo xtask stats".to_owned(), |run| escaped(&format!("cargo xtask {}", run.command))),
        include_str!("html/style.css"),
    )
}

/// Text that is safe between tags and in attribute values.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text::clean(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.fold(String::new(), |all, part| all + &part)
}

fn ms(time: u64) -> String {
    text::duration(Duration::from_millis(time))
}

#[expect(clippy::cast_precision_loss, reason = "a position on a screen")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 100.0).clamp(0.0, 100.0) }
}

fn run_section(run: &RunRecord) -> String {
    let (word, class) = match run.outcome {
        Outcome::Succeeded => ("succeeded", "good"),
        Outcome::Failed => ("failed", "bad"),
        Outcome::Cancelled => ("cancelled", "bad"),
    };
    let stretches = timeline::stretches(run);
    let waited: u64 = stretches.iter().filter(|stretch| stretch.is_critical).fold(0, |sum, s| sum.saturating_add(s.took_ms));
    let steps: usize = run.tasks.iter().map(|task| task.steps.len()).sum();
    let cached: usize = run.tasks.iter().map(TaskRecord::cached).sum();
    let started = monoship_core::time::rfc3339::text(run.started);
    let mut html = format!(
        "<h1>cargo xtask {}</h1>\n<p class=\"soft\"><span class=\"{class}\">{word}</span> · {} · run <span class=\"mono\">{}</span>",
        escaped(&run.command),
        escaped(&started.replace('T', " ")),
        escaped(run.id.as_str()),
    );
    for (what, value) in [("commit", &run.commit), ("on", &run.reference)] {
        if let Some(value) = value {
            let _ = write!(html, " · {what} <span class=\"mono\">{}</span>", escaped(value));
        }
    }
    let _ = write!(
        html,
        "</p>\n<ul class=\"facts\"><li>took<b data-ms=\"{}\">{}</b></li><li>on the critical path<b>{}</b></li>\
         <li>steps from a cache<b>{cached} of {steps}</b></li></ul>\n<h2>Timeline</h2>\n<div class=\"card\">\n{}",
        run.took_ms,
        ms(run.took_ms),
        ms(waited),
        legend(),
    );
    html.push_str(&axis(run.took_ms));
    for (index, task) in run.tasks.iter().enumerate() {
        let of_task: Vec<&Stretch> = stretches.iter().filter(|stretch| stretch.task == index).into_vec();
        html.push_str(&task_rows(run, task, &of_task));
    }
    html.push_str("</div>\n");
    let lanes = nodes::lanes(run);
    if !lanes.is_empty() {
        let _ = write!(html, "<h2>Nodes</h2>\n<div class=\"card\">\n{lanes}</div>\n");
    }
    html
}

/// The time since the run began, at round times, above the bars and in line with them.
fn axis(whole: u64) -> String {
    let Some(step) = TICKS.into_iter().find(|step| whole / step <= MOST_TICKS) else { return String::new() };
    let ticks = (0..=whole / step).map(|tick| tick * step).filter(|at| percent(*at, whole) < LAST_TICK);
    let ticks =
        joined(ticks.map(|at| format!("<span class=\"tick\" style=\"left:{:.3}%\">{}</span>", percent(at, whole), round(at))));
    format!("<div class=\"row axis\" aria-hidden=\"true\"><span></span><span class=\"ticks\">{ticks}</span><span></span></div>\n")
}

/// `0`, `500ms`, `20s`, `5m`, `2h`: of a round time, the unit that it is round in.
fn round(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

fn legend() -> String {
    let kinds = [
        ("step", "step"),
        ("pull", "pull"),
        ("transfer", "context"),
        ("cache", "cache"),
        ("export", "image"),
        ("push", "push"),
        ("failed", "failed"),
        ("stopped", "cancelled"),
        ("edge", "the run waited for it"),
    ];
    let items = joined(kinds.iter().map(|(class, text)| format!("<li><i class=\"{class}\"></i>{text}</li>")));
    format!("<ul class=\"legend\">{items}</ul>\n")
}

fn task_rows(run: &RunRecord, task: &TaskRecord, stretches: &[&Stretch]) -> String {
    let class = match task.status {
        Status::Failed => "bad",
        Status::Built | Status::Done => "good",
        Status::Unchanged | Status::Cancelled | Status::NotRun => "soft",
    };
    let mut html = format!(
        "<div class=\"task\"><h3>{}</h3><span class=\"{class}\">{}</span>",
        escaped(&task.task.to_string()),
        word(task.status),
    );
    if task.took_ms > 0 {
        let _ = write!(html, "<span class=\"soft\" data-ms=\"{}\">{}</span>", task.took_ms, ms(task.took_ms));
    }
    if !task.steps.is_empty() {
        let _ = write!(html, "<span class=\"soft\">{} of {} steps cached</span>", task.cached(), task.steps.len());
    }
    if !task.nodes.is_empty() {
        let _ = write!(html, "<span class=\"soft\">on {}</span>", escaped(&summary::nodes(task)));
    }
    if !task.why.is_empty() {
        let _ = write!(html, "<span class=\"soft\">{}</span>", escaped(&task.why));
    }
    html.push_str("</div>\n");
    for row in rows(stretches, run.took_ms) {
        html.push_str(&bar_row(&row, run));
    }
    html
}

/// A row for each step; all phases of one kind share one, for a build sends its context in many small pieces, and so do steps that are
/// hardly seen: there are as many of them as of all others.
fn rows<'a>(stretches: &[&'a Stretch], whole: u64) -> Vec<Vec<&'a Stretch>> {
    let is_short = |stretch: &Stretch| stretch.what == What::Step && stretch.took_ms.saturating_mul(SHORT) < whole;
    let mut rows: Vec<Vec<&Stretch>> = Vec::new();
    for stretch in stretches {
        let alike = rows.iter_mut().find(|row| match stretch.what {
            What::Phase(_) => row[0].what == stretch.what,
            _ => is_short(stretch) && is_short(row[0]),
        });
        match alike {
            Some(row) => row.push(stretch),
            None => rows.push(vec![stretch]),
        }
    }
    rows
}

fn bar_row(row: &[&Stretch], run: &RunRecord) -> String {
    let bars = joined(row.iter().map(|stretch| bar(stretch, run.took_ms)));
    let critical = if row.iter().any(|stretch| stretch.is_critical) { " critical" } else { "" };
    let took = row.iter().fold(0_u64, |sum, stretch| sum.saturating_add(stretch.took_ms));
    let also: SortedSet<usize> = row.iter().flat_map(|stretch| stretch.also.iter().copied()).into_set();
    let also: Vec<String> = also.into_iter().map(|task| run.tasks[task].task.to_string()).into_vec();
    let also = if also.is_empty() {
        also.concat()
    } else {
        format!(" <span class=\"soft\">also for {}</span>", escaped(&also.join(", ")))
    };
    let (whole, shown) = match row {
        [first, _, ..] if first.what == What::Step => {
            let names: Vec<String> = row.iter().map(|stretch| escaped(&step::text(&stretch.label))).into_vec();
            (names.join("&#10;"), text::counted(row.len(), "short step"))
        }
        _ => (escaped(&row[0].label), step::text(&row[0].label)),
    };
    format!(
        "<div class=\"row{critical}\"><span class=\"name mono\" title=\"{}\">{}{also}</span><span class=\"track\">{bars}</span>\
         <span class=\"time\">{}</span></div>\n",
        whole,
        escaped(&shown),
        ms(took),
    )
}

fn bar(stretch: &Stretch, whole: u64) -> String {
    let class = match stretch.what {
        What::Step | What::Whole => "step",
        What::Failed => "failed",
        What::Stopped => "stopped",
        What::Phase(kind) => charts::phase_class(kind),
    };
    format!(
        "<span class=\"bar {class}{}\" title=\"{}, {} from {}\" style=\"left:{:.3}%;width:{:.3}%\" data-from-ms=\"{}\" data-ms=\"{}\"></span>",
        if stretch.is_critical { " critical" } else { "" },
        escaped(&step::text(&stretch.label)),
        ms(stretch.took_ms),
        ms(stretch.from_ms),
        percent(stretch.from_ms, whole),
        percent(stretch.took_ms, whole),
        stretch.from_ms,
        stretch.took_ms,
    )
}

#[cfg(test)]
mod tests;
