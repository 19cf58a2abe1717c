//! Adopting the tool in a monorepo that has never heard of it: what is written there builds, and is left alone from then on.

use std::path::Path;

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use serde_json::Value;

use crate::harness::{docker, turn};
use crate::support::engine::{environment_of, shared};
use crate::support::repo::{Ran, git, here, xtask, xtask_command};

/// Two packages that need nothing from npm, one with a build script, in a repository with a `Cargo.toml` and a `.gitignore` of its own.
const FILES: [(&str, &str); 10] = [
    ("package.json", "{\"name\": \"small\", \"private\": true, \"packageManager\": \"pnpm@10.34.9\"}\n"),
    ("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n"),
    (
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n\n  \
         apps/adopted:\n    dependencies:\n      '@small/words':\n        specifier: workspace:*\n        version: link:../../packages/words\n\n  \
         apps/scratch: {}\n\n  packages/words: {}\n",
    ),
    (
        "apps/adopted/package.json",
        "{\"name\": \"@small/adopted\", \"type\": \"module\", \"scripts\": {\"start\": \"node main.js\"},\n \"dependencies\": \
         {\"@small/words\": \"workspace:*\"}}\n",
    ),
    ("apps/adopted/main.js", "import { greeting } from '@small/words';\nconsole.log(greeting);\n"),
    ("apps/scratch/package.json", "{\"name\": \"@small/scratch\"}\n"),
    (
        "packages/words/package.json",
        "{\"name\": \"@small/words\", \"type\": \"module\", \"main\": \"dist/index.js\",\n \"scripts\": {\"build\": \"node build.js\"}}\n",
    ),
    (
        "packages/words/build.js",
        "import { mkdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\n\
         writeFileSync('dist/index.js', \"export const greeting = 'adopted and built';\\n\");\n",
    ),
    ("Cargo.toml", "[workspace]\nmembers = [\"native\"]\nresolver = \"3\"\n"),
    (".gitignore", "node_modules\n"),
];

/// Every file below a folder that git would track, with its content.
fn snapshot(root: &Path) -> Vec<(String, Vec<u8>)> {
    let listed = git(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let files = listed.split('\0').filter(|file| !file.is_empty());
    files.map(|file| (file.to_owned(), std::fs::read(root.join(file)).unwrap())).collect()
}

#[test]
fn a_monorepo_builds_after_init_and_a_second_init_changes_nothing() {
    let _turn = turn();
    shared();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("small");
    for (file, text) in FILES {
        std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        std::fs::write(root.join(file), text).unwrap();
    }
    let native = root.join("native/src");
    std::fs::create_dir_all(&native).unwrap();
    std::fs::write(native.join("lib.rs"), "").unwrap();
    std::fs::write(root.join("native/Cargo.toml"), "[package]\nname = \"native\"\nversion = \"0.1.0\"\n").unwrap();
    git(&root, &["init", "--quiet", "--initial-branch=main"]);

    let before = snapshot(&root);
    let init = |more: &[&str]| xtask(here(), &[&["init", "--dir", root.to_str().unwrap()], more].concat());
    let dry = init(&["--dry-run"]).exits(0);
    assert_eq!(snapshot(&root), before, "a dry run wrote something");
    let told = init(&[]).exits(0).stdout;
    for line in [
        "copy         xtask",
        "change       Cargo.toml: add the member `xtask`",
        "write        Cargo.lock",
        "write        .cargo/config.toml",
        "change       .gitignore: add `target/`",
        "write        Dockerfile.monorepo-optimized",
        "no service   apps/scratch: its package.json has neither a start script nor `main`",
    ] {
        assert!(told.contains(line) && dry.stdout.contains(line), "{line}: {told}");
    }
    assert!(told.contains("next: cd ") && told.ends_with("cargo xtask doctor, then cargo xtask build\n"), "{told}");
    let [ours, theirs] = [here(), &root].map(|root| std::fs::read_to_string(root.join(".cargo/config.toml")).unwrap());
    assert_eq!(theirs, ours, "the alias is another there");
    let cargo = Invocation::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).dir(&root);
    let metadata: Value = serde_json::from_str(&cargo.read(&Shutdown::new()).unwrap()).unwrap();
    let members: Vec<&str> = metadata["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(members.contains(&"native") && members.contains(&"xtask"), "{members:?}");
    // What `cargo test` finds there says nothing of this repository.
    let tool = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "xtask").unwrap();
    let targets: Vec<&str> = tool["targets"].as_array().unwrap().iter().map(|t| t["kind"][0].as_str().unwrap()).collect();
    assert_eq!(targets, ["lib", "bin"]);
    assert!(!root.join("xtask/tests").exists() && !root.join("xtask/benches").exists());

    let data = environment_of("shared").get("XTASK_ENGINE_DATA").unwrap().to_owned();
    let run = |args: &[&str]| {
        let mut command = xtask_command(&root, args);
        command
            .env("XTASK_ENGINE_DATA", &data)
            .env("XTASK_BUILDERS_ENGINE", "embedded")
            .env("XTASK_BUILDERS_STAND_INS", "always");
        Ran::new(args, &command.output().unwrap())
    };
    let doctor = run(&["doctor", "--json"]).json();
    let bad = |finding: &&Value| finding["severity"] == "problem" && finding["area"] != "disk";
    assert!(!doctor["findings"].as_array().unwrap().iter().any(|finding| bad(&finding)), "{doctor:#}");
    run(&["build"]).exits(0);
    assert_eq!(docker(shared(), &["run", "--rm", "local/adopted:dev"]).trim(), "adopted and built");

    let before = snapshot(&root);
    let again = init(&[]).exits(0).stdout;
    assert!(!again.contains("write ") && !again.contains("change ") && !again.contains("copy "), "{again}");
    assert_eq!(snapshot(&root), before, "a second init changed something");
}

#[test]
fn the_generated_dockerfile_installs_as_this_repositorys_own_does() {
    let own = std::fs::read_to_string(here().join("Dockerfile.monorepo-optimized")).unwrap();
    let template = std::fs::read_to_string(here().join("xtask/src/stage/init/head.Dockerfile")).unwrap();
    let script = |text: &str| {
        let from = text.find("/usr/local/bin/install-closure").unwrap();
        text[from..from + text[from..].find("\nSCRIPT\n").unwrap()].to_owned()
    };
    assert_eq!(script(&template), script(&own), "one of them was changed and the other was not");
}

#[test]
fn a_folder_that_is_no_pnpm_workspace_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let refused = xtask(here(), &["init", "--dir", dir.path().to_str().unwrap()]).exits(2);
    assert!(refused.stderr.contains("is not the root of a pnpm workspace"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
