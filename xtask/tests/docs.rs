//! The documentation, and what the program itself advises, held to the program: every command line in them parses, every key in its tables exists and none is left out,
//! every link leads somewhere. What the sentences say is for a reader to check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use monoship::cli::Cli;
use monoship_core::env::Env;
use monoship_plan::config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file of docs/ and those at the root, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let listed = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = listed.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    files.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|file| root().join(file)));
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The command lines in a text: lines of code blocks that begin with `cargo xtask`, after a prompt or not, and inline code.
/// A comment, a pipe or a redirection ends one.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The fence that opened the block we are in: a block of four backticks may hold a block of three.
    let mut fence: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            Some(open) if ticks == open => fence = None,
            Some(_) => found.extend(line.strip_prefix("$ ").unwrap_or(line).strip_prefix("cargo xtask ")),
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => found.extend(line.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("cargo xtask "))),
        }
    }
    let ends = |word: &&str| !["#", "|", ">", "&&", "2>"].contains(word);
    found.iter().map(|line| line.split_whitespace().take_while(ends).collect::<Vec<_>>().join(" ")).collect()
}

/// Fails where the program would not take a command line, but for these reasons.
fn is_taken(command: &str, whence: &Path, but: &[ErrorKind]) {
    let words = command.split(' ').map(|word| word.trim_matches(['\'', '"']));
    if let Err(error) = Cli::try_parse_from(["cargo xtask"].into_iter().chain(words)) {
        assert!(but.contains(&error.kind()), "{}: cargo xtask {command}\n{error}", whence.display());
    }
}

#[test]
fn every_command_line_in_the_documentation_is_one_the_program_takes() {
    let mut seen = 0;
    for (path, text) in documents() {
        for command in commands(&text) {
            seen += 1;
            is_taken(&command, &path, &[ErrorKind::DisplayHelp]);
        }
    }
    assert!(seen > 20, "only {seen} command lines were found");
}

/// Every file of Rust below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Source text with each placeholder, `{…}` or `<…>`, filled in by what any argument may be: a tag, a name and a file alike.
fn filled_in(text: &str) -> String {
    let mut pieces = text.split(['{', '<']);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |filled, piece| filled + "v1.2.3" + piece.split_once(['}', '>']).map_or("", |(_, rest)| rest))
}

#[test]
fn every_command_that_a_hint_or_an_advice_names_is_one_the_program_takes() {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    let mut seen = BTreeSet::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| line.trim().to_owned() + "\n").collect();
        // A backslash at a line's end joins a string's lines.
        for named in code.replace("\\\n", "").split("`cargo xtask ").skip(1).filter_map(|rest| rest.split('`').next()) {
            let named = filled_in(named);
            // A verb may be spoken of without its arguments.
            is_taken(&named, &path, &[ErrorKind::DisplayHelp, ErrorKind::MissingRequiredArgument]);
            seen.insert(named);
        }
    }
    for advised in ["stats --html stats.html", "plan --explain v1.2.3", "layers v1.2.3", "cache warm"] {
        assert!(seen.contains(advised), "{advised} is not among {seen:#?}");
    }
}

/// The keys that a document accepts, from the error about one that cannot be meant.
fn accepted(document: &str) -> BTreeSet<String> {
    let error = config::of_text("/xtask.toml".as_ref(), Some(document), &Env::new("/", []), &|| Ok(None)).unwrap_err();
    let hint = error.hint_text().unwrap_or_default();
    let keys = hint.strip_prefix("known keys here: ").unwrap_or_else(|| panic!("{document}: {error}: {hint}"));
    keys.split(", ").map(str::to_owned).collect()
}

/// The first column of the table under each heading of docs/configuration.md that names a section: `### [images]`.
fn documented() -> Vec<(String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let sections = text.split("\n### ").skip(1).filter(|section| section.starts_with("`["));
    let read = |section: &str| {
        let header = section[1..].split('`').next().unwrap().to_owned();
        let rows = section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|row| row.split(" | ").next());
        (header, cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect())
    };
    sections.map(read).collect()
}

#[test]
fn the_tables_of_keys_are_the_keys_that_the_configuration_accepts() {
    let documented = documented();
    let names: BTreeSet<String> = documented.iter().map(|(header, _)| header.trim_matches(['[', ']']).to_owned()).collect();
    assert_eq!(names, accepted("qqqqqqqq = 1\n"), "sections");
    for (header, keys) in documented {
        assert_eq!(keys, accepted(&format!("{header}\nqqqqqqqq = 1\n")), "{header}");
    }
}

/// What GitHub makes of a document's headings: lower-case, a hyphen for each space, and of punctuation only hyphens and underscores.
fn anchors(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    headings.map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_a_heading() {
    let mut seen = 0;
    for (path, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{} links to {target}", path.display());
            if let Some(heading) = heading.filter(|_| file.extension().is_some_and(|e| e == "md")) {
                assert!(anchors(&file).contains(heading), "{} links to {target}: no such heading", path.display());
            }
        }
    }
    assert!(seen > 5, "only {seen} links were found");
}

#[test]
fn every_file_and_folder_of_this_repository_that_a_document_names_is_there() {
    let folders = ["crates/", "xtask/", "examples/", "bench/", "docs/", ".ci/"];
    let mut seen = 0;
    for (path, text) in documents() {
        // The changelog tells of what was, too.
        let inline = text.split('`').skip(1).step_by(2).filter(|_| !path.ends_with("CHANGELOG.md"));
        let is_here = |code: &&str| {
            folders.iter().any(|folder| code.starts_with(folder)) && Path::new(code).extension().is_none_or(|kind| kind == "rs")
        };
        for file in inline.filter(is_here).filter(|file| !file.contains(['…', ' '])) {
            seen += 1;
            assert!(root().join(file).exists(), "{} names {file}", path.display());
        }
    }
    assert!(seen > 5, "only {seen} files were found");
}

#[test]
fn the_pipeline_that_the_front_page_shows_is_this_repositorys_own() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(std::fs::read_to_string(root().join("xtask/src/main.rs")).unwrap().ends_with(shown), "{shown}");
}

/// What the language's introduction shows is a part of a program that is compiled and run.
#[test]
fn every_snippet_of_the_language_is_taken_from_an_example() {
    let programs: Vec<String> = std::fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let text = std::fs::read_to_string(root().join("docs/extending.md")).unwrap();
    let snippets: Vec<&str> = text.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(snippets.len() > 5, "found {} snippets", snippets.len());
    for snippet in snippets {
        let parts = snippet.trim_end().split("\n\n").all(|part| programs.iter().any(|program| program.contains(part)));
        assert!(parts, "in no example:\n{snippet}");
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    fn walk(dir: &Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, text);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = String::new();
    ["crates", "xtask/tests"].iter().for_each(|dir| walk(&root().join(dir), &mut sources));
    let document = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| who |"));
    let mut named = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "a row without a test: {row}");
        for name in names {
            assert!(sources.contains(&format!("fn {name}()")), "{name}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}
