//! Running several jobs at once, bounded. What a job is, and when to stop early, is the caller's to say.

use std::num::NonZeroUsize;

use rayon::prelude::*;

use crate::error::{Error, Result};

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// How many builds run at once where nobody says: two a core. A build waits much, for the network, the disk and its own first steps; with one
/// a core, four services on two cores took a twentieth longer (`cargo bench --bench versus -- cold`).
pub fn builds_at_once() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).saturating_mul(TWO)
}

/// Runs `job` on each item with at most `jobs` at once and returns the results in the items' order.
///
/// # Errors
/// When the threads cannot be started.
pub fn each<T: Sync, R: Send>(jobs: usize, items: &[T], job: impl Fn(&T) -> R + Sync + Send) -> Result<Vec<R>> {
    // A pool of its own: these threads wait for children, and must not starve the global pool, which hashes.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs.max(1)).build();
    let pool = pool.map_err(|e| Error::failed("cannot start worker threads").source(e))?;
    Ok(pool.install(|| items.par_iter().with_max_len(1).map(job).collect()))
}

/// Runs both at once, on threads of their own: like [`each`]'s jobs, they wait for children.
pub fn both<A, B: Send>(this: impl FnOnce() -> A, that: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let that = scope.spawn(that);
        let this = this();
        (this, that.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_than_the_bound_run_at_once_and_results_keep_their_order() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let doubled = each(3, &[1, 2, 3, 4, 5, 6, 7], |n| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            n * 2
        });
        assert_eq!(doubled.unwrap(), [2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
