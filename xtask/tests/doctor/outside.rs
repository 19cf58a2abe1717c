//! What can be wrong with the engine, the registry and GitHub, with the finding it must give. Registries are real where one can be so
//! broken; engines are a few lines on a socket, because old ones cannot be had.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use monoship_core::name::Digest;
use monoship_docker::manifest::OCI_MANIFEST;
use monoship_doctor::Finding;
use serde_json::json;

use crate::broken::Case;
use crate::repository::Repository;
use support::actions_cache::{CacheStore, READ, WRITE, runtime_token};
use support::github_api::{GithubApi, READ_TOKEN, TOKEN};
use support::http::{Request, Response, Server};
use support::registry::{Auth, RegistryServer};
use support::token_server::TokenServer;

pub const CASES: &[Case] = &[
    ("buildx-too-old", || on_engine("28.5.2", "0.11.0", true, &[])),
    ("graph-driver-store", || on_engine("28.5.2", "0.29.1", false, &[])),
    ("engine-outdated", || on_engine("26.1.5", "0.13.1", true, &[])),
    ("builder-missing", || on_engine("28.5.2", "0.29.1", true, &[("XTASK_BUILDERS_BUILDER", "remote")])),
    ("node-missing", || with_node("unknown")),
    ("node-unreachable", || with_node("away")),
    ("node-builds-nothing", || with_node("full")),
    ("node-clock", || with_node("late")),
    ("node-platforms", || with_node("away")),
    ("gha-protocol", || {
        let token = runtime_token(&[("refs/heads/main", READ | WRITE)], 600);
        let vars = [("ACTIONS_RUNTIME_TOKEN", token.as_str()), ("ACTIONS_RESULTS_URL", "https://results.example/")];
        on_engine("26.1.5", "0.13.1", true, &vars)
    }),
    ("no-registry", || Repository::new().examined(&[])),
    ("registry-unreachable", || with_registry("127.0.0.1:1", None)),
    ("credentials-unreadable", || {
        let repository = Repository::new();
        let config = repository.home().join(".docker");
        std::fs::create_dir(&config).unwrap();
        std::fs::write(config.join("config.json"), "{").unwrap();
        let server = RegistryServer::start(&Auth::Basic, None);
        repository.examined(&[("XTASK_IMAGES_REGISTRY", &server.host()), ("XTASK_IMAGES_NAMESPACE", "org/shop")])
    }),
    ("registry-pull-denied", || with_registry(&RegistryServer::start(&Auth::Basic, None).host(), None)),
    ("registry-push-denied", || {
        let tokens = TokenServer::start();
        with_registry(&RegistryServer::start(&Auth::Token(&tokens), None).host(), Some("reader:look"))
    }),
    ("registry-keeps-all", || with_fake(|request| deleting(request, 405))),
    ("registry-delete-denied", || with_fake(|request| deleting(request, 403))),
    ("registry-cache-missing", || with_registry(&RegistryServer::plain().host(), None)),
    ("registry-cache-broken", || with_fake(broken_cache)),
    ("clock-off", || with_fake(|_| dated(Duration::from_mins(2)))),
    ("clock-wrong", || with_fake(|_| dated(Duration::from_hours(2)))),
    ("clock-not-compared", || Repository::new().examined(&[])),
    ("gha-token-missing", || Repository::new().examined(&[("GITHUB_ACTIONS", "true")])),
    ("gha-token-expired", || in_actions(&runtime_token(&[("refs/heads/main", READ)], -60))),
    ("gha-read-only", || in_actions(&runtime_token(&[("refs/heads/main", READ)], 600))),
    ("gha-token-not-yet-valid", || in_actions(&future_token())),
    ("gha-scope-missing", || on_github(TOKEN, |_, _| ())),
    ("github-settings-wrong", || Repository::new().examined(&[("GITHUB_API_URL", "ftp://x"), ("GITHUB_TOKEN", "x")])),
    ("github-token-missing", || Repository::new().examined(&[("GITHUB_REPOSITORY", "org/shop")])),
    ("github-unreachable", || {
        let vars = [("GITHUB_API_URL", "http://127.0.0.1:1"), ("GITHUB_REPOSITORY", "org/shop"), ("GITHUB_TOKEN", "x")];
        Repository::new().examined(&vars)
    }),
    ("github-token-refused", || on_github("ghs_unknown", |_, _| ())),
    ("github-rate-limited", || {
        // Whichever of the checks asks first.
        on_github(TOKEN, |github, _| (0..9).for_each(|_| github.fail_next("GET", "/repos", GithubApi::rate_limited(900))))
    }),
    ("github-repository-unknown", || {
        let github = GithubApi::start("org/other", CacheStore::default());
        let vars =
            [("GITHUB_API_URL", github.url()), ("GITHUB_REPOSITORY", "org/shop".to_owned()), ("GITHUB_TOKEN", TOKEN.to_owned())];
        Repository::new().examined(&vars.each_ref().map(|(name, value)| (*name, value.as_str())))
    }),
    ("github-cannot-write", || on_github(READ_TOKEN, |_, _| ())),
    ("github-cannot-read-caches", || {
        on_github(TOKEN, |github, _| {
            let refused = Response::json(403, &json!({"message": "Resource not accessible by integration"}));
            github.fail_next("GET", "cache/usage", refused);
        })
    }),
    ("notes-missing", || {
        on_github(TOKEN, |github, repository| {
            repository.git(&["tag", "v1.0.0"]);
            github.release("v1.0.0", "Hand-written.");
        })
    }),
];

