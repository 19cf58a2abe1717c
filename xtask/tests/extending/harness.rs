//! What these tests share: a small repository of two services that answer, and what a registry holds of them.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use monoship_core::execute::lock::Lock;
use support::engine::{NODE, environment_of, shared};
use support::repo::Repo;
use support::turn::{all_seats, seat};

const LOCK: &str = "\
lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .: {}

  apps/api: {}

  apps/web: {}
";

const DOCKERFILE: &str = "\
FROM node:24-bookworm-slim AS base
WORKDIR /app

FROM base AS api
COPY apps/api/server.mjs ./
CMD [\"node\", \"server.mjs\"]

FROM base AS web
ARG REGION=none
ENV REGION=${REGION}
COPY apps/web/server.mjs ./
CMD [\"node\", \"server.mjs\"]
";

const CONFIG: &str = "\
[images]
dockerfile = \"Dockerfile.monorepo-optimized\"
[attest]
sbom = false
provenance = false
";

/// A server whose health is `status`. `of` makes its bytes this test's own: the engine's caches outlive a test.
pub fn server(of: &str, status: u32) -> String {
    format!(
        "// {of}\nimport {{ createServer }} from 'node:http';\n\
         createServer((asked, answer) => answer.writeHead(asked.url === '/health' ? {status} : 404).end())\n\
         .listen(Number(process.env.PORT ?? 8080));\n"
    )
}

/// A shop. Whoever builds it has a seat.
pub struct Shop {
    pub repo: Repo,
    pub namespace: String,
    _seats: Vec<Lock>,
}

impl Shop {
    /// Two services in good health, whose images go below a namespace of their own in the shared engine's registry.
    pub fn new(name: &str) -> Self {
        Self::seated(name, vec![seat()])
    }

    /// A shop for whoever looks at all that the engine has.
    pub fn alone(name: &str) -> Self {
        Self::seated(name, all_seats())
    }

    fn seated(name: &str, seats: Vec<Lock>) -> Self {
        shared().stand_ins(&[NODE]);
        let repo = Repo::of(&[
            ("package.json", r#"{"name": "shop", "private": true, "packageManager": "pnpm@10.34.9"}"#),
            ("pnpm-workspace.yaml", "packages:\n  - apps/*\n"),
            ("pnpm-lock.yaml", LOCK),
            ("apps/api/package.json", r#"{"name": "api", "version": "1.0.0"}"#),
            ("apps/web/package.json", r#"{"name": "web", "version": "1.0.0"}"#),
            ("apps/api/server.mjs", &server(name, 200)),
            ("apps/web/server.mjs", &server(name, 200)),
            ("Dockerfile.monorepo-optimized", DOCKERFILE),
            ("xtask.toml", CONFIG),
            (".gitignore", "/target/\n"),
        ]);
        let unique = repo.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let namespace = format!("{name}-{}", unique.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
        let data = environment_of("shared").get("XTASK_ENGINE_DATA").unwrap().to_owned();
        let repo = repo
            .env("XTASK_ENGINE_DATA", data)
            .env("XTASK_BUILDERS_ENGINE", "embedded")
            .env("XTASK_BUILDERS_STAND_INS", "always")
            .env("XTASK_IMAGES_REGISTRY", shared().registry())
            .env("XTASK_IMAGES_NAMESPACE", &namespace);
        Self { repo, namespace, _seats: seats }
    }

    /// A shell script at the root.
    pub fn script(&self, name: &str, lines: &str) {
        self.repo.write(name, &format!("#!/bin/sh\n{lines}\n"));
        std::fs::set_permissions(self.repo.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A service's image in the registry.
    pub fn image(&self, service: &str, tag: &str) -> String {
        format!("{}/{}/{service}:{tag}", shared().registry(), self.namespace)
    }

    /// The tags of a service that are somebody's names for it: neither content tags nor a commit's.
    pub fn tags(&self, service: &str) -> Vec<String> {
        let url = format!("http://{}/v2/{}/{service}/tags/list", shared().registry(), self.namespace);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let listed: Value = serde_json::from_str(&agent.get(url).call().unwrap().body_mut().read_to_string().unwrap()).unwrap();
        let names = listed["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut names: Vec<String> =
            names.filter(|tag| !tag.starts_with("in-") && !tag.starts_with("sha-")).map(str::to_owned).collect();
        names.sort();
        names
    }
}

/// The entry of a stage for a service in a run's record; null where there is none.
pub fn stage<'a>(record: &'a Value, stage: &str, service: &str) -> &'a Value {
    let of = json!({"stage": stage, "service": service});
    record["tasks"].as_array().unwrap().iter().find(|task| task["task"] == of).unwrap_or(&Value::Null)
}

/// How a service ended.
pub fn status<'a>(record: &'a Value, service: &str) -> &'a Value {
    let of = json!({"service": service});
    let found = record["tasks"].as_array().unwrap().iter().find(|task| task["task"] == of);
    &found.unwrap_or_else(|| panic!("there is no {service} in {record:#}"))["status"]
}
