//! Cache mounts across machines: restored on a builder that has none before anything is built, and kept in the registry, only what is new,
//! once that has ended. A mount cannot be exported, so a step copies it: out of an image's folder, and into one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bases::Bases;
use crate::caches::TURNED_OFF;
use crate::{Session, build, marks};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Level, Status, Task};
use monoship_core::execute::process::Stop;
use monoship_core::name::{ImageRef, ServiceName, sha256_hex};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_core::time::millis;
use monoship_docker::engine::{Engine, existing};
use monoship_docker::manifest::Document;
use monoship_docker::rawjson::has_cache_mount;
use monoship_docker::spec::{BuildSpec, Output};
use monoship_plan::Plan;
use monoship_plan::cache::{Facts, Kind, Probe, Scoped, Tier, cache_image};
use monoship_plan::config::Switch;
use monoship_plan::fingerprint::Inputs;
use monoship_plan::mounts::{Kept, MOUNTS, Mounts, Note, Used, decide};
use monoship_plan::request::BuildRequest;
use monoship_report::record::{RunId, RunRecord};
use monoship_workspace::dockerfile::Slice;

/// The mounts that are kept, by their ids: those of Dockerfiles that `init` writes. What they hold lies in the layers of exported caches too;
/// what others hold may never have been meant to leave the builder.
const KEPT: [&str; 3] = ["builds", "npm", "pnpm-store"];

/// So many layers are kept one on the other; the next time all is kept anew, without what is no longer there.
const MOST_LAYERS: usize = 8;

/// What is to be built, and what mounts it has.
pub struct Wanted<'a> {
    /// Whose image it is.
    pub service: &'a ServiceName,
    /// What goes into it.
    pub inputs: &'a Inputs,
    /// What it reaches of its Dockerfile.
    pub slice: &'a Slice<'a>,
}

/// Who asks for the mounts.
pub struct Asking<'a> {
    /// The session.
    pub session: &'a Session,
    /// The engine, where one is there.
    pub engine: Option<&'a Engine>,
    /// The request.
    pub request: &'a BuildRequest,
    /// The images from outside.
    pub bases: &'a Bases,
}

impl Asking<'_> {
    /// The cache mounts of what is to be built, with the verdict; none where there is no such mount. `scoped` names the caches of the run's
    /// platforms; `alone` is true where other machines build the other services.
    pub fn mounts(&self, facts: &Facts, scoped: Scoped<'_>, alone: bool, wanted: &[Wanted<'_>]) -> Option<Mounts> {
        let caches = wanted.iter().flat_map(|one| one.slice.caches());
        let found: SortedMap<&str, &ImageRef> = caches.filter(|(cache, _)| is_kept(cache)).into_map();
        let image = self.bases.held(found.values().next()?).to_string();
        let keys = wanted.iter().map(|one| (one.service.clone(), key(one.inputs))).into_map();
        let target = match wanted {
            [one] if alone => format!("{MOUNTS}.{}", one.service),
            _ => MOUNTS.to_owned(),
        };
        let name = Scoped { target: &target, ..scoped }.name();
        let place = facts.registry_repository.as_ref().and_then(|repository| cache_image(repository, &name));
        let off = if place.is_none() { Some("no registry is configured".to_owned()) } else { self.why_not() };
        let asked = place.as_ref().filter(|_| off.is_none() && self.request.cache_from);
        let (probe, kept) = asked.map_or((Probe::Missing, None), |place| look(self.session, place));
        let verdict = decide(facts, off, &probe, kept.as_ref().map(|kept| &kept.note), &keys);
        let tier = Tier { kind: Kind::Mounts, place: place.as_ref().map(ToString::to_string).unwrap_or_default(), verdict };
        Some(Mounts { caches: found.into_keys().map(str::to_owned).into_set(), image, place, kept, keys, tier })
    }

    /// Why the mounts are not asked for, where they are not: they pay where a builder starts with nothing and there is a registry.
    fn why_not(&self) -> Option<String> {
        let cache = &self.session.config.cache;
        if cache.mounts == Switch::Off || cache.registry == Switch::Off {
            return Some(TURNED_OFF.to_owned());
        }
        if !self.session.env.is_ci() {
            return Some("a builder that is not CI's keeps its own".to_owned());
        }
        if !self.session.config.fleet.is_empty() {
            return Some("the nodes of a fleet keep their own".to_owned());
        }
        let Some(engine) = self.engine else { return Some("no engine here".to_owned()) };
        match has_mounts(self.session, engine) {
            Ok(false) => None,
            Ok(true) => Some("the builder has some already".to_owned()),
            Err(error) => Some(format!("the builder does not say what it has: {error}")),
        }
    }
}

