//! What is there stays as it is: workspaces, settings, crates and commands of the adopter's own.

use crate::foreign::{Foreign, Library};
use support::repo::{Ran, git, here, xtask, xtask_command};

const WORKSPACE: &str = "# The native parts.\n[workspace]\nmembers = [\n  \"packages/native\", # napi\n]\nresolver = \"2\"\n\n[profile.dev]\n\
                         opt-level = 1 # ours\n";
const SETTINGS: &str = "[build]\njobs = 2 # few\n\n[alias]\nnative = \"build --package native\"\n";

/// Every line of a text, in its order, is among those of another.
fn keeps(before: &str, after: &str) -> bool {
    let mut lines = after.lines();
    before.lines().all(|wanted| lines.any(|line| line == wanted))
}

/// The members of cargo's workspace as cargo sees them from a folder.
fn members(foreign: &Foreign, folder: &str) -> Vec<String> {
    let metadata = foreign.cargo(folder, &["metadata", "--no-deps", "--format-version", "1"]).exits(0).json();
    let mut names: Vec<String> =
        metadata["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_workspace_gets_a_member_and_keeps_every_line() {
    let library = Library::new();
    let foreign = Foreign::new();
    foreign.write("Cargo.toml", WORKSPACE);
    foreign.write(".cargo/config.toml", SETTINGS);
    foreign.init(&library.path(), &[]).exits(0);
    assert!(keeps(WORKSPACE, &foreign.read("Cargo.toml")), "{}", foreign.read("Cargo.toml"));
    assert!(keeps(SETTINGS, &foreign.read(".cargo/config.toml")), "{}", foreign.read(".cargo/config.toml"));
    for folder in [".", "packages/native", "apps/api"] {
        assert_eq!(members(&foreign, folder), ["native", "xtask"], "{folder}");
    }
    // Cargo in their Dockerfiles needs these.
    let ignored = foreign.read(".dockerignore");
    assert!(!ignored.contains("Cargo.*") && ignored.contains("\nxtask\n"), "{ignored}");
}

#[test]
fn a_toolchain_that_is_too_old_is_refused_before_it_can_build_nothing_any_more() {
    let foreign = Foreign::new();
    foreign.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.80.1\"\n");
    let before = foreign.content();
    let init = || xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"]);
    let refused = init().exits(2).stderr;
    assert!(refused.contains("rust-toolchain.toml pins Rust 1.80.1, and the library needs "), "{refused}");
    assert_eq!(foreign.content(), before);
    foreign.write("rust-toolchain.toml", "[toolchain]\nchannel = \"stable\"\n");
    init().exits(0);
}

#[test]
fn links_line_ends_and_what_is_to_be_known_of_cargos_files_are_heeded() {
    let foreign = Foreign::new();
    std::fs::remove_file(foreign.path().join(".gitignore")).unwrap();
    std::fs::write(foreign.path().join(".git/info/exclude"), "Cargo.lock\n").unwrap();
    std::os::unix::fs::symlink("shared/docker", foreign.path().join(".dockerignore")).unwrap();
    foreign.write("shared/docker", "node_modules\n");
    foreign.write("Cargo.toml", &WORKSPACE.replace('\n', "\r\n"));
    let vendored = "[source.crates-io]\nreplace-with = \"ours\"\n\n[source.ours]\ndirectory = \"third_party\"\n";
    foreign.write(".cargo/config.toml", &format!("[build]\ntarget = \"wasm32-unknown-unknown\"\n\n{vendored}"));
    let told = xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"]).exits(0).stdout;
    assert!(told.contains("`cargo vendor third_party` brings those of the library"), "{told}");
    assert!(told.contains("git ignores Cargo.lock, which pins the library"), "{told}");
    assert!(foreign.path().join(".dockerignore").is_symlink());
    let ignored = foreign.read("shared/docker");
    assert!(ignored.starts_with("node_modules\n") && ignored.contains("\ntarget\n"), "{ignored}");
    let manifest = foreign.read("Cargo.toml");
    assert!(manifest.lines().count() == manifest.matches("\r\n").count() && manifest.contains("\"xtask\""), "{manifest:?}");
    // Their other machine does not run the program; this one does.
    foreign.write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    foreign.write("xtask/src/main.rs", "fn main() {\n    println!(\"runs\");\n}\n");
    let settings = foreign.read(".cargo/config.toml").replace(vendored, "");
    foreign.write(".cargo/config.toml", &settings);
    foreign.write("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\n");
    assert_eq!(foreign.cargo("apps/api", &["xtask"]).exits(0).stdout, "runs\n");
}

