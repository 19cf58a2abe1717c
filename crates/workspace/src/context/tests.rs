//! Contexts on disk: what a write touches, keeps, removes and refuses.

use std::fs::FileTimes;
use std::path::PathBuf;

use super::*;
use crate::prune::tests::{tree, workspace};

/// Plans and writes `api` of the workspace at `root`.
fn write_api(root: &Path, out: &Path) -> Result<Written> {
    let workspace = Workspace::load(root)?;
    let tree = tree(root);
    let sources = Sources::new(&workspace, &tree, tree.files());
    let plan = PrunePlan::new(&workspace, &sources, workspace.find("api")?, false)?;
    write(&workspace, &sources, &plan, out)
}

/// Every file below `dir` with its time of modification.
fn times(dir: &Path) -> HashMap<PathBuf, SystemTime> {
    let mut found = HashMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() && !path.ends_with(FOLDER) {
                open.push(path);
            } else if !meta.is_dir() {
                found.insert(path, meta.modified().unwrap());
            }
        }
    }
    found
}

fn pause() {
    std::thread::sleep(TICK + TICK);
}

#[test]
fn a_second_write_touches_nothing() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    pause();
    let first = write_api(root.path(), out.path()).unwrap();
    assert_eq!((first.changed, first.removed), (first.files, 0));
    let before = times(out.path());
    pause();
    let second = write_api(root.path(), out.path()).unwrap();
    assert_eq!(second, Written { files: first.files, changed: 0, removed: 0 });
    assert_eq!(times(out.path()), before);
    assert_eq!(before.len(), first.files);
}

#[test]
fn an_edit_gets_a_new_time_even_where_size_and_time_of_the_source_stay() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let source = root.path().join("apps/api/src/main.ts");
    pause();
    write_api(root.path(), out.path()).unwrap();
    let copy = out.path().join("sources/apps/api/src/main.ts");
    let before = times(out.path());
    let times_of_source = fs::metadata(&source).unwrap();
    pause();
    fs::write(&source, "import {}\n").unwrap();
    let old = FileTimes::new().set_modified(times_of_source.modified().unwrap());
    fs::File::options().write(true).open(&source).unwrap().set_times(old).unwrap();
    let written = write_api(root.path(), out.path()).unwrap();
    assert_eq!((written.changed, written.removed), (1, 0));
    assert_eq!(fs::read_to_string(&copy).unwrap(), "import {}\n");
    let after = times(out.path());
    let moved: Vec<_> = after.iter().filter(|(path, time)| before[*path] != **time).map(|(path, _)| path.clone()).collect();
    assert_eq!(moved, [copy]);
}

#[test]
fn what_nobody_wants_any_more_goes_and_a_damaged_copy_is_mended() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    write_api(root.path(), out.path()).unwrap();
    let copy = out.path().join("sources/packages/lib/index.js");
    pause();
    fs::write(&copy, "x").unwrap();
    fs::write(out.path().join("sources/stray.js"), "x").unwrap();
    fs::create_dir_all(out.path().join("manifests/stray/deep")).unwrap();
    fs::remove_file(root.path().join("apps/api/src/main.ts")).unwrap();
    let written = write_api(root.path(), out.path()).unwrap();
    assert_eq!(written.removed, 3, "two strays, and the folder of a file that is gone");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "\n");
    assert!(!out.path().join("sources/apps/api/src").exists());
    assert!(!out.path().join("sources/stray.js").exists() && !out.path().join("manifests/stray").exists());
}

#[test]
fn modes_are_normal_links_stay_links_and_none_leads_out() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let lib = root.path().join("packages/lib");
    fs::set_permissions(lib.join("index.js"), Permissions::from_mode(0o600)).unwrap();
    fs::write(lib.join("odd \n ' name.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(lib.join("odd \n ' name.sh"), Permissions::from_mode(0o700)).unwrap();
    symlink("index.js", lib.join("link.js")).unwrap();
    write_api(root.path(), out.path()).unwrap();
    let copied = out.path().join("sources/packages/lib");
    let mode = |name: &str| fs::symlink_metadata(copied.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("index.js"), mode("odd \n ' name.sh"), mode(".")), (0o644, 0o755, 0o755));
    assert_eq!(fs::read_link(copied.join("link.js")).unwrap(), Path::new("index.js"));
    for target in ["/etc/passwd", "../../../secret"] {
        fs::remove_file(lib.join("link.js")).unwrap();
        symlink(target, lib.join("link.js")).unwrap();
        let error = write_api(root.path(), out.path()).unwrap_err();
        assert!(error.to_string().contains("`packages/lib/link.js` leads out of the repository"), "{error}");
    }
}

