//! The lines that files of the user's get: each is looked for first, and an edit that cannot be checked is left to the user. Pure.

use super::Change;

/// The workspace's manifest, with `xtask` among its members.
pub(super) fn manifest(existing: Option<&str>) -> Change {
    let Some(text) = existing else { return Change::Write(include_str!("workspace.toml").to_owned()) };
    let by_hand = || Change::ByHand("add `xtask` to the `members` of its [workspace]".to_owned());
    let has = |text: &str| -> Option<bool> {
        let table: toml::Table = toml::from_str(text).ok()?;
        let Some(workspace) = table.get("workspace") else { return Some(false) };
        let members = workspace.get("members")?.as_array()?;
        Some(members.iter().any(|member| member.as_str() == Some("xtask")))
    };
    match (has(text), text.find("[workspace]")) {
        (Some(true), _) => return Change::Keep,
        (None, _) => return by_hand(),
        (Some(false), _) => {}
    }
    let is_workspace = toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("workspace"));
    let edited = if is_workspace {
        let Some(at) = text.find("members").and_then(|at| Some(at + text[at..].find('[')? + 1)) else { return by_hand() };
        format!("{}\"xtask\", {}", &text[..at], &text[at..])
    } else {
        format!("{}\n[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\n", ended(text))
    };
    if has(&edited) == Some(true) { Change::Add(edited, "the member `xtask`".to_owned()) } else { by_hand() }
}

/// The crate's manifest without what only its tests and benchmarks need, which stay where it comes from.
pub(super) fn without_its_tests(manifest: &str) -> String {
    let mut kept = true;
    let lines = manifest.split_inclusive('\n').filter(|line| {
        if line.starts_with('[') {
            kept = !matches!(line.trim(), "[[bench]]" | "[[test]]" | "[dev-dependencies]");
        }
        kept
    });
    lines.collect()
}

/// What makes `cargo xtask` of the program.
const ALIAS: &str = "# Quiet, or cargo says two lines each time; but with its bar where it compiles, which takes a minute the first time.\n\
     xtask = \"run --quiet --config term.progress.when='always' --config term.progress.width=80 --package xtask --\"\n";

/// Cargo's settings, with our alias; one that is there stays as it is.
pub(super) fn alias(existing: Option<&str>) -> Change {
    let Some(text) = existing else { return Change::Write(format!("[alias]\n{ALIAS}")) };
    let has = |text: &str| -> Option<bool> {
        let table: toml::Table = toml::from_str(text).ok()?;
        Some(table.get("alias").is_some_and(|alias| alias.get("xtask").is_some()))
    };
    let by_hand = || Change::ByHand(format!("add to its [alias]:\n{}", ALIAS.trim_end()));
    match has(text) {
        Some(true) => return Change::Keep,
        None => return by_hand(),
        Some(false) => {}
    }
    let edited = match text.find("[alias]\n").map(|at| text.split_at(at + "[alias]\n".len())) {
        Some((head, tail)) => format!("{head}{ALIAS}{tail}"),
        None => format!("{}\n[alias]\n{ALIAS}", ended(text)),
    };
    if has(&edited) == Some(true) { Change::Add(edited, "the alias `xtask`".to_owned()) } else { by_hand() }
}

/// Git's ignore file, with Cargo's folder, in which all of our state lies too.
pub(super) fn ignored(existing: Option<&str>) -> Change {
    let Some(text) = existing else { return Change::Write("target/\n".to_owned()) };
    let is_there = text.lines().any(|line| line.trim().trim_matches('/') == "target");
    if is_there { Change::Keep } else { Change::Add(ended(text) + "target/\n", "`target/`".to_owned()) }
}

/// The text with a line end at its end.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(change: Change) -> String {
        match change {
            Change::Add(text, _) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_manifest_gets_the_member_and_keeps_all_else() {
        assert!(matches!(manifest(None), Change::Write(text) if text.contains("members = [\"xtask\"]")));
        assert_eq!(manifest(Some("[workspace]\nmembers = ['a', \"xtask\"]\n")), Change::Keep);
        let workspace = "# mine\n[workspace]\nmembers = [\n  'a', # first\n]\n";
        assert_eq!(added(manifest(Some(workspace))), "# mine\n[workspace]\nmembers = [\"xtask\", \n  'a', # first\n]\n");
        let package = "[package]\nname = 'x'";
        assert!(added(manifest(Some(package))).starts_with("[package]\nname = 'x'\n\n[workspace]\nmembers = [\"xtask\"]\n"));
        for strange in ["[workspace", "[workspace]\nresolver = '2'\n", "# members = [\n[workspace]\nmembers = ['a']\n"] {
            assert!(matches!(manifest(Some(strange)), Change::ByHand(_)), "{strange}");
        }
    }

    #[test]
    fn the_crates_manifest_loses_what_only_its_tests_need() {
        let manifest = "[package]\n\n[[bench]]\nname = \"x\"\n\n[dependencies]\na = \"1\"\n\n[dev-dependencies]\nb = \"1\"\n\n[lints]\nc = 1\n";
        assert_eq!(without_its_tests(manifest), "[package]\n\n[dependencies]\na = \"1\"\n\n[lints]\nc = 1\n");
    }

    #[test]
    fn cargos_settings_get_the_alias_once_and_keep_one_that_is_there() {
        let Change::Write(fresh) = alias(None) else { panic!() };
        assert_eq!(alias(Some(&fresh)), Change::Keep);
        let build = added(alias(Some("[build]\njobs = 2")));
        assert_eq!(build, format!("[build]\njobs = 2\n\n{fresh}"));
        assert_eq!(alias(Some(&build)), Change::Keep);
        let other = added(alias(Some("[alias]\nb = \"build\"\n")));
        assert_eq!(other, format!("{fresh}b = \"build\"\n"));
        assert_eq!(alias(Some("[alias]\nxtask = \"run --package xtask --\"\n")), Change::Keep);
        assert!(matches!(alias(Some("[alias")), Change::ByHand(_)));
    }

    #[test]
    fn target_is_ignored_however_it_is_written() {
        for there in ["target\n", "/target/\n", "a\n/target\n"] {
            assert_eq!(ignored(Some(there)), Change::Keep, "{there}");
        }
        assert_eq!(added(ignored(Some("node_modules"))), "node_modules\ntarget/\n");
    }
}
