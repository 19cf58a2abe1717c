//! Packages that have a lock each (`sharedWorkspaceLockfile: false`): what `init` writes for them installs, builds and starts, and a change of
//! one lock is a change for those alone that need its package.

use crate::adopted::answer;
use crate::harness::{record, task};
use support::engine::{environment_of, shared};
use support::pnpm;
use support::repo::{Repo, here, xtask};
use support::turn::seat;

const FILES: [(&str, &str); 9] = [
    ("package.json", r#"{"name": "own", "private": true, "devDependencies": {"rimraf": "5.0.10"}}"#),
    ("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\nsharedWorkspaceLockfile: false\n"),
    (".gitignore", "node_modules\ndist\n/target/\n"),
    (
        "packages/words/package.json",
        r#"{"name": "@own/words", "version": "1.0.0", "main": "dist/index.js", "scripts": {"build": "rimraf dist && node build.js"}, "dependencies": {"ms": "2.1.2"}}"#,
    ),
    (
        "packages/words/build.js",
        "const { mkdirSync, writeFileSync } = require('fs');\nmkdirSync('dist');\n\
         writeFileSync('dist/index.js', 'exports.words = require(\"ms/package.json\").version;');\n",
    ),
    (
        "apps/api/package.json",
        r#"{"name": "@own/api", "scripts": {"build": "node -e \"fs.writeFileSync('made.js', 'exports.odd = ' + require('is-odd')(3))\"", "start": "node main.js"},
 "dependencies": {"@own/words": "workspace:*", "ms": "2.1.3"}, "devDependencies": {"is-odd": "3.0.1"}}"#,
    ),
    (
        "apps/api/main.js",
        "const { words } = require('@own/words');\nconst { version } = require('ms/package.json');\nconst { odd } = require('./made.js');\n\
         let dev = 'no is-odd';\ntry { dev = require.resolve('is-odd'); } catch {}\n\
         require('http').createServer((_, answer) => answer.end([words, version, odd, dev].join())).listen(3000);\n",
    ),
    (
        "apps/worker/package.json",
        r#"{"name": "@own/worker", "scripts": {"start": "node main.js"}, "dependencies": {"ms": "2.1.3"}}"#,
    ),
    ("apps/worker/main.js", "require('http').createServer((_, answer) => answer.end(require('ms')(60000))).listen(3000);\n"),
];

#[test]
fn packages_with_a_lock_each_are_built_and_rebuilt_by_their_own() {
    let _seat = seat();
    shared();
    let env = environment_of("shared");
    let repo = Repo::of(&FILES)
        .env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
        .env("XTASK_BUILDERS_ENGINE", "embedded")
        .env("XTASK_BUILDERS_STAND_INS", "always");
    let ten = pnpm::all().iter().find(|pnpm| pnpm.major == 10).unwrap();
    let lock = || {
        support::fetch::patiently("the packages' metadata", || {
            let output = ten.run(repo.path(), &["install", "--lockfile-only"]);
            let text = || String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() { Ok(()) } else { Err(monoship_core::error::Error::failed(text())) }
        });
    };
    lock();
    assert!(repo.path().join("apps/api/pnpm-lock.yaml").exists());
    xtask(here(), &["init", "--from", "crates-io", "--dir", repo.path().to_str().unwrap()]).exits(0);
    repo.commit("adopted");
    let built = record(repo.xtask(&["build", "--force", "--json"]), 0);
    for service in ["api", "worker"] {
        assert_eq!(task(&built, service)["status"], "built", "{built:#}");
    }
    // Each package has the version that its own lock has; the image has what runs.
    assert_eq!(answer(&repo.image("api:dev"), 3000, "/").trim(), "200 2.1.2,2.1.3,true,no is-odd");
    assert_eq!(answer(&repo.image("worker:dev"), 3000, "/").trim(), "200 1m");

    repo.edit("packages/words/package.json", "2.1.2", "2.1.1");
    lock();
    let planned = repo.xtask(&["plan", "--explain"]).exits(0).stdout;
    let line = |name: &str| planned.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("worker").contains("unchanged"), "{planned}");
    assert!(planned.contains("ms 2.1.2 of packages/words → 2.1.1 of packages/words"), "{planned}");
    let built = record(repo.xtask(&["build", "--json"]), 0);
    assert_eq!(
        (&task(&built, "api")["status"], &task(&built, "worker")["status"]),
        (&"built".into(), &"unchanged".into()),
        "{built:#}"
    );
    assert_eq!(answer(&repo.image("api:dev"), 3000, "/").trim(), "200 2.1.1,2.1.3,true,no is-odd");
}