/// On an engine of this version, with or without containerd's store, and this buildx.
fn on_engine(version: &str, buildx: &str, containerd: bool, vars: &[(&str, &str)]) -> Vec<Finding> {
    let repository = Repository::new();
    let home = repository.home();
    let socket = home.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (driver, version) = (if containerd { "io.containerd.snapshotter.v1" } else { "overlay2" }, version.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut asked = String::new();
            while !asked.ends_with("\r\n\r\n") && stream.read_line(&mut asked).unwrap() > 0 {}
            let body = match asked.split(' ').nth(1) {
                Some("/_ping") => "OK".to_owned(),
                Some("/version") => json!({"Version": version}).to_string(),
                _ => json!({"DriverStatus": [["driver-type", driver]]}).to_string(),
            };
            write!(stream.get_mut(), "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
        }
    });
    let program = |path: &str, script: &str| {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("bin/docker", "exit 1");
    let script = format!("case \"$1 $2\" in \"version \") echo github.com/docker/buildx v{buildx} abc;; {BUILDERS} esac");
    program(".docker/cli-plugins/docker-buildx", &script);
    let (host, path) = (format!("unix://{}", socket.display()), home.join("bin"));
    let own = [("DOCKER_HOST", host.as_str()), ("PATH", path.to_str().unwrap())];
    repository.examined(&[&own[..], vars].concat())
}

/// What the plugin says of builders: one that is not there any more, one that builds for one platform, one without room, one with a wrong
/// clock, and one that it does not know.
const BUILDERS: &str = r#"
"inspect away") printf 'Driver: remote\nNodes:\nName: away0\nEndpoint: tcp://away:1234\nStatus: inactive\n';;
"inspect narrow") printf 'Driver: remote\nNodes:\nName: narrow0\nEndpoint: tcp://narrow:1234\nStatus: running\nPlatforms: linux/amd64\n';;
"inspect full"|"inspect late") printf 'Driver: remote\nNodes:\nName: it0\nEndpoint: tcp://it:1234\nStatus: running\nPlatforms: linux/arm64\n';;
"build --builder")
  test "$3" = late || { echo 'ERROR: failed to solve: write /var/lib/buildkit/x: no space left on device' >&2; exit 1; }
  echo '{"vertexes":[{"digest":"sha256:aa","name":"[1/1] WORKDIR /doctor","started":"2020-01-01T00:00:00Z","completed":"2020-01-01T00:00:01Z"}]}' >&2;;
