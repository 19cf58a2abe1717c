//! The checkout against real repositories: whole, shallow and partial clones.

use super::*;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

/// A repository with two folders and a tag, as `origin` of what a test clones.
fn origin(dir: &Path) -> PathBuf {
    let root = dir.join("origin");
    std::fs::create_dir_all(root.join("apps/api")).unwrap();
    std::fs::create_dir_all(root.join("docs/apps")).unwrap();
    std::fs::write(root.join("apps/api/main.ts"), "one").unwrap();
    std::fs::write(root.join("docs/apps/big"), "x".repeat(1000)).unwrap();
    std::fs::write(root.join("package.json"), "{}").unwrap();
    git(&root, "init --quiet --initial-branch=main");
    git(&root, "config uploadpack.allowFilter true");
    git(&root, "config uploadpack.allowAnySHA1InWant true");
    commit(&root);
    git(&root, "tag v1.0.0");
    std::fs::write(root.join("apps/api/main.ts"), "two").unwrap();
    commit(&root);
    git(&root, "-c user.name=t -c user.email=t@example.org tag -a -m annotated v1.1.0");
    root
}

fn git_at(root: &Path) -> Git {
    Git::at(root, &Shutdown::new())
}

fn git(dir: &Path, args: &str) -> String {
    let invocation = Invocation::new("git").args(args.split(' ')).dir(dir);
    invocation.read(&Shutdown::new()).unwrap()
}

fn commit(dir: &Path) {
    git(dir, "add --all");
    git(dir, "-c user.name=t -c user.email=t@example.org commit --quiet --message=m");
}

fn clone(origin: &Path, flags: &str, name: &str) -> PathBuf {
    let into = origin.parent().unwrap().join(name);
    let flags = if flags.is_empty() { String::new() } else { format!("{flags} ") };
    git(origin.parent().unwrap(), &format!("clone --quiet {flags}file://{} {}", origin.display(), into.display()));
    into
}

fn patterns() -> Vec<String> {
    vec!["package.json".into(), "apps".into()]
}

#[test]
fn a_release_tag_is_a_version_that_an_image_can_carry() {
    for good in ["v1.2.3", "1.2.3", "v1.2.3-rc.1"] {
        assert!(good.parse::<ReleaseTag>().is_ok(), "{good}");
    }
    for bad in ["1.2", "latest", "v1.2.3+build", "", "v1.2.3/x", "--upload-pack=x"] {
        assert_eq!(bad.parse::<ReleaseTag>().unwrap_err().exit_code(), 2, "{bad}");
    }
}

#[test]
fn the_tag_is_found_in_whole_shallow_and_partial_clones_and_only_its_selected_files_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let expected = git(&origin, "rev-parse v1.0.0^{commit}");
    let clones = [("whole", "--no-tags"), ("shallow", "--depth=1 --no-tags"), ("partial", "--filter=blob:none --no-checkout")];
    for (name, flags) in clones {
        let clone = clone(&origin, flags, name);
        let shutdown = Shutdown::new();
        let (tag, commit) = resolve(&git_at(&clone), &"1.0.0".parse().unwrap(), Asked::Origin).unwrap();
        assert_eq!((tag.tag.as_str(), &commit), ("v1.0.0", &expected), "{name}");
        let settings = git(&clone, "config --list");
        assert!(name != "whole" || !settings.contains("promisor") && !clone.join(".git/shallow").exists(), "{settings}");
        let folder = clone.join("target/checkout");
        let made = sparse(&git_at(&clone), &folder, &commit, &patterns(), &Events::none()).unwrap();
        assert_eq!(std::fs::read_to_string(made.root.join("apps/api/main.ts")).unwrap(), "one", "{name}");
        assert!(!made.root.join("docs").exists(), "{name}: a folder named apps below another was selected");
        assert!(!made.reused);
        assert!(sparse(&git_at(&clone), &folder, &commit, &patterns(), &Events::none()).unwrap().reused, "{name}");
        std::fs::write(made.root.join("apps/api/extra.ts"), "dirt").unwrap();
        assert!(
            !sparse(&git_at(&clone), &folder, &commit, &patterns(), &Events::none()).unwrap().reused,
            "{name}: dirt was reused"
        );
        assert!(!made.root.join("apps/api/extra.ts").exists());
        let tree = Git::at(&made.root, &shutdown).worktree().unwrap();
        let missing: Vec<&str> = tree.absent().iter().map(String::as_str).filter(|path| path.starts_with("docs/")).collect();
        assert_eq!(missing, ["docs/apps/big"], "{name}");
        remove(&made.root).unwrap();
        assert!(!made.root.exists());
        // A run that was killed has left it half made.
        let again = sparse(&git_at(&clone), &folder, &commit, &patterns(), &Events::none()).unwrap();
        std::fs::remove_file(again.root.join(".git/HEAD")).unwrap();
        let again = sparse(&git_at(&clone), &folder, &commit, &patterns(), &Events::none()).unwrap();
        assert!(!again.reused && again.root.join("package.json").exists(), "{name}");
    }
}

