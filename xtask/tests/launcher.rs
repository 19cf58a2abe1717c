//! The launcher behind `cargo xtask`, with real cargo: it never runs a tool that cargo would have built anew, and does not ask cargo for one
//! that it would not. The repository is a small one, with this one's launcher and aliases and a tool that tells what it was compiled from.

#![expect(clippy::disallowed_methods, reason = "a test runs cargo as a user would")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::repo::{Ran, here, target_dir};

/// The tool: says its parts, then its arguments, and exits with the last of them.
const TOOL: &str = "fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let loud = if cfg!(loud) { \"loud\" } else { \"quiet\" };
    println!(\"first {loud} {} {} {args:?}\", include_str!(\"../words.txt\"), part::VERSION);
    std::process::exit(args.last().and_then(|code| code.parse().ok()).unwrap_or(0));
}
";

const MANIFEST: &str = "[package]\nname = \"xtask\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
                        part = { path = \"part\" }\n\n[lints.rust]\nunexpected_cfgs = \"allow\"\n";

/// A part of the tool that is a crate of its own.
const PART: &str = "[package]\nname = \"part\"\nversion = \"1.0.0\"\nedition = \"2024\"\n";

/// A repository whose path has a space in it, deleted with this value.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    /// With its launcher compiled and its tool not.
    fn new() -> Self {
        let small = Self { dir: tempfile::tempdir_in(target_dir()).unwrap() };
        small.write("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\n");
        small.write("xtask/Cargo.toml", MANIFEST);
        small.write("xtask/src/main.rs", TOOL);
        small.write("xtask/words.txt", "hello");
        small.write("xtask/part/Cargo.toml", PART);
        small.write("xtask/part/src/lib.rs", "pub const VERSION: &str = env!(\"CARGO_PKG_VERSION\");\n");
        for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"].map(|file| format!("xtask/launcher/{file}")) {
            small.write(&file, &std::fs::read_to_string(here().join(&file)).unwrap());
        }
        small.write(".cargo/config.toml", &std::fs::read_to_string(here().join(".cargo/config.toml")).unwrap());
        // Cargo as the launcher knows it: notes that it was asked, and then runs what a test leaves for it.
        let cargo =
            "#!/bin/sh\ncd \"$(dirname \"$0\")\"\ntouch asked\ncargo \"$@\"\ncode=$?\ntest ! -e then || . ./then\nexit $code\n";
        small.write("spy", cargo);
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(small.root().join("spy"), executable).unwrap();
        small
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("a b")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn stamp(&self) -> PathBuf {
        self.root().join("target/launcher/debug/xtask-launcher.stamp")
    }

    /// A command in the repository, or below, as from a shell: `cargo test` sets variables of its own.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root().join(folder)).env("CARGO_NET_OFFLINE", "true");
        let ours = |name: &str| name.starts_with("CARGO_") && name != "CARGO_HOME" || name.starts_with("RUSTFLAGS");
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command
    }

    /// Cargo as typed, in a folder below the root.
    fn cargo(&self, folder: &str, args: &[&str]) -> Ran {
        Ran::new(args, &self.command("cargo", folder).args(args).output().unwrap())
    }

    /// The launcher as cargo starts it.
    fn launcher(&self, args: &[&str]) -> Command {
        let mut command = self.command(self.root().join("target/launcher/debug/xtask-launcher"), "");
        command.env("CARGO", self.root().join("spy")).env("CARGO_MANIFEST_DIR", self.root().join("xtask/launcher"));
        command.args(args);
        command
    }

    /// Runs it: what the tool said, and whether cargo was asked for it.
    #[track_caller]
    fn says(&self, variables: &[(&str, &str)]) -> (String, bool) {
        let asked = self.root().join("asked");
        let _ = std::fs::remove_file(&asked);
        let ran = Ran::new(&[], &self.launcher(&[]).envs(variables.iter().copied()).output().unwrap()).exits(0);
        (ran.stdout.trim_end_matches(" []\n").to_owned(), asked.exists())
    }

    /// Makes every source an hour old, and has the launcher see so: from now on it has no reason to ask.
    #[track_caller]
    fn settle(&self, said: &str) {
        fn age(folder: &Path) {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() && !entry.ends_with("target") {
                    age(&entry);
                } else if entry.is_file() {
                    let hour_ago = SystemTime::now() - Duration::from_hours(1);
                    std::fs::File::options().append(true).open(&entry).unwrap().set_modified(hour_ago).unwrap();
                }
            }
        }
        age(&self.root());
        self.says(&[]);
        assert_eq!(self.says(&[]), (said.to_owned(), false));
    }
}

#[test]
fn the_alias_compiles_the_tool_passes_arguments_and_exit_code_and_the_other_works_below_the_root() {
    let small = Small::new();
    let first = small.cargo("", &["xtask", "a b", "--flag", "7"]).exits(7);
    assert_eq!(first.stdout, "first quiet hello 1.0.0 [\"a b\", \"--flag\", \"7\"]\n");
    let again = small.cargo("", &["xtask", "0"]).exits(0);
    assert_eq!(again.stdout, "first quiet hello 1.0.0 [\"0\"]\n");
    let below = small.cargo("xtask/src", &["xtask"]).exits(101);
    assert!(below.stderr.contains("manifest path `xtask/launcher/Cargo.toml` does not exist"), "{}", below.stderr);
    assert_eq!(small.cargo("xtask/src", &["xt", "3"]).exits(3).stdout, "first quiet hello 1.0.0 [\"3\"]\n");
}

