//! What a race on the embedded engine begins with: our own contender, and an engine that has nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::engine::{BUILDX, Engine, run};

/// `xtask` in `root`, on an embedded engine with its data in `data`.
pub fn xtask(root: &Path, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root).env("XTASK_BUILDERS_ENGINE", "embedded").env("XTASK_ENGINE_DATA", data);
    command
}

/// Removes these images and what nobody uses, of the build cache what `which` says, and what `xtask` remembers of `root`.
pub fn empty(engine: &Engine, root: &Path, images: impl Iterator<Item = String>, which: &[&str]) {
    let docker = || engine.client("usr/bin/docker", root);
    docker().args(["image", "rm", "--force"]).args(images).output().expect("docker runs");
    run(docker().args(["image", "prune", "--all", "--force"]));
    run(engine.client(BUILDX, root).args(["prune", "--all", "--force"]).args(which));
    let state = root.join("target/xtask");
    if state.exists() {
        std::fs::remove_dir_all(state).expect("our own state can be removed");
    }
}

/// A folder in memory, where there are so many bytes of it to spare. A cold build begins with thousands of files removed, and ext4 takes long to
/// make files while it remembers those (minutes; `recently_deleted` in Linux' fs/ext4/ialloc.c): whoever makes most files would pay most
/// for what no cold machine has.
pub fn in_memory(name: &str, bytes: u64) -> Option<PathBuf> {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    (free >= bytes).then(|| memory.join(format!("xtask-{name}")))
}
