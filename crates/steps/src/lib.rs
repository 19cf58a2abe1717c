//! What each stage of the pipeline does, a step a file, and the session that every one of them is handed. The language that a team writes, and
//! the command line, are built on these.

pub mod bases;
pub mod build;
pub mod build_base;
pub mod build_services;
pub mod caches;
pub mod checkout;
pub mod claims;
pub mod configuration;
pub mod contexts;
mod edited;
pub mod engine;
pub mod fleet;
pub mod frontend;
pub mod gates;
pub mod given;
pub mod history;
mod identity;
pub mod image;
pub mod inputs;
pub mod jobs;
pub mod layers;
pub mod marks;
mod memory;
pub mod mounts;
pub mod newest;
pub mod notify;
pub mod outcome;
pub mod outputs;
pub mod outside;
pub mod overlay;
pub mod planning;
pub mod platforms;
pub mod project;
pub mod proof;
pub mod prune;
pub mod publication;
pub mod sent;
pub mod service;
pub mod signing;
pub mod since;
mod sources;
mod sparse;
mod strays;
mod twice;
pub mod update_release;
pub mod upkeep;
mod usual;
pub mod verify;

pub use image::Image;
pub use notify::Message;
pub use service::Service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::overlay::Overlay;
use crate::project::EarlyScan;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::Events;
use monoship_core::execute::http::Http;
use monoship_core::execute::retry::Policy;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{ReleaseTag, Tag};
use monoship_docker::engine::Engine;
use monoship_docker::registry::Registry;
use monoship_github::actions::git_credentials;
use monoship_github::api::{Api, Place, Repository};
use monoship_github::notes::Markers;
use monoship_plan::config::{Config, Folder};
use monoship_plan::tags::{Release, Tags};
use monoship_plan::templates::TagTemplates;
use monoship_report::record;
use monoship_workspace::git::{Git, Remote};

/// One run of a command: what every stage needs and none may change.
#[derive(Clone)]
pub struct Session {
    /// The environment, as it was when the command began.
    pub env: Env,
    /// The configuration, flags and variables included.
    pub config: Config,
    /// The repository that the command was called in.
    pub home: PathBuf,
    /// Where events go.
    pub events: Events,
    /// The stop switch.
    pub shutdown: Shutdown,
    /// The client for registries and APIs: one, so that connections and certificates are shared.
    pub http: Http,
    /// The client for registries, with the user's credentials: one, so that tokens are fetched once.
    pub registry: Registry,
    /// What git was asked as the command began.
    pub early_scan: EarlyScan,
    /// What programs printed that print build secrets.
    pub secrets: given::Secrets,
    /// This run's folder: logs, metadata, record.
    pub run: record::Run,
    /// What has ended so far that is no build.
    pub ended: record::Ended,
    /// When it began, by the calendar.
    pub begun: SystemTime,
    /// When it began, by the clock that never goes back.
    pub started: Instant,
    /// Emit the builder's stream as it comes.
    pub raw: bool,
    /// What the team's code says over the configuration.
    pub overlay: Arc<Overlay>,
}

/// The repository at GitHub that a remote names: another host's `acme/shop` is somebody else's there.
pub fn at_github(env: &Env, remote: Option<Remote>) -> Option<Repository> {
    let server = env.get("GITHUB_SERVER_URL").and_then(|url| url.split("://").nth(1)).unwrap_or("github.com");
    let remote = remote.filter(|remote| remote.host == server.trim_end_matches('/'))?;
    format!("{}/{}", remote.owner, remote.name).parse().ok()
}

impl Session {
    /// Everything we keep lies below this folder.
    pub fn state_dir(&self) -> PathBuf {
        state_dir(&self.home)
    }

