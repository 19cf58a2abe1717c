//! The queue for work that waits: for children, registries, other machines. At most so many at once, begun in the order given. What a job is,
//! and when to stop early, is the caller's to say.
//!
//! Each queue is a rayon pool of its own. Rayon's global pool has a thread a core and is for work that computes: a thread of it that
//! waits is a core that idles.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// How many requests are under way at once: a registry or an API is not to be stormed.
const REQUESTS: usize = 16;

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// How many builds run at once where nobody says: two a core. A build waits much, for the network, the disk and its own first steps; with one
/// a core, four services on two cores took a twentieth longer (`cargo bench --bench versus -- cold`).
pub fn builds_at_once() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).saturating_mul(TWO)
}

/// Runs `job` on each item with at most `jobs` at once, begun in the items' order, and returns the results in that order.
///
/// # Errors
/// When the threads cannot be started.
pub fn each<T: Sync, R: Send>(jobs: usize, items: &[T], job: impl Fn(&T) -> R + Sync) -> Result<Vec<R>> {
    each_within(jobs, u64::MAX, items, |_| 0, job)
}

/// The same, where those that run take at most `room` together, by what each `takes`, in any unit. What finds no room is overtaken by the next
/// that does, and is the first to be asked when one has ended; what takes more than there is runs alone.
///
/// # Errors
/// When the threads cannot be started.
pub fn each_within<T: Sync, R: Send>(
    jobs: usize,
    room: u64,
    items: &[T],
    takes: impl Fn(&T) -> u64,
    job: impl Fn(&T) -> R + Sync,
) -> Result<Vec<R>> {
    let threads = jobs.min(items.len()).max(1);
    if threads == 1 {
        return Ok(items.iter().map(job).collect());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::failed("cannot start worker threads").source(e))?;
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let waiting = (0..items.len()).map(|at| (at, takes(&items[at]))).collect();
    let queue = Queue { state: Mutex::new(State { waiting, running: 0, room }), ended: Condvar::new() };
    pool.in_place_scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|_| {
                while let Some(turn) = queue.next() {
                    let done = job(&items[turn.at]);
                    *locked(&results[turn.at]) = Some(done);
                }
            });
        }
    });
    let taken = results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(taken.map(|result| result.expect("the scope ends when every job has")).collect())
}

struct Queue {
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// Places of items, and what each takes.
    waiting: Vec<(usize, u64)>,
    running: usize,
    room: u64,
}

/// An item that runs, until it is dropped.
struct Turn<'q> {
    queue: &'q Queue,
    at: usize,
    takes: u64,
}

impl Queue {
    /// The next item, once there is room for one; none where none waits.
    fn next(&self) -> Option<Turn<'_>> {
        let mut state = locked(&self.state);
        loop {
            state.waiting.first()?;
            let fits = |(_, takes): &(usize, u64)| *takes <= state.room;
            let first = if state.running == 0 { Some(0) } else { state.waiting.iter().position(fits) };
            if let Some(first) = first {
                let (at, takes) = state.waiting.remove(first);
                let takes = takes.min(state.room);
                state.running += 1;
                state.room -= takes;
                return Some(Turn { queue: self, at, takes });
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = locked(&self.queue.state);
        state.running -= 1;
        state.room += self.takes;
        self.queue.ended.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a request for each item, at most 16 at once; the results are in the items' order.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], request: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // Where no threads can be had, one after the other will do.
    each(REQUESTS, items, &request).unwrap_or_else(|_| items.iter().map(&request).collect())
}

/// Runs both at once, each on a thread of its own: like [`each`]'s jobs, they wait.
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

    use super::*;

    #[test]
    fn no_more_than_the_bound_run_at_once_and_results_keep_their_order() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Three must meet before any of them goes on, so the bound is reached as well as kept.
        let three = std::sync::Barrier::new(3);
        let doubled = each(3, &[1, 2, 3, 4, 5, 6], |n| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            three.wait();
            now.fetch_sub(1, Ordering::SeqCst);
            n * 2
        });
        assert_eq!(doubled.unwrap(), [2, 4, 6, 8, 10, 12]);
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(in_parallel(&[1, 2, 3], |n| n * 2), [2, 4, 6]);
        assert_eq!(each(3, &[0; 0], |n| n * 2).unwrap(), [0; 0]);
    }

    #[test]
    fn what_runs_at_once_has_room_together_and_what_finds_none_is_overtaken() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let begun = Mutex::new(Vec::new());
        // The first two large ones have no room beside each other; the small one meets the first of them.
        let met = std::sync::Barrier::new(2);
        let items = [("large", 6_u64), ("another", 6), ("small", 3), ("huge", 100)];
        each_within(
            4,
            10,
            &items,
            |(_, takes)| *takes,
            |(name, takes)| {
                let takes = usize::try_from(*takes).unwrap();
                locked(&begun).push(*name);
                most.fetch_max(now.fetch_add(takes, Ordering::SeqCst) + takes, Ordering::SeqCst);
                if ["large", "small"].contains(name) {
                    met.wait();
                }
                now.fetch_sub(takes, Ordering::SeqCst);
            },
        )
        .unwrap();
        let begun = begun.into_inner().unwrap();
        assert_eq!(begun.last(), Some(&"huge"), "{begun:?}");
        assert!(begun[..2].contains(&"large") && begun[..2].contains(&"small"), "{begun:?}");
        assert_eq!(most.load(Ordering::SeqCst), 100, "what takes more than there is runs alone");
    }

    #[test]
    fn jobs_begin_in_the_order_given() {
        let begun = Mutex::new(Vec::new());
        let items: Vec<usize> = (0..50).collect();
        // Two at once: each waits until the other has begun, so neither can run ahead.
        let two = std::sync::Barrier::new(2);
        each(2, &items, |n| {
            begun.lock().unwrap().push(*n);
            two.wait();
        })
        .unwrap();
        let begun = begun.into_inner().unwrap();
        for (pair, there) in begun.chunks(2).enumerate() {
            let mut there = there.to_vec();
            there.sort_unstable();
            assert_eq!(there, [2 * pair, 2 * pair + 1], "{begun:?}");
        }
    }
}
