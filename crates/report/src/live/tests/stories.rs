//! What a person sees of whole runs, at three sizes of the terminal: recordings that are kept as text. `BLESS=1` writes them anew.

use super::*;
use crate::record::{Missed, TaskRecord};
use crate::summary;
use monoship_plan::explain::{Change, Reason};

/// The sizes at which every story is told.
const SIZES: [(usize, usize); 3] = [(80, 24), (120, 35), (200, 50)];

const INSTALL: &str = "RUN --mount=type=bind,from=manifests,target=/manifests     --mount=type=cache,id=pnpm-store,target=/pnpm/store     --mount=type=secret,id=ca     install-closure everything";
const PNPM: &str = "[base 2/7] RUN --mount=type=cache,id=npm,target=/root/.npm     --mount=type=secret,id=ca     if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi;     npm install --global --no-audit --no-fund --no-update-notifier --fetch-timeout=15000       \"pnpm@${PNPM_VERSION}\" &&     pnpm --version";

type Tell = fn((usize, usize)) -> String;

/// A display and the frames that were recorded of it.
struct Story {
    live: Live,
    vt: Vt,
    start: Instant,
    frames: String,
}

impl Story {
    fn new((columns, rows): (usize, usize)) -> Self {
        let vt = Vt::new(columns, rows);
        Self { live: on(&vt), vt, start: Instant::now(), frames: String::new() }
    }

    fn at(&mut self, seconds: u64, events: impl IntoIterator<Item = Event>) {
        let now = self.start + Duration::from_secs(seconds);
        events.into_iter().for_each(|event| self.live.event(now, event));
        self.live.frame = 0;
        self.live.drawn.2 = None;
        self.live.tick(now);
    }

    fn frame(&mut self, title: &str) {
        let lines = self.vt.text();
        assert!(lines.iter().all(|line| text::width(line) <= self.vt.size().columns), "{lines:#?}");
        self.frames.push_str(&format!("── {title}\n{}\n", lines.join("\n")));
    }

    fn end(mut self, seconds: u64) -> String {
        self.live.finish(self.start + Duration::from_secs(seconds));
        self.frame("the end");
        self.frames
    }
}

fn ended(name: &str, status: Status, seconds: u64) -> Event {
    Event::Ended { task: service(name), status, took: Duration::from_secs(seconds), digest: None }
}

fn log(name: &str, line: &str) -> Event {
    Event::Log { task: service(name), line: line.to_owned() }
}

fn foreseen() -> Event {
    let waiting = ["api", "scheduler", "web", "worker"].map(service).to_vec();
    Event::Foreseen { waiting, unchanged: 0, usual: Some(Duration::from_secs(35)) }
}

fn install(name: &str) -> String {
    format!("[{name}-build 1/2] {INSTALL} @monorepo/{name}")
}

/// A first build, two services at once: the base, the installs, a download that stalls.
fn cold(size: (usize, usize)) -> String {
    let mut story = Story::new(size);
    let doing = |what: &str| Event::Doing { task: Task::Plan, what: what.to_owned() };
    story.at(0, [doing("reading the repository")]);
    story.frame("0 s");
    story.at(1, [doing(""), foreseen()]);
    let both = [Task::Base, service("api"), service("scheduler")];
    story.at(2, both.iter().cloned().map(started));
    let pull = |task: &Task| Event::Doing { task: task.clone(), what: "pulling node:24-bookworm-slim".to_owned() };
    story.at(2, both.iter().map(pull));
    story.at(3, [Event::Amount { task: Task::Base, done: 47_200_000, total: 87_500_000 }]);
    story.frame("3 s: the base image comes");
    story.at(8, both.iter().map(|task| step(task.clone(), PNPM, "sha256:base2")));
    story.at(9, [Event::Log { task: Task::Base, line: "npm http fetch GET 200 pnpm".to_owned() }]);
    story.frame("9 s: one step, for three");
    story.at(12, both.iter().map(|task| stepped(task.clone(), PNPM, StepEnd::Ran, 0, 7)));
    story.at(12, [Event::Ended { task: Task::Base, status: Status::Built, took: Duration::from_secs(10), digest: None }]);
    story.at(13, ["api", "scheduler"].map(|name| step(service(name), &install(name), name)));
    story.at(14, [log("api", "Progress: resolved 72, reused 0, downloaded 12, added 0")]);
    story.frame("14 s: two install, two wait");
    story.at(60, []);
    story.frame("60 s: the download has stalled");
    story.at(
        61,
        [stepped(service("scheduler"), &install("scheduler"), StepEnd::Ran, 1, 11), ended("scheduler", Status::Built, 59)],
    );
    story.at(61, [started(service("web"))]);
    story.frame("61 s: one is over, the next begins");
    for (at, name) in [(70, "api"), (80, "web")] {
        story.at(at, [ended(name, Status::Built, at - 2)]);
    }
    story.at(80, [started(service("worker")), ended("worker", Status::Built, 0)]);
    story.end(81)
}

