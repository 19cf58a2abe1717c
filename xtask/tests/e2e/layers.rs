//! Looking into images: built ones in the engine, a pushed one in its registry, and what changed between them.

use std::time::SystemTime;

use monoship_core::execute::shutdown::Shutdown;
use serde_json::{Value, json};

use crate::harness::{SERVICES, clone, clone_to_look_at, turn};
use support::engine::shared;

const DOCKERFILE: &str = "Dockerfile.monorepo-optimized";

/// The lines, from 1, on which a text stands.
fn lines(text: &str, line: &str) -> Vec<usize> {
    text.lines().enumerate().filter(|(_, it)| *it == line).map(|(at, _)| at + 1).collect()
}

#[test]
fn a_doubled_file_is_found_in_every_service_with_the_two_lines_that_put_it() {
    let _turn = turn();
    // The registry is kept between runs.
    let unique = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let repo =
        clone().env("XTASK_IMAGES_REGISTRY", shared().registry()).env("XTASK_IMAGES_NAMESPACE", format!("layers-{unique}/shop"));
    repo.xtask(&["build", "web", "--push", "--tag", "first", "--sbom", "false"]).exits(0);
    // A build takes no version's tag; that of a release is put beside it.
    let image = |tag: &str| format!("{}/layers-{unique}/shop/web:{tag}", shared().registry());
    let put = ["imagetools", "create", "--tag", &image("v1.0.0"), &image("first")];
    shared().engine.buildx().args(put).read(&Shutdown::new()).unwrap();
    let released = repo.read(DOCKERFILE);
    let told = repo.xtask(&["layers", "web", "--tag", "v1.0.0", "--json"]).exits(0).json();
    let web = &told["images"][0];
    assert_eq!(web["place"], "registry", "{web:#}");
    // The package managers of the base image, and nothing of ours.
    let wasted = web["wasted"].as_array().unwrap();
    assert!(!wasted.is_empty() && wasted.iter().all(|file| file["why"] == "deleted"), "{wasted:#?}");
    let packages = web["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "hono" && package["version"] != ""), "{packages:#?}");

    let copy = |service: &str| format!("COPY --link --from={service}-build /built/app /app");
    for service in SERVICES {
        repo.edit(DOCKERFILE, &copy(service), &[copy(service), copy(service)].join("\n"));
    }
    repo.edit("apps/web/src/page.ts", "<html", "<!-- new --><html");
    repo.xtask(&["build"]).exits(0);
    let told = repo.xtask(&["layers", "--json"]).exits(0).json();
    let dockerfile = repo.read(DOCKERFILE);
    for (image, service) in told["images"].as_array().unwrap().iter().zip(SERVICES) {
        assert_eq!(image["place"], "engine", "{service}");
        let path = format!("app/apps/{service}/dist/main.js");
        let wasted = image["wasted"].as_array().unwrap();
        let found = wasted.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{service}: {wasted:#?}"));
        let line = |layer: &Value| image["layers"][usize::try_from(layer.as_u64().unwrap()).unwrap()]["line"]["line"].clone();
        assert_eq!(found["why"], "repeated");
        assert_eq!(json!([line(&found["layer"]), line(&found["by"])]), json!(lines(&dockerfile, &copy(service))), "{service}");
        // Removing the package managers, making a folder and three copies; what is below is the base image's.
        let mut ours = image["layers"].as_array().unwrap().iter().rev().take(5);
        assert!(ours.all(|layer| layer["line"]["file"] == DOCKERFILE), "{image:#}");
    }

    // Lines have moved since the release, whose own Dockerfile is in its provenance.
    let told = repo.xtask(&["layers", "web", "--tag", "v1.0.0", "--json"]).exits(0).json();
    let puts_own = told["images"][0]["layers"].as_array().unwrap().last().unwrap();
    assert_eq!(json!([puts_own["line"]["line"]]), json!(lines(&released, &copy("web"))), "{puts_own:#}");
    assert_ne!(lines(&released, &copy("web"))[0], lines(&dockerfile, &copy("web"))[0]);

    let text = repo.xtask(&["layers", "web"]).exits(0).stdout;
    let [first, second] = lines(&dockerfile, &copy("web"))[..] else { panic!("{dockerfile}") };
    let doubled =
        text.lines().find(|line| line.ends_with(&format!("put by line {first}, and again, the same, by line {second}")));
    assert!(doubled.is_some_and(|line| line.contains(" app/") && line.contains("/dist/")), "{text}");
    assert!(text.contains("/web:v1.0.0: +") && text.contains("app/apps/web/dist/page.js (changed)"), "{text}");
}

#[test]
fn an_image_that_is_nowhere_is_said_with_the_places_that_were_looked_at() {
    let repo = clone_to_look_at();
    let refused = repo.xtask(&["layers", "web", "--tag", "never-built"]).exits(1);
    assert!(
        refused.stderr.contains(&format!("there is no {} in the engine", repo.image("web:never-built"))),
        "{}",
        refused.stderr
    );
    let refused = repo.xtask(&["layers", "wbe"]).exits(2);
    assert!(refused.stderr.contains("did you mean `web`?"), "{}", refused.stderr);
}
