//! The loop for work that computes: on all cores, by rayon's global pool, which has a thread for each. Work that waits has [`super::pool`].
//!
//! Parallel iterators would do. Each of them is compiled anew with what rayon does behind it, and that was a seventh of all code that was
//! made of this library. Here rayon is given a reference to a function, and compiled once.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::collect::Collect as _;
use crate::error::Result;

/// What `job` makes of each item, in their order.
pub fn map<'i, T: Sync, R: Send>(items: &'i [T], job: impl Fn(&'i T) -> R + Sync) -> Vec<R> {
    // Some pieces for each core, as some items are longer than others; not one for each item, which may be shorter than handing it over.
    let size = items.len().div_ceil(16 * rayon::current_num_threads()).max(1);
    let made: Vec<Mutex<Vec<R>>> = items.chunks(size).map(|_| Mutex::default()).into_vec();
    each(made.len(), &|at| {
        let piece = items[at * size..].iter().take(size).map(&job).into_vec();
        *made[at].lock().unwrap_or_else(PoisonError::into_inner) = piece;
    });
    made.into_iter().flat_map(|piece| piece.into_inner().unwrap_or_else(PoisonError::into_inner)).into_vec()
}

/// The same of a job that can fail.
///
/// # Errors
/// That of the first item, in their order, whose job failed. The others have run all the same.
pub fn try_map<'i, T: Sync, R: Send>(items: &'i [T], job: impl Fn(&'i T) -> Result<R> + Sync) -> Result<Vec<R>> {
    map(items, job).into_iter().collect()
}

/// Runs both at once, if a core is free.
pub fn join<A: Send, B: Send>(this: impl FnOnce() -> A + Send, that: impl FnOnce() -> B + Send) -> (A, B) {
    let (mut this, mut that) = (Some(this), Some(that));
    let (mut a, mut b) = (None, None);
    both(&mut || a = this.take().map(|this| this()), &mut || b = that.take().map(|that| that()));
    (a.expect("both have run"), b.expect("both have run"))
}

fn each(count: usize, job: &(dyn Fn(usize) + Sync)) {
    if count == 1 {
        job(0);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(job);
    }
}

fn both(this: &mut (dyn FnMut() + Send), that: &mut (dyn FnMut() + Send)) {
    rayon::join(this, that);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for count in [0, 1, 2, 15, 64, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(map(&items, |item| item * 2), (0..2 * count).step_by(2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_several_errors_it_is_that_of_the_first_item() {
        let odd = |item: &u32| if item % 2 == 1 { Err(Error::failed(format!("{item} is odd"))) } else { Ok(*item) };
        assert_eq!(try_map(&[0, 2, 4], odd).unwrap(), [0, 2, 4]);
        assert_eq!(try_map(&(0..100).collect::<Vec<_>>(), odd).unwrap_err().to_string(), "1 is odd");
    }

    #[test]
    fn both_run_and_may_be_of_two_types() {
        let name = String::from("shop");
        assert_eq!(join(|| name.len(), || "api".to_owned() + &name), (4, "apishop".to_owned()));
    }
}
