//! What the history says: how long things take and whether that changes, what the caches give and what they cost. Pure.

use std::time::SystemTime;

use serde::Serialize;

mod kinds;
mod mounts;
mod nodes;
mod steps;

pub use self::kinds::KindStats;
pub use self::nodes::NodeStats;
pub use self::steps::StepStats;

use super::history::{PastRun, PastTask, Read};
use super::run::Outcome;
use monoship_core::collect::Collect as _;
use monoship_core::event::{Status, Task};
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};
use monoship_docker::rawjson::PhaseKind;

/// Below this many builds nothing is advised: it would be a guess.
const ENOUGH: usize = 5;

/// Statistics over a history. All times are milliseconds; shares are between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// The format's version, for readers of `--json`.
    pub version: u32,
    /// When the oldest run began.
    #[serde(with = "monoship_core::time::rfc3339_option")]
    pub since: Option<SystemTime>,
    /// When the newest run began.
    #[serde(with = "monoship_core::time::rfc3339_option")]
    pub until: Option<SystemTime>,
    /// How many runs there are, by outcome.
    pub runs: usize,
    /// Runs in which something failed.
    pub failed: usize,
    /// Runs that were stopped.
    pub cancelled: usize,
    /// Lines of the history that could not be read.
    pub damaged: usize,
    /// Lines of the history that a newer version wrote.
    pub newer: usize,
    /// How long a run that succeeded takes.
    pub total: Times,
    /// The same by kind of run: which verb, and whether it built nothing, one service or several.
    pub kinds: Vec<KindStats>,
    /// What is done beside the images, in the order of a run: engine, checkout, plan, publish, notes.
    pub stages: Vec<StageStats>,
    /// The services, slowest median first.
    pub services: Vec<ServiceStats>,
    /// The nodes of a fleet, where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeStats>,
    /// The steps that took the most time over all runs.
    pub steps: Vec<StepStats>,
    /// Where the time of builds went, beside steps.
    pub spent: SortedMap<PhaseKind, u64>,
    /// The cache tiers.
    pub tiers: Vec<TierStats>,
    /// What follows from all this, in sentences.
    pub advice: Vec<String>,
}

/// A distribution of durations.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Times {
    /// How many there are.
    pub count: usize,
    /// Half are faster.
    pub median: u64,
    /// Nine in ten are faster.
    pub p90: u64,
    /// The median of the newest quarter against that of the rest, less one: 0.2 is a fifth slower. None where too few.
    pub trend: Option<f64>,
}

/// A stage that makes no image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StageStats {
    /// Its name.
    pub stage: String,
    /// How long it takes.
    pub took: Times,
}

/// One service, or the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStats {
    /// Its name.
    pub service: String,
    /// How long a build takes.
    pub built: Times,
    /// How often nothing had to be built.
    pub unchanged: usize,
    /// How often it failed.
    pub failed: usize,
    /// The share of steps that came from a cache, in builds.
    pub hit_rate: Option<f64>,
    /// The newest image's size in bytes.
    pub size: Option<u64>,
    /// What it grew by since the oldest known image, in bytes.
    pub growth: Option<i64>,
    /// What skipping saved: the median build, as often as nothing had to be built.
    pub skipping_saved: u64,
}

/// One cache tier.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TierStats {
    /// `gha`, `registry`, `previous`, `inline`, `mounts`, or `local` for the engine's own.
    pub tier: String,
    /// How often each verdict was given.
    pub verdicts: SortedMap<String, usize>,
    /// The share of steps that came from a cache, in builds whose hits are ascribed to this tier.
    pub hit_rate: Option<f64>,
    /// Time spent reading this tier: its manifests, and its layers as far as they were needed.
    pub importing: u64,
    /// Time spent writing this tier. Where the export runs beside something else this is more than was waited for.
    pub exporting: u64,
    /// What the cached steps of builds whose hits are ascribed to this tier take when they run, by their medians: an estimate.
    pub saved: u64,
    /// How many of those cached steps never ran in this history, so that what they would take is not known and not in `saved`.
    pub unmeasured: u64,
    /// How many writes of a cache failed.
    pub failed_exports: usize,
}

