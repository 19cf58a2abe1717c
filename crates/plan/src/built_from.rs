//! Services that are built from the images of other services (`contexts = { x = "service:api" }`): whether that can be, and whom it brings
//! along. No I/O.

use crate::config::Config;
use crate::fingerprint::{Inputs, Parts};
use crate::part::{Kind, Part};
use crate::services::Service;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Fingerprint, Platform, ServiceName, nearest};
use monoship_core::sorted::SortedMap;

/// Checks that every service that another is built from is there, and that none is, in the end, built from itself.
///
/// # Errors
/// The first such context, with its line in the configuration.
pub fn check(services: &SortedMap<ServiceName, Service>, config: &Config) -> Result<()> {
    for service in services.values() {
        for (context, from) in service.given.services() {
            let at = |error: Error| {
                let configured = config.services.iter().find(|configured| configured.name == service.name);
                match configured.and_then(|configured| configured.context_lines.get(context)) {
                    Some(line) => error.at(&config.file, Some(*line)),
                    None => error,
                }
            };
            let Some(other) = services.get(from) else {
                let error = Error::usage(format!(
                    "service `{}`: its context `{context}` is `service:{from}`, and there is no such service",
                    service.name
                ));
                let near = nearest(from.as_str(), services.keys().map(ServiceName::as_str));
                let names: Vec<&str> = services.keys().map(ServiceName::as_str).into_vec();
                return Err(at(error.hint(near.map_or_else(
                    || format!("the services are {}", names.join(", ")),
                    |near| format!("did you mean `service:{near}`?"),
                ))));
            };
            if let Some(circle) = way(services, from, &service.name) {
                let circle: Vec<&str> = std::iter::once(&service.name).chain(circle).map(ServiceName::as_str).into_vec();
                let error =
                    Error::usage(format!("no service can be built first: `service:{from}` leads back, {}", circle.join(" → ")));
                return Err(at(error.hint("take one of these contexts away; what both need can be a stage of the Dockerfile")));
            }
            if let Some(platform) = lacking(service, other) {
                let error = Error::usage(format!(
                    "service `{}` is built for {platform}, and `service:{from}`, which it is built from, is not",
                    service.name
                ));
                return Err(at(
                    error.hint(format!("add \"{platform}\" to the `platforms` of {from}, or take it away from {}", service.name))
                ));
            }
        }
    }
    Ok(())
}

/// The way from a service to another, by what each is built from, both included; none where there is none.
fn way<'s>(services: &'s SortedMap<ServiceName, Service>, from: &ServiceName, to: &ServiceName) -> Option<Vec<&'s ServiceName>> {
    let mut ways: Vec<Vec<&ServiceName>> = services.get_key_value(from).map(|(name, _)| vec![name]).into_iter().into_vec();
    let mut seen = Vec::new();
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == to {
            return Some(way);
        }
        if seen.contains(&last) {
            continue;
        }
        seen.push(last);
        let next = services[last].given.services().filter_map(|(_, from)| services.get_key_value(from));
        ways.extend(next.map(|(name, _)| [&way[..], &[name]].concat()));
    }
    None
}

/// A platform that a service is built for, and the one that it is built from is not.
fn lacking(service: &Service, from: &Service) -> Option<Platform> {
    let of = |service: &Service| if service.platforms.is_empty() { vec![Platform::native()] } else { service.platforms.clone() };
    let there = of(from);
    of(service).into_iter().find(|platform| !there.contains(platform))
}

/// The chosen services with all that they are built from, in the order of `all`.
#[must_use]
pub fn complete(all: &[Service], chosen: Vec<Service>) -> Vec<Service> {
    if chosen.len() == all.len() || chosen.iter().all(|service| service.given.services().next().is_none()) {
        return chosen;
    }
    let mut names: Vec<ServiceName> = chosen.into_iter().map(|service| service.name).into_vec();
    let mut at = 0;
    while let Some(name) = names.get(at).cloned() {
        let from = all.iter().find(|service| service.name == name).into_iter().flat_map(|service| service.given.services());
        let new: Vec<ServiceName> = from.map(|(_, from)| from.clone()).filter(|from| !names.contains(from)).into_vec();
        names.extend(new);
        at += 1;
    }
    all.iter().filter(|service| names.contains(&service.name)).cloned().into_vec()
}

/// Enters what each service is built from into its inputs: the other's fingerprint stands for its image. `services` are the names of `inputs`,
/// with the contexts that their steps use.
pub fn enter(services: &[(Option<&ServiceName>, SortedMap<String, ServiceName>)], inputs: &mut [Inputs]) {
    let mut done: Vec<bool> = services.iter().map(|(_, from)| from.is_empty()).into_vec();
    // A circle was refused, so that each round comes further.
    while let Some(at) = (0..services.len()).find(|at| !done[*at] && is_ready(services, &done, *at)) {
        for (context, from) in &services[at].1 {
            let place = services.iter().position(|(name, _)| *name == Some(from));
            let fingerprint = place.map(|place| inputs[place].fingerprint());
            inputs[at].contexts.insert(context.clone(), parts(from, fingerprint.as_ref()));
        }
        done[at] = true;
    }
}

