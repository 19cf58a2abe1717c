//! Services that are built from the images of other services: `contexts = { shared = "service:api" }`.

use std::time::SystemTime;

use crate::harness::{docker, mini, record, seat, task};
use support::engine::shared;
use support::repo::Repo;

const DOCKERFILE: &str = "FROM scratch AS base\n\nFROM scratch AS api\nCOPY apps/api/src /app\n\n\
    FROM scratch AS worker\nCOPY --from=shared /app/main.ts /from-api.ts\nCOPY apps/worker/own.txt /own.txt\n\n\
    FROM scratch AS alone\nCOPY apps/worker/own.txt /own.txt\n";

const SERVICES: &str = "[[service]]\nname = 'api'\n\n[[service]]\nname = 'worker'\npackage = 'apps/api'\n\
    contexts = { shared = 'service:api' }\n\n[[service]]\nname = 'alone'\npackage = 'apps/api'\n";

fn repo() -> Repo {
    let repo = mini(DOCKERFILE);
    repo.write("apps/worker/own.txt", &format!("{}\n", repo.path().display()));
    repo.write("xtask.toml", SERVICES);
    repo.commit("built from another");
    repo
}

/// A file of an image that has no program in it.
fn file_of(image: &str, path: &str) -> String {
    let engine = shared();
    let container = docker(engine, &["create", image, "nothing"]);
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("file");
    docker(engine, &["cp", &format!("{container}:{path}"), file.to_str().unwrap()]);
    docker(engine, &["rm", &container]);
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_other_image_is_built_first_and_what_is_in_it_counts() {
    let _seat = seat();
    shared();
    let repo = repo();
    let dry = repo.xtask(&["build", "worker", "--dry-run"]).exits(0);
    let content = format!("--build-context shared=docker-image://docker.io/{}", repo.image("api:in-"));
    assert!(dry.stdout.contains(&content), "{}", dry.stdout);

    // Whoever is asked for brings the other along, and nobody else.
    let built = record(repo.xtask(&["build", "worker", "--json"]), 0);
    assert_eq!(["api", "worker"].map(|name| task(&built, name)["status"].as_str().unwrap()), ["built"; 2]);
    assert!(!built.to_string().contains("alone"), "{built:#}");
    let begun = |service: &str| {
        let time = task(&built, service)["started"].as_str().unwrap();
        humantime::parse_rfc3339(time).unwrap()
    };
    assert!(begun("api") < begun("worker"), "{built:#}");
    assert_eq!(file_of(&repo.image("worker:dev"), "/from-api.ts"), repo.read("apps/api/src/main.ts"));

    // A change of the one is a change of the other, with a reason; one of the other is its own.
    let two = format!("{}// two\n", repo.read("apps/api/src/main.ts"));
    repo.write("apps/api/src/main.ts", &two);
    let plan = repo.xtask(&["plan", "--explain"]).exits(0).stdout;
    assert!(plan.contains("service api changed"), "{plan}");
    let since = repo.xtask(&["plan", "--since", "HEAD", "--json"]).exits(0).json();
    let affected: Vec<&str> = since["services"].as_array().unwrap().iter().map(|one| one["service"].as_str().unwrap()).collect();
    assert_eq!(affected, ["api", "worker"]);
    // Its content tag may be gone while another name keeps the image: it gets it again.
    record(repo.xtask(&["build", "api", "--json"]), 0);
    let tags =
        docker(shared(), &["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", &repo.image("api").replace(":latest", "")]);
    let tags: Vec<&str> = tags.lines().filter(|tag| tag.contains(":in-")).collect();
    assert!(!tags.is_empty());
    docker(shared(), &[&["image", "rm"], &tags[..]].concat());
    let second = record(repo.xtask(&["build", "--json"]), 0);
    assert_eq!(["api", "worker"].map(|name| task(&second, name)["status"].as_str().unwrap()), ["unchanged", "built"]);
    assert_eq!(file_of(&repo.image("worker:dev"), "/from-api.ts"), two);
    let third = record(repo.xtask(&["build", "--json"]), 0);
    assert_eq!(["api", "worker", "alone"].map(|name| task(&third, name)["status"].as_str().unwrap()), ["unchanged"; 3]);
    repo.write("apps/worker/own.txt", &format!("mine in {}\n", repo.path().display()));
    let own = record(repo.xtask(&["build", "--json"]), 0);
    assert_eq!(["api", "worker"].map(|name| task(&own, name)["status"].as_str().unwrap()), ["unchanged", "built"]);
    // A check keeps nothing but what it has to hand on.
    record(repo.xtask(&["build", "--output", "type=cacheonly", "--json"]), 0);
}

#[test]
fn what_is_built_from_a_broken_one_is_not_built_and_says_why() {
    let _seat = seat();
    let repo = repo();
    repo.edit("Dockerfile.monorepo-optimized", "COPY apps/api/src /app", "COPY apps/api/none /app");
    let ran = repo.xtask(&["build", "--json"]);
    let stderr = ran.stderr.clone();
    let record = record(ran, 1);
    let status = |name: &str| task(&record, name)["status"].as_str().unwrap().to_owned();
    assert_eq!(["api", "worker", "alone"].map(status), ["failed", "not-run", "built"], "{stderr}");
    assert_eq!(task(&record, "worker")["lacking"], "api");
    assert!(stderr.contains("not built because api failed"), "{stderr}");
    assert_eq!(stderr.matches(" failed at ").count(), 1, "{stderr}");
}

#[test]
fn a_push_takes_the_other_image_from_the_registry_and_elsewhere_it_is_refused() {
    let _seat = seat();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let namespace = format!("from-{}/shop", since.as_millis());
    let repo = repo().env("XTASK_IMAGES_REGISTRY", shared().registry()).env("XTASK_IMAGES_NAMESPACE", &namespace);
    let pushed = record(repo.xtask(&["build", "worker", "--push", "--json"]), 0);
    let digest = task(&pushed, "api")["digest"].as_str().unwrap().to_owned();
    // As the job of a matrix has it, where another job has pushed it: the image that stands is taken by its digest.
    repo.write("apps/worker/own.txt", "mine\n");
    let dry = repo.xtask(&["build", "worker", "--push", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains(&format!("@{digest}")), "{}", dry.stdout);
    let again = record(repo.xtask(&["build", "worker", "--push", "--json"]), 0);
    assert_eq!(["api", "worker"].map(|name| task(&again, name)["status"].as_str().unwrap()), ["unchanged", "built"]);

    let refused = repo.xtask(&["build", "worker", "--output", "type=oci,dest=out/{service}.tar"]).exits(2);
    assert!(refused.stderr.contains("`worker` is built from the image of `api`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--push"), "{}", refused.stderr);
    let warmed = repo.xtask(&["cache", "warm", "--tier", "registry"]).exits(0);
    assert!(warmed.stderr.contains("worker is left out: it is built from the image of api"), "{}", warmed.stderr);
}