impl Times {
    /// Of durations in the order they happened.
    #[must_use]
    pub fn of(durations: &[u64]) -> Self {
        let newest = durations.len() / 4;
        let (before, after) = durations.split_at(durations.len() - newest);
        let trend = (newest >= 2).then(|| (median(before), median(after))).filter(|(before, _)| *before > 0);
        #[expect(clippy::cast_precision_loss, reason = "a ratio to two digits")]
        let trend = trend.map(|(before, after)| after as f64 / before as f64 - 1.0);
        Self { count: durations.len(), median: median(durations), p90: percentile(durations, 90), trend }
    }
}

/// The nearest-rank percentile; 0 of nothing.
#[must_use]
pub fn percentile(values: &[u64], percent: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// The median; 0 of nothing.
#[must_use]
pub fn median(values: &[u64]) -> u64 {
    percentile(values, 50)
}

#[expect(clippy::cast_precision_loss, reason = "a share to two digits")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Computes everything.
#[must_use]
pub fn summarise(read: &Read) -> Stats {
    let runs = &read.runs;
    let count = |outcome| runs.iter().filter(|run| run.outcome == outcome).count();
    let done: Vec<u64> = runs.iter().filter(|run| run.outcome == Outcome::Succeeded).map(|run| run.took).into_vec();
    let services = services(runs);
    let steps = step_times(runs);
    let stages = stages(runs);
    let tiers = tiers(runs, runs, &steps);
    let mut spent = SortedMap::new();
    for (kind, ms) in runs.iter().flat_map(|run| &run.tasks).flat_map(|task| &task.spent) {
        let sum: &mut u64 = spent.entry(*kind).or_default();
        *sum = sum.saturating_add(*ms);
    }
    let advice = super::advice::advise(&services, &tiers, ENOUGH);
    Stats {
        version: super::history::VERSION,
        since: runs.first().map(|run| run.started),
        until: runs.last().map(|run| run.started),
        runs: runs.len(),
        failed: count(Outcome::Failed),
        cancelled: count(Outcome::Cancelled),
        damaged: read.damaged,
        newer: read.newer,
        total: Times::of(&done),
        kinds: kinds::kinds(runs),
        stages,
        services,
        nodes: nodes::nodes(runs),
        steps: steps::slowest(runs),
        spent,
        tiers,
        advice,
    }
}

fn is_image(task: &Task) -> bool {
    matches!(task, Task::Base | Task::Service(_))
}

fn stages(runs: &[PastRun]) -> Vec<StageStats> {
    let mut by_stage: SortedMap<&Task, Vec<u64>> = SortedMap::new();
    for task in runs.iter().flat_map(|run| &run.tasks).filter(|task| !is_image(&task.task) && task.status == Status::Done) {
        by_stage.entry(&task.task).or_default().push(task.took);
    }
    by_stage.into_iter().map(|(task, durations)| StageStats { stage: task.to_string(), took: Times::of(&durations) }).into_vec()
}

fn services(runs: &[PastRun]) -> Vec<ServiceStats> {
    let mut by_service: SortedMap<&Task, Vec<Past<'_>>> = SortedMap::new();
    for run in runs {
        let no_cache = run.command.split(' ').any(|word| word == "--no-cache");
        for task in run.tasks.iter().filter(|task| is_image(&task.task)) {
            by_service.entry(&task.task).or_default().push(Past { task, no_cache });
        }
    }
    let mut services: Vec<ServiceStats> = by_service.iter().map(|(task, builds)| service(task, builds)).into_vec();
    services.order_by(|a, b| b.built.median.cmp(&a.built.median).then_with(|| a.service.cmp(&b.service)));
    services
}

/// A build, and whether caches were turned off for it: that it hit none says nothing of them.
struct Past<'a> {
    task: &'a PastTask,
    no_cache: bool,
}

