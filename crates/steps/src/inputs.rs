//! What goes into each image: the base images pinned, the contexts cut, the inputs gathered. Whether anything is built is decided later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use crate::engine as engines;
use crate::project::Project;
use crate::{Session, configuration, contexts, given, outside, planning, sources};
use monoship_core::collect::Sorted as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::name::{Digest, ImageRef, Platform, ServiceName};
use monoship_docker::capability::Capabilities;
use monoship_docker::engine::Engine;
use monoship_docker::registry::Registry;
use monoship_plan::built_from;
use monoship_plan::config::given::Given;
use monoship_plan::config::pins::{Moved, Pins};
use monoship_plan::config::{Config, Provenance, Sbom};
use monoship_plan::fingerprint::{self, Inputs, Parts};
use monoship_plan::part::MainContext;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_plan::services::{Service, discover, select};
use monoship_workspace::dockerfile::{self, Dockerfile, SliceRequest};
use monoship_workspace::sent::Sent;

/// When no `SOURCE_DATE_EPOCH` is given, image times are clamped to this moment (1980-01-01, in seconds since 1970): constant, so that
/// equal inputs make equal images whatever commit they are part of.
const EPOCH: &str = "315532800";

/// The argument that BuildKit's exporters read the epoch from.
pub const EPOCH_ARGUMENT: &str = "SOURCE_DATE_EPOCH";

/// The file of pins, beside `xtask.toml`.
pub const PINS: &str = "xtask.lock";

/// One Dockerfile target as it will be built.
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
    /// The platforms; empty means the engine's own.
    pub platforms: &'a [Platform],
    /// The named contexts' content; each replaces the stage of its name.
    pub contexts: BTreeMap<String, Parts>,
    /// What else its build is given, contexts among it.
    pub given: &'a Given,
    /// The service whose image is made of it, with the request's output and attestations.
    pub service: Option<&'a ServiceName>,
}

impl Target<'_> {
    /// What of the Dockerfile it reaches.
    ///
    /// # Errors
    /// When it cannot be cut out.
    pub fn slice<'d>(&self, project: &'d Project) -> Result<dockerfile::Slice<'d>> {
        let contexts: BTreeSet<String> = self.contexts.keys().chain(self.given.contexts.keys()).cloned().collect();
        project.dockerfile.slice(&SliceRequest {
            target: self.name,
            contexts: &contexts,
            args: &self.args,
            platforms: self.platforms,
            own: None,
        })
    }
}

/// Targets, what each reaches of its Dockerfile, and what it is built of, in one order.
pub struct Sliced<'a> {
    /// The targets.
    pub targets: &'a [Target<'a>],
    /// What each reaches.
    pub slices: &'a [dockerfile::Slice<'a>],
    /// Whose Dockerfile and context each has.
    pub views: &'a [&'a Project],
}

/// What each image from outside is taken as: by default, nothing is known of any.
#[derive(Default)]
pub struct Bases {
    pins: Pins,
    stand_ins: BTreeMap<ImageRef, Digest>,
    /// Those that no registry knew, as the engine has them.
    here: BTreeMap<ImageRef, Digest>,
    /// The identity of an image that is neither pinned nor a stand-in.
    otherwise: Option<&'static str>,
}

/// The base images that a build was assured of.
pub struct Ensured {
    /// What each is taken as.
    pub bases: Bases,
    /// Some were new to `xtask.lock`, and stand there now.
    pub pins_written: bool,
}

impl Bases {
    /// What tells one content of an image from another.
    fn identity(&self, image: &ImageRef) -> Option<String> {
        let stand_in = self.stand_ins.get(image).map(|digest| format!("stand-in {digest}"));
        let pinned = || self.pins.get(image).map(ToString::to_string);
        let here = || self.here.get(image).map(|id| format!("in the engine {id}"));
        stand_in.or_else(pinned).or_else(here).or_else(|| self.otherwise.map(str::to_owned))
    }

