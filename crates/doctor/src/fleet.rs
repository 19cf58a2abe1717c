//! The nodes of the fleet: does each answer, can it build for what it is asked to, does it build, and is its clock right? Images and caches
//! are pushed with the caller's credentials, which the registry's check looks at.

use std::time::Duration;

use super::{Checkup, Finding, Severity};
use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_docker::engine::existing;
use monoship_fleet::Node;
use monoship_steps::fleet::{NodeState, look, trial};

/// A build's times are told to a moment; the way to a node takes less.
const TOLERATED: Duration = Duration::from_secs(30);

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let nodes = &checkup.config.fleet;
    // Without clients nobody can be asked; that is the engine's finding.
    let Ok(Some(engine)) = &checkup.engine else { return Vec::new() };
    let buildx = |node: &Node| existing::for_builder(engine.buildx(), &checkup.env, &node.builder);
    let states = in_parallel(nodes, |node| look(&buildx(node), node, &checkup.shutdown));
    let alone = states.iter().all(|state| state.problem.is_some());
    let asked: Vec<(&Node, &NodeState)> = nodes.iter().zip(&states).into_vec();
    in_parallel(&asked, |(node, state)| {
        let found = finding(node, state, alone);
        if found.severity != Severity::Good {
            return found;
        }
        tried(node, trial(&buildx(node), node, &checkup.shutdown)).unwrap_or(found)
    })
}

/// What is wrong with a node that answers, by an image of nothing that was built on it.
fn tried(node: &Node, trial: Result<Option<Duration>, String>) -> Option<Finding> {
    let name = &node.builder;
    match trial {
        Err(why) => {
            let fix = format!("`docker buildx du --builder {name}` shows what fills its disk; its own log says more");
            Some(Finding::warning("node-builds-nothing", format!("node {name} answers, but cannot build: {why}"), fix))
        }
        Ok(Some(off)) if off > TOLERATED => {
            let what = format!("node {name}: its clock is {} s off this machine's", off.as_secs());
            Some(Finding::warning(
                "node-clock",
                what,
                "set it there, or turn its synchronisation on: tokens and certificates are held to it",
            ))
        }
        Ok(_) => None,
    }
}

/// `alone`: no other node answers either.
fn finding(node: &Node, state: &NodeState, alone: bool) -> Finding {
    let name = &node.builder;
    let what = state.problem.as_ref().map(|problem| format!("node {name}: {problem}"));
    let lacks = state.answer.lacks(node.platforms.iter().map(AsRef::as_ref)).join(" and ");
    let found = match what {
        Some(what) if what.contains(": no builder ") => {
            let fix = format!("`docker buildx create --name {name} …`, or take it out of `[builders] fleet`");
            Finding::warning("node-missing", what, fix)
        }
        Some(what) => {
            let fix =
                format!("`docker buildx inspect {name}`: check that it is on, and that its address and certificates are right");
            Finding::warning("node-unreachable", what, fix)
        }
        None if !lacks.is_empty() => {
            let fix = format!("name what `docker buildx inspect {name}` lists, or install the emulator there");
            let what = format!("node {name} cannot build for {lacks}, which `[builders] fleet` lists for it");
            return Finding::warning("node-platforms", what, fix);
        }
        None => {
            let places = state.answer.places.iter().map(|place| format!("{} {}", place.endpoint, place.version));
            let places: Vec<String> = places.into_vec();
            return Finding::good(format!("node {name}: {}, {}", state.answer.driver, places.join(", ")));
        }
    };
    if alone { Finding { severity: Severity::Problem, ..found } } else { found }
}
