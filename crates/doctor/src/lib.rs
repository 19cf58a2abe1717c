//! Is everything there that a run needs? Each check looks at one area and returns findings; nothing is printed, started, written or
//! fixed here. Whatever is broken, the other checks go on: each is handed what could be read, or the error that says why not.

mod advice;
mod caches;
mod clock;
mod context;
mod disk;
mod dockerfile;
mod engine;
mod fleet;
mod generated;
mod gha;
mod git;
mod github;
mod pnpm;
mod registry;
mod runs;
mod setup;

use monoship_core::collect::Collect as _;
use monoship_core::execute::cores;
use monoship_core::execute::pool::{self, in_parallel};
use monoship_core::sorted::SortedMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::Events;
use monoship_core::execute::http::{Http, Limits};
use monoship_core::execute::retry::Policy;
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::credentials::Credentials;
use monoship_docker::engine::Engine;
use monoship_docker::registry::{Options, Registry};
use monoship_github::api::{Api, Place};
use monoship_plan::config::Config;
use monoship_plan::services::{Service, discover};
use monoship_steps::configuration;
use monoship_steps::engine as engines;
use monoship_steps::project::has_only_own;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{Dockerfile, ignore_file, load};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{Git, Tree};

/// A server that takes longer to answer a probe counts as one that cannot be reached.
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), idle: Duration::from_secs(4), whole: Duration::from_secs(5) };

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// A run works, and is slower or does less than it could.
    Warning,
    /// A run fails.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What was looked at: `engine`, `registry`, …
    pub area: &'static str,
    /// What was found, for programs and for docs/troubleshooting.md; `ok` where all is well.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, for people: a lowercase fragment.
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn new(severity: Severity, code: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        let fix = Some(fix.into()).filter(|fix| !fix.is_empty());
        Self { area: "", code, severity, what: what.into(), fix }
    }

    fn good(what: impl Into<String>) -> Self {
        Self::new(Severity::Good, "ok", what, "")
    }

    fn note(code: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, what, fix)
    }

    fn warning(code: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, what, fix)
    }

    fn problem(code: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Problem, code, what, fix)
    }

    /// An error as a finding; the fix is its hint, where it has one.
    fn error(severity: Severity, code: &'static str, error: &Error, fix: &str) -> Self {
        Self::new(severity, code, error.to_string(), error.hint_text().unwrap_or(fix))
    }
}

type Check = fn(&Checkup) -> Vec<Finding>;

/// Every check, in the order of the report. The slow ones wait for a server; all run at once.
const CHECKS: [(&str, Check); 15] = [
    ("setup", setup::check),
    ("git", git::check),
    ("pnpm", pnpm::check),
    ("dockerfile", dockerfile::check),
    ("context", context::check),
    ("generated", generated::check),
    ("engine", engine::check),
    ("fleet", fleet::check),
    ("disk", disk::check),
    ("registry", registry::check),
    ("caches", caches::check),
    ("gha", gha::check),
    ("github", github::check),
    ("clock", clock::check),
    ("runs", runs::check),
];

/// What checks look at, as far as it is there.
pub struct Checkup {
    env: Env,
    home: Result<PathBuf>,
    /// The error of a configuration that cannot be used.
    config_error: Option<Error>,
    /// The configuration; the defaults where it cannot be used.
    config: Config,
    monorepo: Option<Monorepo>,
    engine: Result<Option<Engine>>,
    http: Http,
    registry: Registry,
    github: Result<Result<Api, &'static str>>,
    shutdown: Shutdown,
}

/// The repository, each part read by itself.
struct Monorepo {
    root: PathBuf,
    workspace: Result<Workspace>,
    dockerfile: Result<Dockerfile>,
    /// Those of services' own that can be read, by their path.
    own: SortedMap<String, Dockerfile>,
    ignore: Result<Option<Ignore>>,
    tree: Result<Tree>,
    /// `None` where workspace or Dockerfile cannot be read.
    services: Option<Result<Vec<Service>>>,
}

