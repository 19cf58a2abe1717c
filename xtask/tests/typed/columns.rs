//! What is shown on a terminal of eighty columns stays within them, and breaks no word.

use support::repo::{Repo, here};
use support::terminal::Terminal;

/// Every verb, and every verb below one.
fn verbs() -> Vec<String> {
    fn below(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        found.push(path.trim().to_owned());
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            below(verb, &format!("{path} {}", verb.get_name()), found);
        }
    }
    let mut found = Vec::new();
    below(&<monoship::cli::Cli as clap::CommandFactory>::command(), "", &mut found);
    found
}

#[test]
fn every_verbs_help_fits_eighty_columns() {
    let (verbs, program) = (verbs(), env!("CARGO_BIN_EXE_xtask"));
    assert!(verbs.len() > 25 && verbs.contains(&"cache prune".to_owned()), "{verbs:?}");
    let lines = verbs.iter().flat_map(|verb| ["-h", "--help"].map(|flag| format!("{program} {verb} {flag}; echo ==== {verb}")));
    let script = format!("stty cols 80 rows 24; {}; echo all is shown", lines.collect::<Vec<_>>().join("; "));
    let terminal = Terminal::new(&script);
    terminal.shows("all is shown");
    let shown = terminal.shown();
    let long: Vec<&str> =
        shown.lines().map(|line| line.trim_end_matches('\r')).filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(shown.matches("Usage: cargo xtask").count() >= verbs.len() * 2);
    assert_eq!(beyond(&shown, 80), [""; 0]);
}

/// The lines that are longer, but for those that are one word: a path, which nobody could copy in pieces.
fn beyond(shown: &str, columns: usize) -> Vec<&str> {
    let lines = shown.lines().map(|line| line.trim_end_matches('\r').trim_end());
    lines.filter(|line| line.chars().count() > columns && line.trim().contains(' ')).collect()
}

/// A history whose step has a long name, and whose services have every column.
fn history() -> String {
    let line = |n: u32| {
        let step = "[api-build 1/2] RUN install-closure everything @monorepo/api and whatever else such a step may have to do";
        let built = serde_json::json!({
            "task": {"service": "api"}, "status": "built", "took": 9_000 + n, "cached": 3, "total": 11, "size": 89_900_000,
            "ran": [[step, 4_000]], "tiers": {"registry": "missing", "gha": "left-out", "previous": "unreachable", "inline": "missing"},
        });
        let unchanged = serde_json::json!({"task": {"service": "scheduler"}, "status": "unchanged", "size": 1});
        let run = serde_json::json!({
            "v": 3, "id": format!("202611290515{n:02}427-3b78"), "started": format!("2026-11-29T05:15:{n:02}Z"), "took": 10_000,
            "outcome": "succeeded", "command": "build", "tasks": [built, unchanged],
        });
        format!("{run}\n")
    };
    (10..40).map(line).collect()
}

#[test]
fn tables_findings_and_mistakes_fit_eighty_columns_and_fifty() {
    let repo = Repo::new();
    repo.write("target/xtask/history.jsonl", &history());
    repo.write(
        "xtask.toml",
        "[images]\ndockerfile = \"Dockerfile.monorepo-optimized\"\nregistry = \"127.0.0.1:9\"\nnamespace = \"acme/shop\"\n",
    );
    let (program, data) = (env!("CARGO_BIN_EXE_xtask"), here().join("target/no-engine"));
    let runs = [
        "stats",
        "plan --explain",
        "plan --since nowhere-that-anybody-has-ever-been",
        "doctor",
        "engine status",
        "prune apj",
        "build --tag a+b",
    ];
    for columns in [80, 50] {
        let lines = runs.map(|run| format!("echo == {run}; {program} --progress plain {run}"));
        let script = format!(
            "cd {}; export XTASK_ENGINE_DATA={} XTASK_RETRY_WAIT=50ms; stty cols {columns} rows 24; {}; echo all is shown",
            repo.path().display(),
            data.display(),
            lines.join("; ")
        );
        let terminal = Terminal::new(&script);
        terminal.shows("all is shown");
        let shown = terminal.shown();
        for part in ["install-closure", "unchanged", "nowhere-that-anybody", "a+b", "apj", "· note"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(beyond(&shown, columns), [""; 0], "{columns}");
    }
}
