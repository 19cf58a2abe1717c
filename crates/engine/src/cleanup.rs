//! Taking back everything an embedded engine makes on the machine: processes, mounts, control groups, network, runtime folder.
//! All of it is found by the engine's own names, so that a killed engine is cleaned up as well as one that is asked to go.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Events;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::Order as _;

use super::apt::remove_tree;
use super::layout::Layout;
use super::network;
use super::packages::Packages;
use super::process::{self, send};
use super::state::State;

/// Stops the engine's processes, giving the daemon `patience` to stop its containers, and removes what they leave. `packages`
/// hold the tools that remove the network, and made it; without them it stays.
///
/// # Errors
/// When something cannot be removed.
pub fn stop(
    layout: &Layout,
    packages: Option<&Packages>,
    patience: Duration,
    events: &Events,
    shutdown: &Shutdown,
) -> Result<()> {
    if let Some(state) = State::load(&layout.state()) {
        state.dockerd.end(patience);
        state.registry.end(Duration::from_secs(2));
    }
    kill_left_over(layout);
    unmount_below(&[layout.docker_root(), layout.tmp(), layout.run()])?;
    remove_cgroups(&layout.cgroup());
    if let Some(packages) = packages {
        network::lower(packages, layout, events, shutdown)?;
    }
    remove_tree(&layout.run())?;
    remove_file(&layout.state())?;
    // Empty once the last engine is gone; the lock in it is only ever held for milliseconds, and made anew by whoever needs it.
    if std::fs::read_dir(Layout::run_root()).is_ok_and(|entries| entries.flatten().all(|e| e.file_name() == "lock")) {
        remove_tree(Layout::run_root())?;
        remove_default_folders();
    }
    Ok(())
}

/// containerd and dockerd make these whatever they are told. Where the machine has a containerd of its own they are that one's;
/// where not, they go with the last engine, if nothing is in them.
fn remove_default_folders() {
    if ["/usr/bin/containerd", "/usr/local/bin/containerd"].iter().any(|program| Path::new(program).exists()) {
        return;
    }
    let folders = [
        "/opt/containerd/bin",
        "/opt/containerd/lib",
        "/opt/containerd",
        "/run/containerd/s",
        "/run/containerd",
        "/run/docker/plugins",
        "/run/docker",
    ];
    for folder in folders {
        // Refused where something is in it, which is the point.
        let _ = std::fs::remove_dir(folder);
    }
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// containerd, shims and build steps that outlived their daemon.
fn kill_left_over(layout: &Layout) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut pids = process::of_engine(&layout.cache().join("packages"), &layout.run());
        pids.extend(cgroup_dirs(&layout.cgroup()).iter().flat_map(|dir| members(dir)));
        if pids.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in pids {
            send(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The engine's control group in every hierarchy: one with version 2, one per controller with version 1.
fn cgroup_dirs(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join(name));
    let all = std::iter::once(root.join(name)).chain(hierarchies);
    all.filter(|dir| dir.is_dir()).flat_map(|dir| with_children(&dir)).into_vec()
}

/// A folder and those below it, children before parents, which is the order they can be removed in.
fn with_children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let children = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path());
    let mut all: Vec<PathBuf> = children.flat_map(|child| with_children(&child)).into_vec();
    all.push(dir.to_owned());
    all
}

fn members(dir: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process of another pid namespace.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).into_vec()
}

/// An empty control group that stays costs nothing and is taken over by the next start, so that failing is not an error.
fn remove_cgroups(name: &str) {
    for dir in cgroup_dirs(name) {
        let _ = std::fs::remove_dir(dir);
    }
}

/// Detaches every mount at or below these folders, the innermost first.
fn unmount_below(roots: &[PathBuf]) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<PathBuf> = table.lines().filter_map(mount_point).into_vec();
    points.retain(|point| roots.iter().any(|root| point.starts_with(root)));
    points.order_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in points {
        match unmount(&point, UnmountFlags::DETACH) {
            // Its parent, detached a moment ago, took it along.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(Error::io("unmount", &point, error.into())),
        }
    }
    Ok(())
}

/// Field 5 of a line of `/proc/self/mountinfo`, its octal escapes undone; see proc_pid_mountinfo(5).
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    Some(escapes.iter().fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_read_back() {
        let line = r"36 35 98:0 /x /mnt/a\040b\134c rw,noatime master:1 - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt/a b\c")));
        assert_eq!(mount_point("36 35"), None);
    }

    #[test]
    fn folders_are_listed_children_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let names: Vec<_> = with_children(dir.path()).iter().map(|p| p.strip_prefix(dir.path()).unwrap().to_owned()).collect();
        assert_eq!(names, [PathBuf::from("a/b"), PathBuf::from("a"), PathBuf::new()]);
    }
}
