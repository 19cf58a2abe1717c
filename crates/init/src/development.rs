//! What a service needs of its development to run: their dependencies where its compiled sources import them, `tsx` where Node does not run what
//! a compiler makes.

use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use monoship_workspace::tools::{imported_values, scripts};
use monoship_workspace::{PackageId, Workspace, compiled};

use super::kind::{Kind, Known};
use super::start::Start;

/// Programs that put what a service imports into what they make.
const BUNDLERS: [&str; 9] = ["vite", "webpack", "rollup", "esbuild", "tsup", "tsdown", "unbuild", "ncc", "react-router"];

/// A service with what it needs so.
pub(super) fn needed(known: Known, workspace: &Workspace, dir: &str, manifest: &Value) -> Known {
    let known =
        with_peers(with_all(as_developed(known, workspace, dir, manifest), workspace, dir, manifest), workspace, dir, manifest);
    let note = known
        .note
        .clone()
        .or_else(|| reads_manager(workspace, dir).filter(|_| matches!(known.kind, Kind::Node | Kind::Development)));
    Known { note, ..known }
}

/// What is to be known where sources read a variable that a package manager sets: CMD starts the program itself.
fn reads_manager(workspace: &Workspace, dir: &str) -> Option<String> {
    let mut found = None;
    scripts(workspace, dir, &mut |text| {
        found = text.split_once("process.env.npm_package_").map(|(_, rest)| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        found.is_none()
    });
    found.map(|name| {
        format!("its sources read `npm_package_{name}`, which pnpm sets and an image, where Node starts it, does not have: read package.json instead")
    })
}

/// The same with all dependencies in its image where a package of the workspace that it imports has a peer for developing alone: pnpm's
/// production install gives it none, and Node looks for one from that package's own folder.
fn with_peers(known: Known, workspace: &Workspace, dir: &str, manifest: &Value) -> Known {
    let build = manifest["scripts"]["build"].as_str().unwrap_or_default();
    if known.kind != Kind::Node || BUNDLERS.iter().any(|tool| build.contains(tool)) {
        return known;
    }
    let mut open: Vec<PackageId> = workspace.by_dir(dir).into_iter().into_vec();
    let mut seen = SortedSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let package = workspace.package(id);
        let is_for_running = |name: &str| package.manifest.all_dependencies().any(|(other, _, is_dev)| other == name && !is_dev);
        let all = package.manifest.all_dependencies().map(|(name, ..)| name);
        let peers: Vec<&str> = all.filter(|name| package.manifest.has_peer(name) && !is_for_running(name)).into_vec();
        if let Some(peer) = imported_values(workspace, &package.dir, &peers).into_iter().next().filter(|_| package.dir != dir) {
            let name = package.manifest.name.as_deref().unwrap_or(&package.dir);
            let note = format!(
                "`{name}`, which it imports, has its peer `{peer}` for developing alone: the image gets all development dependencies; \
                 name `{peer}` in the `dependencies` of {} too",
                package.path("package.json")
            );
            return Known { kind: Kind::Development, note: Some(note), ..known };
        }
        let others = package.manifest.all_dependencies().map(|(name, ..)| name).filter(|name| is_for_running(name));
        let others: Vec<&str> = others.filter(|name| workspace.by_name(name).is_some()).into_vec();
        open.extend(imported_values(workspace, &package.dir, &others).iter().filter_map(|name| workspace.by_name(name)));
    }
    known
}

