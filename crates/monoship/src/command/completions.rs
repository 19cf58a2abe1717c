//! A shell's completion script: clap's, for a program called cargo-xtask, and what makes it answer for `cargo xtask …`, as it is typed,
//! without taking cargo's own completion away. A crate of another name has scripts of its own name, so that both can be loaded.

use clap::Command;
use clap_complete::Shell;
use monoship_core::tool;
use monoship_steps::STATE;

/// The script for a shell, in a repository whose crate has this name.
pub fn script(shell: Shell, command: Command, name: &str) -> String {
    // Of a name with a hyphen, clap_complete 4.6.11 writes a verb's flags for bash under one name and looks for them under another.
    let word = format!("cargo_{}", name.replace('-', "_"));
    // The program that clap's scripts complete. Cargo's own completions look for it.
    let program = if shell == Shell::Bash { word.clone() } else { format!("cargo-{name}") };
    let mut script = Vec::new();
    // clap keeps names that live as long as the program does.
    clap_complete::generate(shell, &mut command.name(&*program.clone().leak()), program, &mut script);
    let script = tool::named(&String::from_utf8_lossy(&script)).into_owned();
    let hook = |hook: &str| hook.replace("cargo_xtask", &word).replace("xtask", name).replace("STATE_FOLDER", STATE);
    match shell {
        Shell::Bash => script + &hook(include_str!("completions/hook.bash")),
        Shell::Fish => script + &hook(include_str!("completions/hook.fish")),
        // The first line is for zsh; and the script's status is that of its last command where it is loaded as a function.
        Shell::Zsh => match script.split_once('\n') {
            Some((first, rest)) => {
                format!("{first}\n{}{}", hook(include_str!("completions/hook.zsh")), completing_services(rest, &word))
            }
            None => script,
        },
        _ => script,
    }
}

/// The same with services in the place of files, which clap's script for zsh offers for every argument whose values it does not know.
fn completing_services(script: &str, word: &str) -> String {
    let is_of_services = |line: &str| ["'*::services -- ", "'*::subjects -- "].iter().any(|start| line.starts_with(start));
    let lines = script.split_inclusive('\n').map(|line| {
        let values = if is_of_services(line) { format!(":_{word}_services'") } else { ":_default'".to_owned() };
        line.replace(":_default'", &values)
    });
    lines.collect()
}
