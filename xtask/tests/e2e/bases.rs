//! Dockerfiles as others write them, on each base: a stand-in of each is built on, started, and asked what the official image would answer.

use std::time::{Duration, Instant};

use monoship_core::error::Error;

use crate::harness::{building_on, docker, give_back, mini, seat, try_docker};
use support::engine::shared;
use support::repo::Repo;

/// What people write on these images: a page and a template for nginx, settings for caddy, an account on busybox, packages on Debian, a cut of
/// turbo's on Node.
const FILES: [(&str, &str); 17] = [
    ("package.json", r#"{"name": "bases", "private": true, "packageManager": "pnpm@10.34.9"}"#),
    ("pnpm-workspace.yaml", "packages: [apps/*]\n"),
    ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/tool: {}\n"),
    (
        "xtask.toml",
        "service = [\n  { name = \"site\", dockerfile = \"site/Dockerfile\", context = \"site\" },\n  \
         { name = \"plain\", dockerfile = \"plain/Dockerfile\", context = \"site\" },\n  \
         { name = \"caddy\", dockerfile = \"caddy/Dockerfile\", context = \"caddy\" },\n  \
         { name = \"box\", dockerfile = \"box/Dockerfile\", context = \"site\" },\n  \
         { name = \"system\", dockerfile = \"system/Dockerfile\", context = \"site\" },\n  \
         { name = \"tool\", dockerfile = \"apps/tool/Dockerfile\" },\n]\n",
    ),
    (
        "site/Dockerfile",
        "FROM nginx:1.27\nCOPY page.html /usr/share/nginx/html/index.html\nCOPY app.template /etc/nginx/templates/app.conf.template\nENV ANSWER=from-outside\n",
    ),
    ("site/page.html", "a page\n"),
    ("site/app.template", "server {\n  listen 8081;\n  location / { return 200 \"${ANSWER} $uri\"; }\n}\n"),
    ("plain/Dockerfile", "FROM nginxinc/nginx-unprivileged:stable\nCOPY page.html /usr/share/nginx/html/\n"),
    ("caddy/Dockerfile", "FROM caddy:2\nCOPY Caddyfile /etc/caddy/Caddyfile\n"),
    ("caddy/Caddyfile", ":8080\nrespond \"{path} by caddy\"\n"),
    (
        "box/Dockerfile",
        "FROM busybox:1.36\nRUN adduser -D static\nUSER static\nWORKDIR /home/static\nCOPY page.html .\nCMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"3000\"]\n",
    ),
    (
        "system/Dockerfile",
        "FROM debian:stable-slim\nRUN apt-get update && apt-get install --yes --no-install-recommends adduser busybox && rm -rf /var/lib/apt/lists/*\n\
         RUN dpkg --listfiles bash | grep bin/bash && groupadd --system app && useradd --system --gid app app\n\
         RUN adduser --disabled-password --gecos '' bot && echo bot:secret | chpasswd && su bot -c true\nUSER app\nWORKDIR /srv\nCOPY page.html .\nCMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"3000\"]\n",
    ),
    // As turbo's documentation has it: corepack brings the pnpm of package.json, and turbo cuts the repository in a stage.
    (
        "apps/tool/Dockerfile",
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM node:24-bookworm-slim AS base\nRUN corepack `\n  enable\n\
         FROM base AS pruner\nWORKDIR /repo\nRUN npm install --global turbo@2.5.8\nCOPY . .\nRUN [ ! -e caddy ]\nRUN turbo prune tool --docker\n\
         FROM base\nWORKDIR /app\nCOPY --from=pruner /repo/out/json/ .\nRUN pnpm install --frozen-lockfile\n\
         COPY --from=pruner /repo/out/full/ .\nUSER node\nCMD [\"node\", \"apps/tool/main.js\"]\n",
    ),
    ("apps/tool/package.json", r#"{"name": "tool", "type": "module", "scripts": {"start": "node main.js"}}"#),
    (
        "apps/tool/main.js",
        "import { existsSync } from 'node:fs';\nimport { createServer } from 'node:http';\n\
         createServer((_, answer) => answer.end(existsSync('site') ? 'all of it' : 'cut')).listen(3000);\n",
    ),
    ("apps/tool/Dockerfile.dockerignore", "caddy\ntarget\n"),
    ("turbo.json", "{\"tasks\": {\"build\": {}}}\n"),
];

/// What a started image answers at each of these places, who asks, and what its log says then.
#[track_caller]
fn answers(image: &str, places: &[&str]) -> (Vec<String>, String, String) {
    let id = docker(shared(), &["run", "--detach", image]);
    let id = id.trim();
    let address = docker(shared(), &["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id]);
    let until = Instant::now() + Duration::from_mins(2);
    let ask = |place: &&str| loop {
        match ureq::get(format!("http://{}:{place}", address.trim())).call() {
            Ok(mut answer) => break answer.body_mut().read_to_string().unwrap(),
            Err(error) => assert!(Instant::now() < until, "{image}: {error}: {:?}", try_docker(shared(), &["logs", id])),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = places.iter().map(ask).collect();
    let user = docker(shared(), &["exec", id, "id", "-un"]);
    let log = try_docker(shared(), &["logs", id]).1;
    docker(shared(), &["rm", "--force", id]);
    (said, user.trim().to_owned(), log)
}

#[test]
fn a_dockerfile_on_each_base_that_has_a_stand_in_is_built_and_answers() {
    let _seat = seat();
    shared();
    let repo = building_on("shared", Repo::of(&FILES));
    repo.commit("start");
    // Debian's packages come through the network.
    support::fetch::patiently("the packages", || {
        let ran = repo.xtask(&["build", "--force"]);
        if ran.code == 0 { Ok(()) } else { Err(Error::failed(ran.stderr)) }
    });
    let image = |name: &str| repo.image(&format!("{name}:dev"));

    let (said, user, log) = answers(&image("site"), &["80/", "8081/x"]);
    assert_eq!((said.join("|"), user.as_str()), ("a page\n|from-outside /x".to_owned(), "root"));
    assert!(log.contains("\"GET / HTTP/1.1\" 200"), "{log}");
    let asked =
        docker(shared(), &["inspect", "--format", "{{.Config.StopSignal}} {{json .Config.ExposedPorts}}", &image("site")]);
    assert_eq!(asked.trim(), r#"SIGQUIT {"80/tcp":{}}"#);

    let (said, user, _) = answers(&image("plain"), &["8080/page.html"]);
    assert_eq!((said.join("|"), user.as_str()), ("a page\n".to_owned(), "nginx"));
    let (said, ..) = answers(&image("caddy"), &["8080/here"]);
    assert_eq!(said, ["/here by caddy"]);
    let (said, user, _) = answers(&image("box"), &["3000/page.html"]);
    assert_eq!((said.join("|"), user.as_str()), ("a page\n".to_owned(), "static"));
    let (said, user, _) = answers(&image("system"), &["3000/page.html"]);
    assert_eq!((said.join("|"), user.as_str()), ("a page\n".to_owned(), "app"));
    let (said, user, _) = answers(&image("tool"), &["3000/"]);
    assert_eq!((said.join("|"), user.as_str()), ("cut".to_owned(), "node"));
    give_back(shared(), "local/bases/*", "nginx|caddy|busybox|debian|page.html|turbo|groupadd");
}

/// Loaded by hand where no registry answers, as a message of ours recommends, or built here.
#[test]
fn a_base_that_only_the_engine_has_is_built_on_here_and_never_for_others() {
    // Nobody listens there.
    const BASE: &str = "127.0.0.1:1/nobody/base:1";
    let _seat = seat();
    let engine = shared();
    let repo = mini("FROM 127.0.0.1:1/nobody/base:1 AS base\nFROM base AS api\nCOPY apps/api/src /src\n");
    let repo = repo.env("XTASK_IMAGES_REGISTRY", engine.registry()).env("XTASK_IMAGES_NAMESPACE", "bases");
    let make = |content: &str| {
        repo.write("made/Dockerfile", &format!("FROM scratch\nCOPY {content} /\n"));
        repo.write(&format!("made/{content}"), content);
        docker(engine, &["build", "--tag", BASE, &repo.path().join("made").display().to_string()]);
    };
    make("one");
    let ran = repo.xtask(&["build"]).exits(0);
    let told = format!("{BASE} is taken as this engine has it, and is not pinned");
    assert!(ran.stderr.contains(&told), "{}", ran.stderr);
    assert!(!repo.path().join("xtask.lock").exists());
    let plan = repo.xtask(&["plan"]).exits(0);
    assert!(plan.stdout.contains("unchanged"), "{}", plan.stdout);
    make("two");
    let plan = repo.xtask(&["plan"]).exits(0);
    assert!(plan.stdout.contains(&format!("base {BASE} moved")), "{}", plan.stdout);
    let pushed = repo.xtask(&["build", "--push"]);
    assert_eq!(pushed.code, 1, "{}", pushed.stderr);
    assert!(pushed.stderr.contains("error: cannot connect to 127.0.0.1:1"), "{}", pushed.stderr);
}
