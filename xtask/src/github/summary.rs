//! The Markdown job summary of a run, from what the caller gathered. Pure text: nothing is read, and the size limit is kept by
//! leaving out what matters least.

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::Status;
use crate::github::notes::inline;
use crate::name::{Digest, Tag};

mod of_run;

pub use of_run::{row, tiers};

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
    /// How it ended.
    pub status: Status,
    /// Why it was built, or was not.
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
}

impl ServiceRow {
    /// A service of which no more is known.
    #[must_use]
    pub fn new(name: &str, status: Status, why: &str) -> Self {
        let (name, why) = (name.to_owned(), why.to_owned());
        Self { name, status, why, steps: None, took: None, bytes: (None, None), digest: None, failure: None }
    }
}

/// What went wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step, and the Dockerfile line where it is known.
    pub step: String,
    /// Its last log lines.
    pub log: String,
}

/// One cache tier over all targets.
#[derive(Debug, Clone, PartialEq)]
pub struct TierRow {
    /// Its name.
    pub tier: String,
    /// What was decided about it.
    pub verdict: String,
    /// Time spent reading from it.
    pub importing: Duration,
    /// Time spent writing to it.
    pub exporting: Duration,
    /// Time that its hits saved, where earlier runs tell.
    pub saved: Option<Duration>,
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
    let mut rows = summary.services.len() / 2;
    while rows > 0 {
        let shorter = page(summary, rows, 0);
        if shorter.len() <= limit {
            return shorter;
        }
        rows /= 2;
    }
    let bare = Summary { services: Vec::new(), tiers: Vec::new(), notices: Vec::new(), ..summary.clone() };
    page(&bare, 0, 0)
}

fn page(summary: &Summary, rows: usize, tail: usize) -> String {
    let mut text = String::new();
    let (sign, word) = match summary.verdict {
        Verdict::Succeeded => ("✅", "succeeded"),
        Verdict::Failed => ("❌", "failed"),
        Verdict::Cancelled => ("🚫", "was cancelled"),
    };
    line(&mut text, format_args!("## {sign} {} {word} in {}\n", inline(&summary.title), time(summary.took)));
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
    text.push_str("| Service | Status | Why | Cached | Time | Size | Digest |\n|---|---|---|---:|---:|---:|---|\n");
    for row in services.iter().take(rows) {
        let steps = row.steps.map(|(cached, total)| format!("{cached}/{total}")).unwrap_or_default();
        let took = row.took.map(time).unwrap_or_default();
        let digest = row.digest.as_ref().map(|digest| format!("`{}`", digest.short())).unwrap_or_default();
        let (name, why) = (inline(&row.name), inline(&row.why));
        line(
            text,
            format_args!("| {name} | {} | {why} | {steps} | {took} | {} | {digest} |", status(row.status), size(row.bytes)),
        );
    }
    if services.len() > rows {
        line(text, format_args!("\n*and {} more*", services.len() - rows));
    }
    text.push('\n');
}

fn tier_table(text: &mut String, tiers: &[TierRow]) {
    if tiers.is_empty() {
        return;
    }
    text.push_str("| Cache tier | Verdict | Import | Export | Saved |\n|---|---|---:|---:|---:|\n");
    for tier in tiers {
        let cost = |spent: Duration| if spent.is_zero() { String::new() } else { time(spent) };
        let saved = tier.saved.map(time).unwrap_or_default();
        let (name, verdict) = (inline(&tier.tier), inline(&tier.verdict));
        line(text, format_args!("| {name} | {verdict} | {} | {} | {saved} |", cost(tier.importing), cost(tier.exporting)));
    }
    text.push('\n');
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

fn status(status: Status) -> &'static str {
    match status {
        Status::Built => "✅ built",
        Status::Skipped => "⏭️ unchanged",
        Status::Done => "✅ done",
        Status::Failed => "❌ failed",
        Status::Cancelled => "🚫 cancelled",
        Status::NotRun => "◻️ not run",
    }
}

/// `0.4 s`, `12 s`, `3 min 04 s`.
fn time(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// `45.2 MB`, with the change since the previous release where that is a tenth of a megabyte or more.
fn size((now, before): (Option<u64>, Option<u64>)) -> String {
    let tenths = |bytes: u64| bytes.saturating_add(50_000) / 100_000;
    let Some(now) = now.map(tenths) else { return String::new() };
    let shown = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
    match before.map(tenths) {
        Some(before) if before < now => format!("{} MB (+{})", shown(now), shown(now - before)),
        Some(before) if before > now => format!("{} MB (−{})", shown(now), shown(before - now)),
        _ => format!("{} MB", shown(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: Status) -> ServiceRow {
        ServiceRow {
            name: name.into(),
            status,
            why: "packages/ui changed".into(),
            steps: Some((9, 12)),
            took: Some(Duration::from_millis(12_400)),
            bytes: (Some(45_123_456), Some(44_000_000)),
            digest: Some(Digest::of(b"x")),
            failure: None,
        }
    }

    fn summary(services: Vec<ServiceRow>) -> Summary {
        let tier = TierRow {
            tier: "gha".into(),
            verdict: "read only: the runner's token may only read".into(),
            importing: Duration::from_millis(400),
            exporting: Duration::ZERO,
            saved: Some(Duration::from_secs(95)),
        };
        Summary {
            title: "release v1.2.3".into(),
            verdict: Verdict::Succeeded,
            took: Duration::from_secs(184),
            services,
            tiers: vec![tier],
            release: Some(("v1.2.3".parse().unwrap(), Some("https://github.com/org/repo/releases/tag/v1.2.3".into()))),
            notices: vec!["stand-ins <b>were</b> used".into()],
        }
    }

    #[test]
    fn the_whole_page_reads_well() {
        let mut skipped = row("web", Status::Skipped);
        (skipped.steps, skipped.took, skipped.bytes) = (None, None, (Some(1_000_000), None));
        let text = render(&summary(vec![row("api", Status::Built), skipped]), LIMIT);
        let expected = "\
## ✅ release v1.2.3 succeeded in 3 min 04 s

Release [v1.2.3](https://github.com/org/repo/releases/tag/v1.2.3)

| Service | Status | Why | Cached | Time | Size | Digest |
|---|---|---|---:|---:|---:|---|
| api | ✅ built | packages/ui changed | 9/12 | 12 s | 45.1 MB (+1.1) | `2d711642b726` |
| web | ⏭️ unchanged | packages/ui changed |  |  | 1.0 MB | `2d711642b726` |

| Cache tier | Verdict | Import | Export | Saved |
|---|---|---:|---:|---:|
| gha | read only: the runner's token may only read | 0.4 s |  | 1 min 35 s |

> stand-ins &lt;b&gt;were&lt;/b&gt; used

";
        assert_eq!(text, expected);
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
