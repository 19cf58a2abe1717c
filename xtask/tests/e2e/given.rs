//! What builds are given beside their files: secrets, SSH agents and named contexts, as buildx has them.

use crate::harness::{docker, mini, record, seat};
use support::engine::shared;
use support::repo::Repo;

/// Values that must turn up nowhere.
const VALUES: [&str; 3] = ["value-of-variable", "value-of-file", "value-of-command"];

const DOCKERFILE: &str = "FROM node:24-bookworm-slim AS base\n\nFROM base AS api\nRUN --mount=type=secret,id=variable,env=V,required=true \
    --mount=type=secret,id=file --mount=type=secret,id=command \\\n  printf %s \"$V\" | wc -c > /sizes; \
    wc -c < /run/secrets/file >> /sizes; wc -c < /run/secrets/command >> /sizes\nCOPY --from=shared word.txt /word.txt\n";

const GIVEN: &str = "[images]\nsecrets = [\n  'id=variable,env=K6_VARIABLE',\n  { id = 'file', file = 'secret.txt' },\n  \
    { id = 'command', command = ['sh', '-c', 'echo . >> ran; printf value-of-command'] },\n]\n\
    contexts = { shared = 'shared' }\nnetwork = 'none'\nlabels = { 'org.example.a' = 'b' }\n";

fn repo() -> Repo {
    let repo = mini(DOCKERFILE);
    repo.write(".gitignore", "target/\nsecret.txt\nran\nshared/\n");
    repo.write("xtask.toml", GIVEN);
    repo.write("secret.txt", "value-of-file");
    repo.write("shared/word.txt", "one\n");
    repo.commit("given");
    repo
}