impl Checkup {
    /// Reads what can be read: `home` is the repository's root and `config` its configuration, or why there is none.
    ///
    /// # Errors
    /// When not even the defaults make a configuration.
    pub fn new(env: &Env, home: Result<PathBuf>, config: Option<Result<Config>>, shutdown: &Shutdown) -> Result<Self> {
        let (config, config_error) = match config {
            Some(Ok(config)) => (config, None),
            failed => {
                let nowhere = Path::new("/nonexistent/xtask.toml");
                (configuration::load(nowhere, false, &Env::default(), &|| Ok(None))?, failed.and_then(Result::err))
            }
        };
        let http = Http::new(env, LIMITS, shutdown);
        let credentials = Credentials::new(env, shutdown);
        let (monorepo, engine) = pool::both(
            || home.as_ref().ok().map(|root| Monorepo::read(root, &config, shutdown)),
            || engines::configured_running(env, &config, shutdown),
        );
        Ok(Self {
            registry: Registry::new(&http, &credentials, Options::default()).policy(Policy::ONCE),
            github: api(env, home.as_ref().ok(), &http, shutdown),
            env: env.clone(),
            home,
            config_error,
            config,
            monorepo,
            engine,
            http,
            shutdown: shutdown.clone(),
        })
    }

    /// Every finding, area by area.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let found =
            in_parallel(&CHECKS, |(area, check)| check(self).into_iter().map(|finding| Finding { area, ..finding }).into_vec());
        found.into_iter().flatten().into_vec()
    }

    /// The services, where they are known.
    fn services(&self) -> &[Service] {
        let services = self.monorepo.as_ref().and_then(|monorepo| monorepo.services.as_ref());
        services.and_then(|services| services.as_ref().ok()).map(Vec::as_slice).unwrap_or_default()
    }

    fn git(&self) -> Option<Git> {
        self.home.as_ref().ok().map(|home| Git::at(home, &self.shutdown))
    }
}

fn api(env: &Env, home: Option<&PathBuf>, http: &Http, shutdown: &Shutdown) -> Result<Result<Api, &'static str>> {
    // A repository that git cannot read is the git check's finding.
    let remote = home.and_then(|home| Git::at(home, shutdown).remote().ok().flatten());
    let place = Place::from_env(env, monoship_steps::at_github(env, remote).as_ref())?;
    Ok(place.map(|place| Api::new(http.clone(), place, Events::none()).with_policy(Policy::ONCE)))
}

impl Monorepo {
    fn read(root: &Path, config: &Config, shutdown: &Shutdown) -> Self {
        let path = root.join(&config.images.dockerfile);
        let (tree, workspace) = cores::join(|| Git::at(root, shutdown).worktree(), || Workspace::load(root));
        let synthetic = || Dockerfile::parse(&path, &format!("FROM scratch AS {}\n", config.base_target));
        let dockerfile = if !path.exists() && has_only_own(config) { synthetic() } else { load(&path) };
        let own = config.services.iter().filter_map(|service| service.own.as_ref());
        let own = own.filter_map(|own| Some((own.dockerfile.clone(), load(&root.join(&own.dockerfile)).ok()?))).into_map();
        let services = workspace.as_ref().ok().zip(dockerfile.as_ref().ok()).map(|(workspace, dockerfile)| {
            let packages = workspace.packages().iter().map(|package| (package.dir.clone(), package.name().to_owned())).into_map();
            discover(config, &packages, &dockerfile.targets().collect::<Vec<_>>())
        });
        Self {
            ignore: ignore_file(&path, root).map(|file| Ignore::load(&file)).transpose(),
            root: root.to_owned(),
            workspace,
            dockerfile,
            own,
            tree,
            services,
        }
    }
}

/// The worst of all findings.
#[must_use]
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Good)
}