    /// The same at another revision, whose pins these are: what was not pinned then can have been anything.
    #[must_use]
    pub fn at(&self, pins: Pins) -> Self {
        Self { pins, stand_ins: self.stand_ins.clone(), here: self.here.clone(), otherwise: Some("not pinned") }
    }

    /// What tells one content of a tool's image (the frontend, the scanner) from another, with its name.
    fn tool(&self, image: &ImageRef) -> String {
        match (self.stand_ins.get(image), self.pins.get(image)) {
            (Some(digest), _) => format!("{image}@stand-in {digest}"),
            (None, Some(digest)) if image.digest().is_none() => format!("{image}@{digest}"),
            _ => image.to_string(),
        }
    }

    /// What a target reaches, with what the images it starts from bring along (ONBUILD).
    #[must_use]
    pub fn with_triggers<'d>(&self, mut slice: dockerfile::Slice<'d>) -> dockerfile::Slice<'d> {
        if slice.images().any(|base| self.pins.takes_files(&base.image)) {
            slice.see_everything();
        }
        slice
    }

    /// A tool's image as a builder is told it.
    pub fn held(&self, image: &ImageRef) -> ImageRef {
        if self.stand_ins.contains_key(image) { image.clone() } else { self.pins.pinned(image).unwrap_or_else(|| image.clone()) }
    }

    /// The named contexts that hold the images of `inputs` to their pins: `--build-context node:24=docker-image://node:24@sha256:…`.
    pub fn contexts(&self, inputs: &Inputs) -> BTreeMap<String, String> {
        let held = inputs.bases.keys().filter(|image| !self.stand_ins.contains_key(image) && image.digest().is_none());
        held.filter_map(|image| Some((image.to_string(), format!("docker-image://{}", self.pins.pinned(image)?)))).into_map()
    }

    /// An image that stands as a context of its own, as the builder takes it.
    pub fn pinned(&self, image: &ImageRef) -> Option<String> {
        self.pins.pinned(image).map(|pinned| format!("docker-image://{pinned}"))
    }

    /// True where an image is not the real one.
    pub fn has_stand_ins(&self) -> bool {
        !self.stand_ins.is_empty()
    }
}

/// The targets of services, in their order.
pub fn of_services<'a>(
    session: &Session,
    request: &'a BuildRequest,
    services: &'a [Service],
    cut: &contexts::Cut<'_>,
) -> Vec<Target<'a>> {
    services.par_iter().map(|service| of_service(session, request, service, cut.parts(&service.name))).collect()
}

fn of_service<'a>(
    session: &Session,
    request: &'a BuildRequest,
    service: &'a Service,
    contexts: BTreeMap<String, Parts>,
) -> Target<'a> {
    Target {
        name: service.stage(),
        args: with_epoch(session, &service.build_args),
        platforms: if request.platforms.is_empty() { &service.platforms } else { &request.platforms },
        contexts,
        given: &service.given,
        service: Some(&service.name),
    }
}

/// What each service is built of, and at the end the base.
pub fn views<'p>(project: &'p Project, services: &[Service]) -> Vec<&'p Project> {
    services.iter().map(|service| project.view(service)).chain([project]).collect()
}

/// The target of the shared base.
pub fn of_base<'a>(session: &'a Session, request: &'a BuildRequest) -> Target<'a> {
    let config = &session.config;
    Target {
        name: &config.base_target,
        args: with_epoch(session, &config.images.build_args),
        platforms: if request.platforms.is_empty() { &config.images.platforms } else { &request.platforms },
        contexts: BTreeMap::new(),
        given: &config.images.given,
        service: None,
    }
}

fn with_epoch(session: &Session, args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut args = args.clone();
    args.entry(EPOCH_ARGUMENT.to_owned()).or_insert_with(|| epoch(session));
    args
}

