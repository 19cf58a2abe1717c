//! What cargo's files and git's ignore file lack, put in where everything else stays as it was written. Pure.

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

use super::Change;
use monoship_core::collect::Collect as _;

/// The workspace's manifest where there is none.
const WORKSPACE: &str = include_str!("workspace.toml");

/// The workspace's manifest, with the crate `name` among its members, and the settings by which the library is fast. Where a workspace
/// is made, the crates below the folders `apart` stay what they are: on their own.
pub(super) fn manifest(existing: Option<&str>, name: &str, apart: &[String]) -> Change {
    let Some(text) = existing else {
        let mut made = WORKSPACE.parse::<DocumentMut>().unwrap_or_default();
        made["workspace"]["members"] = value(list([name]));
        if !apart.is_empty() {
            made["workspace"]["exclude"] = value(list(apart.iter().map(String::as_str)));
        }
        return Change::Write(made.to_string());
    };
    match with_member(text, name, apart) {
        Some((_, added)) if added.is_empty() => Change::Keep,
        Some((edited, added)) => Change::Add(edited, added.join(", ")),
        None => Change::ByHand(format!("add `{name}` to the `members` of its [workspace]")),
    }
}

/// An `xtask.toml` that says of these folders that they are no services. `None` where it cannot be read.
pub(super) fn without_services(text: &str, folders: &[&str]) -> Option<String> {
    if folders.is_empty() {
        return Some(text.to_owned());
    }
    let mut settings: DocumentMut = text.parse().ok()?;
    let images = settings.entry("images").or_insert(Item::Table(Table::new())).as_table_like_mut()?;
    let listed = images.entry("not-services").or_insert(value(Array::new())).as_array_mut()?;
    for folder in folders {
        if !listed.iter().any(|known| known.as_str() == Some(*folder)) {
            listed.push(*folder);
        }
    }
    Some(settings.to_string())
}

/// `None` where the file is not as cargo reads it.
fn with_member(text: &str, name: &str, apart: &[String]) -> Option<(String, Vec<String>)> {
    let mut manifest: DocumentMut = text.parse().ok()?;
    let mut added = Vec::new();
    if manifest.contains_key("workspace") {
        let workspace = manifest["workspace"].as_table_like_mut()?;
        let members = workspace.entry("members").or_insert(value(Array::new())).as_array_mut()?;
        // Cargo's patterns: a star matches within one part, so of one part only a lone star or the name itself matches.
        if !members.iter().filter_map(Value::as_str).any(|member| [name, "*"].contains(&member.trim_start_matches("./"))) {
            put_first(members, name);
            added.push(format!("the member `{name}`"));
        }
    } else {
        let mut workspace = Table::new();
        workspace.insert("members", value(list([name])));
        if !apart.is_empty() {
            workspace.insert("exclude", value(list(apart.iter().map(String::as_str))));
        }
        manifest.insert("workspace", Item::Table(workspace));
        added.push(format!("a workspace with the member `{name}`"));
    }
    let workspace = manifest["workspace"].as_table_like()?;
    let is_virtual = !manifest.contains_key("package");
    if is_virtual && !workspace.contains_key("resolver") {
        // What cargo takes for it without a word; with a crate of a newer edition it would say so each time.
        manifest["workspace"].as_table_like_mut()?.insert("resolver", value("1"));
        added.push("`resolver = \"1\"`, which it has had".to_owned());
    }
    if with_settings(&mut manifest)? {
        added.push("settings by which the library is fast".to_owned());
    }
    Some((manifest.to_string(), added))
}

/// Adds the settings that are not there for the packages that need some, in the form that the table has. True where there were any.
fn with_settings(manifest: &mut DocumentMut) -> Option<bool> {
    let settings: DocumentMut = WORKSPACE.parse().ok()?;
    let mut some = false;
    for (package, wanted) in settings["profile"]["dev"]["package"].as_table()?.iter().filter(|(package, _)| *package != "*") {
        let mut at: &mut dyn TableLike = manifest.as_table_mut();
        let mut is_inline = false;
        for key in ["profile", "dev", "package"] {
            if !at.contains_key(key) {
                let mut implicit = Table::new();
                implicit.set_implicit(true);
                at.insert(key, Item::Table(implicit));
            }
            let item = at.get_mut(key)?;
            is_inline |= item.is_inline_table();
            at = item.as_table_like_mut()?;
        }
        if at.contains_key(package) {
            continue;
        }
        if is_inline {
            at.insert(package, value(wanted.as_table()?.clone().into_inline_table()));
        } else {
            let mut table = wanted.as_table()?.clone();
            table.set_position(None);
            table.decor_mut().set_prefix(if some {
                "\n"
            } else {
                "\n# The library reads, hashes and unpacks much: optimised also in builds for development.\n"
            });
            at.insert(package, Item::Table(table));
        }
        some = true;
    }
    Some(some)
}

fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Array {
    values.into_iter().collect()
}

/// Puts a text in front of a list, written as its first entry is: on a line of its own where that has one. Behind the last one it would
/// come between that one and the comment behind it.
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

/// What makes `cargo xtask` of the program, as this repository has it.
const CONFIG: &str = include_str!("cargo-config.toml");

/// Who answers to `cargo NAME` already.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// Nobody.
    Nobody,
    /// A crate of that name.
    Crate,
    /// Something else: this.
    Other(String),
}

/// Who answers to `cargo NAME` by these settings.
pub(super) fn answers(existing: Option<&str>, name: &str) -> Answers {
    let settings = existing.and_then(|text| text.parse::<toml::Table>().ok());
    let Some(alias) = settings.as_ref().and_then(|settings| settings.get("alias")?.get(name)) else { return Answers::Nobody };
    let words: Vec<&str> = match alias {
        toml::Value::String(text) => text.split_whitespace().into_vec(),
        toml::Value::Array(words) => words.iter().filter_map(toml::Value::as_str).into_vec(),
        _ => Vec::new(),
    };
    let names = |pair: &[&str]| matches!(pair, ["--package" | "-p", package] if *package == name);
    let joined = words.iter().any(|word| word.strip_prefix("--package=") == Some(name) || word.strip_prefix("-p") == Some(name));
    if joined || words.windows(2).any(names) { Answers::Crate } else { Answers::Other(words.join(" ")) }
}

/// The folder that crates are vendored in, where cargo takes them from there alone.
pub(super) fn vendored(settings: &str) -> Option<String> {
    let settings: toml::Table = settings.parse().ok()?;
    let sources = settings.get("source")?;
    let other = sources.get("crates-io")?.get("replace-with")?.as_str()?;
    sources.get(other)?.get("directory")?.as_str().map(str::to_owned)
}

/// Cargo's settings, with the alias; one that is there stays as it is. Where cargo `crosses`, crates are built for another machine than this one,
/// which runs the program.
pub(super) fn alias(existing: Option<&str>, name: &str, crosses: bool) -> Change {
    let here = if crosses { "--target host-tuple " } else { "" };
    let config =
        CONFIG.replace("--package xtask", &format!("{here}--package {name}")).replace("\nxtask =", &format!("\n{name} ="));
    let Some(text) = existing else { return Change::Write(config) };
    if answers(existing, name) != Answers::Nobody {
        return Change::Keep;
    }
    let edited = || -> Option<String> {
        let mut settings: DocumentMut = text.parse().ok()?;
        let ours: DocumentMut = config.parse().ok()?;
        let (key, command) = ours["alias"].as_table()?.get_key_value(name)?;
        // With its comment, and quoted as it is here.
        settings.entry("alias").or_insert(Item::Table(Table::new())).as_table_mut()?.insert_formatted(key, command.clone());
        Some(settings.to_string())
    };
    match edited() {
        Some(edited) => Change::Add(edited, format!("the alias `{name}`")),
        None => Change::ByHand(format!("add to it:\n{}", config.trim_end())),
    }
}

/// Git's ignore file, with Cargo's folder, in which all of our state lies too.
pub(super) fn ignored(existing: Option<&str>) -> Change {
    let Some(text) = existing else { return Change::Write("/target/\n".to_owned()) };
    let is_there = text.lines().any(|line| line.trim().trim_start_matches("**/").trim_matches('/') == "target");
    if is_there { Change::Keep } else { Change::Add(ended(text) + "/target/\n", "`/target/`".to_owned()) }
}