/// The same with all dependencies in its image where its compiled sources import development ones: no bundler puts those into what is made.
fn with_all(known: Known, workspace: &Workspace, dir: &str, manifest: &Value) -> Known {
    const TESTS: [&str; 17] = [
        "@types/",
        "@testing-library/",
        "@nestjs/testing",
        "@faker-js/",
        "@suites/",
        "chai",
        "vitest",
        "jest",
        "supertest",
        "mongodb-memory-server",
        "msw",
        "nock",
        "sinon",
        "playwright",
        "@playwright/",
        "eslint",
        "typescript",
    ];
    let build = manifest["scripts"]["build"].as_str().unwrap_or_default();
    let compiles = build.is_empty() || ["tsc", "nest build", "swc", "babel"].iter().any(|tool| build.contains(tool));
    if known.kind != Kind::Node || !compiles || BUNDLERS.iter().any(|tool| build.contains(tool)) {
        return known;
    }
    let own = manifest["devDependencies"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let names: Vec<&str> = own
        .filter(|name| manifest["dependencies"].get(name).is_none() && !TESTS.iter().any(|test| name.starts_with(test)))
        .into_vec();
    match imported_values(workspace, &format!("{dir}/src"), &names).into_iter().next() {
        Some(name) => {
            let note = format!(
                "its sources import `{name}`, a development dependency: the image gets all of them; move it to `dependencies`"
            );
            Known { kind: Kind::Development, note: Some(note), ..known }
        }
        None => known,
    }
}

/// The same started by `tsx`, where Node does not run what the compiler makes of it. Without `tsx`, that is only said.
fn as_developed(known: Known, workspace: &Workspace, dir: &str, manifest: &Value) -> Known {
    const OTHERS: [&str; 14] = [
        "alias",
        "tspath",
        "resolve-tspaths",
        "tsconfig-",
        "esm-fix",
        "fix-esm",
        "swc",
        "babel",
        "nest",
        "esbuild",
        "vite",
        "webpack",
        "rollup",
        "ncc",
    ];
    let build = manifest["scripts"]["build"].as_str().unwrap_or_default();
    let calls = |tool: &str| build.split_whitespace().any(|word| word == tool);
    // These leave `dependencies` where they are, unless their settings say which to take in.
    let bundler = ["tsup", "tsdown"].into_iter().find(|tool| calls(tool));
    let resolves = ["--import", "--loader", "--require", "\"-r\"", "tsx"].iter().any(|word| known.command.contains(word));
    let others = OTHERS.iter().any(|other| build.contains(other));
    if known.kind != Kind::Node || resolves || others || !known.command.starts_with("[\"node\"") {
        return known;
    }
    let Some(id) = workspace.by_dir(dir) else { return known };
    let why = match bundler {
        Some(tool) if !takes_in(workspace, dir, tool, build, manifest) => compiled::unreadable_dependency(workspace, id),
        None if calls("tsc") => compiled::unreadable(workspace, id),
        _ => None,
    };
    let Some(why) = why else { return known };
    let Some(start) = Start::by_tsx(manifest) else {
        let mend = "take it in by a bundler (`noExternal`), let `tsc-alias` rewrite it, or start it by `tsx`";
        let note = format!("{why}: what its build makes will not start; {mend}");
        return Known { note: Some(note), ..known };
    };
    let (kind, with) = if start.tool.is_some() {
        (Kind::Development, ", and the image gets the development dependencies too")
    } else {
        (Kind::Node, "")
    };
    let note = format!("{why}: it is started by `tsx`, as in script `{}`{with}", start.script.as_deref().unwrap_or_default());
    Known {
        kind,
        why: format!("script `{}`: {}", start.script.as_deref().unwrap_or_default(), start.run),
        command: start.command,
        note: Some(note),
        ..known
    }
}

/// True where a bundler is told to take dependencies in.
fn takes_in(workspace: &Workspace, dir: &str, tool: &str, build: &str, manifest: &Value) -> bool {
    let files = ["ts", "mts", "js", "mjs", "cjs", "json"].map(|ending| format!("{dir}/{tool}.config.{ending}"));
    let settings = files.iter().find_map(|file| workspace.contents().text(file)).unwrap_or_default();
    let own = manifest[tool].to_string();
    ["noExternal", "no-external", "alwaysBundle", "bundle-all"]
        .iter()
        .any(|word| [build, &settings, &own].iter().any(|text| text.contains(word)))
}

#[cfg(test)]
mod tests {
    use crate::services::services;
    use crate::written::workspace;

    #[test]
    fn what_node_does_not_run_is_started_by_tsx_where_its_developers_have_that() {
        let of = |build: &str, field: &str| {
            let manifest = serde_json::json!({
                "type": "module",
                "scripts": {"build": build, "start": "node dist/index.js", "dev": "tsx watch src/index.ts"},
                field: {"tsx": "4"},
            });
            let files = [
                ("package.json", "{}".to_owned()),
                ("pnpm-workspace.yaml", "packages: ['apps/*']\n".to_owned()),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
                ("apps/api/package.json", manifest.to_string()),
                ("apps/api/src/index.ts", "import { env } from './env'\n".to_owned()),
            ];
            let (_dir, workspace) = workspace(&files);
            let found = services(&workspace, &[], &[]).unwrap().services;
            (found[0].why.clone(), found[0].note.clone().unwrap_or_default())
        };
        let (why, note) = of("tsc -p .", "devDependencies");
        assert_eq!(why, "script `dev`: tsx watch src/index.ts");
        assert!(note.contains("`./env` without an ending") && note.contains("development dependencies"), "{note}");
        let (why, note) = of("tsc", "optionalDependencies");
        assert!(why.starts_with("script `start`") && note.contains("will not start"), "{why} {note}");
        for build in ["tsup", "tsc && tsc-alias"] {
            assert_eq!(of(build, "devDependencies"), ("script `start`: node dist/index.js".to_owned(), String::new()), "{build}");
        }
    }

    #[test]
    fn what_a_package_manager_sets_is_said_to_be_missing() {
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("apps/api/package.json", r#"{"scripts": {"start": "node a.js"}}"#),
            ("apps/api/a.js", "console.log(process.env.npm_package_version)\n"),
        ];
        let (_dir, workspace) = workspace(&files);
        let found = services(&workspace, &[], &[]).unwrap().services;
        let note = found[0].note.clone().unwrap_or_default();
        assert!(note.starts_with("its sources read `npm_package_version`, which pnpm sets"), "{note}");
    }

    #[test]
    fn a_bundler_that_leaves_a_package_of_typescript_out_makes_what_node_does_not_run() {
        let of = |settings: &str, field: &str| {
            let manifest = serde_json::json!({
                "scripts": {"build": "tsup", "start": "node dist/index.js", "dev": "tsx watch src/index.ts"},
                "devDependencies": {"tsx": "4"}, field: {"@a/db": "workspace:*"},
            });
            let files = [
                ("package.json", "{}".to_owned()),
                ("pnpm-workspace.yaml", "packages: ['apps/*', 'packages/*']\n".to_owned()),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
                ("apps/api/package.json", manifest.to_string()),
                ("apps/api/src/index.ts", "import { db } from '@a/db'\n".to_owned()),
                ("apps/api/tsup.config.ts", settings.to_owned()),
                ("packages/db/package.json", "{\"name\": \"@a/db\", \"exports\": {\".\": \"./index.ts\"}}".to_owned()),
                ("packages/db/index.ts", "export * from './client'\n".to_owned()),
            ];
            let (_dir, workspace) = workspace(&files);
            services(&workspace, &[], &[]).unwrap().services[0].why.clone()
        };
        assert_eq!(of("", "dependencies"), "script `dev`: tsx watch src/index.ts");
        assert_eq!(of("noExternal: [/@a/]", "dependencies"), "script `start`: node dist/index.js");
        assert_eq!(of("", "optionalDependencies"), "script `dev`: tsx watch src/index.ts");
        assert_eq!(of("", "peerDependencies"), "script `start`: node dist/index.js");
    }

    #[test]
    fn a_peer_that_a_library_has_for_developing_alone_brings_all_dependencies() {
        let of = |library: serde_json::Value, build: &str| {
            let manifest = serde_json::json!({
                "scripts": {"build": build, "start": "node dist/main"}, "dependencies": {"@a/ui": "workspace:*", "react": "19"},
            });
            let files = [
                ("package.json", "{}".to_owned()),
                ("pnpm-workspace.yaml", "packages: ['apps/*', 'libs/*']\n".to_owned()),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
                ("apps/site/package.json", manifest.to_string()),
                ("apps/site/src/main.ts", "import { Button } from '@a/ui'\n".to_owned()),
                ("libs/ui/package.json", library.to_string()),
                ("libs/ui/src/index.ts", "import { useState } from 'react'\n".to_owned()),
            ];
            let (_dir, workspace) = workspace(&files);
            services(&workspace, &[], &[]).unwrap().services[0].note.clone().unwrap_or_default()
        };
        let library = |field: &str| serde_json::json!({"name": "@a/ui", "main": "dist/index.js", "peerDependencies": {"react": "19"}, field: {"react": "19"}});
        let note = of(library("devDependencies"), "tsc");
        assert!(
            note.contains("`@a/ui`, which it imports, has its peer `react`") && note.contains("libs/ui/package.json"),
            "{note}"
        );
        for (field, build) in [("dependencies", "tsc"), ("none", "tsc"), ("devDependencies", "vite build --ssr")] {
            assert_eq!(of(library(field), build), "", "{field} {build}");
        }
    }

    #[test]
    fn a_library_that_two_others_import_keeps_none_from_being_looked_at() {
        let library = |name: &str, more: serde_json::Value| {
            let mut manifest = serde_json::json!({"name": name, "main": "index.js"});
            manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            manifest.to_string()
        };
        let all = serde_json::json!({"@a/a": "workspace:*", "@a/m": "workspace:*", "@a/z": "workspace:*"});
        let files = [
            ("package.json", "{}".to_owned()),
            ("pnpm-workspace.yaml", "packages: ['apps/*', 'libs/*']\n".to_owned()),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n".to_owned()),
            (
                "apps/site/package.json",
                serde_json::json!({"scripts": {"start": "node src/main.js"}, "dependencies": all}).to_string(),
            ),
            ("apps/site/src/main.js", "import a from '@a/a'\nimport m from '@a/m'\nimport z from '@a/z'\n".to_owned()),
            (
                "libs/a/package.json",
                library("@a/a", serde_json::json!({"peerDependencies": {"react": "19"}, "devDependencies": {"react": "19"}})),
            ),
            ("libs/a/index.js", "import { useState } from 'react'\n".to_owned()),
            ("libs/m/package.json", library("@a/m", serde_json::json!({}))),
            ("libs/z/package.json", library("@a/z", serde_json::json!({"dependencies": {"@a/m": "workspace:*"}}))),
            ("libs/z/index.js", "import m from '@a/m'\n".to_owned()),
        ];
        let (_dir, workspace) = workspace(&files);
        let note = services(&workspace, &[], &[]).unwrap().services[0].note.clone().unwrap_or_default();
        assert!(note.contains("`@a/a`, which it imports, has its peer `react`"), "{note}");
    }
}
