//! Every message that a person may meet for a mistake of theirs, in one file, which is read line by line: `messages.txt`. Each case makes
//! its mistake in a small monorepo and runs the tool as it is typed. `BLESS=1` writes the file anew.

use std::path::Path;

use rayon::prelude::*;

use super::mistakes;
use support::repo::{Repo, here};

/// What is said of a mistake: its name, what makes it, and what is typed then.
pub struct Case {
    mistake: &'static str,
    change: Change,
    typed: &'static [&'static str],
}

/// What is made of a repository that is right.
enum Change {
    Nothing,
    Written(&'static str, &'static str),
    Edited(&'static str, &'static str, &'static str),
    By(fn(&Repo)),
}

/// Words that are wrong.
pub const fn typed(mistake: &'static str, typed: &'static [&'static str]) -> Case {
    Case { mistake, change: Change::Nothing, typed }
}

/// A file with this text, which a plan meets.
pub const fn written(mistake: &'static str, file: &'static str, text: &'static str) -> Case {
    Case { mistake, change: Change::Written(file, text), typed: &["plan"] }
}

/// A file in which one text stands in place of another.
pub const fn edited(mistake: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Case {
    Case { mistake, change: Change::Edited(file, from, to), typed: &["plan"] }
}

/// What takes more than that.
pub const fn by(mistake: &'static str, make: fn(&Repo)) -> Case {
    Case { mistake, change: Change::By(make), typed: &["plan"] }
}

/// The same, which other words than a plan's meet.
pub const fn met(mistake: &'static str, make: fn(&Repo), typed: &'static [&'static str]) -> Case {
    Case { mistake, change: Change::By(make), typed }
}

const DOCKERFILE: &str = "\
ARG NODE_IMAGE=node:24-bookworm-slim
FROM ${NODE_IMAGE} AS base
WORKDIR /work

FROM base AS api-build
COPY apps/api/src /src

FROM scratch AS api
COPY --from=api-build /src /
";

const LOCK: &str = "\
lockfileVersion: '9.0'

importers:

  .: {}

  apps/api:
    dependencies:
      ms:
        specifier: ^2.1.3
        version: 2.1.3

packages:

  ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}

snapshots:

  ms@2.1.3: {}
";

fn monorepo() -> Repo {
    let api = "{\n  \"name\": \"@acme/api\",\n  \"dependencies\": { \"ms\": \"^2.1.3\" }\n}\n";
    Repo::of(&[
        ("package.json", "{\n  \"name\": \"acme\",\n  \"private\": true,\n  \"packageManager\": \"pnpm@10.34.9\"\n}\n"),
        ("pnpm-workspace.yaml", "packages:\n  - apps/*\n"),
        ("pnpm-lock.yaml", LOCK),
        (".gitignore", "target\nnode_modules\n"),
        (".dockerignore", "**/node_modules\n.git\n"),
        ("Dockerfile.monorepo-optimized", DOCKERFILE),
        ("apps/api/package.json", api),
        ("apps/api/src/main.ts", "console.log(1);\n"),
    ])
}

/// A file as git leaves it where both sides changed these lines.
fn half_merged(repo: &Repo, file: &str, line: &str) {
    repo.edit(file, line, &format!("<<<<<<< HEAD\n{line}=======\n{line}>>>>>>> other\n"));
}

const CASES: &[Case] = &[
    by("no monorepo", |repo| std::fs::remove_file(repo.path().join("pnpm-workspace.yaml")).unwrap()),
    by("no Dockerfile", |repo| std::fs::remove_file(repo.path().join("Dockerfile.monorepo-optimized")).unwrap()),
    by("no lock", |repo| std::fs::remove_file(repo.path().join("pnpm-lock.yaml")).unwrap()),
    written("an empty manifest", "apps/api/package.json", ""),
    written("a manifest that ends early", "apps/api/package.json", "{\n  \"name\": \"@acme/api\",\n  \"dependencies\": {"),
    written("a comma too many in a manifest", "apps/api/package.json", "{\n  \"name\": \"@acme/api\",\n}\n"),
    written("a comma missing in a manifest", "apps/api/package.json", "{\n  \"name\": \"@acme/api\"\n  \"private\": true\n}\n"),
    written(
        "dependencies that are a list",
        "apps/api/package.json",
        "{\n  \"name\": \"@acme/api\",\n  \"dependencies\": [\"ms\"]\n}\n",
    ),
    by("a half merged manifest", |repo| {
        half_merged(repo, "apps/api/package.json", "  \"dependencies\": { \"ms\": \"^2.1.3\" }\n");
    }),
    by("a half merged lock", |repo| half_merged(repo, "pnpm-lock.yaml", "  .: {}\n")),
    by("a half merged Dockerfile", |repo| half_merged(repo, "Dockerfile.monorepo-optimized", "WORKDIR /work\n")),
    by("a half merged configuration", |repo| {
        repo.write("xtask.toml", "[images]\nnamespace = \"acme\"\n");
        half_merged(repo, "xtask.toml", "namespace = \"acme\"\n");
    }),
    written("half merged pins", "xtask.lock", "version = 1\n<<<<<<< HEAD\n=======\n>>>>>>> other\n"),
    by("a half merged list of packages", |repo| half_merged(repo, "pnpm-workspace.yaml", "  - apps/*\n")),
    written("a key twice in the list of packages", "pnpm-workspace.yaml", "packages:\n  - apps/*\npackages:\n  - packages/*\n"),
    edited("a lock that is behind its manifest", "apps/api/package.json", "^2.1.3\" }", "^2.1.3\", \"zod\": \"^4.0.0\" }"),
    written("an unknown key", "xtask.toml", "[images]\nregsitry = \"ghcr.io\"\n"),
    written("an unknown section", "xtask.toml", "[image]\n"),
    written("a bracket missing in the configuration", "xtask.toml", "[images\n"),
    written("a quote missing in the configuration", "xtask.toml", "[images]\nnamespace = acme\n"),
    written("a key twice", "xtask.toml", "[images]\nnamespace = \"a\"\nnamespace = \"b\"\n"),
    written("a text for a number", "xtask.toml", "[builders]\njobs = \"four\"\n"),
    written("memory that is no size", "xtask.toml", "[[service]]\nname = \"api\"\nmemory = \"much\"\n"),
    written(
        "a context that is no service's image",
        "xtask.toml",
        "[[service]]\nname = \"docs\"\npackage = \"apps/api\"\ntarget = \"api\"\ncontexts = { shared = \"service:apj\" }\n",
    ),
    written(
        "services that are built from each other",
        "xtask.toml",
        "[[service]]\nname = \"docs\"\npackage = \"apps/api\"\ntarget = \"api\"\ncontexts.a = \"service:api\"\n\n[[service]]\nname = \"api\"\ncontexts.d = \"service:docs\"\n",
    ),
    written(
        "one machine's memory for a fleet",
        "xtask.toml",
        "[builders]\nmemory = \"6GB\"\nfleet = [{ builder = \"one\", platforms = [\"linux/amd64\"] }]\n",
    ),
    written("a text for a list", "xtask.toml", "[images]\nplatforms = \"linux/amd64\"\n"),
    written("an address for a registry", "xtask.toml", "[images]\nregistry = \"https://ghcr.io\"\nnamespace = \"acme\"\n"),
    written("a registry without namespace", "xtask.toml", "[images]\nregistry = \"ghcr.io\"\n"),
    written(
        "a service with a target that is not there",
        "xtask.toml",
        "[[service]]\nname = \"api\"\npackage = \"apps/api\"\ntarget = \"apj\"\n",
    ),
    written("a bound that is no size", "xtask.toml", "[gates]\nimage-size = \"200 bananas\"\n"),
    typed("a variable of the wrong type", &["XTASK_BUILDERS_JOBS=four", "plan"]),
    typed("a variable of no key", &["XTASK_IMAGE_REGISTRY=x", "plan"]),
    edited("a stage that is not there", "Dockerfile.monorepo-optimized", "FROM base AS api-build", "FROM bse AS api-build"),
    edited("a copy from a stage that is not there", "Dockerfile.monorepo-optimized", "--from=api-build", "--from=api-biuld"),
    edited("an instruction that is not there", "Dockerfile.monorepo-optimized", "WORKDIR", "WORKDRI"),
    written("a service without stage", "apps/mailer/package.json", "{ \"name\": \"@acme/mailer\" }\n"),
    typed("a service that is not there", &["plan", "apj"]),
    typed("a revision that is not there", &["plan", "--since", "v9.9.9"]),
    typed("no default branch", &["plan", "--affected"]),
    typed("a verb that is not there", &["biuld"]),
    typed("a flag that is not there", &["build", "--psuh"]),
    typed("a flag of nobody", &["build", "--frobnicate"]),
    typed("no jobs", &["build", "-j", "0"]),
    typed("jobs in words", &["build", "-j", "four"]),
    typed("half a platform", &["build", "--platform", "arm64"]),
    typed("a platform that is not there", &["build", "--platform", "linux/arm46"]),
    typed("a tag that is none", &["build", "--tag", "a b"]),
    typed("two places at once", &["build", "--push", "--output", "out"]),
    typed("a flag without the one it belongs to", &["build", "--sbom", "true"]),
    typed(
        "a mode that is not there",
        &["XTASK_IMAGES_REGISTRY=ghcr.io", "XTASK_IMAGES_NAMESPACE=acme/shop", "build", "--push", "--provenance", "most"],
    ),
    typed("a display that is not there", &["build", "--progress", "fancy"]),
    typed("a flag that means nothing here", &["stats", "--engine", "embedded"]),
    typed("half a version", &["release", "1.2"]),
    typed("no version", &["release"]),
    typed("a tag that is not there", &["release", "v1.2.3"]),
    typed("a release that is not there", &["verify", "v9.9.9"]),
    typed("no registry", &["layers", "api", "--from", "registry"]),
    typed("a package that is not there", &["prune", "apj"]),
    Case {
        mistake: "a folder of the user's",
        change: Change::Written("out/sources/thesis.txt", "precious"),
        typed: &["prune", "api"],
    },
    typed("a configuration that is not there", &["plan", "--config", "nowhere.toml"]),
    Case {
        mistake: "an event of a commit that is nowhere",
        change: Change::Written(
            "event.json",
            r#"{"ref": "refs/heads/main", "before": "", "after": "c0ffee0000000000000000000000000000000000"}"#,
        ),
        typed: &["ci", "--event", "event.json"],
    },
    typed("no verb", &["engine"]),
];

/// What is typed and said, without what differs from machine to machine.
fn told(case: &Case) -> String {
    let repo = monorepo();
    match case.change {
        Change::Nothing => {}
        Change::Written(file, text) => repo.write(file, text),
        Change::Edited(file, from, to) => repo.edit(file, from, to),
        Change::By(make) => make(&repo),
    }
    let data = repo.path().join("target/engine");
    let (variables, typed): (Vec<&str>, Vec<&str>) = case.typed.iter().partition(|word| word.starts_with("XTASK_"));
    let mut command = repo.command(&typed);
    // No engine is there, whatever Docker the machine has, and none is started.
    command.env("XTASK_ENGINE_DATA", &data).env("XTASK_BUILDERS_ENGINE", "embedded").env("XTASK_CACHE_DIR", "/dev/null/none");
    for variable in &variables {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let root = repo.path().display().to_string();
    let said = said.replace(&root, "/acme");
    let line = [variables, vec!["cargo xtask"], typed].concat().join(" ");
    format!("## {}\n$ {line}\n{}[exit code {}]\n", case.mistake, said, output.status.code().unwrap_or(-1))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever writes the messages anew says so by a variable")]
fn every_message_for_a_mistake_is_as_it_was_read() {
    let file = here().join("xtask/tests/typed/messages.txt");
    let said: Vec<String> = CASES.par_iter().chain(mistakes::CASES).map(told).collect();
    let said = said.join("\n");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &said).unwrap();
    }
    let read = std::fs::read_to_string(Path::new(&file)).unwrap_or_default();
    let raw = [
        "EOF while",
        "invalid type",
        "invalid value:",
        "trailing characters",
        "at line ",
        "os error",
        "unknown variant",
        "while scanning",
        "invalid basic",
    ];
    for phrase in raw {
        assert!(!said.contains(phrase), "a parser's own phrase is shown: {phrase:?}");
    }
    for (said, read) in said.split("\n## ").zip(read.split("\n## ")) {
        assert_eq!(said, read, "read it aloud; BLESS=1 writes it into {}", file.display());
    }
    assert_eq!(said.len(), read.len(), "another number of messages");
}
