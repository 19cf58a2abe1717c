//! What `cargo xtask prune` writes and refuses, on workspaces that need no package manager.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::ioctl_fionread;

use crate::installs::prune;
use support::repo::{git, xtask, xtask_command};

const LOCK: &str = "lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .: {}

  apps/api:
    dependencies:
      '@s/core':
        specifier: workspace:*
        version: link:../../packages/core

  apps/web: {}

  packages/core: {}
";

/// Two services and a package in a git repository, with the odd files that a context must get right.
fn workspace() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("package.json", r#"{"name": "root", "private": true, "type": "module"}"#);
    write("pnpm-workspace.yaml", "packages: [apps/*, packages/*]\n");
    write("pnpm-lock.yaml", LOCK);
    write(".gitignore", "node_modules\n*.log\n");
    write(".dockerignore", "**/*.md\n!**/KEEP.md\n");
    write(
        "apps/api/package.json",
        r#"{"name": "api", "scripts": {"build": "tsc -b"}, "dependencies": {"@s/core": "workspace:*"}}"#,
    );
    write("apps/api/tsconfig.json", "{ // base\n \"extends\": \"../../config/tsconfig/node.json\", }");
    write("config/tsconfig/node.json", r#"{"extends": "./strict"}"#);
    write("config/tsconfig/strict.json", "{}");
    write("config/tsconfig/unused.json", "{}");
    write("apps/api/src/main.ts", "export {}\n");
    write("apps/api/src/ünïcode name [1].ts", "export {}\n");
    write("apps/api/README.md", "left out\n");
    write("apps/api/KEEP.md", "kept\n");
    write("apps/api/debug.log", "ignored by git\n");
    write("apps/api/node_modules/x/package.json", "{}");
    write("apps/api/run.sh", "#!/bin/sh\n");
    write("apps/web/package.json", r#"{"name": "web"}"#);
    write("packages/core/package.json", r#"{"name": "@s/core"}"#);
    write("LICENSE", "free\n");
    std::fs::set_permissions(root.path().join("apps/api/run.sh"), PermissionsExt::from_mode(0o775)).unwrap();
    symlink("../../LICENSE", root.path().join("apps/api/LICENSE")).unwrap();
    git(root.path(), &["init", "--quiet"]);
    git(root.path(), &["add", "--all"]);
    root
}

/// Every file below `dir` with its mode, or a link's target.
fn listing(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(dir.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let meta = entry.path().symlink_metadata().unwrap();
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                found.insert(path.to_str().unwrap().to_owned(), format!("-> {}", target.display()));
            } else {
                found.insert(path.to_str().unwrap().to_owned(), format!("{:o}", meta.permissions().mode() & 0o777));
            }
        }
    }
    found
}

#[test]
fn sources_are_what_git_lists_and_docker_does_not_ignore_of_the_closure_alone() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let report = prune(root.path(), "api", out.path(), &[]);
    assert_eq!(report["packages"], serde_json::json!(["apps/api", "packages/core"]));
    let found = listing(&out.path().join("sources"));
    for (path, mode) in [
        ("apps/api/src/main.ts", "644"),
        ("apps/api/src/ünïcode name [1].ts", "644"),
        ("apps/api/run.sh", "755"),
        ("apps/api/KEEP.md", "644"),
        ("apps/api/LICENSE", "-> ../../LICENSE"),
        ("packages/core/package.json", "644"),
        ("config/tsconfig/node.json", "644"),
        ("config/tsconfig/strict.json", "644"),
        // What the link leads to is taken along.
        ("LICENSE", "644"),
    ] {
        assert_eq!(found.get(path).map(String::as_str), Some(mode), "{path}: {found:#?}");
    }
    let foreign = |path: &&String| {
        ["apps/web", "node_modules", ".log", "README.md", ".git", "unused.json"].iter().any(|part| path.contains(part))
    };
    assert_eq!(found.keys().filter(foreign).collect::<Vec<_>>(), Vec::<&String>::new());
    let manifests: Vec<String> = listing(&out.path().join("manifests")).into_keys().collect();
    let expected =
        ["apps/api/package.json", "package.json", "packages/core/package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"];
    assert_eq!(manifests, expected);
    let lock = std::fs::read_to_string(out.path().join("manifests/pnpm-lock.yaml")).unwrap();
    assert_eq!(lock, LOCK.replace("  apps/web: {}\n\n", ""));
}

