//! Several workspaces in one repository, released by one tag: each publishes its own images, and has its own section in the notes.

use crate::harness::{BARE, Scene};
use support::two::{WORKSPACES, write};

#[test]
fn one_tag_releases_each_workspace_and_no_notes_are_overwritten() {
    let scene = Scene::new();
    let repo = &scene.repo;
    support::repo::git(repo.path(), &["rm", "-r", "--quiet", "."]);
    write(repo);
    for (folder, _) in WORKSPACES {
        repo.write(&format!("{folder}/xtask.toml"), BARE);
    }
    repo.commit("settings");
    scene.tag("v1.0.0", "Hand-written.\n");
    for (folder, _) in WORKSPACES {
        scene.run(&["--workspace", folder, "release", "v1.0.0", "--allow-stand-ins"]).exits(0);
    }
    let body = scene.github.body("v1.0.0");
    for (folder, service) in WORKSPACES {
        for part in [format!("images:begin {folder} -->"), format!("Docker Images of {folder}\n"), format!("### 📦 {service}\n")]
        {
            assert!(body.contains(&part), "no {part:?}: {body}");
        }
        assert!(scene.tags(service).contains_key("1.0.0"));
    }
    assert!(body.starts_with("Hand-written.\n"), "{body}");
    // Run again, and verified, each sees its own.
    scene.run(&["--workspace", "backend", "release", "v1.0.0", "--allow-stand-ins"]).exits(0);
    assert_eq!(scene.github.body("v1.0.0"), body);
    for (folder, service) in WORKSPACES {
        let verified = scene.run(&["--workspace", folder, "verify", "v1.0.0"]).exits(0);
        assert!(verified.stdout.contains(&format!("ok      {service} notes: they name this digest")), "{}", verified.stdout);
    }
}
