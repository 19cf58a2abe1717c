//! The queue for work that waits: for children, registries, other machines. At most so many at once, begun in the order given. What a job is,
//! and when to stop early, is the caller's to say.
//!
//! Each queue is a rayon pool of its own. Rayon's global pool has a thread a core and is for work that computes: a thread of it that
//! waits is a core that idles.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::collect::Collect as _;
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
    each_within(jobs, &Bounds::default(), items, job)
}

/// What keeps an item from being begun beside others. Where a list has no entry for an item, nothing does.
#[derive(Debug, Default)]
pub struct Bounds {
    /// How much those that run may take together, in any unit; `None` for any amount.
    pub room: Option<u64>,
    /// What each item takes of it.
    pub takes: Vec<u64>,
    /// The places of the items that must have ended before each is begun: in no circle.
    pub after: Vec<Vec<usize>>,
}

/// The same within bounds. What finds no room, or waits for another, is overtaken by the next that does not, and is the first to be asked when one
/// has ended; what takes more than there is runs alone.
///
/// # Errors
/// When the threads cannot be started.
pub fn each_within<T: Sync, R: Send>(jobs: usize, bounds: &Bounds, items: &[T], job: impl Fn(&T) -> R + Sync) -> Result<Vec<R>> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).into_vec();
    run(jobs, bounds, items.len(), &|at| {
        let done = job(&items[at]);
        *locked(&results[at]) = Some(done);
    })?;
    let taken = results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(taken.map(|result| result.expect("the scope ends when every job has")).into_vec())
}

/// The same of places alone: compiled once, whatever the items are.
fn run(jobs: usize, bounds: &Bounds, count: usize, job: &(dyn Fn(usize) + Sync)) -> Result<()> {
    let threads = jobs.min(count).max(1);
    let waiting = (0..count).map(|at| Waiting {
        at,
        takes: bounds.takes.get(at).copied().unwrap_or_default(),
        after: bounds.after.get(at).cloned().unwrap_or_default(),
    });
    let state = State { waiting: waiting.into_vec(), running: 0, room: bounds.room.unwrap_or(u64::MAX) };
    let queue = Queue { state: Mutex::new(state), ended: Condvar::new() };
    let work = || {
        while let Some(turn) = queue.next() {
            job(turn.at);
        }
    };
    if threads == 1 {
        work();
    } else {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::failed("cannot start worker threads").source(e))?;
        pool.in_place_scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| work())));
    }
    Ok(())
}

struct Queue {
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// In the order given.
    waiting: Vec<Waiting>,
    running: usize,
    room: u64,
}

/// An item that was not begun.
struct Waiting {
    at: usize,
    takes: u64,
    /// What must end before.
    after: Vec<usize>,
}

/// An item that runs, until it is dropped.
struct Turn<'q> {
    queue: &'q Queue,
    at: usize,
    takes: u64,
}

impl Queue {
    /// The next item, once one can be begun; none where none waits.
    fn next(&self) -> Option<Turn<'_>> {
        let mut state = locked(&self.state);
        loop {
            state.waiting.first()?;
            let alone = state.running == 0;
            let fits = |one: &Waiting| one.after.is_empty() && (alone || one.takes <= state.room);
            let first = state.waiting.iter().position(fits);
            assert!(first.is_some() || !alone, "items wait for each other in a circle");
            if let Some(first) = first {
                let Waiting { at, takes, .. } = state.waiting.remove(first);
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
        state.waiting.iter_mut().for_each(|one| one.after.retain(|at| *at != self.at));
        self.queue.ended.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a request for each item, at most 16 at once; the results are in the items' order.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], request: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // Where no threads can be had, one after the other will do.
    each(REQUESTS, items, &request).unwrap_or_else(|_| items.iter().map(&request).into_vec())
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
        let bounds = Bounds { room: Some(10), takes: items.iter().map(|(_, takes)| *takes).collect(), ..Bounds::default() };
        each_within(4, &bounds, &items, |(name, takes)| {
            let takes = usize::try_from(*takes).unwrap();
            locked(&begun).push(*name);
            most.fetch_max(now.fetch_add(takes, Ordering::SeqCst) + takes, Ordering::SeqCst);
            if ["large", "small"].contains(name) {
                met.wait();
            }
            now.fetch_sub(takes, Ordering::SeqCst);
        })
        .unwrap();
        let begun = begun.into_inner().unwrap();
        assert_eq!(begun.last(), Some(&"huge"), "{begun:?}");
        assert!(begun[..2].contains(&"large") && begun[..2].contains(&"small"), "{begun:?}");
        assert_eq!(most.load(Ordering::SeqCst), 100, "what takes more than there is runs alone");
    }

    #[test]
    fn what_waits_for_another_is_overtaken_and_begun_when_that_has_ended() {
        // The last waits for nothing, the first for the second, which waits for the last.
        let bounds = Bounds { after: vec![vec![1], vec![2], Vec::new()], ..Bounds::default() };
        for jobs in [1, 3] {
            let told = Mutex::new(Vec::new());
            let tell = |what: &str, item: &usize| locked(&told).push(format!("{what} {item}"));
            let results = each_within(jobs, &bounds, &[0, 1, 2], |item| {
                tell("begun", item);
                std::thread::yield_now();
                tell("ended", item);
                item * 2
            });
            assert_eq!(results.unwrap(), [0, 2, 4]);
            assert_eq!(*locked(&told), ["begun 2", "ended 2", "begun 1", "ended 1", "begun 0", "ended 0"], "{jobs} at once");
        }
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
