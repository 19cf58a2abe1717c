//! What `cargo xtask` starts: it runs the tool, and has cargo build it first where anything that decides the program has changed.
//!
//! Cargo takes 60 ms to see that a program with 170 dependencies is up to date; this takes two. It decides nothing of its own: a stamp
//! holds what there was when cargo last looked, and where anything differs from it, or cannot be read, cargo is asked again. What the
//! tool does must not live here.

#![expect(
    clippy::disallowed_methods,
    reason = "the tool's rule is for the tool: this reads the environment, and starts processes"
)]

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal as _, stderr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::time::{Duration, SystemTime};

/// Cargo's exit code where it fails.
const CARGO_FAILED: i32 = 101;

/// Longer than a file system takes to give a second change another time.
const TICK: Duration = Duration::from_secs(1);

/// Longer than cargo takes where there is nothing to compile.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() {
    let failure = match find() {
        Ok(tool) => clean(Command::new(tool)).args(env::args_os().skip(1)).exec().to_string(),
        Err(failure) => failure,
    };
    eprintln!("error: cannot start xtask: {failure}");
    exit(CARGO_FAILED);
}

/// The tool, up to date.
fn find() -> Result<PathBuf, String> {
    let own = env::var_os("CARGO_MANIFEST_DIR").ok_or("this program is for `cargo xtask` to run")?;
    let root = Path::new(&own).ancestors().nth(2).ok_or("the launcher lies in no repository")?;
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let stamp = env::current_exe().map_err(|error| error.to_string())?.with_extension("stamp");
    if let Some(tool) = unchanged(&stamp, root, &cargo) {
        return Ok(tool);
    }
    let started = SystemTime::now();
    let tool = build(root, &cargo)?;
    // What changed since, or in the tick before, cargo may not have seen.
    let settled = |newest: SystemTime| started.duration_since(newest).is_ok_and(|age| age > TICK);
    if let Some((inputs, _)) = inputs(&tool, root, &cargo).filter(|(_, newest)| settled(*newest)) {
        // Two may write at once, and a stamp that cannot be written only means that cargo is asked again.
        let written = stamp.with_extension(std::process::id().to_string());
        let _ = fs::write(&written, inputs).and_then(|()| fs::rename(&written, &stamp));
    }
    Ok(tool)
}

/// The tool that the stamp names, where all is as the stamp says.
fn unchanged(stamp: &Path, root: &Path, cargo: &Path) -> Option<PathBuf> {
    let stamped = fs::read_to_string(stamp).ok()?;
    let tool = PathBuf::from(stamped.lines().next()?);
    (inputs(&tool, root, cargo)?.0 == stamped).then_some(tool)
}

/// Everything that decides which program there should be, as text, and the time of the newest file; nothing where a source is gone.
fn inputs(tool: &Path, root: &Path, cargo: &Path) -> Option<(String, SystemTime)> {
    let mut text = format!("{}\n{:?}\n", tool.to_str()?, state(tool)?);
    let mut variables: Vec<_> = env::vars_os().filter(|(name, _)| decides(&name.to_string_lossy())).collect();
    variables.sort();
    for variable in variables {
        let _ = writeln!(text, "{variable:?}");
    }
    let home = env::home_dir().unwrap_or_default();
    let home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let settings = root.ancestors().map(|folder| folder.join(".cargo")).chain([home]);
    let settings = settings.flat_map(|folder| [folder.join("config.toml"), folder.join("config")]);
    let sources = sources(tool)?;
    // Any folder above a source may be a package's, or the workspace's.
    let folders: BTreeSet<&Path> = sources.iter().flat_map(|source| source.ancestors().skip(1)).collect();
    let manifests = folders.into_iter().map(|folder| folder.join("Cargo.toml"));
    let may_be: Vec<_> = settings.chain(manifests).chain([cargo.to_owned(), cargo.with_file_name("rustc")]).collect();
    let must_be = sources.into_iter().chain([root.join("Cargo.lock")]);
    let mut newest = SystemTime::UNIX_EPOCH;
    for (file, must) in may_be.into_iter().map(|file| (file, false)).chain(must_be.map(|file| (file, true))) {
        let state = state(&file);
        if must && state.is_none() {
            return None;
        }
        newest = state.map_or(newest, |(time, _)| newest.max(time));
        let _ = writeln!(text, "{} {state:?}", file.display());
    }
    Some((text, newest))
}

/// True of a variable that changes what cargo makes of the same files. Not of others: the stamp must hold no registry's token.
fn decides(name: &str) -> bool {
    let families = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "RUSTC"];
    let single = ["CARGO_ENCODED_RUSTFLAGS", "CARGO_INCREMENTAL", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CC", "CFLAGS"];
    families.iter().any(|family| name.starts_with(family)) || single.contains(&name)
}

/// True of the variables by which cargo tells a program that it runs which package it is.
fn describes_us(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// A file's time and size, as cargo too goes by.
fn state(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The files that the tool was compiled from: cargo writes them beside it, as a rule of make with its spaces escaped.
fn sources(tool: &Path) -> Option<Vec<PathBuf>> {
    let rule = fs::read_to_string(tool.with_extension("d")).ok()?.replace("\\ ", "\0");
    Some(rule.split_once(": ")?.1.split_whitespace().map(|file| file.replace('\0', " ").into()).collect())
}

/// Has cargo build the tool, and say where it lies. Where it cannot, cargo has said why, and this ends as it did.
fn build(root: &Path, cargo: &Path) -> Result<PathBuf, String> {
    let mut command = clean(Command::new(cargo));
    command.args(["build", "--quiet", "--package", "xtask", "--bin", "xtask", "--message-format", "json-render-diagnostics"]);
    if stderr().is_terminal() {
        // The bar is all that is shown then: it comes after half a second and leaves no line behind.
        command.envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "80")]);
    }
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        eprintln!("compiling xtask, or waiting for a cargo that does: the first time takes about a minute");
    });
    let output =
        command.current_dir(root).stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", cargo.display()))?;
    if !output.status.success() {
        exit(output.status.code().unwrap_or(CARGO_FAILED));
    }
    let told = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let named = told.rsplit_once("\"executable\":\"").and_then(|(_, rest)| rest.split('"').next());
    Ok(named.filter(|path| !path.contains('\\')).ok_or("cargo did not say where it built it")?.into())
}

/// A command that is not told that it is the launcher: build scripts that go by such variables would run again.
fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os().filter(|(name, _)| describes_us(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}
