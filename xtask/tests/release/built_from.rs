//! A release of a service that is built from the image of another one.

use crate::harness::{SERVICES, Scene, TAGS};

const DOCKERFILE: &str = "FROM scratch AS base\n\nFROM scratch AS api\nCOPY apps/api/src /src\n\n\
    FROM scratch AS web\nCOPY apps/web/src /src\nCOPY --from=shared /src /of-api\n";

#[test]
fn a_release_builds_it_from_the_image_that_it_publishes_and_verify_knows_that_one() {
    let scene = Scene::new();
    let repo = &scene.repo;
    let config = repo.read("xtask.toml");
    let entries = "[[service]]\nname = 'api'\n[[service]]\nname = 'web'\ncontexts = { shared = 'service:api' }\n";
    repo.write("xtask.toml", &format!("{config}{entries}"));
    repo.write("Dockerfile.monorepo-optimized", DOCKERFILE);
    repo.commit("built from api");
    scene.tag("v1.0.0", "");
    let released = scene.release("v1.0.0").exits(0).json();
    for service in SERVICES {
        assert!(scene.tags(service).contains_key("1.0.0"));
    }
    // Not by a tag that anybody may move who may push, but by what this run has pushed.
    let log = repo.path().join("target/xtask/runs").join(released["id"].as_str().unwrap()).join("web.log");
    let digest = &scene.tags("api")["1.0.0"];
    let log = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    assert!(log.contains(digest.as_str()), "no {digest}: {log}");
    let verified = scene.run(&["verify", "v1.0.0"]).exits(0).stdout;
    assert!(verified.contains("ok      web linux/amd64 materials: 1 as pinned"), "{verified}");

    // Another image under the names of the one that it was built from.
    repo.write("apps/api/src/new.ts", "export const other = 1;\n");
    let other = scene.run(&["build", "api", "--push", "--allow-stand-ins", "--json"]).exits(0).json();
    let task = other["tasks"].as_array().unwrap().iter().find(|task| task["task"]["service"] == "api").unwrap();
    TAGS.iter().for_each(|tag| scene.point("api", tag, task["digest"].as_str().unwrap()));
    let verified = scene.run(&["verify", "v1.0.0"]).exits(1).stdout;
    assert!(
        verified.contains("FAILED  web linux/amd64 materials: ") && verified.contains("no tag of the release is"),
        "{verified}"
    );
}
