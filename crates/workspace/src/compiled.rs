//! What TypeScript's compiler leaves in what it makes and Node does not read: it rewrites no import. A name that only `paths` of the settings
//! give, a file without its ending in an ES module, a package of the workspace that is TypeScript itself: bundlers and `tsx` resolve them.

use serde_json::Value;

use super::load::{PackageId, Workspace};
use super::package;
use super::sources::{with_comments, written};
use super::tools;
use monoship_core::collect::Collect as _;

/// What Node takes as it stands behind a path.
const ENDINGS: [&str; 8] = [".js", ".mjs", ".cjs", ".json", ".node", ".wasm", ".ts", ".mts"];
/// What it takes where it reads TypeScript itself.
const STRIPPED: [&str; 5] = [".ts", ".mts", ".cts", ".json", ".mjs"];
/// The conditions of `exports` that Node knows.
const CONDITIONS: [&str; 4] = ["node", "import", "require", "default"];

/// Why Node does not run what `tsc` alone makes of a package's `src`, where that is certain.
#[must_use]
pub fn unreadable(workspace: &Workspace, id: PackageId) -> Option<String> {
    let package = workspace.package(id);
    let manifest = workspace.contents().text(&package.path("package.json"))?;
    let manifest: Value = package::json(&manifest).ok()?;
    let sources = package.path("src");
    let is_module = manifest["type"] == "module";
    let aliases = aliases(workspace, id);
    let mut why = None;
    tools::scripts(workspace, &sources, &mut |text| {
        why = written(text).find_map(|named| {
            if aliases.iter().any(|alias| alias.strip_suffix('*').map_or(alias == named, |start| named.starts_with(start))) {
                return Some(format!("its sources import `{named}` by `paths` of tsconfig.json, which `tsc` leaves as it is"));
            }
            let is_file = named.starts_with("./") || named.starts_with("../");
            let ends = ENDINGS.iter().any(|ending| named.ends_with(ending)) || named.contains(['?', '$']);
            (is_module && is_file && !ends)
                .then(|| format!("its sources import `{named}` without an ending, which Node does not find from an ES module"))
        });
        why.is_none()
    });
    why.or_else(|| of_others(workspace, id, &sources, false))
}

/// The names that its settings give to files, but for those of packages that it has, and of its own `imports`.
fn aliases(workspace: &Workspace, id: PackageId) -> Vec<String> {
    let package = workspace.package(id);
    let settings = workspace.contents().text(&package.path("tsconfig.json")).and_then(|text| with_comments(&text));
    let names = settings.iter().filter_map(|settings| settings["compilerOptions"]["paths"].as_object()).flatten();
    let is_package = |alias: &str| {
        let alias = alias.trim_end_matches(['*', '/']);
        package.manifest.all_dependencies().any(|(name, ..)| alias == name || alias.starts_with(&format!("{name}/")))
    };
    names
        .map(|(alias, _)| alias.clone())
        .filter(|alias| *alias != "*" && !alias.starts_with(['#', '.']) && !is_package(alias))
        .into_vec()
}

/// The same of what a bundler makes that leaves `dependencies` where they are.
#[must_use]
pub fn unreadable_dependency(workspace: &Workspace, id: PackageId) -> Option<String> {
    of_others(workspace, id, &workspace.package(id).path("src"), true)
}

/// A package that it imports, and that is TypeScript whose own files Node does not find.
fn of_others(workspace: &Workspace, id: PackageId, sources: &str, production: bool) -> Option<String> {
    let all = workspace.package(id).manifest.all_dependencies().filter(|(_, _, is_dev)| !(production && *is_dev));
    let others = all.filter_map(|(name, ..)| Some((name, workspace.by_name(name)?)));
    let others: Vec<(&str, PackageId)> = others.filter(|(_, other)| is_typescript(workspace, *other)).into_vec();
    let used = tools::imported_values(workspace, sources, &others.iter().map(|(name, _)| *name).into_vec());
    let found = others.into_iter().find(|(name, other)| used.contains(*name) && !is_for_node(workspace, *other));
    found.map(|(name, _)| format!("it imports `{name}`, which is TypeScript that Node does not read as it is"))
}

