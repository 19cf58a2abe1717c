//! Maps and sets in order, kept as sorted lists, and lists put in order.
//!
//! A tree of the standard library is compiled anew for each type of its entries, some 3,500 lines of the compiler's own language each: a fifth of
//! this library, which everyone compiles who uses it, and not optimised. A list takes a tenth of that, and is quicker for the few hundred entries
//! that a workspace has. An insertion moves what stands behind it, so what may get tens of thousands of entries in no order is a tree.

use std::cmp::Ordering;

mod beside;
mod list;
mod map;
mod set;

pub use beside::side_by_side;
pub use list::Order;
pub use map::{Entry, Iter, IterMut, SortedMap};
pub use set::SortedSet;

/// Where the entry that `compare` finds equal is in a sorted list, or would be. Mostly entries come in order, and then it is the end.
fn place<E>(entries: &[E], compare: impl Fn(&E) -> Ordering) -> Result<usize, usize> {
    match entries.last() {
        Some(last) if compare(last).is_lt() => Err(entries.len()),
        _ => entries.binary_search_by(compare),
    }
}