fn service(task: &Task, builds: &[Past<'_>]) -> ServiceStats {
    let with_cache = builds.iter().filter(|build| !build.no_cache && build.task.status == Status::Built).map(|build| build.task);
    let builds: Vec<&PastTask> = builds.iter().map(|build| build.task).into_vec();
    let with = |status| builds.iter().filter(move |build| build.status == status);
    let durations: Vec<u64> = with(Status::Built).map(|build| build.took).into_vec();
    let sum = |of: fn(&PastTask) -> u64| with_cache.clone().fold(0_u64, |sum, build| sum.saturating_add(of(build)));
    let sizes: Vec<u64> = builds.iter().filter_map(|build| build.size).into_vec();
    let built = Times::of(&durations);
    let unchanged = with(Status::Unchanged).count();
    ServiceStats {
        service: task.to_string(),
        built,
        unchanged,
        failed: with(Status::Failed).count(),
        hit_rate: share(sum(|build| build.cached), sum(|build| build.total)),
        size: sizes.last().copied(),
        growth: (sizes.len() > 1).then(|| sizes[sizes.len() - 1].cast_signed().saturating_sub(sizes[0].cast_signed())),
        skipping_saved: built.median.saturating_mul(unchanged as u64),
    }
}

type StepTimes<'a> = SortedMap<&'a Task, SortedMap<&'a str, Vec<u64>>>;

/// How long each step of each task took whenever it ran.
fn step_times(runs: &[PastRun]) -> StepTimes<'_> {
    let mut times = StepTimes::new();
    for task in runs.iter().flat_map(|run| &run.tasks) {
        for (name, ms) in &task.ran {
            times.entry(&task.task).or_default().entry(name).or_default().push(*ms);
        }
    }
    times
}

#[derive(Default)]
struct TierSums {
    verdicts: SortedMap<String, usize>,
    cached: u64,
    total: u64,
    importing: u64,
    exporting: u64,
    saved: u64,
    unmeasured: u64,
    failed_exports: usize,
}

/// What each cache tier cost one run and saved it, by how long the steps took when they ran in `past`.
#[must_use]
pub fn of_run(run: &PastRun, past: &[PastRun]) -> Vec<TierStats> {
    tiers(std::slice::from_ref(run), past, &step_times(past))
}

fn tiers(runs: &[PastRun], past: &[PastRun], steps: &StepTimes<'_>) -> Vec<TierStats> {
    let mut sums: SortedMap<&str, TierSums> = SortedMap::new();
    let medians = medians(steps);
    let builds = runs.iter().flat_map(|run| run.tasks.iter().map(move |task| (run, task)));
    for (run, task) in builds.filter(|(_, task)| is_image(&task.task) && task.status == Status::Built) {
        for (tier, verdict) in &task.tiers {
            *sums.entry(tier).or_default().verdicts.entry(verdict.clone()).or_default() += 1;
        }
        let sum = sums.entry(ascribed(run, task)).or_default();
        sum.importing = sum.importing.saturating_add(fetched(task));
        sum.cached += task.cached;
        sum.total += task.total;
        let (saved, unmeasured) = saved(task, medians.get(&task.task));
        sum.saved = sum.saved.saturating_add(saved);
        sum.unmeasured += unmeasured;
        for (name, ms, _) in &task.imports {
            let sum = sums.entry(imported_from(task, name)).or_default();
            sum.importing = sum.importing.saturating_add(*ms);
        }
        for (name, ms, worked) in &task.exports {
            let sum = sums.entry(exported_to(name)).or_default();
            sum.exporting = sum.exporting.saturating_add(*ms);
            sum.failed_exports += usize::from(!worked);
        }
    }
    let stats = sums.into_iter().map(|(tier, sum)| TierStats {
        tier: tier.to_owned(),
        verdicts: sum.verdicts,
        hit_rate: share(sum.cached, sum.total),
        importing: sum.importing,
        exporting: sum.exporting,
        saved: sum.saved,
        unmeasured: sum.unmeasured,
        failed_exports: sum.failed_exports,
    });
    stats.chain(mounts::of(runs, past)).into_vec()
}

