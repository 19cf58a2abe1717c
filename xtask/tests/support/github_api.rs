//! A fake of the part of GitHub's REST API that a release and cache upkeep use, with the status codes and limits that
//! docs.github.com/rest documents. Strict where GitHub is (or would be after a change of ours): authorization, permissions,
//! user agent, API version. Faults and races are injected by tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::actions_cache::CacheStore;
use super::http::{Request, Response, Server};

/// The most characters a release's body may have.
pub const BODY_LIMIT: usize = 125_000;

/// The token that may do everything in the fake repository.
pub const TOKEN: &str = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";
/// A token that may only read, as a fork's pull request has.
pub const READ_TOKEN: &str = "ghs_readonly0123456789abcdefghijklmnopq";

/// Every route that there is here: method, path, and what may be asked. A test holds each against GitHub's own description, and a request for
/// any other fails the test that made it.
pub const ROUTES: &[(&str, &str, &[&str])] = &[
    ("GET", "/", &[]),
    ("GET", "/repos/{owner}/{repo}", &[]),
    ("GET", "/repos/{owner}/{repo}/pulls", &["state", "sort", "direction", "per_page", "page"]),
    ("GET", "/repos/{owner}/{repo}/branches", &["per_page", "page"]),
    ("GET", "/repos/{owner}/{repo}/releases", &["per_page", "page"]),
    ("POST", "/repos/{owner}/{repo}/releases", &[]),
    ("GET", "/repos/{owner}/{repo}/releases/latest", &[]),
    ("GET", "/repos/{owner}/{repo}/releases/tags/{tag}", &[]),
    ("PATCH", "/repos/{owner}/{repo}/releases/{release_id}", &[]),
    ("GET", "/repos/{owner}/{repo}/actions/cache/usage", &[]),
    ("GET", "/repos/{owner}/{repo}/actions/cache/storage-limit", &[]),
    ("GET", "/repos/{owner}/{repo}/actions/caches", &["key", "ref", "per_page", "page"]),
    ("DELETE", "/repos/{owner}/{repo}/actions/caches/{cache_id}", &[]),
    ("GET", "/orgs/{org}/packages", &["package_type", "per_page", "page"]),
    ("GET", "/users/{username}/packages", &["package_type", "per_page", "page"]),
    ("GET", "/orgs/{org}/packages/{package_type}/{package_name}", &[]),
    ("GET", "/users/{username}/packages/{package_type}/{package_name}", &[]),
    ("GET", "/orgs/{org}/packages/{package_type}/{package_name}/versions", &["per_page", "page"]),
    ("GET", "/users/{username}/packages/{package_type}/{package_name}/versions", &["per_page", "page"]),
    ("DELETE", "/orgs/{org}/packages/{package_type}/{package_name}/versions/{package_version_id}", &[]),
    ("DELETE", "/users/{username}/packages/{package_type}/{package_name}/versions/{package_version_id}", &[]),
];

/// The route of a request, by its place in [`ROUTES`]; the path is as it was sent.
pub fn route_of(method: &str, path: &str) -> Option<usize> {
    let parts: Vec<&str> = path.split('/').collect();
    ROUTES.iter().position(|(of, template, _)| {
        let wanted: Vec<&str> = template.split('/').collect();
        let fits = |(wanted, part): (&&str, &&str)| if wanted.starts_with('{') { !part.is_empty() } else { wanted == part };
        *of == method && wanted.len() == parts.len() && wanted.iter().zip(&parts).all(fits)
    })
}

/// A release as the fake keeps it.
#[derive(Debug, Clone)]
pub struct Release {
    pub id: u64,
    pub tag: String,
    pub name: String,
    /// `None` is JSON's null, which a release made without notes has.
    pub body: Option<String>,
    pub draft: bool,
    pub prerelease: bool,
    pub immutable: bool,
    /// Successful `PATCH`es.
    pub writes: usize,
}

/// A version of a container package.
#[derive(Debug, Clone)]
pub struct PackageVersion {
    pub id: u64,
    pub digest: String,
    pub tags: Vec<String>,
    /// RFC 3339.
    pub updated_at: String,
}

