//! Ctrl-C: everything ends at once, nothing is left, and the next run works.

use std::process::Stdio;

use crate::harness::{cache_mounts, clone, read, statuses, turn, wait_for};
use support::marked::{MARK, marked};

#[test]
fn an_interrupt_ends_a_build_leaves_no_process_and_the_next_build_works() {
    let _turn = turn();
    let _mounts = cache_mounts();
    let repo = clone();
    let mark = repo.path().display().to_string();
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut command = repo.command(&["build", "--no-cache", "--jobs", "2", "--progress", "plain"]);
    let mut child = command.env(MARK, &mark).stdout(Stdio::null()).stderr(shown.reopen().unwrap()).spawn().unwrap();
    wait_for(shown.path(), &mut child, "web-build 1/3] RUN");
    assert!(marked(&mark).len() > 1, "no builder runs: {:?}", marked(&mark));

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{}", read(shown.path()));
    assert_eq!(marked(&mark), [""; 0]);
    assert!(read(shown.path()).contains("cancelled"), "{}", read(shown.path()));

    let next = repo.xtask(&["build", "--json"]).exits(0);
    // What was whole before the interrupt stands, and is not built again; web was in the middle of it.
    let ended = statuses(&next.json()).map(str::to_owned);
    assert!(ended[2] == "built" && ended.iter().all(|status| ["built", "unchanged"].contains(&status.as_str())), "{ended:?}");
}
