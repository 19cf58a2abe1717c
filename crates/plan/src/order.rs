//! In which order services are begun where they cannot all be at once: what takes longest first, or the run would wait for it at the end
//! (Graham's rule: at most 4/3 of the best order's time).

use std::time::Duration;

use monoship_core::collect::Collect as _;
use monoship_core::name::ServiceName;
use monoship_core::sorted::{Order as _, SortedMap};

use crate::ServicePlan;

/// The places of the services in the order in which they are begun. Nobody knows how long one takes that no earlier run built: such come
/// first, the one that needs most packages before the others; then those of `usual`, the longest first.
#[must_use]
pub fn longest_first(services: &[&ServicePlan], usual: &SortedMap<ServiceName, Duration>) -> Vec<usize> {
    let weights: Vec<Weight> = services.iter().map(|service| weight(service, usual)).into_vec();
    by_weight(&weights)
}

/// How much there is to do: what is known weighs less than what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Usual(Duration),
    Packages(usize),
}

fn weight(service: &ServicePlan, usual: &SortedMap<ServiceName, Duration>) -> Weight {
    let packages = || service.target.inputs.contexts.values().map(SortedMap::len).sum();
    usual.get(&service.service.name).map_or_else(|| Weight::Packages(packages()), |took| Weight::Usual(*took))
}

fn by_weight(weights: &[Weight]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..weights.len()).into_vec();
    // Stable: equal ones keep their order.
    places.order_by_key(|at| std::cmp::Reverse(weights[*at]));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_comes_first_and_the_rest_longest_first() {
        let seconds = |seconds| Weight::Usual(Duration::from_secs(seconds));
        let weights = [seconds(3), Weight::Packages(2), seconds(40), Weight::Packages(9), seconds(3)];
        assert_eq!(by_weight(&weights), [3, 1, 2, 0, 4]);
    }
}
