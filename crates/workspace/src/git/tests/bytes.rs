//! Where git's word does not tell what is on disk: each way is made, and the tree held against the disk, of which no git is asked.

use super::*;

/// What a builder would be handed of each file, asked of no git: the kind, the executable bit and the bytes.
fn disk(repo: &Repo, path: &str) -> (Mode, String) {
    let meta = fs::symlink_metadata(repo.path(path)).unwrap();
    if meta.is_symlink() {
        return (Mode::Symlink, fs::read_link(repo.path(path)).unwrap().to_str().unwrap().to_owned());
    }
    let mode = if meta.permissions().mode() & 0o100 == 0 { Mode::Plain } else { Mode::Executable };
    (mode, repo.git(&["hash-object", "--no-filters", path]))
}

#[test]
fn a_clean_file_that_is_converted_on_its_way_is_what_lies_on_disk() {
    let repo = Repo::new();
    repo.git(&["config", "filter.fake.clean", "printf POINTER"]);
    repo.git(&["config", "filter.fake.smudge", "printf REAL"]);
    repo.write(
        ".gitattributes",
        "*.bin filter=fake\n*.txt text\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n*.raw -text\n",
    );
    repo.write("a.bin", "REAL")
        .write("b.txt", "one\r\ntwo\r\n")
        .write("c.id", "$Id$\n")
        .write("d.raw", "x\r\n")
        .write("e", "x\r\n");
    fs::write(repo.path("f.u16"), [b'a', 0, b'\n', 0]).unwrap();
    repo.commit("one");
    fs::remove_file(repo.path("c.id")).unwrap();
    repo.git(&["checkout", "--", "c.id"]);
    assert_eq!(repo.git(&["status", "--short"]), "", "git calls all of it clean");
    let tree = repo.ask().worktree().unwrap();
    for path in ["a.bin", "b.txt", "c.id", "d.raw", "e", "f.u16"] {
        assert_eq!(tree.get(path).unwrap().id.as_str(), disk(&repo, path).1, "{path}");
    }
    assert_eq!(tree.converted().keys().collect::<Vec<_>>(), ["a.bin", "b.txt", "c.id", "f.u16"]);
    assert!(tree.dirty().is_empty(), "a clean file is not dirty: {:?}", tree.dirty());
    // Beside this work tree, the commit has what is on disk.
    let head = repo.ask().commit("HEAD").unwrap();
    assert_ne!(head.files(), tree.files());
    assert_eq!(head.as_checked_out_beside(&tree).files(), tree.files());
}

#[test]
fn line_ends_that_the_configuration_converts_are_what_lies_on_disk() {
    let repo = Repo::new();
    repo.git(&["config", "core.autocrlf", "input"]);
    repo.write("a", "one\r\n").write("b", "one\n").commit("one");
    let tree = repo.ask().worktree().unwrap();
    assert_eq!((repo.git(&["status", "--short"]).as_str(), tree.converted().len()), ("", 1));
    assert_eq!(tree.get("a").unwrap().id.as_str(), disk(&repo, "a").1);
    // One that git keeps with CRLF is not converted, and is as long on disk as there.
    repo.git(&["config", "core.autocrlf", "false"]);
    repo.write("kept", "one\r\n").commit("kept with CRLF");
    repo.git(&["config", "core.autocrlf", "input"]);
    let tree = repo.ask().worktree().unwrap();
    assert_eq!(tree.get("kept").unwrap().id.as_str(), disk(&repo, "kept").1);
    // Attributes from outside the tree count as well.
    repo.git(&["config", "--unset", "core.autocrlf"]);
    repo.write(".git/info/attributes", "* text=auto\n");
    assert_eq!(repo.ask().worktree().unwrap().get("a").unwrap().id.as_str(), disk(&repo, "a").1);
    fs::remove_file(repo.path(".git/info/attributes")).unwrap();
    repo.write("attributes", "* text=auto\n").git(&["config", "core.attributesFile", repo.path("attributes").to_str().unwrap()]);
    assert_eq!(repo.ask().worktree().unwrap().get("a").unwrap().id.as_str(), disk(&repo, "a").1);
}

/// So that git does not look at these files again.
fn make_older_than_the_index(repo: &Repo, paths: &[&str]) {
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
    for path in paths {
        fs::File::options().write(true).open(repo.path(path)).unwrap().set_modified(long_ago).unwrap();
    }
    repo.git(&["update-index", "--refresh"]);
}

