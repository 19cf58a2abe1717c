//! Which services there are: the defaults' discovery and the configuration's entries become one list. No I/O.

use crate::built_from;
use crate::config::given::Given;
use crate::config::upkeep::Size;
use crate::config::{Config, Own, ServiceConfig};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Platform, ServiceName, nearest};
use monoship_core::sorted::SortedMap;

/// A service that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name: the last part of its image's name.
    pub name: ServiceName,
    /// Its Dockerfile target; its name where it has a Dockerfile of its own.
    pub target: String,
    /// What its caches are called: as its target, or as itself where another service, or the base, has the same.
    pub caches: String,
    /// The Dockerfile of its own, where it has one.
    pub own: Option<Own>,
    /// Its package's folder, relative to the repository's root.
    pub package: String,
    /// Its platforms; empty means the engine's own.
    pub platforms: Vec<Platform>,
    /// Its build arguments, those of every target included.
    pub build_args: SortedMap<String, String>,
    /// What else its build is given, what every target is given included.
    pub given: Given,
    /// Patterns of files outside its packages that are its sources too.
    pub include: Vec<String>,
    /// The memory that a build of it takes at its height, where it is said.
    pub memory: Option<Size>,
}

impl Service {
    /// The stage that is built, in its own Dockerfile or the shared one; empty for the last one.
    #[must_use]
    pub fn stage(&self) -> &str {
        self.own.as_ref().map_or(&self.target, |own| &own.stage)
    }
}

/// The folder in which the defaults look for services.
pub const APPS: &str = "apps/";

/// Every `apps/*` package with a Dockerfile target of its folder's name that is not the base's, and every configured service. A configured one of
/// the same name says what differs; one called `apps-<folder>` says that the target of that name is not its own, as `init` does where
/// its Dockerfile has such a stage. `packages` are folders with their package names, `targets` the Dockerfile's stages.
///
/// # Errors
/// A configured service whose package or target is not there; no service at all; as [`built_from::check`].
pub fn discover(config: &Config, packages: &SortedMap<String, String>, targets: &[&str]) -> Result<Vec<Service>> {
    let mut services = SortedMap::new();
    for (package, folder) in packages.keys().filter_map(|dir| Some((dir, dir.strip_prefix(APPS)?))) {
        if let Ok(name) = folder.parse::<ServiceName>()
            && targets.contains(&folder)
            && folder != config.base_target
            && !config.services.iter().any(|other| other.name.to_string() == package.replace('/', "-"))
        {
            let service = Service {
                target: folder.to_owned(),
                caches: folder.to_owned(),
                own: None,
                package: package.clone(),
                platforms: config.images.platforms.clone(),
                build_args: config.images.build_args.clone(),
                given: config.images.given.clone(),
                include: Vec::new(),
                memory: None,
                name: name.clone(),
            };
            services.insert(name, service);
        }
    }
    for configured in &config.services {
        services.insert(configured.name.clone(), of_configuration(configured, config, packages, targets)?);
    }
    if services.is_empty() {
        let hint = if packages.len() < 2 {
            "pnpm-workspace.yaml finds no package but the root: `packages:` is a list of folders, such as `  - apps/*`"
        } else {
            "a service is a folder apps/<name> with a package.json and a Dockerfile target <name>, or a [[service]] in xtask.toml"
        };
        return Err(Error::usage("there is no service").at(&config.images.dockerfile, None).hint(hint));
    }
    services.keys().try_for_each(|service| apart_from_caches(service, config))?;
    name_caches(&mut services, config)?;
    built_from::check(&services, config)?;
    Ok(services.into_values().into_vec())
}

/// A service may be called `cache`; its images and the caches must not share a repository then.
fn apart_from_caches(service: &ServiceName, config: &Config) -> Result<()> {
    let (Some(_), Some(caches)) = (&config.images.prefix, &config.cache.repository) else { return Ok(()) };
    if config.images.image(service)? != *caches {
        return Ok(());
    }
    Err(Error::usage(format!("the service `{service}` and the caches have one repository, {caches}"))
        .hint("set `[cache] repository` in xtask.toml to another one"))
}