#[test]
fn a_crate_that_was_moved_is_found_and_one_that_is_a_workspace_of_its_own_is_told_what_to_do() {
    let foreign = Foreign::new();
    let init = || xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"]);
    init().exits(0);
    std::fs::create_dir(foreign.path().join("tools")).unwrap();
    std::fs::rename(foreign.path().join("xtask"), foreign.path().join("tools/xtask")).unwrap();
    foreign.write("Cargo.toml", &foreign.read("Cargo.toml").replace("\"xtask\"", "\"tools/xtask\""));
    let before = foreign.content();
    let told = init().exits(0).stdout;
    assert!(told.contains("keep         tools/xtask: the crate `xtask`, which lies there\n"), "{told}");
    assert_eq!(foreign.content(), before);

    let alone = foreign.read("tools/xtask/Cargo.toml") + "\n[workspace]\n";
    std::fs::rename(foreign.path().join("tools/xtask"), foreign.path().join("xtask")).unwrap();
    foreign.write("xtask/Cargo.toml", &alone);
    std::fs::remove_file(foreign.path().join("Cargo.toml")).unwrap();
    let before = foreign.content();
    for refused in [init(), xtask(foreign.path(), &["ci", "workflow"])] {
        let said = refused.exits(2).stderr;
        assert!(said.contains("xtask/Cargo.toml: this crate is a cargo workspace of its own"), "{said}");
        assert!(said.contains("with `members = [\"xtask\"]`, and name it by `--package` in the alias"), "{said}");
    }
    assert_eq!(foreign.content(), before);
}

#[test]
fn a_command_of_cargos_own_is_no_name_for_the_crate() {
    let foreign = Foreign::new();
    let before = foreign.content();
    let refused = xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--name", "build"]).exits(2).stderr;
    assert!(refused.contains("`--name build`: `cargo build` is a command of cargo's own"), "{refused}");
    assert_eq!(foreign.content(), before);
}

#[test]
fn whatever_tells_cargo_to_build_for_another_machine_the_alias_has_the_tool_built_for_this_one() {
    let alias = |names: &[&str]| {
        let foreign = Foreign::new();
        foreign.write("home/.cargo/config.toml", "[build]\ntarget = \"wasm32-unknown-unknown\"\n");
        let args = ["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"];
        let mut command = xtask_command(here(), &args);
        command.env_remove("CARGO_HOME").env("HOME", foreign.path());
        for name in names {
            let value = if *name == "CARGO_BUILD_TARGET" {
                "aarch64-unknown-linux-gnu".into()
            } else {
                foreign.path().join("home/.cargo")
            };
            command.env(name, value);
        }
        Ran::new(&args, &command.output().unwrap()).exits(0);
        foreign.read(".cargo/config.toml")
    };
    assert!(!alias(&[]).contains("--target"));
    assert!(alias(&["CARGO_BUILD_TARGET"]).contains(" --target host-tuple --package xtask "));
    assert!(alias(&["CARGO_HOME"]).contains(" --target host-tuple --package xtask "));
}

