//! Statistics as a person reads them in a terminal. The same values as JSON are their own serialisation.

use std::fmt::Write as _;
use std::time::Duration;

use super::step;
use super::style::Paint;
use super::summary::aligned;
use crate::record::stats::{KindStats, NodeStats, ServiceStats, StageStats, Stats, StepStats, TierStats};
use monoship_core::collect::Collect as _;
use monoship_core::text::{self, counted};

/// A step's name is cut to this many columns, so that the table fits a usual terminal.
const STEP_COLUMNS: usize = 64;

/// The whole report, for a terminal of so many columns.
#[must_use]
pub fn text(stats: &Stats, paint: Paint, columns: Option<usize>) -> String {
    let mut shown = overview(stats);
    let tables = [
        ("runs", kinds(&stats.kinds, columns)),
        ("services", services(&stats.services, columns)),
        ("stages", stages(&stats.stages, columns)),
        ("nodes", nodes(&stats.nodes, columns)),
        ("slowest steps", steps(&stats.steps, columns)),
        ("cache tiers", tiers(&stats.tiers, columns)),
    ];
    for (title, table) in tables {
        if !table.is_empty() {
            let _ = write!(shown, "\n{}\n{table}", paint.strong(title));
        }
    }
    if !stats.advice.is_empty() {
        let _ = writeln!(shown, "\n{}", paint.strong("advice"));
        for line in &stats.advice {
            let _ = writeln!(shown, "{} {}", paint.hint("•"), text::clean(line));
        }
    }
    shown
}

fn overview(stats: &Stats) -> String {
    let Some(since) = stats.since else { return "no runs are recorded yet; `cargo xtask build` makes the first\n".to_owned() };
    let day = monoship_core::time::rfc3339::text(since);
    let mut shown = format!("{} since {}", counted(stats.runs, "run"), &day[..10]);
    let problems = [(stats.failed, "failed"), (stats.cancelled, "cancelled")];
    let problems: Vec<String> =
        problems.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).into_vec();
    if !problems.is_empty() {
        let _ = write!(shown, " ({})", problems.join(", "));
    }
    shown.push('\n');
    if stats.damaged + stats.newer > 0 {
        let _ = writeln!(shown, "not counted: {} damaged, {} of a newer version", counted(stats.damaged, "line"), stats.newer);
    }
    shown
}

fn services(services: &[ServiceStats], columns: Option<usize>) -> String {
    let rows = services.iter().map(|service| {
        vec![
            service.service.clone(),
            service.built.count.to_string(),
            number(service.unchanged),
            number(service.failed),
            if service.built.count > 0 { time(service.built.median) } else { String::new() },
            if service.built.count > 0 { time(service.built.p90) } else { String::new() },
            service.built.trend.map(signed_percent).unwrap_or_default(),
            service.hit_rate.map(percent).unwrap_or_default(),
            service.size.map(text::bytes).unwrap_or_default(),
            if service.skipping_saved > 0 { time(service.skipping_saved) } else { String::new() },
        ]
    });
    let head = ["service", "built", "unchanged", "failed", "median", "p90", "trend", "cached", "size", "saved by skipping"];
    table(&head, &rows.into_vec(), &[1, 2, 3, 4, 5, 6, 7, 8, 9], columns)
}

fn kinds(kinds: &[KindStats], columns: Option<usize>) -> String {
    let rows = kinds.iter().map(|KindStats { kind, took }| {
        let trend = took.trend.map(signed_percent).unwrap_or_default();
        vec![kind.clone(), took.count.to_string(), time(took.median), time(took.p90), trend]
    });
    table(&["run", "ran", "median", "p90", "trend"], &rows.into_vec(), &[1, 2, 3, 4], columns)
}

fn stages(stages: &[StageStats], columns: Option<usize>) -> String {
    let rows = stages.iter().map(|StageStats { stage, took }| {
        let trend = took.trend.map(signed_percent).unwrap_or_default();
        vec![stage.clone(), took.count.to_string(), time(took.median), time(took.p90), trend]
    });
    table(&["stage", "ran", "median", "p90", "trend"], &rows.into_vec(), &[1, 2, 3, 4], columns)
}

