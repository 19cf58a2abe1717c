//! A service that is declared in Rust: what `[[service]]` of `xtask.toml` says, for whoever has a loop to say it in.

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::config::given::{self, Given};
use monoship_plan::config::{Config, Declared, ServiceConfig};

/// A service of the repository, in addition to those that are found and configured; one of the same name replaces them.
///
/// ```
/// # use monoship_steps as monoship;
/// use monoship::Service;
///
/// let docs = Service::new("docs").package("@acme/docs").target("static").build_arg("BASE", "/docs");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Service {
    name: String,
    package: Option<String>,
    target: Option<String>,
    platforms: Vec<String>,
    build_args: Vec<(String, String)>,
    secrets: Vec<String>,
    agents: Vec<String>,
    contexts: Vec<(String, String)>,
    allow: Vec<String>,
    hosts: Vec<String>,
    network: Option<String>,
    shm_size: Option<String>,
    ulimits: Vec<String>,
    cgroup_parent: Option<String>,
    labels: SortedMap<String, String>,
    annotations: SortedMap<String, String>,
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
        Self { name: name.into(), ..Self::default() }
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

    /// Gives its image a label.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").label("org.opencontainers.image.vendor", "Acme");
    /// ```
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Gives its image's manifest an annotation.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").annotation("org.opencontainers.image.vendor", "Acme");
    /// ```
    #[must_use]
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// The network of its RUN steps: `default`, `none` or `host`, which needs [`Service::allow`].
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").network("none");
    /// ```
    #[must_use]
    pub fn network(self, network: impl Into<String>) -> Self {
        Self { network: Some(network.into()), ..self }
    }

    /// A host that its steps know: `registry.internal:10.0.0.7`.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").add_host("registry.internal:10.0.0.7");
    /// ```
    #[must_use]
    pub fn add_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// The size of `/dev/shm` in its steps.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").shm_size("128m");
    /// ```
    #[must_use]
    pub fn shm_size(self, size: impl Into<String>) -> Self {
        Self { shm_size: Some(size.into()), ..self }
    }

    /// A limit of its steps: `name=soft:hard`.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").ulimit("nofile=1024:2048");
    /// ```
    #[must_use]
    pub fn ulimit(mut self, limit: impl Into<String>) -> Self {
        self.ulimits.push(limit.into());
        self
    }

    /// An entitlement of its build: `network.host`, `security.insecure`, `device`.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").allow("network.host");
    /// ```
    #[must_use]
    pub fn allow(mut self, entitlement: impl Into<String>) -> Self {
        self.allow.push(entitlement.into());
        self
    }

    /// The control group of its steps.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let docs = monoship::Service::new("docs").cgroup_parent("builds");
    /// ```
    #[must_use]
    pub fn cgroup_parent(self, group: impl Into<String>) -> Self {
        Self { cgroup_parent: Some(group.into()), ..self }
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
        let context = |(name, source): &(String, String)| Ok((name.clone(), given::ContextSource::try_from(source.clone())?));
        let contexts = self.contexts.iter().map(context).collect::<Result<_, String>>().map_err(Error::usage)?;
        let written = given::Written {
            secrets: Some(secrets),
            ssh: Some(each(&self.agents)?),
            contexts: Some(contexts),
            allow: Some(each(&self.allow)?),
            add_hosts: Some(each(&self.hosts)?),
            network: each(self.network.as_slice())?.pop(),
            shm_size: each(self.shm_size.as_slice())?.pop(),
            ulimits: Some(each(&self.ulimits)?),
            cgroup_parent: self.cgroup_parent.clone(),
            labels: Some(self.labels.clone()),
            annotations: Some(self.annotations.clone()),
        };
        written.validate()
    }

    fn configured(&self) -> Result<ServiceConfig> {
        let wrong = |error: Error| Error::usage(format!("service `{}`, declared in Rust", self.name)).source(error);
        let platforms = self.platforms.iter().map(|platform| platform.parse()).collect::<Result<Vec<_>>>().map_err(wrong)?;
        let declared = Declared {
            name: self.name.parse().map_err(wrong)?,
            target: self.target.clone(),
            package: self.package.clone(),
            dockerfile: self.dockerfile.clone(),
            context: self.context_folder.clone(),
            platforms: (!platforms.is_empty()).then_some(platforms),
            build_args: self.build_args.iter().cloned().into_map(),
            given: self.given().map_err(wrong)?,
            include: self.include.clone(),
            memory: self.memory.as_deref().map(str::parse).transpose().map_err(wrong)?,
        };
        declared.checked().map_err(wrong)
    }
}

