//! Which tag may be released: the one that `origin` has, on a branch that is released from. Nothing is built: what is refused is refused before.

use std::path::Path;

use support::repo::{Ran, Repo, git};

/// What a release of a tag says in a clone that stands where this branch is.
fn said(origin: &Repo, clone: &Path, args: &[&str]) -> String {
    let args = [&["release"][..], args, &["--dry-run"]].concat();
    let ran = Ran::new(&args, &origin.command(&args).current_dir(clone).env("CI", "").output().unwrap());
    ran.stderr
}

fn clone(origin: &Repo, into: &Path, flags: &[&str]) {
    let from = format!("file://{}", origin.path().display());
    git(origin.path(), &[&["clone", "--quiet"][..], flags, &[&from, into.to_str().unwrap()]].concat());
}

#[test]
fn a_tag_is_released_from_the_default_branch_or_from_one_that_it_names_and_only_as_origin_has_it() {
    // Without a Dockerfile nothing comes of what is not refused.
    let origin = Repo::of(&[("pnpm-workspace.yaml", "packages: []\n"), ("package.json", "{}\n"), ("xtask.toml", "")]);
    git(origin.path(), &["tag", "v1.0.0"]);
    git(origin.path(), &["checkout", "--quiet", "-b", "feature"]);
    // Whoever pushes the commit writes its configuration.
    origin.write("xtask.toml", "[release]\nbranches = ['*']\n");
    origin.commit("a feature");
    git(origin.path(), &["tag", "v1.1.0"]);
    // To git a tag of that name comes before the branch of the remote.
    git(origin.path(), &["tag", "origin/main"]);
    git(origin.path(), &["checkout", "--quiet", "main"]);
    origin.write("README.md", "more\n");
    origin.commit("main goes on");
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = "is on no branch that is released from: main";
    for (name, flags) in [
        ("whole", &[][..]),
        ("of-a-tag", &["--depth=1", "--branch=v1.1.0"]),
        ("of-a-branch", &["--depth=1", "--branch=feature"]),
        ("blobless", &["--filter=blob:none"]),
        ("as-in-ci", &[]),
    ] {
        let into = dir.path().join(name);
        clone(&origin, &into, flags);
        if name == "as-in-ci" {
            git(&into, &["remote", "set-head", "origin", "--delete"]);
        }
        let (on, off) = (said(&origin, &into, &["v1.0.0"]), said(&origin, &into, &["v1.1.0"]));
        assert!(off.contains("tag v1.1.0 is ") && off.contains(elsewhere), "{name}: {off}");
        assert!(off.contains("`--local-tag` asks nobody"), "{off}");
        assert!(!on.contains("is released from") && !on.contains("origin"), "{name}: {on}");
        assert!(!said(&origin, &into, &["v1.1.0", "--local-tag"]).contains("is released from"), "{name}");
    }
    origin.write("xtask.toml", "[release]\nbranches = ['main', 'feat*']\n");
    origin.commit("features are released, too");
    let whole = dir.path().join("whole");
    git(&whole, &["pull", "--quiet"]);
    assert!(!said(&origin, &whole, &["v1.1.0"]).contains("is released from"));

    git(&whole, &["remote", "set-url", "origin", &format!("file://{}/gone", dir.path().display())]);
    let unasked = said(&origin, &whole, &["v1.0.0"]);
    assert!(unasked.contains("origin cannot be asked whether v1.0.0 is the same there"), "{unasked}");
    assert!(!said(&origin, &whole, &["v1.0.0", "--local-tag"]).contains("origin"));
}

#[test]
fn a_tag_that_was_not_pushed_is_not_released_and_a_remote_may_have_any_name() {
    let origin = Repo::of(&[("pnpm-workspace.yaml", "packages: []\n"), ("package.json", "{}\n"), ("xtask.toml", "")]);
    git(origin.path(), &["tag", "v1.0.0"]);
    origin.write("README.md", "more\n");
    origin.commit("main goes on");
    let (dir, name) = (tempfile::tempdir().unwrap(), "upstream");
    let into = dir.path().join("clone");
    clone(&origin, &into, &["--origin", name]);
    git(&into, &["tag", "v1.1.0"]);
    let unpushed = said(&origin, &into, &["v1.1.0"]);
    assert!(
        unpushed.contains("tag v1.1.0 is in this clone, but not at upstream") && unpushed.contains("git push upstream v1.1.0"),
        "{unpushed}"
    );
    assert!(!said(&origin, &into, &["v1.1.0", "--local-tag"]).contains("upstream"));
    assert!(!said(&origin, &into, &["v1.0.0"]).contains("upstream"));
    // Another commit of the same branch.
    git(&into, &["tag", "--force", "v1.0.0", "main"]);
    let moved = said(&origin, &into, &["v1.0.0"]);
    assert!(moved.contains("tag v1.0.0 has moved") && moved.contains("at upstream"), "{moved}");
}
