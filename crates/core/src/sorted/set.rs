//! A sorted list without twins, with what the standard library's tree offers of the same names.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::place;

/// A set whose entries are in order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortedSet<T> {
    /// Sorted; each once.
    entries: Vec<T>,
}

impl<T> SortedSet<T> {
    /// A set without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.entries.iter()
    }

    /// The first entry.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.entries.first()
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.entries.last()
    }

    /// Takes the first entry out.
    pub fn pop_first(&mut self) -> Option<T> {
        (!self.entries.is_empty()).then(|| self.entries.remove(0))
    }

    /// Keeps the entries of which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.entries.retain(keep);
    }
}

impl<T: Ord> SortedSet<T> {
    /// Where an entry is, or would be.
    fn place<Q: Ord + ?Sized>(&self, entry: &Q) -> Result<usize, usize>
    where
        T: Borrow<Q>,
    {
        place(&self.entries, |known| known.borrow().cmp(entry))
    }

    /// True where it has this entry.
    #[must_use]
    pub fn contains<Q: Ord + ?Sized>(&self, entry: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.place(entry).is_ok()
    }

    /// The entry as it is in the set.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, entry: &Q) -> Option<&T>
    where
        T: Borrow<Q>,
    {
        Some(&self.entries[self.place(entry).ok()?])
    }

    /// Puts an entry in; false where it was there already.
    pub fn insert(&mut self, entry: T) -> bool {
        let place = self.place(&entry);
        if let Err(place) = place {
            self.entries.insert(place, entry);
        }
        place.is_err()
    }

    /// Takes an entry out; false where it was not there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, entry: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        let place = self.place(entry);
        place.is_ok_and(|place| {
            self.entries.remove(place);
            true
        })
    }

    /// What it has and `other` has not, in order.
    pub fn difference<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s T> {
        self.iter().filter(|entry| !other.contains(*entry))
    }

    /// What both have, in order.
    pub fn intersection<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s T> {
        self.iter().filter(|entry| other.contains(*entry))
    }

    /// True where `other` has all that it has.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).next().is_none()
    }

    /// True where they have nothing in common.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other).next().is_none()
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'s, T> IntoIterator for &'s SortedSet<T> {
    type Item = &'s T;
    type IntoIter = std::slice::Iter<'s, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Ord> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        for entry in entries {
            self.insert(entry);
        }
    }
}

impl<'t, T: Ord + Copy> Extend<&'t T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = &'t T>>(&mut self, entries: I) {
        for entry in entries {
            self.insert(*entry);
        }
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut set = Self::new();
        set.extend(entries);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for SortedSet<T> {
    fn from(entries: [T; N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<T: Serialize> Serialize for SortedSet<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for SortedSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every change gives what the standard library's tree gives.
    #[test]
    fn a_set_is_as_a_tree() {
        let (mut ours, mut tree) = (SortedSet::new(), BTreeSet::new());
        let (few, few_in_tree): (SortedSet<u32>, BTreeSet<u32>) = ((0..20).rev().collect(), (0..20).collect());
        let mut state = 1_u32;
        for step in 0..5_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let entry = (state >> 16) % 97;
            match state >> 29 {
                0 | 1 => assert_eq!(ours.remove(&entry), tree.remove(&entry)),
                2 if step % 50 == 0 => {
                    ours.retain(|entry| entry % 3 != 0);
                    tree.retain(|entry| entry % 3 != 0);
                }
                3 if step % 50 == 0 => assert_eq!(ours.pop_first(), tree.pop_first()),
                _ => assert_eq!(ours.insert(entry), tree.insert(entry)),
            }
            assert_eq!((ours.get(&entry), ours.contains(&entry)), (tree.get(&entry), tree.contains(&entry)));
            assert_eq!((ours.first(), ours.last(), ours.len()), (tree.first(), tree.last(), tree.len()));
            assert!(ours.iter().eq(&tree), "step {step}");
            assert!(
                ours.difference(&few).eq(tree.difference(&few_in_tree))
                    && few.intersection(&ours).eq(few_in_tree.intersection(&tree))
            );
            assert_eq!(
                (few.is_subset(&ours), few.is_disjoint(&ours)),
                (few_in_tree.is_subset(&tree), few_in_tree.is_disjoint(&tree))
            );
        }
        assert_eq!(format!("{ours:?}"), format!("{tree:?}"));
        let json = serde_json::to_string(&ours).unwrap();
        assert_eq!(json, serde_json::to_string(&tree).unwrap());
        assert_eq!(serde_json::from_str::<SortedSet<u32>>(&json).unwrap(), ours);
    }
}
