//! What a release leaves behind when all goes well, and when a service does not build.

use std::sync::{Arc, Once};
use std::time::Duration;

use crate::harness::{SERVICES, Scene, TAGS, statuses};
use monoship_core::execute::shutdown::Shutdown;
use support::engine::shared;
use support::github_api::TOKEN;
use support::repo::{Ran, git};

#[test]
fn every_tag_is_the_image_of_the_content_tag_the_notes_say_so_and_a_rerun_writes_nothing() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "Hand-written.\r\n\r\n```\ncode 🐳\n```");
    let first = scene.release("v1.0.0").exits(0);
    assert_eq!(statuses(&first.json()), ["built"; 2]);
    scene.whole();

    let body = scene.github.body("v1.0.0");
    assert!(body.starts_with("Hand-written.\r\n\r\n```\ncode 🐳\n```"), "{body}");
    assert!(body.contains("🐳 Docker Images"), "{body}");
    for service in SERVICES {
        let image = format!("{}/{}/{service}", scene.registry.host(), scene.namespace);
        let digest = &scene.tags(service)["v1.0.0"];
        assert!(body.contains(&format!("docker pull {image}:v1.0.0\n")), "{body}");
        assert!(body.contains(&format!("docker pull {image}@{digest}\n")), "{body}");
    }

    let second = scene.release("v1.0.0").exits(0);
    assert_eq!(statuses(&second.json()), ["unchanged"; 2]);
    assert!(second.stderr.contains("notes: unchanged"), "{}", second.stderr);
    scene.whole();
    assert_eq!(scene.github.body("v1.0.0"), body);
    for method in ["PUT", "POST", "PATCH", "DELETE"] {
        assert_eq!(scene.registry.count(method, ""), 0, "a rerun writes: {:?}", scene.registry.log());
    }
    assert_eq!(scene.github_writes(), 0);
}

#[test]
fn an_unchanged_tree_is_carried_forward_and_an_older_release_takes_no_tag_back() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.release("v1.0.0").exits(0);
    let first = SERVICES.map(|service| scene.version_tags(service)["v1.0.0"].clone());

    scene.tag("v1.0.1", "");
    let second = scene.release("v1.0.1").exits(0);
    assert_eq!(statuses(&second.json()), ["unchanged"; 2]);
    assert_eq!(scene.registry.count("PUT", "/blobs/"), 0, "something was pushed: {:?}", scene.registry.log());
    for (service, digest) in SERVICES.iter().zip(&first) {
        let tags = scene.version_tags(service);
        assert!(tags.values().all(|now| now == digest), "{service}: {tags:?}");
        assert!(["v1.0.1", "1.0.1"].iter().all(|tag| tags.contains_key(*tag)), "{service}: {tags:?}");
    }
    assert!(scene.github.body("v1.0.1").contains("unchanged"), "{}", scene.github.body("v1.0.1"));

    scene.repo.write("apps/web/src/more.ts", "export const more = 1;\n");
    scene.repo.commit("web says more");
    scene.tag("v1.1.0", "");
    let third = scene.release("v1.1.0").exits(0);
    assert_eq!(statuses(&third.json()), ["unchanged", "built"]);
    let web = scene.version_tags("web");
    assert_ne!(web["v1.1.0"], first[1]);
    assert_eq!([&web["latest"], &web["1"], &web["1.1"]], [&web["v1.1.0"]; 3]);
    assert_eq!([&web["1.0"], &web["v1.0.1"]], [&first[1]; 2]);
    let body = scene.github.body("v1.1.0");
    assert!(body.contains("**Change since v1.0.1:** rebuilt: file apps/web/src/more.ts added\n"), "{body}");
    assert!(body.contains("**Change since v1.0.1:** unchanged\n"), "{body}");

    let again = scene.release("v1.0.0").exits(0);
    assert_eq!(statuses(&again.json()), ["unchanged"; 2]);
    assert_eq!(scene.version_tags("web"), web);
    assert!(again.stderr.contains(": v1.0.0, 1.0.0, 1.0, 1 stays with 1.1.0, latest stays with 1.1.0\n"));
    assert_eq!(scene.registry.count("PUT", ""), 0, "{:?}", scene.registry.log());
}