/// True of `id=builds` and of `id=builds,uid=1000`.
fn is_kept(cache: &str) -> bool {
    let id = cache.split(',').next().and_then(|id| id.strip_prefix("id="));
    id.is_some_and(|id| KEPT.contains(&id))
}

/// A hash of all that a service's install and the builds of what it needs go by: all that goes into it but its own sources, where its
/// Dockerfile has a step of its own for what it needs.
fn key(inputs: &Inputs) -> String {
    let mut inputs = inputs.clone();
    if inputs.contexts.contains_key(crate::contexts::DEPENDENCIES) {
        inputs.contexts.remove(crate::contexts::SOURCES);
    }
    inputs.fingerprint().as_str()[..16].to_owned()
}

/// True of a builder that has built before: some step has left a mount there.
fn has_mounts(session: &Session, engine: &Engine) -> Result<bool> {
    let mut call = engine.buildx().arg("du").args(["--filter", "type=exec.cachemount", "--verbose"]);
    if let Some(builder) = &session.config.builder {
        call = existing::for_builder(call, &session.env, builder).args(["--builder", builder]);
    }
    Ok(call.read(&session.shutdown)?.contains("exec.cachemount"))
}

/// What is kept in the registry.
fn look(session: &Session, place: &ImageRef) -> (Probe, Option<Kept>) {
    let found = session.registry.manifest(place).and_then(|raw| {
        let Some(raw) = raw else { return Ok(None) };
        let Document::Manifest(manifest) = raw.document()? else {
            return Err(Error::failed(format!("{place} is an index, and no image of cache mounts")));
        };
        let note = manifest.annotations.get(Note::ANNOTATION).and_then(|text| serde_json::from_str(text).ok());
        let image = place.without_reference().with_digest(raw.digest().clone());
        Ok(Some(Kept { image, layers: manifest.layers.len(), note: note.unwrap_or_default() }))
    });
    match found {
        Ok(Some(kept)) => (Probe::Found, Some(kept)),
        Ok(None) => (Probe::Missing, None),
        Err(error) => (Probe::Unreachable(error.to_string()), None),
    }
}

/// Fills the builder's mounts with what is kept, where the plan says so; how long it took. What cannot be restored costs the run nothing but time.
///
/// # Errors
/// When the run is stopped.
pub fn restore(session: &Session, engine: &Engine, plan: &Plan) -> Result<Option<Duration>> {
    let Some(mounts) = plan.mounts.as_ref().filter(|mounts| mounts.tier.verdict.reads()) else { return Ok(None) };
    let Some(kept) = &mounts.kept else { return Ok(None) };
    let what = format!("cache mounts of {}", kept.image);
    timed(session, Task::Restore, &what, "the steps that use them begin with nothing", || {
        let contexts = [("kept".to_owned(), format!("docker-image://{}", kept.image))].into_iter().into_map();
        let spec = spec(session, Task::Restore, &restoring(mounts, &session.run.id), contexts, Output::CacheOnly)?;
        called(session, engine, &BuildSpec { cache_from: caches_read(plan, mounts), ..spec })
    })
}

