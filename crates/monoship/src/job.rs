//! What one call of the program does with the pipeline: all of it, a look at it, or one of the jobs it is cut into on several machines.
//! Where a job's border lies is said here and nowhere else.

use std::sync::Arc;

use monoship_core::name::{Platform, ServiceName};
use monoship_plan::request::{BuildRequest, ReleaseRequest};
use monoship_report::results::PlanFile;
use monoship_steps::publication::Naming;

/// What is asked of the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// What is built, and where it goes.
    pub request: BuildRequest,
    /// The commit that is built, checked out apart; none for the working tree, and for a release whose tag has still to be looked up.
    pub commit: Option<String>,
    /// The release, where there is one.
    pub release: Option<ReleaseRequest>,
    /// The branch whose tag is put, where it is that: others may have pushed to it since.
    pub branch: Option<String>,
    /// Which part of the pipeline.
    pub part: Part,
    /// The one platform that is built for, where other jobs build for the others.
    pub platform: Option<Platform>,
    /// Which attempt at the run this is, from 1.
    pub attempt: u32,
}

/// Which part of the pipeline a job does.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// None: the plan is made without effects, and every later stage says what it would do.
    Look,
    /// Up to the plan, which goes into a file for the other jobs.
    Plan,
    /// The base, for its cache.
    Base,
    /// One service, by the plan that the first job made.
    Service(ServiceName, Arc<PlanFile>),
    /// What follows the services, by what their jobs left.
    Publish(Arc<PlanFile>),
}

impl Job {
    /// A build of the working tree.
    pub fn build(request: BuildRequest) -> Self {
        Self { request, commit: None, release: None, branch: None, part: Part::Whole, platform: None, attempt: 1 }
    }

    /// The same, but only looked at.
    pub fn without_effects(self) -> Self {
        Self { part: Part::Look, ..self }
    }

    /// True where the run, of which this may be one job, puts tags.
    pub fn publishes(&self) -> bool {
        self.release.is_some() || Naming::of_branch(&self.request.destination).is_some()
    }

    /// True where nothing may be started, fetched, made or written.
    pub fn only_looks(&self) -> bool {
        matches!(self.part, Part::Look)
    }

    /// True where the monorepo is read and planned here: the last job goes by the first one's plan.
    pub fn plans(&self) -> bool {
        !matches!(self.part, Part::Publish(_))
    }

    /// True for the job that a stage after the plan and before the base belongs to.
    pub fn owns_plan(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Plan)
    }

    /// True where the base is built.
    pub fn builds_base(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Base)
    }

    /// True where services are built.
    pub fn builds_services(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Service(..))
    }

    /// True where images are at hand, built here or by other jobs: what works on each of them is done or taken over.
    pub fn has_images(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Service(..) | Part::Publish(_))
    }

    /// True for the job that ends the run: what works on all images, publishes and follows that is done here.
    pub fn ends_run(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Publish(_))
    }
}
