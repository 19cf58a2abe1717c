//! Properties of the assignment and of runs over random fleets. `XTASK_SEED=7 cargo test --test fleet simulated` begins from another seed.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use monoship_fleet::{BOUND, Build, Node, assign, loads, preferred};

use support::engine::environment;
use support::random::Random;
use support::simulation::{Outage, Scenario, fleet, float, services};

/// How many random fleets each test looks at.
const FLEETS: u64 = 60;

/// Numbers for each of a test's fleets; what is printed brings a failing one back.
fn seeds() -> impl Iterator<Item = Random> {
    let first: u64 = environment().get("XTASK_SEED").and_then(|text| text.parse().ok()).unwrap_or(1);
    (first..first + FLEETS).map(|seed| {
        println!("XTASK_SEED={seed}");
        Random(seed)
    })
}

/// Some nodes of different weights, and services.
fn random_fleet(random: &mut Random) -> (Vec<Node>, Vec<Build>, Vec<Duration>) {
    let count = 2 + random.below(12);
    let node = |at: usize| {
        let (weight, builds) = (1 + random.below(4), 1 + random.below(4));
        let node = Node::new(format!("node-{at}"), vec!["linux/amd64".parse().unwrap()]);
        node.weight(NonZeroU32::new(u32::try_from(weight).unwrap()).unwrap()).builds(NonZeroUsize::new(builds).unwrap())
    };
    let nodes: Vec<Node> = (0..count).map(node).collect();
    let many = 1 + random.below(120);
    let (builds, takes) = services(many, random);
    (nodes, builds, takes)
}

fn placed(builds: &[Build], places: &[Option<usize>], nodes: &[Node]) -> Vec<Build> {
    let known = builds.iter().zip(places);
    known.map(|(build, at)| Build { last: at.map(|at| nodes[at].builder.clone()), ..build.clone() }).collect()
}

#[test]
fn a_node_that_comes_or_goes_changes_no_preference_between_the_others() {
    for mut random in seeds() {
        let (nodes, builds, _) = random_fleet(&mut random);
        let gone = random.below(nodes.len());
        let left: Vec<Node> = nodes.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, node)| node.clone()).collect();
        for build in &builds {
            let with: Vec<&str> = preferred(&nodes, &[], &build.key).iter().map(|at| nodes[*at].builder.as_str()).collect();
            let without: Vec<&str> = preferred(&left, &[], &build.key).iter().map(|at| left[*at].builder.as_str()).collect();
            assert!(with.iter().filter(|name| **name != nodes[gone].builder).eq(without.iter()), "{with:?} {without:?}");
        }
    }
}

#[test]
fn a_node_gets_keys_by_its_weight() {
    let nodes = fleet(4);
    let mut had = [0; 4];
    for key in 0..6_000 {
        had[preferred(&nodes, &[], &format!("service-{key}"))[0]] += 1;
    }
    // Weights 2, 1, 1, 2.
    for (at, expected) in [2_000, 1_000, 1_000, 2_000].into_iter().enumerate() {
        assert!(had[at] > expected * 9 / 10 && had[at] < expected * 11 / 10, "{had:?}");
    }
}

#[test]
fn no_node_is_above_its_bound_while_another_has_nothing() {
    let mut above = 0;
    for mut random in seeds() {
        let (nodes, builds, _) = random_fleet(&mut random);
        let places = assign(&nodes, &builds);
        let loads = loads(&nodes, &builds, &places);
        let idle = loads.iter().any(|load| load.given <= 0.0);
        for (at, load) in loads.iter().enumerate() {
            let several = places.iter().filter(|place| **place == Some(at)).count() > 1;
            // One build cannot be divided.
            let is_above = load.given > BOUND * load.share;
            assert!(!(idle && several && is_above), "node {at} of {loads:?}");
            above += usize::from(is_above);
        }
    }
    assert!(above > 0, "the bound was never reached: nothing was tested");
}

#[test]
fn a_node_that_goes_moves_its_own_share_and_one_that_comes_takes_at_most_half_as_much_again_as_its_own() {
    let (mut moved_to_new, mut fair) = (0.0, 0.0);
    for mut random in seeds() {
        let (nodes, builds, _) = random_fleet(&mut random);
        let places = assign(&nodes, &builds);
        let known = placed(&builds, &places, &nodes);
        let gone = random.below(nodes.len());
        let left: Vec<Node> = nodes.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, node)| node.clone()).collect();
        for ((build, before), after) in known.iter().zip(&places).zip(assign(&left, &known)) {
            let after = after.map(|at| left[at].builder.as_str());
            assert!(*before == Some(gone) || after == build.last.as_deref(), "{} moved to {after:?}", build.key);
        }
        let mut more = nodes.clone();
        more.push(Node::new("node-new", vec!["linux/amd64".parse().unwrap()]));
        let after = assign(&more, &known);
        let moved =
            known.iter().zip(&after).filter(|(build, at)| build.last.as_deref() != at.map(|at| more[at].builder.as_str()));
        moved_to_new += float(moved.count());
        let weights: u32 = more.iter().map(|node| node.weight.get()).sum();
        fair += float(builds.len()) / f64::from(weights);
    }
    assert!(moved_to_new <= 1.5 * fair, "{moved_to_new} moved, {fair} would be fair");
}