/// Everything the fake knows; tests read it and change it.
#[derive(Default)]
pub struct State {
    pub releases: Vec<Release>,
    /// Versions by package name, for example `repo/api`.
    pub packages: BTreeMap<String, Vec<PackageVersion>>,
    /// Numbers of open pull requests.
    pub open_pulls: Vec<u64>,
    /// Branches that closed pull requests came from.
    pub closed_pull_branches: Vec<String>,
    /// Branches of forks that closed pull requests came from.
    pub closed_fork_branches: Vec<String>,
    pub branches: Vec<String>,
    /// `GET /path 200`, in order.
    pub log: Vec<String>,
    /// What was sent, each with its route's place in [`ROUTES`].
    pub bodies: Vec<(usize, Value)>,
    /// Requests that GitHub has no route for.
    strays: Vec<String>,
    next_id: u64,
    remaining: u64,
    faults: Vec<Fault>,
    hooks: Vec<Hook>,
}

struct Fault {
    method: &'static str,
    path: String,
    response: Response,
}

type Change = Box<dyn FnOnce(&mut State) + Send>;

struct Hook {
    method: &'static str,
    after: bool,
    change: Change,
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        1_000 + self.next_id
    }

    /// Adds a published release.
    pub fn add(&mut self, tag: &str, body: &str) {
        let id = self.id();
        let (tag, body) = (tag.to_owned(), Some(body.to_owned()));
        let name = tag.clone();
        self.releases.push(Release { id, tag, name, body, draft: false, prerelease: false, immutable: false, writes: 0 });
    }

    /// The release of a tag, drafts included.
    pub fn release(&mut self, tag: &str) -> &mut Release {
        self.releases.iter_mut().find(|release| release.tag == tag).expect("the test made this release")
    }
}

/// The running fake.
pub struct GithubApi {
    server: Server,
    state: Arc<Mutex<State>>,
    caches: CacheStore,
    repository: String,
}

impl Drop for GithubApi {
    fn drop(&mut self) {
        let strays = std::mem::take(&mut self.state().strays);
        assert!(strays.is_empty() || std::thread::panicking(), "GitHub has no such routes: {strays:#?}");
    }
}

impl GithubApi {
    /// Serves `owner/repo` without releases, its Actions caches being `caches`.
    pub fn start(repository: &str, caches: CacheStore) -> Self {
        let state = Arc::new(Mutex::new(State { remaining: 4_999, ..State::default() }));
        let (shared, store, name) = (Arc::clone(&state), caches.clone(), repository.to_owned());
        let server = Server::start(move |request| serve(&shared, &store, &name, request));
        Self { server, state, caches, repository: repository.to_owned() }
    }

    /// What `GITHUB_API_URL` is set to.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// `owner/repo`
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The Actions caches it lists.
    pub fn caches(&self) -> &CacheStore {
        &self.caches
    }

    /// Its state; do not hold it across a request.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a published release.
    pub fn release(&self, tag: &str, body: &str) {
        self.state().add(tag, body);
    }

    /// The body of a tag's release; empty where it is null.
    pub fn body(&self, tag: &str) -> String {
        self.state().release(tag).body.clone().unwrap_or_default()
    }

    /// The next request of `method` whose path contains `path` gets `response` instead; faults queue up.
    pub fn fail_next(&self, method: &'static str, path: &str, response: Response) {
        self.state().faults.push(Fault { method, path: path.to_owned(), response });
    }

    /// Someone else acts just before the next request of `method` is carried out; several queue up, one a request.
    pub fn before_next(&self, method: &'static str, change: impl FnOnce(&mut State) + Send + 'static) {
        self.state().hooks.push(Hook { method, after: false, change: Box::new(change) });
    }

    /// Someone else acts just after the next request of `method` was carried out.
    pub fn after_next(&self, method: &'static str, change: impl FnOnce(&mut State) + Send + 'static) {
        self.state().hooks.push(Hook { method, after: true, change: Box::new(change) });
    }

    /// The answer of an exhausted primary limit, as GitHub words it, over again in `seconds`.
    pub fn rate_limited(seconds: u64) -> Response {
        let reset = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() + seconds;
        message(403, "API rate limit exceeded for installation ID 1.")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", reset.to_string())
    }