#[test]
fn a_stamp_file_that_is_damaged_costs_a_comparison_and_no_correctness() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    pause();
    write_api(root.path(), out.path()).unwrap();
    fs::write(out.path().join(FOLDER).join("sources"), "1 2 x\0\u{fffd} nonsense").unwrap();
    let before = times(out.path());
    assert_eq!(write_api(root.path(), out.path()).unwrap().changed, 0);
    assert_eq!(times(out.path()), before);
}

#[test]
fn a_folder_with_what_no_write_put_there_is_told_from_one_that_only_writes_have_filled() {
    let (root, out) = (workspace(), tempfile::tempdir().unwrap());
    let sources = out.path().join("sources");
    assert!(refuse_strangers(&sources).is_ok(), "nothing is there");
    symlink("index.js", root.path().join("packages/lib/link.js")).unwrap();
    write_api(root.path(), out.path()).unwrap();
    refuse_strangers(&sources).unwrap();
    write_api(root.path(), out.path()).unwrap();
    refuse_strangers(&sources).unwrap();
    let refused = |what: &str| {
        let error = refuse_strangers(&sources).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    fs::write(sources.join("thesis.txt"), "precious").unwrap();
    refused("sources/thesis.txt` was not written");
    fs::remove_file(sources.join("thesis.txt")).unwrap();
    fs::create_dir(sources.join("apps/empty")).unwrap();
    refused("sources/apps/empty` was not written");
    fs::remove_dir(sources.join("apps/empty")).unwrap();
    pause();
    fs::write(sources.join("apps/api/src/main.ts"), "export {}\n").unwrap();
    refused("main.ts` was edited since");
    assert_eq!(edited(&sources).unwrap(), Some(sources.join("apps/api/src/main.ts")));
    write_api(root.path(), out.path()).unwrap();
    assert_eq!(edited(&sources).unwrap(), None);
    fs::remove_file(sources.join("packages/lib/link.js")).unwrap();
    assert_eq!(edited(&sources).unwrap(), Some(sources.join("packages/lib/link.js")), "for a removal there is nothing to refuse");
    refuse_strangers(&sources).unwrap();
    // One that was killed before it knew the times of what it wrote.
    stamps::write(&sources, &stamps::read(&sources).into_keys().map(|path| (path, Stamp::ANNOUNCED)).collect()).unwrap();
    refuse_strangers(&sources).unwrap();
    fs::remove_dir_all(&sources).unwrap();
    fs::write(&sources, "precious").unwrap();
    refused("sources` is not a folder");
}

#[test]
fn contents_of_one_length_written_in_one_tick_have_times_of_their_own_and_equal_contents_do_not_need_them() {
    let dir = tempfile::tempdir().unwrap();
    let nanoseconds = |path: &Path| {
        let time = fs::metadata(path).unwrap().modified().unwrap();
        time.duration_since(UNIX_EPOCH).unwrap().subsec_nanos()
    };
    let texts: Vec<String> = (0..200).map(|n| format!("packages: apps/{n:03}")).collect();
    let mut seen = HashSet::new();
    for (n, text) in texts.iter().enumerate() {
        let (written, source, copied) =
            (dir.path().join(format!("t{n}")), dir.path().join(format!("s{n}")), dir.path().join(format!("c{n}")));
        put_text(&written, text, false, false).unwrap();
        fs::write(&source, text).unwrap();
        copy(&source, text.len() as u64, &copied, 0o644).unwrap();
        assert_eq!(nanoseconds(&written), nanoseconds(&copied), "equal content, however it got there");
        assert!(seen.insert(nanoseconds(&written)), "another content has the time of {text}");
    }
    // Large files: one source has one time wherever it is copied to, another source of that length another.
    let large = |name: &str, byte: u8| {
        let source = dir.path().join(name);
        fs::write(&source, vec![byte; usize::try_from(SMALL).unwrap() + 1]).unwrap();
        [1, 2].map(|copy_number| {
            let to = dir.path().join(format!("{name}-{copy_number}"));
            copy(&source, SMALL + 1, &to, 0o644).unwrap();
            nanoseconds(&to)
        })
    };
    let (a, b) = (large("large-a", b'a'), large("large-b", b'b'));
    assert_eq!((a[0], b[0]), (a[1], b[1]));
    assert_ne!(a[0], b[0]);
}
