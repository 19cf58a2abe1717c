//! Lists put in order by one sort, which is compiled once: of their places. The standard library's is 1,800 lines of the compiler's own language
//! for each type and each order. Of lists with tens of thousands of entries it is the quicker one.

use std::cmp::Ordering;

/// A list that can be put in order; entries that compare equal stay as they were.
pub trait Order<T> {
    /// By what `compare` says.
    fn order_by(&mut self, compare: impl Fn(&T, &T) -> Ordering);

    /// By a key.
    fn order_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.order_by(|a, b| key(a).cmp(&key(b)));
    }

    /// By itself.
    fn order(&mut self)
    where
        T: Ord,
    {
        self.order_by(T::cmp);
    }
}

impl<T> Order<T> for Vec<T> {
    fn order_by(&mut self, compare: impl Fn(&T, &T) -> Ordering) {
        let places = places(self.len(), &|a, b| compare(&self[a], &self[b]));
        let mut entries = Vec::new();
        for entry in self.drain(..) {
            entries.push(Some(entry));
        }
        for place in places {
            self.extend(entries[place].take());
        }
    }
}

/// The places from 0 to `count` in the order of what stands there.
fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_order_of_a_sort() {
        let mut state = 1_u32;
        for count in 0..200 {
            let mut ours: Vec<(u32, usize)> = Vec::new();
            for at in 0..count {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ours.push(((state >> 16) % 23, at));
            }
            let mut theirs = ours.clone();
            ours.order_by_key(|(key, _)| *key);
            theirs.sort_by_key(|(key, _)| *key);
            assert_eq!(ours, theirs, "equal keys keep their order");
            ours.order_by(|a, b| b.cmp(a));
            assert!(ours.is_sorted_by(|a, b| a >= b));
            ours.order();
            assert!(ours.is_sorted());
        }
    }
}
