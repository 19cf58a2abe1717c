//! Blob ids computed by us, for files git has no current id for, and the walk of a folder that is in no repository. No git
//! command runs here.
//!
//! Content is hashed as it lies on disk, whatever git would make of it on its way into the repository: that is what a builder is handed.

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest;
use sha1_smol::Sha1;

use super::{File, Mode, ObjectId};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::cores;
use monoship_core::name::hex;

/// Folders that hold no source where git is not there to say so.
const NEVER_SOURCE: [&str; 2] = [".git", "node_modules"];

/// The hash a repository uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// The usual one.
    #[default]
    Sha1,
    /// `extensions.objectFormat = sha256`.
    Sha256,
}

/// Hashes the files at `paths` (relative to `root`), in parallel. What has vanished, or is no file, is left out.
pub fn files(root: &Path, paths: &[(String, Option<Mode>)], format: Format) -> Result<Vec<Hashed>> {
    let hashed = cores::try_map(paths, |(path, mode)| {
        let found = one(root, path, format)?;
        Ok(found.map(|mut found| {
            found.file.mode = mode.unwrap_or(found.file.mode);
            found
        }))
    })?;
    Ok(hashed.into_iter().flatten().into_vec())
}

/// A file that was read.
#[derive(Debug)]
pub struct Hashed {
    /// What it is.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// It only says where Git LFS keeps the content (the first line of its format, version 1).
    pub is_pointer: bool,
}

/// What every file of Git LFS begins with that has no content yet.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// Hashes the file or link at `path` (relative to `root`); `None` where there is neither.
///
/// # Errors
/// When it cannot be read.
pub fn one(root: &Path, path: &str, format: Format) -> Result<Option<Hashed>> {
    let full = root.join(path);
    let hashed = fs::symlink_metadata(&full).and_then(|meta| Ok((blob(&full, &meta, format)?, meta.len())));
    match hashed {
        Ok((Some((mode, id, is_pointer)), size)) => {
            Ok(Some(Hashed { file: File { path: path.into(), mode, id }, size, is_pointer }))
        }
        Ok((None, _)) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::io("read", &full, error)),
    }
}

/// The mode and blob id of one file, and whether it is a pointer; `None` for what git does not keep (folders, sockets, pipes).
fn blob(path: &Path, meta: &Metadata, format: Format) -> io::Result<Option<(Mode, ObjectId, bool)>> {
    if meta.is_symlink() {
        let target = fs::read_link(path)?.into_os_string().into_vec();
        let mut hasher = Hasher::new(format, target.len() as u64);
        hasher.update(&target);
        return Ok(hasher.finish().map(|id| (Mode::Symlink, id, false)));
    }
    if !meta.is_file() {
        return Ok(None);
    }
    let mode = if meta.permissions().mode() & 0o100 == 0 { Mode::Plain } else { Mode::Executable };
    let mut reader = fs::File::open(path)?;
    let mut hasher = Hasher::new(format, meta.len());
    let mut buffer = vec![0; 64 * 1024];
    let (mut seen, mut is_pointer) = (0, false);
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            n => {
                is_pointer |= seen == 0 && buffer[..n].starts_with(POINTER);
                seen += n as u64;
                hasher.update(&buffer[..n]);
            }
        }
    }
    if seen != meta.len() {
        return Err(io::Error::other("it changed while it was read; run this again"));
    }
    Ok(hasher.finish().map(|id| (mode, id, is_pointer)))
}

enum Hasher {
    Sha1(Sha1),
    Sha256(digest::Context),
}

impl Hasher {
    /// Git hashes `blob <length>`, a zero byte, and the content.
    fn new(format: Format, length: u64) -> Self {
        let mut hasher = match format {
            Format::Sha1 => Self::Sha1(Sha1::new()),
            Format::Sha256 => Self::Sha256(digest::Context::new(&digest::SHA256)),
        };
        hasher.update(format!("blob {length}\0").as_bytes());
        hasher
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(sha1) => sha1.update(bytes),
            Self::Sha256(sha256) => sha256.update(bytes),
        }
    }

    fn finish(self) -> Option<ObjectId> {
        let id = match self {
            Self::Sha1(sha1) => hex(&sha1.digest().bytes()),
            Self::Sha256(sha256) => hex(sha256.finish().as_ref()),
        };
        ObjectId::parse(id.as_bytes())
    }
}

/// Every file below `root`, but [`NEVER_SOURCE`]: their paths, and the names that are not UTF-8 made readable.
pub fn walk(root: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let (mut paths, mut odd) = (Vec::new(), Vec::new());
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        for entry in fs::read_dir(&full).map_err(|e| Error::io("read", &full, e))? {
            let entry = entry.map_err(|e| Error::io("read", &full, e))?;
            let kind = entry.file_type().map_err(|e| Error::io("read", &entry.path(), e))?;
            let path = folder.join(entry.file_name());
            if NEVER_SOURCE.iter().any(|name| entry.file_name().as_bytes() == name.as_bytes()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if let Some(text) = path.to_str() {
                paths.push(text.to_owned());
            } else {
                odd.push(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok((paths, odd))
}
