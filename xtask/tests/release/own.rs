//! A release of services with Dockerfiles of their own: nothing about it differs but where the lines stand.

use crate::harness::{BARE, SERVICES, Scene, statuses};
use support::repo::git;

const CONFIG: &str = "\
service = [{ name = \"api\", context = \"apps/api\" }, { name = \"web\", dockerfile = \"apps/web/Dockerfile\" }]
";

#[test]
fn services_with_dockerfiles_of_their_own_are_released_carried_forward_verified_and_kept_by_upkeep() {
    let scene = Scene::new();
    let repo = &scene.repo;
    git(repo.path(), &["rm", "--quiet", "Dockerfile.monorepo-optimized"]);
    repo.write("xtask.toml", &format!("{CONFIG}{BARE}"));
    let text = |from: &str| {
        format!(
            "FROM node:24-bookworm-slim AS build\nCOPY {from}src /src\nRUN mkdir /out && cat /src/*.ts > /out/code\nFROM scratch\nCOPY --from=build /out /\n"
        )
    };
    repo.write("apps/api/Dockerfile", &text(""));
    repo.write("apps/web/Dockerfile", &text("apps/web/"));
    repo.commit("a Dockerfile each");

    scene.tag("v1.0.0", "");
    assert_eq!(statuses(&scene.release("v1.0.0").exits(0).json()), ["built"; 2]);
    scene.whole();
    let first = SERVICES.map(|service| scene.version_tags(service)["v1.0.0"].clone());
    scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0);

    repo.write("apps/api/src/more.ts", "export const more = 1;\n");
    repo.commit("api says more");
    scene.tag("v1.1.0", "");
    assert_eq!(statuses(&scene.release("v1.1.0").exits(0).json()), ["built", "unchanged"]);
    assert_eq!(scene.version_tags("web")["v1.1.0"], first[1]);
    assert_ne!(scene.version_tags("api")["v1.1.0"], first[0]);
    let body = scene.github.body("v1.1.0");
    assert!(body.contains("**Change since v1.0.0:** rebuilt: file src/more.ts added\n"), "{body}");
    assert!(body.contains("**Change since v1.0.0:** unchanged\n"), "{body}");
    scene.run(&["verify", "v1.1.0", "--allow-stand-ins"]).exits(0);

    scene.run(&["cache", "prune", "--yes"]).exits(0);
    scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0);
    scene.run(&["verify", "v1.1.0", "--allow-stand-ins"]).exits(0);
}
