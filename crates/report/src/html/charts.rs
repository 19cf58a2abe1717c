//! The page's charts and tables over the history: run times, hit rates, where time went, tiers, layers. Pure.

use std::fmt::Write as _;

use super::super::plain::step_text;
use super::{ImageLayers, Page, escaped, joined, ms, percent, timeline};
use crate::record::Outcome;
use crate::record::history::PastRun;
use crate::record::stats::{ServiceStats, Stats, StepStats, TierStats};
use monoship_core::text;
use monoship_docker::rawjson::PhaseKind;

/// How many of the newest runs the trend shows; more would be thinner than a pixel on a phone.
const TREND_RUNS: usize = 120;

/// The chart's drawing area in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;

/// The colour class of a phase.
pub(super) fn phase_class(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Pull => "pull",
        PhaseKind::Transfer => "transfer",
        PhaseKind::CacheImport | PhaseKind::CacheFetch | PhaseKind::CacheExport => "cache",
        PhaseKind::Sbom | PhaseKind::Export => "export",
        PhaseKind::Push => "push",
    }
}

/// Every section that has something to show.
pub(super) fn all(page: &Page<'_>) -> String {
    let stats = page.stats;
    let advice = joined(stats.advice.iter().map(|line| format!("<li>{}</li>", coded(line))));
    let advice = if advice.is_empty() { String::new() } else { format!("<ul class=\"advice\">{advice}</ul>") };
    let sections = [
        ("Advice", advice),
        ("Run times", trend(page.history, stats)),
        ("Services", services(&stats.services)),
        ("Steps from a cache", hit_rates(&stats.services)),
        ("Layer sizes", layers(page.layers)),
        ("Slowest steps", steps(&stats.steps)),
        ("Where builds spend time beside steps", spent(stats)),
        ("Cache tiers", tiers(&stats.tiers)),
    ];
    let mut html = String::new();
    for (title, content) in sections {
        if !content.is_empty() {
            let _ = write!(html, "<h2>{title}</h2>\n<div class=\"card\">\n{content}</div>\n");
        }
    }
    html
}

/// A bar for each of the newest runs, and the median over all of them.
fn trend(history: &[PastRun], stats: &Stats) -> String {
    let runs = &history[history.len().saturating_sub(TREND_RUNS)..];
    let Some(highest) = runs.iter().map(|run| run.took).max().filter(|highest| *highest > 0) else { return String::new() };
    let y = |time: u64| HEIGHT - percent(time, highest) / 100.0 * (HEIGHT - 14.0);
    #[expect(clippy::cast_precision_loss, reason = "a position on a screen")]
    let (slot, of) = ((WIDTH - LEFT) / runs.len() as f64, |index: usize| index as f64);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"the time of the last {} runs; the median is {}\">\n",
        HEIGHT + 6.0,
        runs.len(),
        ms(stats.total.median),
    );
    for share in [0, 1, 2] {
        let time = highest / 2 * share;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text x=\"0\" y=\"{1:.1}\">{2}</text>",
            y(time),
            y(time) + 4.0,
            ms(time),
        );
    }
    for (index, run) in runs.iter().enumerate() {
        let (class, word) = match run.outcome {
            Outcome::Succeeded => ("ok", "succeeded"),
            Outcome::Failed => ("no", "failed"),
            Outcome::Cancelled => ("no", "cancelled"),
        };
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\"><title>{} {word} in {}, {}</title></rect>",
            LEFT + slot * of(index) + slot * 0.1,
            y(run.took),
            slot * 0.8,
            HEIGHT - y(run.took),
            escaped(&run.command),
            ms(run.took),
            &monoship_core::time::rfc3339::text(run.started)[..10],
        );
    }
    if stats.total.count > 0 && stats.total.median <= highest {
        let _ = writeln!(
            svg,
            "<line class=\"mid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
            y(stats.total.median)
        );
    }
    svg.push_str("</svg>\n");
    let _ = writeln!(
        svg,
        "<p class=\"soft\">The last {} runs; the dashed line is the median of those that succeeded, {} (nine in ten: {}).</p>",
        runs.len(),
        ms(stats.total.median),
        ms(stats.total.p90),
    );
    svg
}

