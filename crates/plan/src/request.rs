//! What was asked for, as values: flags and configuration are behind us. No I/O.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::config::upkeep::Tier;
use crate::config::{Config, Node, Provenance, Sbom};
use monoship_core::name::{Platform, ReleaseTag, ServiceName, Tag};

/// Where the images of a run go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into the engine, under these tags.
    Engine(Vec<Tag>),
    /// To the registry, under these tags, all or nothing.
    Registry(Vec<Tag>),
    /// A buildx output as the user wrote it; `{service}` stands for the name.
    Output(String),
}

/// From where changes are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// From this revision.
    Revision(String),
    /// From where the histories of this revision and of HEAD part.
    MergeBase(String),
    /// From where the histories of the default branch and of HEAD part.
    DefaultBranch,
}

/// One build as it was asked for.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The command line, for the record.
    pub command: String,
    /// The services by name; empty means all.
    pub services: Vec<String>,
    /// Only services that a change since then affects.
    pub since: Option<Since>,
    /// Services that other machines build at the same time, for the same run: GitHub counts their uploads together.
    pub beside: Vec<ServiceName>,
    /// Plan the others too, and skip them where their images stand: the change only says why the affected ones are built.
    pub unaffected_too: bool,
    /// Where the images go.
    pub destination: Destination,
    /// How many services build at once.
    pub jobs: NonZeroUsize,
    /// Stop the others when one fails.
    pub fail_fast: bool,
    /// Build what is unchanged too.
    pub force: bool,
    /// Execute every step.
    pub no_cache: bool,
    /// Read caches.
    pub cache_from: bool,
    /// Why no cache is written, where none is.
    pub no_cache_to: Option<String>,
    /// Ask the cache tiers. A plan that is only looked at shows none of their answers, and needs no network.
    pub ask_caches: bool,
    /// The run is for this cache tier alone: it makes no image and writes no other tier.
    pub warms: Option<Tier>,
    /// Platforms, where the command line names them.
    pub platforms: Vec<Platform>,
    /// Provenance of pushed images.
    pub provenance: Provenance,
    /// Bill of materials of pushed images.
    pub sbom: Sbom,
    /// Refuse what is not in `xtask.lock`.
    pub locked: bool,
    /// A lock must be there, and a stand-in is no pin.
    pub no_stand_ins: bool,
    /// Let an output write over what others wrote.
    pub overwrite: bool,
    /// The images are a release's.
    pub release: bool,
    /// Release images that are built on stand-ins.
    pub allow_stand_ins: bool,
}

impl BuildRequest {
    /// Every service to `destination`, as the configuration has it and no flag changes it. `jobs` is for where it does not say.
    pub fn new(command: impl Into<String>, destination: Destination, config: &Config, jobs: NonZeroUsize) -> Self {
        Self {
            command: command.into(),
            services: Vec::new(),
            since: None,
            beside: Vec::new(),
            unaffected_too: false,
            destination,
            jobs: config.jobs.or_else(|| builds_of(&config.fleet)).unwrap_or(jobs),
            fail_fast: false,
            force: false,
            no_cache: false,
            cache_from: true,
            no_cache_to: None,
            ask_caches: true,
            warms: None,
            platforms: Vec::new(),
            provenance: config.attest.provenance,
            sbom: config.attest.sbom.clone(),
            locked: false,
            no_stand_ins: false,
            overwrite: false,
            release: false,
            allow_stand_ins: false,
        }
    }

    /// True where images go to the registry.
    pub fn pushes(&self) -> bool {
        matches!(self.destination, Destination::Registry(_))
    }
}

/// How many builds a fleet takes at once; none without one.
fn builds_of(fleet: &[Node]) -> Option<NonZeroUsize> {
    fleet.iter().map(|node| node.builds).reduce(|sum, builds| sum.saturating_add(builds.get()))
}

/// What to do where a tag has no release on GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Fail,
    /// Make it.
    Create,
    /// The notes go to a file: a pushed tag need not have a release.
    ToFile,
}

/// A release as it was asked for.
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// The tag, as it was written.
    pub tag: ReleaseTag,
    /// How many services build at once, where the command line says so.
    pub jobs: Option<NonZeroUsize>,
    /// What to do where there is no GitHub release.
    pub missing: Missing,
    /// Marked as a pre-release by GitHub, whatever its number: `None` where only GitHub can say.
    pub prerelease: Option<bool>,
    /// Let version tags that exist with other content move.
    pub move_tags: bool,
    /// Take the tag as this clone has it: neither is `origin` asked, nor on which branch its commit is.
    pub local_tag: bool,
    /// Release images that are built on stand-ins.
    pub allow_stand_ins: bool,
    /// Build every image anew, every step of it, and take nothing that stands anywhere for built.
    pub rebuild: bool,
    /// Stop an earlier run that is releasing this tag; else that is an error.
    pub cancel_earlier: bool,
    /// Leave the sparse checkout in place.
    pub keep_checkout: bool,
    /// Where the notes are written too.
    pub notes_file: Option<PathBuf>,
}

impl ReleaseRequest {
    /// The release of a tag, with no flag given.
    pub fn new(tag: ReleaseTag) -> Self {
        Self {
            tag,
            jobs: None,
            missing: Missing::Fail,
            prerelease: None,
            move_tags: false,
            local_tag: false,
            allow_stand_ins: false,
            rebuild: false,
            cancel_earlier: true,
            keep_checkout: false,
            notes_file: None,
        }
    }

    /// What it asks of the build: every service, attested, on pinned bases, to the registry. `jobs` is for where nothing says it.
    pub fn build(&self, config: &Config, jobs: NonZeroUsize) -> BuildRequest {
        let command = format!("release {}", self.tag.tag);
        let plain = BuildRequest::new(command, Destination::Registry(Vec::new()), config, jobs);
        let (jobs, allow_stand_ins) = (self.jobs.unwrap_or(plain.jobs), self.allow_stand_ins);
        let (force, no_cache, cache_from) = (self.rebuild, self.rebuild, !self.rebuild);
        BuildRequest { jobs, locked: true, release: true, allow_stand_ins, force, no_cache, cache_from, ..plain }
    }
}