fn is_ready(services: &[(Option<&ServiceName>, SortedMap<String, ServiceName>)], done: &[bool], at: usize) -> bool {
    let is_done = |from: &ServiceName| services.iter().position(|(name, _)| *name == Some(from)).is_none_or(|place| done[place]);
    services[at].1.values().all(is_done)
}

/// What stands in the inputs for the image of a service; before its fingerprint is known, its name alone.
#[must_use]
pub fn parts(service: &ServiceName, fingerprint: Option<&Fingerprint>) -> Parts {
    let value = fingerprint.map(ToString::to_string).unwrap_or_default();
    [("image".to_owned(), Part::new(Kind::Service, [(service.to_string(), value)]))].into_iter().into_map()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::discover;
    use monoship_core::env::Env;

    fn services(text: &str) -> Result<Vec<Service>> {
        let config = crate::config::of_text("/xtask.toml".as_ref(), Some(text), &Env::new("/", []), &|| Ok(None)).unwrap();
        let packages = ["api", "web", "worker"].map(|name| (format!("apps/{name}"), format!("@m/{name}")));
        discover(&config, &packages.into(), &["base", "api", "web", "worker"])
    }

    fn refused(text: &str) -> String {
        let error = services(text).unwrap_err();
        format!("{error} | {}", error.hint_text().unwrap())
    }

    #[test]
    fn a_service_that_is_not_there_is_named_with_its_line_and_the_nearest() {
        let text = "[[service]]\nname = 'web'\ncontexts = { a = 'folder' }\n\n[[service]]\nname = 'worker'\ncontexts = { shared = 'service:aip' }\n";
        let told = refused(text);
        assert!(told.starts_with("/xtask.toml:7: service `worker`: its context `shared` is `service:aip`"), "{told}");
        assert!(told.ends_with("| did you mean `service:api`?"), "{told}");
    }

    #[test]
    fn a_circle_is_refused_with_the_way_around_it() {
        let circle = "[[service]]\nname = 'web'\ncontexts.a = 'service:api'\n[[service]]\nname = 'api'\ncontexts.w = 'service:worker'\n\
                      [[service]]\nname = 'worker'\ncontexts.w = 'service:web'\n";
        let told = refused(circle);
        assert!(told.starts_with("/xtask.toml:6: "), "{told}");
        assert!(told.contains("api → worker → web → api"), "{told}");
        let itself = refused("[[service]]\nname = 'web'\ncontexts.a = 'service:web'\n");
        assert!(itself.contains("web → web"), "{itself}");
        // A circle that a service leads to, and is no part of, is told of one that is.
        let led_to = refused(&format!(
            "{}[[service]]\nname = 'api'\ncontexts.w = 'service:web'\n",
            "[[service]]\nname = 'web'\ncontexts.w = 'service:web'\n"
        ));
        assert!(led_to.contains("web → web"), "{led_to}");
    }

    #[test]
    fn what_has_fewer_platforms_is_nothing_to_build_from() {
        let text = "[images]\nplatforms = ['linux/amd64', 'linux/arm64']\n[[service]]\nname = 'api'\nplatforms = ['linux/amd64']\n\
                    [[service]]\nname = 'web'\ncontexts.a = 'service:api'\n";
        let told = refused(text);
        assert!(told.contains("`web` is built for linux/arm64, and `service:api`"), "{told}");
        assert!(services(&text.replace("name = 'web'\n", "name = 'web'\nplatforms = ['linux/amd64']\n")).is_ok());
    }

    #[test]
    fn whoever_is_chosen_brings_along_what_it_is_built_from_and_nothing_else() {
        let text =
            "[[service]]\nname = 'worker'\ncontexts.w = 'service:web'\n[[service]]\nname = 'web'\ncontexts.a = 'service:api'\n";
        let all = services(text).unwrap();
        let with = |name: &str| {
            let chosen = all.iter().filter(|service| service.name.as_str() == name).cloned().collect();
            complete(&all, chosen).into_iter().map(|service| service.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([with("api"), with("web"), with("worker")], ["api", "api web", "api web worker"]);
    }

    #[test]
    fn of_every_target_no_service_can_be_a_context() {
        let text = "[images]\ncontexts = { a = 'service:api' }\n";
        let error = crate::config::of_text("/xtask.toml".as_ref(), Some(text), &Env::new("/", []), &|| Ok(None)).unwrap_err();
        assert!(error.to_string().starts_with("/xtask.toml:2: "), "{error}");
        assert!(error.to_string().contains("`service:api`"), "{error}");
    }
}
