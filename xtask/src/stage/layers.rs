//! Looking into images: the services' or any others, in the engine or a registry; which line of the Dockerfile made each layer; and what
//! changed since the last release. Builds, starts and writes nothing.

pub use crate::docker::layers::Place;
use crate::docker::layers::{Image, Library, Line, Since, Summary};
use crate::docker::registry::Registry;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::name::{ImageRef, Platform, ReleaseTag, Tag};
use crate::plan::services::{Service, discover, select};
use crate::stage::Session;
use crate::stage::planning::image_store;
use crate::stage::project::{self, Project};
use crate::workspace::dockerfile::{Dockerfile, Instruction};

/// What is to be looked into.
#[derive(Debug, Clone, Default)]
pub struct Request {
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
}

/// An image to be found.
struct Subject {
    /// What it is called in the engine.
    in_engine: ImageRef,
    /// What it is called in its registry; `None` for a name that no registry has.
    in_registry: Option<ImageRef>,
    /// The Dockerfile's target that it is made of.
    target: Option<String>,
    /// Where its releases are.
    releases: Option<ImageRef>,
}

/// Looks into images, in the order of the request.
///
/// # Errors
/// A name that is no service's and no image's, an image that is nowhere, or one that cannot be read.
pub fn look(session: &Session, request: &Request) -> Result<Vec<Summary>> {
    let project = project::load(session, &session.home)?;
    let subjects = subjects(session, &project, request)?;
    let library = Library::default();
    let mut found = in_engine(session, request, &library, &subjects)?;
    let mut summaries = Vec::new();
    for (subject, image) in subjects.iter().zip(&mut found) {
        let (name, place, image) = match (image.take(), &subject.in_registry) {
            (Some(image), _) => (&subject.in_engine, Place::Engine, image),
            (None, Some(name)) if request.place != Some(Place::Engine) => {
                let image = library.from_registry(&session.registry, name, request.platform.as_ref())?;
                (name, Place::Registry, image.ok_or_else(|| nowhere(subject, request))?)
            }
            _ => return Err(nowhere(subject, request)),
        };
        let since = if request.compare {
            since(session, &library, subject, name, &image, request.platform.as_ref())
        } else {
            Since::None("not asked for".to_owned())
        };
        let lines = lines(session, &project.dockerfile, subject.target.as_deref(), &image);
        summaries.push(Summary::new(name.familiar(), place, &image, lines, since));
    }
    Ok(summaries)
}

fn subjects(session: &Session, project: &Project, request: &Request) -> Result<Vec<Subject>> {
    let targets: Vec<&str> = project.dockerfile.targets().collect();
    let services = discover(&session.config, &project.packages(), &targets)?;
    let of_service = |service: &Service| -> Result<Subject> {
        let image = session.config.images.image(&service.name)?;
        let known = session.config.images.prefix.is_some();
        let tagged = |otherwise: &str| Ok::<_, Error>(image.with_tag(request.tag.clone().map_or_else(|| otherwise.parse(), Ok)?));
        Ok(Subject {
            in_engine: tagged("dev")?,
            in_registry: if known { Some(tagged("latest")?) } else { None },
            target: Some(service.target.clone()),
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
        let target = services.iter().find(is_its).map(|service| service.target.clone());
        Ok(Subject { in_engine: image.clone(), in_registry: Some(image), target, releases: Some(bare) })
    };
    request.subjects.iter().map(of_name).collect()
}

/// What of the subjects the engine has, where one runs; all at once, for they share layers.
fn in_engine(session: &Session, request: &Request, library: &Library, subjects: &[Subject]) -> Result<Vec<Option<Image>>> {
    let nothing = || vec![None; subjects.len()];
    if request.place == Some(Place::Registry) {
        return Ok(nothing());
    }
    let config = &session.config;
    let engine = match Engine::running(&session.env, config.engine, config.suite, &session.shutdown) {
        Ok(Some(engine)) => engine,
        Ok(None) | Err(_) if request.place.is_none() => return Ok(nothing()),
        Ok(None) => return Err(Error::failed("no engine runs here").hint("start it, or look with `--from registry`")),
        Err(error) => return Err(error),
    };
    let names: Vec<ImageRef> = subjects.iter().map(|subject| subject.in_engine.clone()).collect();
    library.from_engine(&image_store(session, &engine), &names)
}

fn nowhere(subject: &Subject, request: &Request) -> Error {
    let mut places = Vec::new();
    if request.place != Some(Place::Registry) {
        places.push(format!("{} in the engine", subject.in_engine.familiar()));
    }
    if let Some(name) = subject.in_registry.as_ref().filter(|_| request.place != Some(Place::Engine)) {
        places.push(format!("{} in its registry", name.familiar()));
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
    let compared = || -> Result<Since> {
        let Some(release) = last_release(&session.registry, repository, name.tag())? else {
            return Ok(Since::None(format!("{} has no release", repository.familiar())));
        };
        let release = repository.with_tag(release);
        let own: Option<Platform> = image.platform.parse().ok();
        let before = library.from_registry(&session.registry, &release, platform.or(own.as_ref()))?;
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

/// The Dockerfile's line of each layer.
fn lines(session: &Session, dockerfile: &Dockerfile, target: Option<&str>, image: &Image) -> Vec<Option<Line>> {
    let chain = target.map(|target| chain(dockerfile, target)).unwrap_or_default();
    let steps = matched(&image.history, &chain);
    let line = |step: &Instruction| Line {
        file: session.config.images.dockerfile.clone(),
        line: step.line,
        text: [std::slice::from_ref(&step.keyword), &step.flags, std::slice::from_ref(&step.args)].concat().join(" "),
    };
    image.layers.iter().map(|layer| steps.get(layer.step?).copied().flatten().map(line)).collect()
}

/// The instructions that make a target's image, first to last: those of the stages it starts from, then its own.
fn chain<'d>(dockerfile: &'d Dockerfile, target: &str) -> Vec<&'d Instruction> {
    let mut chain = Vec::new();
    let mut stages = dockerfile.stages();
    let mut wanted = target.to_ascii_lowercase();
    while let Some(at) = stages.iter().rposition(|stage| stage.name() == Some(&wanted)) {
        let mut whole: Vec<&Instruction> = stages[at].instructions().iter().collect();
        whole.append(&mut chain);
        chain = whole;
        wanted = stages[at].base().to_ascii_lowercase();
        // FROM sees only what stands before it.
        stages = &stages[..at];
    }
    chain
}

/// For each step of an image's history the instruction that made it. Both lists are walked from their ends: the beginning of the history
/// is the base image's, and an instruction that was added or edited since the build has no step.
fn matched<'d>(history: &[String], chain: &[&'d Instruction]) -> Vec<Option<&'d Instruction>> {
    let mut left = chain.len();
    let mut found: Vec<Option<&Instruction>> = history
        .iter()
        .rev()
        .map(|step| {
            let at = chain[..left].iter().rposition(|instruction| made(step, instruction))?;
            left = at;
            Some(chain[at])
        })
        .collect();
    found.reverse();
    found
}

