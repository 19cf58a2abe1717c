//! Streams recorded from real builds (buildx 0.29 unless the name says otherwise), read back line by line.

use super::*;

fn solve(stream: &str) -> (Vec<Event>, Solved) {
    let mut solve = Solve::new(Task::Base);
    let events = stream.lines().flat_map(|line| solve.line(line)).collect();
    (events, solve.finish())
}

/// `+` began, `=` cached, `-` ran, `!` failed, each with the step and the counts after it.
fn story(events: &[Event]) -> Vec<String> {
    let told = events.iter().filter_map(|event| match event {
        Event::StepStarted { name, .. } => Some(format!("+ {name}")),
        Event::StepEnded { name, end, cached, total, .. } => {
            let sign = match end {
                StepEnd::Cached => '=',
                StepEnd::Ran => '-',
                StepEnd::Failed(_) => '!',
            };
            Some(format!("{sign} {name} ({cached}/{total})"))
        }
        _ => None,
    });
    told.collect()
}

fn logs(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|event| if let Event::Log { line, .. } = event { Some(line.as_str()) } else { None }).collect()
}

const CACHED: &str = include_str!("fixtures/all-cached.jsonl");
const LINK: &str = include_str!("fixtures/copy-link.jsonl");
const FAILING: &str = include_str!("fixtures/failing-step.jsonl");
const FAILING_0_13: &str = include_str!("fixtures/buildx-0.13-failing-step.txt");
const SHARED: &str = include_str!("fixtures/shared-step.jsonl");
const IMPORT_MISS: &str = include_str!("fixtures/cache-import-miss.jsonl");
const PUSH: &str = include_str!("fixtures/push-and-cache-export.jsonl");
const EXPORT_IGNORED: &str = include_str!("fixtures/cache-export-ignored.jsonl");
const EXPORT_FAILED: &str = include_str!("fixtures/cache-export-failed.jsonl");
const MISSING_FILE: &str = include_str!("fixtures/missing-file.jsonl");
const WARNINGS: &str = include_str!("fixtures/warnings.jsonl");
const NO_IMAGE: &str = include_str!("fixtures/no-image.jsonl");
const NO_TARGET: &str = include_str!("fixtures/no-target.jsonl");

#[test]
fn a_fully_cached_build_has_every_step_cached_and_none_started() {
    let (events, solved) = solve(CACHED);
    assert_eq!((solved.cached, solved.total()), (6, 6));
    assert_eq!(solved.failure, None);
    assert!(story(&events).iter().all(|line| line.starts_with('=')), "{:#?}", story(&events));
    assert!(solved.steps.iter().all(|step| step.took_ms == 0));
}

#[test]
fn a_linked_copy_is_two_vertices_and_one_step() {
    let (events, solved) = solve(LINK);
    let story = story(&events);
    assert_eq!(solved.total(), 6, "{:#?}", solved.steps);
    assert_eq!(story.iter().filter(|line| line.contains("COPY --link a.txt")).count(), 2, "{story:#?}");
    assert!(!story.iter().any(|line| line.contains("LINK COPY")));
    let shared = solved.steps.iter().find(|step| step.instruction().starts_with("RUN echo shared")).unwrap();
    assert_eq!((shared.stage.as_deref(), shared.cached), (Some("deps"), false));
    assert!((2_000..3_000).contains(&shared.took_ms), "{}", shared.took_ms);
    assert!(logs(&events).contains(&"red plain"), "colours of a step's log are gone: {:?}", logs(&events));
}

