//! What stands already: in the engine or in the registry, under this run's names or under a content tag. What does not is built, for a reason.

use super::{Candidate, Decided, Planner, image_store, keeps_no_images};
use crate::proof::{self, Standing as Found, Wanted};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::Level;
use monoship_core::execute::cores;
use monoship_core::name::{Digest, ImageRef, ServiceName, Tag};
use monoship_core::sorted::SortedMap;
use monoship_plan::Decision;
use monoship_plan::explain::{Reason, explain};
use monoship_plan::fingerprint::Inputs;
use monoship_plan::request::Destination;

/// An image that is already where it belongs.
struct Standing {
    digest: Digest,
    /// In bytes, where known.
    size: Option<u64>,
    /// Names of this run that it has not.
    renames: Vec<ImageRef>,
}

impl Planner<'_> {
    /// Build or skip, for each service in its order. Every place is asked at once.
    pub(super) fn decide(&self, candidates: &[Candidate]) -> Result<Vec<Decided>> {
        let mut unproven = SortedMap::new();
        let standing = match &self.request.destination {
            Destination::Output(_) => candidates.iter().map(|_| None).into_vec(),
            Destination::Engine(tags) => self.standing_in_engine(candidates, tags)?,
            Destination::Registry(_) => self.standing_in_registry(candidates, &mut unproven)?,
        };
        let state = self.session.state();
        let decisions = candidates.iter().zip(standing).map(|(candidate, standing)| {
            let wanted = self.request.force || self.request.no_cache || state.is_cleared(&candidate.service.name);
            match standing {
                Some(Standing { digest, size, renames }) if !wanted => (Decision::Skip { digest, size }, renames),
                _ if !wanted && unproven.contains_key(&candidate.service.name) => {
                    let why = unproven[&candidate.service.name].clone();
                    (Decision::Build { reasons: vec![Reason::Unproven { why }] }, Vec::new())
                }
                _ => (Decision::Build { reasons: self.reasons(&state, candidate) }, Vec::new()),
            }
        });
        Ok(decisions.into_vec())
    }

    fn reasons(&self, state: &monoship_report::record::State, candidate: &Candidate) -> Vec<Reason> {
        let Candidate { service, inputs, fingerprint, .. } = candidate;
        if let Some(reasons) = self.affected.and_then(|affected| affected.reasons(&service.name)) {
            return reasons;
        }
        if self.request.warms.is_some() {
            return vec![Reason::Warming];
        }
        if self.request.force {
            return vec![Reason::Forced];
        }
        if self.request.no_cache {
            return vec![Reason::NoCache];
        }
        if state.is_cleared(&service.name) {
            return vec![Reason::Cleared];
        }
        let Some((before, recorded)) = state.inputs(&service.name) else { return vec![Reason::NeverBuilt] };
        let built = state.find(&service.name, fingerprint);
        if before == *fingerprint || built.is_some() {
            let named = built.and_then(|build| build.images.iter().find_map(|name| name.parse::<ImageRef>().ok()));
            let (before, after) = (named.map(|name| name.without_reference()), candidate.image.without_reference());
            if let Some(before) = before.filter(|before| *before != after) {
                return vec![Reason::Place { before: before.familiar(), after: after.familiar() }];
            }
            return vec![match &self.request.destination {
                Destination::Engine(_) if self.engine.is_none() => Reason::NoEngine,
                Destination::Engine(_) => Reason::ImageGone { place: "the engine".to_owned() },
                Destination::Registry(_) => Reason::ImageGone { place: "the registry".to_owned() },
                Destination::Output(output) => Reason::NotKept { output: output.clone() },
            }];
        }
        let reasons = Inputs::from_record(recorded).map(|before| explain(&before, inputs)).unwrap_or_default();
        if reasons.is_empty() { vec![Reason::RecordUnreadable] } else { reasons }
    }

    /// An image stands in the engine when a build of these inputs is remembered and each of its names still is that image, or when it is
    /// there under its content tag: whoever built it, in this working tree or another. Then the names are put on it again.
    fn standing_in_engine(&self, candidates: &[Candidate], tags: &[Tag]) -> Result<Vec<Option<Standing>>> {
        let state = self.session.state();
        let tagged = |candidate: &'_ Candidate| tags.iter().map(|tag| candidate.image.with_tag(tag.clone())).into_vec();
        let names: Vec<ImageRef> = candidates.iter().flat_map(tagged).into_vec();
        let nothing = || candidates.iter().map(|_| None).into_vec();
        let Some(engine) = self.engine else { return Ok(nothing()) };
        let store = image_store(self.session, engine);
        let ids = match store.ids(&names) {
            // A builder by name need not have a Docker beside it.
            Err(error) if engine.engine_version.is_none() && !error.is_cancelled() => {
                return if self.look { Ok(nothing()) } else { Err(keeps_no_images(self.session, &error)) };
            }
            ids => ids?,
        };
        let asked: Vec<_> = candidates.iter().zip(ids.chunks(tags.len().max(1))).into_vec();
        let mut standing = cores::map(&asked, |(candidate, ids)| {
            let build = state.find(&candidate.service.name, &candidate.fingerprint)?;
            let (digest, size) = (build.digest?, build.size);
            ids.iter().all(|id| id.as_ref() == Some(&digest)).then_some(Standing { digest, size, renames: Vec::new() })
        });
        let open: Vec<usize> = (0..candidates.len()).filter(|at| standing[*at].is_none()).into_vec();
        let contents: Vec<ImageRef> = open.iter().map(|at| candidates[*at].content()).into_vec();
        // The question costs as much for none as for all.
        let found = if contents.is_empty() { Vec::new() } else { store.ids(&contents)? };
        for ((at, content), id) in open.into_iter().zip(&contents).zip(found) {
            let Some(digest) = id else { continue };
            let size = store.inspect(content)?.map(|image| image.size);
            standing[at] = Some(Standing { digest, size, renames: tagged(&candidates[at]) });
        }
        Ok(standing)
    }

    /// An image stands in the registry when its content tag does, with proof: that holds for every machine.
    fn standing_in_registry(
        &self,
        candidates: &[Candidate],
        unproven: &mut SortedMap<ServiceName, String>,
    ) -> Result<Vec<Option<Standing>>> {
        let wanted = candidates.iter().map(|candidate| Wanted {
            service: &candidate.service.name,
            fingerprint: &candidate.fingerprint,
            image: candidate.image.with_tag(candidate.fingerprint.content_tag()),
        });
        let wanted: Vec<Wanted<'_>> = wanted.into_vec();
        let found = match proof::standing(self.session, &wanted, self.request.release) {
            Err(error) if self.look && !error.is_cancelled() => {
                let message = format!("cannot tell which images the registry holds: {error}");
                self.session.events.notice(Level::Info, None, message, None);
                return Ok(candidates.iter().map(|_| None).into_vec());
            }
            found => found?,
        };
        let standing = wanted.iter().zip(found).map(|(one, found)| match found {
            Found::Proven(digest) => Some(Standing { digest, size: None, renames: Vec::new() }),
            Found::Absent => None,
            Found::Unproven(why) => {
                unproven.insert(one.service.clone(), why);
                None
            }
        });
        Ok(standing.into_vec())
    }
}
