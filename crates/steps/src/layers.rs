//! Looking into images: the services' or any others, in the engine or a registry; which line of the Dockerfile made each layer; and what
//! changed since the last release. Builds, starts and writes nothing.

use std::path::Path;

use crate::Session;
use crate::planning::image_store;
use crate::project::{self, Project};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{ImageRef, Platform, ReleaseTag, Tag};
use monoship_core::sorted::SortedSet;
pub use monoship_docker::layers::Place;
use monoship_docker::layers::{BuiltFrom, Image, Layer, Library, Line, Since, Summary};
use monoship_docker::registry::Registry;
use monoship_plan::services::{Service, discover, select};
use monoship_workspace::dockerfile::{self, Dockerfile, Origin};

/// What is to be looked into.
#[derive(Debug, Clone, Default)]
pub struct LayersRequest {
    /// Services' names, or images; every service where there are none.
    pub subjects: Vec<String>,
    /// The tag of services' images; without one `dev` in the engine, else `latest` in the registry.
    pub tag: Option<Tag>,
    /// The platform, where an image has several.
    pub platform: Option<Platform>,
    /// Look only there.
    pub place: Option<Place>,
    /// Compare with the last release too, which is read from the registry.
    pub compare: bool,
    /// Pass over images that are nowhere.
    pub partial: bool,
}

/// An image to be found.
struct Subject {
    /// What it is called in the engine.
    in_engine: ImageRef,
    /// What it is called in its registry; `None` for a name that no registry has.
    in_registry: Option<ImageRef>,
    /// The service that it is an image of.
    service: Option<Service>,
    /// Where its releases are.
    releases: Option<ImageRef>,
}

/// Looks into images, in the order of the request.
///
/// # Errors
/// A name that is no service's and no image's, an image that is nowhere and not to be passed over, or one that cannot be read.
pub fn look(session: &Session, request: &LayersRequest) -> Result<Vec<Summary>> {
    let project = project::load(session, &session.home)?;
    let subjects = subjects(session, &project, request)?;
    let library = Library::default();
    let mut found = in_engine(session, request, &library, &subjects)?;
    let mut summaries = Vec::new();
    for (subject, image) in subjects.iter().zip(&mut found) {
        let (name, place, image) = match (image.take(), &subject.in_registry) {
            (Some(image), _) => (&subject.in_engine, Place::Engine, image),
            (None, Some(name)) if request.place != Some(Place::Engine) => {
                match library.from_registry(&session.registry, name, request.platform.as_ref())? {
                    Some(image) => (name, Place::Registry, image),
                    None if request.partial => continue,
                    None => return Err(nowhere(subject, request)),
                }
            }
            _ if request.partial => continue,
            _ => return Err(nowhere(subject, request)),
        };
        let since = if request.compare {
            since(session, &library, subject, name, &image, request.platform.as_ref())
        } else {
            Since::None("not asked for".to_owned())
        };
        let dockerfile = subject.service.as_ref().map_or(&project.dockerfile, |service| &project.view(service).dockerfile);
        let lines = lines(session, dockerfile, subject.service.as_ref(), &image);
        summaries.push(Summary::new(name.familiar(), place, &image, lines, since));
    }
    Ok(summaries)
}

fn subjects(session: &Session, project: &Project, request: &LayersRequest) -> Result<Vec<Subject>> {
    let targets: Vec<&str> = project.dockerfile.targets().into_vec();
    let services = discover(&session.config, &project.packages(), &targets)?;
    let of_service = |service: &Service| -> Result<Subject> {
        let image = session.config.images.image(&service.name)?;
        let known = session.config.images.prefix.is_some();
        let tagged = |otherwise: &str| Ok::<_, Error>(image.with_tag(request.tag.clone().map_or_else(|| otherwise.parse(), Ok)?));
        Ok(Subject {
            in_engine: tagged("dev")?,
            in_registry: if known { Some(tagged("latest")?) } else { None },
            service: Some(service.clone()),
            releases: known.then_some(image),
        })
    };
    if request.subjects.is_empty() {
        return services.iter().map(of_service).collect();
    }
    let of_name = |name: &String| {
        if !name.contains(['/', ':', '@']) {
            return of_service(&select(services.clone(), std::slice::from_ref(name))?[0]);
        }
        let image: ImageRef = name.parse()?;
        let bare = image.without_reference();
        let is_its = |service: &&Service| session.config.images.image(&service.name).is_ok_and(|its| its == bare);
        let service = services.iter().find(is_its).cloned();
        Ok(Subject { in_engine: image.clone(), in_registry: Some(image), service, releases: Some(bare) })
    };
    request.subjects.iter().map(of_name).collect()
}

