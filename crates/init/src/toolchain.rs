//! What a workspace is built with: its pnpm, a compiler where a dependency needs one, the scripts that stand before a build.

use semver::Version;
use serde_json::{Value, json};

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use monoship_workspace::package::{self, Package};
use monoship_workspace::{Closure, Workspace};
use pnpm::lock::Lock;

use super::node::requirement;

/// A manifest as it is written; `null` where it is none.
pub(super) fn manifest(workspace: &Workspace, file: &str) -> Value {
    let text = std::fs::read_to_string(workspace.root().join(file)).unwrap_or_default();
    package::json(&text).unwrap_or_default()
}

/// The pnpm that the repository pins.
pub(super) fn pinned(workspace: &Workspace) -> Option<&str> {
    let manager = workspace.package(workspace.root_package()).manifest.package_manager()?;
    manager.strip_prefix("pnpm@")?.split('+').next()
}

/// The pnpm that installs: the one that is pinned, if it reads the lock, else the one that writes locks like this one.
pub(super) fn pnpm(workspace: &Workspace) -> String {
    let manifest = manifest(workspace, "package.json");
    // Where each package has its own, the root may have none.
    let others = workspace.packages().iter().filter(|_| workspace.is_split()).map(|package| package.path("pnpm-lock.yaml"));
    let mut locks = std::iter::once("pnpm-lock.yaml".to_owned()).chain(others);
    let lock = locks.find_map(|file| std::fs::read_to_string(workspace.root().join(file)).ok()).unwrap_or_default();
    let format =
        lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:")).unwrap_or_default().trim().trim_matches('\'');
    if let Some(version) = pinned(workspace) {
        // 9 takes a manifest that pins another version; from 10 on pnpm would fetch that one and run it in its place.
        return if reads(version, format) { version.to_owned() } else { "9".to_owned() };
    }
    let by_lock = match format {
        "6.0" | "6.1" => "8",
        _ if format.starts_with('5') => "7",
        _ => "10",
    };
    let wanted = workspace.package(workspace.root_package()).manifest.development_pnpm();
    if let Some(exact) = wanted.filter(|version| Version::parse(version).is_ok() && reads(version, format)) {
        return exact.to_owned();
    }
    let named = wanted.or(manifest["engines"]["pnpm"].as_str()).and_then(|range| {
        let range = requirement(range)?;
        [10_u64, 9, 8, 7, 11, 12].into_iter().find(|major| range.matches(&Version::new(*major, 999, 0)))
    });
    let fits = |major: &u64| match by_lock {
        "10" => *major >= 9,
        other => other.parse() == Ok(*major),
    };
    named.filter(fits).map_or_else(|| by_lock.to_owned(), |major| major.to_string())
}

/// Whether a pnpm reads a lock of this format: those before 9 take one of 9.0 for none.
fn reads(version: &str, format: &str) -> bool {
    let major = |text: &str| text.split('.').next().and_then(|major| major.parse::<u64>().ok());
    major(version).is_none_or(|pnpm| pnpm >= 9) || major(format).is_none_or(|format| format < 9)
}

/// What builds native code at install, by what its packages are built with.
const NATIVE: [&str; 7] =
    ["node-gyp", "nan", "node-addon-api", "bindings", "prebuild-install", "@mapbox/node-pre-gyp", "node-gyp-build"];

/// A package of a closure that may have to be compiled: one of the workspace's own, or a dependency.
pub(super) fn native(workspace: &Workspace, closure: &Closure) -> Option<String> {
    let own = closure.packages.iter().map(|id| workspace.package(*id));
    let mut own = own.filter(|package| package.dir != "." && workspace.root().join(package.path("binding.gyp")).is_file());
    if let Some(package) = own.next() {
        return Some(package.name().to_owned());
    }
    let Some(lock) = workspace.scanned() else {
        // An older format says of each package whether it builds something; of these some always do.
        let text = std::fs::read_to_string(workspace.root().join("pnpm-lock.yaml")).ok()?;
        let known = ["bcrypt", "argon2", "better-sqlite3", "sqlite3", "canvas", "node-pty", "re2"];
        let has = |name: &&&str| text.contains(&format!("\n  /{name}@")) || text.contains(&format!("\n  /{name}/"));
        return known.iter().find(has).map(|name| (*name).to_owned());
    };
    // These bring what they need for every common system, or go without.
    let harmless = [
        "fsevents",
        "msgpackr-extract",
        "lmdb",
        "ws",
        "@parcel/watcher",
        "@swc/core",
        "bufferutil",
        "utf-8-validate",
        "node-gyp-build-optional-packages",
        "prebuild-install",
    ];
    snapshots(lock, closure).find_map(|(name, snapshot)| {
        let builds = lock.targets(snapshot).any(|(alias, _)| NATIVE.contains(&alias));
        (builds && !harmless.contains(&name.as_str()) && !NATIVE.contains(&name.as_str())).then_some(name)
    })
}

