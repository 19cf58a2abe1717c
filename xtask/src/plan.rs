//! What will be built, and why. No I/O: everything it needs is handed in, so that a plan can be printed, tested and executed alike.

pub mod affected;
pub mod cache;
pub mod explain;
pub mod fingerprint;
pub mod part;
pub mod request;
pub mod services;
pub mod spec;

use crate::name::{Digest, Fingerprint};
use crate::plan::cache::Tier;
use crate::plan::services::Service;
use crate::plan::spec::BuildSpec;

/// Everything a run will do, decided before anything runs.
#[derive(Debug)]
pub struct Plan {
    /// The shared base; `None` where no service is built or the Dockerfile has no such target.
    pub base: Option<TargetPlan>,
    /// The services, in the order of their names.
    pub services: Vec<ServicePlan>,
}

impl Plan {
    /// The services that the builder will be called for.
    pub fn to_build(&self) -> impl Iterator<Item = &ServicePlan> {
        self.services.iter().filter(|service| matches!(service.decision, Decision::Build { .. }))
    }
}

/// One build and the caches it uses.
#[derive(Debug)]
pub struct TargetPlan {
    /// What the builder is told.
    pub spec: BuildSpec,
    /// Every cache tier's verdict.
    pub tiers: Vec<Tier>,
}

/// One service's part of the plan.
#[derive(Debug)]
pub struct ServicePlan {
    /// The service.
    pub service: Service,
    /// Over everything that can change its image.
    pub fingerprint: Fingerprint,
    /// Whether it is built, and why.
    pub decision: Decision,
    /// Its build, which is also what a skipped one would have been.
    pub target: TargetPlan,
}

/// Whether a service is built, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The builder is called.
    Build {
        /// One line: the first reason.
        why: String,
    },
    /// The image stands.
    Skip {
        /// One line.
        why: String,
        /// Its digest, where known.
        digest: Option<Digest>,
        /// Its size in bytes, where known.
        size: Option<u64>,
    },
}
