//! Taking turns: tests that may not run beside each other, or should not, wherever they run. A runner may give each test a process of its
//! own, so that this is a lock of a file.

use std::path::PathBuf;
use std::time::Duration;

use monoship_core::execute::lock::Lock;
use monoship_core::execute::shutdown::Shutdown;

use super::repo::target_dir;

/// Whoever builds holds this: two builds at once on two cores only slow each other down, and some name their images alike.
pub fn turn() -> Lock {
    at("build")
}

/// The one test that builds for minutes, names what no other names, and mostly waits for the network, holds this, beside a [`turn`].
pub fn beside() -> Lock {
    at("build-beside")
}

/// Whoever releases holds one of these: a release is one program's answer after another's, and while one waits the others work.
const SEATS: [&str; 3] = ["build", "build-beside", "build-third"];

/// One of the [`SEATS`]. What is built there goes below a name that no other test has.
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

/// Whoever does this one thing.
pub fn at(what: &str) -> Lock {
    Lock::wait(&file(what), &Shutdown::new(), || ()).unwrap()
}

fn file(what: &str) -> PathBuf {
    target_dir().join("turns").join(what)
}
