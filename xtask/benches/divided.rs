//! How well a fleet divides services whose times this tool recorded, on a simulated clock.

use std::time::{Duration, Instant};

use monoship_fleet::assign;

use super::measure::verdict;
use support::random::Random;
use support::simulation::{Outage, Scenario, Simulated, fleet, float, services};

/// The longest a run may take, as a multiple of what no order comes below.
const MOST: f64 = 1.15;

/// How many draws of services and outages each row is of.
const DRAWS: u64 = 21;

/// Prints the table from a seed on, and says whether what is promised holds.
pub fn holds(seed: u64) -> bool {
    println!("## Divided, on a simulated clock (medians of {DRAWS} draws from seed {seed} on)\n");
    println!(
        "| services | nodes | lost | what is known | longest | work | bound | makespan | ratio | worst | losses not counted | moved by loss | taken over | at home |"
    );
    println!("|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut missed = Vec::new();
    for (count, nodes, lost) in [(12, 3, 0), (12, 3, 1), (100, 10, 2), (1_000, 50, 0), (1_000, 50, 5), (1_000, 50, 25)] {
        for places in [false, true] {
            let drawn: Vec<Drawn> = (seed..seed + DRAWS).map(|seed| drawn(seed, count, nodes, lost, places)).collect();
            let ratio = row(count, nodes, lost, places, &drawn);
            // Few long builds on few nodes: no order is near the bound.
            if count == 1_000 && ratio > MOST {
                missed.push(format!("{lost} lost, places {}: {ratio:.3}", if places { "known" } else { "not known" }));
            }
        }
    }
    println!();
    let divided = verdict(
        missed.is_empty(),
        &format!("1,000 services on 50 nodes take at most {MOST} times the bound {}", missed.join("; ")),
    );
    divided & linear(seed)
}

/// A scenario that was run.
struct Drawn {
    scenario: Scenario,
    ran: Simulated,
    at_home: f64,
}

/// Services on a fleet of which some nodes go, at different moments, and half of those come back. `places`: the same services were built
/// the day before, so that every node has what it built then.
fn drawn(seed: u64, count: usize, nodes: usize, lost: usize, places: bool) -> Drawn {
    let mut random = Random(seed);
    let (builds, takes) = services(count, &mut random);
    let mut scenario = Scenario { nodes: fleet(nodes), builds, takes, outages: Vec::new() };
    if places {
        let before = scenario.run();
        for (build, node) in scenario.builds.iter_mut().zip(before.built_on) {
            build.last = node.map(|node| scenario.nodes[node].builder.clone());
        }
    }
    let length = scenario.lower_bound();
    let outage = |at: usize| {
        let from = length.mul_f64(float(10 + random.below(60)) / 100.0);
        let until = if at.is_multiple_of(2) { Duration::from_secs(1_000_000) } else { from + length.mul_f64(0.2) };
        Outage { node: at * nodes / lost.max(1), from, until }
    };
    scenario.outages = (0..lost).map(outage).collect();
    let ran = scenario.run();
    assert!(ran.wrong.is_empty(), "{:?}", ran.wrong);
    assert!(ran.given_up.is_empty() && ran.built_on.iter().all(Option::is_some));
    let homes = assign(&scenario.nodes, &scenario.builds);
    let home = homes.iter().zip(&ran.built_on).filter(|(home, built)| home == built).count();
    Drawn { at_home: float(home) / float(count), scenario, ran }
}

/// Prints a row, and hands back the median of the ratios.
fn row(count: usize, nodes: usize, lost: usize, places: bool, drawn: &[Drawn]) -> f64 {
    let sorted = |of: &dyn Fn(&Drawn) -> f64| {
        let mut all: Vec<f64> = drawn.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let median = |of: &dyn Fn(&Drawn) -> f64| sorted(of)[drawn.len() / 2];
    let bound = |one: &Drawn| one.scenario.lower_bound().as_secs_f64();
    let least = |one: &Drawn| bound(one).max(one.ran.again.as_secs_f64());
    let ratio = |one: &Drawn| one.ran.makespan.as_secs_f64() / least(one);
    println!(
        "| {count} | {nodes} | {lost} | {} | {:.0} s | {:.0} s | {:.0} s | {:.0} s | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} % |",
        if places { "times and places" } else { "times" },
        median(&|one| one.scenario.longest().as_secs_f64()),
        median(&|one| one.scenario.work().as_secs_f64()),
        median(&least),
        median(&|one| one.ran.makespan.as_secs_f64()),
        median(&ratio),
        sorted(&ratio).last().copied().unwrap_or_default(),
        median(&|one| one.ran.makespan.as_secs_f64() / bound(one)),
        median(&|one| float(one.ran.moved.0)),
        median(&|one| float(one.ran.moved.1)),
        100.0 * median(&|one| one.at_home)
    );
    median(&ratio)
}

/// Whether ten times as many services take about ten times as long to place.
fn linear(seed: u64) -> bool {
    println!("\n| services | placed on 50 nodes, ms of processor time |\n|---:|---:|");
    let [one, ten] = [1_000, 10_000].map(|count| {
        let (builds, _) = services(count, &mut Random(seed));
        let nodes = fleet(50);
        let times = (0..9).map(|_| {
            let began = Instant::now();
            assert!(assign(&nodes, &builds).iter().all(Option::is_some));
            began.elapsed()
        });
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        println!("| {count} | {:.1} |", times[4].as_secs_f64() * 1e3);
        times[4]
    });
    println!();
    let more = ten.saturating_sub(one * 10);
    verdict(more <= Duration::from_millis(200), "10,000 services take at most 0.2 s more than ten times 1,000")
}
