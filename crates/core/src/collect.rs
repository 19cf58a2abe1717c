//! Lists, sorted maps and sets of what an iterator gives, put in one by one.
//!
//! `collect` is compiled anew for each place it is called from: a list by six functions that choose how, a map or set by a sort before. That
//! was a sixth of all code that was made of this library, which everyone compiles who uses it. Where there may be a hundred thousand entries,
//! in order already, `collect` is quicker.

use crate::sorted::{SortedMap, SortedSet};

/// An iterator whose entries are wanted together.
#[expect(
    clippy::while_let_on_iterator,
    reason = "`for` is compiled to a third more: it makes an iterator of each iterator first"
)]
pub trait Collect: Iterator + Sized {
    /// A list.
    fn into_vec(mut self) -> Vec<Self::Item> {
        let mut list = Vec::new();
        while let Some(entry) = self.next() {
            list.push(entry);
        }
        list
    }

    /// A map; of two entries with one key the later one stays, as with `collect`.
    fn into_map<K: Ord, V>(mut self) -> SortedMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = SortedMap::new();
        while let Some((key, value)) = self.next() {
            map.insert(key, value);
        }
        map
    }

    /// A set.
    fn into_set(mut self) -> SortedSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = SortedSet::new();
        while let Some(entry) = self.next() {
            set.insert(entry);
        }
        set
    }
}

impl<I: Iterator> Collect for I {}