/// What of the subjects the engine has, where one runs; all at once, for they share layers.
fn in_engine(session: &Session, request: &LayersRequest, library: &Library, subjects: &[Subject]) -> Result<Vec<Option<Image>>> {
    let nothing = || vec![None; subjects.len()];
    if request.place == Some(Place::Registry) {
        return Ok(nothing());
    }
    let engine = match session.running_engine() {
        Ok(Some(engine)) => engine,
        Ok(None) | Err(_) if request.place.is_none() => return Ok(nothing()),
        Ok(None) => return Err(Error::failed("no engine runs here").hint("start it, or look with `--from registry`")),
        Err(error) => return Err(error),
    };
    let names: Vec<ImageRef> = subjects.iter().map(|subject| subject.in_engine.clone()).into_vec();
    library.from_engine(&image_store(session, &engine), &names)
}

fn nowhere(subject: &Subject, request: &LayersRequest) -> Error {
    let mut places = Vec::new();
    if request.place != Some(Place::Registry) {
        places.push(format!("{} in the engine", subject.in_engine.familiar()));
    }
    if let Some(name) = subject.in_registry.as_ref().filter(|_| request.place != Some(Place::Engine)) {
        places.push(format!("{} in its registry", name.familiar()));
    }
    if places.is_empty() {
        return Error::usage("no registry is configured, so there is no pushed image to look at")
            .hint("set `[images] registry` and `namespace` in xtask.toml, or look with `--from engine`");
    }
    Error::failed(format!("there is no {}", places.join(" and no ")))
        .hint("build it with `cargo xtask build`, or name an image that is there")
}

/// The comparison with the highest release that is not the image itself or after it. What cannot be compared is told, and no error.
fn since(
    session: &Session,
    library: &Library,
    subject: &Subject,
    name: &ImageRef,
    image: &Image,
    platform: Option<&Platform>,
) -> Since {
    let Some(repository) = &subject.releases else { return Since::None("no registry is configured".to_owned()) };
    // What only adds to the answer is worth one try.
    let registry = session.registry.clone().probing();
    let compared = || -> Result<Since> {
        let Some(release) = last_release(&registry, repository, name.tag())? else {
            return Ok(Since::None(format!("{} has no release", repository.familiar())));
        };
        let release = repository.with_tag(release);
        let own: Option<Platform> = image.platform.parse().ok();
        let before = library.from_registry(&registry, &release, platform.or(own.as_ref()))?;
        let gone = || Error::failed(format!("{release} is gone"));
        Ok(Since::of(release.familiar(), &before.ok_or_else(gone)?, image))
    };
    compared().unwrap_or_else(|error| Since::None(error.to_string()))
}

fn last_release(registry: &Registry, repository: &ImageRef, own: Option<&Tag>) -> Result<Option<Tag>> {
    let own = own.and_then(|tag| tag.as_str().parse::<ReleaseTag>().ok());
    let tags = registry.tags(repository)?;
    let releases = tags.iter().filter_map(|tag| tag.as_str().parse::<ReleaseTag>().ok());
    let before = releases.filter(|release| own.as_ref().is_none_or(|own| release.version < own.version));
    // A pre-release only where there is nothing else; of `v1.2.3` and `1.2.3` the first.
    Ok(before.max_by_key(|release| (release.version.pre.is_empty(), release.version.clone(), release.tag.clone())).map(|r| r.tag))
}