#[test]
fn a_file_that_was_converted_by_what_is_gone_is_found() {
    let repo = Repo::new();
    repo.write("a", "one\r\n").write("b", "one\n").write("c", "one\r\n");
    repo.write(".gitattributes", "a eol=crlf\n").commit("one");
    make_older_than_the_index(&repo, &["a", "b", "c"]);
    let unseen = || repo.ask().once_converted(&repo.ask().worktree().unwrap(), &|_| true).unwrap();
    assert_eq!(unseen(), [""; 0], "what converts it is there: it was looked at");
    repo.git(&["rm", "--quiet", ".gitattributes"]);
    assert_eq!(repo.git(&["diff-files"]), "", "git calls all of it clean");
    assert_eq!(unseen(), ["a"]);
    repo.write("a", "one\r\n");
    assert_eq!(unseen(), [""; 0]);
    assert_eq!(repo.ask().worktree().unwrap().get("a").unwrap().id.as_str(), disk(&repo, "a").1);
}

#[test]
fn a_file_that_a_driver_converted_to_as_many_bytes_is_found_once_its_attribute_is_gone() {
    let repo = Repo::new();
    for key in ["filter.rot.smudge", "filter.rot.clean"] {
        repo.git(&["config", key, "tr a-z n-za-m"]);
    }
    repo.write("a", "one\n").write("b", "one\n").write("c", "one\n");
    repo.write(".gitattributes", "a filter=rot\nb filter=rot\n").commit("one");
    make_older_than_the_index(&repo, &["a", "b", "c"]);
    repo.git(&["rm", "--quiet", ".gitattributes"]);
    assert_eq!(repo.git(&["diff-files"]), "", "git calls all of it clean");
    let unseen =
        |wanted: &(dyn Fn(&str) -> bool + Sync)| repo.ask().once_converted(&repo.ask().worktree().unwrap(), wanted).unwrap();
    assert_eq!(unseen(&|_| true), ["a", "b"]);
    assert_eq!(unseen(&|path| path != "a"), ["b"], "what no image is made of is not read");
}

#[test]
fn what_git_was_told_not_to_look_at_is_what_lies_on_disk() {
    let repo = Repo::new();
    repo.write("skipped", "1").write("gone", "1").write("assumed", "1").write("both", "1").write("intended", "").commit("one");
    repo.git(&["update-index", "--skip-worktree", "skipped", "gone", "both"]);
    repo.git(&["update-index", "--assume-unchanged", "assumed", "both"]);
    for path in ["skipped", "assumed", "both"] {
        repo.write(path, "edited");
    }
    fs::remove_file(repo.path("gone")).unwrap();
    repo.write("added", "2").git(&["add", "--intent-to-add", "added"]);
    let tree = repo.ask().worktree().unwrap();
    for path in ["skipped", "assumed", "both", "added"] {
        assert_eq!(tree.get(path).unwrap().id.as_str(), disk(&repo, path).1, "{path}");
    }
    assert_eq!(tree.absent().iter().collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn settings_that_make_git_look_less_closely_do_not_count() {
    let repo = Repo::new();
    repo.write("bits", "1").write("timed", "1").commit("one");
    symlink("bits", repo.path("link")).unwrap();
    repo.commit("two");
    for (name, value) in [("fileMode", "false"), ("symlinks", "false"), ("trustCtime", "false"), ("checkStat", "minimal")] {
        repo.git(&["config", &format!("core.{name}"), value]);
    }
    let before = fs::metadata(repo.path("timed")).unwrap().modified().unwrap();
    repo.git(&["update-index", "--refresh"]);
    fs::set_permissions(repo.path("bits"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(repo.path("link")).unwrap();
    repo.write("link", "bits").write("timed", "2");
    fs::File::options().write(true).open(repo.path("timed")).unwrap().set_modified(before).unwrap();
    let tree = repo.ask().worktree().unwrap();
    for path in ["bits", "link", "timed"] {
        let file = tree.get(path).unwrap();
        assert_eq!((file.mode, file.id.as_str().to_owned()), disk(&repo, path), "{path}");
    }
}

#[test]
fn a_file_that_git_lfs_has_and_the_disk_has_not_is_named() {
    let repo = Repo::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
        .write("a.bin", pointer)
        .write("b.bin", "the content");
    repo.write("c.md", "pointers begin with version https://git-lfs.github.com/spec/v1\n").commit("one");
    let pointers = |repo: &Repo| repo.ask().worktree().unwrap().pointers().iter().cloned().collect::<Vec<_>>();
    assert_eq!(pointers(&repo), ["a.bin"]);
    repo.write("new.bin", pointer);
    assert_eq!(pointers(&repo), ["a.bin", "new.bin"]);
    fs::remove_dir_all(repo.path(".git")).unwrap();
    assert_eq!(pointers(&repo), ["a.bin", "new.bin"]);
}
