//! The Markdown job summary of a run, from what the caller gathered. Pure text: nothing is read, and the size limit is kept by
//! leaving out what matters least.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::time::Duration;

use crate::record::stats::TierStats;
use crate::summary::column_of;
use monoship_core::collect::Collect as _;
use monoship_core::event::Status;
use monoship_core::name::{Digest, StageName, Tag};
use monoship_core::text;
use monoship_github::notes::inline;

mod of_run;

pub use of_run::{rows, tiers};

/// What the summary may take of the step's mebibyte; the rest is for whoever else writes into the same step.
pub const LIMIT: usize = 900_000;

/// How much of a failed service's log is quoted, in bytes.
const TAIL: usize = 8_000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Everything asked for is done.
    #[default]
    Succeeded,
    /// Something failed.
    Failed,
    /// It was stopped.
    Cancelled,
}

/// A run as the summary shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// What the run was for, for example `release v1.2.3`.
    pub title: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// The services, in their order.
    pub services: Vec<ServiceRow>,
    /// The cache tiers, in their order of preference.
    pub tiers: Vec<TierRow>,
    /// What was removed from the caches, and what could not be.
    pub removed: Vec<RemovedRow>,
    /// The release and its page.
    pub release: Option<(Tag, Option<String>)>,
    /// What else a person should know.
    pub notices: Vec<String>,
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// Its name.
    pub name: String,
    /// How it ended; `None` where it has still to be built.
    pub status: Option<Status>,
    /// Why it is built, or is not.
    pub why: String,
    /// Steps taken from a cache, and all of them; `None` where the builder was not called.
    pub steps: Option<(usize, usize)>,
    /// How long it took.
    pub took: Option<Duration>,
    /// The image's bytes now and in the previous release.
    pub bytes: (Option<u64>, Option<u64>),
    /// The image's digest.
    pub digest: Option<Digest>,
    /// The failing step and the end of its log.
    pub failure: Option<Failure>,
    /// What the team's own stages came to for its image, in the order in which they were run.
    pub stages: Vec<(StageName, Status)>,
}

impl ServiceRow {
    /// A service of which no more is known.
    #[must_use]
    pub fn new(name: &str, status: Option<Status>, why: &str) -> Self {
        let (name, why) = (name.to_owned(), why.to_owned());
        Self { name, status, why, steps: None, took: None, bytes: (None, None), digest: None, failure: None, stages: Vec::new() }
    }
}

/// What went wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step, and the Dockerfile line where it is known.
    pub step: String,
    /// Its last log lines, and the error.
    pub log: String,
}

/// One cache tier over all targets.
#[derive(Debug, Clone, PartialEq)]
pub struct TierRow {
    /// Its name.
    pub tier: String,
    /// What was decided about it.
    pub verdict: String,
    /// What it cost, and what it saved as far as earlier runs tell; none where nothing was built.
    pub cost: Option<TierStats>,
}

/// Something that was removed from a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedRow {
    /// The tier and the place in it.
    pub place: String,
    /// Its name there.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Why it went, or why it could not.
    pub why: String,
}

/// The summary as Markdown, at most `limit` bytes: logs go first, then rows.
#[must_use]
pub fn render(summary: &Summary, limit: usize) -> String {
    let whole = page(summary, usize::MAX, TAIL);
    if whole.len() <= limit {
        return whole;
    }
    let without_logs = page(summary, usize::MAX, 0);
    if without_logs.len() <= limit {
        return without_logs;
    }
    // Halving keeps this quick; nobody reads the thousandth row of a table that does not fit a mebibyte.
    let mut rows = summary.services.len().max(summary.removed.len()) / 2;
    while rows > 0 {
        let shorter = page(summary, rows, 0);
        if shorter.len() <= limit {
            return shorter;
        }
        rows /= 2;
    }
    let bare = Summary { services: Vec::new(), tiers: Vec::new(), removed: Vec::new(), notices: Vec::new(), ..summary.clone() };
    page(&bare, 0, 0)
}