/// What these texts mean.
fn each<T: TryFrom<String, Error = String>>(texts: &[String]) -> Result<Vec<T>> {
    texts.iter().cloned().map(T::try_from).collect::<Result<_, _>>().map_err(Error::usage)
}

/// Lays the services that are declared in Rust over a configuration: code wins over the file.
///
/// # Errors
/// What the file would be refused for, too: a name, platform or argument that is none, two services of one name.
pub fn lay_over(config: &mut Config, services: &[Service]) -> Result<()> {
    let mut seen = SortedSet::new();
    for service in services {
        let service = service.configured()?;
        if !seen.insert(service.name.clone()) {
            return Err(Error::usage(format!("service `{}` is declared twice in Rust", service.name))
                .hint("give each call of `App::service` a name of its own"));
        }
        config.services.retain(|there| there.name != service.name);
        config.services.push(service);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_gives_a_build_is_what_the_file_would_give_it() {
        let service = Service::new("docs")
            .secret("id=npm,env=NPM_TOKEN")
            .ssh("default")
            .context("shared", "../shared")
            .label("vendor", "Acme")
            .annotation("kind", "docs")
            .network("host")
            .allow("network.host")
            .add_host("registry.internal:10.0.0.7")
            .shm_size("128m")
            .ulimit("nofile=1024:2048")
            .cgroup_parent("builds");
        let file = "[[service]]\nname = 'docs'\nsecrets = ['id=npm,env=NPM_TOKEN']\nssh = ['default']\ncontexts = { shared = '../shared' }\n\
                    labels = { vendor = 'Acme' }\nannotations = { kind = 'docs' }\nnetwork = 'host'\nallow = ['network.host']\n\
                    add-hosts = ['registry.internal:10.0.0.7']\nshm-size = '128m'\nulimits = ['nofile=1024:2048']\ncgroup-parent = 'builds'\n";
        let env = monoship_core::env::Env::new("/", []);
        let config = monoship_plan::config::of_text("/xtask.toml".as_ref(), Some(file), &env, &|| Ok(None)).unwrap();
        assert_eq!(service.given().unwrap(), config.services[0].given);
        assert!(Service::new("docs").network("nowhere").given().unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn what_the_file_is_refused_for_is_refused_in_rust() {
        let refused = |services: &[Service]| {
            let env = monoship_core::env::Env::new("/", []);
            let mut config = monoship_plan::config::of_text("/xtask.toml".as_ref(), None, &env, &|| Ok(None)).unwrap();
            let error = lay_over(&mut config, services).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert_eq!(error.exit_code(), 2);
            format!("{error}: {cause}")
        };
        let api = || Service::new("api");
        assert!(refused(&[api(), Service::new("web"), api().target("b")]).contains("`api` is declared twice"));
        assert!(refused(&[api().build_arg("NPM_TOKEN", "x")]).contains("`NPM_TOKEN` looks like a secret"));
        assert!(refused(&[api().build_arg("A B", "x")]).contains("`A B` is not a valid build argument"));
        assert!(refused(&[api().target("two words")]).contains("`two words` is not a Dockerfile target"));
        assert!(refused(&[api().include("/etc")]).contains("`/etc` is not a pattern"));
        assert!(refused(&[api().in_folder("..")]).contains("leads out of the repository"));
    }
}
