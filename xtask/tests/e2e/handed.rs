//! The property that skipping a build rests on: two states of a folder have one fingerprint exactly where a builder is handed the same. Trees
//! are made at random in every state that git knows, something is done to them, and each fingerprint is held against a walk of
//! the disk that asks no git; that walk is held against what a real builder writes back, on a sample.
//!
//! `XTASK_STEPS=5000 XTASK_SEED=7 cargo test --test e2e handed` takes more steps, from another seed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::part::{MainContext, Part};
use monoship_workspace::dockerfile::{Dockerfile, SliceRequest};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{Git, Tree};
use monoship_workspace::sent::Sent;

use support::engine::{environment, shared};
use support::random::Random;

/// Steps by default: a quarter of a minute on two cores.
const STEPS: usize = 300;

/// Every so many steps a real builder is asked.
const SAMPLE: usize = 100;

const IGNORE: &str = "**/.git\nout\n!out/kept\n";

/// Names on which every rule of the ignore files, attributes and patterns falls.
const NAMES: [&str; 14] = [
    "a/one.ts",
    "a/two.bin",
    "a/text.txt",
    "a/deep/three.ts",
    "b/dist/main.js",
    "b/local.env",
    "b/id.id",
    "c/inner/known.ts",
    "c/inner/ignored.log",
    "out/gone",
    "out/kept/x.ts",
    "top.ts",
    "wide.u16",
    "with space.ts",
];