/// Every file of a folder with its content, its time and its mode.
fn everything(dir: &Path) -> monoship_core::sorted::SortedMap<PathBuf, (Vec<u8>, std::time::SystemTime, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let (mut found, mut open) = (monoship_core::sorted::SortedMap::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let (path, meta) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if meta.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), (std::fs::read(path).unwrap(), meta.modified().unwrap(), meta.permissions().mode()));
            }
        }
    }
    found
}

#[test]
fn the_clone_is_afterwards_as_it_was_whatever_came_of_the_checkout() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let clone = clone(&origin, "", "clone");
    let (commit, before) = (git(&clone, "rev-parse HEAD"), everything(&clone.join(".git")));
    let folder = clone.join("target/checkout");
    let make = |commit: &str| sparse(&git_at(&clone), &folder, commit, &patterns(), &Events::none());
    let made = make(&commit).unwrap();
    assert_eq!(everything(&clone.join(".git")), before, "while it is there");
    remove(&made.top).unwrap();
    // One that cannot be made leaves nothing either.
    make(&"1".repeat(40)).unwrap_err();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    // One that is stopped.
    let stopped = Shutdown::new();
    stopped.close();
    sparse(&Git::at(&clone, &stopped), &folder, &commit, &patterns(), &Events::none()).unwrap_err();
    assert_eq!(everything(&clone.join(".git")), before);
}

#[test]
fn a_checkout_that_an_earlier_version_made_as_a_linked_work_tree_goes_with_its_note() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let root = dir.path().join("checkout").join(&git(&origin, "rev-parse HEAD")[..12]);
    git(&origin, &format!("worktree add --quiet --detach {}", root.display()));
    remove(&root).unwrap();
    assert!(!root.exists());
    assert_eq!(git(&origin, "worktree list").lines().count(), 1);
}

#[test]
fn a_workspace_in_a_folder_of_its_repository_is_checked_out_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let commit = git(&origin, "rev-parse v1.0.0");
    let folder = dir.path().join("checkout");
    let made = sparse(&git_at(&origin.join("docs")), &folder, &commit, &patterns(), &Events::none()).unwrap();
    assert_eq!(made.root, made.top.join("docs"));
    assert!(made.root.join("apps/big").exists() && !made.top.join("apps").exists());
}

#[test]
fn what_the_clone_says_of_another_file_system_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    std::os::unix::fs::symlink("main.ts", origin.join("apps/api/link.ts")).unwrap();
    commit(&origin);
    // As in a clone that was made on Windows.
    git(&origin, "config core.symlinks false");
    git(&origin, "config core.ignoreCase true");
    let commit = git(&origin, "rev-parse HEAD");
    let made = sparse(&git_at(&origin), &dir.path().join("checkout"), &commit, &patterns(), &Events::none()).unwrap();
    assert!(made.root.join("apps/api/link.ts").is_symlink());
}

