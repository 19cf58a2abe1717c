//! What is known of each file that was written: by it a later write knows what need not be read again, and what it may remove. It lies
//! beside the contexts, in one folder.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sources::parent;
use monoship_core::error::{Error, Result, write_derived};
use pnpm::join;

/// The folder, beside the contexts, with one file for each of them.
pub const FOLDER: &str = ".stamps";

/// What was known of a source file when its copy was made; while all of it holds, the copy does too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: i128,
    changed: i128,
    inode: u64,
    /// The time of modification of what was written.
    pub(super) copied: i128,
}

impl Stamp {
    /// About to be written: its time is not known yet.
    pub(super) const ANNOUNCED: Self = Self::written(-1);

    /// What was written so and is no copy that can be trusted by its source's times: no source has this size.
    pub(super) const fn written(copied: i128) -> Self {
        Self { size: u64::MAX, modified: 0, changed: 0, inode: 0, copied }
    }
}

pub(super) fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

pub(super) fn stamp(source: &Metadata, copy: &Metadata) -> Stamp {
    Stamp {
        size: source.len(),
        modified: nanoseconds(source.mtime(), source.mtime_nsec()),
        changed: nanoseconds(source.ctime(), source.ctime_nsec()),
        inode: source.ino(),
        copied: nanoseconds(copy.mtime(), copy.mtime_nsec()),
    }
}

/// When a file, or a link itself, was last written.
pub(super) fn modified(path: &Path) -> Result<i128> {
    let found = fs::symlink_metadata(path).map_err(|e| Error::io("read", path, e))?;
    Ok(nanoseconds(found.mtime(), found.mtime_nsec()))
}

fn place(folder: &Path) -> PathBuf {
    folder.with_file_name(FOLDER).join(folder.file_name().unwrap_or_default())
}

/// The stamps of a context's folder. Records that cannot be read are left out: their files are then compared by content.
pub(super) fn read(folder: &Path) -> HashMap<String, Stamp> {
    let record = |record: &str| {
        let mut fields = record.splitn(6, ' ');
        let size = fields.next()?.parse().ok()?;
        let (modified, changed) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (inode, copied) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((fields.next()?.to_owned(), Stamp { size, modified, changed, inode, copied }))
    };
    let text = fs::read_to_string(place(folder)).unwrap_or_default();
    text.split('\0').filter_map(record).collect()
}

/// Keeps them. Records are ended by a zero byte, which no path can hold.
pub(super) fn write(folder: &Path, stamps: &HashMap<String, Stamp>) -> Result<()> {
    let sorted: BTreeMap<&String, &Stamp> = stamps.iter().collect();
    let mut text = String::new();
    for (path, Stamp { size, modified, changed, inode, copied }) in sorted {
        write!(text, "{size} {modified} {changed} {inode} {copied} {path}\0").expect("writing to a String cannot fail");
    }
    write_derived(&place(folder), text.as_bytes())
}

/// Refuses a context's folder that holds what no write has put there, or what was edited since: the next one would remove it.
///
/// # Errors
/// The first such file or folder; what cannot be read.
pub fn refuse_strangers(folder: &Path) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(folder) else { return Ok(()) };
    if !found.is_dir() {
        return Err(Error::usage(format!("`{}` is not a folder", folder.display())));
    }
    match stranger(folder, &read(folder))? {
        Some((path, what)) => Err(Error::usage(format!("`{}` {what}", path.display()))),
        None => Ok(()),
    }
}

/// A file of a context's folder that is not as it was written, or is gone, or came since.
///
/// # Errors
/// When the folder cannot be read.
pub fn edited(folder: &Path) -> Result<Option<PathBuf>> {
    let known = read(folder);
    if let Some((path, _)) = stranger(folder, &known)? {
        return Ok(Some(path));
    }
    let gone = known.keys().map(|path| folder.join(path)).find(|path| fs::symlink_metadata(path).is_err());
    Ok(gone)
}

/// The first that no write has put there, or that was edited since, and which of these.
fn stranger(folder: &Path, known: &HashMap<String, Stamp>) -> Result<Option<(PathBuf, &'static str)>> {
    let mut dirs = HashSet::new();
    for path in known.keys() {
        let mut dir = parent(path);
        while dirs.insert(dir) {
            dir = parent(dir);
        }
    }
    let mut open = vec![String::from(".")];
    while let Some(dir) = open.pop() {
        let at = if dir == "." { folder.to_owned() } else { folder.join(&dir) };
        for entry in fs::read_dir(&at).map_err(|e| Error::io("read", &at, e))? {
            let entry = entry.map_err(|e| Error::io("read", &at, e))?;
            let name = entry.file_name();
            let path = name.to_str().and_then(|name| join(&dir, name));
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match path {
                Some(path) if is_dir && dirs.contains(path.as_str()) => open.push(path),
                Some(path) if !is_dir && known.contains_key(&path) => {
                    let then = known[&path].copied;
                    if then != Stamp::ANNOUNCED.copied && modified(&entry.path())? != then {
                        return Ok(Some((entry.path(), "was edited since it was written")));
                    }
                }
                _ => return Ok(Some((entry.path(), "was not written by an earlier run"))),
            }
        }
    }
    Ok(None)
}

/// The same for one file that is written by itself: see [`note`].
///
/// # Errors
/// Where something else is in its place.
pub fn refuse_stranger(file: &Path) -> Result<()> {
    if fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    let then = read(file).get(&name(file)).map(|stamp| stamp.copied);
    if then == Some(modified(file)?) {
        return Ok(());
    }
    Err(Error::usage(format!("`{}` is not as an earlier run wrote it", file.display())))
}

/// Remembers a file that was just written by itself.
///
/// # Errors
/// When it is not there, or nothing can be written beside it.
pub fn note(file: &Path) -> Result<()> {
    write(file, &HashMap::from([(name(file), Stamp::written(modified(file)?))]))
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
