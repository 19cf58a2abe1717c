//! The planning stage: what goes into each image, whether it stands already, which caches can be used; in the end one plan.
//! Asks; builds nothing.

mod compared;
mod needed;
mod standing;

use crate::bases::{self, Bases};
use crate::inputs;
use crate::mounts::{Asking, Wanted};
use crate::project::Project;
use crate::{
    Session, caches, configuration, contexts, fleet, frontend, given, identity, marks, outputs, sent, since, sources, sparse,
    strays, twice,
};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Level, Task};
use monoship_core::execute::cores;
use monoship_core::execute::http::is_loopback;
use monoship_core::name::{Fingerprint, ImageRef, Platform, ServiceName, Tag};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::capability::Capabilities;
use monoship_docker::engine::{Engine, ca_bundle};
use monoship_docker::mark::Mark;
use monoship_docker::spec::{BuildSpec, Output, SecretValue};
use monoship_docker::store::ImageStore;
use monoship_plan::affected::Affected;
use monoship_plan::built_from;
use monoship_plan::cache::{CachePlan, Facts, Scoped, resolve};
use monoship_plan::config::{Provenance, Sbom};
use monoship_plan::fingerprint::Inputs;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_plan::services::{Service, discover, no_target, select};
use monoship_plan::{Decision, Plan, ServicePlan, TargetPlan, steps};
use monoship_workspace::dockerfile::Slice;

/// What a plan is made from.
pub struct Ground {
    /// The monorepo.
    pub project: Project,
    /// None where nobody answers, and the run only looks.
    pub engine: Option<Engine>,
    /// The images that services start from.
    pub bases: Bases,
}