#[test]
fn whatever_is_lost_every_build_is_built_once_and_only_what_was_lost_moves() {
    let (mut lost, mut taken_over) = (0, 0);
    for mut random in seeds() {
        let (nodes, builds, takes) = random_fleet(&mut random);
        let count = builds.len();
        let whole = Scenario { nodes, builds, takes, outages: Vec::new() };
        let length = whole.lower_bound();
        // One node stays.
        let outages = (1..whole.nodes.len()).filter(|_| random.below(2) == 0).collect::<Vec<_>>();
        let outage = |node: usize| {
            let from = length.mul_f64(float(random.below(120)) / 100.0);
            Outage { node, from, until: from + length.mul_f64(float(random.below(100)) / 50.0) }
        };
        let scenario = Scenario { outages: outages.into_iter().map(outage).collect(), ..whole };
        let ran = scenario.run();
        assert_eq!(ran.wrong, [""; 0]);
        assert!(ran.given_up.is_empty() && ran.built_on.iter().all(Option::is_some), "{ran:?}");
        assert_eq!(ran.built_on.len(), count);
        lost += ran.moved.0;
        taken_over += ran.moved.1;
    }
    assert!(lost > 100 && taken_over > 100, "{lost} lost, {taken_over} taken over: nothing was tested");
}

#[test]
fn a_thousand_services_on_fifty_nodes_take_little_longer_than_they_must() {
    for seed in 1..=3 {
        let mut random = Random(seed);
        let (builds, takes) = services(1_000, &mut random);
        let outages = |lost: usize, length: Duration| {
            let outage = |at: usize| {
                let from = length.mul_f64(float(10 + at * 8) / 100.0);
                Outage { node: at * 7, from, until: from + length.mul_f64(if at.is_multiple_of(2) { 9.0 } else { 0.2 }) }
            };
            (0..lost).map(outage).collect::<Vec<_>>()
        };
        let whole = Scenario { nodes: fleet(50), builds: builds.clone(), takes: takes.clone(), outages: Vec::new() };
        let (first, length) = (whole.run(), whole.lower_bound());
        let known = builds.iter().zip(&first.built_on);
        let known: Vec<Build> =
            known.map(|(build, at)| Build { last: at.map(|at| whole.nodes[at].builder.clone()), ..build.clone() }).collect();
        for (lost, builds) in [(0, &builds), (5, &builds), (0, &known), (5, &known)] {
            let scenario = Scenario { outages: outages(lost, length), builds: builds.clone(), ..whole.clone() };
            let ran = scenario.run();
            assert_eq!(ran.wrong, [""; 0]);
            let ratio = ran.makespan.as_secs_f64() / scenario.lower_bound().max(ran.again).as_secs_f64();
            assert!(ratio <= 1.15, "seed {seed}, {lost} lost, known: {}: {ratio}", builds[0].last.is_some());
            let is_home =
                |(build, at): &(&Build, &Option<usize>)| build.last.as_deref() == at.map(|at| whole.nodes[at].builder.as_str());
            let home = builds.iter().zip(&ran.built_on).filter(is_home).count();
            assert!(builds[0].last.is_none() || lost > 0 || home >= 950, "{home} of 1,000 are built where their cache is");
        }
    }
}

#[test]
fn where_every_node_is_gone_builds_are_given_up_and_the_run_ends() {
    for mut random in seeds() {
        let (nodes, builds, takes) = random_fleet(&mut random);
        let from = Duration::from_secs(random.below(3) as u64 * 20);
        let outages = (0..nodes.len()).map(|node| Outage { node, from, until: Duration::from_secs(1_000_000) }).collect();
        let ran = Scenario { nodes, builds, takes, outages }.run();
        assert_eq!(ran.wrong, [""; 0]);
        let built = ran.built_on.iter().filter(|at| at.is_some()).count();
        assert_eq!(built + ran.given_up.len(), ran.built_on.len());
        for given_up in &ran.given_up {
            assert!(ran.built_on[given_up.build].is_none());
            assert!(given_up.why.iter().all(|(_, why)| !why.is_empty()), "{given_up:?}");
        }
    }
}