const TEXTS: [&str; 6] = ["", "one\n", "one\r\n", "$Id$\n", "REAL", "two\n"];

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        for (name, value) in [("user.name", "t"), ("user.email", "t@t"), ("commit.gpgSign", "false"), ("core.safecrlf", "false")]
        {
            world.git(&["config", name, value]);
        }
        for (name, value) in [("filter.fake.clean", "sed s/REAL/POINTER/"), ("filter.fake.smudge", "sed s/POINTER/REAL/")] {
            world.git(&["config", name, value]);
        }
        world.write(".gitignore", "dist/\n*.env\n");
        world.write(".gitattributes", "*.bin filter=fake\n*.txt text\n*.id ident\n");
        world.write("c/inner/.gitignore", "*.log\n");
        world.git(&["init", "--quiet", "c/inner"]);
        // Git takes in nothing at all beside a repository without a commit.
        let commit = ["commit", "--quiet", "--allow-empty", "--message", "one"];
        world.git(&[&["-C", "c/inner", "-c", "user.name=t", "-c", "user.email=t@t"], &commit[..]].concat());
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Git, whatever it answers: an edit that cannot be made is none.
    fn git(&self, args: &[&str]) {
        Git::at(self.dir.path(), &Shutdown::new()).command(args).run(&Shutdown::new()).unwrap();
    }

    /// Writes a file where one can be; not through a link, which could lead out of the folder.
    fn write(&self, path: &str, text: &str) {
        let full = self.path(path);
        if fs::create_dir_all(full.parent().unwrap()).is_ok() && !full.is_dir() && !full.is_symlink() {
            fs::write(&full, text).unwrap();
        }
    }

    fn remove(&self, path: &str) {
        let full = self.path(path);
        match full.symlink_metadata() {
            Ok(there) if there.is_dir() => drop(fs::remove_dir(&full)),
            Ok(_) => fs::remove_file(&full).unwrap(),
            Err(_) => {}
        }
    }

    /// Does something at random, and says what.
    fn edit(&self, random: &mut Random) -> String {
        let name = random.of(&NAMES);
        let full = self.path(name);
        match random.below(23) {
            0..=4 => self.write(name, random.of(&TEXTS)),
            5 => self.remove(name),
            6 => self.git(&["add", "--all"]),
            7 => self.git(&["commit", "--quiet", "--allow-empty", "--all", "--message", "step"]),
            8 => {
                let mode = random.of(&[0o644, 0o755, 0o600, 0o664]);
                if full.is_file() && !full.is_symlink() {
                    fs::set_permissions(&full, fs::Permissions::from_mode(mode)).unwrap();
                }
                return format!("chmod {mode:o} {name}");
            }
            9 => {
                let folder = full.parent().unwrap();
                if folder.is_dir() && folder != self.dir.path() {
                    fs::set_permissions(folder, fs::Permissions::from_mode(random.of(&[0o755, 0o700]))).unwrap();
                }
            }
            10 => drop(fs::create_dir_all(self.path(random.of(&["empty", "a/empty", "out/empty"])))),
            11 => self.remove(random.of(&["empty", "a/empty", "link"])),
            12 => {
                self.remove("link");
                let _ = symlink(random.of(&["a", "a/one.ts", "nowhere"]), self.path("link"));
            }
            13 => {
                let flags = ["--skip-worktree", "--no-skip-worktree", "--assume-unchanged", "--no-assume-unchanged"];
                let flag = random.of(&flags);
                self.git(&["update-index", flag, "--", name]);
                return format!("{flag} {name}");
            }
            14 => {
                let (key, value) = random.of(&[
                    ("core.autocrlf", "input"),
                    ("core.autocrlf", "false"),
                    ("core.fileMode", "false"),
                    ("core.fileMode", "true"),
                    ("core.checkStat", "minimal"),
                    ("core.trustCtime", "false"),
                ]);
                self.git(&["config", key, value]);
                return format!("{key} = {value}");
            }
            15 => self.write(".gitattributes", random.of(&["", "* text=auto\n*.bin filter=fake\n", "*.u16 -text\n*.id ident\n"])),
            16 => self.write(".git/info/exclude", random.of(&["", "*.ts\n"])),
            17 => self.git(&["-C", "c/inner", "add", "--all"]),
            18 | 19 => self.git(&["checkout", "--quiet", "--force", "--", name]),
            20 | 21 => {
                self.git(&["add", "--all"]);
                self.age();
                return "everything is added, and old".to_owned();
            }
            _ => self.edit_unseen(name),
        }
        format!("{name} and the like")
    }

    /// An edit that keeps size and time of modification.
    fn edit_unseen(&self, name: &str) {
        let full = self.path(name);
        let Ok(text) = fs::read(&full) else { return };
        if full.is_symlink() || text.is_empty() {
            return;
        }
        let there = fs::metadata(&full).unwrap();
        let (time, now) = (there.modified().unwrap(), SystemTime::now());
        // Git counts in seconds: what was given an old time in this one, and added, it cannot tell from another of that time.
        if time.elapsed().is_ok_and(|age| age > Duration::from_secs(2))
            && now.duration_since(changed(&there)).is_ok_and(|age| age < Duration::from_secs(1))
        {
            return;
        }
        let other: Vec<u8> = text.iter().map(|byte| if byte.is_ascii_lowercase() { byte ^ 1 } else { *byte }).collect();
        fs::write(&full, other).unwrap();
        fs::File::options().write(true).open(&full).unwrap().set_modified(time).unwrap();
    }

    fn modify_at(&self, path: &str, time: SystemTime) {
        if self.path(path).symlink_metadata().is_ok_and(|there| there.is_file()) {
            fs::File::options().write(true).open(self.path(path)).unwrap().set_modified(time).unwrap();
        }
    }

    /// Makes everything older than the index: what is as young git looks at each time.
    fn age(&self) {
        NAMES.iter().for_each(|name| self.modify_at(name, SystemTime::now() - Duration::from_mins(1)));
        self.git(&["update-index", "-q", "--refresh"]);
    }

    /// As a build sees it: what git takes for something else it would refuse, and name the way out, which is taken here.
    fn tree(&self) -> Tree {
        let git = Git::at(self.dir.path(), &Shutdown::new());
        let tree = git.worktree().unwrap();
        let refused = git.once_converted(&tree, &|_| true).unwrap();
        if refused.is_empty() {
            return tree;
        }
        refused.iter().for_each(|path| self.modify_at(path, SystemTime::now()));
        let tree = git.worktree().unwrap();
        assert!(git.once_converted(&tree, &|_| true).unwrap().is_empty(), "{refused:?}: touched, and refused all the same");
        tree
    }

    /// What the fingerprint has of the context for a target with these steps.
    fn main(&self, tree: &Tree, steps: &str) -> String {
        let file = Dockerfile::parse(Path::new("Dockerfile"), &format!("FROM scratch AS t\n{steps}\n")).unwrap();
        let (contexts, args) = (SortedSet::new(), SortedMap::new());
        let slice =
            file.slice(&SliceRequest { target: "t", contexts: &contexts, args: &args, platforms: &[], own: None }).unwrap();
        let ignore = Ignore::parse(IGNORE).unwrap();
        let sent = Sent::on_disk(self.dir.path(), tree, &ignore, &slice.patterns(), "target/xtask").unwrap();
        MainContext::new(&sent).seen_by(&slice).unwrap().hash().to_owned()
    }
}

fn changed(there: &fs::Metadata) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(there.ctime().cast_unsigned())
}

/// Everything in a folder, one line each: of what a builder can tell apart, all of it. `leave_out` is asked for paths.
fn disk(root: &Path, leave_out: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![String::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let there = entry.metadata().unwrap();
            let mode = there.permissions().mode() & 0o7777;
            let mut line = path.clone();
            if there.is_symlink() {
                write!(line, " → {}", fs::read_link(entry.path()).unwrap().display()).unwrap();
            } else if there.is_dir() {
                open.push(path.clone());
                write!(line, "/ {mode:o}").unwrap();
            } else {
                write!(line, " {mode:o} {:?}", String::from_utf8_lossy(&fs::read(entry.path()).unwrap())).unwrap();
            }
            if !leave_out(&path) {
                lines.push(line);
            }
        }
    }
    lines.sort();
    lines
}

