//! The checkout as a repository of its own that borrows the objects of the user's clone. A linked work tree would do with less, and would
//! leave its traces in the user's `.git` (a note, `extensions.worktreeConfig`, whatever a killed run leaves behind); its files would be
//! filtered by what only that clone says (`.git/info/attributes`, `core.autocrlf`); its submodules would lie elsewhere than a clone's. What
//! lies here is what `git clone --recurse-submodules` of the commit would have written.

use std::fs;
use std::path::{Path, PathBuf};

use monoship_core::error::{self, Error, Result};
use monoship_workspace::git::Git;

/// In a checkout's git folder: it is ours, and may be removed. It holds `whole` once everything is in its place.
const MARK: &str = "monoship-checkout";
const WHOLE: &str = "whole\n";
const BEGUN: &str = "begun\n";

/// A clone whose objects are borrowed.
pub(super) struct Lender {
    /// Its git folder: the one that all its work trees share.
    git_dir: PathBuf,
    /// Where it comes from, for who resolves a submodule's relative address as a clone of it would.
    address: Option<String>,
    /// `sha1` or `sha256`.
    format: String,
}

impl Lender {
    /// The user's clone.
    ///
    /// # Errors
    /// When git does not answer.
    pub(super) fn of(git: &Git) -> Result<Self> {
        let git_dir = git.root().join(git.read(&["rev-parse", "--git-common-dir"])?);
        let git_dir = git_dir.canonicalize().map_err(|e| Error::io("find", &git_dir, e))?;
        let address = match git.remote_name()? {
            Some(name) if name == "origin" => None,
            Some(name) => Some(git.read(&["remote", "get-url", &name])?),
            None => Some(git.read(&["rev-parse", "--show-toplevel"])?),
        };
        let format = git.ask(&["rev-parse", "--show-object-format"])?.unwrap_or_else(|| "sha1".to_owned());
        Ok(Self { git_dir, address, format })
    }

    /// A submodule of it that is filled there, and has this commit.
    ///
    /// # Errors
    /// When git cannot be run.
    pub(super) fn submodule(&self, git: &Git, name: &str, commit: &str) -> Result<Option<Self>> {
        let git_dir = self.git_dir.join("modules").join(name);
        if !git_dir.is_dir() {
            return Ok(None);
        }
        let at = format!("--git-dir={}", git_dir.display());
        let has = git.ask(&[&at, "cat-file", "-e", &format!("{commit}^{{commit}}")])?.is_some();
        Ok(has.then(|| Self { git_dir, address: None, format: self.format.clone() }))
    }

    /// Where its submodules are, for theirs.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { git_dir: self.git_dir.join("modules").join(name), address: None, format: self.format.clone() }
    }
}

/// Makes an empty repository at `git_dir` whose objects, remotes, credentials and filters are the lender's. Its own settings stand behind
/// the lender's in the file, so they count. No secret is copied: the file is named, and a build context may hold it.
///
/// # Errors
/// When git or the file system refuses.
pub(super) fn make(git: &Git, git_dir: &Path, lender: &Lender) -> Result<()> {
    fs::create_dir_all(git_dir).map_err(|e| Error::io("create", git_dir, e))?;
    put(&git_dir.join(MARK), BEGUN)?;
    let at = format!("--git-dir={}", git_dir.display());
    let format = format!("--object-format={}", lender.format);
    git.read(&["-c", "init.defaultBranch=main", &at, "init", "--quiet", "--template=", &format])?;
    let objects = lender.git_dir.join("objects");
    put(&git_dir.join("objects/info/alternates"), &format!("{}\n", quoted(&objects)))?;
    // The borrowed commits' parents may not be there.
    if lender.git_dir.join("shallow").is_file() {
        let (from, to) = (lender.git_dir.join("shallow"), git_dir.join("shallow"));
        fs::copy(&from, &to).map_err(|e| Error::io("copy", &from, e))?;
    }
    let file = git_dir.join("config");
    let own = fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
    // As in a fresh clone: what the machine says, not what this clone says. What git finds out about the file system here counts more; it
    // writes that down where it is not as usual.
    let links = section(git, &[("symlinks", "true"), ("ignoreCase", "false")])?;
    let line_ends = section(git, &[("autocrlf", "false"), ("eol", "native")])?;
    let lent = quoted(&lender.git_dir.join("config"));
    let mut text = format!("[include]\n\tpath = {lent}\n{links}{own}{line_ends}\tbare = false\n");
    if let Some(address) = &lender.address {
        text.push_str(&format!("[remote \"origin\"]\n\turl = {}\n", quoted(Path::new(address))));
    }
    put(&file, &text)
}

