//! The planning stage: gathers what the plan needs to know and makes it. Asks; builds nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Provenance, Sbom};
use crate::engine::{Engine, ca_bundle};
use crate::error::{Error, Result};
use crate::event::Task;
use crate::name::{Fingerprint, ImageRef, Tag};
use crate::plan::cache::{CachePlan, Facts, Probe, resolve};
use crate::plan::request::{Destination, Request};
use crate::plan::services::{Service, discover, no_target, select};
use crate::plan::spec::{BuildSpec, Output};
use crate::plan::{Decision, Plan, ServicePlan, TargetPlan};
use crate::stage::Session;
use crate::stage::project::Project;

/// When no `SOURCE_DATE_EPOCH` is given, image times are clamped to this moment (1980-01-01, in seconds since 1970): constant, so that
/// equal inputs make equal images whatever commit they are part of.
const EPOCH: &str = "315532800";

/// What BuildKit runs for `--sbom=true`.
const SCANNER: &str = "docker/buildkit-syft-scanner:stable-1";

/// Makes the plan of a request.
///
/// # Errors
/// Unknown services or targets, a push without a registry, and whatever cannot be read or asked.
pub fn plan(session: &Session, project: &Project, engine: &Engine, request: &Request) -> Result<Plan> {
    let targets: Vec<&str> = project.dockerfile.targets().collect();
    let services = select(discover(&session.config, &project.packages, &targets)?, &request.services)?;
    let planner = Planner { session, project, engine, request };
    let mut all = Vec::new();
    for service in services {
        all.push(planner.service(service)?);
    }
    let base = if all.is_empty() { None } else { Some(planner.base(&targets)?) };
    Ok(Plan { base, services: all })
}

struct Planner<'a> {
    session: &'a Session,
    project: &'a Project,
    engine: &'a Engine,
    request: &'a Request,
}