/// True of TypeScript whose imports of files have the endings that Node needs to find them.
fn is_for_node(workspace: &Workspace, id: PackageId) -> bool {
    let mut is_so = true;
    tools::scripts(workspace, &workspace.package(id).dir, &mut |text| {
        let mut files = written(text).filter(|named| named.starts_with("./") || named.starts_with("../"));
        is_so = files.all(|named| STRIPPED.iter().any(|ending| named.ends_with(ending)));
        is_so
    });
    is_so
}

/// True where Node is led to a TypeScript file by a package's manifest.
fn is_typescript(workspace: &Workspace, id: PackageId) -> bool {
    let text = workspace.contents().text(&workspace.package(id).path("package.json"));
    let Some(manifest) = text.and_then(|text| serde_json::from_str::<Value>(&text).ok()) else { return false };
    let entry = if manifest["exports"].is_null() { &manifest["main"] } else { &manifest["exports"] };
    leads_to_typescript(entry)
}

fn leads_to_typescript(entry: &Value) -> bool {
    match entry {
        Value::String(path) => {
            let is_declaration = [".d.ts", ".d.mts", ".d.cts"].iter().any(|ending| path.ends_with(ending));
            !is_declaration && [".ts", ".tsx", ".mts", ".cts"].iter().any(|ending| path.ends_with(ending))
        }
        Value::Object(all) => {
            let counts = |key: &str| key.starts_with('.') || CONDITIONS.contains(&key);
            all.iter().any(|(key, value)| counts(key) && leads_to_typescript(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(manifest: &str, source: &str, shared: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*', 'packages/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("apps/api/package.json", manifest),
            (
                "apps/api/tsconfig.json",
                "{\"compilerOptions\": {\"paths\": {\"@api/*\": [\"./src/*\"], \"@a/db\": [\"../x\"], // own\n}}}",
            ),
            ("apps/api/src/index.ts", source),
            ("apps/api/src/index.test.ts", "import '@api/nothing'"),
            (
                "packages/db/package.json",
                "{\"name\": \"@a/db\", \"exports\": {\".\": {\"types\": \"./d.ts\", \"default\": \"./src/index.ts\"}}}",
            ),
            ("packages/db/src/index.ts", shared),
        ];
        for (file, text) in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let workspace = Workspace::load(dir.path()).unwrap();
        unreadable(&workspace, workspace.by_dir("apps/api").unwrap()).unwrap_or_default()
    }

    #[test]
    fn imports_that_the_compiler_leaves_are_told_from_those_that_node_reads() {
        let module = "{\"name\": \"@a/api\", \"type\": \"module\", \"dependencies\": {\"@a/db\": \"workspace:*\"}}";
        let common = "{\"name\": \"@a/api\", \"dependencies\": {\"@a/db\": \"workspace:*\"}}";
        let ours = "import { a } from '@a/db'";
        assert!(why(common, "import a from '@api/env.js'", "").contains("`@api/env.js` by `paths`"));
        assert!(why(module, "import a from './env'", "").contains("`./env` without an ending"));
        assert!(why(module, ours, "export * from './types.js'").contains("`@a/db`, which is TypeScript"));
        for (manifest, source, shared) in [
            (common, "import a from './env'", ""),
            (module, "import a from './env.js'\nimport z from 'zod'", ""),
            (module, "import type { A } from './env'\nexport type { B } from '@api/env'\nimport {\n  type C,\n} from './c'", ""),
            (module, "import type { A } from '@a/db'", "export * from './types.js'"),
            (module, ours, "export * from './types.ts'"),
            (module, ours, "import { a } from 'a'\nexport * from './types.ts'"),
            (module, ours, "import a, { type B } from 'a'\nexport const b = 1"),
            (module, "// import a from '@api/old'\nconst a = '@api/text'", ""),
        ] {
            assert_eq!(why(manifest, source, shared), "", "{source}");
        }
    }

    #[test]
    fn a_package_is_typescript_where_node_is_led_to_it() {
        for (entry, wanted) in [
            (serde_json::json!("./src/index.ts"), true),
            (serde_json::json!({".": {"types": "./src/index.ts", "import": "./dist/index.js"}}), false),
            (serde_json::json!({".": {"development": "./src/index.ts", "default": "./dist/index.js"}}), false),
            (serde_json::json!({"./*": "./src/*.ts"}), true),
            (serde_json::json!("./index.d.ts"), false),
            (serde_json::json!(null), false),
        ] {
            assert_eq!(leads_to_typescript(&entry), wanted, "{entry}");
        }
    }
}
