//! Sentences that follow from statistics: what costs more than it gives, what gets slower, what grows. Each names the number it
//! rests on and the setting to turn. Pure.

use super::stats::{ServiceStats, TierStats};
use monoship_core::collect::Collect as _;
use monoship_core::text;

/// A build time that grew by this share is told.
const SLOWER: f64 = 0.25;

/// An image that grew by this share is told.
const LARGER: f64 = 0.10;

/// A hit rate below this makes one ask what invalidates the steps.
const LOW_HIT_RATE: f64 = 0.3;

/// Advice on services and tiers that have at least `enough` builds.
pub(super) fn advise(services: &[ServiceStats], tiers: &[TierStats], enough: usize) -> Vec<String> {
    let services = services.iter().filter(|service| service.built.count >= enough).flat_map(on_service);
    let tiers = tiers.iter().filter(|tier| tier.verdicts.values().sum::<usize>() >= enough).flat_map(on_tier);
    services.chain(tiers).into_vec()
}

fn on_service(service: &ServiceStats) -> Vec<String> {
    let mut advice = Vec::new();
    let name = &service.service;
    if let Some(trend) = service.built.trend.filter(|trend| *trend >= SLOWER) {
        advice.push(format!(
            "builds of {name} got {} slower lately; `cargo xtask stats --html stats.html` shows which step",
            percent(trend)
        ));
    }
    if let Some(rate) = service.hit_rate.filter(|rate| *rate < LOW_HIT_RATE) {
        // The base is no service: a plan of all tells of it.
        let tells = if name == "base" {
            "`cargo xtask plan --explain`".to_owned()
        } else {
            format!("`cargo xtask plan --explain {name}`")
        };
        let rate = percent(rate);
        advice.push(format!("only {rate} of {name}'s steps come from a cache; {tells} tells what changes each time"));
    }
    if let (Some(size), Some(growth)) = (service.size, service.growth.and_then(|growth| u64::try_from(growth).ok())) {
        #[expect(clippy::cast_precision_loss, reason = "a share to two digits")]
        let share = growth as f64 / size.saturating_sub(growth).max(1) as f64;
        if share >= LARGER {
            let (grew, size) = (text::bytes(growth), text::bytes(size));
            advice.push(format!("the image of {name} grew by {grew} to {size}; `cargo xtask layers {name}` shows what fills it"));
        }
    }
    advice
}

fn on_tier(tier: &TierStats) -> Vec<String> {
    let mut advice = Vec::new();
    let name = &tier.tier;
    let cost = tier.importing.saturating_add(tier.exporting);
    let time = |ms| text::duration(std::time::Duration::from_millis(ms));
    // Where cached steps were never seen to run, what they saved is not known, and nothing follows from the rest.
    if cost > tier.saved && tier.unmeasured == 0 && tier.hit_rate.is_some() {
        let (cost, saved) = (time(cost), time(tier.saved));
        advice.push(format!(
            "the {name} cache cost {cost} and saved about {saved}; leave it out, or write it from one branch only"
        ));
    }
    let of = |verdict: &str| tier.verdicts.get(verdict).copied().unwrap_or(0);
    let all: usize = tier.verdicts.values().sum();
    if of("missing") * 2 > all {
        advice.push(format!(
            "the {name} cache was missing in {} of {all} builds; is it ever written? `cargo xtask cache warm` fills it",
            of("missing")
        ));
    }
    if of("unreachable") > 0 {
        advice.push(format!("the {name} cache could not be reached in {} of {all} builds", of("unreachable")));
    }
    if tier.failed_exports > 0 {
        advice
            .push(format!("{} writes of caches failed where {name} was used; the run's log has the reason", tier.failed_exports));
    }
    advice
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::stats::Times;
    use super::*;
    use monoship_core::sorted::SortedMap;

    fn service(count: usize) -> ServiceStats {
        ServiceStats {
            service: "api".to_owned(),
            built: Times { count, median: 9_000, p90: 12_000, trend: Some(0.4) },
            unchanged: 0,
            failed: 0,
            hit_rate: Some(0.12),
            size: Some(120_000_000),
            growth: Some(20_000_000),
            skipping_saved: 0,
        }
    }

    fn tier(cost: u64, saved: u64, verdict: &str) -> TierStats {
        TierStats {
            tier: "registry".to_owned(),
            verdicts: SortedMap::from([(verdict.to_owned(), 10)]),
            hit_rate: Some(0.5),
            importing: cost,
            exporting: 0,
            saved,
            unmeasured: 0,
            failed_exports: 0,
        }
    }

    #[test]
    fn what_got_slower_misses_the_cache_or_grew_is_told_with_its_number() {
        let advice = advise(&[service(10)], &[], 5);
        assert_eq!(advice.len(), 3, "{advice:#?}");
        assert!(advice[0].starts_with("builds of api got 40 % slower") && advice[1].starts_with("only 12 % of api's"));
        assert!(advice[2].starts_with("the image of api grew by 20.0 MB to 120 MB"));
        assert!(advise(&[service(4)], &[], 5).is_empty(), "four builds are no ground for advice");
    }

    #[test]
    fn a_tier_that_costs_more_than_it_saves_is_told() {
        assert!(
            advise(&[], &[tier(60_000, 5_000, "used")], 5)[0].starts_with("the registry cache cost 1m 00s and saved about 5.0s")
        );
        assert!(advise(&[], &[tier(5_000, 60_000, "used")], 5).is_empty());
        let unknown = TierStats { unmeasured: 1, ..tier(60_000, 5_000, "used") };
        assert!(advise(&[], &[unknown], 5).is_empty(), "what was never measured is no ground for advice");
        assert!(advise(&[], &[tier(0, 0, "missing")], 5)[0].contains("missing in 10 of 10 builds"));
        assert!(advise(&[], &[tier(0, 0, "unreachable")], 5)[0].contains("could not be reached in 10 of 10"));
    }
}