impl Planner<'_> {
    fn base(&self, targets: &[&str]) -> Result<TargetPlan> {
        let config = &self.session.config;
        if !targets.contains(&config.base_target.as_str()) {
            return Err(no_target(&config.base_target, &config.images.dockerfile, targets));
        }
        let cache = self.cache(&config.base_target, &[], None);
        let mut spec = self.spec(Task::Base, &config.base_target, cache.clone());
        spec.build_args.extend(config.images.build_args.clone());
        spec.platforms.clone_from(&config.images.platforms);
        Ok(TargetPlan { spec, tiers: cache.tiers })
    }

    fn service(&self, service: Service) -> Result<ServicePlan> {
        let config = &self.session.config;
        let image = self.image(&service)?;
        let cache = self.cache(&service.target, &[&config.base_target], Some(&image));
        let mut spec = self.spec(Task::Service(service.name.clone()), &service.target, cache.clone());
        spec.build_args.extend(service.build_args.clone());
        spec.platforms.clone_from(if self.request.platforms.is_empty() { &service.platforms } else { &self.request.platforms });
        spec.output = self.output(&service, &image);
        if self.request.pushes() {
            spec.provenance = match self.request.provenance {
                Provenance::Max => Some("mode=max".to_owned()),
                Provenance::Min => Some("mode=min".to_owned()),
                Provenance::Off => None,
            };
            spec.sbom = match &self.request.sbom {
                Sbom::On => Some("true".to_owned()),
                Sbom::Generator(image) => Some(format!("generator={image}")),
                Sbom::Off => None,
            };
        }
        let decision = Decision::Build { why: "asked for".to_owned() };
        let fingerprint = Fingerprint::of(service.name.as_str().as_bytes());
        Ok(ServicePlan { service, fingerprint, decision, target: TargetPlan { spec, tiers: cache.tiers } })
    }

    fn spec(&self, task: Task, target: &str, cache: CachePlan) -> BuildSpec {
        let epoch = self.session.env.get("SOURCE_DATE_EPOCH").unwrap_or(EPOCH).to_owned();
        let secrets = ca_bundle(&self.session.env).map(|file| ("ca".to_owned(), file));
        BuildSpec {
            task,
            dockerfile: self.project.root.join(&self.session.config.images.dockerfile),
            context: self.project.root.clone(),
            target: target.to_owned(),
            contexts: BTreeMap::new(),
            build_args: BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), epoch)]),
            secrets: secrets.into_iter().collect(),
            platforms: Vec::new(),
            cache_from: cache.from,
            cache_to: cache.to,
            no_cache: self.request.no_cache,
            output: Output::CacheOnly,
            provenance: None,
            sbom: None,
            builder: self.session.config.builder.clone(),
        }
    }

    /// The image's name without tag. Without a registry it is a local name, which nothing can be pushed to.
    fn image(&self, service: &Service) -> Result<ImageRef> {
        let prefix = match &self.session.config.images.prefix {
            Some(prefix) => prefix.to_string(),
            None if self.request.pushes() => {
                return Err(Error::usage("there is no registry to push to")
                    .hint("set `[images] registry` and `namespace` in xtask.toml, or give the repository a git remote"));
            }
            None => "local".to_owned(),
        };
        format!("{prefix}/{}", service.name).parse()
    }

    fn output(&self, service: &Service, image: &ImageRef) -> Output {
        let named = |tags: &[Tag]| tags.iter().map(|tag| image.with_tag(tag.clone())).collect();
        match &self.request.destination {
            Destination::Engine(tags) => Output::Load(named(tags)),
            Destination::Registry(tags) => {
                Output::Push { names: named(tags), direct: self.engine.capabilities.push_without_store }
            }
            Destination::Output(written) => Output::Other(written.replace("{service}", service.name.as_str())),
        }
    }

    fn cache(&self, target: &str, shared: &[&str], image: Option<&ImageRef>) -> CachePlan {
        let platforms = &self.session.config.images.platforms;
        let latest: Option<Tag> = "latest".parse().ok();
        let no = |allowed: bool, flag: &str| (!allowed || self.request.no_cache).then(|| flag.to_owned());
        let facts = Facts {
            gha: Probe::Off("this is not GitHub Actions".to_owned()),
            gha_writable: Ok(()),
            gha_v2: self.engine.capabilities.gha_v2,
            registry: Probe::Off("not probed".to_owned()),
            registry_writable: Ok(()),
            registry_repository: self.session.config.cache.repository.clone(),
            previous: Probe::Off("not probed".to_owned()),
            previous_image: image.zip(latest).map(|(image, latest)| image.with_tag(latest)),
            inline_off: (!self.request.pushes()).then(|| "nothing is pushed".to_owned()),
            no_read: no(self.request.cache_from, "--cache-from none"),
            no_write: no(self.request.cache_to, "--cache-to none"),
        };
        resolve(target, shared, platforms, &facts)
    }
}

/// Makes sure that the images the plan starts from can be had: on the embedded engine without Docker Hub, by stand-ins.
///
/// # Errors
/// When an image can neither be had nor made.
pub fn provide_images(session: &Session, project: &Project, engine: &Engine, plan: &Plan) -> Result<()> {
    let images: Vec<ImageRef> = base_images(project, plan)?.into_iter().collect();
    engine.ensure_stand_ins(&images, session.config.stand_ins, &session.events, &session.http())?;
    Ok(())
}

/// Every image from outside that a plan's targets start from.
fn base_images(project: &Project, plan: &Plan) -> Result<BTreeSet<ImageRef>> {
    let mut images = BTreeSet::new();
    let specs = plan.to_build().map(|service| &service.target.spec).chain(plan.base.as_ref().map(|base| &base.spec));
    for spec in specs {
        let contexts: BTreeSet<String> = spec.contexts.keys().cloned().collect();
        let request = crate::workspace::dockerfile::Request {
            target: &spec.target,
            contexts: &contexts,
            args: &spec.build_args,
            platforms: &spec.platforms,
        };
        images.extend(project.dockerfile.slice(&request)?.images().map(|base| base.image));
        if spec.sbom.as_deref() == Some("true") {
            images.insert(SCANNER.parse()?);
        }
    }
    Ok(images)
}
