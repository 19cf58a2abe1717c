//! Installs from pruned contexts, by every pnpm.

use std::collections::BTreeSet;
use std::path::Path;

use crate::synthetic;
use support::pnpm::{Pnpm, all, loadable, store, with_eight};
use support::repo;

/// A copy of the workspace's own files, where an install may write.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What an install of `package` and its needs in a fresh copy of `workspace` puts in place.
struct Installed {
    /// What the closure's packages can load.
    loadable: BTreeSet<String>,
    /// Everything in the virtual store.
    store: BTreeSet<String>,
}

fn install(pnpm: &Pnpm, workspace: &Path, package: &str, packages: &[String], production: bool) -> Installed {
    let copied = tempfile::tempdir().unwrap();
    copy(workspace, copied.path());
    let filter = format!("{package}...");
    let mut args = vec!["install", "--frozen-lockfile", "--prefer-offline", "--filter", &filter];
    args.extend(production.then_some("--prod"));
    let dirs = || packages.iter().map(String::as_str).chain(["."]);
    let locks = |root: &Path| dirs().map(|dir| std::fs::read(root.join(dir).join("pnpm-lock.yaml")).ok()).collect::<Vec<_>>();
    if packages.iter().any(|dir| dir != "." && workspace.join(dir).join("pnpm-lock.yaml").exists()) {
        // Else the root, whose lock is its own, is not installed.
        args.extend(["--filter", "."]);
    }
    pnpm.must(copied.path(), &args);
    assert_eq!(locks(copied.path()), locks(workspace), "pnpm {} wrote a lock again", pnpm.major);
    Installed { loadable: loadable(copied.path(), packages), store: store(copied.path()) }
}

