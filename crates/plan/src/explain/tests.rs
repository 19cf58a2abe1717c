//! Every reason as a person reads it, as data, and the verdicts on a change.

use super::*;
use crate::affected::{Affected, Verdict, affected};
use crate::fingerprint::SCHEMA;

fn steps(steps: &[(&str, usize)]) -> StageInput {
    StageInput {
        steps: steps.iter().map(|(text, _)| (*text).to_owned()).collect(),
        lines: steps.iter().map(|(_, line)| *line).collect(),
    }
}

fn part(kind: Kind, entries: &[(&str, &str)]) -> Part {
    Part::new(kind, entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn named<V: Clone>(pairs: &[(&str, V)]) -> SortedMap<String, V> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn base() -> Inputs {
    let sources = named(&[
        ("@x/api", part(Kind::Files, &[("apps/api/package.json", "1"), ("apps/api/src/x.ts", "1")])),
        ("lock", part(Kind::Lock, &[("zod@3.22.0", "h"), ("@a/b@1.0.0(react@18.0.0)", "h"), ("same@1.0.0", "h")])),
        ("workspace", part(Kind::Settings, &[("overrides", "h")])),
    ]);
    let manifests = named(&[("files", part(Kind::Files, &[("apps/api/package.json", "1")]))]);
    Inputs {
        schema: SCHEMA,
        target: "api".into(),
        syntax: None,
        stages: named(&[("api", steps(&[("f", 30), ("a", 31)])), ("api-build", steps(&[("f", 40), ("a", 41), ("b", 44)]))]),
        contexts: named(&[("sources", sources), ("manifests", manifests)]),
        main: None,
        addresses: SortedMap::new(),
        bases: SortedMap::from([("node:24".parse().unwrap(), format!("sha256:{}", "a".repeat(64)))]),
        arguments: named(&[("MODE", "h".to_owned())]),
        platforms: ["linux/amd64".parse().unwrap()].into(),
        settings: named(&[("compression", "zstd".to_owned())]),
    }
}

fn said(change: impl FnOnce(&mut Inputs)) -> Vec<String> {
    let (before, mut after) = (base(), base());
    change(&mut after);
    let reasons = explain(&before, &after);
    assert_eq!(before.fingerprint() == after.fingerprint(), reasons.is_empty());
    reasons.iter().map(ToString::to_string).collect()
}

#[test]
fn each_kind_of_change_reads_as_a_person_would_say_it() {
    let sources = |inputs: &mut Inputs, name: &str, part: Part| {
        inputs.contexts.get_mut("sources").unwrap().insert(name.to_owned(), part);
    };
    assert_eq!(said(|_| ()), [""; 0]);
    let edited = part(Kind::Files, &[("apps/api/package.json", "2"), ("apps/api/src/y.ts", "1")]);
    assert_eq!(
        said(|i| {
            sources(i, "@x/api", edited);
            i.contexts.insert("manifests".into(), named(&[("files", part(Kind::Files, &[("apps/api/package.json", "3")]))]));
        }),
        ["file apps/api/package.json changed", "file apps/api/src/x.ts removed", "file apps/api/src/y.ts added"]
    );
    assert_eq!(said(|i| sources(i, "@x/y", part(Kind::Files, &[("packages/y/a", "1")]))), ["package @x/y added"]);
    let lock =
        part(Kind::Lock, &[("zod@3.23.1", "h"), ("@a/b@1.0.0(react@19.0.0)", "h"), ("same@1.0.0", "other"), ("new@2.0.0", "h")]);
    assert_eq!(
        said(|i| sources(i, "lock", lock)),
        ["new 2.0.0 added", "zod 3.22.0 → 3.23.1", "@a/b 1.0.0 changed in the lock", "same 1.0.0 changed in the lock"]
    );
    assert_eq!(said(|i| sources(i, "workspace", part(Kind::Settings, &[]))), ["setting overrides removed"]);
    assert_eq!(
        said(|i| i.stages.get_mut("api-build").unwrap().steps[1] = "z".into()),
        ["stage api-build changed (Dockerfile line 41)"]
    );
    assert_eq!(
        said(|i| drop(i.stages.get_mut("api-build").unwrap().steps.pop())),
        ["stage api-build changed (Dockerfile line 44)"]
    );
    assert_eq!(said(|i| drop(i.stages.remove("api"))), ["stage api removed"]);
    assert_eq!(
        said(|i| i.bases = SortedMap::from([("node:24".parse().unwrap(), format!("sha256:{}", "b".repeat(64)))])),
        ["base node:24 moved sha256:aaaaaaaaaaaa… → sha256:bbbbbbbbbbbb…"]
    );
    assert_eq!(
        said(|i| i.bases = SortedMap::from([("node:24".parse().unwrap(), format!("stand-in sha256:{}", "b".repeat(64)))])),
        ["base node:24 moved sha256:aaaaaaaaaaaa… → stand-in sha256:bbbbbbbbbbbb…"]
    );
    assert_eq!(said(|i| drop(i.arguments.insert("NEW".into(), "h".into()))), ["build argument NEW added"]);
    assert_eq!(said(|i| i.platforms.extend("linux/arm64".parse())), ["platform linux/arm64 added"]);
    assert_eq!(said(|i| drop(i.settings.insert("compression".into(), "gzip".into()))), ["setting compression changed"]);
    let put = |i: &mut Inputs, output: &str| drop(i.settings.insert("output".into(), output.into()));
    assert_eq!(
        said(|i| i.settings.extend([("output".into(), "type=oci".into())])),
        ["put to type=oci, and the last build to nowhere"]
    );
    assert_eq!(
        said(|i| {
            put(i, "registry zstd");
            i.target = "web".into();
        }),
        ["target api → web"],
        "where it is put says nothing beside what is in it"
    );
    assert_eq!(said(|i| i.target = "web".into()), ["target api → web"]);
    assert_eq!(said(|i| i.syntax = Some("docker/dockerfile:1".into())), ["Dockerfile syntax none → docker/dockerfile:1"]);
    assert_eq!(said(|i| i.main = Some(part(Kind::Files, &[("a", "1")]))), ["file a added"]);
    assert_eq!(said(|i| drop(i.contexts.remove("manifests"))), ["build context manifests removed"]);
    assert_eq!(said(|i| i.schema += 1), ["the record of its last build is of another version"]);
}

#[test]
fn a_name_from_outside_makes_no_line_of_its_own() {
    let reason = Reason::File { path: "a\n::error::\u{1b}[31mb".into(), change: Change::Added };
    assert_eq!(reason.to_string(), r"file a\n::error::\u{1b}[31mb added");
}

#[test]
fn reasons_are_stable_as_json_and_short_on_one_line() {
    let reasons = [
        Reason::NeverBuilt,
        Reason::ImageGone { place: "the engine".into() },
        Reason::Lock { name: "zod".into(), before: Some("3.22.0".into()), after: None },
        Reason::Stage { name: "api".into(), change: Change::Changed, line: Some(4) },
    ];
    let json = serde_json::to_string(&reasons).unwrap();
    assert_eq!(
        json,
        r#"[{"reason":"never-built"},{"reason":"image-gone","place":"the engine"},{"reason":"lock","name":"zod","before":"3.22.0","after":null},{"reason":"stage","name":"api","change":"changed","line":4}]"#
    );
    assert_eq!(serde_json::from_str::<Vec<Reason>>(&json).unwrap(), reasons);
    assert_eq!(summary(&reasons, 2), "never built here; image is gone from the engine; and 2 more");
    assert_eq!(summary(&reasons[2..3], 2), "zod 3.22.0 removed");
}

#[test]
fn a_renamed_service_is_a_new_and_a_deleted_one() {
    let name = |text: &str| text.parse::<monoship_core::name::ServiceName>().unwrap();
    let mut changed = base();
    changed.arguments = SortedMap::new();
    let before = SortedMap::from([(name("api"), base()), (name("old"), base()), (name("web"), base())]);
    let after = SortedMap::from([(name("api"), base()), (name("new"), base()), (name("web"), changed)]);
    let verdicts = affected(&before, &after);
    assert_eq!(verdicts[&name("api")], Verdict::Unchanged);
    assert_eq!(verdicts[&name("old")], Verdict::Deleted);
    assert_eq!(verdicts[&name("new")], Verdict::New);
    let reasons = vec![Reason::Argument { name: "MODE".into(), change: Change::Removed }];
    assert_eq!(verdicts[&name("web")], Verdict::Changed { reasons });
    let affected = Affected { commit: "0123456789abcdef".into(), verdicts };
    let reasons = ["api", "new", "old", "web"].map(|service| affected.reasons(&name(service)).map(|r| summary(&r, 2)));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(reasons, [None, some("new since 0123456789ab"), None, some("build argument MODE removed")]);
    assert!(affected.unaffected().eq([&name("api")]) && affected.deleted().eq([&name("old")]));
}
