//! Services with Dockerfiles of their own, as they are found in a repository that has never heard of the tool.

use crate::harness::{building_on, docker, record, seat, task};
use support::engine::shared;
use support::repo::{Repo, here, xtask};

const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Five services in five folders, each with a Dockerfile that somebody wrote: the last is built from the root, as a compose file says.
fn five() -> Repo {
    let repo = building_on("shared", Repo::empty());
    repo.write("package.json", r#"{"name":"five","private":true,"packageManager":"pnpm@10.34.9"}"#);
    repo.write("pnpm-workspace.yaml", "packages:\n  - services/*\n");
    let importers: String = NAMES.iter().map(|name| format!("\n  services/{name}: {{}}\n")).collect();
    let settings = "settings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n";
    repo.write("pnpm-lock.yaml", &format!("lockfileVersion: '9.0'\n\n{settings}\nimporters:\n\n  .: {{}}\n{importers}"));
    // No other test's image, and no earlier run's, is made of this.
    let unique = repo.path().display().to_string();
    for name in NAMES {
        repo.write(&format!("services/{name}/package.json"), &format!("{{\"name\":\"{name}\"}}"));
        repo.write(&format!("services/{name}/main.js"), &format!("console.log('{name} of {unique}')\n"));
        // A stage called so is no door, as it is beside `manifests` and `sources`.
        let (from, stage) = if name == "five" { ("services/five/", "production") } else { ("", "runner") };
        let text =
            format!("FROM node:24-bookworm-slim AS {stage}\nWORKDIR /srv\nCOPY {from}main.js .\nCMD [\"node\", \"main.js\"]\n");
        repo.write(&format!("services/{name}/Dockerfile"), &text);
    }
    repo.write(
        "docker-compose.yml",
        "services:\n  five:\n    build:\n      context: .\n      dockerfile: services/five/Dockerfile\n      target: production\n",
    );
    repo.write(".gitignore", "/target/\n");
    repo.commit("five services");
    repo
}

#[test]
fn dockerfiles_that_are_there_are_used_and_an_edit_rebuilds_the_one_that_sees_it() {
    let _seat = seat();
    shared();
    let repo = five();
    let told = xtask(here(), &["init", "--from", "crates-io", "--dir", repo.path().to_str().unwrap()]).exits(0).stdout;
    assert!(told.contains("service      one (services/one/Dockerfile, context services/one by its COPY lines)"), "{told}");
    assert!(told.contains("service      five (services/five/Dockerfile, context . by docker-compose.yml)"), "{told}");
    assert!(!repo.path().join("Dockerfile.monorepo-optimized").exists(), "{told}");

    // What a person would write: five services, a line each.
    let short: String =
        ["one", "two", "three", "four"].map(|name| format!("{{ name = \"{name}\", context = \"services/{name}\" }}, ")).concat();
    let five = "{ name = \"five\", dockerfile = \"services/five/Dockerfile\", target = \"production\" }";
    repo.write("xtask.toml", &format!("service = [{short}{five}]\n"));
    repo.commit("adopted");
    let first = record(repo.xtask(&["build", "--json"]), 0);
    assert!(NAMES.iter().all(|name| task(&first, name)["status"] == "built"), "{first:#}");
    let said = docker(shared(), &["run", "--rm", &repo.image("five:dev")]);
    assert!(said.starts_with("five of "), "{said}");

    repo.edit("services/two/main.js", "two of", "another two of");
    repo.write("services/two/notes.md", "nobody copies this\n");
    let second = record(repo.xtask(&["build", "--json"]), 0);
    let built: Vec<&str> = NAMES.into_iter().filter(|name| task(&second, name)["status"] == "built").collect();
    assert_eq!(built, ["two"], "{second:#}");
    assert!(docker(shared(), &["run", "--rm", &repo.image("two:dev")]).starts_with("another two of "));
    let why = repo.xtask(&["plan", "--explain", "--since", "HEAD"]).exits(0).stdout;
    assert!(why.contains("file main.js changed") && why.matches("not affected").count() == 4, "{why}");
    repo.edit("services/five/main.js", "five of", "another five of");
    let plan = repo.xtask(&["plan", "--explain"]).exits(0).stdout;
    assert!(plan.contains("file services/five/main.js changed"), "{plan}");

    let missing = repo.read("xtask.toml").replace("services/four", "services/fuor");
    repo.write("xtask.toml", &missing);
    let refused = repo.xtask(&["plan"]).exits(2);
    assert!(
        refused.stderr.contains("services/fuor/Dockerfile") && refused.stderr.contains("fix `dockerfile` or `context`"),
        "{}",
        refused.stderr
    );
}