/// True where a closure's Prisma loads an engine of its own, which needs OpenSSL's library: before its seventh version.
pub(super) fn needs_openssl(workspace: &Workspace, closure: &Closure) -> bool {
    // Where it is somebody's optional peer it loads nothing.
    let is_used = closure
        .packages
        .iter()
        .any(|id| workspace.package(*id).manifest.all_dependencies().any(|(name, _, dev)| name == "@prisma/client" && !dev));
    let Some(lock) = workspace.scanned() else {
        // The formats that are not taken apart are older than the version that needs none.
        return is_used;
    };
    is_used
        && snapshots(lock, closure).any(|(name, snapshot)| {
            let version = lock
                .package_key(snapshot)
                .strip_prefix("@prisma/client@")
                .and_then(|version| version.split('.').next()?.parse::<u32>().ok());
            name == "@prisma/client" && version.is_some_and(|major| major < 7)
        })
}

/// True where something in a closure calls git as it is built: for the time of a page's last change, or a version's name.
pub(super) fn needs_git(workspace: &Workspace, closure: &Closure) -> bool {
    const CALLERS: [&str; 9] = [
        "@docusaurus/core",
        "git-describe",
        "git-raw-commits",
        "git-rev-sync",
        "nextra",
        "simple-git",
        "vite-plugin-git-version",
        "vitepress",
        "vuepress",
    ];
    closure.packages.iter().map(|id| workspace.package(*id)).any(|package| {
        let manifest = manifest(workspace, &package.path("package.json"));
        let builds =
            |name: &str| ["build", "prebuild", "postbuild", "generate", "codegen"].iter().any(|word| name.starts_with(word));
        let scripts = manifest["scripts"].as_object().into_iter().flatten();
        let calls = |text: &str| text.split(|c: char| c.is_whitespace() || "$(`;&|'\"".contains(c)).any(|word| word == "git");
        let mut built = scripts.filter(|(name, _)| builds(name)).filter_map(|(_, text)| text.as_str());
        built.any(calls) || package.manifest.all_dependencies().any(|(name, ..)| CALLERS.contains(&name))
    })
}

fn snapshots<'a>(lock: &'a Lock, closure: &'a Closure) -> impl Iterator<Item = (String, u32)> + 'a {
    let kept = closure.snapshots.iter().zip(0_u32..).filter(|(kept, _)| **kept).map(|(_, at)| at);
    kept.map(|at| {
        let key = lock.package_key(at);
        let name = key.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(key, |(at, _)| &key[..at]);
        (name.to_owned(), at)
    })
}

/// The task of `build-package` that compiles what the root's build does: `tsc -b` compiles each package that its settings lead to.
const REFERENCES: &str = "references";