#[test]
fn an_unknown_a_moved_and_an_ambiguous_tag_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let clone = clone(&origin, "", "clone");
    let refused = |tag: &str| {
        let error = resolve(&git_at(&clone), &tag.parse().unwrap(), Asked::Origin).unwrap_err();
        format!("{error}; {}", error.hint_text().unwrap_or_default())
    };
    assert_eq!(refused("v1.0.1"), "there is no tag v1.0.1; did you mean v1.0.0?");
    assert!(resolve(&git_at(&clone), &"v1.1.0".parse().unwrap(), Asked::Origin).is_ok(), "an annotated tag is its commit");
    git(&clone, "tag v1.2.0 main^{tree}");
    assert_eq!(refused("1.2.0"), "tag v1.2.0 does not point to a commit; delete it, and tag the commit");
    git(&origin, "tag --force v1.0.0 main");
    assert!(refused("v1.0.0").starts_with("tag v1.0.0 has moved: it is "), "{}", refused("v1.0.0"));
    git(&clone, "tag 1.1.0 main~1");
    assert!(refused("1.1.0").starts_with("release 1.1.0 is ambiguous: "), "{}", refused("1.1.0"));
}

#[test]
fn a_folder_that_is_no_checkout_is_never_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let commit = git(&origin, "rev-parse HEAD");
    let in_the_way = dir.path().join("checkout").join(&commit[..12]);
    std::fs::create_dir_all(&in_the_way).unwrap();
    std::fs::write(in_the_way.join("precious"), "mine").unwrap();
    let error = sparse(&git_at(&origin), &dir.path().join("checkout"), &commit, &patterns(), &Events::none()).unwrap_err();
    assert!(error.to_string().contains("is in the way"), "{error}");
    assert!(in_the_way.join("precious").exists());
}

#[test]
fn what_a_killed_run_leaves_of_a_checkout_is_taken_away_by_the_next() {
    type Leaves = fn(&Path);
    let leaves: [(&str, Leaves); 6] = [
        ("made the folder", |top| std::fs::create_dir_all(top).unwrap()),
        ("made the git folder", |top| std::fs::create_dir_all(top.join(".git")).unwrap()),
        ("wrote half the mark", |top| {
            std::fs::create_dir_all(top.join(".git")).unwrap();
            std::fs::write(top.join(".git/monoship-checkout"), "").unwrap();
        }),
        ("removed a file", |top| std::fs::remove_file(top.join("package.json")).unwrap()),
        ("removed the files and half the git folder", |top| {
            std::fs::remove_dir_all(top.join("apps")).unwrap();
            std::fs::remove_file(top.join("package.json")).unwrap();
            std::fs::remove_file(top.join(".git/HEAD")).unwrap();
            std::fs::remove_dir_all(top.join(".git/objects")).unwrap();
        }),
        ("removed all but the mark", |top| {
            std::fs::remove_dir_all(top).unwrap();
            std::fs::create_dir_all(top.join(".git")).unwrap();
            std::fs::write(top.join(".git/monoship-checkout"), "begun\n").unwrap();
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let origin = origin(dir.path());
    let commit = git(&origin, "rev-parse HEAD");
    for (number, (what, leave)) in leaves.into_iter().enumerate() {
        // In the clone itself, as at a user's: git would find the clone's folder where that of the checkout is broken.
        let folder = origin.join(format!("checkout-{number}"));
        let make = || sparse(&git_at(&origin), &folder, &commit, &patterns(), &Events::none());
        if number > 2 {
            make().unwrap();
        }
        leave(&folder.join(&commit[..12]));
        let made = make().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!made.reused && made.top.join("apps/api/main.ts").is_file(), "{what}");
    }
}