#[test]
fn a_second_run_touches_only_what_changed_and_removes_what_is_gone() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    prune(root.path(), "api", out.path(), &[]);
    let time = |path: &str| {
        let meta = out.path().join(path).symlink_metadata().unwrap();
        (meta.ino(), meta.mtime(), meta.mtime_nsec())
    };
    // What it remembers for the next run lies beside the contexts.
    let all: Vec<String> = listing(out.path()).into_keys().filter(|path| !path.starts_with(".stamps/")).collect();
    let before: BTreeMap<&String, _> = all.iter().map(|path| (path, time(path))).collect();
    // Equal size, another content.
    std::fs::write(root.path().join("apps/api/src/main.ts"), "export  \n").unwrap();
    std::fs::remove_file(root.path().join("apps/api/KEEP.md")).unwrap();
    std::fs::write(out.path().join("sources/foreign"), "x").unwrap();
    prune(root.path(), "api", out.path(), &["--overwrite"]);
    let changed: Vec<&str> = before
        .iter()
        .filter(|(path, _)| out.path().join(path).symlink_metadata().is_ok())
        .filter(|(path, then)| time(path) != **then)
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(changed, ["sources/apps/api/src/main.ts"]);
    assert_eq!(std::fs::read_to_string(out.path().join("sources/apps/api/src/main.ts")).unwrap(), "export  \n");
    assert!(!out.path().join("sources/apps/api/KEEP.md").exists() && !out.path().join("sources/foreign").exists());
}

#[test]
fn what_an_earlier_run_did_not_write_is_neither_removed_nor_overwritten() {
    let root = workspace();
    let write = |dir: &Path, path: &str, text: &str| {
        std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.join(path), text).unwrap();
    };
    // What lies in a folder before, which flags go there, and what the refusal names.
    for (path, flags) in [
        ("sources/thesis.txt", &[][..]),
        ("manifests/package.json", &[]),
        ("production/deep/er/notes.md", &["--prod"]),
        ("full/apps/api/src/main.ts", &["--docker"]),
        ("pnpm-lock.yaml", &["--docker"]),
        ("sources", &[]),
    ] {
        let out = tempfile::tempdir().unwrap();
        write(out.path(), path, "precious");
        let ran = |more: &[&str]| {
            let args = ["prune", "api", "--out", out.path().to_str().unwrap()];
            xtask(root.path(), &[&args[..], flags, more].concat())
        };
        let refused = ran(&[]).exits(2);
        assert!(refused.stderr.contains(path.split('/').next().unwrap()) && refused.stderr.contains("--overwrite"));
        let kept = listing(out.path());
        assert_eq!((kept.len(), std::fs::read_to_string(out.path().join(path)).unwrap().as_str()), (1, "precious"), "{kept:?}");
        ran(&["--overwrite"]).exits(0);
        assert!(
            std::fs::read_to_string(out.path().join(path)).is_ok_and(|text| text != "precious")
                || !path.contains('.')
                || !out.path().join(path).exists()
        );
        ran(&[]).exits(0);
    }
    // Beside the folders anything may lie; what was put into them afterwards, or edited there, is no run's either.
    let out = tempfile::tempdir().unwrap();
    write(out.path(), "thesis.txt", "precious");
    prune(root.path(), "api", out.path(), &[]);
    prune(root.path(), "api", out.path(), &[]);
    write(out.path(), "sources/apps/api/src/main.ts", "edited");
    let args = ["prune", "api", "--out", out.path().to_str().unwrap()];
    let ran = xtask(root.path(), &args).exits(2);
    assert!(ran.stderr.contains("main.ts` was edited since"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(out.path().join("thesis.txt")).unwrap(), "precious");
}

