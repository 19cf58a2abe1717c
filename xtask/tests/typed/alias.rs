//! The alias behind `cargo xtask`, with real cargo: in any folder of a repository, with arguments and exit code passed on, and nothing said
//! by cargo itself. The repository is a small one with this one's alias.

#![expect(clippy::disallowed_methods, reason = "a test runs cargo as a user would")]

use std::process::Command;

use support::repo::{Ran, as_from_a_shell, here, target_dir};
use support::terminal::Terminal;

/// Says its folder and arguments, and exits with the last of them.
const TOOL: &str = "fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    println!(\"{} {args:?}\", std::env::current_dir().unwrap().file_name().unwrap().to_str().unwrap());
    std::process::exit(args.last().and_then(|code| code.parse().ok()).unwrap_or(0));
}
";

/// A repository with a tool that takes cargo some seconds to compile for the first time, deleted with this value.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new() -> Self {
        let small = Self { dir: tempfile::tempdir_in(target_dir()).unwrap() };
        small.write("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\nresolver = \"3\"\n");
        small.write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
        small.write("xtask/src/main.rs", TOOL);
        small.write("xtask/build.rs", "fn main() { std::thread::sleep(std::time::Duration::from_secs(3)); }\n");
        small.write("apps/a b/package.json", "{}");
        small.write(".cargo/config.toml", &std::fs::read_to_string(here().join(".cargo/config.toml")).unwrap());
        small
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn cargo(&self, folder: &str, args: &[&str]) -> Ran {
        let mut command = Command::new("cargo");
        as_from_a_shell(&mut command).current_dir(self.dir.path().join(folder)).env("CARGO_NET_OFFLINE", "true").args(args);
        Ran::new(args, &command.output().unwrap())
    }
}

#[test]
fn the_alias_works_in_every_folder_and_cargo_says_nothing() {
    let small = Small::new();
    small.cargo("", &["xtask"]).exits(0);
    for (folder, name) in [("apps/a b", "a b"), ("xtask/src", "src")] {
        let ran = small.cargo(folder, &["xtask", "c d", "--flag", "7"]).exits(7);
        assert_eq!((ran.stdout, ran.stderr), (format!("{name} [\"c d\", \"--flag\", \"7\"]\n"), String::new()));
    }
}

#[test]
fn the_first_compile_shows_cargos_bar_on_a_terminal() {
    let small = Small::new();
    let terminal =
        Terminal::new(&format!("cd '{}/apps/a b' && env -u CARGO_TARGET_DIR cargo xtask 0", small.dir.path().display()));
    terminal.shows("xtask(build)");
    terminal.shows("a b [\"0\"]");
    assert!(!terminal.shown().contains("Finished") && !terminal.shown().contains("Running"), "{:?}", terminal.shown());
}
