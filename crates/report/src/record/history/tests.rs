//! What a history promises.

use super::*;
use std::time::Duration;

/// The `n`th of a history of runs half an hour apart: four services, mostly cached.
pub(crate) fn run(n: u32) -> PastRun {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_mins(30) * n;
    let task = |name: &str, index: u32| {
        let built = (n + index).is_multiple_of(4);
        let task = Task::Service(name.parse().unwrap());
        if !built {
            let (ran, spent, tiers) = (Vec::new(), SortedMap::new(), SortedMap::new());
            let (imports, exports) = (Vec::new(), Vec::new());
            let status = Status::Unchanged;
            let (size, wasted) = (None, None);
            return PastTask {
                task,
                status,
                took: 0,
                nodes: SortedMap::new(),
                cached: 0,
                total: 0,
                size,
                wasted,
                layers: Vec::new(),
                ran,
                spent,
                tiers,
                imports,
                exports,
            };
        }
        let wobble = u64::from(n % 10) * 100;
        PastTask {
            task,
            status: Status::Built,
            took: 9_000 + wobble,
            nodes: SortedMap::new(),
            cached: 10,
            total: 12,
            size: Some(142_000_000),
            wasted: None,
            layers: Vec::new(),
            ran: vec![
                (format!("[{name}-build 3/4] RUN pnpm --filter {name} build"), 6_000 + wobble),
                (format!("[{name} 2/2] COPY"), 80),
            ],
            spent: SortedMap::from([
                (PhaseKind::Transfer, 120),
                (PhaseKind::CacheFetch, 90),
                (PhaseKind::Export, 900),
                (PhaseKind::CacheExport, 1_500),
            ]),
            tiers: SortedMap::from([("registry".to_owned(), "used".to_owned()), ("gha".to_owned(), "left-out".to_owned())]),
            imports: vec![(format!("ghcr.io/acme/cache:{name}"), 210, true)],
            exports: vec![("registry".to_owned(), 1_500, true)],
        }
    };
    PastRun {
        v: VERSION,
        id: RunId::new(started, n),
        started,
        took: 10_000 + u64::from(n % 10) * 100,
        command: "build".to_owned(),
        outcome: if n % 25 == 24 { Outcome::Failed } else { Outcome::Succeeded },
        ci: n.is_multiple_of(2),
        commit: None,
        release: None,
        tasks: ["api", "scheduler", "web", "worker"].iter().zip(0..).map(|(name, index)| task(name, index)).collect(),
    }
}

fn history() -> (tempfile::TempDir, History) {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path(), &Shutdown::new());
    (dir, history)
}

#[test]
fn what_was_appended_reads_back() {
    let (_dir, history) = history();
    assert_eq!(history.read().unwrap(), Read::default());
    for n in 0..3 {
        history.append(&run(n)).unwrap();
    }
    assert_eq!(history.read().unwrap().runs, [run(0), run(1), run(2)]);
    assert_eq!(history.newest(2).unwrap(), [run(1), run(2)]);
    assert_eq!(history.newest(9).unwrap(), [run(0), run(1), run(2)]);
}

#[test]
fn a_truncated_last_line_costs_itself_only() {
    let (_dir, history) = history();
    history.append(&run(0)).unwrap();
    history.append(&run(1)).unwrap();
    let text = history.text().unwrap();
    std::fs::write(&history.path, &text[..text.len() - 40]).unwrap();
    assert_eq!((history.read().unwrap().runs.len(), history.read().unwrap().damaged), (1, 1));
    history.append(&run(2)).unwrap();
    let read = history.read().unwrap();
    assert_eq!((read.runs, read.damaged), (vec![run(0), run(2)], 1));
}

