//! The build-services stage: one builder process a service and platform, several at once, each service with an outcome of its own.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::build::{Outcome, Running, TargetBuilds};
use crate::fleet::{Fleet, Order};
use crate::planning::image_store;
use crate::project::{self, Project};
use crate::usual::Past;
use crate::{Session, contexts, edited, given, inputs, memory, outputs};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Status;
use monoship_core::execute::cores;
use monoship_core::execute::lock::Lock;
use monoship_core::execute::pool;
use monoship_core::name::{ImageRef, ServiceName};
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};
use monoship_docker::engine::Engine;
use monoship_docker::spec::{Output, provisional};
use monoship_docker::store::ImageStore;
use monoship_plan::fingerprint::Inputs;
use monoship_plan::order::longest_first;
use monoship_plan::request::BuildRequest;
use monoship_plan::services::Service;
use monoship_plan::{Decision, Plan, ServicePlan};
use monoship_report::record::ServiceRecord;

/// Builds every service that is to be built, the longest first where they cannot all be begun at once. One failure stops nobody else, unless
/// the request says so. What succeeded is remembered at once, so that a run that dies later has not built it in vain.
///
/// # Errors
/// When a context cannot be written, a file was edited since the plan was made, or a success cannot be remembered; a failed build is an outcome.
pub fn run(session: &Session, project: &Project, engine: &Engine, plan: &Plan, request: &BuildRequest) -> Result<Vec<Outcome>> {
    let services: Vec<&ServicePlan> = plan.to_build().into_vec();
    tag_again(session, engine, plan)?;
    tag_sources(session, engine, plan)?;
    if services.is_empty() {
        return Ok(Vec::new());
    }
    given::fetch(session, services.iter().flat_map(|service| service.target.builds()))?;
    let chosen: Vec<Service> = services.iter().map(|service| service.service.clone()).into_vec();
    let cut = contexts::plan(project, &chosen)?;
    let (buildx, store) = (engine.buildx(), image_store(session, engine));
    outputs::claim(session, request, &chosen)?;
    let running = Running::new(session, &buildx);
    // In the order of their names, so that no two runs wait for each other.
    let names = services.iter().map(|service| &service.service.name).into_set().into_iter();
    let held = names.map(|name| Ok((name, cut.hold(session, name)?))).collect::<Result<Vec<_>>>()?;
    let held: Mutex<SortedMap<&ServiceName, Option<Lock>>> = Mutex::new(held.into_iter().into_map());
    // Not by the jobs below: writing is parallel itself, and a thread of rayon's that waits for its parts takes up another job meanwhile, so
    // that a service would wait for another's whole build.
    cores::try_map(&services, |service| cut.write(session, &service.service.name))?;
    let inputs: Vec<&Inputs> = services.iter().map(|service| &service.target.inputs).into_vec();
    let read = SystemTime::now();
    project::check_unchanged(session, project, &inputs)?;
    let targets = inputs::of_services(session, request, &chosen, &cut);
    let jobs = services.iter().zip(&targets).map(|(service, target)| {
        let judge = || {
            let edited = edited::edited(session, (project, engine), &cut, (&service.service, target, &service.target), read);
            edited?.map_or(Ok(()), |what| Err(project::meanwhile(&what)))
        };
        TargetBuilds::new(running, &service.target).judged_by(judge)
    });
    let jobs: Vec<TargetBuilds<'_>> = jobs.into_vec();
    let all = services.iter().zip(&jobs).flat_map(|(service, job)| (0..job.builds()).map(move |at| (*service, job, at)));
    let calls: Vec<(&ServicePlan, &TargetBuilds<'_>, usize)> = all.into_vec();
    let sources = Sources::new(&calls);
    let concluded = |at: usize, outcome: Option<Outcome>| -> Result<Option<(usize, Outcome)>> {
        let Some(mut outcome) = outcome else { return Ok(None) };
        sources.ended(calls[at].0, &outcome);
        held.lock().unwrap_or_else(PoisonError::into_inner).remove(&calls[at].0.service.name);
        if let (false, Some(loaded)) = (outcome.status == Status::Built, loaded(session, &calls[at].0.target.spec.output)) {
            // What was loaded and is nobody's only takes room.
            let _ = store.remove(&loaded);
        }
        // A part is no image of the service.
        if outcome.status == Status::Built && !calls[at].0.target.is_part {
            remember(session, &store, calls[at].0, &mut outcome)?;
        }
        if request.fail_fast && outcome.status == Status::Failed {
            session.shutdown.close();
        }
        Ok(Some((at, outcome)))
    };
    let mut outcomes = if session.config.fleet.is_empty() {
        let (jobs, order) = (request.jobs.get(), in_order(session, &calls, request.jobs.get()));
        let is_one = jobs == 1 || calls.len() == 1;
        let room = if is_one { u64::MAX } else { memory::room(session, engine) };
        let takes: Vec<u64> = calls.iter().map(|(service, ..)| memory::takes(project, &service.service)).into_vec();
        memory::tell(session, room, &takes, jobs);
        let run = |at: &usize| match (sources.lacks(*at), calls[*at]) {
            (Some(lacking), (_, job, part)) => concluded(*at, job.leave_out(part, &lacking)),
            (None, (_, job, part)) => concluded(*at, job.run(part)),
        };
        let bounds = pool::Bounds {
            room: Some(room),
            takes: order.iter().map(|at| takes[*at]).into_vec(),
            after: order.iter().map(|at| places_in(&order, sources.after(*at))).into_vec(),
        };
        let outcomes = pool::each_within(jobs, &bounds, &order, run)?;
        outcomes.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>>>()?
    } else {
        let builds: Vec<_> = calls.iter().map(|(_, job, at)| (*job, *at)).into_vec();
        Fleet::new(session, engine).run(&builds, &sources, plan.base.as_ref(), request.jobs.get(), concluded)?
    };
    outcomes.order_by_key(|(at, _)| *at);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).into_vec())
}

