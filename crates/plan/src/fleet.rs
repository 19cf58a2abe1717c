//! Where each build of a plan goes: its builder, in what the builder's client is told. Pure, as the assignment is.

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_docker::spec::BuildSpec;
use monoship_fleet::{Build, Node, assign};

use crate::{Plan, TargetPlan};

/// Gives each build of the plan its node; `known` is what the fleet is told of one. The base is built on one of them; what others need of it they read from its cache.
///
/// # Errors
/// A platform that no node has; a build that names no platform where the nodes have different ones.
pub fn place(plan: &mut Plan, nodes: &[Node], known: impl Fn(&BuildSpec) -> Build) -> Result<()> {
    let same = nodes.iter().all(|node| node.platforms.len() == 1 && node.platforms == nodes[0].platforms);
    let mut services: Vec<&mut BuildSpec> =
        plan.services.iter_mut().filter(|service| service.is_built()).flat_map(|service| specs(&mut service.target)).into_vec();
    place_all(&mut services, nodes, &known, same)?;
    let mut base: Vec<&mut BuildSpec> = plan.base.iter_mut().flat_map(specs).into_vec();
    place_all(&mut base, nodes, &known, same)
}

fn specs(target: &mut TargetPlan) -> Vec<&mut BuildSpec> {
    if target.by_platform.is_empty() { vec![&mut target.spec] } else { target.by_platform.iter_mut().into_vec() }
}

fn place_all(specs: &mut [&mut BuildSpec], nodes: &[Node], known: &impl Fn(&BuildSpec) -> Build, same: bool) -> Result<()> {
    let builds: Vec<Build> = specs.iter().map(|spec| known(spec)).into_vec();
    for (spec, at) in specs.iter_mut().zip(assign(nodes, &builds)) {
        if spec.platforms.is_empty() && !same {
            return Err(Error::usage(format!(
                "{} has no platform set, and the nodes of the fleet have different ones",
                spec.task
            ))
            .hint("set what is built: `[images] platforms = [\"linux/amd64\"]` in xtask.toml"));
        }
        let Some(at) = at else {
            let names: Vec<&str> = spec.platforms.iter().map(AsRef::as_ref).into_vec();
            return Err(Error::usage(format!(
                "no node of the fleet has {}, which {} is built for",
                names.join(" and "),
                spec.task
            ))
            .hint("add it to the `platforms` of a node in `[builders] fleet`, also where that node emulates it"));
        };
        spec.builder = Some(nodes[at].builder.clone());
    }
    Ok(())
}