/// Keeps what the mounts of this run have that is new, where the plan says so and something was built. What cannot be kept is a warning.
///
/// # Errors
/// When the run is stopped.
pub fn keep(session: &Session, engine: &Engine, plan: &Plan, record: &RunRecord, restored: Option<Duration>) -> Result<()> {
    let Some(mounts) = plan.mounts.as_ref().filter(|mounts| mounts.tier.verdict.writes()) else { return Ok(()) };
    let Some(place) = &mounts.place else { return Ok(()) };
    let mut used = Used { work_ms: work(record), moved_ms: None };
    let made: Vec<String> = used.work_ms.keys().filter_map(|service| mounts.keys.get(service).cloned()).into_vec();
    if made.is_empty() || !used.is_worth_keeping(mounts.kept.as_ref()) {
        return Ok(());
    }
    let before = mounts.kept.as_ref().filter(|kept| restored.is_some() && kept.layers < MOST_LAYERS);
    let what = format!("cache mounts in {place}");
    let begun = Instant::now();
    timed(session, Task::Keep, &what, "the next builder begins without them", || {
        let contexts = before.map(|kept| ("before".to_owned(), format!("docker-image://{}", kept.image)));
        let format = "push=true,compression=zstd,oci-mediatypes=true";
        let output = Output::Other(format!("type=image,\"name={place}\",{format}"));
        let text = keeping(mounts, &session.run.id, before.is_some());
        let spec = spec(session, Task::Keep, &text, contexts.into_iter().into_map(), output)?;
        called(session, engine, &BuildSpec { cache_from: caches_read(plan, mounts), ..spec })?;
        used.moved_ms = restored.map(|restored| millis(restored + begun.elapsed()));
        let note = mounts.kept.as_ref().map(|kept| kept.note.clone()).unwrap_or_default().after(made.clone(), &used);
        describe(session, place, &note)
    })
    .map(drop)
}

/// How long the executed steps with cache mounts took for each service that was built, in milliseconds.
fn work(record: &RunRecord) -> SortedMap<ServiceName, u64> {
    let built = record.tasks.iter().filter(|task| task.status == Status::Built);
    let took = built.filter_map(|task| {
        let Task::Service(service) = &task.task else { return None };
        let ran = task.steps.iter().filter(|step| !step.cached && has_cache_mount(&step.name));
        Some((service.clone(), ran.map(|step| step.took_ms).sum()))
    });
    took.into_map()
}

/// Puts the note and this repository's mark on the image.
fn describe(session: &Session, place: &ImageRef, note: &Note) -> Result<()> {
    let raw = session.registry.need_manifest(place)?;
    let said = serde_json::to_string(note).map_err(|e| Error::failed("the note cannot be written").source(e))?;
    let mut annotations = marks::of_cache(session)?.annotations();
    annotations.insert(Note::ANNOTATION.to_owned(), said);
    session.registry.put_manifest(place, &raw.annotated(&annotations)?)
}

