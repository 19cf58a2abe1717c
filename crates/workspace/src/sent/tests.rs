//! What is sent, against folders made for it. That a builder is sent the same is held against a real engine in the tests of the program.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;
use crate::git::Git;
use monoship_core::execute::shutdown::Shutdown;

/// A repository in a temporary folder, with its ignore file.
struct Context {
    dir: tempfile::TempDir,
    ignore: Ignore,
}

impl Context {
    fn new(ignore: &str) -> Self {
        let context = Self { dir: tempfile::tempdir().unwrap(), ignore: Ignore::parse(ignore).unwrap() };
        context.git(&["init", "--quiet"]);
        context
    }

    fn git(&self, args: &[&str]) {
        let git = self.ask().command(&["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgSign=false"]);
        git.args(args).read(&Shutdown::new()).unwrap();
    }

    fn ask(&self) -> Git {
        Git::at(self.dir.path(), &Shutdown::new())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn sent(&self, patterns: &[&str]) -> Sent {
        let patterns = patterns.iter().map(ToString::to_string).collect();
        Sent::on_disk(self.dir.path(), &self.ask().worktree().unwrap(), &self.ignore, &patterns, "target/own").unwrap()
    }

    fn paths(&self, patterns: &[&str]) -> Vec<String> {
        let sent = self.sent(patterns);
        let seen: SortedSet<usize> = patterns.iter().flat_map(|pattern| sent.seen_by(pattern)).collect();
        seen.into_iter().map(|at| sent.entries()[at].path.to_string()).collect()
    }
}

#[test]
fn files_that_git_ignores_or_does_not_know_are_sent() {
    let context = Context::new("**/.git\n");
    context.write(".gitignore", "dist/\n").write("a/dist/main.js", "1").write("a/src.ts", "1").write("secret", "1");
    context.write(".git/info/exclude", "secret\n").git(&["add", "-A"]);
    assert_eq!(context.paths(&["."]), [".gitignore", "a/dist/main.js", "a/src.ts", "secret"]);
    assert_eq!(context.paths(&["a/dist"]), ["a/dist/main.js"]);
    let before = context.sent(&["."]);
    context.write("a/dist/main.js", "2").write("secret", "2");
    let changed = before.changed(&context.sent(&["."]));
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["a/dist/main.js", "secret"]);
}

#[test]
fn repositories_and_submodules_within_are_sent_whatever_they_ignore() {
    let context = Context::new(".git\n");
    context.write("inner/.gitignore", "ignored\n").write("inner/ignored", "1").write("inner/known", "1");
    context.git(&["init", "--quiet", "inner"]);
    context.git(&["-C", "inner", "add", "-A"]);
    context.git(&["-C", "inner", "commit", "--quiet", "-m", "one"]);
    let paths = context.paths(&["."]);
    for path in ["inner/.gitignore", "inner/ignored", "inner/known", "inner/.git/HEAD"] {
        assert!(paths.iter().any(|found| found == path), "{path} in {paths:?}");
    }
    assert_eq!(context.sent(&["."]).concerns().repositories, SortedSet::from(["inner/.git".to_owned()]));
}

