//! A shell's completion script: clap's, for a program called cargo-xtask, and what makes it answer for `cargo xtask …`, as it is typed,
//! without taking cargo's own completion away.

use clap::Command;
use clap_complete::Shell;

/// The program that clap's scripts complete. Cargo's own completions look for it.
const PROGRAM: &str = "cargo-xtask";

/// The same for bash: of a name with a hyphen, clap_complete 4.6.11 writes a verb's flags under one name and looks for them under another.
const BASH_PROGRAM: &str = "cargo_xtask";

/// The script for a shell.
pub fn script(shell: Shell, command: Command) -> String {
    let program = if shell == Shell::Bash { BASH_PROGRAM } else { PROGRAM };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command.name(program), program, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + include_str!("completions/hook.bash"),
        Shell::Fish => script + include_str!("completions/hook.fish"),
        // The first line is for zsh; and the script's status is that of its last command where it is loaded as a function.
        Shell::Zsh => match script.split_once('\n') {
            Some((first, rest)) => format!("{first}\n{}{rest}", include_str!("completions/hook.zsh")),
            None => script,
        },
        _ => script,
    }
}