#[test]
fn a_failure_has_its_step_log_line_of_the_dockerfile_and_message() {
    for stream in [FAILING, FAILING_0_13] {
        let (events, solved) = solve(stream);
        let failure = solved.failure.clone().unwrap();
        assert!(failure.step.as_ref().is_some_and(|step| step.starts_with("[bad 1/2] RUN echo \"compiling\"")));
        assert!(failure.message.ends_with("did not complete successfully: exit code: 3"), "{}", failure.message);
        assert!(failure.message.starts_with("process \"/bin/sh -c echo"), "{}", failure.message);
        assert_eq!(failure.log, ["compiling", "src/a.ts(3,1): error TS1005: ';' expected."]);
        let source = failure.source.unwrap();
        assert_eq!((source.file.as_str(), source.line), ("Dockerfile", 15));
        assert_eq!(source.lines.len(), 5);
        assert_eq!(source.lines[1], r#"  15 | >>> RUN echo "compiling" && \"#);
        assert_eq!((solved.cached, solved.total()), (3, 5), "the step that never ran counts as one");
        assert_eq!(story(&events).last().map(|line| &line[..9]), Some("! [bad 1/"));
        assert!(solved.steps.iter().any(|step| step.instruction() == "RUN echo never" && !step.cached && step.started.is_none()));
    }
}

#[test]
fn a_step_that_another_build_runs_too_is_read_as_it_is_told() {
    let (_, solved) = solve(SHARED);
    assert_eq!((solved.cached, solved.total()), (1, 4));
    let total_ms: u64 = solved.steps.iter().map(|step| step.took_ms).sum();
    assert!((3_000..4_000).contains(&total_ms), "{:#?}", solved.steps);
}

#[test]
fn a_cache_that_cannot_be_read_is_a_verdict_and_no_failure() {
    let (_, solved) = solve(IMPORT_MISS);
    assert_eq!(solved.failure, None);
    let verdicts: Vec<_> = solved.cache_imports.iter().map(|c| (c.name.as_str(), c.error.as_deref().unwrap_or(""))).collect();
    assert_eq!(verdicts.len(), 2);
    let of = |name: &str| verdicts.iter().find(|verdict| verdict.0 == name).unwrap().1;
    assert!(of("localhost:5000/report/none:x").ends_with("not found"));
    assert!(of("localhost:1/none:x").ends_with("connection refused"));
}

#[test]
fn export_push_and_cache_export_are_told_apart() {
    let (events, solved) = solve(PUSH);
    let kinds = [PhaseKind::Transfer, PhaseKind::Pull, PhaseKind::Export, PhaseKind::Push, PhaseKind::CacheExport];
    assert!(kinds.iter().all(|kind| solved.phases.iter().any(|phase| phase.kind == *kind)), "{:#?}", solved.phases);
    assert!(solved.spent(PhaseKind::Push) <= solved.spent(PhaseKind::Export));
    assert_eq!(solved.cache_exports.iter().map(|c| (c.name.as_str(), &c.error)).collect::<Vec<_>>(), [("registry", &None)]);
    let doing: Vec<_> =
        events.iter().filter_map(|e| if let Event::Doing { what, .. } = e { Some(what.as_str()) } else { None }).collect();
    assert!(doing.contains(&"pulling node:24-bookworm-slim") && doing.contains(&"pushing layers"), "{doing:?}");
    assert!(doing.iter().all(|what| !what.contains("sha256:") || what.contains("pushing manifest")), "{doing:?}");
}

#[test]
fn a_cache_that_cannot_be_written_fails_the_build_only_where_the_builder_says_so() {
    let (_, ignored) = solve(EXPORT_IGNORED);
    assert_eq!(ignored.failure, None);
    assert!(ignored.cache_exports[0].error.as_ref().is_some_and(|error| error.contains("connection refused")));
    let failure = solve(EXPORT_FAILED).1.failure.unwrap();
    assert_eq!(failure.step.as_deref(), Some("exporting cache to registry"));
}

#[test]
fn the_blame_goes_to_what_failed_not_to_what_was_cancelled_by_it() {
    let failure = solve(MISSING_FILE).1.failure.unwrap();
    assert_eq!(failure.step.as_deref(), Some("[2/2] COPY nofile /x"));
    assert!(failure.message.ends_with("\"/nofile\": not found"), "{}", failure.message);
    let failure = solve(NO_IMAGE).1.failure.unwrap();
    assert_eq!(failure.source.map(|source| source.line), Some(1));
    let failure = solve(NO_TARGET).1.failure.unwrap();
    assert_eq!((failure.step, failure.message.as_str()), (None, "target stage \"zzz\" could not be found"));
}

#[test]
fn warnings_have_their_file_and_line() {
    let warnings = solve(WARNINGS).1.warnings;
    let places: Vec<_> = warnings.iter().map(|w| (w.file.as_deref(), w.line)).collect();
    assert_eq!(places, [(Some("D5"), Some(1)), (Some("D5"), Some(3)), (Some("D5"), Some(4))]);
    assert_eq!(warnings[0].short, "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)");
}

#[test]
fn raw_lines_are_one_json_value_each_whatever_the_buildx() {
    for stream in [FAILING, FAILING_0_13] {
        let mut solve = Solve::new(Task::Base).with_raw(true);
        let events: Vec<Event> = stream.lines().flat_map(|line| solve.line(line)).collect();
        let raw: Vec<_> = events.iter().filter_map(|e| if let Event::Raw { line, .. } = e { Some(line) } else { None }).collect();
        assert!(raw.len() > 20);
        for line in raw.iter().filter(|line| line.starts_with('{')) {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert_eq!(raw.last().map(|line| &line[..6]), Some("ERROR:"));
    }
}

#[test]
fn every_step_that_began_ends_and_the_counts_never_pass_the_total() {
    for stream in [CACHED, LINK, FAILING, SHARED, IMPORT_MISS, PUSH, WARNINGS, FAILING_0_13] {
        let (events, solved) = solve(stream);
        for event in &events {
            if let Event::StepEnded { cached, total, .. } = event {
                assert!(cached <= total && *total <= solved.total());
            }
        }
        let of = |sign: &str| story(&events).iter().filter(|line| line.starts_with(sign)).count();
        assert_eq!(of("+"), of("-") + of("!"), "{:#?}", story(&events));
        assert_eq!(of("="), solved.cached);
    }
}

/// Deterministic noise: a failure can be run again.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

#[test]
fn no_stream_however_damaged_makes_it_panic_or_miscount() {
    let mut noise = Noise(42);
    let streams = [CACHED, LINK, FAILING, FAILING_0_13, PUSH, WARNINGS];
    for round in 0..150 {
        let mut bytes = streams[round % streams.len()].as_bytes().to_vec();
        for _ in 0..noise.below(30) {
            let at = noise.below(bytes.len());
            match noise.below(4) {
                0 => bytes[at] = u8::try_from(noise.below(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"\n{}[]\":,"[noise.below(8)]),
                _ => {
                    let end = (at + noise.below(400)).min(bytes.len());
                    bytes.drain(at..end);
                    bytes.push(b'\n');
                }
            }
        }
        let (_, solved) = solve(&String::from_utf8_lossy(&bytes));
        assert!(solved.cached <= solved.total());
        assert!(solved.text.iter().all(|line| line.chars().all(|c| !c.is_control())));
        serde_json::to_string(&solved.steps).unwrap();
    }
    let random: Vec<u8> = (0..200_000).map(|_| u8::try_from(noise.below(256)).unwrap()).collect();
    let (_, solved) = solve(&String::from_utf8_lossy(&random));
    assert_eq!(solved.steps, []);
}

#[test]
fn a_huge_line_is_text_and_an_endless_object_is_given_up() {
    let (_, solved) = solve(&format!("{{\"vertexes\":[{}", "x".repeat(1 << 20)));
    assert_eq!(solved.text.iter().map(String::len).collect::<Vec<_>>(), [TEXT_BYTES]);
    let mut solve = Solve::new(Task::Base);
    solve.line("{");
    let mut given_up = 0;
    for _ in 0..40 {
        given_up += solve.line(&format!("  {}", "y".repeat(1 << 19))).len();
    }
    assert!(given_up > 0);
    assert!(solve.finish().text.len() <= TEXT_LINES);
}

#[test]
fn an_image_that_is_gone_is_known_from_one_that_was_never_there_or_cannot_be_asked_for() {
    let gone = |message: &str| {
        let failure = Failure { step: None, message: message.to_owned(), log: Vec::new(), source: None };
        failure.gone().map(str::to_owned)
    };
    let of = "failed to resolve source metadata for";
    // BuildKit 0.25's words, of the embedded engine's registry.
    assert_eq!(
        gone(&format!("{of} r.io/a/base:1@sha256:cf: r.io/a/base:1@sha256:cf: not found")).as_deref(),
        Some("r.io/a/base:1")
    );
    assert_eq!(gone(&format!("{of} r.io/a/base:1: r.io/a/base:1: not found")), None);
    assert_eq!(gone(&format!("{of} r.io/a/base:1@sha256:cf: unexpected status from HEAD request: 401 Unauthorized")), None);
    assert_eq!(gone("process did not complete: exit code: 127: node: not found"), None);
}
