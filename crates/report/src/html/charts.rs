//! The page's charts and tables over the history: run times, hit rates, where time went, tiers, layers. Pure.

use std::fmt::Write as _;

use super::super::step;
use super::{ImageLayers, Page, escaped, joined, ms, percent, timeline};
use crate::record::Outcome;
use crate::record::history::PastRun;
use crate::record::stats::{KindStats, ServiceStats, Stats, StepStats, TierStats};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_core::text;
use monoship_docker::rawjson::PhaseKind;

/// How many of the newest runs the trend shows; more would be thinner than a pixel on a phone.
const TREND_RUNS: usize = 120;

/// How many of the newest releases are compared.
const RELEASES: usize = 6;

/// Layers that store fewer bytes are not compared: a folder, a link.
const SHOWN_LAYER: u64 = 1_000;

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
        ("Image sizes over releases", releases(page.history)),
        ("Layer sizes over releases", released_layers(page.history)),
        ("Layer sizes", layers(page.layers)),
        ("Slowest steps", steps(&stats.steps)),
        ("Where builds spend time beside steps", spent(stats)),
        ("Cache tiers", tiers(&stats.tiers)),
    ];
    let mut html = String::new();
    for (title, content) in sections {
        if !content.is_empty() {
            // What is wider than a phone scrolls by itself, and whoever has no mouse scrolls it too.
            let scrolls = if content.contains("<table") {
                format!(" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"")
            } else {
                String::new()
            };
            let _ = write!(html, "<h2>{title}</h2>\n<div class=\"card\"{scrolls}>\n{content}</div>\n");
        }
    }
    html
}

/// A bar for each of the newest runs, and the medians by what they were for.
fn trend(history: &[PastRun], stats: &Stats) -> String {
    let runs = &history[history.len().saturating_sub(TREND_RUNS)..];
    let Some(highest) = runs.iter().map(|run| run.took).max().filter(|highest| *highest > 0) else { return String::new() };
    let y = |time: u64| HEIGHT - percent(time, highest) / 100.0 * (HEIGHT - 14.0);
    #[expect(clippy::cast_precision_loss, reason = "a position on a screen")]
    let (slot, of) = ((WIDTH - LEFT) / runs.len() as f64, |index: usize| index as f64);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"the time of the last {} runs\">\n",
        HEIGHT + 6.0,
        runs.len(),
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
            Outcome::Cancelled => ("stopped", "cancelled"),
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
    svg.push_str("</svg>\n");
    let outcomes = [("step", "succeeded"), ("failed", "failed"), ("stopped", "cancelled")];
    let items = joined(outcomes.iter().map(|(class, text)| format!("<li><i class=\"{class}\"></i>{text}</li>")));
    let _ = writeln!(svg, "<ul class=\"legend\">{items}</ul>");
    svg.push_str(&kinds(&stats.kinds));
    svg
}