    /// The answer of a secondary limit.
    pub fn slow_down(retry_after_seconds: u64) -> Response {
        message(429, "You have exceeded a secondary rate limit.").header("retry-after", retry_after_seconds.to_string())
    }

    /// A server's bad moment.
    pub fn bad_gateway() -> Response {
        Response::status(502).header("content-type", "text/html")
    }
}

fn message(status: u16, text: &str) -> Response {
    Response::json(
        status,
        &json!({"message": text, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}),
    )
}

fn invalid(field: &str, code: &str, text: &str) -> Response {
    let error = json!({"resource": "Release", "code": code, "field": field, "message": text});
    Response::json(422, &json!({"message": "Validation Failed", "errors": [error], "status": "422"}))
}

fn serve(state: &Mutex<State>, caches: &CacheStore, repository: &str, request: &Request) -> Response {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    run_hooks(&mut state, &request.method, false);
    match route_of(&request.method, &request.path) {
        Some(at) if request.query.iter().all(|(name, _)| ROUTES[at].2.contains(&name.as_str())) => {
            state.bodies.extend((!request.body.is_empty()).then(|| (at, request.json())));
        }
        _ => state.strays.push(format!("{} {} {:?}", request.method, request.path, request.query)),
    }
    let fault = state.faults.iter().position(|f| f.method == request.method && request.path.contains(&f.path));
    let response = match fault {
        Some(at) => state.faults.remove(at).response,
        None => refused(request).unwrap_or_else(|| route(&mut state, caches, repository, request)),
    };
    run_hooks(&mut state, &request.method, true);
    state.remaining = state.remaining.saturating_sub(1);
    let line = format!("{} {} {}", request.method, request.path, response.status);
    state.log.push(line);
    let remaining = state.remaining.to_string();
    let said = |name: &str| response.headers.iter().any(|(n, _)| n == name);
    if said("x-ratelimit-remaining") { response } else { response.header("x-ratelimit-remaining", remaining) }
        .header("x-github-request-id", "0400:FAKE")
}

fn run_hooks(state: &mut State, method: &str, after: bool) {
    if let Some(at) = state.hooks.iter().position(|hook| hook.method == method && hook.after == after) {
        let hook = state.hooks.remove(at);
        (hook.change)(state);
    }
}

/// What GitHub demands of every request, and what we demand of ours.
fn refused(request: &Request) -> Option<Response> {
    if request.header("user-agent").is_none_or(str::is_empty) {
        return Some(message(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
        ));
    }
    if request.header("x-github-api-version") != Some("2022-11-28") {
        return Some(message(400, "The API version is not supported."));
    }
    if request.header("accept") != Some("application/vnd.github+json") {
        return Some(message(415, "Must accept 'application/vnd.github+json'"));
    }
    let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match token {
        None => Some(message(401, "Requires authentication")),
        Some(TOKEN) => None,
        Some(READ_TOKEN) if request.method == "GET" => None,
        Some(READ_TOKEN) => Some(message(403, "Resource not accessible by integration")),
        Some(_) => Some(message(401, "Bad credentials")),
    }
}

fn not_found() -> Response {
    message(404, "Not Found")
}