/// The Dockerfile's line of each layer: by the image's history, found in the Dockerfile that it was built of where its provenance has that,
/// else in the Dockerfile as it is now.
fn lines(session: &Session, dockerfile: &Dockerfile, service: Option<&Service>, image: &Image) -> Vec<Option<Line>> {
    let own = service.and_then(|service| service.own.as_ref());
    let now = own.map_or(&session.config.images.dockerfile, |own| &own.dockerfile);
    if let Some(built_from) = &image.built_from
        && let Some(origins) = of_provenance(built_from, image)
    {
        let is_ours = Path::new(now).file_name().is_some_and(|name| *name == *built_from.file);
        return lines_of(if is_ours { now } else { &built_from.file }, origins);
    }
    let none = || vec![None; image.layers.len()];
    let Some(service) = service else { return none() };
    let (contexts, args, platforms) = (SortedSet::new(), &service.build_args, &service.platforms[..]);
    let request = dockerfile::SliceRequest { target: service.stage(), contexts: &contexts, args, platforms, own: None };
    let Ok(lineage) = dockerfile.lineage(&request) else { return none() };
    let steps = lineage.of_history(&image.history);
    lines_of(now, image.layers.iter().map(|layer| steps.get(layer.step?).cloned().flatten()).into_vec())
}

/// The history names every layer's step. What provenance says of layers is asked for the rest alone: it leaves out steps whose layers were
/// not packed when it was written, and what they put counts there as the next step's.
fn of_provenance(built_from: &BuiltFrom, image: &Image) -> Option<Vec<Option<Origin>>> {
    let platform = image.platform.as_str();
    let dockerfile = Dockerfile::parse(Path::new(&built_from.file), &built_from.text).ok()?;
    let target = built_from.target.as_deref().or_else(|| dockerfile.stages().last()?.name())?;
    let (contexts, platforms): (_, Vec<Platform>) = (SortedSet::new(), platform.parse().into_iter().into_vec());
    let request =
        dockerfile::SliceRequest { target, contexts: &contexts, args: &built_from.args, platforms: &platforms, own: None };
    let lineage = dockerfile.lineage(&request).ok()?;
    let steps = lineage.of_history(&image.history);
    let origin = |(layer, lines): (&Layer, &Vec<usize>)| {
        let by_history = layer.step.and_then(|step| steps.get(step).cloned().flatten());
        by_history.or_else(|| lineage.of_lines(lines))
    };
    Some(image.layers.iter().zip(&built_from.lines).map(origin).into_vec())
}

fn lines_of(file: &str, origins: Vec<Option<Origin>>) -> Vec<Option<Line>> {
    let line = |origin: Origin| Line { file: file.to_owned(), line: origin.line, text: origin.text };
    origins.into_iter().map(|origin| origin.map(line)).into_vec()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use monoship_core::name::Digest;
    use monoship_docker::layers::Listing;

    use super::*;

    /// BuildKit leaves steps out of `layers` whose results had no packed layers when the provenance was written: what they put then seems
    /// to be the next step's.
    #[test]
    fn a_layer_is_its_own_steps_where_provenance_knows_only_of_a_later_one() {
        let text = "FROM scratch AS runtime\nCOPY rootfs /\nRUN rm -rf /x\nWORKDIR /app\n\nFROM runtime AS api\nCOPY --link --from=p /app /app\n";
        let history =
            ["COPY rootfs / # buildkit", "RUN /bin/sh -c rm -rf /x # buildkit", "WORKDIR /app", "COPY /app /app # buildkit"];
        let layer = |step: usize| Layer {
            diff_id: Digest::of(&[u8::try_from(step).unwrap()]),
            packed: 1,
            step: Some(step),
            listing: Arc::new(Listing::default()),
        };
        let built_from = BuiltFrom {
            file: "Dockerfile".to_owned(),
            text: text.to_owned(),
            target: Some("api".to_owned()),
            args: monoship_core::sorted::SortedMap::new(),
            lines: vec![vec![2], vec![7], vec![7], vec![7]],
        };
        let image = Image {
            history: history.map(str::to_owned).to_vec(),
            platform: "linux/amd64".to_owned(),
            layers: (0..4).map(layer).collect(),
            built_from: None,
        };
        let lines = |image: &Image| -> Vec<Option<usize>> {
            of_provenance(&built_from, image).unwrap().into_iter().map(|origin| origin.map(|origin| origin.line)).collect()
        };
        assert_eq!(lines(&image), [2, 3, 4, 7].map(Some));
        // A history that says nothing leaves provenance's word.
        let silent = Image { layers: image.layers.iter().map(|layer| Layer { step: None, ..layer.clone() }).collect(), ..image };
        assert_eq!(lines(&silent), [2, 7, 7, 7].map(Some));
    }
}