/// The epoch that image times are clamped to.
pub fn epoch(session: &Session) -> String {
    session.env.get(EPOCH_ARGUMENT).unwrap_or(EPOCH).to_owned()
}

/// Every image from outside that a service or the base starts from, whatever is built.
///
/// # Errors
/// When a target cannot be cut out of the Dockerfile.
pub fn external_images(session: &Session, project: &Project) -> Result<BTreeSet<ImageRef>> {
    let names: Vec<&str> = project.dockerfile.targets().collect();
    let services = discover(&session.config, &project.packages(), &names)?;
    images_of(&session.config, &services, |service| {
        service.map_or(&project.dockerfile, |service| &project.view(service).dockerfile)
    })
}

/// The same where the services are known.
///
/// # Errors
/// When a target cannot be cut out of the Dockerfile.
pub fn images_of<'d>(
    config: &Config,
    services: &[Service],
    dockerfile_of: impl Fn(Option<&Service>) -> &'d Dockerfile,
) -> Result<BTreeSet<ImageRef>> {
    let mut images = outside::frontends_of(config, services, &dockerfile_of)?;
    let targets =
        services.iter().map(|service| (service.stage(), &service.build_args, &service.given, dockerfile_of(Some(service))));
    let base = (config.base_target.as_str(), &config.images.build_args, &config.images.given, dockerfile_of(None));
    for (target, args, given, dockerfile) in targets.chain([base]) {
        let contexts = given.contexts.keys().cloned().collect();
        let platforms = &config.images.platforms;
        let slice = dockerfile.slice(&SliceRequest { target, contexts: &contexts, args, platforms, own: None })?;
        images.extend(slice.images().map(|base| base.image));
        images.extend(given::images(given, &slice).cloned());
    }
    Ok(images)
}

/// What `xtask.lock` pins: the images that are built on, the frontend that reads the Dockerfile, and the scanner where SBOMs are made.
///
/// # Errors
/// As [`external_images`].
pub fn pinned_images(session: &Session, project: &Project) -> Result<BTreeSet<ImageRef>> {
    let mut images = external_images(session, project)?;
    images.extend(outside::scanner(&session.config.attest.sbom)?);
    Ok(images)
}

/// The images from outside that the request's services and the base start from.
///
/// # Errors
/// Unknown services or targets; when a target cannot be cut out of the Dockerfile.
pub fn base_images(session: &Session, project: &Project, request: &BuildRequest) -> Result<BTreeSet<ImageRef>> {
    let names: Vec<&str> = project.dockerfile.targets().collect();
    let all = discover(&session.config, &project.packages(), &names)?;
    let services = built_from::complete(&all, select(all.clone(), &request.services)?);
    let replaced = contexts::replaced_of(project, &services);
    let contexts = |service: &Service| replaced[&service.name].iter().map(|name| ((*name).to_owned(), Parts::new())).into_map();
    let mut targets: Vec<Target<'_>> =
        services.iter().map(|service| of_service(session, request, service, contexts(service))).collect();
    targets.push(of_base(session, request));
    let views = views(project, &services);
    let slices = targets.par_iter().zip(&views).map(|(target, view)| target.slice(view)).collect::<Result<Vec<_>>>()?;
    let mut images: BTreeSet<ImageRef> = slices.iter().flat_map(dockerfile::Slice::images).map(|base| base.image).into_set();
    images.extend(targets.iter().zip(&slices).flat_map(|(target, slice)| given::images(target.given, slice)).cloned());
    Ok(images)
}

