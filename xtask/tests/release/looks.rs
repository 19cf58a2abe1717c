//! What a release shows before it does anything, its notes alone, and whose configuration it goes by.

use crate::harness::{SERVICES, Scene, statuses};

#[test]
fn a_dry_run_shows_commands_tags_notes_and_what_changes_in_them_and_does_nothing() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "By hand.\n");
    let dry = |tag: &str| scene.run(&["release", tag, "--allow-stand-ins", "--dry-run"]).exits(0).stdout;
    let before = dry("v1.0.0");
    for shown in [
        "--target web",
        "# api: every tag, once it is built\n",
        "# the notes\nBy hand.\n\n<!-- xtask:images:begin -->\n",
        "/api@sha256:…\n",
        "# what changes in them\n  By hand.\n",
        "+ ## 🐳 Docker Images\n",
    ] {
        assert!(before.contains(shown), "{shown:?} is not in {before}");
    }
    assert!(SERVICES.iter().all(|service| scene.tags(service).is_empty()));
    assert_eq!((scene.github_writes(), scene.github.body("v1.0.0").as_str()), (0, "By hand.\n"));
    scene.no_checkout();

    scene.release("v1.0.0").exits(0);
    scene.tag("v1.0.1", "");
    scene.registry.heal();
    let (same, next) = (dry("v1.0.0"), dry("v1.0.1"));
    assert!(same.contains("# web: keep v1.0.0, keep 1.0.0, keep 1.0, keep 1, keep latest\n"), "{same}");
    assert!(same.ends_with("# what changes in them\nnothing changes\n"), "{same}");
    assert!(next.contains("# web: put v1.0.1, put 1.0.1, keep 1.0, keep 1, keep latest\n"), "{next}");
    assert!(next.contains("**Change since v1.0.0:** unchanged\n") && !next.contains("sha256:…"), "{next}");
    assert_eq!(scene.registry.count("PUT", ""), 0, "{:?}", scene.registry.log());
    assert_eq!(scene.github.body("v1.0.1"), "");
    scene.no_checkout();
}

#[test]
fn the_notes_alone_can_be_written_later_and_only_of_what_is_published() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "as it was");
    scene.tag("v1.0.1", "");
    scene.repo.xtask(&["release", "v1.0.0", "--allow-stand-ins"]).exits(0);
    assert_eq!(scene.github.body("v1.0.0"), "as it was");
    scene.registry.heal();
    let file = scene.repo.path().join("target/notes.md");
    let only = |tag: &str| scene.run(&["release", tag, "--notes-only", "--notes-file", file.to_str().unwrap()]);
    let wrote = only("v1.0.0").exits(0);
    assert!(wrote.stderr.contains("notes: updated"), "{}", wrote.stderr);
    let (body, section) = (scene.github.body("v1.0.0"), std::fs::read_to_string(&file).unwrap());
    assert_eq!(body, format!("as it was\n\n{section}"));
    for service in SERVICES {
        assert!(body.contains(&format!("/{service}@{}\n", scene.tags(service)["v1.0.0"])), "{body}");
    }
    assert!(only("v1.0.0").exits(0).stderr.contains("notes: unchanged"));
    let refused = only("v1.0.1").exits(1);
    assert!(refused.stderr.contains("v1.0.1 is not published: there is no "), "{}", refused.stderr);
    assert_eq!((scene.registry.count("PUT", ""), scene.github.body("v1.0.1").as_str()), (0, ""));
    scene.no_checkout();
}

#[test]
fn what_the_checkouts_patterns_leave_out_and_the_build_needs_is_named_before_anything_is_built() {
    let scene = Scene::new();
    scene.repo.write("config/nginx/api.conf", "x");
    let dockerfile = scene.repo.read("Dockerfile.monorepo-optimized");
    scene.repo.write("Dockerfile.monorepo-optimized", &dockerfile.replace("AS api\n", "AS api\nCOPY config /config\n"));
    let config = scene.repo.read("xtask.toml");
    let refused = |tag: &str, patterns: &str, left_out: &str, pattern: &str| {
        scene.repo.write("xtask.toml", &format!("{config}[checkout]\npatterns = {patterns}\n"));
        scene.repo.commit(tag);
        scene.tag(tag, "");
        let ran = scene.run(&["release", tag, "--allow-stand-ins"]).exits(2);
        for said in [format!("the sparse checkout leaves out {left_out}"), format!("add \"{pattern}\" to")] {
            assert!(ran.stderr.contains(&said), "{said}: {}", ran.stderr);
        }
        scene.no_checkout();
    };
    let root = "'package.json', '.dockerignore', 'pnpm-*', 'tsconfig*.json', 'Dockerfile*', 'xtask*'";
    refused("v1.0.0", &format!("[{root}, 'apps', 'packages']"), "config/nginx/api.conf", "config/nginx");
    refused("v1.0.1", &format!("[{root}, 'apps', 'config']"), "packages/contract/", "packages/contract");
    assert!(SERVICES.iter().all(|service| scene.tags(service).is_empty()));
}

#[test]
fn a_release_goes_by_the_configuration_and_the_pins_of_its_tag() {
    let scene = Scene::new();
    let config = scene.repo.read("xtask.toml");
    scene.repo.write("xtask.toml", &(config.clone() + "[release]\ntags = [\"{version}-of-the-tag\"]\n"));
    scene.repo.commit("one tag");
    scene.tag("v1.0.0", "");
    let attested = config.replace("sbom = false", "sbom = false\nprovenance = false");
    scene.repo.write("xtask.toml", &(attested + "[release]\ntags = [\"{version}-of-the-tree\"]\n"));
    scene.repo.write("xtask.lock", "this is no lock");
    let released = scene.release("v1.0.0").exits(0);
    assert_eq!(statuses(&released.json()), ["built"; 2]);
    for service in SERVICES {
        assert_eq!(scene.version_tags(service).into_keys().collect::<Vec<_>>(), ["1.0.0-of-the-tag"], "{service}");
        let index = scene.manifest(service, "1.0.0-of-the-tag");
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "an image and its provenance: {index:#}");
    }
    let body = scene.github.body("v1.0.0");
    assert!(body.contains("/web:1.0.0-of-the-tag\n"), "the notes name a tag that can be pulled: {body}");
    scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0);
}
