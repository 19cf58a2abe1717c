//! The Actions environment against recorded events.

use super::*;
use monoship_core::sorted::SortedMap;

/// Reads an output file as the runner does (`FileCommandManager`): `name=value`, or `name<<delimiter` up to the delimiter's line.
fn read_as_runner(text: &str) -> SortedMap<String, String> {
    let mut lines = text.split('\n');
    let mut found = SortedMap::new();
    while let Some(line) = lines.next() {
        if let Some((name, delimiter)) = line.split_once("<<") {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            found.insert(name.to_owned(), value.join("\n"));
        } else if let Some((name, value)) = line.split_once('=') {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

fn runner(dir: &Path) -> Runner {
    let vars = [("GITHUB_ACTIONS", "true"), ("GITHUB_OUTPUT", "output"), ("GITHUB_STEP_SUMMARY", "summary.md")];
    Runner::from_env(&Env::new(dir, vars.map(|(name, value)| (name.to_owned(), value.to_owned()))))
}

#[test]
fn outputs_keep_their_lines_and_cannot_set_others() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path());
    let evil = "a\nEOF\nadmin=true\nxtask_0<<x\ny\r\n";
    runner.set_output("digests", evil).unwrap();
    runner.set_output("tags", "v1 ü").unwrap();
    runner.set_output("none", "").unwrap();
    let found = read_as_runner(&std::fs::read_to_string(dir.path().join("output")).unwrap());
    let expected = [("digests", evil), ("none", ""), ("tags", "v1 ü")];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn no_secret_goes_into_an_output_or_a_summary() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path());
    Secret::new("s3cret-of-a-summary");
    runner.set_output("x", "is s3cret-of-a-summary").unwrap();
    runner.add_summary("| s3cret-of-a-summary |").unwrap();
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    assert_eq!(read_as_runner(&read("output"))["x"], "is ***");
    assert_eq!(read("summary.md"), "| *** |\n");
}

#[test]
fn outside_actions_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let runner = Runner::from_env(&Env::new(dir.path(), []));
    runner.set_output("a", "b").unwrap();
    runner.add_summary("x").unwrap();
    assert!(!runner.is_on() && std::fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn a_runner_file_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("output")).unwrap();
    let error = runner(dir.path()).set_output("a", "b").unwrap_err();
    assert!(error.to_string().contains("output"), "{error}");
}

#[test]
fn a_summary_stays_within_its_limit_and_is_cut_at_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path());
    let line = "ä".repeat(500) + "\n";
    runner.add_summary("first").unwrap();
    for _ in 0..3 {
        runner.add_summary(&line.repeat(500)).unwrap();
    }
    let text = std::fs::read_to_string(dir.path().join("summary.md")).unwrap();
    assert!(text.len() <= SUMMARY_LIMIT && text.len() > SUMMARY_LIMIT - 2 * line.len(), "{}", text.len());
    assert!(text.starts_with("first\n") && text.trim_end().ends_with("does not fit into a summary.*"));
    assert_eq!(fit("abc\n", 2), "");
    assert_eq!(fit("abc", 4), "abc\n");
}

#[test]
fn git_gets_the_token_in_variables_only_over_https_and_only_in_actions() {
    let vars = |server: &str| {
        let vars =
            [("GITHUB_ACTIONS", "true"), ("GITHUB_TOKEN", "t0ken"), ("GITHUB_SERVER_URL", server), ("GIT_CONFIG_COUNT", "2")];
        git_credentials(&Env::new("/", vars.map(|(name, value)| (name.to_owned(), value.to_owned()))))
    };
    let made = vars("https://github.com");
    let shown: Vec<(&str, &str)> = made.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(shown[..2], [("GIT_CONFIG_COUNT", "3"), ("GIT_CONFIG_KEY_2", "http.https://github.com/.extraheader")]);
    assert!(shown[2].0 == "GIT_CONFIG_VALUE_2" && shown[2].1.starts_with("AUTHORIZATION: basic "));
    assert!(vars("http://github.com").is_empty());
    assert!(git_credentials(&Env::new("/", [("GITHUB_TOKEN".to_owned(), "t".to_owned())])).is_empty());
}
