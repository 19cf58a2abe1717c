//! Adopting the tool in a pnpm monorepo: which files are missing there and what goes into them. A file that is there is kept, or gets the
//! lines that it lacks; none is replaced. Nothing is built.

mod dockerfile;
mod edit;

use std::path::{Path, PathBuf};

use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_workspace::Workspace;

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
    /// The crate is copied from this folder.
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
        step("Cargo.lock", lock(root)?),
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
            Change::Copy(from) => copy_crate(from, &path)?,
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

/// The versions that the tool was tested with. A lock that is there gets what it lacks from cargo.
fn lock(root: &Path) -> Result<Change> {
    let ours = Path::new(CRATE).join("../Cargo.lock");
    if root.join("Cargo.lock").exists() || !ours.is_file() { Ok(Change::Keep) } else { read_text(&ours).map(Change::Write) }
}

/// What the program is compiled of, and its unit tests. Tests and benchmarks that run it are about the repository that it comes from:
/// they build its services. The manifest comes last, because it says that the folder is whole.
fn copy_crate(from: &Path, to: &Path) -> Result<()> {
    for entry in listed(from)? {
        let name = entry.file_name();
        if entry.path().is_file() && name != "Cargo.toml" {
            copy(&entry.path(), &to.join(name))?;
        }
    }
    for folder in ["src"] {
        copy(&from.join(folder), &to.join(folder))?;
    }
    let manifest = edit::without_its_tests(&read_text(&from.join("Cargo.toml"))?);
    write_atomically(&to.join("Cargo.toml"), manifest.as_bytes())
}

/// A file, or a folder with all below it that is not cargo's own.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        let folder = to.parent().unwrap_or(to);
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        return std::fs::copy(from, to).map(drop).map_err(|e| Error::io("copy", from, e));
    }
    let mut entries = listed(from)?.into_iter().filter(|entry| entry.file_name() != "target");
    entries.try_for_each(|entry| copy(&entry.path(), &to.join(entry.file_name())))
}

fn listed(folder: &Path) -> Result<Vec<std::fs::DirEntry>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))?;
    entries.collect::<std::io::Result<Vec<_>>>().map_err(|e| Error::io("list", folder, e))
}