/// A section `core` with what the machine says of these, or what git takes where nobody says anything.
fn section(git: &Git, names: &[(&str, &str)]) -> Result<String> {
    let mut text = "[core]\n".to_owned();
    for (name, otherwise) in names {
        let value = machine(git, &format!("core.{name}"))?.unwrap_or_else(|| (*otherwise).to_owned());
        text.push_str(&format!("\t{name} = {value}\n"));
    }
    Ok(text)
}

/// A setting of the system's or the user's files.
fn machine(git: &Git, name: &str) -> Result<Option<String>> {
    for scope in ["--global", "--system"] {
        if let Some(value) = git.ask(&["config", scope, "--includes", "--get", name])? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A path in the quotes that git's configuration and its list of alternates understand.
fn quoted(path: &Path) -> String {
    let mut out = String::from("\"");
    for c in path.to_string_lossy().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes the patterns of what is checked out.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn select(root: &Path, patterns: &str) -> Result<()> {
    let file = root.join(".git/config");
    let config = fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
    if !config.ends_with(SPARSE) {
        put(&file, &(config + SPARSE))?;
    }
    put(&patterns_of(root), patterns)
}

/// Set by hand: `git sparse-checkout set` would move it to a file for each work tree.
const SPARSE: &str = "[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = false\n";

/// What is checked out.
pub(super) fn selected(root: &Path) -> String {
    fs::read_to_string(patterns_of(root)).unwrap_or_default()
}

fn patterns_of(root: &Path) -> PathBuf {
    root.join(".git/info/sparse-checkout")
}

/// Says that everything is in its place.
///
/// # Errors
/// When it cannot be written.
pub(super) fn finish(root: &Path) -> Result<()> {
    put(&root.join(".git").join(MARK), WHOLE)
}

/// True where an earlier run has finished a checkout here.
pub(super) fn is_whole(root: &Path) -> bool {
    fs::read_to_string(root.join(".git").join(MARK)).is_ok_and(|text| text == WHOLE)
}

fn put(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    fs::write(path, text).map_err(|e| Error::io("write", path, e))
}

/// Removes a checkout. A folder that is not there is fine. No command of git's is called for it: a run that is being stopped may start none,
/// and has to clean up too. A run that is killed in the middle of this, or of making one, leaves something that the next one knows as ours: the
/// mark is the first that is written and the last that goes.
///
/// # Errors
/// When it cannot be removed, or is something else than a checkout.
pub fn remove(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    let git_dir = root.join(".git");
    let note = linked(root);
    if git_dir.join(MARK).is_file() {
        // From here on nobody takes it for whole.
        put(&git_dir.join(MARK), BEGUN)?;
        empty_but(root, ".git")?;
        empty_but(&git_dir, MARK)?;
    } else if note.is_none() && !is_empty_but(root, ".git") || git_dir.is_dir() && !is_empty_but(&git_dir, MARK) {
        return Err(Error::failed("is in the way of the sparse checkout and is not one").at(root, None).hint("move it away"));
    }
    [Some(root.to_owned()), note].into_iter().flatten().try_for_each(|path| error::remove(&path))
}

/// True for a folder that holds nothing, or nothing but this.
fn is_empty_but(folder: &Path, name: &str) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == name))
}

/// Removes whatever lies in a folder, but for this.
fn empty_but(folder: &Path, name: &str) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))? {
        let entry = entry.map_err(|e| Error::io("read", folder, e))?;
        if entry.file_name() != name {
            error::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// The note in the user's git folder of a linked work tree, as versions before this one made them: `gitdir: <repository>/.git/worktrees/<name>`.
fn linked(root: &Path) -> Option<PathBuf> {
    let link = fs::read_to_string(root.join(".git")).ok()?;
    let note = PathBuf::from(link.strip_prefix("gitdir: ")?.trim_end());
    let is_note = note.parent().and_then(Path::file_name).is_some_and(|name| name == "worktrees");
    is_note.then_some(note)
}