/// What is known of those images without making or writing anything: pins, and the stand-ins that the engine serves now. Of one that is
/// neither it is said what a build does about it.
///
/// # Errors
/// When `xtask.lock` cannot be read.
pub fn known_bases(
    session: &Session,
    project: &Project,
    engine: Option<&Engine>,
    request: &BuildRequest,
    images: &BTreeSet<ImageRef>,
) -> Result<Bases> {
    let tools = tools(session, project, request)?;
    let served = engine.map(engines::served).unwrap_or_default();
    let is_asked_for = |image: &ImageRef| images.contains(image) || tools.contains(image);
    let stand_ins: BTreeMap<ImageRef, Digest> = served.into_iter().filter(|(image, _)| is_asked_for(image)).into_map();
    let pins = configuration::pins(&project.root.join(PINS))?;
    let is_open = |image: &&ImageRef| !stand_ins.contains_key(*image) && pins.get(image).is_none();
    let told = |images: &BTreeSet<ImageRef>, means: &str| {
        let open: Vec<String> = images.iter().filter(is_open).map(ImageRef::familiar).collect();
        if !open.is_empty() {
            let are = if open.len() > 1 { "are" } else { "is" };
            let mistyped = open.iter().find_map(|name| Some((name, outside::stage_meant(&project.dockerfile, name)?)));
            let hint = mistyped.map(|(name, near)| format!("there is no stage `{name}`: did you mean `{near}`?"));
            session.events.notice(Level::Info, None, format!("{} {are} not in {PINS}{means}", open.join(", ")), hint);
        }
    };
    told(images, " yet: the next build pins what is missing, and builds the services that start from it");
    told(&tools, ": a build pins it if its registry answers; until then another machine may use another image");
    let unpinned: Vec<ImageRef> = images.iter().filter(is_open).cloned().collect();
    let ids = engine.filter(|_| !unpinned.is_empty() && !request.pushes());
    let ids = ids.and_then(|engine| planning::image_store(session, engine).ids(&unpinned).ok()).unwrap_or_default();
    let here = unpinned.iter().cloned().zip(ids).filter_map(|(image, id)| Some((image, id?))).into_map();
    Ok(Bases { pins, stand_ins, here, otherwise: Some("not pinned") })
}

/// A build on pins alone where there are none.
pub fn no_pins() -> Error {
    Error::usage(format!("there is no {PINS}, and --locked builds only what it pins"))
        .hint("run `cargo xtask update`, and commit it")
}

/// Makes sure that every image the targets start from can be had and is pinned: on the embedded engine without Docker Hub by
/// stand-ins, which are never pinned; otherwise by `xtask.lock`, into which a new image's digest is written once.
///
/// # Errors
/// When an image can neither be had nor pinned, or is not pinned and the request is `--locked`.
pub fn ensure_bases(
    session: &Session,
    project: &Project,
    engine: &Engine,
    request: &BuildRequest,
    images: &BTreeSet<ImageRef>,
) -> Result<Ensured> {
    let mut wanted: Vec<ImageRef> = images.iter().cloned().collect();
    let tools = tools(session, project, request)?;
    if request.sbom == Sbom::On {
        wanted.extend(scanner_of(request)?);
    }
    let served = engines::stand_ins(engine, &wanted, session.config.stand_ins, &session.events, &session.http)?;
    let stand_ins: BTreeMap<ImageRef, Digest> = served.into_iter().collect();
    let path = project.root.join(PINS);
    if request.no_stand_ins {
        if !path.exists() {
            return Err(no_pins());
        }
        if let Some(image) = stand_ins.keys().find(|image| images.contains(*image)) {
            let error = Error::failed(format!("{image} is a stand-in, which {PINS} never pins"));
            return Err(error.hint("run it where Docker Hub can be reached, or leave --locked out"));
        }
    }
    let mut pins = configuration::pins(&path)?;
    let real = images.iter().filter(|image| !stand_ins.contains_key(image));
    let resolve = |image: &ImageRef| digest_of(&session.registry, image);
    let mut here = BTreeMap::new();
    let mut moved = Vec::new();
    if request.locked {
        moved = pins.ensure(real, true, &resolve)?;
    } else {
        for image in real {
            match pins.ensure([image], false, &resolve) {
                Ok(pinned) => moved.extend(pinned),
                Err(error) => drop(here.insert(image.clone(), as_it_is_here(session, engine, request, image, error)?)),
            }
        }
    }
    note_triggers(session, &mut pins, &moved);
    for tool in tools.iter().filter(|image| !stand_ins.contains_key(image)) {
        match pins.ensure([tool], request.locked, &resolve) {
            Ok(pinned) => moved.extend(pinned),
            Err(error) if request.locked || error.is_cancelled() => return Err(error),
            // A builder may have it, or reach another registry than we do.
            Err(error) => session.events.notice(
                Level::Warning,
                None,
                format!("{} is not pinned, and can be another on the next machine: {error}", tool.familiar()),
                Some("run `cargo xtask update` where its registry answers, and commit xtask.lock".to_owned()),
            ),
        }
    }
    if !moved.is_empty() {
        configuration::save_pins(&pins, &path)?;
        let names: Vec<String> = moved.iter().map(|pin| pin.image.to_string()).collect();
        let message = format!("pinned {} in {PINS}", names.join(", "));
        session.events.notice(Level::Info, None, message, Some("commit it, so that every machine builds on the same".to_owned()));
    }
    Ok(Ensured { pins_written: !moved.is_empty(), bases: Bases { pins, stand_ins, here, otherwise: None } })
}

