//! Adopting the tool in a monorepo that has never heard of it: what is written there builds, and is left alone from then on.

use std::path::Path;

use monoship_docker::engine::ca_bundle;
use monoship_engine::EngineOptions;
use monoship_plan::config::Suite;

use crate::harness::{docker, seat};
use support::engine::{environment_of, shared};
use support::repo::{Ran, git, here, xtask, xtask_command};
use support::x509::Authority;

/// Two packages that need nothing from npm, one with a build script and a byte order mark, the other with a link to what is no package of
/// the workspace, in a repository with a `Cargo.toml` and a `.gitignore` of its own.
const FILES: [(&str, &str); 12] = [
    ("package.json", "{\"name\": \"small\", \"private\": true, \"packageManager\": \"pnpm@11.28.10\"}\n"),
    ("pnpm-workspace.yaml", "packages:\n  - '**'\n  - '!libs/**'\n"),
    (
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n\n  \
         apps/adopted:\n    dependencies:\n      '@small/beside':\n        specifier: link:../../libs/beside\n        version: link:../../libs/beside\n      '@small/words':\n        specifier: workspace:*\n        version: link:../../packages/words\n\n  \
         apps/scratch: {}\n\n  packages/words: {}\n",
    ),
    (
        "apps/adopted/package.json",
        "{\"name\": \"@small/adopted\", \"type\": \"module\", \"scripts\": {\"start\": \"node main.js\"},\n \"dependencies\": \
         {\"@small/beside\": \"link:../../libs/beside\", \"@small/words\": \"workspace:*\"}}\n",
    ),
    (
        "apps/adopted/main.js",
        "import { end } from '@small/beside';\nimport { greeting } from '@small/words';\nconsole.log(greeting + end);\n",
    ),
    ("libs/beside/package.json", "{\"name\": \"@small/beside\", \"type\": \"module\", \"main\": \"index.js\"}\n"),
    ("libs/beside/index.js", "export const end = '';\n"),
    ("apps/scratch/package.json", "{\"name\": \"@small/scratch\"}\n"),
    (
        "packages/words/package.json",
        "\u{feff}{\"name\": \"@small/words\", \"type\": \"module\", \"main\": \"dist/index.js\",\n \"scripts\": {\"build\": \"node build.js\"}}\n",
    ),
    (
        "packages/words/build.js",
        "import { mkdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\n\
         writeFileSync('dist/index.js', \"export const greeting = 'adopted and built';\\n\");\n",
    ),
    ("Cargo.toml", "[workspace]\nmembers = [\"native\"]\nresolver = \"3\"\n"),
    (".gitignore", "node_modules\n"),
];

/// The three lines that the front page has for whoever adopts the tool, as this program takes them.
fn of_front_page() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(here().join("README.md")).unwrap();
    let section = readme.split("## In your own repository").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let typed = block.lines().map(|line| {
        let line = line.split(" #").next().unwrap().trim();
        let args = line.strip_prefix("cargo xtask ").or((line == "../monoship/adopt").then_some("init"));
        let args = args.unwrap_or_else(|| panic!("{line}"));
        args.split(' ').map(str::to_owned).collect()
    });
    typed.collect()
}