/// The rules of [`IGNORE`] once more, written for these names. A folder that is left out is there all the same where something in it is not.
fn left_out(root: &Path, path: &str) -> bool {
    let kept = root.join("out/kept").exists();
    match path {
        "out" => !kept,
        "out/kept" => false,
        _ if path.starts_with("out/kept/") => false,
        _ => path.starts_with("out/") || path.split('/').any(|part| part == ".git"),
    }
}

/// What a real builder is handed: it writes back what `COPY . /` took.
fn built(root: &Path) -> Vec<String> {
    let (out, file) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // From a place it has not been sent before: else it goes by size and time of modification (see `stage::sent::check_times`).
    let copy = file.path().join("context");
    // Without their times: the transfer goes by size and time, and one folder's content stands in for another's.
    Invocation::new("cp")
        .args(["-dR", "--preserve=mode,ownership,links,xattr"])
        .arg(root)
        .arg(&copy)
        .read(&Shutdown::new())
        .unwrap();
    fs::write(file.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    fs::write(file.path().join("Dockerfile.dockerignore"), IGNORE).unwrap();
    let to = format!("type=local,dest={}", out.path().display());
    let call = shared().engine.buildx().args(["build", "--quiet", "--output", &to, "--file"]);
    call.arg(file.path().join("Dockerfile")).arg(&copy).read(&Shutdown::new()).unwrap();
    disk(out.path(), &|_| false)
}

/// Two sides that must tell the same states apart.
#[derive(Default)]
struct Pairs(BTreeMap<String, Vec<String>>, BTreeMap<Vec<String>, String>);

impl Pairs {
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "it is kept as a key")]
    fn hold(&mut self, fingerprint: String, handed: Vec<String>, what: &str) {
        let known = self.0.entry(fingerprint.clone()).or_insert_with(|| handed.clone());
        assert_eq!(*known, handed, "{what}: other bytes, and the fingerprint of these");
        let known = self.1.entry(handed).or_insert_with(|| fingerprint.clone());
        assert_eq!(*known, fingerprint, "{what}: the same bytes, and another fingerprint");
    }
}

#[test]
fn equal_fingerprints_mean_that_equal_bytes_are_handed_and_the_other_way_round() {
    let number = |name: &str, default: usize| environment().get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (steps, seed) = (number("XTASK_STEPS", STEPS), number("XTASK_SEED", 1));
    println!("{steps} steps from XTASK_SEED={seed}");
    let mut random = Random(seed as u64);
    let world = World::new();
    let root = world.dir.path();
    let [mut all, mut some, mut cut, mut one] = std::array::from_fn(|_| Pairs::default());
    let mut trusted = 0;
    for step in 0..steps {
        let what = format!("step {step} from XTASK_SEED={seed}, {}", world.edit(&mut random));
        let tree = world.tree();
        trusted += usize::from(tree.files().len() > tree.dirty().len() * 2);
        let handed = disk(root, &|path| left_out(root, path));
        if step % SAMPLE == SAMPLE - 1 {
            assert_eq!(built(root), handed, "{what}: a real builder");
        }
        let below = |line: &&String| ["a", "b/dist"].iter().any(|dir| line.starts_with(&format!("{dir}/")));
        let part: Vec<String> = handed.iter().filter(below).cloned().collect();
        all.hold(world.main(&tree, "COPY . /"), handed, &what);
        some.hold(world.main(&tree, "COPY a /x/\nRUN --mount=type=bind,source=b/dist,target=/y true"), part, &what);
        // What pruned contexts are copied from: the same files, with the bits that copies keep.
        let present = || tree.files().iter().filter(|file| !tree.absent().contains(&*file.path));
        let copied = present().filter_map(|file| {
            let (path, there) = (root.join(&*file.path), root.join(&*file.path).symlink_metadata().ok()?);
            let bytes = if there.is_symlink() { format!("{:?}", fs::read_link(&path)) } else { format!("{:?}", fs::read(&path)) };
            let executable = !there.is_symlink() && there.permissions().mode() & 0o100 != 0;
            // States of one file come again where those of the whole do not.
            let copy = format!("{} {executable} {bytes}", there.is_symlink());
            one.hold(format!("{} {}", file.mode.as_str(), file.id), vec![copy.clone()], &what);
            Some(format!("{} {copy}", file.path))
        });
        let copied: Vec<String> = copied.collect();
        cut.hold(Part::files(present()).hash().to_owned(), copied, &what);
    }
    println!("{} states of the whole, {} of a part, {} of what is copied", all.1.len(), some.1.len(), cut.1.len());
    assert!(all.1.len() * 3 > steps / 2, "hardly anything was edited");
    assert!(trusted * 2 > steps, "git vouched for hardly anything, in {trusted} steps");
}