/// The tier that a build's hits came from, as far as BuildKit tells: the first in the order of preference that it read, where the engine
/// had to fetch layers for cached steps in this run, which it need not for steps of its own; else the engine's. The run is asked and not
/// the build: what others build on is cached without that anybody needs its layers. A CI machine starts empty.
fn ascribed(run: &PastRun, task: &PastTask) -> &'static str {
    let read = |tier: &&str| task.imports.iter().any(|(name, _, worked)| *worked && imported_from(task, name) == *tier);
    let first = ["gha", "registry", "previous"].into_iter().find(read);
    first.filter(|_| run.ci || run.tasks.iter().any(|task| fetched(task) > 0)).unwrap_or("local")
}

fn fetched(task: &PastTask) -> u64 {
    task.spent.get(&PhaseKind::CacheFetch).copied().unwrap_or(0)
}

fn reads(task: &PastTask, tier: &str) -> bool {
    task.tiers.get(tier).is_some_and(|verdict| ["used", "read-only"].contains(&verdict.as_str()))
}

/// Whose tier an import belongs to. BuildKit names GitHub's by its scope and the others by their reference; the previous image is
/// only ever read where the registry's cache is not.
fn imported_from(task: &PastTask, name: &str) -> &'static str {
    match name {
        name if name.starts_with("gha") => "gha",
        _ if reads(task, "previous") && !reads(task, "registry") => "previous",
        _ => "registry",
    }
}

/// Whose tier an export belongs to, by the kind of cache.
fn exported_to(name: &str) -> &'static str {
    ["gha", "inline"].into_iter().find(|kind| *kind == name).unwrap_or("registry")
}

fn medians<'a>(times: &StepTimes<'a>) -> SortedMap<&'a Task, SortedMap<&'a str, u64>> {
    let of_task = |steps: &SortedMap<&'a str, Vec<u64>>| steps.iter().map(|(name, ms)| (*name, median(ms))).into_map();
    times.iter().map(|(task, steps)| (*task, of_task(steps))).into_map()
}