/// Which builds wait for which, and what became of those that others wait for.
struct Sources<'a> {
    calls: &'a [(&'a ServicePlan, &'a TargetBuilds<'a>, usize)],
    /// For each call, the calls for what it is built from.
    after: Vec<Vec<usize>>,
    /// The images that this run has pushed; of what could not be built, the service that failed.
    made: Mutex<SortedMap<ServiceName, Result<ImageRef, ServiceName>>>,
}

impl<'a> Sources<'a> {
    fn new(calls: &'a [(&'a ServicePlan, &'a TargetBuilds<'a>, usize)]) -> Self {
        let of = |name: &ServiceName| (0..calls.len()).filter(|at| calls[*at].0.service.name == *name).into_vec();
        let after = calls.iter().map(|(service, ..)| service.built_from.values().flat_map(of).into_vec()).into_vec();
        Self { calls, after, made: Mutex::default() }
    }

    /// The builds of a service have come to their end.
    fn ended(&self, service: &ServicePlan, outcome: &Outcome) {
        let name = &service.service.name;
        let made = match (outcome.status, &outcome.digest, &service.target.spec.output, service.content()) {
            (Status::Built, Some(digest), Output::Push { .. }, Some(content)) => Ok(content.with_digest(digest.clone())),
            // Who is stopped begins nothing more, whatever it would lack.
            (Status::Built | Status::Cancelled, ..) => return,
            _ => Err(outcome.lacking.as_ref().unwrap_or(name).clone()),
        };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), made);
    }
}

impl Order for Sources<'_> {
    fn after(&self, build: usize) -> &[usize] {
        &self.after[build]
    }

    fn lacks(&self, build: usize) -> Option<ServiceName> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (service, job, _) = self.calls[build];
        let mut held = SortedMap::new();
        for (context, from) in &service.built_from {
            match made.get(from) {
                Some(Ok(image)) => drop(held.insert(context.clone(), format!("docker-image://{image}"))),
                Some(Err(failed)) => return Some(failed.clone()),
                None => {}
            }
        }
        job.hold(held);
        None
    }
}

/// Where these calls are in the order in which they are begun.
fn places_in(order: &[usize], calls: &[usize]) -> Vec<usize> {
    calls.iter().filter_map(|call| order.iter().position(|at| at == call)).into_vec()
}