/// True where the root's build, or a script that it calls, compiles packages by references.
fn compiles_by_references(workspace: &Workspace) -> bool {
    let manifest = manifest(workspace, "package.json");
    let (mut open, mut read) = (vec!["build"], SortedSet::new());
    while let Some(name) = open.pop() {
        let Some(script) = manifest["scripts"][name].as_str().filter(|_| read.insert(name)) else { continue };
        let words: Vec<&str> = script.split_whitespace().into_vec();
        if words.windows(2).any(|pair| pair[0] == "tsc" && ["-b", "--build"].contains(&pair[1])) {
            return true;
        }
        open.extend(
            manifest["scripts"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .filter(|name| words.contains(name)),
        );
    }
    false
}

/// The tasks that a build of these packages comes to, those that it depends on first, as `turbo.json` or `nx.json` order them. Checks are no part
/// of an image.
pub(super) fn tasks(workspace: &Workspace, packages: &[&str], build: &str) -> Vec<String> {
    let graph = graph(workspace);
    let (mut seen, mut order) = (SortedSet::new(), Vec::new());
    for task in at_install(workspace, packages).iter().map(String::as_str).chain([build]) {
        visit(&graph, packages, task, &mut seen, &mut order);
    }
    order.retain(|task| !task.starts_with(OF_ROOT));
    if compiles_by_references(workspace) {
        order.insert(0, REFERENCES.to_owned());
    }
    order
}

/// Scripts of these packages that the root's install scripts have run in a clone: `"postinstall": "pnpm -r codegen"`.
fn at_install(workspace: &Workspace, packages: &[&str]) -> Vec<String> {
    const INSTALLS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];
    let root = manifest(workspace, "package.json");
    let having = |task: &str| {
        let all = packages.iter().filter_map(|name| Some(workspace.package(workspace.by_name(name)?)));
        let has = |package: &&Package| manifest(workspace, &package.path("package.json"))["scripts"][task].is_string();
        all.filter(|package| package.dir != ".").filter(has).map(Package::name).into_vec()
    };
    let (mut open, mut read) = (INSTALLS.map(str::to_owned).to_vec(), SortedSet::new());
    let mut tasks = Vec::new();
    while let Some(name) = open.pop() {
        let Some(script) = root["scripts"][&name].as_str().filter(|_| read.insert(name.clone())) else { continue };
        for command in script.split(['&', '|', ';']) {
            let words: Vec<&str> = command.split_whitespace().skip_while(|word| word.contains('=')).into_vec();
            let Some((program, words)) = words.split_first().filter(|_| !words.contains(&"exec")) else { continue };
            let filters = words.windows(2).filter(|pair| ["--filter", "-F"].contains(&pair[0])).map(|pair| pair[1]);
            let filters = filters.chain(words.iter().filter_map(|word| word.strip_prefix("--filter="))).into_vec();
            let is_recursive = words.iter().any(|word| ["-r", "--recursive", "recursive"].contains(word));
            let mut called = words.iter().filter(|word| !word.starts_with('-') && **word != "run" && !filters.contains(word));
            if *program == "pnpm" && !is_recursive && filters.is_empty() {
                open.extend(called.next().map(|name| (*name).to_owned()));
            } else if ["pnpm", "turbo", "lerna"].contains(program) {
                // Where others have a script of this name, none is run: a `generate` may ask its user.
                let is_meant = |task: &&&str| {
                    let all = having(task);
                    !all.is_empty() && (filters.is_empty() || all.iter().all(|name| filters.contains(name)))
                };
                tasks.extend(called.filter(is_meant).filter(|task| !INSTALLS.contains(task)).map(|task| (*task).to_owned()));
            }
        }
    }
    tasks
}

/// How `turbo.json` calls the root's own tasks, which run once for all packages.
const OF_ROOT: &str = "//#";

/// The root's own tasks that `turbo.json` puts before a build of these packages. No build of an image runs them.
pub(super) fn of_root(workspace: &Workspace, packages: &[&str]) -> SortedSet<String> {
    let found = ordered(&graph(workspace), packages, "build").into_iter();
    found.filter_map(|task| task.strip_prefix(OF_ROOT).map(str::to_owned)).into_set()
}

/// What the root's install scripts do in a clone, and in no image: there a package's own run. Hooks of git, checks of who installs, and builds of
/// packages, which an image's build does itself, do not count.
pub(super) fn of_root_install(workspace: &Workspace) -> Option<String> {
    const ELSEWHERE: [&str; 14] = [
        "husky",
        "lefthook",
        "simple-git-hooks",
        "only-allow",
        "is-ci",
        "git",
        "echo",
        "exit",
        "true",
        "turbo",
        "nx",
        "lerna",
        "pnpm",
        "prisma",
    ];
    const RUNNERS: [&str; 4] = ["npx", "exec", "dlx", "cross-env"];
    let root = manifest(workspace, "package.json");
    let program = |command: &str| {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['(', ')'])).into_vec();
        let called = words.windows(2).find(|pair| RUNNERS.contains(&pair[0])).map(|pair| pair[1]);
        called.or_else(|| words.into_iter().find(|word| !word.contains('='))).map(str::to_owned)
    };
    let left = ["preinstall", "install", "postinstall", "prepare"].into_iter().filter_map(|name| {
        let script = root["scripts"][name].as_str()?;
        let commands = script.split(['&', '|', ';']).map(str::trim).filter(|command| !command.is_empty());
        let counts = |command: &&str| program(command).is_some_and(|program| !ELSEWHERE.contains(&program.as_str()));
        Some(format!("`{name}` ({})", commands.clone().find(counts)?))
    });
    let left: Vec<String> = left.into_vec();
    let patches = root["scripts"].to_string().contains("patch-package");
    let instead = if patches { "; `pnpm patch` makes patches that each install takes" } else { "" };
    (!left.is_empty()).then(|| {
        format!(
            "the root's {} runs in no image: what a build needs of it belongs into a script of the package{instead}",
            left.join(" and ")
        )
    })
}

