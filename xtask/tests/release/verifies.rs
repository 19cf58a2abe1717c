//! `cargo xtask verify` on what a release really published.

use std::process::Stdio;

use crate::harness::{SERVICES, Scene};
use support::repo::{Ran, git};

#[test]
fn a_release_verifies_also_several_times_at_once_and_what_was_changed_behind_its_back_is_found() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.release("v1.0.0").exits(0);
    // The image's commit is the tag's, whatever came after it.
    scene.repo.commit("later");
    let commit = git(scene.repo.path(), &["rev-parse", "v1.0.0"]);

    let good = scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(0).stdout;
    assert!(!good.contains("FAILED"), "{good}");
    for service in SERVICES {
        let digest = &scene.tags(service)["v1.0.0"];
        assert!(good.contains(&format!("{service} tags: v1.0.0, 1.0.0, 1.0, 1, latest at {digest}")), "{good}");
        assert!(good.contains(&format!("{service} notes: they name this digest")), "{good}");
    }
    assert_eq!(good.matches(&format!(" source: {commit}\n")).count(), SERVICES.len(), "{good}");

    let args = ["verify", "v1.0.0", "--allow-stand-ins"];
    let at_once = [(); 4].map(|()| scene.repo.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    for child in at_once {
        Ran::new(&args, &child.wait_with_output().unwrap()).exits(0);
    }
    scene.no_checkout();

    let strict = scene.run(&["verify", "v1.0.0", "--json"]).exits(1);
    let materials = strict.json()["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "materials").count();
    assert_eq!(materials, SERVICES.len(), "{}", strict.stdout);
    assert!(strict.stdout.contains("is not in xtask.lock"), "{}", strict.stdout);

    let web = scene.tags("web")["v1.0.0"].clone();
    let other = format!("sha256:{}", "0".repeat(64));
    let body = scene.github.body("v1.0.0").replace(&web, &other);
    scene.github.state().release("v1.0.0").body = Some(body);
    scene.tamper("api", "1.0");
    let bad = scene.run(&["verify", "v1.0.0", "--allow-stand-ins"]).exits(1);
    assert!(bad.stdout.contains(&format!("FAILED  web notes: they name {other}")), "{}", bad.stdout);
    assert!(bad.stdout.contains("FAILED  api tags: the tags disagree"), "{}", bad.stdout);
    assert!(bad.stderr.contains("v1.0.0 does not verify: 2 of "), "{}", bad.stderr);
}

#[test]
fn an_image_that_is_carried_forward_verifies_and_one_that_is_put_under_the_tag_of_other_sources_does_not() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.release("v1.0.0").exits(0);
    scene.repo.write("README.md", "of no image\n");
    scene.repo.commit("read me");
    scene.tag("v1.0.1", "");
    scene.release("v1.0.1").exits(0);
    scene.repo.write("apps/web/src/new.ts", "export const other = 1;\n");
    scene.repo.commit("another web");
    scene.tag("v1.0.2", "");
    for service in SERVICES {
        scene.point(service, "v1.0.2", "v1.0.1");
    }
    let commit = |tag: &str| git(scene.repo.path(), &["rev-parse", tag]);
    let carried = |service: &str, to: &str| {
        format!("{service} linux/amd64 source: built from {} and carried forward to {}", commit("v1.0.0"), commit(to))
    };
    let verify = |tag: &str| scene.run(&["verify", tag, "--allow-stand-ins"]);
    let good = verify("v1.0.1").exits(0).stdout;
    assert!(SERVICES.iter().all(|service| good.contains(&format!("ok      {}\n", carried(service, "v1.0.1")))), "{good}");
    let bad = verify("v1.0.2").exits(1).stdout;
    assert!(bad.contains(&format!("ok      {}\n", carried("api", "v1.0.2"))), "{bad}");
    assert!(bad.contains(&format!("FAILED  {}, where it would be another: ", carried("web", "v1.0.2"))), "{bad}");
    for said in ["web tags: missing: 1.0.2", "unknown web notes: they list no image"] {
        assert!(bad.contains(said), "{said}: {bad}");
    }
}