/// What the cached steps of a build would have taken, and how many of them nothing is known of. Known are the medians of the
/// steps that ran at other times and not in this one. A history full of renamed steps knows more of those than the build had
/// cached ones; then each counts for its share.
fn saved(task: &PastTask, medians: Option<&SortedMap<&str, u64>>) -> (u64, u64) {
    let ran: SortedSet<&str> = task.ran.iter().map(|(name, _)| name.as_str()).into_set();
    let others = medians.into_iter().flatten().filter(|(name, _)| !ran.contains(**name));
    let (count, sum) = others.fold((0_u64, 0_u64), |(count, sum), (_, ms)| (count + 1, sum.saturating_add(*ms)));
    if count <= task.cached {
        return (sum, task.cached - count);
    }
    (u64::try_from(u128::from(sum) * u128::from(task.cached) / u128::from(count)).unwrap_or(sum), 0)
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::run;
    use super::*;

    fn stats(runs: u32) -> Stats {
        summarise(&Read { runs: (0..runs).map(run).collect(), damaged: 1, newer: 2 })
    }

    #[test]
    fn percentiles_are_values_that_happened() {
        assert_eq!((percentile(&[], 50), median(&[7]), median(&[4, 1, 3, 2])), (0, 7, 2));
        assert_eq!(percentile(&(1..=100).collect::<Vec<_>>(), 90), 90);
        let times = Times::of(&[10, 10, 10, 10, 10, 10, 15, 15]);
        assert_eq!((times.count, times.median, times.p90, times.trend), (8, 10, 15, Some(0.5)));
        assert_eq!(Times::of(&[10, 20]).trend, None, "two runs are no trend");
    }

    #[test]
    fn an_empty_history_has_empty_statistics() {
        let stats = summarise(&Read::default());
        assert_eq!((stats.runs, stats.total.count, stats.services.len(), stats.advice.len()), (0, 0, 0, 0));
        serde_json::to_string(&stats).unwrap();
    }

    #[test]
    fn services_tell_builds_skips_hits_and_what_skipping_saved() {
        let stats = stats(100);
        assert_eq!((stats.runs, stats.failed, stats.damaged, stats.newer), (100, 4, 1, 2));
        let api = stats.services.iter().find(|service| service.service == "api").unwrap();
        assert_eq!((api.built.count, api.unchanged, api.size, api.growth), (25, 75, Some(142_000_000), Some(0)));
        assert_eq!(api.hit_rate, Some(10.0 / 12.0));
        assert_eq!(api.skipping_saved, api.built.median * 75);
    }

    #[test]
    fn a_tier_is_charged_its_transfers_and_credited_the_steps_it_spared() {
        let mut runs: Vec<PastRun> = (0..40).map(run).collect();
        // One build of api in which everything was cached: its two steps are worth their medians.
        let api = runs[0].tasks.iter_mut().find(|task| task.task.to_string() == "api").unwrap();
        (api.cached, api.total) = (12, 12);
        api.ran.clear();
        let stats = summarise(&Read { runs, damaged: 0, newer: 0 });
        let tier = |name: &str| stats.tiers.iter().find(|tier| tier.tier == name).unwrap();
        assert_eq!(tier("registry").verdicts, SortedMap::from([("used".to_owned(), 40)]));
        assert_eq!((tier("registry").importing, tier("registry").exporting), (40 * (210 + 90), 40 * 1_500));
        let step = stats.steps.iter().find(|step| step.name.contains("api build")).unwrap();
        assert_eq!(tier("registry").saved, step.ran.median + 80);
        assert_eq!(tier("registry").unmeasured, 39 * 10 + 10, "ten steps of each build were never seen to run");
        assert_eq!(tier("gha").verdicts, SortedMap::from([("left-out".to_owned(), 40)]));
    }

    #[test]
    fn hits_are_ascribed_to_a_cache_elsewhere_only_where_layers_had_to_be_fetched_or_the_machine_started_empty() {
        let hit_by = |ci: bool, change: fn(&mut PastTask)| -> Vec<String> {
            let mut run = PastRun { ci, ..run(0) };
            run.tasks.iter_mut().for_each(change);
            let tiers = summarise(&Read { runs: vec![run], damaged: 0, newer: 0 }).tiers;
            tiers.into_iter().filter(|tier| tier.hit_rate.is_some()).map(|tier| tier.tier).collect()
        };
        let unfetched = |task: &mut PastTask| {
            task.spent.remove(&PhaseKind::CacheFetch);
        };
        assert_eq!(hit_by(false, |_| ()), ["registry"]);
        assert_eq!(hit_by(false, unfetched), ["local"]);
        assert_eq!(hit_by(true, unfetched), ["registry"]);
        assert_eq!(
            hit_by(true, |task| task.imports.iter_mut().for_each(|import| import.2 = false)),
            ["local"],
            "it was not read"
        );
        assert_eq!(
            hit_by(true, |task| task.imports.push(("gha:1".to_owned(), 5, true))),
            ["gha"],
            "what is preferred comes first"
        );
    }

    #[test]
    fn the_slowest_steps_come_first_by_what_they_took_together() {
        let steps = stats(40).steps;
        assert_eq!(steps.len(), 8);
        assert!(steps.windows(2).all(|pair| pair[0].total >= pair[1].total));
        assert!(steps[0].name.contains("RUN pnpm"));
    }
}
