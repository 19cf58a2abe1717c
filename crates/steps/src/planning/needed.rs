//! Services that others are built from: who is in the plan for their sake, and where an image can be handed from one build to the next.

use super::{Candidate, Decided, Planner};
use crate::{Session, given};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::name::ServiceName;
use monoship_core::sorted::SortedSet;
use monoship_docker::engine::existing;
use monoship_plan::Decision;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_plan::services::Service;

/// Who is in a plan.
pub(super) struct Needed {
    /// The services that are wanted, and those that they are built from.
    pub wanted: SortedSet<ServiceName>,
    /// The services that wanted ones are built from.
    pub sources: SortedSet<ServiceName>,
}

/// The services that are wanted, with all that they are built from; `given` is what is given to each.
pub(super) fn needed(
    session: &Session,
    request: &BuildRequest,
    services: &[Service],
    given: &[given::Resolved],
    is_wanted: impl Fn(&Service) -> bool,
) -> Needed {
    let from = |name: &ServiceName| {
        let at = services.iter().position(|service| service.name == *name);
        at.map(|at| given[at].services.values().cloned().into_vec()).unwrap_or_default()
    };
    let mut open: Vec<ServiceName> =
        services.iter().filter(|service| is_wanted(service)).map(|service| service.name.clone()).into_vec();
    if request.warms.is_some() {
        // It makes no image that another could be built from.
        let (left_out, warmed): (Vec<_>, Vec<_>) = open.into_iter().partition(|name| !from(name).is_empty());
        for name in left_out {
            let message = format!("{name} is left out: it is built from the image of {}, and no image is made", from(&name)[0]);
            session.events.notice(Level::Info, None, message, None);
        }
        open = warmed;
    }
    let (mut wanted, mut sources) = (SortedSet::new(), SortedSet::new());
    while let Some(name) = open.pop() {
        let from = from(&name);
        if wanted.insert(name) {
            sources.extend(from.iter().cloned());
            open.extend(from);
        }
    }
    Needed { wanted, sources }
}

impl Planner<'_> {
    /// Refuses to build what is built from another service's image where that would be nowhere to be had from.
    pub(super) fn check_sources(&self, candidates: &[Candidate], decided: &[Decided]) -> Result<()> {
        let built = candidates.iter().zip(decided).filter(|(_, (decision, _))| matches!(decision, Decision::Build { .. }));
        let mut needy = built.filter_map(|(candidate, _)| Some((candidate, candidate.given.services.values().next()?)));
        let (Some((candidate, from)), Some(why)) = (needy.next(), self.has_no_place()) else { return Ok(()) };
        let error = Error::usage(format!("`{}` is built from the image of `{from}`, and {why}", candidate.service.name))
            .hint("push them, with --push: then it comes from the registry; or build on the engine's own builder");
        if !self.look {
            return Err(error);
        }
        self.session.events.notice(Level::Warning, None, error.to_string(), error.hint_text().map(str::to_owned));
        Ok(())
    }

    /// Why the builder of one service does not find another's image; none where it does.
    fn has_no_place(&self) -> Option<String> {
        match &self.request.destination {
            Destination::Registry(_) => return None,
            Destination::Output(output) if !output.split(',').any(|field| field == "type=cacheonly") => {
                return Some(format!("`--output {output}` puts that where no builder finds it"));
            }
            Destination::Output(_) | Destination::Engine(_) => {}
        }
        if !self.session.config.fleet.is_empty() {
            return Some("the nodes of a fleet have no images in common".to_owned());
        }
        let builder = self.other_builder()?;
        Some(format!("the builder `{builder}` does not see the images that are loaded into the engine"))
    }

    /// The builder that is not the engine's own, where one builds.
    pub(super) fn other_builder(&self) -> Option<String> {
        let named = self.session.config.builder.as_deref();
        if named.is_none() && self.engine.is_some_and(monoship_docker::engine::Engine::is_embedded) {
            return None;
        }
        existing::without_store(&self.session.env, named)
    }
}
