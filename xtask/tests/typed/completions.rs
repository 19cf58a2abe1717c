//! Completion scripts in the shells they are for: somebody types the beginning of a word, and the tabulator.

use std::path::{Path, PathBuf};

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

use support::repo::{here, xtask};
use support::terminal::Terminal;
use support::tools::{BASH_COMPLETION, FISH, ZSH};

/// What is typed, and what the tabulator makes of it.
const TYPED: [(&str, &str); 5] = [
    ("cargo xtask bui", "cargo xtask build"),
    ("cargo xtask cache pr", "cargo xtask cache prune"),
    ("cargo xtask build --progress qu", "cargo xtask build --progress quiet"),
    ("cargo xtask build --affe", "cargo xtask build --affected"),
    ("cargo +nightly xtask engine sta", "cargo +nightly xtask engine status"),
];

/// Services, in a folder of a workspace where two were built.
const SERVICES: [(&str, &str); 3] = [
    ("cargo xtask build wor", "cargo xtask build worker"),
    ("cargo xtask build --force api wor", "cargo xtask build --force api worker"),
    ("cargo xtask cache clear wor", "cargo xtask cache clear worker"),
];

/// What a shell is told to be in such a folder.
fn in_workspace(dir: &Path) -> String {
    let state = dir.join("shop/target/xtask/state");
    std::fs::create_dir_all(&state).unwrap();
    for file in ["api.json", "api.inputs.json", "worker.json", "worker.inputs.json", "work.target.json"] {
        std::fs::write(state.join(file), "{}").unwrap();
    }
    std::fs::create_dir_all(dir.join("shop/apps/api")).unwrap();
    format!("cd '{}'", dir.join("shop/apps/api").display())
}

/// A verb of cargo's own, where its completion is there too.
const CARGOS: (&str, &str) = ("cargo metad", "cargo metadata");

/// A folder with the script of a shell.
fn script(shell: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("xtask-completions");
    std::fs::write(&file, xtask(here(), &["completions", shell]).exits(0).stdout).unwrap();
    (dir, file)
}

/// What the toolchain brings for a shell: cargo's own completion.
fn toolchain() -> PathBuf {
    let root = Invocation::new("rustc").args(["--print", "sysroot"]).read(&Shutdown::new()).unwrap();
    PathBuf::from(root.trim())
}

/// Types each into a shell that was started as `line` says, and waits for what comes of it.
fn each(line: &str, typed: &[(&str, &str)]) {
    for (keys, whole) in typed {
        let mut terminal = Terminal::new(line);
        terminal.shows("ready> ");
        terminal.types(&format!("{keys}\t"));
        terminal.shows(whole);
    }
}

fn bash(dir: &Path, rc: &str) -> String {
    std::fs::write(dir.join("rc"), format!("{rc}\nPS1='ready> '\n")).unwrap();
    format!("bash --noprofile --rcfile '{}' -i", dir.join("rc").display())
}

#[test]
fn bash_completes_with_nothing_else_there() {
    let (dir, script) = script("bash");
    let rc = format!(". '{}'\n{}", script.display(), in_workspace(dir.path()));
    each(&bash(dir.path(), &rc), &[&TYPED[..], &SERVICES].concat());
}

#[test]
fn a_crate_of_another_name_is_completed_under_it_beside_one_that_is_not() {
    let (dir, script) = script("bash");
    let repository = dir.path().join("another");
    std::fs::create_dir_all(repository.join("ship-it")).unwrap();
    std::fs::write(repository.join("xtask.toml"), "").unwrap();
    std::fs::write(repository.join("Cargo.toml"), "[workspace]\nmembers = [\"ship-it\"]\n").unwrap();
    let manifest = "[package]\nname = \"ship-it\"\n\n[dependencies]\nmonoship = \"0.1\"\n";
    std::fs::write(repository.join("ship-it/Cargo.toml"), manifest).unwrap();
    let theirs = dir.path().join("theirs");
    std::fs::write(&theirs, xtask(&repository, &["completions", "bash"]).exits(0).stdout).unwrap();
    let typed = TYPED.map(|(keys, whole)| [keys, whole].map(|text| text.replace("xtask", "ship-it")));
    let typed: Vec<(&str, &str)> = typed.iter().map(|[keys, whole]| (keys.as_str(), whole.as_str())).collect();
    let both = bash(dir.path(), &format!(". '{}'\n. '{}'", script.display(), theirs.display()));
    each(&both, &[&typed[..], &TYPED[..2]].concat());
    // What is nobody's here makes the first one look for cargo's own completion; the second one is there after that, too.
    let mut terminal = Terminal::new(&both);
    terminal.shows("ready> ");
    terminal.types("cargo metad\t\u{15}cargo ship-it bui\t");
    terminal.shows("cargo ship-it build");
}

