//! Plans of a workspace that has one of everything, its lock made by pnpm.

use std::path::Path;

use super::*;
use crate::contents::Commit;
use crate::git::{Git, Tree};
use crate::yaml::{self, Yaml};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::SortedSet;

mod refused;

const LOCK_TEXT: &str = include_str!("lock.yaml");

/// A workspace with two services, a library, a tool only used for development, an injected package, patches and overrides.
pub(in super::super) fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("package.json", r#"{"name": "root", "devDependencies": {"eslint": "9.0.0"}, "scripts": {"prepare": "husky"}}"#),
        ("pnpm-workspace.yaml", include_str!("settings.yaml")),
        ("pnpm-lock.yaml", LOCK_TEXT),
        (".npmrc", "strict-peer-dependencies=false\n"),
        (".pnpmfile.cjs", "module.exports = require('./scripts/hooks')\n"),
        ("scripts/hooks.js", "module.exports = {}\n"),
        ("scripts/unrelated.js", "\n"),
        ("patches/ms.patch", "patch of ms\n"),
        ("patches/qs.patch", "patch of qs\n"),
        ("tsconfig.json", r#"{"references": [{"path": "apps/api"}, {"path": "apps/web"}]}"#),
        ("config/base.json", r#"{"extends": "./strict"} // comment"#),
        ("config/strict.json", "{}"),
        ("types/global.d.ts", "declare const x: 1\n"),
        ("apps/api/package.json", include_str!("api.json")),
        ("apps/api/tsconfig.json", r#"{"extends": "../../config/base", "include": ["src", "../../types/**/*.d.ts",],}"#),
        ("apps/api/src/main.ts", "export {}\n"),
        ("apps/api/scripts/setup.js", "\n"),
        ("apps/api/node_modules/ms/index.js", "\n"),
        ("apps/web/package.json", r#"{"name": "web", "dependencies": {"qs": "6.0.0", "lib": "workspace:*"}}"#),
        ("apps/web/index.js", "\n"),
        (
            "packages/lib/package.json",
            r#"{"name": "lib", "dependencies": {"zod": "catalog:"}, "devDependencies": {"tool": "workspace:*"}}"#,
        ),
        ("packages/lib/index.js", "\n"),
        ("packages/tool/package.json", r#"{"name": "tool", "bin": {"tool": "bin/tool.js", "built": "dist/x.js"}}"#),
        ("packages/tool/bin/tool.js", "#!/usr/bin/env node\nconsole.log('long')\n"),
        ("packages/copied/package.json", r#"{"name": "copied", "version": "1.0.0", "scripts": {"build": "tsc"}}"#),
        ("packages/copied/index.js", "\n"),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

pub(in super::super) fn tree(root: &Path) -> Tree {
    Git::at(root, &Shutdown::new()).worktree().unwrap()
}

struct Planned {
    workspace: Workspace,
    plan: PrunePlan,
    sources: Vec<String>,
    entries: Vec<Named>,
}

fn plan(root: &Path, package: &str) -> Planned {
    let workspace = Workspace::load(root).unwrap();
    let tree = tree(root);
    let sources = Sources::new(&workspace, &tree, tree.files());
    let target = workspace.find(package).unwrap();
    let plan = PrunePlan::new(&workspace, &sources, target, false).unwrap();
    let paths = plan.source_paths(&sources).map(str::to_owned).collect();
    let entries = plan.manifests.entries(&sources);
    Planned { sources: paths, entries, plan, workspace }
}

fn paths(install: &Install) -> Vec<&str> {
    install.files.keys().map(String::as_str).collect()
}

fn text(install: &Install, path: &str) -> String {
    match &install.files[path] {
        Content::Text(text) => text.as_str().to_owned(),
        Content::Stub(text) => text.to_string(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn each_context_holds_what_the_package_needs_and_nothing_else() {
    let root = workspace();
    let Planned { plan, sources, .. } = plan(root.path(), "api");
    let expected = [
        ".npmrc",
        ".pnpmfile.cjs",
        "apps/api/package.json",
        "apps/api/scripts/setup.js",
        "package.json",
        "packages/copied/index.js",
        "packages/copied/package.json",
        "packages/lib/package.json",
        "packages/tool/bin/tool.js",
        "packages/tool/package.json",
        "patches/ms.patch",
        "pnpm-lock.yaml",
        "pnpm-workspace.yaml",
        "scripts/hooks.js",
    ];
    assert_eq!(paths(&plan.manifests), expected);
    let in_production: Vec<&str> = expected.into_iter().filter(|path| !path.starts_with("packages/tool")).collect();
    assert_eq!(paths(&plan.production), in_production);
    assert_eq!(
        sources,
        [
            "apps/api/package.json",
            "apps/api/scripts/setup.js",
            "apps/api/src/main.ts",
            "apps/api/tsconfig.json",
            "packages/copied/index.js",
            "packages/copied/package.json",
            "packages/lib/index.js",
            "packages/lib/package.json",
            "packages/tool/bin/tool.js",
            "packages/tool/package.json",
            "config/base.json",
            "config/strict.json",
            "types/global.d.ts",
        ]
    );
    assert_eq!(plan.warnings, Vec::<String>::new());
    assert_eq!(plan.script_warnings.len(), 1, "{:?}", plan.script_warnings);
    assert!(plan.script_warnings[0].contains("`postinstall`"));
}

#[test]
fn a_package_that_is_named_by_path_and_not_declared_is_told() {
    let root = workspace();
    let told = |name: &str| {
        plan(root.path(), name).plan.warnings.into_iter().filter(|warning| warning.contains("by their path")).collect::<Vec<_>>()
    };
    assert_eq!(told("web"), Vec::<String>::new());
    let alias = "export default { alias: { api: '../api/src/main.ts', lib: '../../packages/lib/index.js' } };\n";
    std::fs::write(root.path().join("apps/web/vite.config.mjs"), alias).unwrap();
    let all = told("web");
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("apps/web names files of apps/api by their path and does not depend on it"), "{all:?}");
}

#[test]
fn packages_that_settings_lead_to_are_taken_along_and_told() {
    let root = workspace();
    let write = |file: &str, text: &str| std::fs::write(root.path().join(file), text).unwrap();
    let taken = || {
        let Planned { plan, workspace, .. } = plan(root.path(), "web");
        let dirs = |install: &Install| {
            install.closure.packages.iter().map(|id| workspace.package(*id).dir.clone()).collect::<Vec<_>>().join(" ")
        };
        (dirs(&plan.manifests), dirs(&plan.production), plan.warnings)
    };
    // What is declared needs no word, nor do paths that nothing imports, or a test's settings.
    write(
        "apps/web/tsconfig.json",
        r#"{"references": [{"path": "../../packages/lib"}], "compilerOptions": {"paths": {"@copied/*": ["../../packages/copied/*"]}}}"#,
    );
    write("apps/web/tsconfig.test.json", r#"{"references": [{"path": "../api"}]}"#);
    assert_eq!(taken(), ("apps/web packages/lib packages/tool".to_owned(), "apps/web packages/lib".to_owned(), vec![]));
    write("apps/web/index.js", "import x from '@copied/index.js';\n");
    let (all, production, warnings) = taken();
    assert_eq!((&*all, &*production), ("apps/web packages/copied packages/lib packages/tool", "apps/web packages/lib"));
    assert!(
        warnings[0].starts_with("apps/web/tsconfig.json leads to packages/copied, which that package does not depend on"),
        "{warnings:?}"
    );
    write("apps/web/tsconfig.json", r#"{"references": [{"path": "../api/tsconfig.json"}]}"#);
    assert_eq!(taken().0, "apps/api apps/web packages/copied packages/lib packages/tool");
    // By a base of its own.
    write("apps/web/tsconfig.json", r#"{"compilerOptions": {"baseUrl": "../..", "paths": {"@copied": ["packages/copied"]}}}"#);
    write("apps/web/index.js", "import x from '@copied';\n");
    assert_eq!(taken().0, "apps/web packages/copied packages/lib packages/tool");
}

#[test]
fn who_has_the_schema_of_a_prisma_client_is_taken_along() {
    let root = workspace();
    let lock = LOCK_TEXT
        .replace("      qs:\n", "      '@prisma/client':\n        specifier: 6.0.0\n        version: 6.0.0\n      qs:\n");
    let lock = lock
        .replace("      copied:\n", "      '@prisma/client':\n        specifier: 6.0.0\n        version: 6.0.0\n      copied:\n");
    let lock = lock.replacen("snapshots:\n", "snapshots:\n\n  '@prisma/client@6.0.0': {}\n", 1);
    let lock =
        lock.replacen("\npackages:\n", "\npackages:\n\n  '@prisma/client@6.0.0':\n    resolution: {integrity: sha512-x}\n", 1);
    put(root.path(), "pnpm-lock.yaml", &lock);
    put(root.path(), "apps/web/package.json", r#"{"name": "web", "dependencies": {"@prisma/client": "6.0.0", "qs": "6.0.0"}}"#);
    let taken = || plan(root.path(), "web").plan.manifests.closure.undeclared.into_values().collect::<Vec<_>>();
    assert_eq!(taken(), Vec::<String>::new());
    put(root.path(), "apps/api/prisma/schema.prisma", "x\n");
    assert_eq!(taken(), ["apps/api/prisma/schema.prisma"]);
    put(root.path(), "apps/web/prisma/schema.prisma", "x\n");
    assert_eq!(taken(), Vec::<String>::new());
}

#[test]
fn what_a_linter_of_the_roots_brings_is_there_where_it_is_hoisted() {
    let root = workspace();
    let write = |file: &str, text: &str| put(root.path(), file, text);
    let lock = LOCK_TEXT.replace("  eslint@9.0.0: {}", "  eslint@9.0.0:\n    dependencies:\n      typescript: 5.9.3");
    write("pnpm-lock.yaml", &lock);
    write("apps/web/tsconfig.json", "{}");
    let tools = || plan(root.path(), "web").plan.manifests.closure.tools;
    assert_eq!(tools(), SortedSet::new());
    write(".npmrc", "shamefully-hoist=true\n");
    assert_eq!(tools(), SortedSet::from(["eslint".to_owned()]));
    // Who has it takes it from nobody.
    write("apps/api/tsconfig.json", "{}");
    assert_eq!(plan(root.path(), "api").plan.manifests.closure.tools, SortedSet::new());
}

#[test]
fn what_tests_import_of_the_roots_is_there_where_the_compiler_reads_them() {
    let root = workspace();
    let write = |file: &str, text: &str| put(root.path(), file, text);
    write("package.json", r#"{"name": "root", "devDependencies": {"vitest": "9.0.0"}}"#);
    write("pnpm-lock.yaml", &LOCK_TEXT.replace("eslint", "vitest"));
    let build = |script: &str| {
        let manifest = r#"{"name": "web", "scripts": {"build": "BUILD"}, "dependencies": {"qs": "6.0.0", "lib": "workspace:*"}}"#;
        write("apps/web/package.json", &manifest.replace("BUILD", script));
    };
    let tools = || plan(root.path(), "web").plan.manifests.closure.tools.into_iter().collect::<String>();
    build("tsc -b");
    write("apps/web/tsconfig.json", r#"{"include": ["src"]}"#);
    write("apps/web/vitest.config.ts", "import { defineConfig } from 'vitest/config'\n");
    write("apps/web/tests/b.ts", "import { it } from 'vitest'\n");
    assert_eq!(tools(), "");
    write("apps/web/src/__tests__/a.ts", "import { it } from 'vitest'\n");
    assert_eq!(tools(), "vitest");
    build("vite build");
    assert_eq!(tools(), "");
    build("tsc -p tsconfig.build.json");
    write("apps/web/tsconfig.build.json", r#"{"extends": "./tsconfig.json", "exclude": ["**/*.spec.ts", "**/__tests__"]}"#);
    assert_eq!(tools(), "");
}

#[test]
fn what_styles_and_the_roots_settings_and_scripts_name_is_there() {
    let root = workspace();
    let write = |file: &str, text: &str| put(root.path(), file, text);
    let build = |script: &str| {
        let manifest = r#"{"name": "web", "scripts": {"build": "BUILD"}, "dependencies": {"qs": "6.0.0", "lib": "workspace:*"}}"#;
        write("apps/web/package.json", &manifest.replace("BUILD", script));
    };
    let tools = || plan(root.path(), "web").plan.manifests.closure.tools.into_iter().collect::<String>();
    for (name, style) in [("tailwindcss", "@import \"tailwindcss\" prefix(a);\n"), ("forms", "@plugin 'forms';\n")] {
        write("package.json", &format!(r#"{{"name": "root", "devDependencies": {{"{name}": "9.0.0"}}}}"#));
        write("pnpm-lock.yaml", &LOCK_TEXT.replace("eslint", name));
        write("apps/web/src/a.css", style);
        assert_eq!(tools(), name);
    }
    write("apps/web/src/a.css", "");
    write("postcss.config.mjs", "export default { plugins: { 'forms': {} } }\n");
    build("tsc");
    assert_eq!(tools(), "");
    build("vite build");
    assert_eq!(tools(), "forms");
    write("apps/web/postcss.config.mjs", "export default {}\n");
    assert_eq!(tools(), "");
    write("scripts/build.mjs", "import './more.mjs'\n");
    write("scripts/more.mjs", "import x from 'forms/x'\n");
    for script in ["node ../../scripts/build.mjs", "cd ../.. && node scripts/build.mjs"] {
        build(script);
        assert_eq!(tools(), "forms", "{script}");
    }
}

#[test]
fn commands_are_stubs_of_their_first_line_and_injected_packages_whole() {
    let root = workspace();
    let Planned { plan, .. } = plan(root.path(), "api");
    assert_eq!(plan.manifests.files["packages/tool/bin/tool.js"], Content::Stub("#!/usr/bin/env node\n".into()));
    assert_eq!(plan.manifests.files["packages/copied/package.json"], Content::Copy("packages/copied/package.json".into()));
}

#[test]
fn settings_lock_and_files_are_cut_on_every_side_at_once() {
    let root = workspace();
    let Planned { plan, workspace, .. } = plan(root.path(), "api");
    let settings = yaml::parse(&text(&plan.manifests, "pnpm-workspace.yaml")).unwrap().remove(0);
    let lock = yaml::parse(plan.manifests.lock_text(&workspace, LOCK)).unwrap().remove(0);
    let keys = |tree: &Yaml, section: &str| -> SortedSet<String> {
        tree.get(section).map_or(&[][..], Yaml::entries).iter().map(|(key, _)| key.clone()).collect()
    };
    for section in ["overrides", "patchedDependencies"] {
        assert_eq!(keys(&settings, section), keys(&lock, section), "{section}");
    }
    assert_eq!(keys(&settings, "overrides"), SortedSet::from(["ms".to_owned()]));
    // `$eslint` and the like lead to what is cut off: the lock's value stands for it.
    assert_eq!(settings.get("overrides").unwrap().get("ms"), Some(&Yaml::string("2.1.3")));
    assert_eq!(keys(&settings, "catalog"), SortedSet::from(["zod".to_owned()]));
    assert_eq!(keys(lock.get("catalogs").unwrap(), "default"), SortedSet::from(["zod".to_owned()]));
    let dirs: Vec<&str> = settings.get("packages").unwrap().items().iter().filter_map(Yaml::as_str).collect();
    assert_eq!(dirs, ["apps/api", "packages/copied", "packages/lib", "packages/tool"]);
    assert_eq!(settings.get("nodeLinker").and_then(Yaml::as_str), Some("isolated"));
    let importers = keys(&lock, "importers");
    assert_eq!(importers, [".", "apps/api", "packages/copied", "packages/lib", "packages/tool"].map(str::to_owned).into());
    let manifest: serde_json::Value = serde_json::from_str(&text(&plan.manifests, "package.json")).unwrap();
    assert_eq!(manifest, serde_json::json!({"name": "root"}));
    assert_eq!(lock.get("importers").unwrap().get("."), Some(&Yaml::Map(Vec::new())));
}

#[test]
fn production_has_no_development_dependency_in_manifest_or_lock() {
    let root = workspace();
    let Planned { plan, workspace, .. } = plan(root.path(), "api");
    let lock = plan.production.lock_text(&workspace, LOCK);
    assert!(!lock.contains("devDependencies") && !lock.contains("typescript") && lock.contains("zod@3.22.0"), "{lock}");
    assert!(!text(&plan.production, "apps/api/package.json").contains("typescript"));
    assert!(plan.manifests.lock_text(&workspace, LOCK).contains("typescript@5.9.3"));
}

#[test]
fn with_the_root_its_dependencies_are_in() {
    let root = workspace();
    let workspace = Workspace::load(root.path()).unwrap();
    let tree = tree(root.path());
    let sources = Sources::new(&workspace, &tree, tree.files());
    let plan = PrunePlan::new(&workspace, &sources, workspace.find("web").unwrap(), true).unwrap();
    assert!(plan.manifests.lock_text(&workspace, LOCK).contains("eslint@9.0.0"));
    assert!(text(&plan.manifests, "package.json").contains("eslint"));
    assert!(!plan.source_paths(&sources).any(|path| path == "scripts/unrelated.js"), "the root's files are not sources");
}

#[test]
fn a_lock_that_is_not_understood_is_used_whole_and_nothing_is_cut_on_the_other_side() {
    let root = workspace();
    let odd = format!("{LOCK_TEXT}\nnovelty: 1\n");
    std::fs::write(root.path().join("pnpm-lock.yaml"), &odd).unwrap();
    let Planned { plan, workspace, .. } = plan(root.path(), "api");
    assert_eq!(plan.manifests.lock_text(&workspace, LOCK), odd);
    assert_eq!(paths(&plan.manifests), paths(&plan.production));
    for path in ["apps/web/package.json", "patches/qs.patch", "patches/ms.patch"] {
        assert!(plan.manifests.files.contains_key(path), "{path}");
    }
    let settings = yaml::parse(&text(&plan.manifests, "pnpm-workspace.yaml")).unwrap().remove(0);
    assert_eq!(&settings, workspace.settings().unwrap());
    assert!(plan.warnings.iter().any(|warning| warning.contains("unknown key `novelty`")), "{:?}", plan.warnings);
}

#[test]
fn an_edit_changes_the_install_layers_that_read_it_and_no_other() {
    let root = workspace();
    let lock_of =
        |planned: &Planned| -> SortedMap<_, _> { planned.plan.manifests.lock_slice(&planned.workspace).into_iter().collect() };
    let before = plan(root.path(), "api");
    let edit = |path: &str, from: &str, to: &str| {
        let path = root.path().join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{path:?} {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    };
    // Nothing here is read by an install of `api`: another service, scripts, sources, a comment, an entry of another closure.
    edit("apps/web/package.json", "\"6.0.0\"", "\"6.0.1\"");
    edit("packages/tool/bin/tool.js", "long", "longer");
    edit("apps/api/package.json", "tsc -b", "tsc -b --force");
    edit("pnpm-workspace.yaml", "# a comment", "# another comment");
    edit("pnpm-lock.yaml", "sha512-qs", "sha512-other");
    edit("pnpm-lock.yaml", "sha512-eslint", "sha512-other");
    let after = plan(root.path(), "api");
    assert_eq!(after.entries, before.entries);
    assert_eq!(lock_of(&after), lock_of(&before));
    // And each of these is.
    edit("pnpm-lock.yaml", "sha512-zod", "sha512-other");
    edit("patches/ms.patch", "patch", "better patch");
    edit("pnpm-workspace.yaml", "nodeLinker: isolated", "nodeLinker: hoisted");
    edit("packages/copied/index.js", "\n", "\n\n");
    let after = plan(root.path(), "api");
    let changed: Vec<&str> =
        after.entries.iter().zip(&before.entries).filter(|(a, b)| a != b).map(|((path, _), _)| &**path).collect();
    assert_eq!(changed, ["packages/copied/index.js", "patches/ms.patch", "pnpm-workspace.yaml"]);
    let (old, new) = (lock_of(&before), lock_of(&after));
    let changed: Vec<&str> = new.iter().filter(|(key, hash)| old.get(*key) != Some(hash)).map(|(key, _)| &**key).collect();
    assert_eq!(changed, ["zod@3.22.0"]);
}

#[test]
fn a_file_the_install_needs_and_git_lacks_is_an_error_that_names_it() {
    let root = workspace();
    std::fs::remove_file(root.path().join("patches/ms.patch")).unwrap();
    let workspace = Workspace::load(root.path()).unwrap();
    let tree = tree(root.path());
    let sources = Sources::new(&workspace, &tree, tree.files());
    let error = PrunePlan::new(&workspace, &sources, workspace.find("api").unwrap(), false).unwrap_err();
    assert!(error.to_string().contains("patches/ms.patch"), "{error}");
    // Who does not need it is not stopped by it.
    PrunePlan::new(&workspace, &sources, workspace.find("web").unwrap(), false).unwrap();
}

#[test]
fn an_unknown_package_is_an_error_that_offers_the_nearest() {
    let root = workspace();
    let workspace = Workspace::load(root.path()).unwrap();
    assert_eq!(workspace.find("apps/api/").unwrap(), workspace.find("api").unwrap());
    let error = workspace.find("wep").unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `web`?"));
    std::fs::remove_file(root.path().join("pnpm-lock.yaml")).unwrap();
    let error = Workspace::load(root.path()).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--lockfile-only")), "{error}");
}

#[test]
fn the_workspace_of_another_revision_reads_as_the_one_on_disk() {
    let root = workspace();
    // A command that is a link: its first line is that of the file it leads to.
    std::os::unix::fs::symlink("../bin/tool.js", root.path().join("packages/tool/bin/linked.js")).unwrap();
    let manifest = r#"{"name": "tool", "bin": {"tool": "bin/tool.js", "linked": "bin/linked.js"}}"#;
    std::fs::write(root.path().join("packages/tool/package.json"), manifest).unwrap();
    let git = Git::at(root.path(), &Shutdown::new());
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgSign=false"];
    git.read(&["init", "--quiet"]).unwrap();
    git.read(&["add", "--all"]).unwrap();
    git.read(&[&identity[..], &["commit", "--quiet", "--message", "one"]].concat()).unwrap();
    let on_disk = Workspace::load(root.path()).unwrap();
    let described = |workspace: &Workspace| {
        let tree = git.commit("HEAD").unwrap();
        let sources = Sources::new(workspace, &tree, tree.files());
        let of = |id| {
            let plan = PrunePlan::new(workspace, &sources, id, false).unwrap();
            let lock = workspace.lock_slice(&workspace.cut(&workspace.closure(id, Scope::BUILD)));
            let paths: Vec<String> = plan.source_paths(&sources).map(str::to_owned).collect();
            (workspace.package(id).dir.clone(), lock, plan.manifests.entries(&sources), paths)
        };
        workspace.ids().map(of).collect::<Vec<_>>()
    };
    let before = described(&on_disk);
    assert!(before.iter().any(|(.., paths)| paths.iter().any(|path| path == "config/strict.json")), "settings were followed");
    // What is on disk now is not looked at any more.
    for path in ["packages/tool/bin/tool.js", "config/base.json", "scripts/hooks.js", "apps/api/package.json", "pnpm-lock.yaml"] {
        std::fs::write(root.path().join(path), "{}").unwrap();
    }
    let of_commit = Workspace::of_commit(Commit::at(&git, "HEAD").unwrap()).unwrap();
    assert_eq!(described(&of_commit), before);
}

/// Writes a file of the workspace at `root`.
fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn what_a_package_names_outside_of_itself_is_taken_along_with_what_that_names() {
    let root = workspace();
    for (path, text) in [
        ("apps/web/vite.config.ts", "import shared from '../../vite.shared.js'\nimport pkg from '../../package.json'\n"),
        (
            "vite.shared.ts",
            "export * from './build/one.mjs'; export * from '../outside'; import x from '../../../x'\nimport './vite.more'\n",
        ),
        ("vite.more.mjs", "import './vite.shared.js'\n"),
        ("projects/x/tsconfig.json", "{}"),
        ("apps/web/.babelrc", r#"{"extends": "../../babel.config.json"}"#),
        ("babel.config.json", r#"{"extends": "./build/preset.json", "plugins": ["./build/plugin.cjs"]}"#),
        ("build/preset.json", "{}"),
        ("build/plugin.cjs", "\n"),
        ("scripts/build.mjs", "import '../scripts/lib.mjs'\n"),
        ("scripts/lib.mjs", "\n"),
        ("scripts/lint.mjs", "\n"),
        (
            "apps/web/tsconfig.json",
            r#"{"compilerOptions": {"paths": {"@all/*": ["../../packages/*"], "@shared": ["../../shared"]}},
            "references": [{"path": "../../projects/x/tsconfig.json"}, {"path": "../../packages/lib"}]}"#,
        ),
        ("shared/index.ts", "\n"),
        ("assets/logo.svg", "<svg/>"),
        ("packages/copied/theme/a.css", "\n"),
        (
            "apps/web/package.json",
            r#"{"name": "web", "scripts": {"build": "cd ../../ && node scripts/build.mjs && cd apps/web", "lint": "node ../../scripts/lint.mjs"},
            "dependencies": {"qs": "6.0.0", "lib": "workspace:*"}}"#,
        ),
    ] {
        put(root.path(), path, text);
    }
    for (target, link) in [
        ("../../../assets", "apps/web/public/assets"),
        ("../../packages/copied/theme/a.css", "apps/web/a.css"),
        ("dist/cli.js", "apps/web/cli.js"),
        ("../../gone", "apps/web/gone"),
        ("../..", "apps/web/all"),
    ] {
        let link = root.path().join(link);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
    }
    let Planned { plan, .. } = plan(root.path(), "web");
    let shared: Vec<&str> = plan.shared.iter().map(String::as_str).collect();
    let expected = [
        "assets/logo.svg",
        "babel.config.json",
        "build/plugin.cjs",
        "build/preset.json",
        "packages/copied/theme/a.css",
        "projects/x/tsconfig.json",
        "scripts/build.mjs",
        "scripts/lib.mjs",
        "shared/index.ts",
        "vite.more.mjs",
        "vite.shared.ts",
    ];
    // The root's settings are in for `lib`, which has none.
    assert_eq!(shared.into_iter().filter(|path| *path != "tsconfig.json").collect::<Vec<_>>(), expected);
    assert_eq!(plan.warnings, ["the link `apps/web/gone` leads to `../../gone`, which git does not have: it will lead nowhere"]);
}

#[test]
fn folders_and_patterns_that_settings_and_scripts_name_are_taken_along_but_for_packages() {
    let root = workspace();
    for (path, text) in [
        ("apps/web/vite.config.ts", "export default { publicDir: '../../static', root: path.resolve(__dirname, '../../') }\n"),
        ("apps/web/codegen.yml", "schema: ../../schema/**/*.graphql\ndocuments: [\"../../packages/*/src/*.graphql\"]\n"),
        ("apps/web/vitest.config.ts", "export default { test: { root: '../../fixtures' } }\n"),
        ("static/robots.txt", "\n"),
        ("static/img/a.svg", "\n"),
        ("schema/a/b.graphql", "\n"),
        ("templates/mail/a.html", "\n"),
        ("openapi/v1.yaml", "\n"),
        ("fixtures/a.json", "\n"),
        // Read from where a script is run, and from where it lies.
        ("apps/web/scripts/stamp.mjs", "read('../../VERSION'); new URL('../../../legal/', import.meta.url);\n"),
        ("apps/VERSION", "\n"),
        ("VERSION", "\n"),
        ("legal/terms.txt", "\n"),
        ("apps/web/nitro.config.ts", "export default { serverAssets: [{ baseName: 'posts', dir: '../../../content/posts' }] }\n"),
        ("content/posts/a.md", "\n"),
        (
            "apps/web/app.config.ts",
            "export default { vite: { envDir: path.resolve(__dirname, '..', '..'), envPrefix: ['A_'] } }\n",
        ),
        (".env.production", "\n"),
        (
            "apps/web/package.json",
            r#"{"name": "web", "scripts": {"build": "node scripts/stamp.mjs && pnpm run types && tsc && cp -r ../../templates dist", "test": "cp -r ../../fixtures .",
            "types": "openapi-typescript '../../openapi/*.yaml' -o src/api.ts"}, "dependencies": {"qs": "6.0.0", "lib": "workspace:*"}}"#,
        ),
    ] {
        put(root.path(), path, text);
    }
    let Planned { plan, .. } = plan(root.path(), "web");
    let shared: Vec<&str> = plan.shared.iter().map(String::as_str).filter(|path| *path != "tsconfig.json").collect();
    // `web` has TypeScript and no settings, so its tools take the root's, and read the projects which those refer to.
    assert_eq!(
        shared,
        [
            ".env.production",
            "VERSION",
            "apps/VERSION",
            "apps/api/tsconfig.json",
            "config/base.json",
            "config/strict.json",
            "content/posts/a.md",
            "legal/terms.txt",
            "openapi/v1.yaml",
            "schema/a/b.graphql",
            "static/img/a.svg",
            "static/robots.txt",
            "templates/mail/a.html"
        ]
    );
}

#[test]
fn a_deep_import_that_leaves_the_sources_is_named_with_its_line_and_can_be_included() {
    let root = workspace();
    put(root.path(), "apps/web/src/deep/a.ts", "export {}\nimport { x } from '../../../../lib/x.js'\nimport '../../index.js'\n");
    let reads = "read(join(__dirname, '../../../proto/a.proto'))\nreaddirSync('../../locales/'); readdirSync('../../locales/en')\nreadFile('../api/src/main.ts')\n// readFileSync('../../VERSION')\nsay('../../VERSION')\nserve(join(__dirname, '..', '..', 'api', 'dist'))\nimport.meta.glob('../../../posts/**/*.md')\nreaddirSync(join(process.cwd(), '..', '..', 'apps'))\n";
    put(root.path(), "apps/web/src/b.ts", reads);
    put(root.path(), "apps/web/src/b.test.ts", reads);
    ["proto/a.proto", "locales/en/a.json", "posts/a/b.md", "VERSION"].iter().for_each(|path| put(root.path(), path, "a\n"));
    put(root.path(), "lib/x.ts", "export const x = 1\n");
    put(root.path(), "prisma/schema/a.prisma", "a\n");
    put(root.path(), "prisma/.env", "a\n");
    let (workspace, tree) = (Workspace::load(root.path()).unwrap(), tree(root.path()));
    // The ignore file has left out what is included.
    let sources = Sources::new(&workspace, &tree, tree.files().iter().filter(|file| !file.path.starts_with("prisma")));
    let plan = |include: &[&str]| {
        let include: Vec<String> = include.iter().map(|pattern| (*pattern).to_owned()).collect();
        let plan = PrunePlan::new(&workspace, &sources, workspace.find("web").unwrap(), false);
        plan.and_then(|plan| plan.including(&workspace, &sources, &include))
    };
    assert_eq!(
        plan(&[]).unwrap().left_out(&workspace, &sources),
        [
            "apps/web/src/b.ts:1 needs `../../../proto/a.proto`, which the sources leave out: name it, `include = [\"proto/a.proto\"]` under its [[service]]",
            "apps/web/src/b.ts:2 needs `../../locales/`, which the sources leave out: name it, `include = [\"locales\"]` under its [[service]]",
            "apps/web/src/b.ts:2 needs `../../locales/en`, which the sources leave out: name it, `include = [\"locales/en\"]` under its [[service]]",
            "apps/web/src/b.ts:3 needs `../api/src/main.ts`, which the sources leave out: name it, `include = [\"apps/api/src/main.ts\"]` under its [[service]]",
            "apps/web/src/b.ts:6 needs `../../api/dist`, which a build of api makes: name api in the `dependencies` of its package",
            "apps/web/src/b.ts:7 needs `../../../posts/**/*.md`, which the sources leave out: name it, `include = [\"posts\"]` under its [[service]]",
            "apps/web/src/b.ts:8 reads `../../apps`, a folder of packages: name those that it needs in the `dependencies` of its package",
            "apps/web/src/deep/a.ts:2 needs `../../../../lib/x.js`, which the sources leave out: name it, `include = [\"lib/x.ts\"]` under its [[service]]"
        ]
    );
    // As `init` includes it: what scripts lie among, and what else is read by its name.
    let to_include: Vec<_> = plan(&[]).unwrap().to_include(&workspace, &sources).into_iter().collect();
    assert_eq!(to_include, ["apps/api/src/main.ts", "lib", "locales", "posts", "proto/a.proto"]);
    let more = plan(&["lib/*.ts", "prisma", "apps/web/index.js", "proto", "locales", "posts", "apps/api/src"]).unwrap();
    assert_eq!(more.left_out(&workspace, &sources).len(), 2, "what a build makes and packages are not included");
    let paths: Vec<&str> = more.source_paths(&sources).collect();
    assert!(["lib/x.ts", "prisma/.env", "prisma/schema/a.prisma"].iter().all(|path| paths.contains(path)), "{paths:?}");
    assert_eq!(paths.iter().collect::<SortedSet<_>>().len(), paths.len(), "a file is there twice: {paths:?}");
    let error = plan(&["lib/*.ts", "libs/**"]).unwrap_err();
    assert!(error.to_string().contains("`libs/**`"), "{error}");
}

#[test]
fn patches_of_config_dependencies_are_pnpms_to_fetch() {
    let root = workspace();
    for path in ["pnpm-workspace.yaml", "pnpm-lock.yaml"] {
        let path = root.path().join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("patches/ms.patch"), "{text}");
        std::fs::write(path, text.replace("patches/ms.patch", "node_modules/.pnpm-config/ours/ms.patch")).unwrap();
    }
    let Planned { plan, .. } = plan(root.path(), "api");
    assert!(!paths(&plan.manifests).iter().any(|path| path.contains("ms.patch")), "{:?}", paths(&plan.manifests));
    assert!(text(&plan.manifests, "pnpm-workspace.yaml").contains("node_modules/.pnpm-config/ours/ms.patch"));
}

#[test]
fn files_that_settings_have_for_values_are_taken_along() {
    let root = workspace();
    let named = ["certs/ca.pem", "certs/key.pem", "scripts/shell"];
    named.iter().for_each(|path| put(root.path(), path, "\n"));
    put(
        root.path(),
        ".npmrc",
        "registry=https://npm.acme.dev\ncafile = ./certs/ca.pem\n//npm.acme.dev/:keyfile=\"certs/key.pem\"\n",
    );
    let settings = std::fs::read_to_string(root.path().join("pnpm-workspace.yaml")).unwrap();
    put(root.path(), "pnpm-workspace.yaml", &format!("{settings}\nscriptShell: scripts/shell\nvirtualStoreDir: scripts\n"));
    let Planned { plan, .. } = plan(root.path(), "api");
    for install in [&plan.manifests, &plan.production] {
        assert!(named.iter().all(|path| install.files.contains_key(*path)), "{:?}", paths(install));
        assert!(!install.files.contains_key("scripts/unrelated.js"), "a folder is no file");
    }
}

#[test]
fn a_credential_that_is_written_out_where_the_install_reads_it_is_told_without_it() {
    let told = |npmrc: &str| {
        let root = workspace();
        put(root.path(), ".npmrc", npmrc);
        let Planned { plan, .. } = plan(root.path(), "api");
        plan.warnings.into_iter().filter(|warning| warning.starts_with(".npmrc")).collect::<Vec<_>>()
    };
    let line = "//npm.example/:_authToken";
    for (value, is_told) in
        [("npm_0a1b2c3d4e5f6g7h8i9j", true), ("\"npm_0a1b2c3d4e5f6g7h8i9j\"", true), ("${NPM_TOKEN}", false), ("", false)]
    {
        let said = told(&format!("save-exact=true\n{line}={value}\n"));
        assert_eq!(said.len(), usize::from(is_told), "{value}: {said:?}");
        assert!(
            said.iter().all(|said| said.starts_with(&format!(".npmrc:2: `{line}`")) && !said.contains("npm_0a1b")),
            "{said:?}"
        );
    }
    for (other, is_told) in [
        ("_auth = aGVsbG86d29ybGQ=", true),
        ("//npm.example/:_password=cGFzcw==", true),
        ("#_auth=x", false),
        ("auth-type=legacy", false),
    ] {
        assert_eq!(told(other).len(), usize::from(is_told), "{other}");
    }
}

#[test]
fn a_production_install_runs_no_script_that_makes_a_package_ready_for_development() {
    let root = workspace();
    put(
        root.path(),
        "packages/lib/package.json",
        r#"{"name": "lib", "scripts": {"prepare": "husky", "postinstall": "node x.js"},
        "dependencies": {"zod": "catalog:"}, "devDependencies": {"tool": "workspace:*"}}"#,
    );
    let Planned { plan, .. } = plan(root.path(), "web");
    let scripts = |install| {
        serde_json::from_str::<serde_json::Value>(&text(install, "packages/lib/package.json")).unwrap()["scripts"].clone()
    };
    assert_eq!(scripts(&plan.manifests), serde_json::json!({"prepare": "husky", "postinstall": "node x.js"}));
    assert_eq!(scripts(&plan.production), serde_json::json!({"postinstall": "node x.js"}));
}

#[test]
fn a_build_that_calls_turbo_has_its_settings() {
    let root = workspace();
    put(root.path(), "turbo.json", "{}");
    let has = || plan(root.path(), "web").sources.iter().any(|path| path == "turbo.json");
    assert!(!has(), "nobody calls it");
    let path = root.path().join("apps/web/package.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("scripts"), "{text}");
    std::fs::write(&path, text.replacen('{', r#"{"scripts": {"build": "turbo run build -F lib && next build"},"#, 1)).unwrap();
    assert!(has());
}

#[test]
fn what_nx_builds_without_a_script_has_its_settings() {
    let root = workspace();
    put(root.path(), "nx.json", "{}");
    let edit = |path: &str, from: &str, to: &str| {
        let path = root.path().join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    };
    let has = || plan(root.path(), "copied").sources.iter().any(|path| path == "nx.json");
    assert!(!has(), "the root does not depend on Nx");
    edit("package.json", "eslint", "nx");
    edit("pnpm-lock.yaml", "eslint", "nx");
    assert!(!has(), "it has a script");
    edit("packages/copied/package.json", "\"build\": \"tsc\"", "");
    assert!(!has(), "nothing says that Nx builds it");
    put(root.path(), "packages/copied/project.json", "{\"targets\": {\"build\": {\"command\": \"tsc\"}}}");
    assert!(has());
    std::fs::remove_file(root.path().join("packages/copied/project.json")).unwrap();
    put(root.path(), "nx.json", "{\"plugins\": [\"@nx/vite/plugin\"]}");
    assert!(has());
    assert!(text(&plan(root.path(), "copied").plan.manifests, "package.json").contains("\"nx\""));
}