#[test]
fn no_flag_prunes_into_the_repository_or_over_the_machine() {
    let root = workspace();
    let name = root.path().file_name().unwrap().to_str().unwrap();
    symlink(".", root.path().join("again")).unwrap();
    let inner = root.path().join("sources");
    std::fs::create_dir(&inner).unwrap();
    for (out, why) in [
        ("/", "is the root of the file system"),
        ("/etc", "is a folder of the system"),
        ("/usr/../tmp", "is a folder of the system"),
        (".", "holds the repository"),
        ("again", "holds the repository"),
        (&format!("new/../../{name}")[..], "holds the repository"),
        ("apps", "holds packages"),
        ("apps/api", "holds packages"),
        (".git", "is git's"),
        (".git/new", "is git's"),
    ] {
        let ran = xtask(root.path(), &["prune", "api", "--overwrite", "--out", out]).exits(2);
        assert!(ran.stderr.contains(why) && ran.stderr.contains("name a folder of its own"), "{out}: {}", ran.stderr);
    }
    // A repository that is itself called like one of the folders.
    let around = tempfile::tempdir().unwrap();
    let inside = around.path().join("sources");
    std::fs::rename(root.path(), &inside).unwrap();
    let ran = xtask(&inside, &["prune", "api", "--overwrite", "--out", ".."]).exits(2);
    assert!(ran.stderr.contains("holds the repository"), "{}", ran.stderr);
}

#[test]
fn what_the_configuration_includes_is_taken_along_and_what_is_imported_and_left_out_is_named() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(root.path().join(path), text).unwrap();
    };
    write("lib/x.mjs", "export const x = 1\n");
    write("prisma/schema.prisma", "model A {}\n");
    write("apps/api/src/main.ts", "import { x } from '../../../lib/x.mjs'\nexport default x\n");
    git(root.path(), &["add", "--all"]);
    let report = prune(root.path(), "api", out.path(), &[]);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("apps/api/src/main.ts:1 needs `../../../lib/x.mjs`") && warnings.contains("include = "),
        "{warnings}"
    );
    write("xtask.toml", "[[service]]\nname = \"api\"\ninclude = [\"lib/*.mjs\", \"prisma/**\"]\n");
    let report = prune(root.path(), "api", out.path(), &[]);
    assert_eq!(report["warnings"], serde_json::json!([]));
    let sources = listing(&out.path().join("sources"));
    assert!(sources.contains_key("lib/x.mjs") && sources.contains_key("prisma/schema.prisma"), "{sources:#?}");
    write("xtask.toml", "[[service]]\nname = \"api\"\ninclude = [\"libs/*\"]\n");
    let args = ["prune", "api", "--out", out.path().to_str().unwrap()];
    let ran = xtask(root.path(), &args).exits(2);
    assert!(ran.stderr.contains("`include` names `libs/*`, and git has no such file"), "{}", ran.stderr);
    write("xtask.toml", "[[service]]\nname = \"api\"\ninclude = [\"../other\"]\n");
    let ran = xtask(root.path(), &args).exits(2);
    assert!(ran.stderr.contains("`../other` is not a pattern"), "{}", ran.stderr);
}

#[test]
fn the_dockerfiles_own_ignore_file_counts_as_it_does_in_a_build() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    std::fs::write(root.path().join("xtask.toml"), "[images]\ndockerfile = \"docker/app.Dockerfile\"\n").unwrap();
    std::fs::create_dir(root.path().join("docker")).unwrap();
    std::fs::write(root.path().join("docker/app.Dockerfile.dockerignore"), "**/run.sh\n").unwrap();
    prune(root.path(), "api", out.path(), &[]);
    let sources = listing(&out.path().join("sources"));
    assert!(!sources.contains_key("apps/api/run.sh") && sources.contains_key("apps/api/README.md"), "{sources:#?}");
}

#[test]
fn a_package_of_the_workspace_that_is_not_there_is_refused_with_what_brings_it_back() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let args = ["prune", "api", "--out", out.path().to_str().unwrap()];
    std::fs::remove_dir_all(root.path().join("packages/core")).unwrap();
    let ran = xtask(root.path(), &args).exits(2);
    assert!(ran.stderr.contains("apps/api needs the workspace package `@s/core`, which is not there"), "{}", ran.stderr);
    // A clone without its submodules has an empty folder there.
    git(root.path(), &["rm", "--quiet", "-r", "--cached", "packages/core"]);
    let entry = format!("160000,{},packages/core", "1".repeat(40));
    git(root.path(), &["update-index", "--add", "--cacheinfo", &entry]);
    std::fs::create_dir_all(root.path().join("packages/core")).unwrap();
    let ran = xtask(root.path(), &args).exits(2);
    assert!(ran.stderr.contains("git submodule update --init --recursive packages/core"), "{}", ran.stderr);
}

