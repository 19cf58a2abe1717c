//! What a service needs of its development to run: their dependencies where its compiled sources import them, `tsx` where Node does not run what
//! a compiler makes.

use serde_json::Value;

use monoship_workspace::{Workspace, compiled};

use super::kind::{Kind, Known};
use super::start::Start;

/// A service with what it needs so.
pub(super) fn needed(known: Known, workspace: &Workspace, dir: &str, manifest: &Value) -> Known {
    with_all(as_developed(known, workspace, dir, manifest), workspace, dir, manifest)
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
    const BUNDLERS: [&str; 9] = ["vite", "webpack", "rollup", "esbuild", "tsup", "tsdown", "unbuild", "ncc", "react-router"];
    let build = manifest["scripts"]["build"].as_str().unwrap_or_default();
    let compiles = build.is_empty() || ["tsc", "nest build", "swc", "babel"].iter().any(|tool| build.contains(tool));
    if known.kind != Kind::Node || !compiles || BUNDLERS.iter().any(|tool| build.contains(tool)) {
        return known;
    }
    let own = manifest["devDependencies"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let names: Vec<&str> = own
        .filter(|name| manifest["dependencies"].get(name).is_none() && !TESTS.iter().any(|test| name.starts_with(test)))
        .collect();
    match monoship_workspace::tools::imported_values(workspace, &format!("{dir}/src"), &names).into_iter().next() {
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
}
