//! The stages of the pipeline, each a function, and the session that every one of them is handed.

pub mod build;
pub mod build_base;
pub mod build_services;
pub mod caches;
pub mod checkout;
pub mod claims;
pub mod configuration;
pub mod contexts;
pub mod doctor;
pub mod engine;
pub mod gates;
pub mod given;
pub mod history;
pub mod init;
pub mod inputs;
pub mod jobs;
pub mod layers;
pub mod notify;
pub mod outcome;
pub mod planning;
pub mod platforms;
pub mod project;
pub mod publication;
pub mod publish;
pub mod signing;
pub mod since;
pub mod update_release;
pub mod upkeep;
pub mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::app::Overlay;
use crate::stage::project::Ahead;
use monoship_core::env::Env;
use monoship_core::error::Result;
use monoship_core::event::Events;
use monoship_core::execute::http::Http;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{ReleaseTag, Tag};
use monoship_docker::registry::Registry;
use monoship_github::actions::git_credentials;
use monoship_github::api::{Api, Place, Repository};
use monoship_plan::config::Config;
use monoship_plan::tags::Release;
use monoship_report::record;
use monoship_workspace::git::Git;

/// One run of a command: what every stage needs and none may change.
#[derive(Clone)]
pub struct Session {
    /// The surroundings.
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
    pub ahead: Ahead,
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
    pub(crate) overlay: Arc<Overlay>,
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
        let remote = self.git().remote()?;
        let repository: Option<Repository> = remote.and_then(|remote| format!("{}/{}", remote.owner, remote.name).parse().ok());
        let place = Place::from_env(&self.env, repository.as_ref())?;
        Ok(place.map(|place| Api::new(self.http.clone(), place, self.events.clone())))
    }

    /// Git for the repository, with the credentials of an Actions job.
    pub fn git(&self) -> Git {
        git(&self.home, &self.env, &self.shutdown)
    }

    /// The tags that a release gets: by the templates of `[release] tags`, and by the rules that the team's code adds.
    ///
    /// # Errors
    /// When a template or a rule makes no tag; when git does not say when the tag's commit was made.
    pub fn release_tags(&self, tag: &ReleaseTag) -> Result<Vec<Tag>> {
        let Some(rules) = &self.overlay.tags else { return publish::tags_of(&self.config.release.tags, &tag.version) };
        let mut tags =
            if rules.uses_templates() { publish::tags_of(&self.config.release.tags, &tag.version)? } else { Vec::new() };
        if rules.has_rules() {
            let committed = checkout::committed(&self.git(), &format!("refs/tags/{}^{{commit}}", tag.tag))?;
            tags.extend(rules.of(&Release { tag: tag.clone(), committed })?);
        }
        tags.dedup();
        Ok(tags)
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

/// `target/xtask` of a repository: git ignores it, and `cargo clean` takes it away.
pub fn state_dir(home: &Path) -> PathBuf {
    home.join("target/xtask")
}