/// A table; a column whose head begins with `#` holds numbers, one whose head begins with `~` may wrap.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = |head: &str| match head.as_bytes().first() {
        Some(b'#') => " class=\"n\"",
        Some(b'~') => " class=\"long\"",
        _ => "",
    };
    let name = |head: &str| head.trim_start_matches(['#', '~']).to_owned();
    let row = |cells: Vec<String>| -> String {
        let cells = heads.iter().zip(cells).map(|(head, cell)| format!("<td{}>{}</td>", class(head), escaped(&cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = rows.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let heads = joined(heads.iter().map(|head| format!("<th{}>{}</th>", class(head), name(head))));
    format!("<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table>\n")
}

fn services(services: &[ServiceStats]) -> String {
    let time = |count: usize, time| if count > 0 { ms(time) } else { "–".to_owned() };
    let rows = services.iter().map(|service| {
        vec![
            service.service.clone(),
            service.built.count.to_string(),
            service.unchanged.to_string(),
            service.failed.to_string(),
            time(service.built.count, service.built.median),
            time(service.built.count, service.built.p90),
            service.built.trend.map_or("–".to_owned(), |trend| format!("{:+.0} %", trend * 100.0)),
            service.size.map_or("–".to_owned(), text::bytes),
            ms(service.skipping_saved),
        ]
    });
    table(&["service", "#built", "#unchanged", "#failed", "#median", "#p90", "#trend", "#size", "#saved by skipping"], rows)
}

/// A row with a bar from the left.
fn bar(label: &str, class: &str, share: f64, value: &str) -> String {
    let label = escaped(label);
    format!(
        "<div class=\"row\"><span class=\"name mono\" title=\"{label}\">{label}</span>\
         <span class=\"track\"><span class=\"bar {class}\" style=\"left:0;width:{share:.2}%\"></span></span>\
         <span class=\"time\">{}</span></div>\n",
        escaped(value),
    )
}

/// Text in which what stands between back-quotes is code.
fn coded(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    pieces
        .map(|(at, piece)| if at % 2 == 1 { format!("<code>{}</code>", escaped(piece)) } else { escaped(piece).clone() })
        .collect()
}

fn hit_rates(services: &[ServiceStats]) -> String {
    let rates = services.iter().filter_map(|service| Some((&service.service, service.hit_rate? * 100.0)));
    rates.map(|(name, rate)| bar(name, "hit", rate, &format!("{rate:.0} %"))).collect()
}

fn layers(images: &[ImageLayers]) -> String {
    let largest = images.iter().flat_map(|image| &image.layers).map(|layer| layer.1).max().unwrap_or(0);
    let mut html = String::new();
    for image in images {
        let size = image.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.1));
        let _ = writeln!(
            html,
            "<div class=\"task\"><b>{}</b><span class=\"soft\">{}</span></div>",
            escaped(&image.service),
            text::bytes(size)
        );
        for (instruction, bytes) in image.layers.iter().filter(|layer| layer.1 > 0) {
            html.push_str(&bar(&step_text(instruction), "step", percent(*bytes, largest), &text::bytes(*bytes)));
        }
    }
    html
}

fn steps(steps: &[StepStats]) -> String {
    let rows = steps.iter().map(|step| {
        vec![
            step_text(&step.name),
            step.task.clone(),
            step.ran.count.to_string(),
            ms(step.ran.median),
            ms(step.ran.p90),
            ms(step.total),
        ]
    });
    table(&["~step", "of", "#ran", "#median", "#p90", "#together"], rows)
}

fn spent(stats: &Stats) -> String {
    let most = stats.spent.values().max().copied().unwrap_or(0);
    let bars =
        stats.spent.iter().map(|(kind, time)| bar(timeline::title(*kind), phase_class(*kind), percent(*time, most), &ms(*time)));
    bars.collect()
}

fn tiers(tiers: &[TierStats]) -> String {
    let rows = tiers.iter().map(|tier| {
        let verdicts: Vec<String> = tier.verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).collect();
        let at_least = if tier.unmeasured > 0 { "≥ " } else { "" };
        vec![
            tier.tier.clone(),
            tier.hit_rate.map_or("–".to_owned(), |rate| format!("{:.0} %", rate * 100.0)),
            ms(tier.importing),
            ms(tier.exporting),
            format!("{at_least}{}", ms(tier.saved)),
            verdicts.join(", "),
        ]
    });
    table(&["tier", "#cached", "#reading", "#writing", "#saved", "~verdicts"], rows)
}