fn route(state: &mut State, caches: &CacheStore, repository: &str, request: &Request) -> Response {
    let parts = request.segments();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (owner, repo) = repository.split_once('/').expect("owner/repo");
    let method = request.method.as_str();
    match parts.as_slice() {
        ["repos", o, r, rest @ ..] if *o == owner && *r == repo => match (method, rest) {
            ("GET", []) => Response::json(200, &json!({"full_name": repository, "default_branch": "main"})),
            ("GET", ["pulls"]) if request.param("state") == Some("closed") => {
                let own = state.closed_pull_branches.iter().map(|branch| (branch, json!({"full_name": repository})));
                // A fork that is gone has no repository.
                let forks = state
                    .closed_fork_branches
                    .iter()
                    .zip([json!({"full_name": "somebody/repo"}), serde_json::Value::Null].into_iter().cycle());
                let pull = |(n, (branch, repo)): (usize, (&String, serde_json::Value))| {
                    let base = json!({"ref": "main", "repo": {"full_name": repository}});
                    json!({"number": 9_000 + n, "state": "closed", "head": {"ref": branch, "repo": repo}, "base": base})
                };
                paged(request, own.chain(forks).enumerate().map(pull).collect())
            }
            ("GET", ["pulls"]) => {
                let open = state.open_pulls.iter().map(|number| json!({"number": number, "state": "open"})).collect();
                paged(request, open)
            }
            ("GET", ["branches"]) => paged(request, state.branches.iter().map(|name| json!({"name": name})).collect()),
            (_, ["releases", rest @ ..]) => releases(state, repository, request, rest),
            (_, ["actions", rest @ ..]) => actions(caches, repository, request, rest),
            _ => not_found(),
        },
        ["orgs", o, "packages"] if *o == owner && method == "GET" && request.param("package_type") == Some("container") => {
            paged(request, state.packages.keys().map(|name| json!({"name": name, "package_type": "container"})).collect())
        }
        ["orgs" | "users", o, "packages", "container", name, rest @ ..] if *o == owner => packages(state, request, name, rest),
        _ => not_found(),
    }
}

fn shown(release: &Release, repository: &str) -> Value {
    json!({
        "id": release.id, "tag_name": release.tag, "name": release.name, "body": release.body, "draft": release.draft,
        "prerelease": release.prerelease, "immutable": release.immutable,
        "html_url": format!("https://github.com/{repository}/releases/tag/{}", release.tag),
    })
}

fn releases(state: &mut State, repository: &str, request: &Request, rest: &[&str]) -> Response {
    let published = |state: &State, tag: &str| state.releases.iter().position(|r| r.tag == tag && !r.draft);
    match (request.method.as_str(), rest) {
        ("GET", []) => paged(request, state.releases.iter().rev().map(|release| shown(release, repository)).collect()),
        ("GET", ["tags", tag]) => match published(state, tag) {
            Some(at) => Response::json(200, &shown(&state.releases[at], repository)),
            None => not_found(),
        },
        ("GET", ["latest"]) => match state.releases.iter().rev().find(|r| !r.draft && !r.prerelease) {
            Some(release) => Response::json(200, &shown(release, repository)),
            None => not_found(),
        },
        ("POST", []) => create(state, repository, &request.json()),
        ("GET" | "PATCH", [id]) => {
            let at = state.releases.iter().position(|release| release.id.to_string() == *id);
            let Some(release) = at.map(|at| &mut state.releases[at]) else { return not_found() };
            let refused = if request.method == "PATCH" { patch(release, &request.json()) } else { None };
            if let Some(refused) = refused {
                return refused;
            }
            Response::json(200, &shown(release, repository))
        }
        _ => not_found(),
    }
}

fn create(state: &mut State, repository: &str, body: &Value) -> Response {
    let Some(tag) = body["tag_name"].as_str() else { return invalid("tag_name", "missing_field", "tag_name is required") };
    if state.releases.iter().any(|release| release.tag == tag && !release.draft) {
        return invalid("tag_name", "already_exists", "tag_name already exists");
    }
    if too_long(&body["body"]) {
        return invalid("body", "custom", "body is too long (maximum is 125000 characters)");
    }
    let (id, tag) = (state.id(), tag.to_owned());
    let flag = |name: &str| body[name].as_bool().unwrap_or(false);
    let release = Release {
        id,
        name: body["name"].as_str().unwrap_or(&tag).to_owned(),
        tag,
        body: body["body"].as_str().map(str::to_owned),
        draft: flag("draft"),
        prerelease: flag("prerelease"),
        immutable: false,
        writes: 0,
    };
    let answer = Response::json(201, &shown(&release, repository));
    state.releases.push(release);
    answer
}

fn patch(release: &mut Release, body: &Value) -> Option<Response> {
    if release.immutable {
        return Some(invalid("body", "custom", "Cannot update an immutable release"));
    }
    if too_long(&body["body"]) {
        return Some(invalid("body", "custom", "body is too long (maximum is 125000 characters)"));
    }
    if let Some(text) = body["body"].as_str() {
        release.body = Some(text.to_owned());
    }
    release.writes += 1;
    None
}

