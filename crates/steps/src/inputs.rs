//! What goes into each image: its targets, the images they start from, the inputs gathered. Whether anything is built is decided later.

use std::sync::Arc;

use crate::bases::{Bases, scanner_of};
use crate::project::Project;
use crate::{Session, contexts, frontend, given, outside, sources};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::cores;
use monoship_core::name::{ImageRef, Platform, ServiceName, sha256_hex};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::capability::Capabilities;
use monoship_docker::proxies;
use monoship_plan::built_from;
use monoship_plan::config::given::Given;
use monoship_plan::config::{Config, Provenance};
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

/// The variable that names a file of rules: buildx hands them to the builder, which denies sources, or takes others in their place.
const SOURCE_POLICY: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";

/// One Dockerfile target as it will be built.
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// The build arguments.
    pub args: SortedMap<String, String>,
    /// The platforms; empty means the engine's own.
    pub platforms: &'a [Platform],
    /// The named contexts' content; each replaces the stage of its name.
    pub contexts: SortedMap<String, Parts>,
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
        self.slice_of(&project.dockerfile)
    }

    /// The same of a Dockerfile as it is by now.
    ///
    /// # Errors
    /// As [`Target::slice`].
    pub fn slice_of<'d>(&self, dockerfile: &'d Dockerfile) -> Result<dockerfile::Slice<'d>> {
        let contexts: SortedSet<String> = self.contexts.keys().chain(self.given.contexts.keys()).cloned().into_set();
        dockerfile.slice(&SliceRequest {
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

/// The targets of services, in their order.
pub fn of_services<'a>(
    session: &Session,
    request: &'a BuildRequest,
    services: &'a [Service],
    cut: &contexts::Cut<'_>,
) -> Vec<Target<'a>> {
    cores::map(services, |service| of_service(session, request, service, cut.parts(&service.name)))
}

fn of_service<'a>(
    session: &Session,
    request: &'a BuildRequest,
    service: &'a Service,
    contexts: SortedMap<String, Parts>,
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
    services.iter().map(|service| project.view(service)).chain([project]).into_vec()
}

/// The target of the shared base.
pub fn of_base<'a>(session: &'a Session, request: &'a BuildRequest) -> Target<'a> {
    let config = &session.config;
    Target {
        name: &config.base_target,
        args: with_epoch(session, &config.images.build_args),
        platforms: if request.platforms.is_empty() { &config.images.platforms } else { &request.platforms },
        contexts: SortedMap::new(),
        given: &config.images.given,
        service: None,
    }
}

fn with_epoch(session: &Session, args: &SortedMap<String, String>) -> SortedMap<String, String> {
    let mut args = args.clone();
    args.entry(EPOCH_ARGUMENT.to_owned()).or_insert_with(|| epoch(session));
    args
}

/// The epoch that image times are clamped to.
pub fn epoch(session: &Session) -> String {
    session.env.get(EPOCH_ARGUMENT).unwrap_or(EPOCH).to_owned()
}

/// What the policy says by which a builder takes other sources than those that are named, where the user has one.
fn source_policy(session: &Session) -> Result<Option<String>> {
    let Some(file) = session.env.get(SOURCE_POLICY) else { return Ok(None) };
    let path = session.env.cwd.join(file);
    let policy = std::fs::read(&path).map_err(|e| Error::io("read", &path, e).hint(format!("`{SOURCE_POLICY}` names it")))?;
    Ok(Some(sha256_hex(&policy)[..16].to_owned()))
}

