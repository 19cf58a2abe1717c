//! Children as they really run: what they get, how they end, and what of them is shown.

use super::*;
use crate::secret::Secret;

fn sh(script: &str) -> Invocation {
    Invocation::new("sh").args(["-c", script])
}

#[test]
fn a_command_shows_as_a_line_a_shell_takes_back() {
    let line = Invocation::new("printf").args(["%s|", "a b", "it's", "", "x=1"]).env("A", "1 2").to_string();
    assert_eq!(line, r"A='1 2' printf %s'|' 'a b' 'it'\''s' '' x=1".replace("%s'|'", "'%s|'"));
    assert_eq!(sh(&line).read(&Shutdown::new()).unwrap(), "a b|it's||x=1|");
}

#[test]
fn a_secret_variable_reaches_the_child_and_nothing_that_is_shown() {
    let command = Invocation::new("gh").args(["auth", "token"]);
    let call = sh("printf %s \"$T\"").secret_env("T", &command, Some(Secret::new("s3cret")));
    assert_eq!(call.read(&Shutdown::new()).unwrap(), "s3cret");
    let shown = format!("{call} {call:?}");
    assert!(shown.starts_with("T=\"$(gh auth token)\" sh -c ") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_failure_names_the_command_its_code_and_what_it_said() {
    let error = sh("echo no room >&2; exit 7").read(&Shutdown::new()).unwrap_err().to_string();
    assert_eq!(error, "`sh -c 'echo no room >&2; exit 7'` failed with exit code 7: no room");
    let client = Invocation::new("/bin/sh").arg("-e").preset().args(["-c", "exit 1"]).env("DOCKER_HOST", "unix:///docker.sock");
    let error = client.read(&Shutdown::new()).unwrap_err().to_string();
    assert_eq!(error, "`sh -c 'exit 1'` failed with exit code 1", "all of it is in the log");
    assert_eq!(client.to_string(), "DOCKER_HOST=unix:///docker.sock /bin/sh -e -c 'exit 1'");
    let error = Invocation::new("no-such-program-here").read(&Shutdown::new()).unwrap_err();
    assert!(error.hint_text().is_some_and(|h| h.contains("no-such-program-here")));
}

#[test]
fn a_path_is_one_from_the_folder_that_the_child_runs_in() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("docs")).unwrap();
    std::os::unix::fs::symlink("/bin/pwd", dir.path().join("where")).unwrap();
    let at = |program: &str, folder: &str| Invocation::new(program).dir(dir.path().join(folder)).read(&Shutdown::new());
    assert!(at("./where", "").unwrap().trim_end().ends_with(dir.path().file_name().unwrap().to_str().unwrap()));
    assert!(at("../where", "docs").unwrap().trim_end().ends_with("/docs"));
    let hint = at("./where", "docs").unwrap_err();
    assert!(hint.hint_text().unwrap().contains("docs/./where there"), "{:?}", hint.hint_text());
}

#[test]
fn a_secret_variable_reaches_the_child_and_is_shown_nowhere() {
    let secret = Secret::new("s3cret-of-this-child");
    let call = sh("echo \"$X\"; echo \"said $X\" >&2; exit 3").env_secret("X", secret.clone());
    let output = call.run(&Shutdown::new()).unwrap();
    assert_eq!(output.text(), secret.expose());
    let error = call.read(&Shutdown::new()).unwrap_err();
    let shown = format!("{call} {call:?} {error} {error:?} {}", call.clone().timeout(Duration::ZERO).too_slow());
    assert!(!shown.contains(secret.expose()) && shown.contains("X=*** sh -c"), "{shown}");
    let as_argument = Invocation::new("echo").arg(format!("--key={}", secret.expose())).to_string();
    assert_eq!(as_argument, "echo --key=***");
}

#[test]
fn a_child_gets_our_variables_less_the_secret_ones_or_those_alone_that_it_is_named() {
    let run = |call: Invocation| call.read(&Shutdown::new()).unwrap();
    // Cargo gives each test these; the process's own environment cannot be set here.
    let all = run(Invocation::new("env"));
    assert!(all.contains("CARGO_PKG_NAME=") && all.contains("PATH="), "{all}");
    let one = run(Invocation::new("/usr/bin/env").only(&["CARGO_PKG_N*"]).env("Y", "1"));
    assert!(one.lines().all(|line| line.starts_with("CARGO_PKG_NAME=") || line == "Y=1"), "{one}");
    Secret::new(env!("CARGO_PKG_DESCRIPTION"));
    let withheld = run(Invocation::new("env"));
    assert!(!withheld.contains("CARGO_PKG_DESCRIPTION=") && withheld.contains("PATH="), "{withheld}");
    let named = run(Invocation::new("env").may_have(&["CARGO_PKG_DESC*"]));
    assert!(named.contains("CARGO_PKG_DESCRIPTION="), "{named}");
    // What is set for it is its own, and the last of it counts.
    let set = run(Invocation::new("env").env("CARGO_PKG_DESCRIPTION", "one").env("CARGO_PKG_DESCRIPTION", "two"));
    assert!(set.lines().any(|line| line == "CARGO_PKG_DESCRIPTION=two"), "{set}");
    let beside = [("REGION", "eu"), ("DEPLOY_TOKEN", "seven77")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let ours = run(Invocation::new("env").beside(&beside));
    assert!(ours.contains("REGION=eu\n") && !ours.contains("DEPLOY_TOKEN"), "{ours}");
    assert!(run(Invocation::new("env").beside(&beside).may_have(&["DEPLOY_TOKEN"])).contains("DEPLOY_TOKEN=seven77"));
}

#[test]
fn lines_come_from_both_streams_and_the_exit_code_after_them() {
    let mut lines = Vec::new();
    let code = sh("echo out; echo err >&2; exit 3").stream(&Shutdown::new(), |l| lines.push(l.to_owned())).unwrap();
    lines.sort();
    assert_eq!((code, lines), (Some(3), vec!["err".to_owned(), "out".to_owned()]));
}

#[test]
fn a_slow_child_is_killed_with_its_whole_group() {
    for invocation in [sh("sleep 3600 & sleep 3600"), sh("sleep 3600 & sleep 3600; true")] {
        let slow = invocation.timeout(Duration::from_millis(100));
        assert!(slow.run(&Shutdown::new()).unwrap_err().to_string().contains("did not finish"));
        assert!(slow.stream(&Shutdown::new(), |_| ()).unwrap_err().to_string().contains("did not finish"));
    }
}

#[test]
fn once_closing_children_end_and_none_starts() {
    let shutdown = Shutdown::new();
    let closer = shutdown.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        closer.close();
    });
    // Ignores SIGTERM and has a grandchild: only SIGKILL to the group ends it.
    let error = sh("trap '' TERM; sleep 3600 & sleep 3600 & wait").stream(&shutdown, |_| ()).unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    thread.join().unwrap();
    assert!(sh("true").run(&shutdown).unwrap_err().is_cancelled());
}

#[test]
fn a_daemon_runs_in_a_folder_that_nobody_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    sh("pwd; echo end").daemon(&log).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let said = || std::fs::read_to_string(&log).unwrap();
    while !said().contains("end") {
        assert!(Instant::now() < until, "it said {}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(said(), "/\nend\n");
}
