//! Against real git, in throw-away repositories.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

mod bytes;

/// A repository in a temporary folder.
struct Repo {
    dir: tempfile::TempDir,
}

impl Repo {
    fn new() -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Git::at(self.dir.path(), &Shutdown::new()).command(&[]);
        for setting in ["user.name=t", "user.email=t@example.org", "protocol.file.allow=always", "commit.gpgSign=false"] {
            git = git.args(["-c", setting]);
        }
        git.args(args).read(&Shutdown::new()).unwrap()
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let full = self.dir.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
        self
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn ask(&self) -> Git {
        Git::at(self.dir.path(), &Shutdown::new())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.files().iter().map(|file| &*file.path).collect()
}

#[test]
fn a_clean_work_tree_is_the_commits_tree() {
    let repo = Repo::new();
    repo.write("b/x.ts", "x").write("a b/ü\t\".ts", "odd").write("run.sh", "#!/bin/sh");
    fs::set_permissions(repo.path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("b/x.ts", repo.path("link")).unwrap();
    repo.commit("one");
    let (disk, head) = (repo.ask().worktree().unwrap(), repo.ask().commit("HEAD").unwrap());
    assert_eq!(disk.files(), head.files());
    assert_eq!(paths(&disk), ["a b/ü\t\".ts", "b/x.ts", "link", "run.sh"]);
    assert_eq!((disk.get("link").unwrap().mode, disk.get("run.sh").unwrap().mode), (Mode::Symlink, Mode::Executable));
    assert!(disk.dirty().is_empty() && disk.outside_git().is_none());
}

#[test]
fn what_is_dirty_has_the_id_it_will_have_once_committed() {
    let repo = Repo::new();
    repo.write("kept", "1").write("edited", "1").write("gone", "1").write("staged", "1").write("mode", "1").write("folder", "1");
    repo.write("moved", "some text").write(".gitignore", "ignored\n").write("becomes-link", "1");
    repo.commit("one");
    let before = repo.ask().worktree().unwrap();
    repo.write("edited", "2").write("staged", "2").write("ignored", "x").write("new/file", "3");
    repo.git(&["add", "staged"]);
    fs::remove_file(repo.path("gone")).unwrap();
    fs::rename(repo.path("moved"), repo.path("moved-here")).unwrap();
    fs::set_permissions(repo.path("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(repo.path("folder")).unwrap();
    repo.write("folder/inside", "4");
    fs::remove_file(repo.path("becomes-link")).unwrap();
    symlink("nowhere", repo.path("becomes-link")).unwrap();
    let dirty = repo.ask().worktree().unwrap();
    let changes = before.changed(&dirty);
    let of = |wanted| changes.iter().filter(|(_, c)| **c == wanted).map(|(p, _)| p.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Change::Added), ["folder/inside", "moved-here", "new/file"]);
    assert_eq!(of(Change::Deleted), ["folder", "gone", "moved"]);
    assert_eq!(of(Change::Modified), ["becomes-link", "edited", "mode", "staged"]);
    repo.commit("two");
    assert_eq!(dirty.files(), repo.ask().worktree().unwrap().files());
    assert_eq!(dirty.files(), repo.ask().commit("HEAD").unwrap().files());
}

#[test]
fn a_file_whose_time_alone_changed_is_not_dirty() {
    let repo = Repo::new();
    repo.write("a", "1").commit("one");
    let before = repo.ask().worktree().unwrap();
    fs::File::open(repo.path("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let after = repo.ask().worktree().unwrap();
    assert_eq!(after.files(), before.files());
    assert!(after.dirty().is_empty());
}

#[test]
fn a_users_settings_change_nothing() {
    let repo = Repo::new();
    repo.write("ü", "1").write("sub/x", "1").commit("one");
    let before = repo.ask().worktree().unwrap();
    let hook = "/nonexistent/monitor";
    let settings = [("core.quotePath", "true"), ("core.fsmonitor", hook), ("diff.relative", "false"), ("color.ui", "always")];
    for (name, value) in settings.into_iter().chain([("diff.noprefix", "true"), ("status.showUntrackedFiles", "no")]) {
        repo.git(&["config", name, value]);
    }
    assert_eq!(repo.ask().worktree().unwrap().files(), before.files());
    repo.git(&["tag", "one"]);
    repo.git(&["tag", "two"]);
    for (name, value) in [("column.ui", "always"), ("log.showSignature", "true"), ("gpg.program", hook)] {
        repo.git(&["config", name, value]);
    }
    // As if it were signed: whoever asks for its time must not get what a program says of the signature.
    let unsigned = repo.git(&["cat-file", "commit", "HEAD"]);
    let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n =abcd\n -----END PGP SIGNATURE-----\n\n";
    let signed = repo.ask().command(&["hash-object", "-t", "commit", "-w", "--stdin"]);
    let signed = signed.stdin(unsigned.replacen("\n\n", &format!("\n{signature}"), 1)).read(&Shutdown::new()).unwrap();
    let time = repo.ask().read(&["show", "--no-patch", "--format=%ct", &signed]).unwrap();
    assert!(time.parse::<u64>().is_ok(), "{time}");
    assert_eq!(repo.ask().read(&["tag", "--list"]).unwrap(), "one\ntwo");
}

#[test]
fn a_workspace_in_a_subfolder_sees_its_own_files_only() {
    let repo = Repo::new();
    repo.write("outside", "1").write("ws/a", "1").write("ws/b", "1").commit("one");
    repo.write("ws/b", "2").write("ws/c", "3").write("outside", "2");
    let git = Git::at(repo.path("ws"), &Shutdown::new());
    assert_eq!(paths(&git.worktree().unwrap()), ["a", "b", "c"]);
    assert_eq!(paths(&git.commit("HEAD").unwrap()), ["a", "b"]);
    assert_eq!(git.worktree().unwrap().dirty().iter().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn an_unmerged_or_assumed_unchanged_file_is_what_lies_on_disk() {
    let repo = Repo::new();
    repo.write("a", "1").write("b", "1").commit("one");
    repo.git(&["checkout", "--quiet", "-b", "other"]);
    repo.write("a", "2").commit("two");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("a", "3").commit("three");
    let merge = repo.ask().command(&["-c", "user.name=t", "-c", "user.email=t@t", "merge", "other"]);
    assert_eq!(merge.run(&Shutdown::new()).unwrap().code, Some(1));
    repo.git(&["update-index", "--assume-unchanged", "b"]);
    repo.write("b", "changed behind git's back");
    let tree = repo.ask().worktree().unwrap();
    let content = |path: &str| repo.git(&["hash-object", path]);
    for path in ["a", "b"] {
        assert_eq!(tree.get(path).unwrap().id.as_str(), content(path), "{path}");
    }
    assert_eq!(tree.files().len(), 2);
}

#[test]
fn a_sparse_checkout_knows_what_is_not_on_disk() {
    let repo = Repo::new();
    repo.write("apps/a/x", "1").write("apps/b/x", "1").write("top", "1").commit("one");
    let before = repo.ask().worktree().unwrap();
    repo.git(&["sparse-checkout", "set", "apps/a"]);
    let tree = repo.ask().worktree().unwrap();
    assert_eq!(tree.files(), before.files());
    assert_eq!(tree.absent().iter().collect::<Vec<_>>(), ["apps/b/x"]);
    assert!(tree.dirty().is_empty());
}

#[test]
fn submodules_are_taken_in_where_they_are_checked_out() {
    let inner = Repo::new();
    inner.write("lib.ts", "1").commit("one");
    let repo = Repo::new();
    repo.write("a", "1");
    repo.git(&["submodule", "--quiet", "add", inner.dir.path().to_str().unwrap(), "vendor/inner"]);
    repo.commit("one");
    let tree = repo.ask().worktree().unwrap();
    assert_eq!(paths(&tree), [".gitmodules", "a", "vendor/inner/lib.ts"]);
    assert_eq!(tree.files(), repo.ask().commit("HEAD").unwrap().files());
    repo.write("vendor/inner/lib.ts", "2");
    assert_eq!(repo.ask().worktree().unwrap().dirty().iter().collect::<Vec<_>>(), ["vendor/inner/lib.ts"]);
    repo.git(&["submodule", "--quiet", "deinit", "--force", "vendor/inner"]);
    let bare = repo.ask().worktree().unwrap();
    assert_eq!(bare.get("vendor/inner").unwrap().mode, Mode::Submodule);
}

#[test]
fn a_folder_outside_git_is_hashed_and_says_so() {
    let repo = Repo::new();
    repo.write("a/x", "1").write("b", "2").commit("one");
    let ids = repo.ask().worktree().unwrap();
    fs::remove_dir_all(repo.path(".git")).unwrap();
    repo.write("node_modules/z/i.js", "no");
    let tree = repo.ask().worktree().unwrap();
    assert_eq!(tree.files(), ids.files());
    assert_eq!(tree.outside_git(), Some("this is no git repository"));
    let outer = Repo::new();
    outer.write(".gitignore", "copy\n").write("copy/a", "1").commit("one");
    let copy = Git::at(outer.path("copy"), &Shutdown::new()).worktree().unwrap();
    assert_eq!((paths(&copy), copy.outside_git()), (vec!["a"], Some("git keeps no file of this folder")));
}

#[test]
fn a_name_that_is_not_utf8_is_reported_and_not_guessed() {
    let repo = Repo::new();
    repo.write("a", "1");
    fs::write(repo.dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "1").unwrap();
    for _ in 0..2 {
        let tree = repo.ask().worktree().unwrap();
        assert_eq!((paths(&tree), tree.odd_names().len()), (vec!["a"], 1));
        repo.commit("tracked, the second time round");
    }
}

#[test]
fn a_sha256_repository_gives_its_own_ids() {
    let repo = Repo { dir: tempfile::tempdir().unwrap() };
    repo.git(&["init", "--quiet", "--object-format=sha256"]);
    repo.write("a", "1").write("b", "1").commit("one");
    repo.write("a", "2");
    let tree = repo.ask().worktree().unwrap();
    assert_eq!(tree.get("a").unwrap().id.as_str(), repo.git(&["hash-object", "a"]));
}

#[test]
fn blobs_come_back_whole_and_in_one_go() {
    let repo = Repo::new();
    repo.write("a", "one\n").write("b", "").write("c", "\0\n\n").commit("one");
    let tree = repo.ask().commit("HEAD").unwrap();
    let blobs = repo.ask().blobs(&tree.files().iter().map(|file| file.id).collect()).unwrap();
    let text = |path: &str| blobs[&tree.get(path).unwrap().id].as_slice();
    assert_eq!((text("a"), text("b"), text("c")), (&b"one\n"[..], &b""[..], &b"\0\n\n"[..]));
    let unknown = ObjectId::parse("0123456789012345678901234567890123456789".as_bytes()).unwrap();
    assert!(repo.ask().blobs(&SortedSet::from([unknown])).is_err());
}

#[test]
fn a_shallow_clone_is_deepened_until_the_parting_point_is_certain() {
    let repo = Repo::new();
    let base = repo.write("a", "0").commit("base");
    repo.git(&["branch", "old"]);
    for n in 1..=5 {
        repo.write("a", &n.to_string()).commit("more");
    }
    let url = format!("file://{}", repo.dir.path().display());
    let clone = Repo { dir: tempfile::tempdir().unwrap() };
    clone.git(&["clone", "--quiet", "--depth=2", "--no-single-branch", &url, "."]);
    assert_eq!(clone.ask().merge_base("origin/old").unwrap(), base);
    assert_eq!(clone.ask().merge_base("HEAD").unwrap(), clone.git(&["rev-parse", "HEAD"]));

    let lost = Repo { dir: tempfile::tempdir().unwrap() };
    lost.git(&["clone", "--quiet", "--depth=1", "--no-single-branch", &url, "."]);
    lost.git(&["remote", "set-url", "origin", "file:///nonexistent"]);
    let error = lost.ask().merge_base("origin/old").unwrap_err();
    assert!(error.to_string().contains("too shallow"), "{error}");
    assert!(error.hint_text().unwrap().contains("fetch-depth: 0"));
    assert!(repo.ask().merge_base("--upload-pack=x").unwrap_err().to_string().contains("is not a revision"));
    assert!(repo.ask().merge_base("nothing").unwrap_err().to_string().contains("knows no commit"));
}

#[test]
fn a_revision_is_whatever_git_takes_for_one() {
    let repo = Repo::new();
    let first = repo.write("a", "1").commit("one");
    let second = repo.write("a", "2").commit("two");
    repo.git(&["tag", "--annotate", "v1", "-m", "v1", &first]);
    for revision in [":/one", "HEAD^{/one}", "v1", "HEAD~1", "main@{1}", &first[..8]] {
        assert_eq!(repo.ask().resolve(revision).unwrap(), first, "{revision}");
    }
    assert_eq!(repo.ask().resolve("@").unwrap(), second);
    for none in [":/three", "HEAD:a", "-x", ""] {
        assert!(repo.ask().resolve(none).is_err(), "{none}");
    }
}

#[test]
fn a_commit_that_a_force_push_took_away_is_not_called_a_matter_of_depth() {
    let repo = Repo::new();
    let first = repo.write("a", "1").commit("one");
    let gone = repo.write("a", "2").commit("two");
    let url = format!("file://{}", repo.dir.path().display());
    let clone = |depth: &str| {
        let clone = Repo { dir: tempfile::tempdir().unwrap() };
        clone.git(&["clone", "--quiet", depth, &url, "."]);
        clone
    };
    let old = clone("--depth=1");
    repo.git(&["reset", "--quiet", "--hard", &first]);
    let head = repo.write("a", "3").commit("three");
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "--quiet", "--prune=now"]);
    repo.git(&["tag", "v1", &first]);
    let shallow = clone("--depth=1");
    assert_eq!(shallow.ask().at_hand("v1").unwrap(), first);
    for asked in [shallow.ask().at_hand(&gone), shallow.ask().merge_base(&gone)] {
        let error = asked.unwrap_err();
        assert_eq!(error.to_string(), format!("git knows no commit `{gone}`"));
        assert!(error.hint_text().unwrap().contains("force push"));
    }
    repo.git(&["checkout", "--quiet", "--orphan", "other"]);
    repo.write("a", "4").commit("four");
    let error = clone("--depth=1").ask().merge_base(&first).unwrap_err();
    assert!(error.to_string().contains("share no history"), "{error}");

    // What the branch has beyond a commit: nothing of its head, all of one that is on it, the head alone of one that it left.
    repo.git(&["checkout", "--quiet", "main"]);
    let newest = repo.write("a", "5").commit("five");
    repo.git(&["branch", "a/refs/heads/main", &first]);
    let newer = |clone: &Repo, commit: &str| clone.ask().newer_on("origin", "main", commit, 9).unwrap();
    assert_eq!(newer(&shallow, &first), [newest.clone(), head.clone()]);
    assert_eq!(newer(&clone("--depth=1"), &newest), [""; 0]);
    assert_eq!(newer(&old, &gone).concat(), newest);
    assert_eq!(newer(&clone("--depth=3"), &head), [newest]);
    assert_eq!(shallow.ask().newer_on("origin", "none", &first, 9).unwrap(), [""; 0]);
}

#[test]
fn what_git_says_is_one_repositorys_own_is_taken_away() {
    let said = Repo::new().git(&["rev-parse", "--local-env-vars"]);
    // Settings of whoever calls, and meant for every repository.
    let settings = ["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"];
    let kept: Vec<&str> = said.lines().filter(|name| !FOREIGN.contains(name) && !settings.contains(name)).collect();
    assert!(kept.is_empty() && said.contains("GIT_DIR"), "{kept:?} of {said}");
}

#[test]
fn files_under_a_folder_are_those_and_no_neighbours() {
    let repo = Repo::new();
    repo.write("a/1", "").write("a/b/2", "").write("a-b/3", "").write("a.ts", "").write("ab", "");
    let tree = repo.ask().worktree().unwrap();
    assert_eq!(tree.under("a").iter().map(|f| &*f.path).collect::<Vec<_>>(), ["a/1", "a/b/2"]);
    assert_eq!((tree.under("").len(), tree.under("none").len()), (5, 0));
}

#[test]
fn an_address_gives_owner_and_name() {
    let wanted = |host: &str, owner: &str| Some(Remote { host: host.into(), owner: owner.into(), name: "repo".into() });
    let cases = [
        ("git@github.com:Org/Repo.git", wanted("github.com", "org")),
        ("git@github.com-work:Org/Repo.git", wanted("github.com", "org")),
        ("github.com:Org/Repo.git", wanted("github.com", "org")),
        ("https://github.com/Org/Repo", wanted("github.com", "org")),
        ("https://user:secret@GitHub.com/Org/Repo.git/", wanted("github.com", "org")),
        ("ssh://git@ssh.github.com:443/Org/Repo.git", wanted("github.com", "org")),
        ("ssh://git@git.example.org:2222/group/Sub/repo.git", wanted("git.example.org", "group/sub")),
        ("/srv/git/repo.git", None),
        ("file:///srv/git/repo.git", None),
        ("https://example.org/repo", None),
        ("", None),
    ];
    for (url, remote) in cases {
        assert_eq!(Remote::parse(url), remote, "{url}");
    }
    let repo = Repo::new();
    assert_eq!(repo.ask().remote().unwrap(), None);
    repo.git(&["remote", "add", "other", "git@github.com:A/B"]);
    repo.git(&["remote", "add", "origin", "git@github.com:Org/Repo.git"]);
    assert_eq!(repo.ask().remote().unwrap(), wanted("github.com", "org"));
}

#[test]
fn names_below_folders_are_those_of_the_work_tree() {
    let names =
        |git: &Git, folders: &[&str]| git.names(git.index(), &folders.iter().map(ToString::to_string).collect::<Vec<_>>());
    let repo = Repo::new();
    repo.write(".gitignore", "*.log\n").write("a/x.ts", "x").write("a/gone.ts", "x").write("b/y.ts", "y").write("b/gone.ts", "y");
    repo.commit("first");
    repo.write("a/new *.ts", "n").write("a/new.log", "n").write("b/new.ts", "n").write("a/x.ts", "edited");
    fs::remove_file(repo.path("a/gone.ts")).unwrap();
    fs::remove_file(repo.path("b/gone.ts")).unwrap();
    let found = names(&repo.ask(), &["a", ".gitignore"]).unwrap();
    // Below `b` only the index was asked.
    assert_eq!(paths(&found), [".gitignore", "a/new *.ts", "a/x.ts", "b/gone.ts", "b/y.ts"]);
    let everywhere = names(&repo.ask(), &["a", "b", ".gitignore"]).unwrap();
    assert_eq!(paths(&everywhere), paths(&repo.ask().worktree().unwrap()));
    // What git alone can say: folders in the place of files and the other way round, ignored folders, repositories within,
    // names that are not UTF-8.
    repo.write("a/file", "x").write("a/folder/x", "x").write("a/kept/x", "x").write("a/.gitignore", "dist/\n").commit("second");
    fs::remove_file(repo.path("a/file")).unwrap();
    fs::remove_dir_all(repo.path("a/folder")).unwrap();
    repo.write("a/file/below", "x").write("a/folder", "x").write("a/dist/out.js", "x").write("a/new/deep/y", "x");
    repo.write("a/inner/z", "x").git(&["init", "--quiet", "a/inner"]);
    fs::write(repo.path("a/kept").join(std::ffi::OsStr::from_bytes(b"odd\xff")), "x").unwrap();
    let (found, expected) = (names(&repo.ask(), &["a", "b", ".gitignore"]).unwrap(), repo.ask().worktree().unwrap());
    assert_eq!((paths(&found), found.odd_names()), (paths(&expected), expected.odd_names()));
    assert_eq!(found.odd_names().len(), 1);
    // More than a command line should hold.
    for at in 0..1_100 {
        repo.write(&format!("a/many{at}"), "x");
    }
    assert_eq!(paths(&names(&repo.ask(), &["a", "b", ".gitignore"]).unwrap()), paths(&repo.ask().worktree().unwrap()));
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "x").unwrap();
    let found = names(&Git::at(outside.path(), &Shutdown::new()), &["x"]).unwrap();
    assert_eq!((paths(&found), found.outside_git().is_some()), (vec!["x"], true));
}

#[test]
fn a_token_is_in_no_failure_and_in_no_command_that_talks_to_nobody() {
    use monoship_core::secret::Secret;
    let repo = Repo::new();
    repo.write("a", "1").commit("one");
    // base64 of "x-access-token:s3cret-of-the-runner"
    let basic = "eC1hY2Nlc3MtdG9rZW46czNjcmV0LW9mLXRoZS1ydW5uZXI=";
    let value = Secret::new(format!("AUTHORIZATION: basic {basic}"));
    let vars = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "http.https://git.example/.extraheader")];
    let mut vars: Vec<_> = vars.map(|(name, value)| (name.to_owned(), Secret::new(value))).into();
    vars.push(("GIT_CONFIG_VALUE_0".to_owned(), value));
    let git = repo.ask().with_vars(vars);
    for question in [&["show", "no-such"][..], &["no-such"], &["ls-remote", "/no/where"], &["cat-file", "-p", "no-such"]] {
        let error = git.read(question).unwrap_err();
        let shown = format!("{error} {error:?} {} {:?}", git.command(question), git.command(question));
        assert!(!shown.contains("eC1hY2Nl") && !shown.contains("s3cret-of-the-runner"), "{shown}");
        assert_eq!(shown.contains("GIT_CONFIG_VALUE_0=***"), question != ["no-such"], "{shown}");
    }
    // Git is handed it all the same, where it may need it.
    let configured = git.command(&["fetch"]).arg("--help-no-such").run(repo.ask().shutdown()).unwrap();
    assert!(!configured.success());
    let seen = Git::command(&git, &["-c", "alias.show-it=!env; :", "show-it", "log"]).read(repo.ask().shutdown()).unwrap();
    assert!(seen.contains(basic), "{seen}");
}

#[test]
fn another_users_repository_is_no_answer_and_one_without_a_commit_is_said_to_be_so() {
    use monoship_core::secret::Secret;
    let repo = Repo::new();
    let hint = repo.ask().resolve("HEAD").unwrap_err().hint_text().unwrap().to_owned();
    assert!(hint.contains("nothing is committed yet"), "{hint}");
    repo.write("a", "1").commit("one");
    // As git's own tests have it; the settings that allow it are not to count.
    let vars = [("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")];
    let theirs = repo.ask().with_vars(vars.map(|(name, value)| (name.to_owned(), Secret::new(value))).into());
    for question in [&["log", "-1"][..], &["show", "HEAD"], &["merge-base", "HEAD", "HEAD"]] {
        let error = theirs.ask(question).unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("safe.directory")), "{error}");
    }
}