fn kinds(kinds: &[KindStats]) -> String {
    let rows = kinds.iter().map(|KindStats { kind, took }| {
        let trend = took.trend.map_or("–".to_owned(), |trend| format!("{:+.0} %", trend * 100.0));
        vec![kind.clone(), took.count.to_string(), ms(took.median), ms(took.p90), trend]
    });
    table(&["runs that succeeded", "#ran", "#median", "#p90", "#trend"], rows)
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
    let heads = joined(heads.iter().map(|head| format!("<th scope=\"col\"{}>{}</th>", class(head), name(head))));
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

/// The newest releases that succeeded, oldest first, each once: its tag, and what `size` tells of it.
fn newest_releases<K: Ord>(history: &[PastRun], sizes: impl Fn(&PastRun) -> SortedMap<K, u64>) -> Vec<(&str, SortedMap<K, u64>)> {
    let mut releases: Vec<(&str, SortedMap<K, u64>)> = Vec::new();
    for run in history.iter().filter(|run| run.outcome == Outcome::Succeeded) {
        let mut words = run.command.split(' ');
        // Records of before name their release in the command alone.
        let typed = (words.next() == Some("release")).then(|| words.find(|word| !word.starts_with('-'))).flatten();
        let Some(tag) = run.release.as_deref().or(typed) else { continue };
        // A rerun of a release tells what the first told.
        releases.retain(|(known, _)| *known != tag);
        releases.push((tag, sizes(run)));
    }
    releases.retain(|(_, sizes)| !sizes.is_empty());
    releases.split_off(releases.len().saturating_sub(RELEASES))
}

/// Sizes from release to release, each with what it grew by.
fn grown<K: Ord>(releases: &[(&str, SortedMap<K, u64>)], key: &K) -> Vec<String> {
    let mut before = None;
    let cells = releases.iter().map(|(_, sizes)| {
        let size = sizes.get(key).copied();
        let grew = before.zip(size).filter(|(before, size)| before != size);
        before = size.or(before);
        let grew = grew.map(|(before, size)| match size.checked_sub(before) {
            Some(more) => format!(" (+{})", text::bytes(more)),
            None => format!(" (−{})", text::bytes(before - size)),
        });
        size.map_or("–".to_owned(), text::bytes) + &grew.unwrap_or_default()
    });
    cells.into_vec()
}

/// A table with a column for each release.
fn by_release<K: Ord>(first: &[&str], releases: &[(&str, SortedMap<K, u64>)], named: impl Fn(&K) -> Vec<String>) -> String {
    let keys: SortedSet<&K> = releases.iter().flat_map(|(_, sizes)| sizes.keys()).into_set();
    let rows: Vec<Vec<String>> =
        keys.into_iter().map(|key| named(key).into_iter().chain(grown(releases, key)).into_vec()).into_vec();
    let tags: Vec<String> = releases.iter().map(|(tag, _)| format!("#{}", escaped(tag))).into_vec();
    let heads: Vec<&str> = first.iter().copied().chain(tags.iter().map(String::as_str)).into_vec();
    table(&heads, rows.into_iter())
}

/// Each service's image in the newest releases.
fn releases(history: &[PastRun]) -> String {
    let sizes = |run: &PastRun| run.tasks.iter().filter_map(|task| Some((task.task.to_string(), task.size?))).collect();
    by_release(&["service"], &newest_releases(history, sizes), |service| vec![service.clone()])
}

/// The layers of these images. A layer is recognised by its step.
fn released_layers(history: &[PastRun]) -> String {
    let sizes = |run: &PastRun| {
        let mut sizes: SortedMap<(String, String), u64> = SortedMap::new();
        for task in &run.tasks {
            for (step, bytes) in task.layers.iter().filter(|(_, bytes)| *bytes >= SHOWN_LAYER) {
                *sizes.entry((task.task.to_string(), step::text(step))).or_default() += bytes;
            }
        }
        sizes
    };
    by_release(&["service", "~layer"], &newest_releases(history, sizes), |(service, step)| vec![service.clone(), step.clone()])
}

fn layers(images: &[ImageLayers]) -> String {
    let largest = images.iter().flat_map(|image| &image.layers).map(|layer| layer.1).max().unwrap_or(0);
    let mut html = String::new();
    for image in images {
        let size = image.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.1));
        let _ = writeln!(
            html,
            "<div class=\"task\"><h3>{}</h3><span class=\"soft\">{}</span></div>",
            escaped(&image.service),
            text::bytes(size)
        );
        for (instruction, bytes) in image.layers.iter().filter(|layer| layer.1 > 0) {
            html.push_str(&bar(&step::text(instruction), "step", percent(*bytes, largest), &text::bytes(*bytes)));
        }
    }
    html
}

fn steps(steps: &[StepStats]) -> String {
    let rows = steps.iter().map(|step| {
        vec![
            step::text(&step.name),
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
        let verdicts: Vec<String> = tier.verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).into_vec();
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
