//! Writing a plan's contexts to disk, and only what differs: BuildKit's transfer trusts size and time, so a file whose content is
//! the same is not touched, and one whose content differs gets a new time, which no other content has: see `own_time`. Files are copies, made by the kernel where it can
//! share blocks: a hard link would share its mode with the source, and modes are normalised here (0644, 0755).

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::load::Workspace;
use super::prune::{Content, Install, PrunePlan};
use super::sources::{Sources, parent};
use monoship_core::error::{Error, Result, remove};
use monoship_core::execute::cores;
use monoship_core::execute::process::quoted;
use monoship_core::name::sha256_hex;
use monoship_core::sorted::{SortedMap, SortedSet};
use pnpm::join;

mod stamps;
#[cfg(test)]
mod tests;

pub use stamps::{FOLDER, edited, note, refuse_stranger, refuse_strangers};
use stamps::{Stamp, modified, nanoseconds, stamp};

/// What a write found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are now in the contexts.
    pub files: usize,
    /// Files written: new or changed.
    pub changed: usize,
    /// Files and folders removed as nobody wants them any more.
    pub removed: usize,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.changed += other.changed;
        self.removed += other.removed;
    }
}

/// Writes the three contexts of a plan, `manifests`, `production` and `sources`, as folders of `dir`.
///
/// # Errors
/// When a file cannot be read or written, a link leaves the repository, or a file is not checked out (sparse checkouts).
pub fn write(workspace: &Workspace, sources: &Sources<'_>, plan: &PrunePlan, dir: &Path) -> Result<Written> {
    let mut written = write_install(workspace, sources, &plan.manifests, &dir.join("manifests"))?;
    written += write_install(workspace, sources, &plan.production, &dir.join("production"))?;
    written += write_sources(workspace, sources, plan, &dir.join("sources"))?;
    Ok(written)
}

/// Writes an install's files into `folder`.
///
/// # Errors
/// As [`write()`].
pub fn write_install(workspace: &Workspace, sources: &Sources<'_>, install: &Install, folder: &Path) -> Result<Written> {
    let items = install.files.iter().map(|(path, content)| {
        let item = match content {
            Content::Text(text) => Item::Text(text.as_str(), false),
            Content::Stub(text) => Item::Text(text, true),
            Content::Lock => Item::Text(install.lock_text(workspace, path), false),
            Content::Copy(from) => Item::Copy(from),
        };
        (path.as_str(), item)
    });
    Sync::new(workspace, sources, folder).run(&items.collect::<Vec<_>>())
}

/// Writes a plan's sources into `folder`.
///
/// # Errors
/// As [`write()`].
pub fn write_sources(workspace: &Workspace, sources: &Sources<'_>, plan: &PrunePlan, folder: &Path) -> Result<Written> {
    let items = plan.source_paths(sources).map(|path| (path, Item::Copy(path)));
    Sync::new(workspace, sources, folder).run(&items.collect::<Vec<_>>())
}

/// Writes the sources of all that a plan's package needs into `folder`, without its own.
///
/// # Errors
/// As [`write()`].
pub fn write_dependencies(workspace: &Workspace, sources: &Sources<'_>, plan: &PrunePlan, folder: &Path) -> Result<Written> {
    let items = plan.dependency_paths(workspace, sources).map(|path| (path, Item::Copy(path)));
    Sync::new(workspace, sources, folder).run(&items.collect::<Vec<_>>())
}

/// Writes files into `folder`, each a text or a copy of a file of the repository, and removes what else is there.
///
/// # Errors
/// As [`write()`].
pub fn write_files(workspace: &Workspace, sources: &Sources<'_>, items: &[(&str, Item<'_>)], folder: &Path) -> Result<Written> {
    Sync::new(workspace, sources, folder).run(items)
}