/// One file of one service was edited: the others stand, and the table says so.
fn edited(size: (usize, usize)) -> String {
    let mut story = Story::new(size);
    story.at(0, [Event::Foreseen { waiting: vec![service("worker")], unchanged: 3, usual: Some(Duration::from_secs(2)) }]);
    story.at(0, [started(service("worker"))]);
    for at in 1..=11 {
        story.at(0, [stepped(service("worker"), "[base 2/7] RUN npm install", StepEnd::Cached, at, 13)]);
    }
    let build = "[worker-build 2/2] RUN --mount=type=bind,from=sources,target=/sources     build-closure apps/worker";
    story.at(1, [step(service("worker"), build, "sha256:build"), log("worker", "> tsc -b")]);
    story.frame("1 s: what was edited is compiled");
    story.at(2, [stepped(service("worker"), build, StepEnd::Ran, 11, 13), ended("worker", Status::Built, 2)]);
    let told =
        |name: &str, status: Status, why: &str| TaskRecord { why: why.to_owned(), ..TaskRecord::new(service(name), status) };
    let mut tasks: Vec<TaskRecord> =
        ["api", "scheduler", "web"].map(|name| told(name, Status::Unchanged, "inputs unchanged")).into();
    let reason = Reason::File { path: "apps/worker/src/main.ts".to_owned(), change: Change::Changed };
    let mut worker = told("worker", Status::Built, &reason.to_string());
    worker.took_ms = 1_100;
    worker.missed = Some(Missed { step: build.to_owned(), reasons: vec![reason] });
    tasks.push(worker);
    let shown = summary::table(&tasks, Paint::PLAIN, Some(size.0))
        + &text::folded(&summary::misses(&tasks, Paint::PLAIN), Some(size.0))
        + &summary::totals(&tasks, Duration::from_millis(1_200), Paint::PLAIN);
    story.end(2) + "── what is printed then\n" + &shown
}

/// Two services fail, the others go on.
fn failures(size: (usize, usize)) -> String {
    let mut story = Story::new(size);
    story.at(1, [foreseen()]);
    story.at(2, ["api", "scheduler", "web", "worker"].map(|name| started(service(name))));
    let build = |name: &str| {
        format!("[{name}-build 2/2] RUN --mount=type=bind,from=sources,target=/sources     build-closure apps/{name}")
    };
    story.at(3, ["api", "scheduler", "web", "worker"].map(|name| step(service(name), &build(name), name)));
    story.at(4, [log("api", "src/main.ts(3,1): error TS1005: ';' expected."), ended("api", Status::Failed, 2)]);
    story.frame("4 s: the first has failed");
    story.at(5, [log("web", "src/app.ts(9,4): error TS2304: Cannot find name 'x'."), ended("web", Status::Failed, 3)]);
    story.frame("5 s: the second too");
    story.at(6, [ended("scheduler", Status::Built, 4), ended("worker", Status::Built, 4)]);
    story.end(7)
}

/// Somebody presses Ctrl-C while two run and two wait.
fn interrupted(size: (usize, usize)) -> String {
    let mut story = Story::new(size);
    story.at(1, [foreseen(), started(service("api")), started(service("web"))]);
    story.at(2, ["api", "web"].map(|name| step(service(name), &install(name), name)));
    story.frame("2 s");
    story.at(3, [ended("api", Status::Cancelled, 2), ended("web", Status::Cancelled, 2)]);
    story.end(3)
}

/// The window is made narrower, then wider, then lower.
fn resized(size: (usize, usize)) -> String {
    let mut story = Story::new(size);
    story.at(1, [foreseen()]);
    story.at(1, ["api", "scheduler", "web"].map(|name| started(service(name))));
    story.at(2, [ended("scheduler", Status::Built, 1)]);
    story.at(2, ["api", "web"].map(|name| step(service(name), &install(name), name)));
    for (at, columns, rows) in [(3, size.0 / 2, size.1), (4, size.0 / 3, size.1), (5, size.0 * 3 / 2, size.1), (6, size.0, 12)] {
        story.vt.resize(columns, rows);
        story.at(at, []);
        story.frame(&format!("{columns} columns, {rows} lines"));
    }
    story.vt.resize(size.0, size.1);
    story.at(7, [ended("api", Status::Built, 6)]);
    story.vt.resize(size.0 / 2, size.1);
    story.at(8, [ended("web", Status::Built, 7)]);
    story.end(9)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever writes the recordings anew says so by a variable")]
fn whole_runs_look_as_they_are_recorded() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/live/recordings");
    let stories: [(&str, Tell); 5] =
        [("cold", cold), ("edited", edited), ("failures", failures), ("interrupted", interrupted), ("resized", resized)];
    for (name, tell) in stories {
        for size in SIZES {
            let (file, told) = (folder.join(format!("{name}-{}x{}.txt", size.0, size.1)), tell(size));
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&file, &told).unwrap();
            }
            let recorded = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(told, recorded, "{} differs; see it, and write it anew with BLESS=1", file.display());
        }
    }
}
