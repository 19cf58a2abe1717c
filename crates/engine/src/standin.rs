//! Stand-ins: where Docker Hub cannot be reached, images of ours under the names a Dockerfile uses, served by the engine's own
//! registry as its mirror. They are for building on this machine, never for a release, and that is said once a day.

mod bases;
pub mod node;
pub mod scanner;
mod system;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::http::{Http, Request};
use monoship_core::execute::lock::Lock;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{DOCKER_HUB, Digest, ImageRef};
use monoship_core::sorted::Order as _;
use monoship_docker::engine::{Engine, FRONTEND, StandIns as Policy, client};

use super::hub;
use super::layout::Layout;
use super::state::{HubVerdict, RECIPES, Served, StandIn};

/// How long a verdict on Docker Hub holds, either way.
const VERDICT_AGE: Duration = Duration::from_hours(1);
/// How long a warning that has not changed is not said again.
const TOLD_AGE: Duration = Duration::from_hours(24);
/// How long what a stand-in was made of is used again: its packages get security updates.
const CONTEXT_AGE: Duration = Duration::from_hours(30 * 24);

/// Makes what is missing of `images` if Docker Hub cannot be reached, and returns those of them that are served by a
/// stand-in. Nothing to do costs a few milliseconds. Only the embedded engine has stand-ins; others return none.
///
/// # Errors
/// When an image can neither be had nor made; the error names it and what to do.
pub fn ensure(engine: &Engine, images: &[ImageRef], policy: Policy, events: &Events, http: &Http) -> Result<Vec<StandIn>> {
    let Some(layout) = layout(engine)?.filter(|_| policy != Policy::Never) else { return Ok(Vec::new()) };
    let mut wanted: Vec<&ImageRef> = images.iter().filter(|image| image.registry() == DOCKER_HUB).into_vec();
    wanted.order();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let served = if let Some(served) = already_served(&Served::load(&layout.served()), &wanted, policy) {
        served
    } else {
        let made = make_missing(engine, &layout, &wanted, policy, events, http);
        events.doing(&Task::Engine, "");
        made?
    };
    if told_lately(&layout, &served) {
        return Ok(served);
    }
    for stand_in in &served {
        let message = format!("{} is a stand-in made of {}", stand_in.image, stand_in.made_of);
        let hint = "Docker Hub cannot be reached; images built on it are for this machine, not for a release (said once a day)";
        events.notice(Level::Warning, None, message, Some(hint.into()));
    }
    Ok(served)
}

/// Whether the same was said today; it is noted that it is said now. A note that cannot be kept costs a warning more.
fn told_lately(layout: &Layout, served: &[StandIn]) -> bool {
    let file = layout.data().join("stand-ins-told");
    let digests: Vec<String> = served.iter().map(|stand_in| stand_in.digest.to_string()).into_vec();
    let said = digests.join("\n");
    let age = std::fs::metadata(&file).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_some_and(|age| age < TOLD_AGE) && std::fs::read_to_string(&file).is_ok_and(|last| last == said) {
        return true;
    }
    let _ = std::fs::write(&file, said);
    false
}

/// The stand-ins this engine serves right now.
#[must_use]
pub fn served(engine: &Engine) -> Vec<StandIn> {
    layout(engine).ok().flatten().map(|layout| Served::load(&layout.served()).stand_ins).unwrap_or_default()
}

fn make_missing(
    engine: &Engine,
    layout: &Layout,
    wanted: &[&ImageRef],
    policy: Policy,
    events: &Events,
    http: &Http,
) -> Result<Vec<StandIn>> {
    let shutdown = http.shutdown();
    let lock = layout.data().join("stand-ins.lock");
    let _lock = Lock::wait(&lock, shutdown, || events.doing(&Task::Engine, "waiting for another run to make stand-ins"))?;
    let file = layout.served();
    let mut state = Served::load(&file);
    if let Some(served) = already_served(&state, wanted, policy) {
        return Ok(served);
    }
    if policy == Policy::Auto {
        events.doing(&Task::Engine, "asking whether Docker Hub can be reached");
        let reachable = hub::is_reachable(http, hub::HUB, hub::LIMIT)?;
        state.hub = Some(HubVerdict { reachable, at: SystemTime::now() });
        if reachable {
            forget_stand_ins(engine, &mut state, http)?;
            state.save(&file)?;
            return Ok(Vec::new());
        }
    }
    let mut served = Vec::new();
    for image in wanted {
        if let Some(stand_in) = state.stand_ins.iter().find(|s| s.image == **image) {
            served.push(stand_in.clone());
        } else if !client::has_image(&layout.socket(), &image.to_string()) {
            let stand_in = make(engine, layout, image, events, shutdown)?;
            state.stand_ins.push(stand_in.clone());
            // After each, so that a run that is stopped has not worked in vain.
            state.save(&file)?;
            served.push(stand_in);
        }
    }
    state.save(&file)?;
    Ok(served)
}

