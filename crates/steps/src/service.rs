//! A service that is declared in Rust: what `[[service]]` of `xtask.toml` says, for whoever has a loop to say it in.

use monoship_core::error::{Error, Result};
use monoship_plan::config::given::{self, Given};
use monoship_plan::config::{Config, Own, ServiceConfig, included};

/// A service of the repository, in addition to those that are found and configured; one of the same name replaces them.
///
/// ```
/// # use monoship_steps as monoship;
/// use monoship::Service;
///
/// let docs = Service::new("docs").package("@acme/docs").target("static").build_arg("BASE", "/docs");
/// ```
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    package: Option<String>,
    target: Option<String>,
    platforms: Vec<String>,
    build_args: Vec<(String, String)>,
    secrets: Vec<String>,
    agents: Vec<String>,
    contexts: Vec<(String, String)>,
    include: Vec<String>,
    memory: Option<String>,
    dockerfile: Option<String>,
    context_folder: Option<String>,
}

impl Service {
    /// A service of this name: the last part of its image's name. Its package is `apps/<name>` and its Dockerfile target `<name>`, unless
    /// said otherwise.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs");
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            package: None,
            target: None,
            platforms: Vec::new(),
            build_args: Vec::new(),
            secrets: Vec::new(),
            agents: Vec::new(),
            contexts: Vec::new(),
            include: Vec::new(),
            memory: None,
            dockerfile: None,
            context_folder: None,
        }
    }

    /// Its package: a folder or a package's name.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").package("@acme/docs");
    /// ```
    #[must_use]
    pub fn package(self, package: impl Into<String>) -> Self {
        Self { package: Some(package.into()), ..self }
    }

    /// Its Dockerfile target. Several services may share one.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").target("static");
    /// ```
    #[must_use]
    pub fn target(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// A Dockerfile of its own, relative to the repository's root. Its target is the last stage then, unless said otherwise.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").dockerfile("docs/Dockerfile");
    /// ```
    #[must_use]
    pub fn dockerfile(self, path: impl Into<String>) -> Self {
        Self { dockerfile: Some(path.into()), ..self }
    }

    /// The folder that its Dockerfile is built in; the repository, unless said otherwise. Without [`Service::dockerfile`] it holds that, too.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").dockerfile("docs/Dockerfile").in_folder("docs");
    /// ```
    #[must_use]
    pub fn in_folder(self, folder: impl Into<String>) -> Self {
        Self { context_folder: Some(folder.into()), ..self }
    }

    /// Adds a platform, `linux/arm64`. Without any, those of `[images]` hold.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").platform("linux/arm64");
    /// ```
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platforms.push(platform.into());
        self
    }

    /// Sets a build argument. Provenance records it: never a secret.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").build_arg("BASE", "/docs");
    /// ```
    #[must_use]
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build_args.push((name.into(), value.into()));
        self
    }

    /// Gives its build a secret, as buildx writes it: `id=npm,env=NPM_TOKEN`, `id=netrc,src=~/.netrc`.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").secret("id=npm,env=NPM_TOKEN");
    /// ```
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Gives its build an SSH agent or a key: `default`, `github=~/.ssh/github`.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").ssh("default");
    /// ```
    #[must_use]
    pub fn ssh(mut self, agent: impl Into<String>) -> Self {
        self.agents.push(agent.into());
        self
    }

    /// Gives its build a named context: a folder, `docker-image://…`, `service:…` for another service's image, which is built first, or an
    /// address that BuildKit fetches.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").context("shared", "../shared");
    /// ```
    #[must_use]
    pub fn context(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.contexts.push((name.into(), source.into()));
        self
    }

    /// Takes more files along as its sources: a path, a folder, or a pattern (`prisma/**`), from the repository's root.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").include("prisma/**");
    /// ```
    #[must_use]
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.include.push(pattern.into());
        self
    }

    /// Says how much memory a build of it takes at its height: builds that have no room together do not run at once.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").memory("4GB");
    /// ```
    #[must_use]
    pub fn memory(self, size: impl Into<String>) -> Self {
        Self { memory: Some(size.into()), ..self }
    }

    fn given(&self) -> Result<Given> {
        let of_text = |text: &String| given::Secret::try_from(toml::Value::String(text.clone()));
        let secrets = self.secrets.iter().map(of_text).collect::<Result<Vec<_>, _>>().map_err(Error::usage)?;
        let agents =
            self.agents.iter().cloned().map(given::Ssh::try_from).collect::<Result<Vec<_>, _>>().map_err(Error::usage)?;
        let context = |(name, source): &(String, String)| Ok((name.clone(), given::ContextSource::try_from(source.clone())?));
        let contexts = self.contexts.iter().map(context).collect::<Result<_, String>>().map_err(Error::usage)?;
        let written =
            given::Written { secrets: Some(secrets), ssh: Some(agents), contexts: Some(contexts), ..given::Written::default() };
        written.validate()
    }

    fn configured(&self) -> Result<ServiceConfig> {
        let wrong = |error: Error| Error::usage(format!("service `{}`, declared in Rust", self.name)).source(error);
        let platforms = self.platforms.iter().map(|platform| platform.parse()).collect::<Result<Vec<_>>>().map_err(wrong)?;
        let own = Own::of(self.dockerfile.as_deref(), self.context_folder.as_deref(), self.target.as_deref()).map_err(wrong)?;
        let folder = own.as_ref().map(Own::folder);
        Ok(ServiceConfig {
            name: self.name.parse().map_err(wrong)?,
            target: self.target.clone().filter(|_| own.is_none()).unwrap_or_else(|| self.name.clone()),
            package: self.package.clone().or(folder).unwrap_or_else(|| format!("apps/{}", self.name)),
            own,
            platforms: (!platforms.is_empty()).then_some(platforms),
            build_args: self.build_args.iter().cloned().collect(),
            include: self.include.iter().map(|pattern| included(pattern)).collect::<Result<_>>().map_err(wrong)?,
            memory: self.memory.as_deref().map(str::parse).transpose().map_err(wrong)?,
            given: self.given().map_err(wrong)?,
            context_lines: std::collections::BTreeMap::new(),
        })
    }
}

/// Lays the services that are declared in Rust over a configuration: code wins over the file.
///
/// # Errors
/// A name or platform that is none.
pub fn lay_over(config: &mut Config, services: &[Service]) -> Result<()> {
    for service in services {
        let service = service.configured()?;
        config.services.retain(|there| there.name != service.name);
        config.services.push(service);
    }
    Ok(())
}
