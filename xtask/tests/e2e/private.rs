//! A package of a private npm registry, which wants a token: adopted by `init`, built as on a laptop and pushed as CI does. The token is in
//! nothing that stays.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::json;

use crate::harness::{building_on, docker, record};
use support::engine::shared;
use support::npm_registry::NpmRegistry;
use support::repo::{Repo, here, xtask};
use support::turn::{cache_mounts, seat};

/// The files below a folder, changed since a moment, that hold a text. By find and grep: an engine has gigabytes.
#[expect(clippy::disallowed_methods, reason = "a test looks through files with find and grep")]
fn holding(dir: &Path, since: SystemTime, text: &str) -> Vec<String> {
    let since = format!("@{}", since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    let files =
        ["-type", "f", "-newermt", &since, "-size", "-64M", "-exec", "grep", "--files-with-matches", "--fixed-strings", text];
    let found = Command::new("find").arg(dir).args(files).args(["{}", "+"]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_private_registrys_token_installs_and_is_kept_nowhere() {
    // The first time the registry is fetched: nobody has to wait for that.
    let registry = NpmRegistry::start();
    let since = SystemTime::now();
    // Another one in each run: the engine's store keeps what it has.
    let script = format!("// {since:?}\nexport const words = 'from a private registry';\n");
    let integrity = registry.publish("@acme/words", &script);
    let _seat = seat();
    let address = &registry.address;
    let importer = |name: &str| {
        format!("  apps/{name}:\n    dependencies:\n      '@acme/words':\n        specifier: 1.0.0\n        version: 1.0.0\n\n")
    };
    let lock = format!(
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {{}}\n\n\
         {}{}packages:\n\n  '@acme/words@1.0.0':\n    resolution: {{integrity: {integrity}}}\n\nsnapshots:\n\n  '@acme/words@1.0.0': {{}}\n",
        importer("api"),
        importer("jobs")
    );
    let service = |name: &str| {
        json!({"name": name, "type": "module", "scripts": {"start": "node main.js"}, "dependencies": {"@acme/words": "1.0.0"}})
            .to_string()
    };
    let repo = building_on(
        "shared",
        Repo::of(&[
            ("package.json", r#"{"name": "private", "private": true, "packageManager": "pnpm@12.21.0"}"#),
            (
                "pnpm-workspace.yaml",
                "packages:\n  - apps/*\n# The package is a second old.\nminimumReleaseAge: 0\ntrustPolicy: no-downgrade\n",
            ),
            ("pnpm-lock.yaml", &lock),
            (".npmrc", &format!("@acme:registry=http://{address}/\n//{address}/:_authToken=${{NPM_TOKEN}}\n")),
            (".gitignore", "node_modules\n/target/\n"),
            ("apps/api/package.json", &service("api")),
            ("apps/jobs/package.json", &service("jobs")),
            ("apps/jobs/main.js", "console.log('none');\n"),
            ("apps/api/main.js", "import { words } from '@acme/words';\nconsole.log(words);\n"),
        ]),
    );
    xtask(here(), &["init", "--from", "crates-io", "--dir", repo.path().to_str().unwrap()]).exits(0);
    assert!(repo.read("xtask.toml").contains("secrets = [\"id=NPM_TOKEN,env=NPM_TOKEN\"]"), "{}", repo.read("xtask.toml"));
    // Only because this one listens on loopback.
    repo.edit("xtask.toml", "[images]\n", "[images]\nnetwork = \"host\"\nallow = [\"network.host\"]\n");
    repo.commit("adopted");
    let refused = repo.xtask(&["build"]).exits(2);
    assert!(refused.stderr.contains("the secret `NPM_TOKEN`: the variable NPM_TOKEN is not set"), "{}", refused.stderr);

    let repo = repo.env("NPM_TOKEN", &registry.token);
    let before = registry.requests().len();
    let mounts = cache_mounts();
    let laptop = repo.xtask(&["build"]).exits(0);
    drop(mounts);
    // Whether it passes the policies too, though each service has a lock of its own.
    let asked = registry.requests().split_off(before);
    let times = |path: &str| asked.iter().filter(|request| request.eq_ignore_ascii_case(&format!("GET {path}"))).count();
    assert_eq!(times("/@acme/words/-/words-1.0.0.tgz"), 1, "it is downloaded once: {asked:#?}");
    assert_eq!(times("/@acme%2fwords"), 1, "it is asked about once: {asked:#?}");
    let image = repo.image("api:dev");
    assert_eq!(docker(shared(), &["run", "--rm", &image]).trim(), "from a private registry");
    let saved = repo.path().join("target/image.tar");
    docker(shared(), &["save", "--output", saved.to_str().unwrap(), &image]);

    // As a job does: pushed, with its caches, logs in groups and a summary where there is one.
    let name = format!("private-{}", since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
    let summary = repo.path().join("target/summary.md");
    let repo = repo
        .env("CI", "true")
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("XTASK_IMAGES_REGISTRY", shared().registry())
        .env("XTASK_IMAGES_NAMESPACE", format!("{name}/shop"));
    let job = repo.xtask(&["build", "--push", "--force", "--json"]);
    let (said, told) = (job.stdout.clone(), job.stderr.clone());
    record(job, 0);

    let token = registry.token.as_str();
    for text in [&laptop.stdout, &laptop.stderr, &said, &told] {
        assert!(!text.contains(token), "{text}");
    }
    assert_eq!(holding(repo.path(), since, token), Vec::<String>::new());
    // Layers, snapshots, caches and the registry of the engine, as far as they are written as they are; layers that are packed are of these.
    let data = shared().options.layout().unwrap();
    assert!(!holding(data.data(), since, "from a private registry").is_empty(), "what is looked through has what was installed");
    assert_eq!(holding(data.data(), since, token), Vec::<String>::new());
}