/// Every image from outside that a service or the base starts from, whatever is built.
///
/// # Errors
/// When a target cannot be cut out of the Dockerfile.
pub fn external_images(session: &Session, project: &Project) -> Result<SortedSet<ImageRef>> {
    let names: Vec<&str> = project.dockerfile.targets().into_vec();
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
) -> Result<SortedSet<ImageRef>> {
    let mut images = frontend::frontends_of(config, services, &dockerfile_of)?;
    let targets =
        services.iter().map(|service| (service.stage(), &service.build_args, &service.given, dockerfile_of(Some(service))));
    let base = (config.base_target.as_str(), &config.images.build_args, &config.images.given, dockerfile_of(None));
    for (target, args, given, dockerfile) in targets.chain([base]) {
        let contexts = given.contexts.keys().cloned().into_set();
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
pub fn pinned_images(session: &Session, project: &Project) -> Result<SortedSet<ImageRef>> {
    let mut images = external_images(session, project)?;
    images.extend(outside::scanner(&session.config.attest.sbom)?);
    Ok(images)
}

/// The images from outside that the request's services start from, and the base where one of them has no Dockerfile of its own.
///
/// # Errors
/// Unknown services or targets; when a target cannot be cut out of the Dockerfile.
pub fn base_images(session: &Session, project: &Project, request: &BuildRequest) -> Result<SortedSet<ImageRef>> {
    let names: Vec<&str> = project.dockerfile.targets().into_vec();
    let all = discover(&session.config, &project.packages(), &names)?;
    let services = built_from::complete(&all, select(all.clone(), &request.services)?);
    let replaced = contexts::replaced_of(project, &services);
    let contexts = |service: &Service| replaced[&service.name].iter().map(|name| ((*name).to_owned(), Parts::new())).into_map();
    let mut targets: Vec<Target<'_>> =
        services.iter().map(|service| of_service(session, request, service, contexts(service))).into_vec();
    // As for the plan's base: nobody else needs it.
    targets.extend(services.iter().any(|service| service.own.is_none()).then(|| of_base(session, request)));
    let views = views(project, &services);
    let cut_out: Vec<_> = targets.iter().zip(&views).into_vec();
    let slices = cores::try_map(&cut_out, |(target, view)| target.slice(view))?;
    let mut images: SortedSet<ImageRef> = slices.iter().flat_map(dockerfile::Slice::images).map(|base| base.image).into_set();
    images.extend(targets.iter().zip(&slices).flat_map(|(target, slice)| given::images(target.given, slice)).cloned());
    Ok(images)
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
        slices.iter().zip(views).filter(|(_, other)| std::ptr::eq(view, **other)).map(|(slice, _)| slice).into_vec()
    };
    let sent = |view: &Project| Project::sent(view, &of(view).into_iter().flat_map(dockerfile::Slice::patterns).into_set());
    let seen: Vec<(&Project, Arc<Sent>)> =
        project.all().filter(|view| !of(view).is_empty()).map(|view| Ok((view, sent(view)?))).collect::<Result<_>>()?;
    let contexts_of: Vec<(&Project, MainContext<'_>)> =
        seen.iter().map(|(view, sent)| (*view, MainContext::new(sent))).into_vec();
    let main_of = |view: &Project| contexts_of.iter().find(|(other, _)| std::ptr::eq(view, *other)).map(|(_, main)| main);
    let image_settings = settings(session, capabilities, request, bases)?;
    let native = Platform::native().to_string();
    let addresses = project.addresses(session, slices)?;
    let of_client = proxies::arguments(&session.env);
    let configured = given::Contexts::read(session, project, bases, targets.iter().map(|target| target.given).zip(slices))?;
    let all: Vec<_> = targets.iter().zip(slices).zip(views).into_vec();
    let mut inputs = cores::try_map(&all, |((target, slice), view)| {
        let main = main_of(view).ok_or_else(|| Error::failed("a context was not looked at"))?;
        let mut contexts = target.contexts.clone();
        contexts.extend(configured.of(target.given, slice));
        let makes_image = target.service.is_some();
        let mut settings = if makes_image { image_settings.clone() } else { SortedMap::new() };
        // In a registry, a laptop's image and a server's may not have one name.
        if makes_image && target.platforms.is_empty() && request.pushes() {
            settings.insert("platform".to_owned(), native.clone());
        }
        if slice.depends_on_builder() {
            settings.insert("builder".to_owned(), native.clone());
        }
        settings.extend(given::settings(session, target.given, slice, makes_image));
        // What is given here goes before what the client has.
        let args = of_client.clone().into_iter().chain(target.args.clone()).into_map();
        Inputs::new(&fingerprint::Facts {
            target: target.name,
            slice,
            contexts: &contexts,
            main,
            args: &args,
            pin: &|image| bases.identity(image),
            syntax: frontend::frontend(&view.dockerfile, &target.args)?.map(|image| bases.tool(&image)),
            addresses: &addresses,
            platforms: target.platforms,
            settings: &settings,
        })
    })?;
    sources::enter(targets, slices, &mut inputs);
    Ok(inputs)
}

/// What else changes the image: where it goes decides its compression and whether it is attested.
fn settings(
    session: &Session,
    capabilities: Capabilities,
    request: &BuildRequest,
    bases: &Bases,
) -> Result<SortedMap<String, String>> {
    let mut settings = [("epoch".to_owned(), epoch(session))].into_iter().into_map();
    settings.extend(source_policy(session)?.map(|policy| ("source-policy".to_owned(), policy)));
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
