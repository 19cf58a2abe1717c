//! The house rules that crates cannot hold, checked by reading their sources: one file starts processes, one reads the environment, a plan
//! does no I/O, only reports and commands print. Every file counts to its end; what is left out is test code, wherever it stands in a file,
//! and what is in comments and strings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::source::Source;

/// The one file that starts processes, and looks for a program on the PATH that its child will have.
const STARTS: &str = "crates/core/src/execute/process.rs";

/// The one file that reads the environment, and knows which streams are terminals: what `main` calls.
const MAIN: &str = "crates/monoship/src/app.rs";

/// A rule: which names are meant, who may use them, and what somebody else does who uses one.
struct Rule {
    /// Paths as `use` would spell them; whatever lies below them is meant too. A name that ends with `!` is a macro.
    names: &'static [&'static str],
    /// True of a file that may.
    may: fn(&str) -> bool,
    does: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        names: &["std::process::Command", "std::os::unix::process::CommandExt", "duct::cmd", "xshell::Cmd::run"],
        may: |file| file == STARTS,
        does: "starts a process",
    },
    Rule {
        names: &[
            "std::env::var",
            "std::env::vars",
            "std::env::var_os",
            "std::env::vars_os",
            "std::env::set_var",
            "std::env::remove_var",
            "std::env::current_dir",
            "std::env::home_dir",
            "std::env::args",
            "std::env::args_os",
        ],
        may: |file| file == MAIN || file == STARTS,
        does: "reads the environment",
    },
    Rule {
        names: &[
            "std::fs",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "std::process",
            "std::env",
            "std::thread",
            "std::io",
            "std::os",
            "rustix",
            "tempfile",
            "ureq",
            "xshell",
            "monoship_core::execute",
            "monoship_core::error::read_text",
            "monoship_core::error::write_atomically",
        ],
        may: |file| !file.starts_with("crates/plan/src/"),
        does: "does I/O in a plan",
    },
    Rule {
        names: &["std::fs", "std::net", "ureq", "monoship_core::execute", "monoship_core::error::read_text"],
        // Records of runs and results of jobs are files; what shows them is handed them.
        may: |file| {
            !file.starts_with("crates/report/src/")
                || file.starts_with("crates/report/src/record")
                || file.starts_with("crates/report/src/results")
        },
        does: "reads files in a report",
    },
    Rule {
        names: &["println!", "eprintln!", "print!", "eprint!", "dbg!", "std::io::stdout", "std::io::stderr"],
        may: |file| {
            let shows = ["crates/report/src/", "crates/monoship/src/command", "xtask/src/", "examples/"];
            file == MAIN || shows.iter().any(|place| file.starts_with(place))
        },
        does: "prints",
    },
    Rule { names: &["indicatif"], may: |file| file.starts_with("crates/report/src/"), does: "knows the progress display" },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Every Rust file that is compiled into the tool, with its path from the root. Files that hold only tests are not among them.
fn sources() -> Vec<(String, Source)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    let crates = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for package in crates.map(|package| package.join("src")).chain([root().join("xtask/src"), root().join("examples")]) {
        let before = files.len();
        walk(&package, &mut files);
        assert!(files.len() > before, "no source in {}", package.display());
    }
    let read: Vec<_> = files.into_iter().map(|path| (Source::new(&std::fs::read_to_string(&path).unwrap()), path)).collect();
    let only_tests: BTreeSet<PathBuf> = read.iter().flat_map(|(source, path)| source.test_files(path)).collect();
    let is_test = |path: &Path| only_tests.iter().any(|test| path == test || path.starts_with(test.with_extension("")));
    let kept = read.into_iter().filter(|(_, path)| !is_test(path));
    kept.map(|(source, path)| (path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), source)).collect()
}