fn make(engine: &Engine, layout: &Layout, image: &ImageRef, events: &Events, shutdown: &Shutdown) -> Result<StandIn> {
    let cannot = |why: &str| {
        Error::failed(format!("Docker Hub cannot be reached, and {image} {why}")).hint(format!(
            "pull it where the network allows and load it here (`docker save`, `docker load`), or name another base: node:<major>, {} \
             and {} can be made here, though no `-alpine` of them, and `init --new-dockerfile` writes a Dockerfile on node",
            bases::NAMES,
            scanner::REPOSITORY
        ))
    };
    if image.digest().is_some() {
        return Err(cannot("is pinned to a digest, which nothing made here can have"));
    }
    let work = Work { layout, image, events, shutdown };
    let tag = image.reference();
    if image.repository() == FRONTEND {
        // Nothing is served: builds leave the `# syntax=` line out.
        let version = engine.engine_version.map(|version| version.to_string()).unwrap_or_default();
        let digest = Digest::of(format!("frontend of {version}").as_bytes());
        let made_of = format!("what the engine reads Dockerfiles with itself (BuildKit of Docker {version})");
        return if tag.contains("labs") {
            Err(cannot("is of the labs channel, whose instructions the engine does not know"))
        } else {
            Ok(StandIn { image: image.clone(), digest, made_of })
        };
    }
    if image.repository() == "library/alpine" || tag.split('-').any(|word| word.starts_with("alpine")) {
        return Err(cannot("is an Alpine and has no stand-in: a system of other packages, with another libc, would not be one"));
    }
    let context = match image.repository() {
        node::REPOSITORY => node::context(&work, tag).ok_or_else(|| cannot("has no stand-in"))??,
        scanner::REPOSITORY => scanner::context(&work)?,
        _ => match bases::context(&work, tag) {
            Some(context) => context?.map_err(|why| cannot(&why))?,
            None => return Err(cannot("has no stand-in")),
        },
    };
    let digest = push(engine, &work, &context)?;
    Ok(StandIn { image: image.clone(), digest, made_of: context.made_of })
}

/// Builds the context and pushes it into the engine's registry under the image's own repository and tag.
fn push(engine: &Engine, work: &Work<'_>, context: &Context) -> Result<Digest> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "containerimage.digest")]
        digest: Digest,
    }
    let registry = registry(engine)?;
    let name = format!("{registry}/{}:{}", work.image.repository(), work.image.reference());
    work.doing("putting it together");
    let scratch = tempfile::tempdir_in(work.layout.data()).map_err(|e| Error::io("write into", work.layout.data(), e))?;
    let metadata = scratch.path().join("metadata.json");
    // One digest for one content: it goes into the fingerprints of what is built on it, and two engines must agree.
    let build = engine
        .buildx()
        .args(["build", "--quiet", "--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=0", "--metadata-file"])
        .arg(&metadata);
    // Made once and used for long: what the layers cost to pack does not matter, what they cost to unpack does.
    let build = if engine.capabilities.push_without_store {
        build
            .arg("--output")
            .arg(format!("type=image,name={name},push=true,store=false,oci-mediatypes=true,rewrite-timestamp=true,compression=zstd,compression-level=1"))
    } else {
        // These unpack what they push, and refuse to rewrite times then: such an engine's stand-ins are its own.
        build.args(["--push", "--tag", &name])
    };
    build.arg(&context.dir).read(work.shutdown)?;
    if engine.capabilities.push_without_store {
        // Builds take the image from the registry, so that its files would be on the disk three times.
        let steps = steps(&read_text(&context.dir.join("Dockerfile"))?);
        for made_from in ["type=source.local", &format!("description~=\"{steps}\"")] {
            engine.buildx().args(["prune", "--all", "--force", "--filter", made_from]).read(work.shutdown)?;
        }
    }
    let text = read_text(&metadata)?;
    let metadata: Metadata =
        serde_json::from_str(&text).map_err(|e| Error::failed("buildx did not say which digest the stand-in has").source(e))?;
    Ok(metadata.digest)
}

/// A pattern of what BuildKit calls the steps of a Dockerfile: by their lines, without the keyword where a shell runs them.
fn steps(dockerfile: &str) -> String {
    let steps = dockerfile.lines().filter(|line| ["COPY ", "RUN ", "WORKDIR "].iter().any(|keyword| line.starts_with(keyword)));
    let plain = |c: char| if c.is_ascii_alphanumeric() || " -/:=".contains(c) { c } else { '.' };
    let patterns: Vec<String> = steps.map(|line| line.trim_start_matches("RUN ").chars().map(plain).collect()).collect();
    patterns.join("|")
}

