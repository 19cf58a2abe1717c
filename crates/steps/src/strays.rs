//! Telling of what looks like a service and is none.

use crate::Session;
use crate::project::Project;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::request::BuildRequest;
use monoship_plan::services::Service;
use monoship_plan::strays::{Unreached, strays};
use monoship_workspace::dockerfile::{Slice, Stage};

const HINT: &str = "rename one of the two, add the missing one, or list it under `[images] not-services`";

/// A warning for each in a plan, an error in a release: it would publish the others as if they were all. `slices` are what the services and the
/// base reach.
///
/// # Errors
/// In a release, where there is one.
pub fn tell(
    session: &Session,
    project: &Project,
    request: &BuildRequest,
    services: &[Service],
    slices: &[&Slice<'_>],
) -> Result<()> {
    let dockerfile = &project.dockerfile;
    let reached: SortedSet<usize> = slices.iter().flat_map(|slice| slice.stages()).map(Stage::line).into_set();
    // A named context replaces stages that a Dockerfile has for builds without one.
    let replaced: SortedSet<&String> = slices.iter().flat_map(|slice| slice.contexts()).into_set();
    let named = |stage: &'_ Stage| stage.name().map(str::to_owned);
    let unreached: Vec<(String, &Stage)> = dockerfile
        .stages()
        .iter()
        .filter(|stage| !reached.contains(&stage.line()))
        .filter_map(|stage| Some((named(stage)?, stage)))
        .filter(|(name, _)| !replaced.contains(name) && services.iter().all(|service| service.target != *name))
        .into_vec();
    let targets: SortedMap<&str, &str> =
        dockerfile.stages().iter().filter_map(|stage| Some((stage.name()?, stage.base()))).into_map();
    let unreached: Vec<Unreached<'_>> =
        unreached.iter().map(|(name, stage)| Unreached { name, base: stage.base(), line: stage.line() }).into_vec();
    let none = SortedSet::new();
    let reaches = |name: &str| -> SortedSet<String> {
        let stages = dockerfile.reachable(name, &none).unwrap_or_default();
        stages.into_iter().filter_map(named).into_set()
    };
    let lost = strays(&session.config, &project.packages(), services, &targets, &unreached, reaches);
    if let (true, Some(first)) = (request.release, lost.first()) {
        let more = if lost.len() > 1 { format!(" ({} more)", lost.len() - 1) } else { String::new() };
        return Err(Error::usage(format!("{first}{more}: a release would leave it out")).hint(HINT));
    }
    for stray in &lost {
        session.events.notice(Level::Warning, None, stray.to_string(), Some(HINT.to_owned()));
    }
    Ok(())
}