/// Every file below a folder that git would track, with its content.
fn snapshot(root: &Path) -> Vec<(String, Vec<u8>)> {
    let listed = git(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let files = listed.split('\0').filter(|file| !file.is_empty());
    files.map(|file| (file.to_owned(), std::fs::read(root.join(file)).unwrap())).collect()
}

#[test]
fn a_monorepo_builds_after_init_and_a_second_init_changes_nothing() {
    let _seat = seat();
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
    let init = |more: &[&str]| xtask(here(), &[&["init", "--from", "path", "--dir", root.to_str().unwrap()], more].concat());
    let dry = init(&["--dry-run"]).exits(0);
    assert_eq!(snapshot(&root), before, "a dry run wrote something");
    let told = init(&[]).exits(0).stdout;
    for line in [
        "service      adopted in apps/adopted (script `start`: node main.js)",
        "no service   apps/scratch: its package.json has neither a start script nor `main`",
        "write        xtask/Cargo.toml: monoship = { path = ",
        "change       Cargo.toml: add the member `xtask`, settings by which the library is fast",
        "write        .cargo/config.toml",
        "change       .gitignore: add `/target/`",
        "write        Dockerfile.monorepo-optimized",
    ] {
        assert!(told.contains(line) && dry.stdout.contains(line), "{line}: {told}");
    }
    assert!(told.contains("next: cd ") && told.ends_with("cargo xtask doctor, then cargo xtask build\n"), "{told}");

    let lines = of_front_page();
    let [adopts, looks, builds] = lines.as_slice() else { panic!("{lines:?}") };
    let words = |line: &[String]| line.join(" ");
    assert_eq!((words(adopts), words(looks), words(builds)), ("init".into(), "doctor".into(), "build".into()));
    let home = tempfile::tempdir().unwrap();
    let cache = EngineOptions::new(&environment_of("shared"), Suite::Testing).cache_dir;
    let data = environment_of("shared").get("XTASK_ENGINE_DATA").unwrap().to_owned();
    let trusted = ca_bundle(&environment_of("shared")).unwrap_or_else(|| {
        let made = home.path().join("ca.pem");
        std::fs::write(&made, Authority::new("an authority of tests").certificate.pem()).unwrap();
        made
    });
    let run = |args: &[&str]| {
        let mut command = xtask_command(&root, args);
        command
            .env("HOME", home.path())
            .env("XTASK_CACHE_DIR", &cache)
            .env("XTASK_ENGINE_DATA", &data)
            .env("NODE_EXTRA_CA_CERTS", &trusted)
            .env("XTASK_BUILDERS_ENGINE", "embedded")
            .env("XTASK_BUILDERS_STAND_INS", "always");
        Ran::new(args, &command.output().unwrap())
    };
    let doctor = run(&["doctor", "--json"]).json();
    let bad = |finding: &&serde_json::Value| finding["severity"] == "problem" && finding["area"] != "disk";
    assert!(!doctor["findings"].as_array().unwrap().iter().any(|finding| bad(&finding)), "{doctor:#}");
    run(&["build"]).exits(0);
    assert_eq!(docker(shared(), &["run", "--rm", "local/small/adopted:dev"]).trim(), "adopted and built");
    let ended = run(&["init", "--try", "adopted"]).exits(1).stdout;
    assert!(ended.contains("adopted does not start: it ends by itself, with exit code 0"), "{ended}");

    let before = snapshot(&root);
    let again = run(&["init"]).exits(0).stdout;
    assert!(!again.contains("write ") && !again.contains("change "), "{again}");
    assert_eq!(snapshot(&root), before, "a second init changed something");
    // A try gives the service what the example has, and the certificates that build steps have; it says what else it lacks, and who reaches it.
    let main = "import { readFileSync } from 'node:fs';\n\
                import { createServer } from 'node:http';\n\
                if (!readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8').includes('BEGIN')) throw new Error('nothing to trust');\n\
                if (!process.env.ADOPTED_TEXT) throw new Error('Missing environment variable: ADOPTED_TEXT');\n\
                createServer((_, answer) => answer.end(process.env.ADOPTED_TEXT)).listen(3000, process.env.ADOPTED_HOST);\n";
    std::fs::write(root.join("apps/adopted/main.js"), main).unwrap();
    std::fs::write(root.join(".env.example"), "ADOPTED_HOST=127.0.0.1\n").unwrap();
    let tried = run(&["init", "--try", "adopted"]).exits(1).stdout;
    assert!(tried.contains("adopted does not start: it ends with exit code 1\n"), "{tried}");
    assert!(tried.contains("wants variables that it is not given: ADOPTED_TEXT\nfix: "), "{tried}");
    std::fs::write(root.join("apps/adopted/.env.example"), "ADOPTED_TEXT=hello\n").unwrap();
    let tried = run(&["init", "--try", "adopted"]).exits(0);
    assert!(tried.stderr.contains("with the example's values of ADOPTED_HOST, ADOPTED_TEXT"), "{}", tried.stderr);
    assert!(
        tried
            .stdout
            .contains("adopted starts: it stays up; it has no health check\nwhy: it listens on port 3000 to itself alone"),
        "{}",
        tried.stdout
    );
    let left = docker(shared(), &["ps", "--all", "--quiet", "--filter", "ancestor=local/small/adopted:dev"]);
    assert_eq!(left, "", "a try left its container");
}