/// Makes the plan of a request.
///
/// # Errors
/// Unknown services or targets, a push without a registry, and whatever cannot be read or asked.
pub fn plan(session: &Session, ground: &Ground, request: &BuildRequest, look: bool) -> Result<Plan> {
    let Ground { project, engine, bases } = ground;
    let (engine, config) = (engine.as_ref(), &session.config);
    // Without an engine it is planned for one of today.
    let capabilities = engine.map_or_else(Capabilities::current, |engine| engine.capabilities);
    let names: Vec<&str> = project.dockerfile.targets().into_vec();
    if !names.contains(&config.base_target.as_str()) {
        return Err(no_target(&config.base_target, &config.images.dockerfile, &names));
    }
    let all = discover(config, &project.packages(), &names).map_err(|error| {
        let list = project.root.join("pnpm-workspace.yaml");
        let missing = || Error::usage(format!("{} is missing: without it no folder is a package", list.display()));
        if list.exists() { error } else { missing().hint("write it: `packages:`, then a line `  - apps/*`") }
    })?;
    let beside =
        all.iter().filter(|service| request.beside.contains(&service.name)).map(|service| service.target.clone()).into_vec();
    let every = all.clone();
    let services = built_from::complete(&every, select(all, &request.services)?);
    outputs::check(session, request, &services)?;
    let images = services.iter().map(|service| image(session, request, service)).collect::<Result<Vec<_>>>()?;
    let cut = contexts::plan(project, &services)?;
    cut.warn(session);
    let mut targets = inputs::of_services(session, request, &services, &cut);
    targets.push(inputs::of_base(session, request));
    let views = inputs::views(project, &services);
    let cut_out: Vec<_> = targets.iter().zip(&views).into_vec();
    let mut slices = cores::try_map(&cut_out, |(target, view)| Ok(bases.with_triggers(target.slice(view)?)))?;
    sources::see_triggers(&services, &mut slices);
    let slices = slices;
    sparse::check(session, project, request, &cut, (&views, &slices))?;
    // What is wrong with the repository comes before what is wrong with this machine.
    if request.services.is_empty() {
        let of_shared = slices.iter().zip(&views).filter(|(_, view)| std::ptr::eq(**view, project)).map(|(slice, _)| slice);
        strays::tell(session, project, request, &every, &of_shared.into_vec())?;
        twice::tell(session, project, &every);
    }
    // A registry on this machine is for this machine, as stand-ins are.
    let for_others =
        request.release || !config.images.prefix.as_ref().is_some_and(|prefix| is_loopback(host_of(prefix.registry())));
    if request.pushes() && for_others && bases.has_stand_ins() && !request.allow_stand_ins {
        let what = if request.release { "a release" } else { "what is pushed for others" };
        return Err(Error::failed(format!("{what} cannot be built on stand-in base images"))
            .hint("run it where Docker Hub can be reached, or pass --allow-stand-ins"));
    }
    let sliced = inputs::Sliced { targets: &targets, slices: &slices, views: &views };
    let mut gathered = inputs::gather(session, project, capabilities, request, &sliced, bases)?;
    sent::tell(session, project, request, &gathered)?;
    let base_inputs = gathered.pop().ok_or_else(|| Error::failed("nothing was gathered"))?;
    let looked_up = targets.iter().zip(&slices).map(|(target, slice)| given::resolve(session, project, bases, target, slice));
    let mut looked_up: Vec<given::Resolved> = looked_up.into_vec();
    let base_given = looked_up.pop().unwrap_or_default();
    if request.services.is_empty() {
        given::warn_unused(session, targets.iter().map(|target| target.given).zip(&slices));
    }
    let (affected, before) = match &request.since {
        Some(since) => {
            let after = services.iter().map(|service| service.name.clone()).zip(gathered.iter().cloned()).into_map();
            let (affected, before) = since::compare(session, project, capabilities, request, bases, since, &after)?;
            (Some(affected), before)
        }
        None => (None, SortedMap::new()),
    };
    let is_wanted = |service: &Service| {
        request.unaffected_too || affected.as_ref().is_none_or(|affected| affected.reasons(&service.name).is_some())
    };
    let needed = needed::needed(session, request, &services, &looked_up, is_wanted);
    let fingerprints = cores::map(&gathered, Inputs::fingerprint);
    let (mut candidates, mut chosen_slices) = (Vec::new(), Vec::new());
    let all = services.into_iter().zip(images).zip(looked_up).zip(gathered.into_iter().zip(fingerprints)).zip(&slices);
    for ((((service, image), given), (inputs, fingerprint)), slice) in all {
        if needed.wanted.contains(&service.name) {
            candidates.push(Candidate { service, image, inputs, fingerprint, given });
            chosen_slices.push(slice);
        }
    }
    let affected_by = affected.as_ref();
    let owner = request.pushes().then(|| marks::owner(session)).transpose()?;
    let sources = needed.sources;
    let planner =
        Planner { session, project, engine, capabilities, request, bases, affected: affected_by, beside, sources, look, owner };
    let decided = planner.decide(&candidates)?;
    planner.check_given(&candidates, &decided)?;
    planner.check_contexts(&candidates, &decided, &cut)?;
    planner.check_sources(&candidates, &decided)?;
    let mut plan = planner.assemble(candidates, decided, (base_inputs, base_given), &cut, &chosen_slices);
    plan.point_to_images();
    for (service, slice) in plan.services.iter_mut().zip(chosen_slices).filter(|(service, _)| service.is_built()) {
        let name = &service.service.name;
        let known = last_inputs(session, name).or_else(|| before.get(name).cloned());
        service.target.changes = known.map(|known| steps::changes(slice, &known, &service.target.inputs));
    }
    compared::tell(session, &mut plan);
    if let (Some(base), Some(slice)) = (&mut plan.base, slices.last()) {
        base.changes = last_inputs(session, &base_key()).map(|known| steps::changes(slice, &known, &base.inputs));
    }
    fleet::place(session, &mut plan)?;
    Ok(Plan { affected, ..plan })
}

/// What went into the newest build, where that is known.
fn last_inputs(session: &Session, service: &ServiceName) -> Option<Inputs> {
    session.state().inputs(service).and_then(|(_, recorded)| Inputs::from_record(recorded))
}

