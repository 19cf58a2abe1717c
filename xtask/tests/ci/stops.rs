//! A cancelled job, as the runner cancels it: SIGINT to the step's shell alone, then SIGTERM, then SIGKILL. The runner waits 7.5 s with
//! its SIGTERM; here it comes before the run can be over.

#![expect(clippy::disallowed_methods, reason = "a test signals the step as the runner does")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use monoship_github::workflow::Layout;
use rustix::process::{Pid, Signal, kill_process};

use crate::forge::{Forge, only};
use support::marked::{MARK, marked};

/// Waits for something to be so while the step runs.
fn wait(child: &mut Child, what: &str, so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_mins(2);
    while !so() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < until, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cancelled_job_ends_with_all_its_processes_says_so_and_the_next_one_works() {
    let forge = Forge::small(Layout::Single);
    let before = forge.id("main");
    forge.origin.write("apps/api/src/slow.ts", "");
    forge.origin.commit("slow api");
    let runner = forge.runner("refs/heads/main");
    let event = forge.push(&before);
    let dir = tempfile::tempdir().unwrap();
    let step = runner.prepare(&event, dir.path());
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut bash = Command::new("bash");
    bash.arg("-e").arg(&step.script).current_dir(&step.workspace).envs(step.environment.clone());
    let mark = dir.path().display().to_string();
    let mut child =
        bash.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(shown.reopen().unwrap()).spawn().unwrap();
    let log = || std::fs::read_to_string(shown.path()).unwrap();
    wait(&mut child, "web is built, api is building", || log().contains("::group::web: built in "));

    assert!(marked(&mark).len() > 1, "no builder runs: {:?}", marked(&mark));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    // Gone already, on a quick day.
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(130), "{}", log());
    assert_eq!(marked(&mark), [""; 0]);
    let summary = std::fs::read_to_string(&step.summary).unwrap();
    for part in ["## 🚫 push to main: cancelled after ", "| api | 🚫 cancelled |", "| web | ✅ built |"] {
        assert!(summary.contains(part), "no {part:?} in {summary}: {}", log());
    }
    let tags: Vec<String> = forge.tags("web").into_keys().collect();
    assert!(!tags.is_empty() && tags.iter().all(|tag| tag.starts_with("in-")), "half of a version is published: {tags:?}");
    assert_eq!(forge.cache.store().scopes().into_iter().collect::<Vec<_>>(), ["monorepo-base", "monorepo-web"]);

    std::fs::remove_file(forge.origin.path().join("apps/api/src/slow.ts")).unwrap();
    forge.origin.commit("quick api");
    let ran = runner.run(&forge.push(&before));
    let next = only(&ran, "images", "success");
    assert!(next.summary.contains("| web | ⏭️ unchanged |"), "what stood is built again: {}", next.summary);
    assert_eq!(forge.tags("api").contains_key("main"), forge.tags("web").contains_key("main"));
}