/// The text with a line end at its end.
pub(super) fn ended(text: &str) -> String {
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

    fn apart() -> Vec<String> {
        vec!["native".to_owned()]
    }

    #[test]
    fn a_manifest_gets_the_member_and_the_settings_and_keeps_all_else() {
        let Change::Write(fresh) = manifest(None, "xtask", &apart()) else { panic!() };
        assert!(fresh.starts_with("[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\nexclude = [\"native\"]\n"), "{fresh}");
        assert_eq!(manifest(Some(&fresh), "xtask", &apart()), Change::Keep);
        for (members, then) in [
            ("[\n  'a', # first\n]", "[\n  \"xtask\",\n  'a', # first\n]"),
            ("['a']", "[\"xtask\", 'a']"),
            ("[ 'a', 'b' ]", "[ \"xtask\", 'a', 'b' ]"),
            ("[]", "[\"xtask\"]"),
            ("[ # ours\n  'a',\n]", "[ # ours\n  \"xtask\",\n  'a',\n]"),
        ] {
            let text = format!(
                "# mine\n[workspace]\nmembers = {members}\nexclude = ['z']\nresolver = '2'\n\n[profile.dev]\nopt-level = 1\n"
            );
            let edited = added(manifest(Some(&text), "xtask", &apart()));
            assert!(edited.contains("exclude = ['z']\nresolver = '2'\n\n[profile.dev]\nopt-level = 1\n"), "{edited}");
            assert!(edited.starts_with(&format!("# mine\n[workspace]\nmembers = {then}\n")), "{edited}");
            assert_eq!(manifest(Some(&edited), "xtask", &apart()), Change::Keep);
        }
    }

    #[test]
    fn a_package_at_the_root_becomes_a_workspace_that_leaves_the_others_alone() {
        let edited = added(manifest(Some("[package]\nname = 'x'"), "xtask", &apart()));
        assert!(
            edited.starts_with("[package]\nname = 'x'\n\n[workspace]\nmembers = [\"xtask\"]\nexclude = [\"native\"]\n"),
            "{edited}"
        );
        assert_eq!(manifest(Some(&edited), "xtask", &apart()), Change::Keep);
        assert!(matches!(manifest(Some("[workspace"), "xtask", &apart()), Change::ByHand(_)));
        assert!(matches!(manifest(Some("workspace = 1"), "xtask", &apart()), Change::ByHand(_)));
        assert!(matches!(manifest(Some("[workspace]\nmembers = 'a'\n"), "xtask", &apart()), Change::ByHand(_)));
        for (before, after) in [
            ("workspace = { members = ['a'], resolver = '2' }\n", "workspace = { members = [\"xtask\", 'a'], resolver = '2' }\n"),
            ("[workspace]\nresolver = '2'\n", "[workspace]\nresolver = '2'\nmembers = [\"xtask\"]\n"),
            ("# members = [\n[workspace]\nmembers = ['a']\n", "# members = [\n[workspace]\nmembers = [\"xtask\", 'a']\n"),
            (
                "[workspace]\ndefault-members = ['a']\nmembers = ['a']\n",
                "[workspace]\ndefault-members = ['a']\nmembers = [\"xtask\", 'a']\n",
            ),
        ] {
            let edited = added(manifest(Some(before), "xtask", &apart()));
            assert!(edited.starts_with(after), "{edited}");
        }
    }

    #[test]
    fn settings_that_somebody_chose_for_a_package_stay() {
        let text = "[workspace]\nmembers = ['xtask']\n\n[profile.dev.package.memchr]\nopt-level = 2\n";
        let edited = added(manifest(Some(text), "xtask", &[]));
        let read: toml::Table = edited.parse().unwrap();
        let package = &read["profile"]["dev"]["package"];
        let level = |name: &str| package[name]["opt-level"].as_integer();
        assert_eq!((level("memchr"), level("flate2")), (Some(2), Some(1)));
        assert!(package.get("*").is_none(), "their other dependencies are theirs: {edited}");
    }

    #[test]
    fn a_profile_in_any_form_gets_what_the_library_needs() {
        for profile in [
            "[profile.dev]\npackage = { memchr = { opt-level = 2 } }\n",
            "[profile]\ndev = { opt-level = 1, package.memchr.opt-level = 2 }\n",
            "[profile]\ndev.package.memchr = { opt-level = 2 }\n",
        ] {
            let text = format!("[workspace]\nresolver = '2'\nmembers = ['xtask']\n{profile}");
            let edited = added(manifest(Some(&text), "xtask", &[]));
            let read: toml::Table = edited.parse().unwrap_or_else(|error| panic!("{error}: {edited}"));
            let level = |name: &str| read["profile"]["dev"]["package"][name]["opt-level"].as_integer();
            assert_eq!((level("memchr"), level("flate2")), (Some(2), Some(1)), "{edited}");
            assert_eq!(manifest(Some(&edited), "xtask", &[]), Change::Keep);
        }
    }

    #[test]
    fn a_virtual_workspace_keeps_the_resolver_that_it_has_and_a_package_that_of_its_edition() {
        let resolver = |text: &str| {
            let edited: toml::Table = added(manifest(Some(text), "xtask", &[])).parse().unwrap();
            edited["workspace"].get("resolver").and_then(|resolver| resolver.as_str()).map(str::to_owned)
        };
        assert_eq!(resolver("[workspace]\nmembers = ['a']\n").as_deref(), Some("1"));
        assert_eq!(resolver("[workspace]\nmembers = ['a']\nresolver = '2'\n").as_deref(), Some("2"));
        assert_eq!(resolver("[package]\nname = 'x'\n[workspace]\n"), None);
    }

    #[test]
    fn where_crates_are_built_for_another_machine_the_program_is_built_for_this_one() {
        let other = added(alias(Some("[build]\ntarget = \"wasm32-unknown-unknown\"\n"), "ship", true));
        assert!(other.contains(" --target host-tuple --package ship --\""), "{other}");
        assert_eq!(answers(Some(&other), "ship"), Answers::Crate);
        let Change::Write(fresh) = alias(None, "xtask", true) else { panic!() };
        assert!(fresh.contains(" --target host-tuple --package xtask --\""), "{fresh}");
    }

    #[test]
    fn the_folder_of_vendored_crates_is_known() {
        let replaced = |with: &str| vendored(&format!("[source.crates-io]\nreplace-with = 'x'\n[source.x]\n{with} = 'v'\n"));
        assert_eq!(replaced("directory").as_deref(), Some("v"));
        assert_eq!(replaced("registry"), None);
    }

    #[test]
    fn cargos_settings_get_the_alias_once_and_keep_one_that_is_there() {
        let Change::Write(fresh) = alias(None, "xtask", false) else { panic!() };
        assert_eq!(alias(Some(&fresh), "xtask", false), Change::Keep);
        let build = added(alias(Some("[build]\njobs = 2 # two\n"), "xtask", false));
        assert_eq!(build, format!("[build]\njobs = 2 # two\n\n{fresh}"));
        assert_eq!(alias(Some(&build), "xtask", false), Change::Keep);
        let other = added(alias(Some("[alias]\nb = \"build\" # mine\n"), "ship", false));
        assert!(other.starts_with("[alias]\nb = \"build\" # mine\n"), "{other}");
        assert_eq!(answers(Some(&other), "ship"), Answers::Crate);
        assert!(matches!(alias(Some("[alias"), "xtask", false), Change::ByHand(_)));
    }

    #[test]
    fn who_answers_to_the_alias_is_known() {
        for ours in
            ["xtask = \"run --package xtask --\"", "xtask = ['run', '-p', 'xtask', '--']", "xtask = 'run --package=xtask --'"]
        {
            assert_eq!(answers(Some(&format!("[alias]\n{ours}\n")), "xtask"), Answers::Crate, "{ours}");
        }
        assert_eq!(answers(Some("[alias]\nxtask = 'run -p tools --'\n"), "xtask"), Answers::Other("run -p tools --".to_owned()));
        assert_eq!(answers(Some("[build]\n"), "xtask"), Answers::Nobody);
        assert_eq!(answers(None, "xtask"), Answers::Nobody);
    }

    #[test]
    fn target_is_ignored_at_the_root_however_it_is_written() {
        for there in ["target\n", "/target/\n", "a\n/target\n", "**/target\n"] {
            assert_eq!(ignored(Some(there)), Change::Keep, "{there}");
        }
        assert_eq!(added(ignored(Some("node_modules"))), "node_modules\n/target/\n");
    }
}