#[test]
fn whatever_decides_the_program_is_seen_and_nothing_else_asks_cargo() {
    let small = Small::new();
    small.cargo("", &["xtask"]).exits(0);
    small.settle("first quiet hello 1.0.0");
    let edits = [
        ("xtask/src/main.rs", TOOL.replace("first", "other"), "other quiet hello 1.0.0"),
        ("xtask/words.txt", "goodbye".to_owned(), "other quiet goodbye 1.0.0"),
        ("xtask/part/Cargo.toml", PART.replace("1.0.0", "2.0.0"), "other quiet goodbye 2.0.0"),
        ("xtask/part/src/lib.rs", "pub const VERSION: &str = \"2\";\n".to_owned(), "other quiet goodbye 2"),
        (".cargo/config.toml", "[build]\nrustflags = [\"--cfg\", \"loud\"]\n".to_owned(), "other loud goodbye 2"),
        (".cargo/config.toml", String::new(), "other quiet goodbye 2"),
    ];
    for (file, text, said) in edits {
        small.write(file, &text);
        assert_eq!(small.says(&[]), (said.to_owned(), true), "{file} was changed");
        small.settle(said);
    }
    let (quiet, loud) = ("other quiet goodbye 2".to_owned(), "other loud goodbye 2".to_owned());
    let flags = [("RUSTFLAGS", "--cfg loud")];
    assert_eq!(small.says(&flags), (loud.clone(), true));
    assert_eq!(small.says(&flags), (loud, false));
    assert_eq!(small.says(&[]), (quiet.clone(), true));
    // Somebody builds another by hand.
    assert!(small.command("cargo", "").args(["build", "--quiet"]).envs(flags).status().unwrap().success());
    assert_eq!(small.says(&[]), (quiet.clone(), true));
    assert_eq!(small.says(&[("UNRELATED", "1")]), (quiet, false));
}

#[test]
fn an_edit_during_the_compile_is_seen_at_the_next_call() {
    let small = Small::new();
    small.cargo("", &["xtask"]).exits(0);
    small.settle("first quiet hello 1.0.0");
    small.write("then", "printf later > xtask/words.txt; rm then\n");
    small.write("xtask/src/main.rs", &TOOL.replace("first", "other"));
    assert_eq!(small.says(&[]).0, "other quiet hello 1.0.0");
    assert_eq!(small.says(&[]), ("other quiet later 1.0.0".to_owned(), true));
}

#[test]
fn without_a_binary_or_a_stamp_that_can_be_trusted_cargo_is_asked() {
    let small = Small::new();
    small.cargo("", &["xtask"]).exits(0);
    let said = "first quiet hello 1.0.0";
    small.settle(said);
    let binary = small.root().join("target/debug/xtask");
    std::fs::remove_file(&binary).unwrap();
    assert_eq!(small.says(&[]), (said.to_owned(), true));
    std::fs::remove_file(binary.with_extension("d")).unwrap();
    assert_eq!(small.says(&[]), (said.to_owned(), true));
    for garbage in ["", "\0\n", "/bin/false\n", &format!("{}\n", binary.display())] {
        std::fs::write(small.stamp(), garbage).unwrap();
        assert_eq!(small.says(&[]), (said.to_owned(), true), "{garbage:?}");
        assert_eq!(small.says(&[]), (said.to_owned(), false), "{garbage:?}");
    }
    // Several at once, and no stamp: each finds it, and what is left is whole.
    std::fs::remove_file(small.stamp()).unwrap();
    let children: Vec<_> = (0..4).map(|code| small.launcher(&[&code.to_string()]).spawn().unwrap()).collect();
    for (code, mut child) in children.into_iter().enumerate() {
        assert_eq!(child.wait().unwrap().code(), i32::try_from(code).ok());
    }
    assert_eq!(small.says(&[]), (said.to_owned(), false));
    // A stamp that cannot be written: cargo is asked each time, and all works.
    std::fs::remove_file(small.stamp()).unwrap();
    std::fs::create_dir(small.stamp()).unwrap();
    assert_eq!([small.says(&[]), small.says(&[])], [(said.to_owned(), true), (said.to_owned(), true)]);
}

#[test]
fn a_compile_error_is_shown_and_ends_as_cargo_does_until_it_is_mended() {
    let small = Small::new();
    small.write("xtask/src/main.rs", "fn main() { broken }\n");
    let broken = small.cargo("", &["xtask"]).exits(101);
    assert!(
        broken.stderr.contains("cannot find value `broken`") && broken.stderr.contains("xtask/src/main.rs:1:13"),
        "{}",
        broken.stderr
    );
    small.write("xtask/src/main.rs", TOOL);
    assert_eq!(small.cargo("", &["xtask"]).exits(0).stdout, "first quiet hello 1.0.0 []\n");
}