/// The image's name without tag.
fn image(session: &Session, request: &BuildRequest, service: &Service) -> Result<ImageRef> {
    if request.pushes() && session.config.images.prefix.is_none() {
        return Err(no_registry());
    }
    session.config.images.image(&service.name)
}

/// A push that has nowhere to go.
pub fn no_registry() -> Error {
    Error::usage("there is no registry to push to").hint(configuration::NAME_A_REGISTRY)
}

/// Under which name the base's builds are remembered: no service can be called so, for lack of a Dockerfile target like it.
pub fn base_key() -> ServiceName {
    "base.target".parse().expect("it is a path component")
}

/// Build or skip, and the names that a standing image has to be given.
type Decided = (Decision, Vec<ImageRef>);

/// What is known of a service before it is decided on.
struct Candidate {
    service: Service,
    /// The image's name without tag.
    image: ImageRef,
    inputs: Inputs,
    fingerprint: Fingerprint,
    given: given::Resolved,
}

impl Candidate {
    /// The image under its content tag: it says what went in, so it is the same image on every machine and in every working tree.
    fn content(&self) -> ImageRef {
        self.image.with_tag(self.fingerprint.content_tag())
    }
}

struct Planner<'a> {
    session: &'a Session,
    project: &'a Project,
    engine: Option<&'a Engine>,
    capabilities: Capabilities,
    request: &'a BuildRequest,
    bases: &'a Bases,
    affected: Option<&'a Affected>,
    /// Targets that other machines build at the same time.
    beside: Vec<String>,
    /// The services that others are built from.
    sources: SortedSet<ServiceName>,
    /// Nobody is to be kept from an answer by who does not give theirs.
    look: bool,
    /// This repository as its mark names it, where something is pushed.
    owner: Option<String>,
}

