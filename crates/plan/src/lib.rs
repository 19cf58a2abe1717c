//! What will be built, and why. No I/O: everything it needs is handed in, so that a plan can be printed, tested and executed alike.

pub mod affected;
pub mod built_from;
pub mod cache;
pub mod config;
pub mod explain;
pub mod fingerprint;
pub mod fleet;
pub mod mounts;
pub mod order;
pub mod part;
pub mod request;
pub mod services;
pub mod steps;
pub mod strays;
pub mod tags;
pub mod templates;
pub mod upkeep;

use std::time::SystemTime;

use serde::Serialize;

use crate::affected::Affected;
use crate::cache::Tier;
use crate::explain::Reason;
use crate::fingerprint::Inputs;
use crate::mounts::Mounts;
use crate::services::Service;
use crate::steps::StepChange;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, Fingerprint, ImageRef, Platform, ServiceName};
use monoship_core::sorted::SortedMap;
use monoship_docker::spec::{BuildSpec, Output};

/// Everything a run will do, decided before anything runs.
#[derive(Debug)]
pub struct Plan {
    /// The shared base, where it has to be built.
    pub base: Option<TargetPlan>,
    /// The services, in the order of their names.
    pub services: Vec<ServicePlan>,
    /// The cache mounts of what is built; none where no step has any, or caches were not asked for.
    pub mounts: Option<Mounts>,
    /// What the request's revision was compared with, where it names one; the services it does not affect are not in the plan.
    pub affected: Option<Affected>,
}

impl Plan {
    /// The services that the builder will be called for.
    pub fn to_build(&self) -> impl Iterator<Item = &ServicePlan> {
        self.services.iter().filter(|service| service.is_built())
    }

    /// Keeps, of each build for several platforms, only the one for `platform`: other machines do the others, and somebody joins them all.
    /// What is not built for it at all is left out.
    ///
    /// # Errors
    /// What is built for this platform and others at once.
    pub fn keep(&mut self, platform: &Platform) -> Result<()> {
        if let Some(base) = &mut self.base
            && !base.keep(platform)?
        {
            self.base = None;
        }
        let mut kept = Vec::new();
        for mut service in std::mem::take(&mut self.services) {
            if !service.is_built() || service.target.keep(platform)? {
                kept.push(service);
            }
        }
        self.services = kept;
        self.point_to_images();
        Ok(())
    }

    /// Tells each build where the images lie that it is made from: under their content tags, which are known before they are built; of one
    /// that stands in the registry its digest is known as well.
    pub fn point_to_images(&mut self) {
        let places: SortedMap<ServiceName, String> = self
            .services
            .iter()
            .filter_map(|service| {
                let content = service.content()?;
                let image = match (&service.decision, &service.target.spec.output) {
                    (Decision::Skip { digest, .. }, Output::Push { .. }) => content.with_digest(digest.clone()),
                    _ => content.clone(),
                };
                Some((service.service.name.clone(), format!("docker-image://{image}")))
            })
            .into_map();
        for service in self.services.iter_mut().filter(|service| !service.built_from.is_empty()) {
            for (context, from) in &service.built_from {
                let Some(place) = places.get(from) else { continue };
                let builds = std::iter::once(&mut service.target.spec).chain(&mut service.target.by_platform);
                builds.for_each(|build| drop(build.contexts.insert(context.clone(), place.clone())));
            }
        }
    }
}

/// One build, what goes into it, and the caches it uses.
#[derive(Debug)]
pub struct TargetPlan {
    /// What the builder is told.
    pub spec: BuildSpec,
    /// The same for each platform, where there are several and each is built for itself, with its own caches; the builder is told these
    /// instead, and their images are joined under the spec's name. Else empty.
    pub by_platform: Vec<BuildSpec>,
    /// True where this is the build for one of several platforms, and other machines do the others: see [`Plan::keep`].
    pub is_part: bool,
    /// Everything that can change its result.
    pub inputs: Inputs,
    /// Over [`TargetPlan::inputs`].
    pub fingerprint: Fingerprint,
    /// Every cache tier's verdict; empty where nothing is built.
    pub tiers: Vec<Tier>,
    /// The steps that take in something else than at the last build; `None` where nothing is known of one.
    pub changes: Option<Vec<StepChange>>,
}

