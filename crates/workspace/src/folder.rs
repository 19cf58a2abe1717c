//! A folder as a builder is handed it: every file's mode and content, whatever git thinks of it, less what the folder's own ignore file
//! leaves out. It is read whole on each call.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use ring::digest;

use crate::dockerignore::Ignore;
use monoship_core::error::{Error, Result};
use monoship_core::name::hex;

/// The ignore file that BuildKit reads at the root of a context with a name (`frontend/dockerui`).
const IGNORE: &str = ".dockerignore";

/// What is in the folder, sorted by path: `<mode> <blob id>` of a file, with git's modes where they say all there is; a link's target counts as
/// its content. A folder with nothing in it is an entry too.
///
/// # Errors
/// When something cannot be read, or the ignore file is malformed.
pub fn contents(root: &Path) -> Result<Vec<(String, String)>> {
    let ignore = root.join(IGNORE);
    let ignore = if ignore.is_file() { Ignore::load(&ignore)? } else { Ignore::default() };
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let full = root.join(&folder);
        let mut entries = 0;
        for entry in fs::read_dir(&full).map_err(|e| Error::io("read", &full, e))? {
            let entry = entry.map_err(|e| Error::io("read", &full, e))?;
            entries += 1;
            let path = folder.join(entry.file_name());
            // A rule can take something of a folder back that another leaves out, so every folder is looked into.
            if entry.file_type().map_err(|e| Error::io("read", &full, e))?.is_dir() {
                open.push(path);
            } else if !ignore.excludes(&path.to_string_lossy()) {
                found.push(path);
            }
        }
        if entries == 0 && !folder.as_os_str().is_empty() && !ignore.excludes(&folder.to_string_lossy()) {
            found.push(folder);
        }
    }
    found.sort();
    found.par_iter().map(|path| Ok((path.to_string_lossy().into_owned(), value(&root.join(path))?))).collect()
}

fn value(path: &Path) -> Result<String> {
    let failed = |e| Error::io("read", path, e);
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    let bits = meta.permissions().mode() & 0o7777;
    if meta.is_dir() {
        return Ok(format!("040{bits:o}"));
    }
    let (mode, content) = if meta.is_symlink() {
        ("120000".to_owned(), fs::read_link(path).map_err(failed)?.as_os_str().as_bytes().to_vec())
    } else if meta.is_file() {
        (format!("100{bits:o}"), fs::read(path).map_err(failed)?)
    } else {
        return Ok("neither a file nor a folder".to_owned());
    };
    let mut hasher = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hasher.update(format!("blob {}\0", content.len()).as_bytes());
    hasher.update(&content);
    Ok(format!("{mode} {}", hex(hasher.finish().as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(root: &Path) -> Vec<String> {
        contents(root).unwrap().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn everything_that_the_builder_is_sent_counts_and_what_is_ignored_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("node_modules/a/index.js", "x");
        write(".git/HEAD", "x");
        write("skipped/keep.txt", "x");
        write("skipped/drop.txt", "x");
        write(".dockerignore", "skipped\n!skipped/keep.txt\n");
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert_eq!(named(dir.path()), [".dockerignore", ".git/HEAD", "empty", "node_modules/a/index.js", "skipped/keep.txt"]);
        let before = contents(dir.path()).unwrap();
        fs::set_permissions(dir.path().join("skipped/keep.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_ne!(contents(dir.path()).unwrap(), before, "a mode is copied too");
    }

    #[test]
    fn a_plain_file_counts_as_git_counts_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "hello\n").unwrap();
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o644)).unwrap();
        let expected = ("a".to_owned(), "100644 ce013625030ba8dba906f756967f9e9ca394464a".to_owned());
        assert_eq!(contents(dir.path()).unwrap(), [expected]);
    }
}