/// The tasks of `turbo.json` or `nx.json`, with what each depends on; those of a package's own file as `package#task`.
fn graph(workspace: &Workspace) -> Value {
    let read = |file: &str| {
        let text = std::fs::read_to_string(workspace.root().join(file)).ok()?;
        monoship_workspace::sources::with_comments(&text)
    };
    let of = |dir: &str| {
        let turbo = ["turbo.json", "turbo.jsonc"].iter().find_map(|file| read(&format!("{dir}{file}")))?;
        [turbo["tasks"].clone(), turbo["pipeline"].clone()].into_iter().find(Value::is_object)
    };
    let (turbo, nx) = (of(""), read("nx.json"));
    let mut all = turbo.or_else(|| nx.map(|nx| nx["targetDefaults"].clone())).filter(Value::is_object).unwrap_or_default();
    for package in workspace.packages().iter().filter(|package| package.dir != ".") {
        let by_nx = || manifest(workspace, &package.path("package.json"))["nx"]["targets"].clone();
        let own = of(&format!("{}/", package.dir)).unwrap_or_else(by_nx);
        for (task, settings) in own.as_object().into_iter().flatten().filter(|(_, settings)| settings["dependsOn"].is_array()) {
            let (key, mut needs) = (format!("{}#{task}", package.name()), settings["dependsOn"].clone());
            if let (Some(needs), Some(more)) = (needs.as_array_mut(), all[&key]["dependsOn"].as_array()) {
                needs.extend(more.iter().cloned());
            }
            all[&key] = json!({ "dependsOn": needs });
        }
    }
    all
}

fn ordered(graph: &Value, packages: &[&str], build: &str) -> Vec<String> {
    let mut order = Vec::new();
    visit(graph, packages, build, &mut SortedSet::new(), &mut order);
    order
}