fn nodes(nodes: &[NodeStats], columns: Option<usize>) -> String {
    let rows = nodes.iter().map(|NodeStats { node, built, failed, hit_rate }| {
        let (rate, trend) = (hit_rate.map(percent).unwrap_or_default(), built.trend.map(signed_percent).unwrap_or_default());
        vec![node.clone(), built.count.to_string(), number(*failed), time(built.median), time(built.p90), trend, rate]
    });
    table(&["node", "built", "failed", "median", "p90", "trend", "cached"], &rows.into_vec(), &[1, 2, 3, 4, 5, 6], columns)
}

fn steps(steps: &[StepStats], columns: Option<usize>) -> String {
    let rows = steps.iter().map(|step| {
        let of = if step.name.contains(&format!("[{}", step.task)) { String::new() } else { format!(" ({})", step.task) };
        vec![
            step.ran.count.to_string(),
            time(step.ran.median),
            time(step.ran.p90),
            time(step.total),
            step::fit(&step.name, STEP_COLUMNS) + &of,
        ]
    });
    table(&["ran", "median", "p90", "together", "step"], &rows.into_vec(), &[0, 1, 2, 3], columns)
}

fn tiers(tiers: &[TierStats], columns: Option<usize>) -> String {
    let rows = tiers.iter().map(|tier| {
        let verdicts: Vec<String> = tier.verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).into_vec();
        // A tier that was only written, or read in vain, has costs and no hits.
        let shown = tier.hit_rate.is_some() || tier.importing + tier.exporting > 0;
        let of_builds = |ms| if shown { time(ms) } else { String::new() };
        vec![
            tier.tier.clone(),
            tier.hit_rate.map(percent).unwrap_or_default(),
            of_builds(tier.importing),
            of_builds(tier.exporting),
            format!("{}{}", if tier.unmeasured > 0 { "≥ " } else { "" }, of_builds(tier.saved)),
            verdicts.join(", "),
        ]
    });
    table(&["tier", "cached", "reading", "writing", "saved", "verdicts"], &rows.into_vec(), &[1, 2, 3, 4], columns)
}

fn table(head: &[&str], rows: &[Vec<String>], right: &[usize], columns: Option<usize>) -> String {
    if rows.is_empty() { String::new() } else { aligned(head, rows, right, columns, |_, _, cell| cell.to_owned()) }
}

fn time(ms: u64) -> String {
    text::duration(Duration::from_millis(ms))
}

fn number(count: usize) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn signed_percent(share: f64) -> String {
    format!("{:+.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::history::{Read, tests::run};
    use crate::record::stats;

    #[test]
    fn statistics_read_as_tables_that_line_up() {
        let shown =
            text(&stats::summarise(&Read { runs: (0..100).map(run).collect(), damaged: 1, newer: 0 }), Paint::PLAIN, None);
        let expected = "\
100 runs since 2023-11-14 (4 failed)
not counted: 1 line damaged, 0 of a newer version

runs
run               ran  median    p90  trend
build, 1 service   96   10.4s  10.8s   +1 %

services
service    built  unchanged  median   p90  trend  cached    size  saved by skipping
scheduler     25         75    9.5s  9.9s   +0 %    83 %  142 MB            11m 53s
worker        25         75    9.5s  9.9s   +0 %    83 %  142 MB            11m 53s
api           25         75    9.4s  9.8s   +0 %    83 %  142 MB            11m 45s
web           25         75    9.4s  9.8s   +0 %    83 %  142 MB            11m 45s

slowest steps
ran  median   p90  together  step
 25    6.5s  6.9s    2m 43s  [scheduler-build 3/4] RUN pnpm --filter scheduler build
";
        assert!(shown.starts_with(expected), "{shown}");
        let tiers = "\
cache tiers
tier      cached  reading  writing   saved  verdicts
gha                                         left-out 100
registry    83 %    30.0s   2m 30s  ≥ 0.0s  used 100
";
        assert!(shown.ends_with(tiers), "{shown}");
    }

    #[test]
    fn an_empty_history_says_how_to_begin_one() {
        assert!(text(&stats::summarise(&Read::default()), Paint::PLAIN, None).starts_with("no runs are recorded yet"));
    }
}
