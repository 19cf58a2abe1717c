//! Which of the services that are found `init` adopts: it asks on a terminal, and takes names elsewhere.

use support::repo::{Repo, here, xtask};
use support::terminal::Terminal;

const LOCK: &str = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  \
                    .: {}\n\n  apps/api: {}\n\n  apps/jobs: {}\n\n  apps/web: {}\n\n  packages/words: {}\n";

/// Two services for a Dockerfile that is to be written, one that has its own, and a library.
fn shop() -> Repo {
    Repo::of(&[
        ("package.json", r#"{"name": "shop", "private": true, "packageManager": "pnpm@10.34.9"}"#),
        ("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n"),
        ("pnpm-lock.yaml", LOCK),
        (".gitignore", "node_modules\n/target/\n"),
        ("apps/api/package.json", r#"{"name": "api", "scripts": {"start": "node main.js"}}"#),
        ("apps/api/main.js", "console.log('api');\n"),
        ("apps/web/package.json", r#"{"name": "web", "scripts": {"start": "node main.js"}}"#),
        ("apps/web/main.js", "console.log('web');\n"),
        ("apps/jobs/package.json", r#"{"name": "jobs", "scripts": {"start": "node main.js"}}"#),
        ("apps/jobs/main.js", "console.log('jobs');\n"),
        ("apps/jobs/Dockerfile", "FROM node:24-slim\nCOPY apps/jobs/main.js .\nCMD [\"node\", \"main.js\"]\n"),
        ("packages/words/package.json", r#"{"name": "words", "main": "index.js"}"#),
        ("packages/words/index.js", "exports.words = 1;\n"),
    ])
}

/// `init` on a terminal in a repository, as far as its question.
fn asked(repo: &Repo) -> Terminal {
    let program = env!("CARGO_BIN_EXE_xtask");
    let terminal =
        Terminal::new(&format!("cd '{}' && '{program}' init --from crates-io; echo ended with $?", repo.path().display()));
    terminal.shows("Adopt 3 services? [Y/n, or the names of some]");
    assert!(terminal.shown().contains("api in apps/api (script `start`: node main.js)"), "{}", terminal.shown());
    terminal
}

#[test]
fn on_a_terminal_it_asks_and_what_is_not_named_stays_out() {
    let repo = shop();
    let mut terminal = asked(&repo);
    terminal.types("no\n");
    terminal.shows("ended with 1");
    assert!(!repo.path().join("xtask.toml").exists() && !repo.path().join("xtask").exists());

    let mut terminal = asked(&repo);
    terminal.types("api\n");
    terminal.shows("ended with 0");
    let (settings, dockerfile) = (repo.read("xtask.toml"), repo.read("Dockerfile.monorepo-optimized"));
    assert!(settings.contains("not-services = [\"apps/jobs\", \"apps/web\"]"), "{settings}");
    assert!(dockerfile.contains("AS api\n") && !dockerfile.contains("AS web\n"), "{dockerfile}");

    // From then on it is known, whoever runs it.
    let again = xtask(here(), &["init", "--dir", repo.path().to_str().unwrap()]).exits(0).stdout;
    assert!(again.contains("apps/jobs, apps/web: xtask.toml says so (`not-services`)"), "{again}");
    assert_eq!(repo.read("xtask.toml"), settings);
    let refreshed = xtask(here(), &["init", "--refresh", "--dir", repo.path().to_str().unwrap()]).exits(0).stdout;
    assert!(refreshed.contains("every generated file is as"), "{refreshed}");
    // One that is theirs by now is not said to be as the library writes it.
    repo.write("Dockerfile.monorepo-optimized", &(dockerfile + "# ours\n"));
    let refreshed = xtask(here(), &["init", "--refresh", "--dir", repo.path().to_str().unwrap()]).exits(0).stdout;
    assert!(refreshed.contains("edited, and kept so: Dockerfile.monorepo-optimized\n"), "{refreshed}");
}

#[test]
fn names_and_folders_choose_and_those_of_no_service_are_refused() {
    let repo = shop();
    let init =
        |args: &[&str]| xtask(here(), &[&["init", "--from", "crates-io", "--dir", repo.path().to_str().unwrap()], args].concat());
    let unknown = init(&["--service", "ap"]).exits(2).stderr;
    assert!(unknown.contains("there is no service `ap`") && unknown.contains("did you mean `api`?"), "{unknown}");
    let library = init(&["--service", "words"]).exits(2).stderr;
    assert!(library.contains("packages/words is no service: outside apps/ a `main` alone makes no service"), "{library}");
    assert!(!repo.path().join("xtask.toml").exists());

    let some = init(&["--service", "jobs", "--service", "apps/web"]).exits(0).stdout;
    assert!(some.contains("apps/api: it was not chosen"), "{some}");
    let (settings, dockerfile) = (repo.read("xtask.toml"), repo.read("Dockerfile.monorepo-optimized"));
    assert!(settings.contains("not-services = [\"apps/api\"]") && settings.contains("name = \"jobs\""), "{settings}");
    assert!(dockerfile.contains("AS web\n") && !dockerfile.contains("AS api\n"), "{dockerfile}");
    // A service that is there already is none that could be left out.
    init(&["--service", "web"]).exits(0);
    assert_eq!(repo.read("xtask.toml"), settings);
}