#[test]
fn bash_completes_beside_cargos_own_completion_before_or_after_it_and_loaded_late() {
    let (dir, script) = script("bash");
    let script = script.display();
    let common = format!(". '{}/usr/share/bash-completion/bash_completion'", BASH_COMPLETION.root().display());
    let own = toolchain().join("etc/bash_completion.d/cargo");
    let before = bash(dir.path(), &format!("{common}\n. '{}'\n. '{script}'", own.display()));
    each(&before, &[TYPED[0], CARGOS]);
    // As bash-completion finds it: by the command's name, when that is first completed.
    let late = dir.path().join("data/bash-completion/completions");
    std::fs::create_dir_all(&late).unwrap();
    std::fs::copy(own, late.join("cargo")).unwrap();
    let late = bash(dir.path(), &format!("XDG_DATA_HOME='{}/data'\n{common}\n. '{script}'\n. '{script}'", dir.path().display()));
    each(&late, &TYPED);
    each(&late, &[CARGOS]);
}

fn zsh(dir: &Path, more: &str, rc: &str) -> String {
    let root = ZSH.root();
    let modules = [root.join("usr/lib"), root.join("lib")].into_iter().find_map(|lib| {
        let inside = std::fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path().join("zsh"));
        inside.filter(|zsh| zsh.is_dir()).find_map(|zsh| std::fs::read_dir(zsh).ok()?.flatten().next())
    });
    let modules = modules.expect("zsh has modules").path();
    let text = format!(
        "module_path=('{}')\nfpath=({more} {}/usr/share/zsh/functions/{{,*,*/*}}(/N))\nautoload -Uz compinit\ncompinit -u -d '{}/dump'\n\
         {rc}\nPS1='ready> '\n",
        modules.display(),
        root.display(),
        dir.display()
    );
    std::fs::write(dir.join(".zshrc"), text).unwrap();
    format!("ZDOTDIR='{}' '{}' -d -i", dir.display(), ZSH.path().display())
}

#[test]
fn zsh_completes_with_nothing_else_there() {
    let (dir, script) = script("zsh");
    let rc = format!(". '{}'\n{}", script.display(), in_workspace(dir.path()));
    each(&zsh(dir.path(), "", &rc), &[&TYPED[..], &SERVICES].concat());
}

#[test]
fn zsh_completes_beside_cargos_own_completion_sourced_or_found_by_its_name() {
    let (dir, script) = script("zsh");
    let cargos = toolchain().join("share/zsh/site-functions");
    let sourced = zsh(dir.path(), cargos.to_str().unwrap(), &format!(". '{}'", script.display()));
    each(&sourced, &[TYPED[1], CARGOS]);
    let functions = dir.path().join("functions");
    std::fs::create_dir(&functions).unwrap();
    std::fs::rename(script, functions.join("_cargo-xtask")).unwrap();
    std::fs::remove_file(dir.path().join("dump")).unwrap();
    each(&zsh(dir.path(), &format!("{} {}", functions.display(), cargos.display()), ""), &[TYPED[1], CARGOS]);
}

/// What fish offers for a line, as it does for the tabulator. Its files are looked for beside the program, in a tree that Debian cuts in two.
fn fish(dir: &Path, script: &Path, line: &str) -> String {
    let etc = FISH.root().join("usr/etc");
    let _ = std::os::unix::fs::symlink("../etc", &etc);
    let command = format!("source '{}'; {}; complete -C '{line}'", script.display(), in_workspace(dir));
    Invocation::new(FISH.path()).args(["-c", &command]).env("HOME", dir).read(&Shutdown::new()).unwrap()
}

#[test]
fn fish_completes_beside_cargos_own_completion() {
    let (dir, script) = script("fish");
    for (typed, whole) in TYPED.into_iter().chain(SERVICES).chain([CARGOS]) {
        let offered = fish(dir.path(), &script, typed);
        let word = whole.rsplit(' ').next().unwrap();
        assert!(offered.lines().any(|line| line.split('\t').next() == Some(word)), "{typed}: {offered}");
    }
}
