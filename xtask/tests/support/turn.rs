//! Taking turns: tests that may not run beside each other, or should not, wherever they run. A runner may give each test a process of its
//! own, so that this is a lock of a file.

use monoship_core::execute::lock::Lock;
use monoship_core::execute::shutdown::Shutdown;

use super::repo::target_dir;

/// Whoever builds holds this: two builds at once on two cores only slow each other down, and some name their images alike.
pub fn turn() -> Lock {
    at("build")
}

/// Whoever does this one thing.
pub fn at(what: &str) -> Lock {
    Lock::wait(&target_dir().join("turns").join(what), &Shutdown::new(), || ()).unwrap()
}