fn visit(graph: &Value, packages: &[&str], task: &str, seen: &mut SortedSet<String>, order: &mut Vec<String>) {
    let checks = ["lint", "test", "check", "type", "format", "e2e"];
    let name = task.trim_start_matches(OF_ROOT);
    let is_check = checks.iter().any(|check| name.starts_with(check)) && !name.contains("gen");
    if is_check || !seen.insert(task.to_owned()) {
        return;
    }
    let keys = packages.iter().map(|package| format!("{package}#{task}"));
    for key in std::iter::once(task.to_owned()).chain(keys) {
        let needs = graph[&key]["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for needed in needs.filter(|needed| !needed.starts_with('$')) {
            let name = needed.rsplit('#').next().unwrap_or(needed).trim_start_matches('^');
            visit(graph, packages, if needed.starts_with(OF_ROOT) { needed } else { name }, seen, order);
        }
    }
    order.push(task.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pnpm_that_development_is_said_to_need_installs() {
        for (fields, wanted) in [
            ("{}", "10"),
            ("{\"engines\": {\"pnpm\": \">=9 <10\"}}", "9"),
            ("{\"engines\": {\"pnpm\": \">=12\"}}", "12"),
            (
                "{\"devEngines\": {\"packageManager\": {\"name\": \"pnpm\", \"version\": \"^11.1.2\", \"onFail\": \"download\"}}}",
                "11",
            ),
            (
                "{\"devEngines\": {\"packageManager\": [{\"name\": \"npm\"}, {\"name\": \"pnpm\", \"version\": \"11.2.0\"}]}}",
                "11.2.0",
            ),
            ("{\"devEngines\": {\"packageManager\": {\"name\": \"npm\", \"version\": \"11\"}}}", "10"),
        ] {
            let (_dir, workspace) = crate::written::workspace(&[
                ("package.json", fields),
                ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ]);
            assert_eq!(pnpm(&workspace), wanted, "{fields}");
        }
    }

    #[test]
    fn a_pnpm_that_takes_the_lock_for_none_does_not_install() {
        for (pnpm, format, wanted) in
            [("8.15.6", "9.0", false), ("8.15.6", "6.0", true), ("9.0.0", "9.0", true), ("10.1.0", "9.0", true)]
        {
            assert_eq!(reads(pnpm, format), wanted, "{pnpm} {format}");
        }
    }

    #[test]
    fn what_the_root_does_at_install_and_no_image_does_is_told() {
        let of = |scripts: &str| {
            let root = format!("{{\"scripts\": {{{scripts}}}}}");
            let (_dir, workspace) = crate::written::workspace(&[
                ("package.json", root.as_str()),
                ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ]);
            of_root_install(&workspace)
        };
        let patched = of("\"postinstall\": \"is-ci || husky install; npx patch-package\"").unwrap();
        assert!(patched.starts_with("the root's `postinstall` (npx patch-package) runs in no image"), "{patched}");
        assert!(patched.ends_with("`pnpm patch` makes patches that each install takes"), "{patched}");
        assert!(of("\"prepare\": \"node scripts/setup.mjs\"").unwrap().contains("`prepare` (node scripts/setup.mjs)"));
        for harmless in ["husky || true", "pnpm -r build", "npx only-allow pnpm", "CI=1 turbo run codegen", "pnpm exec husky"] {
            assert_eq!(of(&format!("\"prepare\": \"{harmless}\"")), None, "{harmless}");
        }
        assert_eq!(of("\"build\": \"node build.mjs\""), None);
    }

    #[test]
    fn packages_that_the_root_compiles_by_references_are_compiled_so() {
        let tasks_of = |scripts: &str| {
            let root = format!("\u{feff}{{\"scripts\": {{{scripts}}}}}");
            let (_dir, workspace) = crate::written::workspace(&[
                ("package.json", root.as_str()),
                ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ]);
            tasks(&workspace, &["api"], "build")
        };
        assert_eq!(tasks_of("\"build\": \"tsc -b && pnpm -r build\""), ["references", "build"]);
        let called = "\"build\": \"pnpm run compile\", \"compile\": \"tsc --build tsconfig.build.json\"";
        assert_eq!(tasks_of(called), ["references", "build"]);
        for other in
            ["\"build\": \"tsc -p .\"", "\"build\": \"pnpm -r build\", \"types\": \"tsc -b\"", "\"build\": \"pnpm build\""]
        {
            assert_eq!(tasks_of(other), ["build"], "{other}");
        }
    }

    #[test]
    fn tasks_stand_behind_what_they_depend_on_and_checks_are_left_out() {
        let graph = json!({"build": {"dependsOn": ["^build", "codegen", "lint", "@acme/db#db:generate"]}, "codegen": {"dependsOn": ["^build", "prepare:data"]}});
        assert_eq!(ordered(&graph, &["@acme/web"], "build"), ["prepare:data", "codegen", "db:generate", "build"]);
        let graph = json!({"build": {"dependsOn": ["typegen", "typecheck"]}});
        assert_eq!(ordered(&graph, &[], "build"), ["typegen", "build"]);
    }

    #[test]
    fn tasks_that_the_root_has_run_at_install_come_first() {
        let of = |scripts: &str| {
            let root = format!("{{\"scripts\": {{{scripts}}}}}");
            let (_dir, workspace) = crate::written::workspace(&[
                ("package.json", root.as_str()),
                ("pnpm-workspace.yaml", "packages: ['packages/*']\n"),
                ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
                ("packages/db/package.json", r#"{"name": "db", "scripts": {"generate": "x", "codegen": "y", "prepare": "z"}}"#),
                ("packages/ui/package.json", r#"{"name": "ui", "scripts": {"generate": "plop"}}"#),
            ]);
            tasks(&workspace, &["api", "db", "ui"], "build").join(" ")
        };
        for postinstall in ["pnpm -r --if-present codegen", "CI=1 turbo run codegen", "husky; pnpm -F db run codegen", "pnpm gen"]
        {
            let scripts = format!("\"postinstall\": \"{postinstall}\", \"gen\": \"pnpm --filter=db codegen\"");
            assert_eq!(of(&scripts), "codegen build", "{postinstall}");
        }
        for other in ["pnpm --filter db generate", "pnpm -r build", "pnpm -r prepare", "pnpm -r missing", "pnpm exec codegen"] {
            assert_eq!(of(&format!("\"prepare\": \"{other}\"")), "build", "{other}");
        }
    }

    #[test]
    fn what_a_packages_own_settings_put_before_a_task_runs_before_it() {
        let (_dir, workspace) = crate::written::workspace(&[
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("turbo.json", r#"{"tasks": {"build": {"dependsOn": ["^build"]}, "web#build": {"dependsOn": ["assets"]}}}"#),
            ("apps/web/package.json", r#"{"name": "web"}"#),
            (
                "apps/web/turbo.json",
                r#"{"extends": ["//"], "tasks": {"build": {"dependsOn": ["$TURBO_EXTENDS$", "codegen"]}, "dev": {}}}"#,
            ),
            ("apps/db/package.json", r#"{"name": "db", "nx": {"targets": {"build": {"dependsOn": ["generate"]}}}}"#),
        ]);
        assert_eq!(tasks(&workspace, &["web"], "build"), ["codegen", "assets", "build"]);
        assert_eq!(tasks(&workspace, &["web", "db"], "build"), ["codegen", "assets", "generate", "build"]);
        assert_eq!(tasks(&workspace, &["other"], "build"), ["build"]);
    }
}