#[test]
fn one_broken_service_publishes_nothing_of_any_and_once_mended_the_other_is_not_built_again() {
    let scene = Scene::new();
    scene.repo.write("apps/web/src/broken.ts", "");
    scene.repo.commit("break web");
    scene.tag("v1.0.0", "as it was");
    let ran = scene.release("v1.0.0").exits(1);
    assert_eq!(statuses(&ran.json()), ["built", "failed"]);
    for service in SERVICES {
        assert!(scene.version_tags(service).is_empty(), "{service}: {:?}", scene.version_tags(service));
    }
    assert_eq!(scene.github.body("v1.0.0"), "as it was");
    scene.no_checkout();

    std::fs::remove_file(scene.repo.path().join("apps/web/src/broken.ts")).unwrap();
    scene.repo.commit("fix web");
    scene.tag("v1.0.1", "");
    let fixed = scene.release("v1.0.1").exits(0);
    assert_eq!(statuses(&fixed.json()), ["unchanged", "built"]);
}

#[test]
fn the_tags_commit_is_built_whatever_lies_in_the_working_tree() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.repo.write("apps/web/src/main.ts", "not committed\n");
    scene.repo.write("apps/api/src/broken.ts", "");
    scene.release("v1.0.0").exits(0);
    let image = format!("{}/{}/web:v1.0.0", scene.registry.host(), scene.namespace);
    let docker = |args: &[&str]| shared().engine.docker().args(args.iter().copied()).read(&Shutdown::new()).unwrap();
    let container = docker(&["create", &image]);
    let code = docker(&["cp", &format!("{}:/code", container.trim()), "-"]);
    docker(&["rm", container.trim()]);
    assert!(code.contains("import") && !code.contains("not committed"), "{code}");
    scene.no_checkout();

    // The tag is moved, or deleted, where everybody sees it, while the images are looked for.
    git(scene.repo.path(), &["restore", "."]);
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin.git");
    git(scene.repo.path(), &["clone", "--quiet", "--bare", ".", origin.to_str().unwrap()]);
    git(scene.repo.path(), &["remote", "add", "origin", origin.to_str().unwrap()]);
    git(scene.repo.path(), &["commit", "--quiet", "--allow-empty", "--message", "goes on"]);
    git(scene.repo.path(), &["push", "--quiet", "origin", "main"]);
    let moves = [
        ("v1.1.0", vec!["update-ref", "refs/tags/v1.1.0", "main~1"], "has moved from"),
        ("v1.2.0", vec!["update-ref", "-d", "refs/tags/v1.2.0"], "was deleted"),
    ];
    for (tag, change, what) in moves {
        scene.tag(tag, "");
        git(scene.repo.path(), &["push", "--quiet", "origin", tag]);
        let (at, once) = (origin.clone(), Once::new());
        scene.registry.weather(Arc::new(move |request| {
            if request.path.contains("/manifests/in-") {
                once.call_once(|| drop(git(&at, &change)));
            }
            (Duration::ZERO, None)
        }));
        let told = scene.run(&["release", tag, "--allow-stand-ins"]).exits(1).stderr;
        assert!(told.contains(&format!("tag {tag} {what}")) && told.contains("while its images were built"), "{told}");
        assert_eq!(scene.version_tags("web").get(tag), None);
    }
}

#[test]
fn without_a_token_the_notes_are_in_a_file_and_on_standard_output_and_it_says_what_was_not_done() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "as it was");
    let ran = scene.repo.xtask(&["release", "v1.0.0", "--allow-stand-ins"]).exits(0);
    scene.whole();
    assert_eq!(scene.github.body("v1.0.0"), "as it was");
    assert!(ran.stderr.contains("notes: not on GitHub: there is no token"), "{}", ran.stderr);
    let file = ran.stderr.lines().find_map(|line| line.split_once("they are in ")).unwrap().1;
    let notes = std::fs::read_to_string(file.trim()).unwrap();
    assert!(ran.stdout.contains(&notes), "{}", ran.stdout);
    for service in SERVICES {
        assert!(notes.contains(&format!("/{service}@{}", scene.tags(service)[TAGS[0]])), "{notes}");
    }
}