#[test]
fn secrets_and_contexts_reach_the_steps_and_no_value_is_kept_anywhere() {
    let _seat = seat();
    let engine = shared();
    engine.stand_ins(&["node:24-bookworm-slim"]);
    let repo = repo();
    // What a step demands and nothing gives is refused before anything is built, with the line and the variable.
    let refused = repo.xtask(&["build"]).exits(2);
    assert!(refused.stderr.contains("Dockerfile.monorepo-optimized:4: the secret `variable`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("K6_VARIABLE is not set"), "{}", refused.stderr);
    assert!(!repo.path().join("ran").exists(), "no secret is asked for where nothing is built");
    let looked = repo.xtask(&["plan"]).exits(0);
    assert!(looked.stderr.contains("K6_VARIABLE is not set"), "{}", looked.stderr);

    let repo = repo.env("K6_VARIABLE", "value-of-variable");
    let planned = repo.xtask(&["build", "--dry-run"]).exits(0);
    assert!(planned.stdout.contains("--secret id=variable,env=K6_VARIABLE"), "{}", planned.stdout);
    assert!(planned.stdout.contains("--network none --label org.example.a=b"), "{}", planned.stdout);
    assert!(planned.stdout.contains("XTASK_BUILD_SECRET_COMMAND=\"$(sh -c "), "{}", planned.stdout);
    repo.xtask(&["build"]).exits(0);
    assert_eq!(repo.read("ran"), ".\n", "the command is run once, for base and service");
    assert_eq!(docker(engine, &["run", "--rm", &repo.image("api:dev"), "cat", "/sizes", "/word.txt"]), "17\n13\n16\none");
    assert_eq!(
        docker(engine, &["inspect", "--format", "{{index .Config.Labels \"org.example.a\"}}", &repo.image("api:dev")]),
        "b"
    );

    // A value that is renewed makes no other image; a context's file does, ignored by git or not.
    let renewed = repo.env("K6_VARIABLE", "another-value-here");
    assert_eq!(record(renewed.xtask(&["build", "--json"]), 0)["tasks"][1]["status"], "unchanged");
    renewed.write("shared/word.txt", "two\n");
    let plan = renewed.xtask(&["plan", "--json"]).exits(0).json();
    assert_eq!(plan["services"][0]["reasons"][0]["path"], "shared/word.txt", "{plan:#}");

    let kept = docker(engine, &["history", "--no-trunc", &renewed.image("api:dev")]);
    let image = docker(engine, &["inspect", &renewed.image("api:dev")]);
    let mut all = vec![kept, image];
    texts(&renewed.path().join("target/xtask"), &mut all);
    for value in VALUES {
        // The configuration's own command line has the last one: its echo is what a log shows of it.
        let shown = all.iter().filter(|text| text.replace("printf value-of-command", "").contains(value)).count();
        assert_eq!(shown, 0, "{value}");
    }
}

/// BuildKit's cache does not tell whether a step had its secret, nor the address of a host that it knew.
#[test]
fn a_secret_that_came_or_went_and_a_host_that_moved_make_steps_run_again() {
    let _seat = seat();
    let engine = shared();
    engine.stand_ins(&["node:24-bookworm-slim"]);
    let dockerfile = "FROM node:24-bookworm-slim AS base\nFROM base AS said\n\
         RUN --mount=type=secret,id=token if [ -s /run/secrets/token ]; then echo with; else echo without; fi > /said; \
         grep given.internal /etc/hosts | cut -f 1 >> /said\n\
         FROM base AS api\nCOPY apps/api/src /app\nCOPY --from=said /said /said\n";
    let repo = mini(dockerfile);
    repo.write(".gitignore", "target/\ntoken.txt\n");
    repo.write("xtask.toml", "[images]\nsecrets = [{ id = 'token', file = 'token.txt' }]\n");
    let builds = |is_given: bool| {
        if is_given {
            repo.write("token.txt", "a-token");
        } else {
            std::fs::remove_file(repo.path().join("token.txt")).unwrap();
        }
        let built = record(repo.xtask(&["build", "--json"]), 0);
        let said = docker(engine, &["run", "--rm", &repo.image("api:dev"), "cat", "/said"]);
        let status = &built["tasks"].as_array().unwrap().last().unwrap()["status"];
        format!("{} {}", status.as_str().unwrap(), said.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let moves_to = |address: &str| {
        let hosts = format!("add-hosts = ['given.internal:{address}']\n");
        repo.write("xtask.toml", &format!("[images]\nsecrets = [{{ id = 'token', file = 'token.txt' }}]\n{hosts}"));
    };
    repo.write("token.txt", "");
    assert_eq!(builds(false), "built without");
    // Another machine with the same cache knows nothing of this build.
    std::fs::remove_dir_all(repo.path().join("target")).unwrap();
    assert_eq!(builds(true), "built with");
    assert_eq!(builds(false), "unchanged without", "that image stands under its content tag");
    for (edit, is_given, said) in [("one\n", true, "built with"), ("two\n", false, "built without")] {
        repo.write("apps/api/src/new.js", edit);
        assert_eq!(builds(is_given), said);
    }
    for address in ["10.0.0.7", "10.0.0.8"] {
        moves_to(address);
        assert_eq!(builds(true), format!("built with {address}"));
    }
}

#[test]
fn an_agent_that_does_not_run_is_not_given() {
    let repo = mini("FROM scratch AS base\n\nFROM scratch AS api\nRUN --mount=type=ssh x\n");
    repo.write(".gitignore", "target/\nagent.sock\n");
    repo.write("xtask.toml", "[images]\nssh = ['default=agent.sock']\n");
    let fingerprint = || repo.xtask(&["plan", "--json"]).exits(0).json()["services"][0]["fingerprint"].clone();
    let without = fingerprint();
    repo.write("agent.sock", "");
    assert_ne!(fingerprint(), without);
}

fn texts(folder: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, found);
        } else {
            found.push(String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
        }
    }
}

#[test]
fn what_is_given_to_nobody_is_named_and_what_a_step_wants_says_how() {
    let repo = mini("FROM scratch AS base\n\nFROM scratch AS api\nCOPY apps/api/src /app\n");
    repo.write("xtask.toml", "[images]\nsecrets = ['id=npm,env=HOME']\ncontexts = { a = 'b' }\nssh = ['default']\n");
    let planned = repo.xtask(&["plan"]).exits(0);
    for unused in ["no step uses the secret `npm`", "no step uses the build context `a`"] {
        assert!(planned.stderr.contains(unused), "{}", planned.stderr);
    }
    // BuildKit takes this one by itself.
    repo.write("xtask.toml", "[images]\nsecrets = ['id=GIT_AUTH_TOKEN,env=HOME']\n");
    repo.edit("Dockerfile.monorepo-optimized", "COPY", "ADD https://127.0.0.1:1/a.git#main /a\nCOPY");
    assert!(!repo.xtask(&["plan"]).exits(0).stderr.contains("no step uses"));
    repo.write("xtask.toml", "");
    repo.edit("Dockerfile.monorepo-optimized", "COPY", "RUN --mount=type=secret,id=npm,required true\nCOPY");
    let refused = repo.xtask(&["build"]).exits(2);
    assert!(refused.stderr.contains("the secret `npm`: nothing in xtask.toml gives it"), "{}", refused.stderr);
    assert!(refused.stderr.contains("secrets = [\"id=npm,env=…\"]"), "{}", refused.stderr);
}