/// Every pnpm beside the others: most of the time they wait.
fn with_each(pnpms: &[Pnpm], check: impl Fn(&Pnpm) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        let threads: Vec<_> = pnpms.iter().map(|pnpm| scope.spawn(move || check(pnpm))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// The whole workspace's install also brings the root's own dependencies, which no other package may load: they are not compared, and
/// the context must not have them.
#[test]
fn a_pruned_context_installs_what_the_packages_load_in_the_whole_workspace_and_nothing_else() {
    with_each(all(), |pnpm| {
        let (whole, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        synthetic::workspace(whole.path(), pnpm);
        for (package, production) in [("api", false), ("api", true), ("web", false)] {
            let packages = packages(&prune(whole.path(), package, out.path(), &[]));
            let layer = out.path().join(if production { "production" } else { "manifests" });
            let expected = install(pnpm, whole.path(), package, &packages, production);
            let found = install(pnpm, &layer, package, &packages, production);
            let what = format!("pnpm {} {package} production {production}", pnpm.major);
            same(&what, &expected.loadable, &found.loadable);
            let debug = format!("apps/{package}/node_modules/debug -> ");
            assert!(found.loadable.iter().any(|entry| entry.starts_with(&debug)), "{what}: nothing was installed");
            let loaded = |entry: &&String| found.loadable.iter().any(|path| path.contains(&format!(".pnpm/{entry}/")));
            let idle: Vec<_> = found.store.iter().filter(|entry| !loaded(entry)).collect();
            assert!(idle.is_empty(), "{what}: installed for nobody: {idle:#?}");
        }
    });
}

/// A command of the root's that a script calls, a package of the workspace, one with peers, and what only development takes.
const SMALL: [(&str, &str); 5] = [
    ("package.json", r#"{"name": "root", "private": true, "devDependencies": {"semver": "7.7.3", "is-even": "1.0.0"}}"#),
    (
        "apps/api/package.json",
        r#"{"name": "api", "scripts": {"build": "semver 1.0.0"}, "dependencies": {"words": "workspace:*", "debug": "4.3.4", "supports-color": "8.1.1"},
            "devDependencies": {"is-odd": "3.0.1"}}"#,
    ),
    (
        "packages/words/package.json",
        r#"{"name": "words", "version": "1.0.0", "dependencies": {"is-number": "6.0.0", "ms": "2.1.2"}}"#,
    ),
    ("packages/bare/package.json", r#"{"name": "bare", "version": "1.0.0"}"#),
    ("apps/web/package.json", r#"{"name": "web", "dependencies": {"words": "workspace:*", "ms": "2.1.3"}}"#),
];

fn small(root: &Path, pnpm: &Pnpm, own_locks: bool) {
    for (path, text) in SMALL {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // pnpm 8 and 9 know this setting from `.npmrc` alone.
    std::fs::write(root.join(".npmrc"), format!("shared-workspace-lockfile={}\n", !own_locks)).unwrap();
    let settings = format!("packages:\n  - apps/*\n  - packages/*\nsharedWorkspaceLockfile: {}\n", !own_locks);
    std::fs::write(root.join("pnpm-workspace.yaml"), settings).unwrap();
    pnpm.must(root, &["install", "--lockfile-only"]);
}

/// Locks of format 6.0, and packages that have one each: an install from the cut equals the one from the whole, and reads no other lock.
#[test]
fn a_lock_of_pnpm_8_and_locks_of_packages_own_are_cut_to_what_is_installed() {
    with_each(with_eight(), |pnpm| {
        for own_locks in [false, true].into_iter().filter(|own_locks| *own_locks || pnpm.major == 8) {
            let (whole, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            small(whole.path(), pnpm, own_locks);
            assert_eq!(whole.path().join("apps/api/pnpm-lock.yaml").exists(), own_locks, "pnpm {}", pnpm.major);
            let report = prune(whole.path(), "api", out.path(), &[]);
            assert_eq!(report["warnings"], serde_json::json!([]), "pnpm {}", pnpm.major);
            let packages = packages(&report);
            assert_eq!(packages, ["apps/api", "packages/words"]);
            for production in [false, true] {
                let layer = out.path().join(if production { "production" } else { "manifests" });
                let expected = install(pnpm, whole.path(), "api", &packages, production);
                let found = install(pnpm, &layer, "api", &packages, production);
                same(
                    &format!("pnpm {} own {own_locks} production {production}", pnpm.major),
                    &expected.loadable,
                    &found.loadable,
                );
                assert!(found.loadable.iter().any(|entry| entry.starts_with("packages/words/node_modules/is-number -> ")));
                let tool = |entry: &&String| entry.starts_with("semver@");
                assert_eq!(found.store.iter().any(|entry| tool(&entry)), !production, "the root's command is there to build");
                assert!(!found.store.iter().any(|entry| entry.starts_with("is-even@")), "nobody calls it");
            }
        }
    });
}

/// Dockerfiles made for turbo's layout install without a filter.
#[test]
fn the_layout_of_turbo_installs_the_roots_own_dependencies_too() {
    let pnpm = &all()[1];
    let (whole, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    synthetic::workspace(whole.path(), pnpm);
    let packages = packages(&prune(whole.path(), "web", out.path(), &["--docker"]));
    let expected = install(pnpm, whole.path(), "web", &packages, false);
    let json = tempfile::tempdir().unwrap();
    copy(&out.path().join("json"), json.path());
    pnpm.must(json.path(), &["install", "--frozen-lockfile", "--prefer-offline"]);
    same("turbo's layout", &expected.store, &store(json.path()));
    assert!(json.path().join("node_modules/is-odd").exists());
}

#[test]
fn the_comparison_sees_a_package_that_is_missing_though_pnpm_exits_well() {
    let pnpm = &all()[1];
    let (whole, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    synthetic::workspace(whole.path(), pnpm);
    let packages = packages(&prune(whole.path(), "web", out.path(), &[]));
    let layer = out.path().join("manifests");
    let before = install(pnpm, &layer, "web", &packages, false);
    // Without `packages:` pnpm sees the root alone, selects nothing, and is content.
    std::fs::remove_dir_all(layer.join("apps")).unwrap();
    let after = install(pnpm, &layer, "web", &packages, false);
    assert_ne!(before.loadable, after.loadable);
}

#[test]
fn a_lock_that_is_not_understood_is_used_whole_and_said_so() {
    let pnpm = &all()[1];
    let (whole, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    synthetic::workspace(whole.path(), pnpm);
    let lock = whole.path().join("pnpm-lock.yaml");
    let text = std::fs::read_to_string(&lock).unwrap().replacen("importers:\n", "novelty: true\n\nimporters:\n", 1);
    std::fs::write(&lock, &text).unwrap();
    let report = prune(whole.path(), "web", out.path(), &[]);
    assert!(report["warnings"].to_string().contains("unknown key `novelty`"), "{report}");
    let layer = out.path().join("manifests");
    assert_eq!(std::fs::read_to_string(layer.join("pnpm-lock.yaml")).unwrap(), text);
    let packages = ["apps/web".to_owned(), "packages/pub".to_owned()];
    let (expected, found) =
        (install(pnpm, whole.path(), "web", &packages, false), install(pnpm, &layer, "web", &packages, false));
    same("the whole lock", &expected.loadable, &found.loadable);
}

#[track_caller]
fn same(what: &str, expected: &BTreeSet<String>, found: &BTreeSet<String>) {
    let missing: Vec<_> = expected.difference(found).collect();
    let extra: Vec<_> = found.difference(expected).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{what}\nmissing {missing:#?}\nextra {extra:#?}");
}

fn packages(report: &serde_json::Value) -> Vec<String> {
    serde_json::from_value(report["packages"].clone()).unwrap()
}

/// Runs the command as a user would; its report.
#[track_caller]
pub fn prune(workspace: &Path, package: &str, out: &Path, more: &[&str]) -> serde_json::Value {
    let args = ["prune", package, "--workspace", workspace.to_str().unwrap(), "--out", out.to_str().unwrap(), "--json"];
    repo::xtask(workspace, &[&args[..], more].concat()).exits(0).json()
}