#[test]
fn with_annotations_each_release_is_an_index_of_its_own_over_the_same_images() {
    let scene = Scene::new();
    let config = scene.repo.read("xtask.toml") + "[release]\nannotate = true\n";
    scene.repo.write("xtask.toml", &config);
    scene.repo.commit("annotate");
    scene.tag("v1.0.0", "");
    scene.tag("v1.0.1", "");
    scene.release("v1.0.0").exits(0);
    let second = scene.release("v1.0.1").exits(0);
    assert_eq!(statuses(&second.json()), ["unchanged"; 2]);
    let [first, second] = ["v1.0.0", "v1.0.1"].map(|tag| scene.manifest("web", tag));
    assert_eq!(first["annotations"]["org.opencontainers.image.version"], "1.0.0");
    assert_eq!(second["annotations"]["org.opencontainers.image.version"], "1.0.1");
    let commit = git(scene.repo.path(), &["rev-parse", "v1.0.1"]);
    assert_eq!(second["annotations"]["org.opencontainers.image.revision"], commit);
    assert_eq!(first["manifests"], second["manifests"]);

    scene.release("v1.0.1").exits(0);
    assert_eq!(scene.registry.count("PUT", ""), 0, "{:?}", scene.registry.log());
    assert_eq!(scene.github_writes(), 0);
    scene.run(&["verify", "v1.0.1", "--allow-stand-ins"]).exits(0);
}

#[test]
fn why_an_image_was_rebuilt_is_told_alike_from_a_clone_that_has_neither_tag_nor_history_of_the_release_before() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.release("v1.0.0").exits(0);
    scene.repo.edit("Dockerfile.monorepo-optimized", "mkdir /out && cat", "mkdir /out && touch /out/more && cat");
    let config = scene.repo.read("xtask.toml").replace("sbom = false", "sbom = false\nprovenance = \"min\"");
    scene.repo.write("xtask.toml", &config);
    scene.repo.write("apps/web/src/more.ts", "export const more = 1;\n");
    scene.repo.commit("more");
    scene.tag("v1.1.0", "");
    assert_eq!(statuses(&scene.release("v1.1.0").exits(0).json()), ["built"; 2]);
    let body = scene.github.body("v1.1.0");
    let line = scene.repo.read("Dockerfile.monorepo-optimized").lines().position(|line| line.contains("/out/more")).unwrap() + 1;
    let stage = format!("stage api-build changed (Dockerfile line {line})");
    assert!(body.contains(&format!("**Change since v1.0.0:** rebuilt: {stage}; setting provenance changed\n")), "{body}");
    let web = "**Change since v1.0.0:** rebuilt: file apps/web/src/more.ts added; setting provenance changed\n";
    assert!(body.contains(web), "{body}");

    let dir = tempfile::tempdir().unwrap();
    let clone = dir.path().join("clone");
    let origin = format!("file://{}", scene.repo.path().display());
    git(dir.path(), &["clone", "--quiet", "--depth=1", "--branch=v1.1.0", &origin, clone.to_str().unwrap()]);
    assert_eq!(git(&clone, &["tag", "--list"]), "v1.1.0");
    scene.github.state().log.clear();
    let args = ["release", "v1.1.0", "--allow-stand-ins"];
    let again = scene.repo.command(&args).current_dir(&clone).env("GITHUB_TOKEN", TOKEN).output().unwrap();
    let again = Ran::new(&args, &again).exits(0);
    assert!(again.stderr.contains("notes: unchanged"), "{}", again.stderr);
    assert_eq!((scene.github_writes(), scene.github.body("v1.1.0")), (0, body));
}
