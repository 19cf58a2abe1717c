//! One edit at a time, and the steps that take it in.

use std::path::Path;

use super::*;
use crate::fingerprint::{Facts, Parts};
use crate::part::{Kind, MainContext};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::dockerfile::{Dockerfile, SliceRequest};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{File, Tree};
use monoship_workspace::sent::Sent;

const DOCKERFILE: &str = "\
FROM node:24 AS base
ENV MODE=x
WORKDIR /app
RUN setup

FROM scratch AS sources
COPY . /

FROM base AS api-build
ARG LEVEL=1
RUN --mount=type=bind,from=manifests,target=/m install
RUN --mount=type=bind,from=sources,target=/s build
COPY packages/x /x

FROM scratch AS end
COPY --from=api-build /out /
";

/// What can be edited.
struct Given<'g> {
    dockerfile: &'g str,
    manifest: &'g str,
    source: &'g str,
    main: &'g str,
    level: &'g str,
    pin: &'g str,
}

const GIVEN: Given<'_> = Given { dockerfile: DOCKERFILE, manifest: "1", source: "1", main: "1", level: "1", pin: "1" };

fn id(digit: &str) -> String {
    digit.repeat(40)
}

fn part(path: &str, digit: &str) -> Parts {
    Parts::from([("x".to_owned(), Part::files(&[File::new(path, false, &id(digit)).unwrap()]))])
}

/// The steps that differ between what is given and [`GIVEN`], as `stage number: reasons`.
fn changed(given: &Given<'_>) -> Vec<String> {
    let made = |given: &Given<'_>, then: Option<&Inputs>| {
        let file = Dockerfile::parse(Path::new("Dockerfile"), given.dockerfile).unwrap();
        let contexts = SortedMap::from([
            ("manifests".to_owned(), part("package.json", given.manifest)),
            ("sources".to_owned(), part("apps/api/a.ts", given.source)),
        ]);
        let args = SortedMap::from([("LEVEL".to_owned(), given.level.to_owned()), ("UNUSED".to_owned(), "1".to_owned())]);
        let names: SortedSet<String> = contexts.keys().cloned().collect();
        let slice =
            file.slice(&SliceRequest { target: "end", contexts: &names, args: &args, platforms: &[], own: None }).unwrap();
        let files = ["packages/x/b.ts", "packages/y/c.ts"].map(|path| File::new(path, false, &id(given.main)).unwrap());
        let (tree, ignore) = (Tree::from_files(files.to_vec()), Ignore::default());
        let inputs = Inputs::new(&Facts {
            target: "end",
            slice: &slice,
            contexts: &contexts,
            main: &MainContext::new(&Sent::of_tree(&tree, &ignore)),
            args: &args,
            pin: &|_| Some(given.pin.to_owned()),
            syntax: None,
            addresses: &SortedMap::new(),
            platforms: &[],
            settings: &SortedMap::from([("output".to_owned(), given.pin.to_owned())]),
        })
        .unwrap();
        let found = then.map(|then| changes(&slice, then, &inputs)).unwrap_or_default();
        (inputs, found)
    };
    let (before, _) = made(&GIVEN, None);
    let (_, found) = made(given, Some(&before));
    let shown = found.iter().map(|step| {
        let reasons = step.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("{} {}: {reasons}", step.stage.as_deref().unwrap_or("-"), step.number)
    });
    shown.collect()
}

#[test]
fn an_edit_is_taken_in_by_the_steps_that_read_it() {
    assert_eq!(changed(&GIVEN), Vec::<String>::new());
    assert_eq!(changed(&Given { manifest: "2", ..GIVEN }), ["api-build 1: file package.json changed"]);
    assert_eq!(changed(&Given { source: "2", ..GIVEN }), ["api-build 2: file apps/api/a.ts changed"]);
    assert_eq!(changed(&Given { main: "2", ..GIVEN }), ["api-build 3: file packages/x/b.ts changed"]);
    let level = changed(&Given { level: "2", ..GIVEN });
    assert_eq!(level, ["1", "2", "3"].map(|n| format!("api-build {n}: build argument LEVEL changed")));
    let pinned = changed(&Given { pin: "2", ..GIVEN });
    assert!(pinned.iter().all(|line| line.ends_with("base node:24 moved 1 → 2")), "{pinned:?}");
    // FROM node:24 is the first of the stage's steps.
    assert!(pinned[0].starts_with("base 2: ") && pinned.len() == 5, "{pinned:?}");
    let edited = DOCKERFILE.replace("RUN setup", "RUN set-up");
    let setup = changed(&Given { dockerfile: &edited, ..GIVEN });
    assert_eq!(setup[0], "base 3: stage base changed (Dockerfile line 4)");
    // An ENV is no step of its own.
    let edited = DOCKERFILE.replace("MODE=x", "MODE=y");
    let mode = changed(&Given { dockerfile: &edited, ..GIVEN });
    assert_eq!(mode[0], "base 2: stage base changed (Dockerfile line 2)");
}

#[test]
fn a_lock_entry_is_taken_in_by_the_install() {
    let lock = |version: &str| Part::new(Kind::Lock, [(format!("zod@{version}"), "h".to_owned())]);
    let file =
        Dockerfile::parse(Path::new("Dockerfile"), "FROM node AS a\nRUN --mount=from=manifests,target=/m install\n").unwrap();
    let (names, args) = (SortedSet::from(["manifests".to_owned()]), SortedMap::new());
    let slice = file.slice(&SliceRequest { target: "a", contexts: &names, args: &args, platforms: &[], own: None }).unwrap();
    let (tree, ignore) = (Tree::default(), Ignore::default());
    let inputs = |version: &str| {
        let contexts = SortedMap::from([("manifests".to_owned(), Parts::from([("lock".to_owned(), lock(version))]))]);
        let sent = Sent::of_tree(&tree, &ignore);
        let main = MainContext::new(&sent);
        let pin = |_: &ImageRef| Some("1".to_owned());
        let facts = Facts {
            target: "a",
            slice: &slice,
            contexts: &contexts,
            main: &main,
            args: &args,
            pin: &pin,
            syntax: None,
            addresses: &SortedMap::new(),
            platforms: &[],
            settings: &args,
        };
        Inputs::new(&facts).unwrap()
    };
    let found = changes(&slice, &inputs("3.22.0"), &inputs("3.23.1"));
    let reasons = vec![Reason::Lock { name: "zod".into(), before: Some("3.22.0".into()), after: Some("3.23.1".into()) }];
    assert_eq!(found, [StepChange { stage: Some("a".into()), number: 2, reasons }]);
}
