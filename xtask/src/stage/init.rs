//! Adopting the tool in a pnpm monorepo: which files are missing there and what goes into them. A file that is there is kept, or gets the
//! lines that it lacks; none is replaced. Nothing is built.

mod dockerfile;
mod edit;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result, read_text, write_atomically};
use crate::workspace::Workspace;

/// Where this program was compiled from: the crate to copy.
const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// The Dockerfile's name, where `xtask.toml` says nothing.
const DOCKERFILE: &str = "Dockerfile.monorepo-optimized";

const SETTINGS: &str = "# Every key has a default that suits most repositories: docs/configuration.md of the tool lists them all.\n\n\
                        [images]\n# registry = \"ghcr.io\"       # where images are pushed; on github.com it is known from the git remote\n\
                        # namespace = \"org/repo\"\n";

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Write(String),
    /// It is there, and gets lines that it lacks: its new text, and what was added.
    Add(String, String),
    /// A folder is copied from here.
    Copy(PathBuf),
    /// It is there and stays as it is.
    Keep,
    /// It cannot be changed safely: what to do by hand.
    ByHand(String),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file or folder, relative to the root.
    pub path: String,
    /// What becomes of it.
    pub change: Change,
}

/// What adopting comes to.
#[derive(Debug)]
pub struct Adoption {
    /// The monorepo's root.
    pub root: PathBuf,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Folders of apps that are no service, each with the reason.
    pub left_out: Vec<String>,
}

/// Works out what is missing in the monorepo at `root`.
///
/// # Errors
/// When it is no pnpm workspace with a lock, has no service, or a file there cannot be read.
pub fn plan(root: &Path) -> Result<Adoption> {
    if !root.join("pnpm-workspace.yaml").is_file() {
        return Err(Error::usage(format!("{} is not the root of a pnpm workspace", root.display()))
            .hint("name the folder that has the pnpm-workspace.yaml with --dir"));
    }
    let workspace = Workspace::load(root)?;
    let (services, left_out) = dockerfile::services(&workspace)?;
    let text = |path: &str| there(root, path);
    let mut steps = vec![
        step("xtask", if root.join("xtask/Cargo.toml").is_file() { Change::Keep } else { Change::Copy(crate_folder()?) }),
        step("Cargo.toml", edit::manifest(text("Cargo.toml")?.as_deref())),
        step(".cargo/config.toml", edit::alias(text(".cargo/config.toml")?.as_deref())),
        step(".gitignore", edit::ignored(text(".gitignore")?.as_deref())),
        made(root, "xtask.toml", || SETTINGS.to_owned()),
        made(root, ".dockerignore", || include_str!("init/dockerignore").to_owned()),
    ];
    let name = configured(text("xtask.toml")?.as_deref()).unwrap_or_else(|| DOCKERFILE.to_owned());
    steps.push(made(root, &name, || dockerfile::text(&workspace, &services)));
    Ok(Adoption { root: root.to_owned(), steps, left_out })
}

/// Carries the steps out.
///
/// # Errors
/// When a file cannot be written. Run again, it goes on with what is missing.
pub fn apply(adoption: &Adoption) -> Result<()> {
    for step in &adoption.steps {
        let path = adoption.root.join(&step.path);
        match &step.change {
            Change::Write(text) | Change::Add(text, _) => write_atomically(&path, text.as_bytes())?,
            // The manifest comes last, because it says that the folder is whole.
            Change::Copy(from) => copy(from, &path)?,
            Change::Keep | Change::ByHand(_) => {}
        }
    }
    Ok(())
}

fn step(path: &str, change: Change) -> Step {
    Step { path: path.to_owned(), change }
}

fn made(root: &Path, path: &str, text: impl FnOnce() -> String) -> Step {
    step(path, if root.join(path).exists() { Change::Keep } else { Change::Write(text()) })
}

fn there(root: &Path, path: &str) -> Result<Option<String>> {
    let path = root.join(path);
    if path.exists() { read_text(&path).map(Some) } else { Ok(None) }
}

/// The Dockerfile that an `xtask.toml` names.
fn configured(settings: Option<&str>) -> Option<String> {
    let settings: toml::Table = toml::from_str(settings?).ok()?;
    Some(settings.get("images")?.get("dockerfile")?.as_str()?.to_owned())
}

fn crate_folder() -> Result<PathBuf> {
    let folder = PathBuf::from(CRATE);
    if folder.join("src/main.rs").is_file() {
        return Ok(folder);
    }
    Err(Error::failed(format!("{CRATE}, which this program was compiled from, is gone"))
        .hint("copy the folder `xtask` there by hand, and run this again"))
}

/// A folder with all below it but what compiling makes; `Cargo.toml` comes last.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| Error::io("create", to, e))?;
    let listed = std::fs::read_dir(from).map_err(|e| Error::io("list", from, e))?;
    let mut entries = listed.collect::<std::io::Result<Vec<_>>>().map_err(|e| Error::io("list", from, e))?;
    entries.sort_by_key(|entry| (entry.file_name() == "Cargo.toml", entry.file_name()));
    for entry in entries.into_iter().filter(|entry| entry.file_name() != "target") {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            std::fs::copy(&from, &to).map_err(|e| Error::io("copy", &from, e))?;
        }
    }
    Ok(())
}