impl TargetPlan {
    /// What the builder is called for, in any order.
    pub fn builds(&self) -> &[BuildSpec] {
        if self.by_platform.is_empty() { std::slice::from_ref(&self.spec) } else { &self.by_platform }
    }

    /// False where it is not built for this platform.
    fn keep(&mut self, platform: &Platform) -> Result<bool> {
        let of_platform = |build: &&BuildSpec| build.platforms == std::slice::from_ref(platform);
        if let Some(build) = self.builds().iter().find(of_platform).cloned() {
            self.is_part = !self.by_platform.is_empty();
            self.spec = build;
            self.by_platform.clear();
            return Ok(true);
        }
        let names: Vec<&str> = self.spec.platforms.iter().map(AsRef::as_ref).into_vec();
        if !names.is_empty() && !self.spec.platforms.contains(platform) {
            return Ok(false);
        }
        let what =
            if names.is_empty() { "the builder's own platform".to_owned() } else { format!("{} at once", names.join(" and ")) };
        Err(Error::usage(format!("{} has no build for {platform} alone: it is built for {what}", self.spec.task))
            .hint("name several `[images] platforms` in xtask.toml, and a builder that pushes by itself: each has a build of its own then"))
    }
}

/// One service's part of the plan.
#[derive(Debug)]
pub struct ServicePlan {
    /// The service.
    pub service: Service,
    /// Whether it is built, and why.
    pub decision: Decision,
    /// Its build, which is also what a skipped one would have been.
    pub target: TargetPlan,
    /// Names that the standing image has to be given: it was built before, and they name another one now, or none.
    pub renames: Vec<ImageRef>,
    /// The services whose images are contexts of its build, by the contexts' names: they are built first.
    pub built_from: SortedMap<String, ServiceName>,
    /// The build that the reasons compare with; none where they say so themselves, or compare with nothing.
    pub compared: Option<Compared>,
}

/// The build that a service's reasons compare with: its last in this working tree, whatever was checked out then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    /// When it was made.
    #[serde(with = "monoship_core::time::rfc3339")]
    pub when: SystemTime,
    /// The branch or tag that was checked out, where that is known.
    pub branch: Option<String>,
    /// All of it in words: `your last build, 12m ago on branch smoke`.
    #[serde(skip)]
    pub text: String,
    /// True where another branch is checked out now: then it is no edit that makes the difference.
    #[serde(skip)]
    pub is_elsewhere: bool,
}

impl ServicePlan {
    /// True where the builder will be called for it.
    pub fn is_built(&self) -> bool {
        matches!(self.decision, Decision::Build { .. })
    }

    /// Its image under its content tag; none where no image is made of it.
    pub fn content(&self) -> Option<&ImageRef> {
        self.target.spec.output.names().last()
    }

    /// One line for tables.
    pub fn why(&self) -> String {
        if !self.renames.is_empty() {
            return "built before; tagged again".to_owned();
        }
        match self.compared.as_ref().filter(|compared| compared.is_elsewhere) {
            Some(compared) => format!("{} since {}", self.decision.why(), compared.text),
            None => self.decision.why(),
        }
    }
}

/// Whether a service is built, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The builder is called.
    Build {
        /// What differs from its last build; never empty.
        reasons: Vec<Reason>,
    },
    /// The image stands.
    Skip {
        /// Its digest.
        digest: Digest,
        /// Its size in bytes, where known.
        size: Option<u64>,
    },
}

impl Decision {
    /// One line for tables.
    pub fn why(&self) -> String {
        match self {
            Self::Build { reasons } => explain::summary(reasons, 2),
            Self::Skip { .. } => "inputs unchanged".to_owned(),
        }
    }
}