/// No two write to one cache: each would replace the other's.
fn name_caches(services: &mut SortedMap<ServiceName, Service>, config: &Config) -> Result<()> {
    let of_each = |services: &SortedMap<ServiceName, Service>| {
        let mut named = [(config.base_target.clone(), vec!["the base".to_owned()])].into_iter().into_map();
        for service in services.values() {
            named.entry(service.caches.clone()).or_default().push(format!("the service `{}`", service.name));
        }
        named
    };
    let by_target = of_each(services);
    for service in services.values_mut().filter(|service| by_target[&service.caches].len() > 1) {
        service.caches = service.name.to_string();
    }
    match of_each(services).into_iter().find(|(_, whose)| whose.len() > 1) {
        Some((name, whose)) => Err(Error::usage(format!("the caches of {} are all called `{name}`", whose.join(" and of ")))
            .hint("give one of these services another name, by a [[service]] in xtask.toml, or its target")),
        None => Ok(()),
    }
}

fn of_configuration(
    written: &ServiceConfig,
    config: &Config,
    packages: &SortedMap<String, String>,
    targets: &[&str],
) -> Result<Service> {
    let trimmed = written.package.trim_start_matches("./").trim_end_matches('/');
    let found = packages.iter().find(|(dir, name)| *dir == trimmed || *name == trimmed).map(|(dir, _)| dir.clone());
    // What a Dockerfile of its own builds need be no package.
    let folder = found.or_else(|| written.own.as_ref().map(|_| trimmed.to_owned()));
    let Some(package) = folder else {
        let error = Error::usage(format!("service `{}`: there is no package `{}`", written.name, written.package));
        let known = packages.keys().chain(packages.values()).map(String::as_str);
        return Err(match nearest(trimmed, known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("a package is a folder with a package.json that pnpm-workspace.yaml names"),
        });
    };
    if written.own.is_none() && !targets.contains(&written.target.as_str()) {
        return Err(no_target(&written.target, &config.images.dockerfile, targets));
    }
    let mut build_args = config.images.build_args.clone();
    build_args.extend(written.build_args.clone());
    Ok(Service {
        name: written.name.clone(),
        target: written.target.clone(),
        caches: written.target.clone(),
        own: written.own.clone(),
        package,
        platforms: written.platforms.clone().unwrap_or_else(|| config.images.platforms.clone()),
        build_args,
        given: config.images.given.with(&written.given),
        include: written.include.clone(),
        memory: written.memory,
    })
}

/// The error for a target that the Dockerfile does not have.
pub fn no_target(target: &str, dockerfile: &str, targets: &[&str]) -> Error {
    let error = Error::usage(format!("there is no target `{target}`")).at(dockerfile, None);
    match nearest(target, targets.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("its targets are {}", targets.join(", "))),
    }
}