#[test]
fn every_file_keeps_to_the_rules_of_the_house() {
    let mut broken = Vec::new();
    let mut kept = vec![0; RULES.len()];
    for (file, source) in sources() {
        for (at, rule) in RULES.iter().enumerate() {
            let used = source.uses(rule.names);
            if (rule.may)(&file) {
                kept[at] += used.len();
            } else {
                broken.extend(used.into_iter().map(|(line, name)| format!("{file}:{line}: `{name}`: {}", rule.does)));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    // A rule that nobody has to keep says that this test no longer sees what it looks for.
    for (rule, kept) in RULES.iter().zip(kept) {
        assert!(kept > 0, "nobody {}: has its file moved?", rule.does);
    }
}

#[test]
fn every_file_says_what_lives_in_it_and_stays_readable() {
    for (file, source) in sources() {
        assert!(source.text().starts_with("//!"), "{file} does not open with //!");
        assert!(source.lines() <= 500, "{file} has {} lines of code", source.lines());
    }
}

/// What a rule about files would find in a text.
fn found(text: &str) -> Vec<usize> {
    Source::new(text).uses(&["std::fs", "std::env::var", "print!"]).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn whatever_stands_behind_a_test_module_counts_and_what_stands_in_it_does_not() {
    let tests =
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n    const BRACE: &str = \"}\";\n    fn f() { print!(\"{\", '}') }\n}\n";
    assert_eq!(found(tests), [0; 0]);
    assert_eq!(found(&format!("{tests}fn g() {{ std::fs::read(1) }}\n")), [7]);
    let file = Source::new(&format!("fn f() {{}}\n{tests}#[cfg(test)]\nmod more;\nfn g() {{}}\n"));
    assert_eq!(file.lines(), 2);
    assert_eq!(file.test_files(Path::new("src/a.rs")), [Path::new("src/a/more.rs"), Path::new("src/a/more/mod.rs")]);
    assert_eq!(file.test_files(Path::new("src/lib.rs"))[0], Path::new("src/more.rs"));
}

#[test]
fn a_name_is_seen_however_it_is_brought_in() {
    for used in [
        "use std::fs;",
        "use std::fs::{self, File};",
        "use std::{fs, time::Duration};",
        "pub(crate) use std::{\n    collections::{BTreeMap, BTreeSet},\n    fs as files,\n};",
        "use std::*;",
        "use ::std::fs::*;",
        "fn f() { std::fs::write(1) }",
        "fn f() { ::std::fs::write(1) }",
        "use std::env;\nfn f() { env::var(1) }",
        "use std::env::var as v;",
        "fn f() { print!(1) }",
    ] {
        assert!(!found(used).is_empty(), "{used}");
    }
    for other in [
        "// std::fs::write\n/* print!(1) /* std::fs */ print!(2) */",
        "const A: &str = \"std::fs::write \\\" print!(1)\";\nconst B: &str = r#\"print!(\"1\")\"#;",
        "const A: char = '\"';\nconst B: &str = \"print!(1)\";\nfn f<'a>(_: &'a str) {}",
        "use std::env;\nfn f() { env::vars_of(1) }",
        "use rustix::fs;\nfn f() { my::std::fs::g(1); eprint!(1) }",
    ] {
        assert_eq!(found(other), [0; 0], "{other}");
    }
}

/// Where the types are written that a team's own pipeline may name; of a file that holds others too, which are meant.
const LANGUAGE: [(&str, &[&str]); 16] = [
    ("crates/core/src/error.rs", &["Error"]),
    ("crates/core/src/name/tag.rs", &["Tag"]),
    ("crates/monoship/src/app.rs", &[]),
    ("crates/monoship/src/command_line.rs", &[]),
    ("crates/monoship/src/container.rs", &[]),
    ("crates/monoship/src/context.rs", &["Context"]),
    ("crates/monoship/src/notifier.rs", &[]),
    ("crates/monoship/src/stages/build.rs", &[]),
    ("crates/monoship/src/stages/checkout.rs", &["Tree"]),
    ("crates/monoship/src/stages/own.rs", &["Context", "Input"]),
    ("crates/monoship/src/stages/plan.rs", &["Ready", "Plan"]),
    ("crates/monoship/src/stages/publish.rs", &[]),
    ("crates/plan/src/tags.rs", &["Release", "TagRule", "Tags"]),
    ("crates/steps/src/image.rs", &[]),
    ("crates/steps/src/notify.rs", &["Message"]),
    ("crates/steps/src/service.rs", &["Service"]),
];

/// The type that a line outside of every block begins something of: `impl Tag {`, `pub trait Input: Sealed {`.
fn type_of(line: &str) -> Option<&str> {
    let rest = ["impl ", "pub struct ", "pub trait ", "pub enum "].iter().find_map(|kind| line.strip_prefix(kind))?;
    let name = rest.split_once(" for ").map_or(rest, |(_, name)| name);
    name.split(|c: char| !c.is_alphanumeric()).next()
}

#[test]
fn every_part_of_the_language_shows_how_it_is_used_by_the_facade() {
    let mut seen = 0;
    for (file, types) in LANGUAGE {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let code = text.split("\n#[cfg(test)]").next().unwrap();
        let (mut shown, mut hidden, mut inside) = (false, false, true);
        for whole in code.lines() {
            let line = whole.trim();
            if whole.starts_with(char::is_alphabetic) {
                inside = types.is_empty() || type_of(whole).is_some_and(|name| types.contains(&name));
            }
            if let Some(doc) = line.strip_prefix("///") {
                shown |= doc.contains("```");
                let is_line = |doc: &str| doc.contains("monoship_") && !doc.trim_start().starts_with("# ");
                assert!(!is_line(doc), "{file}: a team cannot name what the example has in `{line}`");
            } else if line.starts_with("#[") {
                hidden |= line.contains("doc(hidden)");
            } else {
                let is_public = ["pub fn ", "pub struct ", "pub trait ", "pub enum "].iter().any(|kind| line.starts_with(kind));
                if is_public && !hidden && inside {
                    seen += 1;
                    assert!(shown, "{file}: no example of `{line}`");
                }
                (shown, hidden) = (false, false);
            }
        }
    }
    assert!(seen > 90, "only {seen} were seen");
}

#[test]
fn the_librarys_crates_ask_for_each_other_in_their_very_version() {
    let folders = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for manifest in folders.chain([root().to_owned()]).map(|folder| folder.join("Cargo.toml")) {
        let read: toml::Table = std::fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let shared = read.get("workspace").and_then(|workspace| workspace.get("dependencies"));
        let all = shared.into_iter().chain(read.get("dependencies")).filter_map(toml::Value::as_table).flatten();
        for (name, dependency) in all {
            let package = dependency.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            let version = dependency.get("version").and_then(toml::Value::as_str);
            let exact = version.is_none_or(|version| version.starts_with('='));
            assert!(exact || !package.starts_with("monoship-"), "{}: {package} may be of another version", manifest.display());
        }
    }
}

#[test]
fn every_published_crate_brings_its_licences_and_says_what_it_is() {
    for folder in std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()) {
        let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        for key in ["description", "license", "readme", "keywords", "categories"] {
            assert!(manifest["package"].get(key).is_some(), "{} has no `{key}`", folder.display());
        }
        for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let same = std::fs::read(folder.join(licence)).ok() == std::fs::read(root().join(licence)).ok();
            assert!(same, "{}: cargo packages no {licence}", folder.display());
        }
    }
}