#[test]
fn lines_of_a_newer_version_are_passed_over_and_survive_pruning_byte_for_byte() {
    let (_dir, history) = history();
    let newer = r#"{"v":99,"id":"20990101T000000000-1","shape": {"new": true}}"#;
    let alike = serde_json::to_string(&PastRun { v: VERSION + 1, ..run(9) }).unwrap();
    std::fs::write(&history.path, format!("not json\n{newer}\n{alike}\n")).unwrap();
    (0..5).for_each(|n| history.append(&run(n)).unwrap());
    let read = history.read().unwrap();
    assert_eq!((read.runs.len(), read.newer, read.damaged), (5, 2, 1));
    let now = run(5).started;
    assert_eq!(history.prune(Keep { count: 3, age: Duration::MAX }, now).unwrap(), 3);
    assert_eq!(history.prune(Keep { count: 9, age: Duration::from_hours(1) }, now).unwrap(), 1);
    assert_eq!(history.prune(Keep { count: 9, age: Duration::from_hours(1) }, now).unwrap(), 0);
    let text = history.text().unwrap();
    assert!(text.starts_with(&format!("{newer}\n{alike}\n")), "{text}");
    assert_eq!(history.read().unwrap().runs, [run(3), run(4)]);
}

#[test]
fn a_history_is_tidied_by_count_and_by_age_and_not_at_every_run() {
    let (_dir, history) = history();
    let keep = Keep { count: 20, age: Duration::from_hours(10) };
    let lines = |n: u32| {
        history.append(&run(n)).unwrap();
        history.tidy(keep, run(n).started).unwrap();
        history.read().unwrap().runs.len()
    };
    let counts: Vec<usize> = (0..24).map(lines).collect();
    assert_eq!(counts[18..], [19, 20, 21, 22, 20, 21], "half an hour apart, so the count decides");
    history.tidy(keep, run(32).started).unwrap();
    assert_eq!(history.read().unwrap().runs.first(), Some(&run(12)), "nine of 21 are too old");
    history.tidy(keep, run(90).started).unwrap();
    assert_eq!(history.read().unwrap().runs.len(), 12, "all of them: a clock that is wrong");
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let (_dir, history) = history();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let history = &history;
            scope.spawn(move || (0..25).for_each(|n| history.append(&run(writer * 100 + n)).unwrap()));
        }
    });
    let read = history.read().unwrap();
    assert_eq!((read.runs.len(), read.damaged), (100, 0));
}

#[test]
fn histories_of_two_machines_merge_without_doubles_and_in_order_of_time() {
    let ((_a, mine), (_b, theirs)) = (history(), history());
    for (history, n) in [(&mine, 0), (&mine, 2), (&theirs, 1), (&theirs, 2), (&theirs, 3)] {
        history.append(&run(n)).unwrap();
    }
    let text = format!("{}damaged{{\n", theirs.text().unwrap());
    assert_eq!(mine.merge(&text).unwrap(), 2);
    assert_eq!(mine.merge(&text).unwrap(), 0);
    assert_eq!(mine.read().unwrap().runs, [run(0), run(1), run(2), run(3)]);
}

#[test]
fn a_clock_that_is_a_year_ahead_drops_nobody_s_runs_and_newer_lines_do_not_stay_for_good() {
    let (_dir, history) = history();
    (0..20).for_each(|n| history.append(&run(n)).unwrap());
    let keep = Keep { count: 100, age: Duration::from_hours(366 * 24) };
    let ahead = run(20).started + Duration::from_hours(400 * 24);
    history.append(&PastRun { started: ahead, ..run(20) }).unwrap();
    assert_eq!(history.prune(keep, ahead).unwrap(), 0);
    assert_eq!(history.read().unwrap().runs.len(), 21);

    let newer = |day: u32| format!("{{\"v\":99,\"id\":\"{day}T000000000-1\"}}\n");
    let text = history.text().unwrap();
    std::fs::write(&history.path, format!("{}{}{text}", newer(19_700_102), newer(20_990_101))).unwrap();
    let now = run(20).started;
    assert_eq!(history.prune(Keep { count: 100, age: Duration::from_hours(24) }, now).unwrap(), 1);
    assert!(history.text().unwrap().starts_with(&newer(20_990_101)));
    let many: String = (20_990_101..20_990_131).map(newer).collect();
    std::fs::write(&history.path, many).unwrap();
    assert_eq!(history.prune(Keep { count: 10, age: Duration::MAX }, now).unwrap(), 20);
}