/// Runs a task that nothing depends on: where it fails it is a warning, and `then` is what follows.
fn timed(
    session: &Session,
    task: Task,
    what: &str,
    then: &str,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Option<Duration>> {
    let started = Instant::now();
    session.events.emit(Event::Started { task: task.clone(), title: what.to_owned() });
    let ended = work();
    // A task that failed would fail the run.
    let (status, took) = (if ended.is_ok() { Status::Done } else { Status::NotRun }, started.elapsed());
    session.events.emit(Event::Ended { task: task.clone(), status, took, digest: None });
    match ended {
        Ok(()) => Ok(Some(took)),
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => {
            session.events.notice(Level::Warning, Some(task), format!("{what}: {error}"), Some(then.to_owned()));
            Ok(None)
        }
    }
}

fn called(session: &Session, engine: &Engine, spec: &BuildSpec) -> Result<()> {
    let (code, solved) =
        build::stream(session, &engine.buildx(), spec, &Stop::default(), &|| (), &|event| session.events.emit(event));
    match (code?, &solved.failure) {
        (Some(0), _) => Ok(()),
        (_, Some(failure)) => Err(Error::failed(failure.message.clone())),
        (code, None) => Err(Error::failed(build::silent(spec, code, &solved))),
    }
}

/// The caches that the services read. A mount that begins with an owner or a mode is one with the step that sets these, in BuildKit's eyes: it
/// has to come from where theirs does.
fn caches_read(plan: &Plan, mounts: &Mounts) -> Vec<String> {
    let builds = plan.to_build().flat_map(|service| service.target.builds());
    let read: SortedSet<&String> = builds.flat_map(|build| &build.cache_from).into_set();
    if mounts.caches.iter().any(|cache| cache.contains(',')) { read.into_iter().cloned().into_vec() } else { Vec::new() }
}

/// The scripts that a build of ours is sent.
const SCRIPTS: [(&str, &str); 2] =
    [("keep.sh", include_str!("mounts/keep.sh")), ("restore.sh", include_str!("mounts/restore.sh"))];

/// A build whose Dockerfile is this text, and that is sent the scripts.
fn spec(session: &Session, task: Task, text: &str, contexts: SortedMap<String, String>, output: Output) -> Result<BuildSpec> {
    let folder: PathBuf = session.run.folder().join(task.to_string());
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let dockerfile = folder.join("Dockerfile");
    for (name, text) in [("Dockerfile", text)].into_iter().chain(SCRIPTS) {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    Ok(BuildSpec {
        task,
        dockerfile,
        built_in_frontend: false,
        context: folder,
        link: None,
        target: String::new(),
        contexts,
        build_args: SortedMap::new(),
        secrets: SortedMap::new(),
        options: Vec::new(),
        annotations: SortedMap::new(),
        mark: SortedMap::new(),
        platforms: Vec::new(),
        cache_from: Vec::new(),
        cache_to: Vec::new(),
        no_cache: false,
        output,
        provenance: None,
        sbom: None,
        builder: session.config.builder.clone(),
    })
}

/// The folder of a mount, in the image as in a step.
fn folder(cache: &str) -> String {
    sha256_hex(cache.as_bytes())[..12].to_owned()
}

fn restoring(mounts: &Mounts, run: &RunId) -> String {
    stage(mounts, run, "restore.sh", Some("kept"))
}

fn keeping(mounts: &Mounts, run: &RunId, before: bool) -> String {
    let from = if before { "before" } else { "scratch" };
    format!("{}FROM {from}\nCOPY --from=0 /new /\n", stage(mounts, run, "keep.sh", before.then_some("before")))
}

/// A stage that runs a script over the mounts, with a context of that name beside them.
fn stage(mounts: &Mounts, run: &RunId, script: &str, context: Option<&str>) -> String {
    let caches = mounts.caches.iter().map(|cache| format!(" --mount=type=cache,{cache},target=/mounts/{}", folder(cache)));
    let bind = context.map(|name| format!(" --mount=type=bind,from={name},target=/{name}"));
    let flags: String = caches.chain(bind).collect();
    // Whether a step was run before says nothing of what lies in a mount: no two runs have one.
    format!(
        "FROM {}\nUSER 0:0\nENV RUN={run}\nRUN --mount=type=bind,target=/scripts{flags} [\"/bin/sh\", \"/scripts/{script}\"]\n",
        mounts.image
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_plan::cache::Verdict;

    fn mounts() -> Mounts {
        Mounts {
            caches: SortedSet::from(["id=/root/.npm,uid=1000".to_owned(), "id=store".to_owned()]),
            image: "node:24@sha256:abc".to_owned(),
            place: "ghcr.io/o/r/cache:_mounts".parse().ok(),
            kept: None,
            keys: SortedMap::new(),
            tier: Tier { kind: Kind::Mounts, place: String::new(), verdict: Verdict::Used },
        }
    }

    #[test]
    fn only_mounts_whose_content_is_known_leave_the_builder() {
        assert!(is_kept("id=builds") && is_kept("id=pnpm-store,uid=1000,gid=1000"));
        assert!(!is_kept("id=/root/.aws") && !is_kept("id=builds-of-another") && !is_kept("uid=1,id=builds"));
    }

    #[test]
    fn each_mount_has_a_folder_of_its_own_and_only_what_is_new_is_laid_over_what_was_kept() {
        let (npm, store) = (folder("id=/root/.npm,uid=1000"), folder("id=store"));
        let caches = format!(
            "--mount=type=cache,id=/root/.npm,uid=1000,target=/mounts/{npm} --mount=type=cache,id=store,target=/mounts/{store} "
        );
        let run = RunId::new(std::time::SystemTime::UNIX_EPOCH, 1);
        let text = restoring(&mounts(), &run);
        assert!(text.starts_with("FROM node:24@sha256:abc\n") && text.contains(&caches), "{text}");
        assert!(text.contains("--mount=type=bind,from=kept,target=/kept [\"/bin/sh\", \"/scripts/restore.sh\"]\n"), "{text}");
        let first = keeping(&mounts(), &run, false);
        assert!(first.contains("\nFROM scratch\n") && !first.contains("from=before") && first.contains(&caches), "{first}");
        let later = keeping(&mounts(), &run, true);
        assert!(
            later.contains("\nFROM before\n") && later.contains(" --mount=type=bind,from=before,target=/before ["),
            "{later}"
        );
    }
}