#[test]
fn a_reader_of_standard_error_that_has_gone_takes_nothing_from_the_report() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    symlink("../../../nowhere", root.path().join("apps/api/src/gone")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let args = ["prune", "api", "--json", "--out", out.path().to_str().unwrap()];
    let output = xtask_command(root.path(), &args).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1, "{report}");
}

#[test]
fn a_pipe_that_was_set_not_to_wait_is_waited_for() {
    /// What a pipe holds (pipe(7)).
    const PIPE: u64 = 65_536;
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
    let root = workspace();
    let mut child = xtask_command(root.path(), &["completions", "bash"]).stdout(writer).spawn().unwrap();
    // Nobody reads until it is full.
    while ioctl_fionread(&reader).unwrap() < PIPE {
        assert!(child.try_wait().unwrap().is_none(), "it ended before all was taken");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(String::from_utf8(read).unwrap().trim_end().ends_with("cargo-xtask"), "its end is lost");
}

#[test]
fn a_script_or_another_service_leaves_the_install_layer_alone() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    prune(root.path(), "api", out.path(), &[]);
    let read = |dir: &str| {
        let dir = out.path().join(dir);
        listing(&dir).into_keys().map(|path| (path.clone(), std::fs::read(dir.join(path)).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let before = (read("manifests"), read("production"));
    let manifest = r#"{"name": "api", "scripts": {"build": "tsc -b --force"}, "dependencies": {"@s/core": "workspace:*"}}"#;
    std::fs::write(root.path().join("apps/api/package.json"), manifest).unwrap();
    std::fs::write(root.path().join("apps/web/package.json"), r#"{"name": "web", "dependencies": {"@s/core": "workspace:*"}}"#)
        .unwrap();
    prune(root.path(), "api", out.path(), &[]);
    assert_eq!((read("manifests"), read("production")), before);
}

#[test]
fn a_link_out_of_the_repository_is_refused() {
    for target in ["/etc/hosts", "../../../elsewhere"] {
        let (root, out) = (workspace(), tempfile::tempdir().unwrap());
        symlink(target, root.path().join("apps/api/away")).unwrap();
        let args = ["prune", "api", "--out", out.path().to_str().unwrap()];
        let ran = xtask(root.path(), &args).fails();
        assert!(ran.stderr.contains("apps/api/away") && ran.stderr.contains("hint"), "{}", ran.stderr);
        // One that the context would not hold is nobody's business.
        xtask(root.path(), &["prune", "web", "--out", out.path().to_str().unwrap()]).exits(0);
    }
}

#[test]
fn a_submodule_that_is_not_checked_out_is_refused() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let entry = format!("160000,{},apps/api/vendored", "1".repeat(40));
    git(root.path(), &["update-index", "--add", "--cacheinfo", &entry]);
    std::fs::create_dir(root.path().join("apps/api/vendored")).unwrap();
    let ran = xtask(root.path(), &["prune", "api", "--out", out.path().to_str().unwrap()]).fails();
    assert!(ran.stderr.contains("apps/api/vendored"), "{}", ran.stderr);
}

#[test]
fn an_unknown_package_is_answered_with_the_nearest_name() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let ran = xtask(root.path(), &["prune", "apy", "--out", out.path().to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("apy") && ran.stderr.contains("did you mean `api`?"), "{}", ran.stderr);
}

#[test]
fn the_layout_of_turbo_is_there_for_dockerfiles_that_expect_it() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    prune(root.path(), "api", out.path(), &["--docker"]);
    let found = listing(out.path());
    for path in [
        "json/package.json",
        "json/apps/api/package.json",
        "json/packages/core/package.json",
        "full/apps/api/src/main.ts",
        "full/package.json",
        "pnpm-lock.yaml",
    ] {
        assert!(found.contains_key(path), "{path}: {found:#?}");
    }
    assert!(!found.keys().any(|path| path.contains("apps/web")), "{found:#?}");
}