fn page(summary: &Summary, rows: usize, tail: usize) -> String {
    let mut text = String::new();
    let (sign, word) = match summary.verdict {
        Verdict::Succeeded => ("✅", "succeeded in"),
        Verdict::Failed => ("❌", "failed after"),
        Verdict::Cancelled => ("🚫", "cancelled after"),
    };
    line(&mut text, format_args!("## {sign} {}: {word} {}\n", inline(&summary.title), text::duration(summary.took)));
    if let Some((tag, url)) = &summary.release {
        match url {
            Some(url) if url.starts_with("https://") && !url.contains([')', ' ', '\n', '<']) => {
                line(&mut text, format_args!("Release [{tag}]({url})\n"));
            }
            _ => line(&mut text, format_args!("Release {tag}\n")),
        }
    }
    service_table(&mut text, &summary.services, rows);
    tier_table(&mut text, &summary.tiers);
    removed_table(&mut text, &summary.removed, rows);
    for notice in &summary.notices {
        line(&mut text, format_args!("> {}\n", inline(notice)));
    }
    failures(&mut text, &summary.services, tail);
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
    text.push('\n');
}

fn service_table(text: &mut String, services: &[ServiceRow], rows: usize) {
    if services.is_empty() {
        return;
    }
    let mut stages: Vec<&StageName> = Vec::new();
    for (stage, _) in services.iter().flat_map(|row| &row.stages) {
        if !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    let others = ["service", "status", "why", "cached", "time", "size", "digest"];
    let heads: String = stages.iter().map(|stage| format!(" {} |", column_of(stage, &others))).collect();
    let rules = "---|".repeat(stages.len());
    line(
        text,
        format_args!(
            "| Service | Status |{heads} Why | Cached | Time | Size | Digest |\n|---|---|{rules}---|---:|---:|---:|---|"
        ),
    );
    for row in services.iter().take(rows) {
        let steps = row.steps.map(|(cached, total)| format!("{cached}/{total}")).unwrap_or_default();
        let took = row.took.map(text::duration).unwrap_or_default();
        let digest = row.digest.as_ref().map(|digest| format!("`{}`", digest.short())).unwrap_or_default();
        let (name, why) = (inline(&row.name), inline(&row.why));
        let result =
            |stage: &&StageName| row.stages.iter().find(|(of, _)| of == *stage).map_or("", |(_, ended)| stage_status(*ended));
        let results: String = stages.iter().map(|stage| format!(" {} |", result(stage))).collect();
        line(
            text,
            format_args!(
                "| {name} | {} |{results} {why} | {steps} | {took} | {} | {digest} |",
                status(row.status),
                size(row.bytes)
            ),
        );
    }
    more(text, services.len(), rows);
    text.push('\n');
}

fn tier_table(text: &mut String, tiers: &[TierRow]) {
    if tiers.is_empty() {
        return;
    }
    let saved: Vec<String> = tiers.iter().map(|tier| tier.cost.as_ref().and_then(saved).unwrap_or_default()).into_vec();
    // Where no earlier run tells how long a step takes, nobody knows what its hit saved.
    let known = saved.iter().any(|saved| !saved.is_empty());
    text.push_str("| Cache tier | Verdict | Reading | Writing |");
    text.push_str(if known { " Saved |\n|---|---|---:|---:|---:|\n" } else { "\n|---|---|---:|---:|\n" });
    for (tier, saved) in tiers.iter().zip(saved) {
        let cost = |of: fn(&TierStats) -> u64| tier.cost.as_ref().map(of).filter(|ms| *ms > 0).map(time).unwrap_or_default();
        let (name, verdict) = (inline(&tier.tier), inline(&tier.verdict));
        let saved = if known { format!(" {saved} |") } else { String::new() };
        let (reading, writing) = (cost(|cost| cost.importing), cost(|cost| cost.exporting));
        line(text, format_args!("| {name} | {verdict} | {reading} | {writing} |{saved}"));
    }
    text.push('\n');
}

/// What a tier's hits saved: at least that much where some of them were never seen to run; none where nothing is known.
fn saved(cost: &TierStats) -> Option<String> {
    let at_least = if cost.unmeasured > 0 { "≥ " } else { "" };
    (cost.saved > 0).then(|| format!("{at_least}{}", time(cost.saved)))
}

fn removed_table(text: &mut String, removed: &[RemovedRow], rows: usize) {
    if removed.is_empty() {
        return;
    }
    text.push_str("| Where | What | Size | Why |\n|---|---|---:|---|\n");
    for row in removed.iter().take(rows) {
        let [place, name, why] = [&row.place, &row.name, &row.why].map(|text| inline(text));
        line(text, format_args!("| {place} | {name} | {} | {why} |", text::bytes(row.bytes)));
    }
    more(text, removed.len(), rows);
    text.push('\n');
}

fn more(text: &mut String, all: usize, rows: usize) {
    if all > rows {
        line(text, format_args!("\n*and {} more*", all - rows));
    }
}

fn failures(text: &mut String, services: &[ServiceRow], tail: usize) {
    for (row, failure) in services.iter().filter_map(|row| Some((row, row.failure.as_ref()?))) {
        line(text, format_args!("### {}: {}\n", inline(&row.name), inline(&failure.step)));
        let mut from = failure.log.len().saturating_sub(tail);
        while !failure.log.is_char_boundary(from) {
            from += 1;
        }
        let log = &failure.log[from..];
        if !log.trim().is_empty() {
            // A fence longer than any run of backticks in the log: nothing in it can end it.
            let longest = log.split(|c| c != '`').map(str::len).max().unwrap_or(0);
            let fence = "`".repeat(longest.max(2) + 1);
            line(text, format_args!("{fence}text\n{}\n{fence}\n", log.trim_end()));
        }
    }
}

fn status(status: Option<Status>) -> &'static str {
    match status {
        None => "🔜 to be built",
        Some(Status::Built) => "✅ built",
        Some(Status::Unchanged) => "⏭️ unchanged",
        Some(Status::Done) => "✅ done",
        Some(Status::Failed) => "❌ failed",
        Some(Status::Cancelled) => "🚫 cancelled",
        Some(Status::NotRun) => "◻️ not run",
    }
}