/// The services that a command line names; all of them where it names none. The order is the list's.
///
/// # Errors
/// A name that is no service's, with the nearest one.
pub fn select(all: Vec<Service>, wanted: &[String]) -> Result<Vec<Service>> {
    for name in wanted {
        if !all.iter().any(|service| service.name.as_str() == name) {
            let names: Vec<&str> = all.iter().map(|service| service.name.as_str()).into_vec();
            let error = Error::usage(format!("there is no service `{name}`"));
            return Err(match nearest(name, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the services are {}", names.join(", "))),
            });
        }
    }
    Ok(all.into_iter().filter(|service| wanted.is_empty() || wanted.iter().any(|name| name == service.name.as_str())).into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::env::Env;

    fn config(text: &str) -> Config {
        crate::config::of_text("/xtask.toml".as_ref(), Some(text), &Env::new("/", []), &|| Ok(None)).unwrap()
    }

    fn packages() -> SortedMap<String, String> {
        let pairs =
            [("apps/api", "@m/api"), ("apps/web", "@m/web"), ("apps/docs", "@m/docs"), ("packages/contract", "@m/contract")];
        pairs.map(|(dir, name)| (dir.to_owned(), name.to_owned())).into()
    }

    const TARGETS: [&str; 4] = ["base", "api", "web", "contract"];

    fn names(services: &[Service]) -> Vec<String> {
        services.iter().map(|s| format!("{}={}@{}", s.name, s.target, s.package)).collect()
    }

    #[test]
    fn an_app_with_a_target_of_its_name_is_a_service_without_a_word_of_configuration() {
        // A folder called as the base's target is none: that stage is not made for it.
        let packages = packages().into_iter().chain([("apps/base".to_owned(), "@m/base".to_owned())]).collect();
        let services = discover(&config(""), &packages, &TARGETS).unwrap();
        assert_eq!(names(&services), ["api=api@apps/api", "web=web@apps/web"]);
        // Nor one whose service `init` called otherwise, since a stage has its folder's name.
        let services =
            discover(&config("[[service]]\nname = 'apps-api'\ntarget = 'contract'\npackage = 'apps/api'\n"), &packages, &TARGETS);
        assert_eq!(names(&services.unwrap()), ["apps-api=contract@apps/api", "web=web@apps/web"]);
    }

    #[test]
    fn a_configured_service_may_differ_in_everything() {
        let text = "[images]\nbuild-args = { A = '1' }\n[[service]]\nname = 'contracts'\ntarget = 'contract'\npackage = '@m/contract'\nbuild-args = { B = '2' }\n";
        let services = discover(&config(text), &packages(), &TARGETS).unwrap();
        assert_eq!(names(&services), ["api=api@apps/api", "contracts=contract@packages/contract", "web=web@apps/web"]);
        assert_eq!(services[1].build_args.len(), 2);
    }

    #[test]
    fn no_two_caches_have_one_name() {
        let caches = |text: &str| {
            let services = discover(&config(text), &packages(), &TARGETS);
            services.map(|services| services.iter().map(|s| format!("{}={}", s.name, s.caches)).collect::<Vec<_>>().join(" "))
        };
        let service =
            |name: &str, target: &str| format!("[[service]]\nname = '{name}'\ntarget = '{target}'\npackage = 'apps/docs'\n");
        assert_eq!(caches(&service("x", "contract")).unwrap(), "api=api web=web x=contract");
        assert_eq!(caches(&(service("x", "contract") + &service("y", "contract"))).unwrap(), "api=api web=web x=x y=y");
        assert_eq!(caches(&service("x", "base")).unwrap(), "api=api web=web x=x");
        let error = caches(&service("base", "contract").replace("contract", "base")).unwrap_err();
        assert_eq!(error.to_string(), "the caches of the base and of the service `base` are all called `base`");
        let error = caches(&(service("contract", "web") + &service("z", "contract"))).unwrap_err();
        assert!(error.to_string().contains("of the service `contract` and of the service `z`"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named_with_the_nearest_that_is() {
        let hint = |text: &str| discover(&config(text), &packages(), &TARGETS).unwrap_err().hint_text().unwrap().to_owned();
        assert_eq!(hint("[[service]]\nname = 'x'\ntarget = 'wbe'\npackage = 'apps/web'\n"), "did you mean `web`?");
        assert_eq!(hint("[[service]]\nname = 'x'\ntarget = 'web'\npackage = 'apps/wbe'\n"), "did you mean `apps/web`?");
        let services = discover(&config(""), &packages(), &TARGETS).unwrap();
        let error = select(services, &["aip".to_owned()]).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.hint_text()), ("there is no service `aip`", Some("did you mean `api`?")));
    }
}
