//! What will be built, and why. No I/O: everything it needs is handed in, so that a plan can be printed, tested and executed alike.

pub mod affected;
pub mod cache;
pub mod config;
pub mod explain;
pub mod fingerprint;
pub mod order;
pub mod part;
pub mod request;
pub mod services;
pub mod steps;
pub mod strays;
pub mod tags;
pub mod templates;
pub mod upkeep;

use crate::affected::Affected;
use crate::cache::Tier;
use crate::explain::Reason;
use crate::fingerprint::Inputs;
use crate::services::Service;
use crate::steps::StepChange;
use monoship_core::name::{Digest, Fingerprint, ImageRef};
use monoship_docker::spec::BuildSpec;

/// Everything a run will do, decided before anything runs.
#[derive(Debug)]
pub struct Plan {
    /// The shared base, where it has to be built.
    pub base: Option<TargetPlan>,
    /// The services, in the order of their names.
    pub services: Vec<ServicePlan>,
    /// What the request's revision was compared with, where it names one; the services it does not affect are not in the plan.
    pub affected: Option<Affected>,
}

impl Plan {
    /// The services that the builder will be called for.
    pub fn to_build(&self) -> impl Iterator<Item = &ServicePlan> {
        self.services.iter().filter(|service| service.is_built())
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
}

impl ServicePlan {
    /// True where the builder will be called for it.
    pub fn is_built(&self) -> bool {
        matches!(self.decision, Decision::Build { .. })
    }

    /// One line for tables.
    pub fn why(&self) -> String {
        if self.renames.is_empty() { self.decision.why() } else { "built before; tagged again".to_owned() }
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
