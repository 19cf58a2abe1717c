//! The house rules, checked by reading the source: data flows one way, one file spawns, one folder knows the terminal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each module may import from this crate, beside `error`, `env`, `name`, `text` and `time`, which everybody may.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("env", &[]),
    ("name", &[]),
    ("text", &[]),
    ("time", &[]),
    ("event", &[]),
    ("config", &[]),
    ("cli", &["config", "plan", "github"]),
    ("execute", &["event"]),
    ("workspace", &["config", "execute"]),
    ("plan", &["config", "workspace", "event"]),
    ("docker", &["config", "plan", "execute", "event"]),
    ("engine", &["config", "plan", "execute", "event", "docker"]),
    ("github", &["config", "plan", "execute", "event", "docker", "record"]),
    ("record", &["event", "plan", "docker"]),
    ("report", &["event", "plan", "record", "docker"]),
    ("stage", &["config", "workspace", "plan", "execute", "event", "docker", "engine", "github", "record"]),
    ("pipeline", &["config", "workspace", "plan", "event", "engine", "record", "stage"]),
    ("command", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    let found = below("src");
    assert!(found.len() > 20, "the walk found {} files", found.len());
    found
}

/// The Rust files below a folder of the crate's, with their texts.
fn below(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    assert!(!found.is_empty(), "no files below {folder}");
    found
}

/// The module of a file: its first path component below `src`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The part of a file that is not tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn data_flows_one_way() {
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        let Some(allowed) = rules.get(module.as_str()) else {
            broken.push(format!("{} belongs to no module of the house: add `{module}` to MAY_IMPORT", path.display()));
            continue;
        };
        for (number, line) in code(&text).lines().enumerate() {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let free = ["error", "env", "name", "text", "time", module.as_str(), ""].contains(&word.as_str());
                if !free && !allowed.contains(&"*") && !allowed.contains(&word.as_str()) && !line.trim_start().starts_with("//") {
                    broken.push(format!("{}:{}: {module} imports {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn only_one_file_starts_processes_and_only_reports_know_the_terminal() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let file = path.to_string_lossy().replace('\\', "/");
        let module = module(&path);
        for (number, line) in code(&text).lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            let spawns = line.contains("Command::new") || line.contains("duct::cmd");
            if spawns && !file.ends_with("execute/process.rs") {
                broken.push(format!("{place}: starts a process"));
            }
            if line.contains("indicatif::") && module != "report" {
                broken.push(format!("{place}: knows the progress display"));
            }
            let prints = line.contains("println!") || line.contains("eprintln!") || line.contains("print!(");
            if prints && !["report", "command", "main"].contains(&module.as_str()) {
                broken.push(format!("{place}: prints"));
            }
            let reads = line.contains("std::fs::") || line.contains("File::open");
            if reads && ["plan", "report", "event", "name"].contains(&module.as_str()) {
                broken.push(format!("{place}: does I/O"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_lives_in_it_and_stays_readable() {
    for (path, text) in ["src", "pnpm/src", "launcher/src"].into_iter().flat_map(below) {
        assert!(text.starts_with("//!"), "{} does not open with //!", path.display());
        let lines = code(&text).lines().count();
        assert!(lines <= 500, "{} has {lines} lines of code", path.display());
    }
}