/// An image that no registry tells the digest of, as the engine has it: loaded by hand, or built here. Nothing of it is written to `xtask.lock`.
///
/// # Errors
/// The registry's, where the engine has no such image or the result is for others.
fn as_it_is_here(session: &Session, engine: &Engine, request: &BuildRequest, image: &ImageRef, error: Error) -> Result<Digest> {
    if error.is_cancelled() || request.pushes() {
        return Err(error);
    }
    let ids = planning::image_store(session, engine).ids(std::slice::from_ref(image)).ok();
    let Some(id) = ids.and_then(|ids| ids.into_iter().flatten().next()) else { return Err(error) };
    let message = format!("{} is taken as this engine has it, and is not pinned: {error}", image.familiar());
    let hint = "another machine may have another; `cargo xtask update` pins it where its registry answers".to_owned();
    session.events.notice(Level::Warning, None, message, Some(hint));
    Ok(id)
}

/// The images that a build runs without being built on: the frontends that read the Dockerfile, and the scanner.
fn tools(session: &Session, project: &Project, request: &BuildRequest) -> Result<BTreeSet<ImageRef>> {
    let mut tools = outside::frontends(session, project)?;
    tools.extend(scanner_of(request)?);
    Ok(tools)
}

/// Asks for the triggers of images that were just pinned. Where they cannot be read, what they take of the main context is not known.
pub fn note_triggers(session: &Session, pins: &mut Pins, moved: &[Moved]) {
    for pin in moved {
        match outside::triggers(&session.registry, &pin.image.with_digest(pin.after.clone())) {
            Ok(triggers) => pins.note_triggers(&pin.image, triggers),
            Err(error) => {
                let message = format!("cannot tell whether {} has ONBUILD triggers: {error}", pin.image.familiar());
                let hint = "what they copy does not count as an input; `cargo xtask update` asks again".to_owned();
                session.events.notice(Level::Warning, None, message, Some(hint));
            }
        }
    }
}

/// The image that makes the SBOM, where one is made.
///
/// # Errors
/// When BuildKit's own is no image's name.
pub fn scanner_of(request: &BuildRequest) -> Result<Option<ImageRef>> {
    if request.pushes() { outside::scanner(&request.sbom) } else { Ok(None) }
}

/// What an image's tag points to now, for a pin.
///
/// # Errors
/// When there is no such image, or its registry does not answer.
pub fn digest_of(registry: &Registry, image: &ImageRef) -> Result<Digest> {
    let found = registry.resolve(image)?.map(|descriptor| descriptor.digest);
    found.ok_or_else(|| Error::failed(format!("there is no image `{image}`")).hint("check the FROM line"))
}