    /// GitHub's API for this repository; the inner error is a fragment that says why it cannot be called from here.
    ///
    /// # Errors
    /// When git does not answer, or a variable holds what cannot be meant.
    pub fn github(&self) -> Result<Result<Api, &'static str>> {
        let repository = at_github(&self.env, self.git().remote()?);
        let place = Place::from_env(&self.env, repository.as_ref())?;
        let policy = Policy::from_env(&self.env)?;
        Ok(place.map(|place| Api::new(self.http.clone(), place, self.events.clone()).with_policy(policy)))
    }

    /// True where the repository's releases, if it has any, are at GitHub.
    ///
    /// # Errors
    /// When git does not answer.
    pub fn is_at_github(&self) -> Result<bool> {
        Ok(self.env.get("GITHUB_REPOSITORY").is_some() || at_github(&self.env, self.git().remote()?).is_some())
    }

    /// The engine to build on, started where it is the embedded one.
    ///
    /// # Errors
    /// As [`engine::configured`].
    pub fn find_engine(&self) -> Result<Engine> {
        engine::configured(&self.env, &self.config, &self.events, &self.shutdown)
    }

    /// The engine to build on, if it runs; none is started.
    ///
    /// # Errors
    /// As [`engine::configured_running`].
    pub fn running_engine(&self) -> Result<Option<Engine>> {
        engine::configured_running(&self.env, &self.config, &self.shutdown)
    }

    /// Git for the repository, with the credentials of an Actions job.
    pub fn git(&self) -> Git {
        git(&self.home, &self.env, &self.shutdown)
    }

    /// The tags that a release gets: by the templates of `[release] tags`, and by the rules that the team's code adds; a pre-release, by its
    /// number or by GitHub's mark (`released` is false), the exact ones.
    ///
    /// # Errors
    /// When a template or a rule makes no tag; when git does not say when the tag's commit was made.
    pub fn release_tags(&self, tag: &ReleaseTag, released: bool) -> Result<Vec<Tag>> {
        let mut tags = self.templates().made_of(&tag.version, released)?;
        if let Some(rules) = self.overlay.tags.as_ref().filter(|rules| rules.has_rules()) {
            let (git, revision) = (self.git(), format!("refs/tags/{}^{{commit}}", tag.tag));
            let (commit, committed) = (git.resolve(&revision)?, checkout::committed(&git, &revision)?);
            let prerelease = !released || !tag.version.pre.is_empty();
            let made = rules.of(&Release { tag: tag.clone(), committed, commit, prerelease })?;
            tags.extend(made.into_iter().filter(|made| !tags.contains(made)).into_vec());
        }
        Ok(tags)
    }

    /// The templates of release tags that count here.
    pub fn templates(&self) -> TagTemplates {
        let count = self.overlay.tags.as_ref().is_none_or(Tags::uses_templates);
        if count { self.config.release.tags.clone() } else { TagTemplates::none() }
    }

    /// Refuses tags that a release, or the tool itself, may put: for whoever is no release.
    ///
    /// # Errors
    /// The first such tag, with why it is taken.
    pub fn keep_off<'t>(&self, tags: impl IntoIterator<Item = &'t Tag>) -> Result<()> {
        let rules = self.overlay.tags.clone().unwrap_or_default();
        for tag in tags {
            self.templates().keep_off([tag])?;
            if rules.own(tag) {
                return Err(Error::usage(format!(
                    "the tag `{tag}` is not free: a tag rule of the pipeline makes it for releases"
                ))
                .hint("name another with `--tag NAME`, or rename the branch"));
            }
        }
        Ok(())
    }

    /// The tag of a branch, unless that is a release's.
    ///
    /// # Errors
    /// As [`Session::keep_off`]; a name of which no tag can be made.
    pub fn branch_tag(&self, branch: &str) -> Result<Tag> {
        let tag = self.templates().of_branch(branch)?;
        self.keep_off([&tag])?;
        Ok(tag)
    }

    /// The lines around this workspace's section of a release's notes.
    pub fn markers(&self) -> Markers {
        Markers::of(self.config.folder.as_ref().map(Folder::as_str))
    }

    /// What is known of earlier builds.
    pub fn state(&self) -> record::State {
        record::State::new(&self.state_dir(), &self.shutdown)
    }

    /// The runs there were.
    pub fn history(&self) -> record::History {
        record::History::new(&self.state_dir(), &self.shutdown)
    }
}

/// See [`Session::git`].
pub fn git(home: &Path, env: &Env, shutdown: &Shutdown) -> Git {
    Git::at(home, shutdown).with_vars(git_credentials(env))
}

/// Where a repository has [`state_dir`].
pub const STATE: &str = "target/xtask";

/// `target/xtask` of a repository: git ignores it, and `cargo clean` takes it away.
pub fn state_dir(home: &Path) -> PathBuf {
    home.join(STATE)
}