/// Whether an instruction can have made a step. BuildKit writes `KEYWORD args # buildkit`, flags left out and variables replaced, and RUN as
/// `RUN |1 ARG=value /bin/sh -c command`; the classic builder `/bin/sh -c #(nop)  KEYWORD args`.
fn made(step: &str, instruction: &Instruction) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let step = step.trim_end_matches("# buildkit").trim();
    let step = match step.strip_prefix("/bin/sh -c") {
        Some(rest) => rest.trim().strip_prefix("#(nop)").map_or_else(|| format!("RUN {rest}"), |rest| rest.trim().to_owned()),
        None => step.to_owned(),
    };
    let (step, wanted) = (words(&step), words(&instruction.args));
    if step.first().is_none_or(|keyword| *keyword != instruction.keyword) {
        return false;
    }
    let free = instruction.args.contains('$') || instruction.args.starts_with(['[', '<']);
    match instruction.keyword.as_str() {
        "RUN" if !instruction.args.starts_with(['[', '<']) => step.join(" ").ends_with(&wanted.join(" ")),
        "COPY" | "ADD" | "WORKDIR" if !free => match (step.last(), wanted.last()) {
            (Some(made), Some(written)) => {
                made.trim_end_matches('/').ends_with(written.trim_start_matches("./").trim_end_matches('/'))
            }
            _ => false,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const DOCKERFILE: &str = "ARG NODE=node:24\nFROM ${NODE} AS base\nARG V=1\nRUN npm i \\\n  pnpm@$V\n\nFROM base AS Runtime\nENV A=1\n\
        WORKDIR app\nCOPY --link --from=x . .\n\nFROM runtime AS api\nCOPY --link --from=base /out/ /app/\nRUN [\"node\"]\nCOPY a b /app\n\
        CMD [\"node\"]\n";

    fn numbers(history: &[&str], target: &str) -> Vec<Option<usize>> {
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), DOCKERFILE).unwrap();
        let history: Vec<String> = history.iter().map(|step| (*step).to_owned()).collect();
        matched(&history, &chain(&dockerfile, target)).into_iter().map(|found| found.map(|step| step.line)).collect()
    }

    #[test]
    fn each_step_of_a_history_is_traced_to_the_line_that_made_it() {
        let base = ["RUN /bin/sh -c apt-get update # buildkit", "CMD [\"node\"]"];
        let own = [
            "ARG V=1",
            "RUN |1 V=1 /bin/sh -c npm i   pnpm@$V # buildkit",
            "ENV A=1",
            "WORKDIR /app",
            "COPY . . # buildkit",
            "COPY /out/ /app/ # buildkit",
            "RUN node # buildkit",
            "COPY a b /app # buildkit",
            "CMD [\"node\"]",
        ];
        let lines = [3, 4, 8, 9, 10, 13, 14, 15, 16].map(Some);
        assert_eq!(numbers(&[&base[..], &own[..]].concat(), "api"), [&[None, None], &lines[..]].concat());
        assert_eq!(numbers(&own[..5], "runtime"), lines[..5]);
        assert_eq!(numbers(&["x"], "nothing-of-that-name"), [None]);
    }

    #[test]
    fn an_instruction_that_the_image_does_not_have_shifts_no_other() {
        let without_run =
            ["ENV A=1", "WORKDIR /app", "COPY . . # buildkit", "COPY /out/ /app/ # buildkit", "COPY a b /app # buildkit"];
        assert_eq!(numbers(&without_run, "api"), [8, 9, 10, 13, 15].map(Some));
        let other = ["COPY . . # buildkit", "COPY /elsewhere /opt # buildkit", "COPY a b /app # buildkit"];
        assert_eq!(numbers(&other, "api"), [Some(10), None, Some(15)]);
    }

    #[test]
    fn the_classic_builders_words_are_understood() {
        let classic =
            ["/bin/sh -c #(nop)  ENV A=1", "/bin/sh -c #(nop) COPY dir:12 in /app ", "/bin/sh -c #(nop)  CMD [\"node\"]"];
        assert_eq!(numbers(&classic, "api"), [8, 15, 16].map(Some));
        assert_eq!(numbers(&["/bin/sh -c npm i   pnpm@$V"], "base"), [Some(4)]);
    }
}