#[test]
fn bits_empty_folders_and_extended_attributes_count() {
    let context = Context::new("**/.git\n");
    context.write("a/file", "1").write("b", "1").git(&["add", "-A"]);
    context.mode("a", 0o755);
    let mut before = context.sent(&["."]);
    let mut changes = |what: &str, expected: &[&str]| {
        let after = context.sent(&["."]);
        assert_eq!(before.changed(&after).into_iter().collect::<Vec<_>>(), expected, "{what}");
        before = after;
    };
    context.mode("b", 0o600);
    changes("a bit that git does not keep", &["b"]);
    context.mode("a", 0o700);
    changes("a folder's bits", &["a/"]);
    fs::create_dir(context.path("empty")).unwrap();
    context.mode("empty", 0o755);
    changes("an empty folder", &["empty/"]);
    context.write("empty/now", "x");
    changes("a folder that is no longer empty", &["empty/", "empty/now"]);
    if rustix::fs::setxattr(context.path("b"), "user.kept", b"1", rustix::fs::XattrFlags::empty()).is_ok() {
        changes("an extended attribute", &["b"]);
    }
    context.git(&["add", "-A"]);
    context.git(&["commit", "--quiet", "-m", "one"]);
    changes("a commit", &[]);
    fs::File::open(context.path("b")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    changes("a time", &[]);
}

#[test]
fn links_in_the_path_of_a_pattern_are_followed_and_others_are_not() {
    let context = Context::new("**/.git\n");
    context.write("v/2/dist/x", "1").write("v/1/dist/x", "1").write("other", "1");
    symlink("2", context.path("v/current")).unwrap();
    symlink("/v/current/dist", context.path("dist")).unwrap();
    symlink("../../other", context.path("v/1/inner")).unwrap();
    assert_eq!(context.paths(&["dist"]), ["dist", "v/2/dist/x", "v/current"]);
    assert_eq!(context.paths(&["v/c*/dist"]), ["v/2/dist/x", "v/current"]);
    assert_eq!(context.paths(&["v/1"]), ["v/1/dist/x", "v/1/inner"]);
    let before = context.sent(&["dist"]);
    fs::remove_file(context.path("v/current")).unwrap();
    symlink("1", context.path("v/current")).unwrap();
    let after = context.sent(&["dist"]);
    assert_eq!(before.changed(&after).into_iter().collect::<Vec<_>>(), ["v/1/dist/x", "v/2/dist/x", "v/current"]);
    symlink("b", context.path("a")).unwrap();
    symlink("a", context.path("b")).unwrap();
    assert_eq!(context.paths(&["a/x"]), ["a", "b"], "links that lead to each other end");
}

#[test]
fn the_ignore_file_leaves_out_what_it_leaves_out_of_a_build() {
    let context = Context::new("**/node_modules\n*.log\n!keep.log\ndocs\n!docs/kept/**\n.git\nlast\n");
    for path in ["a/node_modules/x", "x.log", "keep.log", "docs/gone", "docs/kept/deep/x", "last/keep.log", "only/node_modules/y"]
    {
        context.write(path, "1");
    }
    for folder in ["a", "only"] {
        context.mode(folder, 0o755);
    }
    // A folder of which nothing is left is sent empty.
    assert_eq!(context.paths(&["."]), ["a/", "docs/kept/deep/x", "keep.log", "only/"]);
}

#[test]
fn our_own_state_does_not_count_and_is_named() {
    let context = Context::new(".git\n");
    context.write("a", "1");
    let before = context.sent(&["."]);
    context.write("target/own/log", "1");
    let after = context.sent(&["."]);
    assert_eq!(before.entries(), after.entries());
    assert_eq!((before.concerns().own_state, after.concerns().own_state), (false, true));
    assert!(!context.sent(&["a"]).concerns().own_state, "what no step sees is no concern");
}

#[test]
fn a_commit_is_compared_as_if_it_were_checked_out_here() {
    let context = Context::new("**/.git\n");
    context.write(".gitignore", "dist\n").write("a", "1").write("b", "1").write("dist/x", "1").git(&["add", "-A"]);
    context.git(&["commit", "--quiet", "-m", "one"]);
    context.mode("a", 0o640);
    let (now, head) = (context.ask().worktree().unwrap(), context.ask().commit("HEAD").unwrap());
    let here = context.sent(&["."]);
    assert!(Sent::of_commit(&head, &context.ignore, &here, &now).changed(&here).is_empty());
    context.write("b", "2").write("dist/x", "2");
    let (now, here) = (context.ask().worktree().unwrap(), context.sent(&["."]));
    let then = Sent::of_commit(&head, &context.ignore, &here, &now);
    assert_eq!(then.changed(&here).into_iter().collect::<Vec<_>>(), ["b"], "of what git does not know nothing is known then");
}