/// The places of the calls as they are begun. Where all are begun at once, nobody asks how long they take.
fn in_order(session: &Session, calls: &[(&ServicePlan, &TargetBuilds<'_>, usize)], jobs: usize) -> Vec<usize> {
    if calls.len() <= jobs {
        return (0..calls.len()).into_vec();
    }
    let services: Vec<&ServicePlan> = calls.iter().map(|(service, ..)| *service).into_vec();
    let past = Past::read(session);
    let usual =
        services.iter().filter_map(|service| Some((service.service.name.clone(), past.build(&service.target.spec.task)?)));
    longest_first(&services, &usual.into_map())
}

/// Gives images that stand under their content tag the names of this run: they were built before, here or in another working tree.
fn tag_again(session: &Session, engine: &Engine, plan: &Plan) -> Result<()> {
    let standing: Vec<&ServicePlan> = plan.services.iter().filter(|service| !service.renames.is_empty()).into_vec();
    if standing.is_empty() {
        return Ok(());
    }
    let store = image_store(session, engine);
    let tagged = pool::in_parallel(&standing, |service| {
        let Decision::Skip { digest, size } = &service.decision else { return Ok(()) };
        let names = service.target.spec.output.names();
        let Some(content) = names.last() else { return Ok(()) };
        service.renames.iter().filter(|name| *name != content).try_for_each(|name| store.tag(content, name))?;
        let record = ServiceRecord {
            fingerprint: service.target.fingerprint.clone(),
            digest: Some(digest.clone()),
            images: names.iter().map(ToString::to_string).into_vec(),
            size: *size,
            when: SystemTime::now(),
            run: Some(session.run.id.clone()),
        };
        let forgotten = session.state().remember(&service.service.name, record, service.target.inputs.to_record())?;
        forget_images(&store, &forgotten);
        Ok(())
    });
    tagged.into_iter().collect()
}

/// Gives images that stand in the engine their content tags again, where a build takes one by it: the image is known by its other names too.
fn tag_sources(session: &Session, engine: &Engine, plan: &Plan) -> Result<()> {
    let needed: SortedSet<&ServiceName> = plan.to_build().flat_map(|service| service.built_from.values()).into_set();
    let standing = plan.services.iter().filter(|service| !service.is_built() && needed.contains(&service.service.name));
    for service in standing {
        let Output::Load { names, .. } = &service.target.spec.output else { continue };
        let (Some(name), Some(content), Decision::Skip { digest, .. }) = (names.first(), names.last(), &service.decision) else {
            continue;
        };
        let store = image_store(session, engine);
        let is_there = || Ok::<_, Error>(store.ids(std::slice::from_ref(content))?.contains(&Some(digest.clone())));
        if !is_there()? {
            store.tag(name, content)?;
            if !is_there()? {
                // Its content tag is for this image alone.
                store.remove(content)?;
                return Err(
                    Error::failed(format!("{name} became another image while the run was under way")).hint("run this again")
                );
            }
        }
    }
    Ok(())
}

/// Takes the content tags away of builds that are remembered no more: nobody asks for them by another name. An image that a container uses,
/// or that has another name, stays.
fn forget_images(store: &ImageStore, forgotten: &[ServiceRecord]) {
    for build in forgotten {
        let content = build.fingerprint.content_tag();
        let names = build.images.iter().filter_map(|name| name.parse::<ImageRef>().ok());
        for name in names.filter(|name| name.tag() == Some(&content)) {
            // It only takes room; `cache prune` meets it again.
            let _ = store.remove(&name);
        }
    }
}

/// What an image is called that was loaded into the engine and has no content tag yet.
fn loaded(session: &Session, output: &Output) -> Option<ImageRef> {
    let Output::Load { names, .. } = output else { return None };
    names.last().map(|content| provisional(content, session.run.id.as_str()))
}

/// Keeps what was built, as the engine knows it: by which id and how large. One that was loaded is given its content tag.
fn remember(session: &Session, store: &ImageStore, service: &ServicePlan, outcome: &mut Outcome) -> Result<()> {
    let spec = &service.target.spec;
    // Any other of its names may be another run's by now.
    if let (Some(loaded), Some(content)) = (loaded(session, &spec.output), service.content())
        && let Some(image) = store.inspect(&loaded)?
    {
        store.tag(&loaded, content)?;
        // A name too many is nobody's loss.
        let _ = store.remove(&loaded);
        outcome.digest = Some(image.id);
        outcome.size = Some(image.size);
    }
    if let (Output::Push { names, .. }, Some(digest)) = (&spec.output, &outcome.digest)
        && let Some(name) = names.first()
    {
        outcome.size = session.registry.image_size(&name.with_digest(digest.clone()));
    }
    let record = ServiceRecord {
        fingerprint: service.target.fingerprint.clone(),
        digest: outcome.digest.clone(),
        images: spec.output.names().iter().map(ToString::to_string).into_vec(),
        size: outcome.size,
        when: SystemTime::now(),
        run: Some(session.run.id.clone()),
    };
    let forgotten = session.state().remember(&service.service.name, record, service.target.inputs.to_record())?;
    if matches!(spec.output, Output::Load { .. }) {
        forget_images(store, &forgotten);
    }
    Ok(())
}