impl Planner<'_> {
    /// Refuses a build that lacks what a step of it demands; a plan that is only looked at says so.
    fn check_given(&self, candidates: &[Candidate], decided: &[Decided]) -> Result<()> {
        let built = candidates.iter().zip(decided).filter(|(_, (decision, _))| matches!(decision, Decision::Build { .. }));
        let mut told = SortedSet::new();
        for missing in built.flat_map(|(candidate, _)| &candidate.given.missing) {
            let error = missing.error(&self.session.config.images.dockerfile);
            if !self.look {
                return Err(error);
            }
            if told.insert(error.to_string()) {
                self.session.events.notice(Level::Warning, None, error.to_string(), error.hint_text().map(str::to_owned));
            }
        }
        Ok(())
    }

    /// Refuses what cannot be written into the contexts of a service that is to be built; a plan that is only looked at says so.
    fn check_contexts(&self, candidates: &[Candidate], decided: &[Decided], cut: &contexts::Cut<'_>) -> Result<()> {
        let built = candidates.iter().zip(decided).filter(|(_, (decision, _))| matches!(decision, Decision::Build { .. }));
        for (candidate, _) in built {
            let Err(error) = cut.check(&candidate.service.name) else { continue };
            if !self.look {
                return Err(error);
            }
            let hint = error.hint_text().map(str::to_owned);
            self.session.events.notice(
                Level::Warning,
                Some(Task::Service(candidate.service.name.clone())),
                error.to_string(),
                hint,
            );
        }
        Ok(())
    }

    fn assemble(
        &self,
        candidates: Vec<Candidate>,
        decided: Vec<Decided>,
        base: (Inputs, given::Resolved),
        cut: &contexts::Cut<'_>,
        slices: &[&Slice<'_>],
    ) -> Plan {
        let config = &self.session.config;
        let is_built = |decision: &Decision| matches!(decision, Decision::Build { .. });
        let built: Vec<&Candidate> = candidates
            .iter()
            .zip(&decided)
            .filter(|(_, (decision, _))| is_built(decision))
            .map(|(candidate, _)| candidate)
            .into_vec();
        let any = !built.is_empty();
        let shares = built.iter().any(|candidate| candidate.service.own.is_none());
        let facts = if any && self.request.ask_caches { self.facts(&built) } else { SortedMap::new() };
        let shared = self.scoped(&config.base_target, &config.images.platforms);
        let mounts = facts.values().next().and_then(|facts| {
            let wanted = candidates.iter().zip(&decided).zip(slices).filter(|((_, (decision, _)), _)| is_built(decision));
            let wanted = wanted.map(|((candidate, _), slice)| Wanted {
                service: &candidate.service.name,
                inputs: &candidate.inputs,
                slice,
            });
            let asking = Asking { session: self.session, engine: self.engine, request: self.request, bases: self.bases };
            asking.mounts(facts, shared, !self.beside.is_empty(), &wanted.into_vec())
        });
        let mut planned = Vec::new();
        for (candidate, (decision, renames)) in candidates.into_iter().zip(decided) {
            let Candidate { service, image, inputs, fingerprint, mut given } = candidate;
            let built_from = std::mem::take(&mut given.services);
            let own = self.scoped(&service.caches, &service.platforms);
            let cache = facts.get(&service.caches).map(|facts| resolve(own, &[shared], facts));
            let view = self.project.view(&service);
            let mut target =
                self.target(view, Task::Service(service.name.clone()), (inputs, fingerprint), given, cache.unwrap_or_default());
            target.spec.contexts.extend(cut.folders(self.session, &service.name));
            target.spec.no_cache |= self.session.state().is_cleared(&service.name);
            self.finish_service(&mut target, &service, &image);
            divide(&mut target, own, Some(shared), facts.get(&service.caches));
            planned.push(ServicePlan { service, decision, target, renames, built_from, compared: None });
        }
        let base = shares.then(|| {
            let cache = facts.get(&config.base_target).map(|facts| resolve(shared, &[], facts));
            let fingerprint = base.0.fingerprint();
            let mut base = self.target(self.project, Task::Base, (base.0, fingerprint), base.1, cache.unwrap_or_default());
            base.spec.build_args.extend(handed_on(&config.images.build_args));
            divide(&mut base, shared, None, facts.get(&config.base_target));
            base
        });
        Plan { base: base.filter(|base| self.must_build_base(base)), services: planned, mounts, affected: None }
    }

    /// A base that this engine has built is in its cache, and what of it was thrown away the services build themselves: calling the
    /// builder for it again would only cost the start of a process.
    fn must_build_base(&self, base: &TargetPlan) -> bool {
        let known = self.session.state().find(&base_key(), &base.fingerprint);
        let here = known.zip(self.engine).is_some_and(|(build, engine)| build.images.contains(&engine.store_id()));
        if !self.session.config.fleet.is_empty() {
            // Without a cache to carry it, each node executes what its services need of it, once for all of them.
            return base.builds().iter().any(|build| !(build.cache_from.is_empty() && build.cache_to.is_empty()));
        }
        !here || self.request.no_cache || base.builds().iter().any(|build| !build.cache_to.is_empty())
    }

    /// A target with the platforms of this run and those that are configured, which name its caches.
    fn scoped<'a>(&'a self, target: &'a str, configured: &'a [Platform]) -> Scoped<'a> {
        let run = if self.request.platforms.is_empty() { configured } else { &self.request.platforms };
        Scoped { target, folder: self.session.config.folder.as_ref(), run, configured }
    }

    fn facts(&self, built: &[&Candidate]) -> SortedMap<String, Facts> {
        let config = &self.session.config;
        let targets = built.iter().map(|Candidate { service, image, .. }| caches::Target {
            scoped: self.scoped(&service.caches, &service.platforms),
            image: Some(image),
        });
        let mut targets: Vec<caches::Target<'_>> = targets.into_vec();
        targets.push(caches::Target { scoped: self.scoped(&config.base_target, &config.images.platforms), image: None });
        let own = built.iter().map(|candidate| candidate.service.target.as_str()).chain([config.base_target.as_str()]);
        let built: SortedSet<&str> = own.chain(self.beside.iter().map(String::as_str)).into_set();
        // A layer each, and an index for each target; all of it for each platform.
        let platforms = targets.iter().map(|target| target.scoped.run.len()).max().unwrap_or(1).max(1);
        let uploads = (self.project.dockerfile.layers(built.iter().copied()) + built.len()) * platforms;
        caches::probe(self.session, self.capabilities, self.request, &targets, uploads)
    }

    fn target(
        &self,
        view: &Project,
        task: Task,
        (inputs, fingerprint): (Inputs, Fingerprint),
        given: given::Resolved,
        cache: CachePlan,
    ) -> TargetPlan {
        let mut secrets = given.secrets;
        if let Some(file) = ca_bundle(&self.session.env) {
            secrets.entry("ca".to_owned()).or_insert(SecretValue::File(file));
        }
        let link = identity::link(self.session, &view.root, &inputs, &given.contexts);
        let mut contexts = self.bases.contexts(&inputs);
        contexts.extend(given.contexts);
        let spec = BuildSpec {
            task,
            dockerfile: view.dockerfile.path().to_owned(),
            built_in_frontend: inputs.syntax.as_deref().is_some_and(bases::is_stood_in_for),
            context: view.root.clone(),
            link,
            target: inputs.target.clone(),
            contexts,
            build_args: self.own_arguments(&inputs),
            secrets,
            options: given.options,
            annotations: given.annotations,
            mark: SortedMap::new(),
            platforms: inputs.platforms.iter().cloned().into_vec(),
            cache_from: cache.from,
            cache_to: cache.to,
            no_cache: self.request.no_cache,
            output: Output::CacheOnly,
            provenance: None,
            sbom: None,
            builder: self.session.config.builder.clone(),
        };
        TargetPlan { inputs, fingerprint, spec, by_platform: Vec::new(), is_part: false, tiers: cache.tiers, changes: None }
    }

    /// The mark of what is pushed; none where nothing is, or the engine's image store keeps no annotations.
    fn mark(&self, fingerprint: &Fingerprint) -> SortedMap<String, String> {
        let owner = self.owner.as_ref().filter(|_| self.capabilities.containerd_store);
        let mark = owner.map(|owner| Mark { repository: owner.clone(), fingerprint: Some(fingerprint.clone()) });
        mark.map(|mark| mark.annotations()).unwrap_or_default()
    }

    /// What a builder is told beside the configured arguments: the epoch, and the frontend at its pinned digest.
    fn own_arguments(&self, inputs: &Inputs) -> SortedMap<String, String> {
        let epoch = (inputs::EPOCH_ARGUMENT.to_owned(), inputs::epoch(self.session));
        let named = inputs.syntax.as_ref().filter(|named| !bases::is_stood_in_for(named));
        let frontend = named.map(|frontend| (frontend::SYNTAX_ARGUMENT.to_owned(), frontend.clone()));
        [Some(epoch), frontend].into_iter().flatten().into_map()
    }

    /// What a service's build has beyond any target's: its arguments, an image, attestations.
    fn finish_service(&self, target: &mut TargetPlan, service: &Service, image: &ImageRef) {
        let named = |tags: &[Tag]| tags.iter().map(|tag| image.with_tag(tag.clone())).into_vec();
        let spec = &mut target.spec;
        spec.build_args.extend(handed_on(&service.build_args));
        spec.output = match &self.request.destination {
            Destination::Engine(tags) => {
                // Elsewhere the user may have chosen (`docker buildx use`) a builder whose images are not the engine's.
                let own = self.engine.is_some_and(Engine::is_embedded) && spec.builder.is_none();
                // Its content tag comes last, so that it is found again when the others name another build.
                let mut names: Vec<ImageRef> = named(tags);
                names.push(image.with_tag(target.fingerprint.content_tag()));
                Output::Load { names, zstd: own && self.capabilities.load_packed_with_zstd }
            }
            // A check keeps nothing but what others are built from, for as long as they are.
            Destination::Output(_) if self.sources.contains(&service.name) => {
                Output::Load { names: named(&[target.fingerprint.content_tag()]), zstd: false }
            }
            // As the base is built: no image, and each platform for itself.
            Destination::Output(_) if self.request.warms.is_some() => Output::CacheOnly,
            Destination::Output(written) => Output::Other(written.replace("{service}", service.name.as_str())),
            // Version tags are put later, when every service stands.
            Destination::Registry(_) => {
                let hides = self.session.registry.hides_missing(image.registry());
                let folder = hides.then(|| self.session.run.folder().join(format!("{}.layout", service.name)));
                let names = named(&[target.fingerprint.content_tag()]);
                let direct = self.capabilities.push_without_store;
                // A fleet may have both kinds.
                let by_digest = direct && self.session.config.fleet.is_empty() && self.other_builder().is_some();
                Output::Push { names, direct, by_digest, folder }
            }
        };
        if !self.request.pushes() {
            return;
        }
        spec.mark = self.mark(&target.fingerprint);
        spec.provenance = match self.request.provenance {
            Provenance::Max => Some("mode=max".to_owned()),
            Provenance::Min => Some("mode=min".to_owned()),
            Provenance::Off => None,
        };
        let scanner = bases::scanner_of(self.request).ok().flatten().map(|image| self.bases.held(&image));
        spec.sbom = scanner.map(|image| match &self.request.sbom {
            // What it stands for is BuildKit's own choice, by the same name.
            Sbom::On if image.digest().is_none() => "true".to_owned(),
            _ => format!("generator={image}"),
        });
    }
}

