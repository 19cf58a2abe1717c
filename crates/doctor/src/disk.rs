//! Room: on the disks that hold the repository and what we keep.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Access;

use super::{Checkup, Finding};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use monoship_core::text;
use monoship_docker::engine::Engine;
use monoship_steps::{STATE, engine as engines};

/// A build of a few services writes about this much.
const NEEDED: u64 = 1 << 30;

/// Below this, caches and images of a week do not fit.
const COMFORTABLE: u64 = 5 << 30;

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let (packages, data) = engines::folders(&checkup.env, checkup.config.suite).unzip();
    let embedded = checkup.engine.as_ref().is_ok_and(|engine| engine.as_ref().is_none_or(Engine::is_embedded));
    let mut folders: Vec<_> = packages.into_iter().into_vec();
    folders.extend(checkup.home.as_ref().ok().map(|home| home.join(STATE)));
    // Another engine's images lie where only it knows.
    folders.extend(data.filter(|_| embedded));
    let (mut found, mut seen, mut least) = (Vec::new(), SortedSet::new(), u64::MAX);
    for folder in &folders {
        // What is not made yet will lie on its parent's disk.
        let Some(there) = folder.ancestors().find(|path| path.exists()) else { continue };
        if let Err(error) = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK) {
            let what = format!("{} cannot be written to: {error}", folder.display());
            let fix = "give your user a folder that it can be made in, on a disk that is not read-only; plans work without";
            found.push(Finding::problem("not-writable", what, fix));
        }
        let (Ok(disk), Ok(metadata)) = (rustix::fs::statvfs(there), there.metadata()) else { continue };
        if seen.insert(metadata.dev()) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            least = least.min(free);
            found.extend(judged(folder, free));
        }
    }
    if found.is_empty() && least < u64::MAX {
        found.push(Finding::good(format!("{} free", text::bytes(least))));
    }
    found
}

fn judged(folder: &Path, free: u64) -> Option<Finding> {
    let what = format!("the disk of {} has {} left", folder.display(), text::bytes(free));
    let fix = "free some room (`cargo xtask engine reset`, `docker system prune`), or set `XTASK_CACHE_DIR` to another disk";
    match free {
        _ if free < NEEDED => Some(Finding::problem("disk-full", what, fix)),
        _ if free < COMFORTABLE => Some(Finding::warning("disk-low", what, fix)),
        _ => None,
    }
}