/// What a file is to hold.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// This text; whether it is executable.
    Text(&'a str, bool),
    /// The repository's file at this path.
    Copy(&'a str),
}

/// A file written this recently may be written again without its times changing: file systems count time in ticks.
const TICK: Duration = Duration::from_millis(50);

struct Sync<'a> {
    root: &'a Path,
    sources: &'a Sources<'a>,
    folder: &'a Path,
    known: HashMap<String, Stamp>,
    stamps: Mutex<HashMap<String, Stamp>>,
}

impl<'a> Sync<'a> {
    fn new(workspace: &'a Workspace, sources: &'a Sources<'a>, folder: &'a Path) -> Self {
        let known = stamps::read(folder);
        Self { root: workspace.root(), sources, folder, known, stamps: Mutex::default() }
    }

    fn run(self, items: &[(&str, Item<'_>)]) -> Result<Written> {
        self.refuse_detours(items)?;
        let dirs = folders(items.iter().map(|(path, _)| *path));
        self.announce(items)?;
        let (there, removed) = self.remove_stale(items, &dirs)?;
        if !there.contains(".") {
            make_folder(self.folder)?;
        }
        // `.` is made above: a path that ends in it cannot be created.
        let missing = dirs.iter().filter(|dir| **dir != "." && !there.contains(**dir));
        let mut levels: SortedMap<usize, Vec<&str>> = SortedMap::new();
        missing.for_each(|dir| levels.entry(dir.matches('/').count()).or_default().push(dir));
        for level in levels.values() {
            cores::try_map(level, |dir| make_folder(&self.folder.join(dir)))?;
        }
        let one = |(path, item): &(&str, Item<'_>)| self.one(path, *item, there.contains(*path));
        let changed = cores::try_map(items, one)?;
        let stamps = self.stamps.into_inner().unwrap_or_else(PoisonError::into_inner);
        let changed = changed.into_iter().filter(|changed| *changed).count();
        if stamps != self.known {
            stamps::write(self.folder, &stamps)?;
        }
        Ok(Written { files: items.len(), changed, removed })
    }

    /// Says beforehand what is about to be written: who is killed meanwhile shall find that it is its own.
    fn announce(&self, items: &[(&str, Item<'_>)]) -> Result<()> {
        let new = items.iter().filter(|(path, _)| !self.known.contains_key(*path));
        let mut all = self.known.clone();
        all.extend(new.map(|(path, _)| ((*path).to_owned(), Stamp::ANNOUNCED)));
        if all.len() == self.known.len() { Ok(()) } else { stamps::write(self.folder, &all) }
    }

    fn note(&self, path: &str, stamp: Stamp) {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), stamp);
    }

    /// A folder that became a link since git saw it could lead a copy out of the repository.
    fn refuse_detours(&self, items: &[(&str, Item<'_>)]) -> Result<()> {
        let copied = items.iter().filter_map(|(_, item)| if let Item::Copy(from) = item { Some(*from) } else { None });
        let is_link = |dir: &&str| fs::symlink_metadata(self.root.join(dir)).is_ok_and(|found| found.is_symlink());
        match folders(copied).into_iter().filter(|dir| *dir != ".").find(is_link) {
            Some(dir) => {
                Err(Error::usage(format!("the folder `{dir}` is a link where git has a folder")).hint("make it a folder"))
            }
            None => Ok(()),
        }
    }

    /// Brings one file up to date; true where something had to be written. `there` says that something is in its place.
    fn one(&self, path: &str, item: Item<'_>, there: bool) -> Result<bool> {
        let to = self.folder.join(path);
        match item {
            Item::Text(text, executable) => {
                let changed = put_text(&to, text, executable, there)?;
                self.note(path, Stamp::written(modified(&to)?));
                Ok(changed)
            }
            Item::Copy(from) => {
                let source = self.root.join(from);
                let found = fs::symlink_metadata(&source).map_err(|e| self.not_readable(from, &source, e))?;
                if found.is_symlink() {
                    let changed = put_link(from, &source, &to)?;
                    self.note(path, Stamp::written(modified(&to)?));
                    return Ok(changed);
                }
                if !found.is_file() {
                    return Err(Error::usage(format!("`{from}` is neither a file nor a link")).at(source, None));
                }
                self.put_copy(path, &source, &found, &to, there)
            }
        }
    }

    fn not_readable(&self, path: &str, source: &Path, error: std::io::Error) -> Error {
        if self.sources.tree().absent().contains(path) {
            return Error::usage(format!("the sparse checkout leaves out {path}, which is needed")).hint(to_check_out(path));
        }
        Error::io("read", source, error)
    }

    fn put_copy(&self, path: &str, source: &Path, found: &Metadata, to: &Path, there: bool) -> Result<bool> {
        let started = SystemTime::now();
        let mode = if found.mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let old = if there { fs::symlink_metadata(to).ok().filter(Metadata::is_file) } else { None };
        let same = old.filter(|old| {
            old.len() == found.len() && (self.known.get(path) == Some(&stamp(found, old)) || same_content(source, to))
        });
        let (copy, changed) = match same {
            Some(old) if old.mode() & 0o7777 == mode => (old, false),
            Some(old) => {
                set_mode(to, mode)?;
                (old, true)
            }
            None => {
                if there {
                    remove(to)?;
                }
                (copy(source, found.len(), to, mode)?, true)
            }
        };
        let stamp = stamp(found, &copy);
        self.note(path, if is_settled(found, started) { stamp } else { Stamp::written(stamp.copied) });
        Ok(changed)
    }

    /// Removes what is not wanted. Returns the folders and files that remain, `.` among them, and how many went.
    fn remove_stale(&self, items: &[(&str, Item<'_>)], dirs: &SortedSet<&str>) -> Result<(HashSet<String>, usize)> {
        let mut there = HashSet::new();
        if !fs::symlink_metadata(self.folder).is_ok_and(|found| found.is_dir()) {
            remove(self.folder)?;
            return Ok((there, 0));
        }
        let wanted: HashSet<&str> = items.iter().map(|(path, _)| *path).collect();
        let mut removed = 0;
        let mut open = vec![String::from(".")];
        while let Some(dir) = open.pop() {
            let folder = self.folder.join(&dir);
            keep_open(&folder)?;
            for entry in fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, e))? {
                let entry = entry.map_err(|e| Error::io("read", &folder, e))?;
                let name = entry.file_name();
                let path = name.to_str().and_then(|name| join(&dir, name));
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                match path {
                    Some(path) if is_dir && dirs.contains(path.as_str()) => open.push(path),
                    Some(path) if !is_dir && wanted.contains(path.as_str()) => drop(there.insert(path)),
                    _ => {
                        remove(&entry.path())?;
                        removed += 1;
                    }
                }
            }
            there.insert(dir);
        }
        Ok((there, removed))
    }
}

/// The folders that hold these paths, `.` among them; a folder comes before what lies in it.
fn folders<'p>(paths: impl Iterator<Item = &'p str>) -> SortedSet<&'p str> {
    let mut dirs = SortedSet::from(["."]);
    for path in paths {
        let mut dir = parent(path);
        while dirs.insert(dir) {
            dir = parent(dir);
        }
    }
    dirs
}

/// Makes a folder with mode 0755, whatever the umask says.
fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
    keep_open(path)
}

/// Gives a folder its mode back, where it has another.
fn keep_open(folder: &Path) -> Result<()> {
    let found = fs::symlink_metadata(folder).map_err(|e| Error::io("read", folder, e))?;
    if found.mode() & 0o7777 == 0o755 { Ok(()) } else { set_mode(folder, 0o755) }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| Error::io("write", path, e))
}

/// Larger files are left to the kernel, which may share their blocks; for small ones that costs more calls than it saves.
const SMALL: u64 = 256 * 1024;

/// Copies a file to where nothing is.
fn copy(source: &Path, size: u64, to: &Path, mode: u32) -> Result<Metadata> {
    let failed = |e| Error::io("copy", source, e);
    let file = if size > SMALL {
        fs::copy(source, to).map_err(failed)?;
        let file = fs::File::open(to).map_err(failed)?;
        // Reading it all would cost what the kernel's copy saved; what the source is tells its content from another's too.
        let found = fs::metadata(source).map_err(failed)?;
        let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        own_time(&file, format!("{} {size} {times:?}", found.ino()).as_bytes()).map_err(failed)?;
        file
    } else {
        let bytes = fs::read(source).map_err(failed)?;
        let mut file = fs::File::options().write(true).create_new(true).mode(mode).open(to).map_err(failed)?;
        put_whole(&mut file, &bytes).map_err(failed)?;
        file
    };
    let found = file.metadata().map_err(failed)?;
    if found.mode() & 0o7777 != mode {
        set_mode(to, mode)?;
    }
    Ok(found)
}

/// Gives a file that was just written a time that no other content has: now, to the second, and below that a number made of
/// `content`. All services' contexts of one name are brought up to date in one snapshot of BuildKit's, by size and time alone,
/// and the kernel's clock ticks every few milliseconds: two services' workspace files of one length, written in one tick, were
/// taken for the same, and one service was installed with the other's.
fn own_time(file: &fs::File, content: &[u8]) -> std::io::Result<()> {
    let digest = sha256_hex(content);
    let below = u32::from_str_radix(&digest[..8], 16).unwrap_or_default() % 1_000_000_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    file.set_modified(UNIX_EPOCH + Duration::new(now, below))
}

/// Writes a new file's whole content, and gives it its time.
fn put_whole(file: &mut fs::File, content: &[u8]) -> std::io::Result<()> {
    file.write_all(content)?;
    own_time(file, content)
}

fn put_text(to: &Path, text: &str, executable: bool, there: bool) -> Result<bool> {
    let mode = if executable { 0o755 } else { 0o644 };
    let old = if there { fs::symlink_metadata(to).ok().filter(Metadata::is_file) } else { None };
    let same = old.as_ref().is_some_and(|_| fs::read(to).is_ok_and(|bytes| bytes == text.as_bytes()));
    if !same {
        if there {
            remove(to)?;
        }
        let write = || put_whole(&mut fs::File::create_new(to)?, text.as_bytes());
        write().map_err(|e| Error::io("write", to, e))?;
    }
    let unchanged = same && old.is_some_and(|old| old.mode() & 0o7777 == mode);
    if !unchanged {
        set_mode(to, mode)?;
    }
    Ok(!unchanged)
}

fn put_link(path: &str, source: &Path, to: &Path) -> Result<bool> {
    let target = fs::read_link(source).map_err(|e| Error::io("read", source, e))?;
    refuse_way_out(path, &target)?;
    if fs::read_link(to).is_ok_and(|there| there == target) {
        return Ok(false);
    }
    remove(to)?;
    symlink(&target, to).map_err(|e| Error::io("link", to, e))?;
    Ok(true)
}

/// Refuses a link that leads out of the repository: what it leads to is no part of the commit, and nothing in the builder.
///
/// # Errors
/// Where it does.
pub fn refuse_way_out(path: &str, target: &Path) -> Result<()> {
    if target.to_str().and_then(|target| join(parent(path), target)).is_some() {
        return Ok(());
    }
    let error = Error::usage(format!("the link `{path}` leads out of the repository, to {}", target.display()));
    Err(error.hint("replace it by the file itself, or leave it out with .dockerignore"))
}

fn same_content(a: &Path, b: &Path) -> bool {
    matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b)
}

/// True where the source was last changed long enough before `started` for a later change to show in its times.
fn is_settled(source: &Metadata, started: SystemTime) -> bool {
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let before = i128::try_from(since_epoch(started - TICK)).unwrap_or(i128::MAX);
    let times = [nanoseconds(source.mtime(), source.mtime_nsec()), nanoseconds(source.ctime(), source.ctime_nsec())];
    times.into_iter().all(|time| time < before)
}

/// How a path comes back that the user's own sparse checkout leaves out.
#[must_use]
pub fn to_check_out(path: &str) -> String {
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    format!("run `git sparse-checkout add {}`, or `git sparse-checkout disable`", quoted(folder.as_ref()))
}
