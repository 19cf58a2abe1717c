//! Taking turns: tests that may not run beside each other, or should not, wherever they run. A runner may give each test a process of its
//! own, so that this is a lock of a file.

use std::path::PathBuf;
use std::time::Duration;

use monoship_core::execute::lock::Lock;
use monoship_core::execute::shutdown::Shutdown;

use super::repo::target_dir;

/// Whoever builds this repository's own services, or another's of an engine that is not shared, holds this: they name their images alike.
pub fn turn() -> Lock {
    at("build")
}

/// The one test that builds for minutes holds this. It names what no other names.
pub fn beside() -> Lock {
    at("build-beside")
}

/// There are as many as keep two cores busy: a build or a release is one program's answer after another's, and while one waits the others
/// work. The last is left for a [`turn`] as long as there is another.
const SEATS: [&str; 3] = ["build-third", "build-beside", "build"];

/// One of the `SEATS`, for whoever builds or releases below a name that no other test has.
pub fn seat() -> Lock {
    loop {
        if let Some(lock) = SEATS.iter().find_map(|what| Lock::take_free(&file(what)).unwrap()) {
            return lock;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whoever releases with credentials of its own holds all: an engine keeps the configuration of its last user.
pub fn all_seats() -> Vec<Lock> {
    SEATS.map(at).into()
}

/// Whoever counts what steps find in cache mounts of the shared engine, and whoever builds there with `--no-cache`: BuildKit gives such a build
/// new, empty ones, and each build that begins after it too, beside those that still have the old. Taken after a seat.
pub fn cache_mounts() -> Lock {
    at("cache-mounts")
}

/// Whoever does this one thing.
pub fn at(what: &str) -> Lock {
    Lock::wait(&file(what), &Shutdown::new(), || ()).unwrap()
}

fn file(what: &str) -> PathBuf {
    target_dir().join("turns").join(what)
}