"inspect "*) echo "ERROR: no builder \"$2\" found" >&2; exit 1;;
*) exit 1;;
"#;

/// With a fleet of this builder and [`BUILDERS`]' narrow one.
fn with_node(builder: &str) -> Vec<Finding> {
    let node = |name: &str| format!("{{ builder = '{name}', platforms = ['linux/arm64'] }}");
    let fleet = format!("[{}, {}]", node(builder), node("narrow"));
    on_engine("28.5.2", "0.29.1", true, &[("XTASK_BUILDERS_FLEET", &fleet)])
}

/// With images on `host`, logged in there as `user:password`.
fn with_registry(host: &str, login: Option<&str>) -> Vec<Finding> {
    let repository = Repository::new();
    let config = repository.home().join(".docker");
    std::fs::create_dir(&config).unwrap();
    let auths = login.map(|login| json!({host: {"auth": STANDARD.encode(login)}}));
    std::fs::write(config.join("config.json"), json!({"auths": auths.unwrap_or_else(|| json!({}))}).to_string()).unwrap();
    repository.examined(&[("XTASK_IMAGES_REGISTRY", host), ("XTASK_IMAGES_NAMESPACE", "org/shop")])
}

fn with_fake(answer: fn(&Request) -> Response) -> Vec<Finding> {
    let server = Server::start(answer);
    with_registry(server.url().trim_start_matches("http://"), None)
}

/// A registry that takes everything and answers a deletion so.
fn deleting(request: &Request, status: u16) -> Response {
    match request.method.as_str() {
        "DELETE" if request.path.contains("/manifests/") => Response::status(status),
        "POST" => Response::status(202).header("location", "/v2/upload"),
        _ if request.path.ends_with("/tags/list") || request.path == "/v2/" => Response::json(200, &json!({})),
        _ => Response::status(404),
    }
}

/// A registry whose caches name a layer that it does not have.
fn broken_cache(request: &Request) -> Response {
    let of = |text: &str| json!({"mediaType": "application/octet-stream", "digest": Digest::of(text.as_bytes()), "size": 1});
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": of("config"), "layers": [of("gone")]});
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", path) if path.contains("/cache/manifests/") => {
            Response { headers: vec![("content-type".to_owned(), OCI_MANIFEST.to_owned())], ..Response::json(200, &manifest) }
        }
        ("HEAD", path) if path.ends_with(Digest::of(b"config").as_str()) => Response::status(200),
        _ => deleting(request, 404),
    }
}

/// A server whose clock is behind ours.
fn dated(behind: Duration) -> Response {
    Response::status(200).header("date", httpdate::fmt_http_date(SystemTime::now() - behind))
}

fn in_actions(token: &str) -> Vec<Finding> {
    let vars =
        [("GITHUB_ACTIONS", "true"), ("ACTIONS_RUNTIME_TOKEN", token), ("ACTIONS_RESULTS_URL", "https://results.example/")];
    Repository::new().examined(&vars)
}

/// A runner's token that begins to be valid in an hour.
fn future_token() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"ac": "[{\"Scope\":\"refs/heads/main\",\"Permission\":1}]", "nbf": now + 3_600, "exp": now + 7_200});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// With this token at GitHub, where `change` was done before.
fn on_github(token: &str, change: impl FnOnce(&GithubApi, &Repository)) -> Vec<Finding> {
    let github = GithubApi::start("org/shop", CacheStore::default());
    let repository = Repository::new();
    change(&github, &repository);
    let (url, name) = (github.url(), github.repository().to_owned());
    repository.examined(&[("GITHUB_API_URL", &url), ("GITHUB_REPOSITORY", &name), ("GITHUB_TOKEN", token)])
}
