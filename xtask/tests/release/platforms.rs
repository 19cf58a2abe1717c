//! A service for several platforms whose steps need no emulation: each is built for itself, and they are published as one image.

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use serde_json::Value;

use crate::harness::{Scene, statuses};
use support::engine::shared;
use support::tools::SKOPEO;

/// `web` copies files and runs nothing, for two platforms; `api` is built for the engine's own.
fn scene() -> Scene {
    let scene = Scene::new();
    let dockerfile = scene.repo.read("Dockerfile.monorepo-optimized");
    let (kept, _) = dockerfile.split_once("FROM base AS web-build").unwrap();
    scene
        .repo
        .write("Dockerfile.monorepo-optimized", &format!("{kept}FROM scratch AS web\nCOPY apps/web/src /src\nCMD [\"/src\"]\n"));
    let caches = format!("repository = \"{}/{}/cache\"", scene.registry.host(), scene.namespace);
    let config = scene.repo.read("xtask.toml").replace("registry = false", &caches);
    let web = "[[service]]\nname = \"web\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";
    scene.repo.write("xtask.toml", &(config + web));
    scene.repo.commit("web for two platforms");
    scene
}

/// Platform and digest of each image of an index, and how many attestations it has.
fn images(index: &Value) -> (Vec<(String, String)>, usize) {
    let entries = index["manifests"].as_array().unwrap();
    let (attestations, images): (Vec<&Value>, _) = entries.iter().partition(|entry| entry["platform"]["os"] == "unknown");
    let named = images.iter().map(|entry: &&Value| {
        let (platform, digest) = (&entry["platform"], entry["digest"].as_str().unwrap());
        (format!("{}/{}", platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap()), digest.to_owned())
    });
    (named.collect(), attestations.len())
}

#[test]
fn two_platforms_are_one_image_with_caches_of_their_own_and_digests_of_both_in_the_notes() {
    let scene = scene();
    scene.tag("v1.0.0", "");
    let dry = scene.run(&["release", "v1.0.0", "--allow-stand-ins", "--dry-run"]).exits(0).stdout;
    let of = |platform: &str| dry.lines().find(|line| line.contains(&format!("--platform {platform} "))).unwrap();
    for (platform, cache, other) in [("linux/amd64", "web-linux-amd64", "arm64"), ("linux/arm64", "web-linux-arm64", "amd64")] {
        assert!(of(platform).contains(&format!("/cache:{cache},mode=max")) && !of(platform).contains(other), "{}", of(platform));
    }

    let released = scene.release("v1.0.0").exits(0);
    assert_eq!(statuses(&released.json()), ["built"; 2]);
    scene.whole();
    let (found, attestations) = images(&scene.manifest("web", "v1.0.0"));
    let platforms: Vec<&str> = found.iter().map(|(platform, _)| platform.as_str()).collect();
    assert_eq!((platforms.as_slice(), attestations), (&["linux/amd64", "linux/arm64"][..], 2));
    assert_eq!(images(&scene.manifest("api", "v1.0.0")).0.len(), 1);
    let body = scene.github.body("v1.0.0");
    for (platform, digest) in &found {
        assert!(body.contains(&format!("- `{platform}` `{digest}` (")), "{body}");
    }
    let caches = scene.tags("cache");
    assert!(["web-linux-amd64", "web-linux-arm64", "base"].iter().all(|name| caches.contains_key(*name)), "{caches:?}");
    // Somebody else's program takes the one that is asked for.
    let image = format!("docker://{}/{}/web:1", shared().registry(), scene.namespace);
    for arch in ["amd64", "arm64"] {
        let skopeo = Invocation::new(SKOPEO.path()).arg(format!("--override-arch={arch}"));
        let seen = skopeo.args(["inspect", "--config", "--tls-verify=false", &image]).read(&Shutdown::new()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["architecture"], arch);
    }
    let verified = scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0).stdout;
    assert_eq!(verified.matches("ok      web linux/arm64 ").count(), 4, "{verified}");

    scene.tag("v1.0.1", "");
    assert_eq!(statuses(&scene.release("v1.0.1").exits(0).json()), ["unchanged"; 2]);
    assert_eq!(images(&scene.manifest("web", "latest")).0, found);
}

#[test]
fn a_platform_that_does_not_build_publishes_nothing_of_the_other() {
    let scene = scene();
    let dockerfile = scene.repo.read("Dockerfile.monorepo-optimized");
    scene.repo.write("Dockerfile.monorepo-optimized", &dockerfile.replace("FROM scratch AS web\n", "FROM scratch AS web-amd64\nFROM scratch AS web-arm64\nCOPY nothing /\nARG TARGETARCH\nFROM web-${TARGETARCH} AS web\n"));
    scene.repo.commit("break one");
    scene.tag("v1.0.0", "as it was");
    let failed = scene.release("v1.0.0").exits(1);
    assert_eq!(statuses(&failed.json()), ["built", "failed"]);
    assert!(!scene.stands("web") && scene.version_tags("web").is_empty() && scene.version_tags("api").is_empty());
    assert_eq!(scene.github.body("v1.0.0"), "as it was");
}