#[test]
fn a_crate_at_the_root_stays_one_and_those_below_it_stay_apart() {
    let library = Library::new();
    let foreign = Foreign::new();
    foreign.write("Cargo.toml", "[package]\nname = \"rooted\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    foreign.write("src/lib.rs", "");
    foreign.write("services/other/Cargo.toml", "[package]\nname = \"other\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    foreign.write("services/other/src/lib.rs", "");
    foreign.init(&library.path(), &[]).exits(0);
    assert_eq!(members(&foreign, "."), ["rooted", "xtask"]);
    assert_eq!(members(&foreign, "packages/native"), ["native"]);
    assert_eq!(members(&foreign, "services/other"), ["other"]);
}

#[test]
fn a_service_whose_sources_import_development_dependencies_gets_them() {
    let init = |source: &str| {
        let foreign = Foreign::new();
        let manifest = r#"{"name": "@shop/api", "scripts": {"build": "tsc", "start": "node dist/main.js"}, "devDependencies": {"dotenv": "17.0.0", "jest": "30.0.0"}}"#;
        foreign.write("apps/api/package.json", manifest);
        foreign.write("apps/api/src/main.ts", source);
        xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io", "--dry-run"]).exits(0).stdout
    };
    let says = "its sources import `dotenv`, a development dependency: the image gets all of them";
    for one in ["import 'dotenv/config';\n", "import { config } from 'dotenv';\n"] {
        assert!(init(one).contains(says), "{one}");
    }
    for other in ["import type { A } from 'dotenv';\n", "// import 'dotenv';\n", "import 'jest';\n"] {
        assert!(!init(other).contains(says), "{other}");
    }
}

#[test]
fn compilers_and_libraries_are_where_dependencies_need_them_and_nowhere_else() {
    let foreign = Foreign::new();
    let manifest = r#"{"name": "@shop/api", "scripts": {"start": "node main.js"}, "dependencies": {"@prisma/client": "6.0.0", "bcrypt": "6.0.0"}}"#;
    foreign.write("apps/api/package.json", manifest);
    foreign.write(
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n\n  apps/api:\n    \
         dependencies:\n      '@prisma/client':\n        specifier: 6.0.0\n        version: 6.0.0\n      bcrypt:\n        specifier: 6.0.0\n        version: 6.0.0\n\n  \
         packages/words: {}\n\npackages:\n\n  '@prisma/client@6.0.0':\n    resolution: {integrity: sha512-a}\n\n  bcrypt@6.0.0:\n    resolution: {integrity: sha512-b}\n\n  \
         node-addon-api@8.0.0:\n    resolution: {integrity: sha512-c}\n\nsnapshots:\n\n  '@prisma/client@6.0.0': {}\n\n  bcrypt@6.0.0:\n    dependencies:\n      \
         node-addon-api: 8.0.0\n\n  node-addon-api@8.0.0: {}\n",
    );
    xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"]).exits(0);
    let dockerfile = foreign.read("Dockerfile.monorepo-optimized");
    let stage = |name: &str| {
        let from = dockerfile.find(&format!(" AS {name}\n")).unwrap_or_else(|| panic!("no {name}: {dockerfile}"));
        let rest = &dockerfile[from..];
        rest[..rest.find("\nFROM ").unwrap_or(rest.len())].to_owned()
    };
    assert!(
        dockerfile.contains("`bcrypt` is built by at install; no service runs on it.\nARG BUILD_IMAGE=node:24-bookworm\n"),
        "{dockerfile}"
    );
    assert!(
        dockerfile.contains("FROM ${BUILD_IMAGE} AS base\n") && dockerfile.contains("FROM ${NODE_IMAGE} AS runtime\n"),
        "{dockerfile}"
    );
    // The image with compilers has it.
    assert!(stage("runtime").contains("openssl") && !stage("base").contains("apt-get"), "{dockerfile}");
    // What a schema's settings read is there for the build.
    assert!(stage("api-build").contains("DATABASE_URL"), "{dockerfile}");
}

#[test]
fn an_ignore_file_for_another_dockerfile_stays_and_ours_gets_its_own() {
    let init = |ignore: &str| {
        let foreign = Foreign::new();
        foreign.write(".dockerignore", ignore);
        let told = xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"]).exits(0).stdout;
        // What it has stays; what the tool itself brings into the context is left out.
        assert!(told.contains("change       .dockerignore: add `target`, `xtask`, `xtask.*`\n"), "{told}");
        let rules = foreign.read(".dockerignore");
        assert!(rules.starts_with(ignore) && rules.ends_with("\ntarget\nxtask\nxtask.*\n"), "{rules}");
        (foreign, told)
    };
    let beside = "Dockerfile.monorepo-optimized.dockerignore";
    let (foreign, told) = init("node_modules\n**/*.test.js\n*.md\n");
    assert!(!foreign.path().join(beside).exists(), "{told}");
    let (foreign, told) = init("**/main.js\n");
    assert!(
        told.contains(&format!("write        {beside}: .dockerignore is for another Dockerfile: it hides apps/api/main.js")),
        "{told}"
    );
    assert!(foreign.read(beside).contains("node_modules"));
}

#[test]
fn an_xtask_of_their_own_is_left_alone_and_another_name_works() {
    let library = Library::new();
    let crate_of_theirs = "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let cases: [(&str, &str, &str); 4] = [
        ("xtask/Cargo.toml", crate_of_theirs, "xtask/ is a crate of your own"),
        ("tools/xtask/Cargo.toml", crate_of_theirs, "tools/xtask/ is a crate `xtask` of your own"),
        ("xtask/package.json", "{}\n", "there is something else in xtask/"),
        (".cargo/config.toml", "[alias]\nxtask = \"run --package tools --\"\n", "`cargo xtask` is an alias of your own"),
    ];
    for (file, text, why) in cases {
        let foreign = Foreign::new();
        foreign.write(file, text);
        if file.ends_with("Cargo.toml") {
            foreign.write(&file.replace("Cargo.toml", "src/main.rs"), "fn main() {}\n");
        }
        let before = foreign.content();
        let refused = foreign.init(&library.path(), &[]).exits(2);
        assert!(refused.stderr.contains(why) && refused.stderr.contains("--name ship"), "{}", refused.stderr);
        assert_eq!(foreign.content(), before);
        foreign.init(&library.path(), &["--name", "ship"]).exits(0);
        assert!(foreign.read(file).starts_with(text.trim_end()), "{file}");
        let adopted = foreign.content();
        foreign.init(&library.path(), &[]).exits(0);
        assert_eq!(foreign.content(), adopted, "a second init does not know the first one's name");
        let plan = foreign.cargo("apps/api", &["ship", "plan"]).exits(0);
        assert!(plan.stdout.starts_with("api "), "{}", plan.stdout);
        // What is said is what can be typed here.
        let help = foreign.cargo(".", &["ship", "--help"]).exits(0).stdout;
        assert!(help.contains("cargo ship plan --explain") && !help.contains("cargo xtask"), "{help}");
        foreign.write("xtask.lock", "damaged");
        let error = foreign.cargo(".", &["ship", "plan"]).exits(2).stderr;
        assert!(error.contains("run `cargo ship update`"), "{error}");
        std::fs::remove_file(foreign.path().join("xtask.lock")).unwrap();
        foreign.cargo(".", &["ship", "ci", "workflow"]).exits(0);
        let job = foreign.read(".github/workflows/xtask.yml");
        assert!(job.contains("exec cargo ship ci") && job.contains("            ship\n"), "{job}");
    }
}

#[test]
fn a_crate_at_the_root_that_is_called_so_is_one_of_their_own_too() {
    let foreign = Foreign::new();
    foreign.write("Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    foreign.write("src/main.rs", "fn main() {}\n");
    let init = |more: &[&str]| {
        let dir = foreign.path().to_str().unwrap();
        xtask(here(), &[&["init", "--dir", dir, "--from", "path", "--dry-run"], more].concat())
    };
    assert!(init(&[]).exits(2).stderr.contains("./ is a crate `xtask` of your own"));
    init(&["--name", "ship"]).exits(0);
}

#[test]
fn services_are_found_wherever_they_lie() {
    let foreign = Foreign::new();
    let lock = foreign.read("pnpm-lock.yaml").replace("  apps/api: {}", "  server: {}\n\n  tools/gen: {}\n\n  worker:\n    dependencies:\n      '@shop/gen':\n        specifier: workspace:*\n        version: link:../tools/gen");
    foreign.write("pnpm-lock.yaml", &lock);
    foreign.write("pnpm-workspace.yaml", "packages:\n  - server\n  - worker\n  - tools/*\n  - packages/*\n");
    std::fs::remove_dir_all(foreign.path().join("apps")).unwrap();
    foreign.write(
        "server/package.json",
        "{\"name\": \"@shop/server\", \"scripts\": {\"start\": \"NODE_ENV=production node x.js\"}}\n",
    );
    foreign.write("worker/package.json", "{\"name\": \"worker\", \"scripts\": {\"start\": \"nest start\", \"start:prod\": \"node dist/main\"},\n \"dependencies\": {\"@shop/gen\": \"workspace:*\"}}\n");
    foreign.write("tools/gen/package.json", "{\"name\": \"@shop/gen\", \"scripts\": {\"start\": \"node gen.js\"}}\n");
    let init = || xtask(here(), &["init", "--dir", foreign.path().to_str().unwrap(), "--from", "crates-io"]);
    let told = init().exits(0).stdout;
    for line in [
        "service      server in server (script `start`: NODE_ENV=production node x.js)",
        "service      worker in worker (script `start:prod`: node dist/main)",
        "no service   tools/gen: other packages depend on it",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    git(foreign.path(), &["add", "--all"]);
    let plan = xtask(&foreign.path().join("worker"), &["plan"]).exits(0);
    let services: Vec<&str> = plan.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(services, ["server", "worker"]);
    let before = foreign.content();
    init().exits(0);
    assert_eq!(foreign.content(), before);
}

#[test]
fn a_folder_that_is_no_pnpm_workspace_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let refused = xtask(here(), &["init", "--dir", dir.path().to_str().unwrap()]).exits(2);
    assert!(refused.stderr.contains("is not the root of a pnpm workspace"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
