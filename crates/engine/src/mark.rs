//! The file that says that a folder is the embedded engine's. A folder is named by a variable, and a name is mistyped easily: `/var/lib` has a
//! `docker` too, which is somebody else's. Nothing of it is taken for ours, and nothing is deleted from a folder without the mark.

use std::path::Path;

use monoship_core::error::{Error, Result, write_atomically};

/// Its name.
pub const MARK: &str = "xtask-engine";

const TEXT: &str = "The embedded engine of `cargo xtask` keeps its things here; `cargo xtask engine reset` deletes them.\n";

/// What is in an engine's folders, by name: its data, then its packages.
const OURS: [&str; 15] = [
    MARK,
    "docker",
    "docker-config",
    "log",
    "registry",
    "registry-port",
    "stand-ins.json",
    "stand-ins.lock",
    "state.json",
    "tmp",
    "lock",
    "packages",
    "staging",
    "debs",
    "stand-ins",
];

/// Files that only an engine writes: what engines from before there was a mark are known by.
const TELLING: [&str; 4] = ["registry-port", "stand-ins.json", "packages/testing.json", "packages/stable.json"];

/// Marks a folder as ours. One in which our names are taken is refused.
///
/// # Errors
/// When there is something in it that no engine wrote, or the mark cannot be written.
pub fn claim(folder: &Path, variable: &str) -> Result<()> {
    if folder.join(MARK).is_file() {
        return Ok(());
    }
    match theirs(folder) {
        Some(name) => {
            let error = Error::usage(format!("{} holds `{name}`, which the embedded engine did not write", folder.display()));
            Err(error.hint(format!("set {variable} to a folder that is empty or does not exist yet")))
        }
        None => put(folder),
    }
}

fn put(folder: &Path) -> Result<()> {
    write_atomically(&folder.join(MARK), TEXT.as_bytes())
}

/// Refuses to delete anything of a folder that is not ours. An empty one is fine.
///
/// # Errors
/// When the folder has no mark and holds one of the names that would be deleted.
pub fn check(folder: &Path) -> Result<()> {
    match theirs(folder) {
        Some(name) => {
            let error = Error::usage(format!(
                "{} has no mark of the embedded engine, so `{name}` in it is not deleted",
                folder.display()
            ));
            Err(error
                .hint(format!("if this is the right folder and all of it may go, run `touch {}`", folder.join(MARK).display())))
        }
        None => Ok(()),
    }
}

/// Something that an engine would write over, or delete, in a folder that is not ours. What has another name is in nobody's way.
fn theirs(folder: &Path) -> Option<&'static str> {
    // The lock is held before anything else is written.
    let held = OURS.into_iter().find(|name| *name != "lock" && folder.join(name).exists());
    held.filter(|_| !is_ours(folder))
}

fn is_ours(folder: &Path) -> bool {
    folder.join(MARK).is_file() || TELLING.iter().any(|name| folder.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_neither_taken_nor_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("lib");
        std::fs::create_dir_all(theirs.join("docker/volumes")).unwrap();
        let error = check(&theirs).unwrap_err();
        assert!(error.to_string().contains("has no mark") && error.hint_text().unwrap().contains("touch "), "{error}");
        assert!(claim(&theirs, "XTASK_ENGINE_DATA").unwrap_err().to_string().contains("`docker`"));
        std::fs::write(theirs.join(MARK), "").unwrap();
        check(&theirs).unwrap();
        claim(&theirs, "XTASK_ENGINE_DATA").unwrap();
    }

    #[test]
    fn an_empty_folder_is_taken_and_an_engine_from_before_the_mark_is_known() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        claim(dir.path(), "XTASK_ENGINE_DATA").unwrap();
        check(dir.path()).unwrap();
        let old = tempfile::tempdir().unwrap();
        std::fs::create_dir(old.path().join("docker")).unwrap();
        std::fs::write(old.path().join("registry-port"), "1").unwrap();
        check(old.path()).unwrap();
        claim(old.path(), "XTASK_ENGINE_DATA").unwrap();
        assert!(old.path().join(MARK).is_file());
    }
}