/// Docker Hub is back: what stood in for it must not be served any longer.
fn forget_stand_ins(engine: &Engine, state: &mut Served, http: &Http) -> Result<()> {
    let registry = registry(engine)?;
    for stand_in in state.stand_ins.drain(..) {
        let (repository, digest) = (stand_in.image.repository(), &stand_in.digest);
        let url = format!("http://{registry}/v2/{repository}/manifests/{digest}");
        let status = http.send(Request::new("DELETE", url))?.head.status;
        if !matches!(status, 202 | 404) {
            return Err(Error::failed(format!("the registry would not remove {}: status {status}", stand_in.image)));
        }
    }
    Ok(())
}

fn layout(engine: &Engine) -> Result<Option<Layout>> {
    engine.own.as_ref().map(|own| Layout::new(&own.cache, &own.data)).transpose()
}

fn registry(engine: &Engine) -> Result<SocketAddr> {
    engine.registry.ok_or_else(|| Error::failed("this engine has no registry to serve stand-ins from"))
}

/// What is known without any work: `None` where something must be made or asked first.
fn already_served(state: &Served, wanted: &[&ImageRef], policy: Policy) -> Option<Vec<StandIn>> {
    let fresh = state.hub.as_ref().filter(|v| v.at.elapsed().is_ok_and(|age| age < VERDICT_AGE));
    match (policy, fresh) {
        (Policy::Auto, None) => return None,
        (Policy::Auto, Some(verdict)) if verdict.reachable => return Some(Vec::new()),
        _ => {}
    }
    wanted.iter().map(|image| state.stand_ins.iter().find(|s| s.image == **image).cloned()).collect()
}

/// What the makers of stand-ins work with.
pub struct Work<'a> {
    layout: &'a Layout,
    image: &'a ImageRef,
    events: &'a Events,
    shutdown: &'a Shutdown,
}

/// A folder that buildx can make the image of.
pub struct Context {
    dir: std::path::PathBuf,
    made_of: String,
}

impl Work<'_> {
    fn doing(&self, what: &str) {
        self.events.doing(&Task::Engine, format!("stand-in for {}: {what}", self.image));
    }

    /// The context kept under `key`, or one that `make` fills and describes. It becomes visible whole or not at all.
    fn context(&self, key: &str, make: impl FnOnce(&Path) -> Result<String>) -> Result<Context> {
        let root = self.layout.cache().join("stand-ins");
        let _lock = Lock::wait(&root.join("lock"), self.shutdown, || {
            self.events.doing(&Task::Engine, "waiting for another run to make a stand-in");
        })?;
        let dir = root.join(format!("{key}-{RECIPES}"));
        let label = dir.join("made-of");
        let age = std::fs::metadata(&label).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age < CONTEXT_AGE) {
            return Ok(Context { made_of: read_text(&label)?, dir });
        }
        let staging = root.join("staging");
        super::apt::remove_tree(&staging)?;
        std::fs::create_dir_all(&staging).map_err(|e| Error::io("create", &staging, e))?;
        let made_of = make(&staging)?;
        let label = staging.join("made-of");
        std::fs::write(&label, &made_of).map_err(|e| Error::io("write", &label, e))?;
        super::apt::remove_tree(&dir)?;
        std::fs::rename(&staging, &dir).map_err(|e| Error::io("move into place", &dir, e))?;
        Ok(Context { dir, made_of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(hub: Option<HubVerdict>, images: &[&str]) -> Served {
        let stand_in = |name: &&str| StandIn { image: name.parse().unwrap(), digest: Digest::of(b""), made_of: "x".into() };
        let mut served = Served::default();
        served.hub = hub;
        served.stand_ins = images.iter().map(stand_in).collect();
        served
    }

    #[test]
    fn a_verdict_is_asked_for_once_and_grows_old() {
        let image: ImageRef = "node:24".parse().unwrap();
        let served = |hub: Option<(bool, u64)>, images: &[&str], policy| {
            let hub = hub.map(|(reachable, age)| HubVerdict { reachable, at: SystemTime::now() - Duration::from_secs(age) });
            already_served(&state(hub, images), &[&image], policy).map(|served| served.len())
        };
        assert_eq!(served(None, &["node:24"], Policy::Auto), None);
        assert_eq!(served(Some((false, 10)), &["node:24"], Policy::Auto), Some(1));
        assert_eq!(served(Some((false, 10)), &["node:22"], Policy::Auto), None);
        assert_eq!(served(Some((false, 7_200)), &["node:24"], Policy::Auto), None);
        assert_eq!(served(Some((true, 10)), &[], Policy::Auto), Some(0));
        assert_eq!(served(None, &["node:24"], Policy::Always), Some(1));
        assert_eq!(served(Some((true, 10)), &[], Policy::Always), None);
    }
}
