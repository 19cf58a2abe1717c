//! A workspace that a test writes.

use monoship_workspace::Workspace;
use tempfile::TempDir;

/// The workspace of these files, in a folder that goes with the first value.
pub fn workspace<T: AsRef<str>>(files: &[(&str, T)]) -> (TempDir, Workspace) {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.as_ref()).unwrap();
    }
    let workspace = Workspace::load(dir.path()).unwrap();
    (dir, workspace)
}