fn too_long(body: &Value) -> bool {
    body.as_str().is_some_and(|text| text.chars().count() > BODY_LIMIT)
}

fn actions(caches: &CacheStore, repository: &str, request: &Request, rest: &[&str]) -> Response {
    match (request.method.as_str(), rest) {
        ("GET", ["cache", "usage"]) => Response::json(
            200,
            &json!({"full_name": repository, "active_caches_size_in_bytes": caches.bytes(), "active_caches_count": caches.entries().len()}),
        ),
        // Only who administrates the repository is told.
        ("GET", ["cache", "storage-limit"]) => message(403, "Resource not accessible by integration"),
        ("GET", ["caches"]) => {
            let mut found = caches.entries();
            found.retain(|entry| request.param("key").is_none_or(|key| entry.key.starts_with(key)));
            found.retain(|entry| request.param("ref").is_none_or(|git_ref| entry.git_ref == git_ref));
            found.sort_by_key(|entry| std::cmp::Reverse(entry.accessed));
            let total = found.len();
            let time = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
            let listed = found.iter().map(|entry| {
                json!({"id": entry.id, "ref": entry.git_ref, "key": entry.key, "version": entry.version,
                    "size_in_bytes": entry.data.len(), "created_at": time(entry.created), "last_accessed_at": time(entry.accessed)})
            });
            let (page, link) = page(request, listed.collect());
            let answer = Response::json(200, &json!({"total_count": total, "actions_caches": page}));
            link.into_iter().fold(answer, |answer, link| answer.header("link", link))
        }
        ("DELETE", ["caches", id]) => {
            let gone = id.parse().is_ok_and(|id| caches.delete(id));
            if gone { Response::status(204) } else { not_found() }
        }
        _ => not_found(),
    }
}

fn packages(state: &mut State, request: &Request, name: &str, rest: &[&str]) -> Response {
    let Some(versions) = state.packages.get_mut(name) else { return message(404, "Package not found.") };
    match (request.method.as_str(), rest) {
        ("GET", []) => Response::json(200, &json!({"name": name, "package_type": "container", "version_count": versions.len()})),
        ("GET", ["versions"]) => {
            let listed = versions.iter().map(|version| {
                json!({"id": version.id, "name": version.digest, "updated_at": version.updated_at, "created_at": version.updated_at,
                    "metadata": {"package_type": "container", "container": {"tags": version.tags}}})
            });
            paged(request, listed.collect())
        }
        ("DELETE", ["versions", id]) => {
            let Some(at) = versions.iter().position(|version| version.id.to_string() == *id) else { return not_found() };
            let tagged = versions.iter().filter(|version| !version.tags.is_empty()).count();
            if !versions[at].tags.is_empty() && tagged == 1 {
                return message(
                    400,
                    "You cannot delete the last tagged version of a package. You must delete the package instead.",
                );
            }
            versions.remove(at);
            Response::status(204)
        }
        _ => not_found(),
    }
}

fn paged(request: &Request, items: Vec<Value>) -> Response {
    let (page, link) = page(request, items);
    link.into_iter().fold(Response::json(200, &page.into()), |answer, link| answer.header("link", link))
}

/// One page of at most 100, and the `Link` header where there are more.
fn page(request: &Request, items: Vec<Value>) -> (Vec<Value>, Option<String>) {
    let number = |name: &str, default: usize| request.param(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (size, at) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let pages = items.len().div_ceil(size);
    let slice = items.into_iter().skip((at - 1) * size).take(size).collect();
    let kept = request.query.iter().filter(|(name, _)| name != "page");
    let kept: Vec<String> = kept.map(|(name, value)| format!("{name}={}&", value.replace('/', "%2F"))).collect();
    let kept = kept.concat();
    let host = request.header("host").unwrap_or_default();
    let to = |page: usize, rel: &str| format!("<http://{host}{}?{kept}page={page}>; rel=\"{rel}\"", request.path);
    (slice, (at < pages).then(|| format!("{}, {}", to(at + 1, "next"), to(pages, "last"))))
}
