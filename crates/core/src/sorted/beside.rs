//! Two sequences of one order, walked side by side.

use std::cmp::Ordering;

/// The entries of both in order; those that compare equal come together.
pub fn side_by_side<T>(
    old: impl Iterator<Item = T>,
    new: impl Iterator<Item = T>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => compare(a, b),
        };
        Some((old.next_if(|_| order.is_le()), new.next_if(|_| order.is_ge())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_comes_together() {
        let found: Vec<_> = side_by_side([1, 3, 4].iter(), [2, 3].iter(), Ord::cmp).collect();
        assert_eq!(found, [(Some(&1), None), (None, Some(&2)), (Some(&3), Some(&3)), (Some(&4), None)]);
        assert_eq!(side_by_side([0; 0].iter(), [].iter(), Ord::cmp).next(), None);
    }
}
