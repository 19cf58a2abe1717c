//! The base images: what each image from outside is taken as. Pinned in `xtask.lock`, a stand-in of the embedded engine, or as the engine has it.

use crate::engine as engines;
use crate::project::Project;
use crate::{Session, configuration, frontend, outside, planning};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::name::{Digest, ImageRef};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::engine::{Engine, FRONTEND};
use monoship_docker::registry::Registry;
use monoship_plan::config::Sbom;
use monoship_plan::config::pins::{Moved, Pins};
use monoship_plan::fingerprint::Inputs;
use monoship_plan::request::BuildRequest;
use monoship_workspace::dockerfile;

/// The file of pins, beside `xtask.toml`.
pub const PINS: &str = "xtask.lock";

/// Between a tool's name and the digest of what stands in for it.
const STOOD_IN_FOR: &str = "@stand-in ";

/// Before the id of an image that only the engine has.
pub const HERE: &str = "in the engine ";

/// True where a tool, as `Bases::tool` says it, is not the real one.
pub fn is_stood_in_for(tool: &str) -> bool {
    tool.contains(STOOD_IN_FOR)
}

/// What each image from outside is taken as: by default, nothing is known of any.
#[derive(Default)]
pub struct Bases {
    pins: Pins,
    stand_ins: SortedMap<ImageRef, Digest>,
    /// Those that no registry knew, as the engine has them.
    here: SortedMap<ImageRef, Digest>,
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
    pub(crate) fn identity(&self, image: &ImageRef) -> Option<String> {
        let stand_in = self.stand_ins.get(image).map(|digest| format!("stand-in {digest}"));
        let pinned = || self.pins.get(image).map(ToString::to_string);
        let here = || self.here.get(image).map(|id| format!("{HERE}{id}"));
        stand_in.or_else(pinned).or_else(here).or_else(|| self.otherwise.map(str::to_owned))
    }

    /// The same at another revision, whose pins these are: what was not pinned then can have been anything.
    #[must_use]
    pub fn at(&self, pins: Pins) -> Self {
        Self { pins, stand_ins: self.stand_ins.clone(), here: self.here.clone(), otherwise: Some("not pinned") }
    }

    /// What tells one content of a tool's image (the frontend, the scanner) from another, with its name.
    pub(crate) fn tool(&self, image: &ImageRef) -> String {
        match (self.stand_ins.get(image), self.pins.get(image)) {
            (Some(digest), _) => format!("{image}{STOOD_IN_FOR}{digest}"),
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
    pub fn contexts(&self, inputs: &Inputs) -> SortedMap<String, String> {
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
    images: &SortedSet<ImageRef>,
) -> Result<Bases> {
    let tools = tools(session, project, request)?;
    let served = engine.map(engines::served).unwrap_or_default();
    let is_asked_for = |image: &ImageRef| images.contains(image) || tools.contains(image);
    let stand_ins: SortedMap<ImageRef, Digest> = served.into_iter().filter(|(image, _)| is_asked_for(image)).into_map();
    let pins = configuration::pins(&project.root.join(PINS))?;
    let is_open = |image: &&ImageRef| !stand_ins.contains_key(*image) && pins.get(image).is_none();
    let told = |images: &SortedSet<ImageRef>, means: &str| {
        let open: Vec<String> = images.iter().filter(is_open).map(ImageRef::familiar).into_vec();
        if !open.is_empty() {
            let are = if open.len() > 1 { "are" } else { "is" };
            let mistyped = open.iter().find_map(|name| Some((name, outside::stage_meant(&project.dockerfile, name)?)));
            let hint = mistyped.map(|(name, near)| format!("there is no stage `{name}`: did you mean `{near}`?"));
            session.events.notice(Level::Info, None, format!("{} {are} not in {PINS}{means}", open.join(", ")), hint);
        }
    };
    told(images, " yet: the next build pins what is missing, and builds the services that start from it");
    told(&tools, ": a build pins it if its registry answers; until then another machine may use another image");
    let unpinned: Vec<ImageRef> = images.iter().filter(is_open).cloned().into_vec();
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
    images: &SortedSet<ImageRef>,
) -> Result<Ensured> {
    let mut wanted: Vec<ImageRef> = images.iter().cloned().into_vec();
    let tools = tools(session, project, request)?;
    if request.sbom == Sbom::On {
        wanted.extend(scanner_of(request)?);
    }
    // Another frontend than Docker's, or one by its digest, has no stand-in; a builder may have it.
    wanted.extend(tools.iter().filter(|tool| tool.repository() == FRONTEND && tool.digest().is_none()).cloned());
    let served = engines::stand_ins(engine, &wanted, session.config.stand_ins, &session.events, &session.http)?;
    let stand_ins: SortedMap<ImageRef, Digest> = served.into_iter().into_map();
    let path = project.root.join(PINS);
    if request.no_stand_ins {
        if !path.exists() {
            return Err(no_pins());
        }
        if let Some(image) = stand_ins.keys().find(|image| images.contains(*image) || image.repository() == FRONTEND) {
            let error = Error::failed(format!("{image} is a stand-in, which {PINS} never pins"));
            return Err(error.hint("run it where Docker Hub can be reached, or leave --locked out"));
        }
    }
    let mut pins = configuration::pins(&path)?;
    let real = images.iter().filter(|image| !stand_ins.contains_key(image));
    let resolve = |image: &ImageRef| digest_of(&session.registry, image);
    let mut here = SortedMap::new();
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
        let names: Vec<String> = moved.iter().map(|pin| pin.image.to_string()).into_vec();
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
fn tools(session: &Session, project: &Project, request: &BuildRequest) -> Result<SortedSet<ImageRef>> {
    let mut tools = frontend::frontends(session, project)?;
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