/// The configured arguments that are handed on as they are: the frontend is told by its pinned name.
fn handed_on(args: &SortedMap<String, String>) -> impl Iterator<Item = (String, String)> {
    args.iter().filter(|(name, _)| *name != frontend::SYNTAX_ARGUMENT).map(|(name, value)| (name.clone(), value.clone()))
}

/// For images that a builder makes and nobody takes.
fn keeps_no_images(session: &Session, why: &Error) -> Error {
    let who = match session.config.builder.as_deref().or(session.env.get("BUILDX_BUILDER")) {
        _ if !session.config.fleet.is_empty() => "the nodes of a fleet keep".to_owned(),
        Some(builder) => format!("the builder `{builder}` keeps"),
        None => "this builder keeps".to_owned(),
    };
    Error::failed(format!("{who} no images, and there is no Docker here to load them into: {why}")).hint(
        "push them with --push, or write them with --output: `type=oci,dest={service}.tar`, `type=local,dest=out/{service}`",
    )
}

/// Divides a build for several platforms where its parts can be joined again: each has caches of its own, so that none replaces another's
/// and runs for one of them, on other days or machines, read and write the same.
fn divide(target: &mut TargetPlan, own: Scoped<'_>, shared: Option<Scoped<'_>>, facts: Option<&Facts>) {
    let joins = matches!(&target.spec.output, Output::CacheOnly | Output::Push { direct: true, .. });
    if !joins || target.spec.platforms.len() < 2 {
        return;
    }
    target.tiers.clear();
    for platform in &target.spec.platforms {
        let run = std::slice::from_ref(platform);
        let shared = shared.map(|shared| if shared.run.contains(platform) { Scoped { run, ..shared } } else { shared });
        let shared: Vec<Scoped<'_>> = shared.into_iter().into_vec();
        let cache = facts.map(|facts| resolve(Scoped { run, ..own }, &shared, facts)).unwrap_or_default();
        target.tiers.extend(cache.tiers.iter().cloned());
        target.by_platform.push(target.spec.of_platform(platform, cache.from, cache.to));
    }
}

/// A registry's host without its port.
fn host_of(registry: &str) -> &str {
    registry.rsplit_once(':').map_or(registry, |(host, _)| host)
}

/// The image store of an engine.
pub fn image_store(session: &Session, engine: &Engine) -> ImageStore {
    let host = engine.docker_host.as_deref().or(session.env.get("DOCKER_HOST"));
    ImageStore::new(host, engine.docker(), &session.shutdown)
}
