//! GitHub's API as GitHub describes it (npm `@octokit/openapi`): what our stand-in answers is there, what we send fits, and what it shows we can
//! read. So a wrong route cannot hide behind a stand-in of our own making.

use std::path::PathBuf;
use std::sync::LazyLock;

use monoship_core::env::Env;
use monoship_core::event::Events;
use monoship_core::execute::http::{Http, Limits};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_github::api::{Api, Place};
use monoship_github::caches::Filter;
use serde_json::Value;

use support::actions_cache::CacheStore;
use support::github_api::{GithubApi, ROUTES, TOKEN, route_of};
use support::http::{Response, Server};
use support::repo::target_dir;

/// The version that was looked at; a newer one is tried when this is moved.
const PACKAGE: &str = "@octokit/openapi@23.0.2";
const FILE: &str = "package/generated/api.github.com.json";

/// The description, without the other files of its package: they are half a gigabyte.
fn description() -> &'static Value {
    static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
        let kept: PathBuf = target_dir().join("openapi").join(PACKAGE.replace(['/', '@'], "-")).join("api.github.com.json");
        if !kept.is_file() {
            let made = tempfile::tempdir_in(target_dir()).unwrap();
            let read = |call: Invocation| call.dir(made.path()).read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
            let archive = read(Invocation::new("npm").args(["pack", "--silent", PACKAGE]));
            read(Invocation::new("tar").args(["--extract", "--gzip", "--file"]).arg(archive.trim()).arg(FILE));
            std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
            std::fs::rename(made.path().join(FILE), &kept).unwrap();
        }
        serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap()
    });
    &DESCRIPTION
}

/// A value, or what its `$ref` points to.
fn followed(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(place) => followed(description().pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("no {place}"))),
        None => value,
    }
}

fn operation(method: &str, template: &str) -> &'static Value {
    let found = &description()["paths"][template][method.to_ascii_lowercase()];
    assert!(found.is_object(), "GitHub has no {method} {template}");
    found
}

#[test]
fn every_route_of_our_stand_in_is_one_of_github_s_with_these_questions() {
    for (method, template, asked) in ROUTES {
        let parameters = operation(method, template)["parameters"].as_array().into_iter().flatten().map(followed);
        let known: Vec<&str> = parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str()).collect();
        for name in *asked {
            // GitHub pages every list, and does not say so of a user's package versions.
            let pages = template.ends_with("/versions") && matches!(*name, "page" | "per_page");
            assert!(known.contains(name) || pages, "{method} {template} is not asked for {name}: {known:?}");
        }
    }
    assert_eq!(route_of("GET", "/repos/org/repo").map(|at| ROUTES[at].1), Some("/repos/{owner}/{repo}"));
    for wrong in ["/repos/org/repo/", "/repos/org", "/repos/org/repo/actions/cache/usage-policy", "//repos/org/repo"] {
        assert_eq!(route_of("GET", wrong), None, "{wrong}");
    }
}

fn api(url: &str) -> Api {
    let vars = [("GITHUB_API_URL", url), ("GITHUB_REPOSITORY", "org/repo"), ("GITHUB_TOKEN", TOKEN)];
    let env = Env::new("/", vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let place = Place::from_env(&env, None).unwrap().unwrap();
    Api::new(Http::new(&env, Limits::STANDARD, &Shutdown::new()), place, Events::none())
}

#[test]
fn what_we_send_has_the_fields_types_and_words_that_github_takes() {
    let fake = GithubApi::start("org/repo", CacheStore::default());
    let api = api(&fake.url());
    api.create_release(&"v2.0.0".parse().unwrap(), "body", false).unwrap();
    api.create_release(&"v1.2.10".parse().unwrap(), "body", false).unwrap();
    let latest = |at: usize| fake.state().bodies[at].1["make_latest"].clone();
    assert_eq!((latest(0), latest(1)), (Value::from("true"), Value::from("false")), "a backport is not GitHub's latest release");
    let id = fake.state().releases[0].id;
    api.write_body(id, "other").unwrap();
    let sent = std::mem::take(&mut fake.state().bodies);
    assert_eq!(sent.len(), 3);
    for (route, body) in sent {
        let (method, template, _) = ROUTES[route];
        let schema = followed(&operation(method, template)["requestBody"]["content"]["application/json"]["schema"]);
        for (name, value) in body.as_object().unwrap() {
            let field = followed(&schema["properties"][name]);
            assert!(field.is_object(), "{method} {template} takes no {name}");
            let kind = match value {
                Value::Bool(_) => "boolean",
                Value::String(_) => "string",
                other => panic!("{name} is {other}"),
            };
            assert_eq!(field["type"], kind, "{template} {name}");
            assert!(field["enum"].as_array().is_none_or(|words| words.contains(value)), "{template} {name} is never {value}");
        }
    }
}

#[test]
fn what_github_shows_as_its_answers_is_read() {
    let server = Server::start(|request| {
        let Some((method, template, _)) = route_of(&request.method, &request.path).map(|at| ROUTES[at]) else {
            return Response::status(404);
        };
        let shown = &followed(&operation(method, template)["responses"]["200"])["content"]["application/json"]["examples"];
        let example = shown.as_object().and_then(|all| all.values().next()).map(followed);
        example.map_or_else(|| Response::status(404), |example| Response::json(200, &example["value"]))
    });
    let api = api(&server.url());
    assert!(!api.caches(Filter::default()).unwrap().is_empty());
    assert!(api.cache_usage().unwrap().bytes > 0);
    assert!(api.cache_limit().unwrap().is_some_and(|bytes| bytes >= 1 << 30));
    assert!(!api.open_pull_requests().unwrap().is_empty() && !api.branches().unwrap().is_empty());
    assert!(api.closed_pull_branches().unwrap().is_empty(), "they are another repository's");
    let release = api.release_of(&"v1.0.0".parse().unwrap()).unwrap().unwrap();
    assert!(!release.tag_name.is_empty() && release.is_released());
    assert!(!api.releases().unwrap().is_empty() && !api.packages().unwrap().is_empty());
    assert_eq!(api.call("GET", "", None).unwrap().status(), 200);
}