/// The inputs of each target, in their order.
///
/// # Errors
/// When a target cannot be cut out of the Dockerfile.
pub fn gather(
    session: &Session,
    project: &Project,
    capabilities: Capabilities,
    request: &BuildRequest,
    sliced: &Sliced<'_>,
    bases: &Bases,
) -> Result<Vec<Inputs>> {
    let Sliced { targets, slices, views } = *sliced;
    let of = |view: &Project| {
        slices.iter().zip(views).filter(|(_, other)| std::ptr::eq(view, **other)).map(|(slice, _)| slice).collect::<Vec<_>>()
    };
    let sent = |view: &Project| Project::sent(view, &of(view).into_iter().flat_map(dockerfile::Slice::patterns).collect());
    let seen: Vec<(&Project, Arc<Sent>)> =
        project.all().filter(|view| !of(view).is_empty()).map(|view| Ok((view, sent(view)?))).collect::<Result<_>>()?;
    let contexts_of: Vec<(&Project, MainContext<'_>)> = seen.iter().map(|(view, sent)| (*view, MainContext::new(sent))).collect();
    let main_of = |view: &Project| contexts_of.iter().find(|(other, _)| std::ptr::eq(view, *other)).map(|(_, main)| main);
    let image_settings = settings(session, capabilities, request, bases)?;
    let native = Platform::native().to_string();
    let addresses = project.addresses(session, slices)?;
    let configured = given::Contexts::read(session, project, bases, targets.iter().map(|target| target.given).zip(slices))?;
    let inputs = targets.par_iter().zip(slices).zip(views).map(|((target, slice), view)| {
        let main = main_of(view).ok_or_else(|| Error::failed("a context was not looked at"))?;
        let mut contexts = target.contexts.clone();
        contexts.extend(configured.of(target.given, slice));
        let makes_image = target.service.is_some();
        let mut settings = if makes_image { image_settings.clone() } else { BTreeMap::new() };
        // In a registry, a laptop's image and a server's may not have one name.
        if makes_image && target.platforms.is_empty() && request.pushes() {
            settings.insert("platform".to_owned(), native.clone());
        }
        if slice.depends_on_builder() {
            settings.insert("builder".to_owned(), native.clone());
        }
        settings.extend(given::settings(session, target.given, slice, makes_image));
        Inputs::new(&fingerprint::Facts {
            target: target.name,
            slice,
            contexts: &contexts,
            main,
            args: &target.args,
            pin: &|image| bases.identity(image),
            syntax: outside::frontend(&view.dockerfile, &target.args)?.map(|image| bases.tool(&image)),
            addresses: &addresses,
            platforms: target.platforms,
            settings: &settings,
        })
    });
    let mut inputs = inputs.collect::<Result<Vec<_>>>()?;
    sources::enter(targets, slices, &mut inputs);
    Ok(inputs)
}

/// What else changes the image: where it goes decides its compression and whether it is attested.
fn settings(
    session: &Session,
    capabilities: Capabilities,
    request: &BuildRequest,
    bases: &Bases,
) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::from([("epoch".to_owned(), epoch(session))]);
    let mut set = |name: &str, value: String| settings.insert(name.to_owned(), value);
    match &request.destination {
        Destination::Engine(_) => drop(set("output", "engine".to_owned())),
        Destination::Output(output) => drop(set("output", output.clone())),
        Destination::Registry(_) => {
            set("output", if capabilities.push_without_store { "registry zstd" } else { "registry" }.to_owned());
            set(
                "provenance",
                match request.provenance {
                    Provenance::Max => "max".to_owned(),
                    Provenance::Min => "min".to_owned(),
                    Provenance::Off => "off".to_owned(),
                },
            );
            set("sbom", scanner_of(request)?.map_or_else(|| "off".to_owned(), |image| bases.tool(&image)));
        }
    }
    Ok(settings)
}
