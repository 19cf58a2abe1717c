//! The lines that files of the user's get: each is looked for first, and an edit that cannot be checked is left to the user. Pure.

use toml_edit::{Array, DocumentMut, Value, value};

use super::Change;

/// The workspace's manifest, with `xtask` among its members.
pub(super) fn manifest(existing: Option<&str>) -> Change {
    let Some(text) = existing else { return Change::Write(include_str!("workspace.toml").to_owned()) };
    let by_hand = || Change::ByHand("add `xtask` to the `members` of its [workspace]".to_owned());
    let Ok(mut document) = text.parse::<DocumentMut>() else { return by_hand() };
    let added = |text: String| Change::Add(text, "the member `xtask`".to_owned());
    let Some(workspace) = document.get_mut("workspace") else {
        return added(format!("{}\n[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\n", ended(text)));
    };
    let Some(workspace) = workspace.as_table_like_mut() else { return by_hand() };
    let members = workspace.entry("members").or_insert_with(|| value(Array::new()));
    let Some(members) = members.as_array_mut() else { return by_hand() };
    if members.iter().any(|member| member.as_str() == Some("xtask")) {
        return Change::Keep;
    }
    put_first(members, "xtask");
    added(document.to_string())
}

/// Puts a text in front of a list, written as its first entry is: on a line of its own where that has one.
fn put_first(list: &mut Array, text: &str) {
    let mut new = Value::from(text);
    if let Some(first) = list.get_mut(0) {
        let before = first.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
        // A comment that stands before the first entry stays before the list's entries.
        let between = before.rfind('\n').map_or(" ", |at| &before[at..]);
        first.decor_mut().set_prefix(between);
        new.decor_mut().set_prefix(before);
    }
    list.insert_formatted(0, new);
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
    let by_hand = || Change::ByHand(format!("add to its [alias]:\n{}", ALIAS.trim_end()));
    let Ok(mut document) = text.parse::<DocumentMut>() else { return by_hand() };
    let added = |text: String| Change::Add(text, "the alias `xtask`".to_owned());
    let Some(aliases) = document.get_mut("alias") else { return added(format!("{}\n[alias]\n{ALIAS}", ended(text))) };
    let Some(aliases) = aliases.as_table_mut() else { return by_hand() };
    if aliases.contains_key("xtask") {
        return Change::Keep;
    }
    // With its comment, and quoted as it is here.
    let ours = ALIAS.parse::<DocumentMut>();
    let Some((key, command)) = ours.as_ref().ok().and_then(|ours| ours.get_key_value("xtask")) else { return by_hand() };
    aliases.insert_formatted(key, command.clone());
    added(document.to_string())
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
        assert_eq!(added(manifest(Some(workspace))), "# mine\n[workspace]\nmembers = [\n  \"xtask\",\n  'a', # first\n]\n");
        for (before, after) in [
            ("[workspace]\nmembers = ['a', 'b']\n", "[workspace]\nmembers = [\"xtask\", 'a', 'b']\n"),
            ("[workspace]\nmembers = []\n", "[workspace]\nmembers = [\"xtask\"]\n"),
            ("[workspace]\nresolver = '2'\n", "[workspace]\nresolver = '2'\nmembers = [\"xtask\"]\n"),
            // What looks like the list is not.
            ("# members = [\n[workspace]\nmembers = ['a']\n", "# members = [\n[workspace]\nmembers = [\"xtask\", 'a']\n"),
            (
                "[workspace]\ndefault-members = ['a']\nmembers = ['a']\n",
                "[workspace]\ndefault-members = ['a']\nmembers = [\"xtask\", 'a']\n",
            ),
            ("workspace = { members = ['a'] }\n", "workspace = { members = [\"xtask\", 'a'] }\n"),
            ("[workspace]\nmembers = [ # ours\n  'a',\n]\n", "[workspace]\nmembers = [ # ours\n  \"xtask\",\n  'a',\n]\n"),
        ] {
            assert_eq!(added(manifest(Some(before))), after, "{before}");
        }
        let package = "[package]\nname = 'x'";
        assert!(added(manifest(Some(package))).starts_with("[package]\nname = 'x'\n\n[workspace]\nmembers = [\"xtask\"]\n"));
        for strange in ["[workspace", "workspace = 1", "[workspace]\nmembers = 'a'\n"] {
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
        assert_eq!(other, fresh.replace("[alias]\n", "[alias]\nb = \"build\"\n"));
        let spaced = added(alias(Some("[alias] # short\nb = 'build'\n\n[net]\noffline = true\n")));
        assert!(
            spaced.starts_with("[alias] # short\nb = 'build'\n# Quiet,") && spaced.ends_with("\n\n[net]\noffline = true\n"),
            "{spaced}"
        );
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