fn stage_status(ended: Status) -> &'static str {
    match ended {
        Status::Done | Status::Built => "✅ passed",
        Status::Unchanged => "⏭️ passed before",
        other => status(Some(other)),
    }
}

fn time(milliseconds: u64) -> String {
    text::duration(Duration::from_millis(milliseconds))
}

/// `45.1 MB`, with the change since the previous image where there is one.
fn size((now, before): (Option<u64>, Option<u64>)) -> String {
    let change = now.zip(before).map(|(now, before)| match now.cmp(&before) {
        Ordering::Greater => format!(" (+{})", text::bytes(now - before)),
        Ordering::Less => format!(" (−{})", text::bytes(before - now)),
        Ordering::Equal => String::new(),
    });
    now.map(|now| text::bytes(now) + &change.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: Status) -> ServiceRow {
        ServiceRow {
            name: name.into(),
            status: Some(status),
            why: "packages/ui changed".into(),
            steps: Some((9, 12)),
            took: Some(Duration::from_millis(12_400)),
            bytes: (Some(45_123_456), Some(44_000_000)),
            digest: Some(Digest::of(b"x")),
            failure: None,
            stages: Vec::new(),
        }
    }

    fn summary(services: Vec<ServiceRow>) -> Summary {
        let tier = TierRow {
            tier: "gha".into(),
            verdict: "read only: the runner's token may only read".into(),
            cost: Some(TierStats { importing: 400, saved: 95_000, unmeasured: 1, ..TierStats::default() }),
        };
        Summary {
            title: "release v1.2.3".into(),
            verdict: Verdict::Succeeded,
            took: Duration::from_secs(184),
            services,
            tiers: vec![tier],
            removed: Vec::new(),
            release: Some(("v1.2.3".parse().unwrap(), Some("https://github.com/org/repo/releases/tag/v1.2.3".into()))),
            notices: vec!["stand-ins <b>were</b> used".into()],
        }
    }

    #[test]
    fn the_whole_page_reads_well() {
        let mut skipped = row("web", Status::Unchanged);
        (skipped.steps, skipped.took, skipped.bytes) = (None, None, (Some(1_000_000), None));
        let text = render(&summary(vec![row("api", Status::Built), skipped]), LIMIT);
        let expected = "\
## ✅ release v1.2.3: succeeded in 3m 04s

Release [v1.2.3](https://github.com/org/repo/releases/tag/v1.2.3)

| Service | Status | Why | Cached | Time | Size | Digest |
|---|---|---|---:|---:|---:|---|
| api | ✅ built | packages/ui changed | 9/12 | 12.4s | 45.1 MB (+1.12 MB) | `2d711642b726` |
| web | ⏭️ unchanged | packages/ui changed |  |  | 1.00 MB | `2d711642b726` |

| Cache tier | Verdict | Reading | Writing | Saved |
|---|---|---:|---:|---:|
| gha | read only: the runner's token may only read | 0.4s |  | ≥ 1m 35s |

> stand-ins &lt;b&gt;were&lt;/b&gt; used

";
        assert_eq!(text, expected);
    }

    #[test]
    fn without_earlier_runs_nothing_is_said_to_be_saved_and_what_is_to_be_built_is_not_called_missing() {
        let mut plan = summary(vec![ServiceRow::new("api", None, "never built here")]);
        plan.tiers[0].cost = Some(TierStats { unmeasured: 9, exporting: 2_000, ..TierStats::default() });
        let text = render(&plan, LIMIT);
        assert!(text.contains("| api | 🔜 to be built | never built here |  |  |  |  |"), "{text}");
        assert!(text.contains("| Cache tier | Verdict | Reading | Writing |\n|---|---|---:|---:|\n| gha |"), "{text}");
        assert!(text.contains(" |  | 2.0s |\n"), "{text}");
    }

    #[test]
    fn what_upkeep_removed_is_listed_and_a_long_list_is_cut() {
        let removed = |n: u32| RemovedRow {
            place: "gha: refs/heads/main".into(),
            name: format!("index-monorepo-api-1-f921bd05#{n}"),
            bytes: 1_300,
            why: "a newer export replaced it".into(),
        };
        let upkeep = Summary { title: "scheduled".into(), removed: (0..500).map(removed).collect(), ..Summary::default() };
        let whole = render(&upkeep, LIMIT);
        let row = "| gha: refs/heads/main | index-monorepo-api-1-f921bd05#<!-- -->0 | 1.30 kB | a newer export replaced it |\n";
        assert!(whole.contains(row) && whole.contains("#<!-- -->499 |"), "{whole}");
        let short = render(&upkeep, 5_000);
        assert!(short.len() <= 5_000 && short.contains(row) && short.contains("more*"), "{}", short.len());
    }

    #[test]
    fn a_failure_quotes_its_log_and_nothing_in_it_breaks_the_page() {
        let mut failed = row("a|b", Status::Failed);
        failed.why = "x | y\nz".into();
        failed.failure = Some(Failure { step: "[api 3/4] RUN tsc (line 12)".into(), log: "````\n</details>\n".into() });
        let text = render(&Summary { verdict: Verdict::Failed, ..summary(vec![failed]) }, LIMIT);
        assert!(text.contains("| a\\|b | ❌ failed | x \\| y z |"), "{text}");
        assert!(text.contains("### a\\|b: \\[api 3/4\\] RUN tsc (line 12)\n\n`````text\n````\n</details>\n`````\n"), "{text}");
    }

    #[test]
    fn a_long_run_fits_by_dropping_logs_first_and_rows_then() {
        let mut failed = row("bad", Status::Failed);
        failed.failure = Some(Failure { step: "s".into(), log: "ü".repeat(9_000) });
        let services: Vec<_> = std::iter::once(failed).chain((0..500).map(|n| row(&format!("s{n}"), Status::Built))).collect();
        let summary = summary(services);
        let whole = render(&summary, LIMIT);
        assert!(whole.contains("üü") && whole.contains("| s499 |"));
        let fewer = render(&summary, whole.len() - 1);
        assert!(!fewer.contains("üü") && fewer.contains("| s499 |") && fewer.contains("### bad"));
        let short = render(&summary, 10_000);
        assert!(short.len() <= 10_000 && short.contains("| s0 |") && short.contains("more*"), "{}", short.len());
        assert!(render(&summary, 500).starts_with("## ✅"));
    }
}
