//! Calls of GitHub's REST API: where it is, as whom, retries, rate limits, pages. What a call means lives beside its types, in
//! `releases.rs` and `caches.rs`.
//!
//! Source: docs.github.com/rest, API version 2022-11-28.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::http::{Head, Http, Request, Response, is_loopback};
use monoship_core::execute::retry::{Again, Failed, Policy};
use monoship_core::secret::Secret;

const VERSION: &str = "2022-11-28";

/// How often what is asked for may have moved.
const MAX_MOVES: usize = 3;

/// How much of an answer is read: a page of releases may have a hundred bodies of 125,000 characters.
const MAX_ANSWER: u64 = 64 << 20;

/// What GitHub asks to wait after a secondary limit that names no time (docs: "rate limits for the REST API").
const SECONDARY_WAIT: Duration = Duration::from_mins(1);

/// What can be done where the repository itself is not found.
const UNSEEN: &str =
    "GitHub says so also of a repository that the token may not see: check GITHUB_REPOSITORY, and what the token is for";

/// No listing of ours is longer; a server that pages for ever is broken. Of 100 items each.
const MAX_PAGES: usize = 200;

/// `owner/name` of a repository, checked to be safe in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    /// The user or organisation.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name below the owner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Repository {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let part = |part: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=100).contains(&part.len()) && part.bytes().all(allowed) && part.bytes().any(|b| b != b'.')
        };
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self { owner: owner.to_owned(), name: name.to_owned() }),
            _ => Err(Error::usage(format!("`{text}` is not a GitHub repository")).hint("write `owner/name`")),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// Where the API is, which repository is meant, and as whom to call.
#[derive(Debug, Clone)]
pub struct Place {
    base: String,
    repository: Repository,
    token: Secret,
}

impl Place {
    /// From `GITHUB_API_URL` (github.com's where it is not set), `GITHUB_REPOSITORY` (else `remote`, the repository that the
    /// git remote names) and `GH_TOKEN` or `GITHUB_TOKEN`, in the order that `gh` takes them. The inner error is a fragment that
    /// says why GitHub cannot be called from here.
    ///
    /// # Errors
    /// A value that is there and cannot be meant.
    pub fn from_env(env: &Env, remote: Option<&Repository>) -> Result<Result<Self, &'static str>> {
        let base = env.get("GITHUB_API_URL").unwrap_or("https://api.github.com").trim_end_matches('/').to_owned();
        let loopback = base.strip_prefix("http://").is_some_and(|rest| is_loopback(host(rest)));
        if !loopback && !base.starts_with("https://") {
            return Err(Error::usage("GITHUB_API_URL must be https: the token is sent to it"));
        }
        let named = env.get("GITHUB_REPOSITORY").map(str::parse).transpose()?;
        let Some(repository) = named.or_else(|| remote.cloned()) else {
            return Ok(Err("no GitHub repository is known (GITHUB_REPOSITORY is not set and the git remote is not GitHub's)"));
        };
        let Some(token) = env.get("GH_TOKEN").or_else(|| env.get("GITHUB_TOKEN")) else {
            return Ok(Err("there is no token (neither GH_TOKEN nor GITHUB_TOKEN is set)"));
        };
        Ok(Ok(Self { base, repository, token: Secret::new(token.trim()) }))
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

fn host(rest: &str) -> &str {
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A caller of the API.
#[derive(Clone)]
pub struct Api {
    http: Http,
    place: Place,
    policy: Policy,
    events: Events,
}

/// An answer whose status its caller decides about: any success, 404, 409, 410 or 422.
pub struct Answer {
    response: Response,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Value>,
}

impl Answer {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The body's value.
    ///
    /// # Errors
    /// When it is not of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.response.json()
    }

    /// What GitHub says was wrong: its message and the details of a failed validation, in one line.
    #[must_use]
    pub fn problem(&self) -> String {
        problem(&self.response)
    }

    /// The error for a status that the caller has no use for.
    #[must_use]
    pub fn unexpected(&self, what: &str) -> Error {
        let error = Error::failed(format!("GitHub answered {} to {what}: {}", self.status(), self.problem()));
        if self.status() == 404 { error.hint(UNSEEN) } else { error }
    }
}

fn problem(response: &Response) -> String {
    let Ok(problem) = serde_json::from_slice::<Problem>(&response.body) else { return response.excerpt(200) };
    let details = problem.errors.iter().filter_map(|error| {
        let said = error["message"].as_str().or_else(|| error.as_str()).map(str::to_owned);
        said.or_else(|| Some(format!("{} {}", error["field"].as_str()?, error["code"].as_str()?)))
    });
    let text = std::iter::once(problem.message.clone()).chain(details).into_vec().join(": ");
    text.split(char::is_control).filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join(" ").chars().take(400).collect()
}

impl Api {
    /// A caller that waits and retries as a run that depends on the answer should, telling `events` of each wait.
    #[must_use]
    pub fn new(http: Http, place: Place, events: Events) -> Self {
        Self { http, place, policy: Policy::STANDARD, events }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.place.repository
    }

    /// Calls `path` (from the repository's root where it begins without a slash, else from the API's; the repository itself where it is
    /// empty) with an optional JSON body.
    /// Transient failures and rate limits are waited for.
    ///
    /// # Errors
    /// No answer, a refused or powerless token (401, 403), a rate limit or server error that outlasts the patience, or a
    /// status other than those of [`Answer`].
    pub fn call(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let url = match path.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.place.base),
            None if path.is_empty() => format!("{}/repos/{}", self.place.base, self.place.repository),
            None => format!("{}/repos/{}/{path}", self.place.base, self.place.repository),
        };
        self.call_url(method, &url, body)
    }

    fn call_url(&self, method: &'static str, url: &str, body: Option<&Value>) -> Result<Answer> {
        let told = |wait: &monoship_core::execute::retry::Wait<'_>| {
            let message = format!("{}; trying again in {:.1} s", wait.error, wait.pause.as_secs_f64());
            self.events.notice(Level::Info, Some(Task::Notes), message, None);
        };
        let mut url = url.to_owned();
        let mut moves = 0;
        self.policy.run(self.http.shutdown(), told, || {
            loop {
                let request = Request::new(method, &url)
                    .max_body(MAX_ANSWER)
                    .header("accept", "application/vnd.github+json")
                    .header("x-github-api-version", VERSION)
                    .header("authorization", format!("Bearer {}", self.place.token.expose()));
                let request = if let Some(body) = body { request.json(body) } else { request };
                let response = self.http.send(request)?;
                match response.status {
                    200..=299 | 400 | 404 | 409 | 410 | 422 => return Ok(Answer { response }),
                    301 | 302 | 307 | 308 => match self.moved_to(&response).filter(|_| moves < MAX_MOVES) {
                        Some(location) => (url, moves) = (location, moves + 1),
                        None => return Err(self.refusal(method, &response)),
                    },
                    _ => return Err(self.refusal(method, &response)),
                }
            }
        })
    }

    /// Where GitHub has what is asked for, of a repository that was renamed or given away: a change is to be sent there as it is. Our token
    /// goes to no other server.
    fn moved_to(&self, response: &Response) -> Option<String> {
        let location = response.header("location")?;
        location.starts_with(&format!("{}/", self.place.base)).then(|| location.to_owned())
    }

    fn refusal(&self, method: &str, response: &Response) -> Failed {
        let said = problem(response);
        let error = Error::failed(format!("GitHub answered {} to {method} {}: {said}", response.status, response.url()));
        let again = match response.status {
            403 | 429 => rate_limit(&response.head, &said, SystemTime::now()),
            _ => response.again(),
        };
        let error = match (response.status, again) {
            (401, _) => error.hint("the token is wrong or has expired: set GITHUB_TOKEN anew"),
            (403, Again::Never) if response.header("x-github-sso").is_some() => {
                error.hint("authorize the token for the organisation: `Configure SSO` beside it in the settings of its owner")
            }
            (403, Again::Never) => {
                let wants = response.header("x-accepted-github-permissions").unwrap_or("contents: write (for a release)");
                error.hint(format!(
                    "the token may not do this to {}; in a workflow it needs the permission {wants}",
                    self.place.repository
                ))
            }
            _ => error,
        };
        Failed { error, again }
    }

    /// The value at `path`, or `None` for 404.
    ///
    /// # Errors
    /// As [`Api::call`], and for a value of another shape.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let answer = self.call("GET", path, None)?;
        match answer.status() {
            404 => Ok(None),
            200 => answer.json().map(Some),
            _ => Err(answer.unexpected(path)),
        }
    }

    /// Hands each page of a listing to `page` until it returns false or the pages end; the caller asks for 100 a page.
    ///
    /// # Errors
    /// As [`Api::call`]; a listing that leads to another server, or never ends.
    pub fn pages<T: DeserializeOwned>(&self, path: &str, mut page: impl FnMut(T) -> bool) -> Result<()> {
        let mut answer = self.call("GET", path, None)?;
        for _ in 0..MAX_PAGES {
            if answer.status() != 200 {
                return Err(answer.unexpected(path));
            }
            let more = page(answer.json()?);
            let next = answer.response.next_page().map(str::to_owned);
            let (true, Some(next)) = (more, next) else { return Ok(()) };
            if !next.starts_with(&format!("{}/", self.place.base)) {
                return Err(Error::failed(format!("GitHub's list of {path} goes on at another server")));
            }
            answer = self.call_url("GET", &next, None)?;
        }
        Err(Error::failed(format!("GitHub's list of {path} does not end after {MAX_PAGES} pages")))
    }
}

/// How long a 403 or 429 asks to wait, by the rules of GitHub's "best practices": `retry-after`, else the reset time where
/// nothing remains, else a minute for a secondary limit. A 403 with none of these is a refusal.
fn rate_limit(head: &Head, said: &str, now: SystemTime) -> Again {
    if let Some(asked) = head.header("retry-after").and_then(|value| monoship_core::execute::retry::retry_after(value, now)) {
        return Again::After(asked);
    }
    if head.header("x-ratelimit-remaining") == Some("0") {
        let reset = head.header("x-ratelimit-reset").and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let at = reset.and_then(|reset| SystemTime::UNIX_EPOCH.checked_add(reset)).unwrap_or(now + SECONDARY_WAIT);
        // A second more: the reset time is cut to whole seconds.
        return Again::After(at.duration_since(now).unwrap_or_default() + Duration::from_secs(1));
    }
    if head.status == 429 || said.to_ascii_lowercase().contains("rate limit") {
        return Again::After(SECONDARY_WAIT);
    }
    Again::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> Env {
        Env::new("/", vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn where_to_call_comes_from_the_environment_and_never_shows_the_token() {
        let remote: Repository = "org/remote".parse().unwrap();
        let vars = [("GITHUB_TOKEN", "ghs_secret"), ("GITHUB_REPOSITORY", "org/repo")];
        let place = Place::from_env(&env(&vars), Some(&remote)).unwrap().unwrap();
        assert_eq!((place.base.as_str(), place.repository().to_string().as_str()), ("https://api.github.com", "org/repo"));
        assert!(!format!("{place:?}").contains("secret"), "{place:?}");
        let place = Place::from_env(&env(&vars[..1]), Some(&remote)).unwrap().unwrap();
        assert_eq!(place.repository().to_string(), "org/remote");
        let why = |vars: &[(&str, &str)]| Place::from_env(&env(vars), None).unwrap().unwrap_err();
        assert!(why(&vars[..1]).contains("no GitHub repository") && why(&vars[1..]).contains("no token"));
        assert_eq!(Place::from_env(&env(&vars).with("GH_TOKEN", "other"), None).unwrap().unwrap().token.expose(), "other");
    }

    #[test]
    fn a_token_goes_over_https_or_loopback_only() {
        let place = |url: &str| Place::from_env(&env(&[("GITHUB_API_URL", url)]), None);
        for good in ["https://ghe.example/api/v3/", "http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:80"] {
            assert!(place(good).is_ok(), "{good}");
        }
        for bad in ["http://ghe.example", "http://127.0.0.1.evil.example", "ftp://x", "api.github.com"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repository_is_safe_in_a_path() {
        assert!("my-org/repo.js_2".parse::<Repository>().is_ok());
        for bad in ["", "a", "a/b/c", "../b", "a/..", "a/b?x", "a b/c", "a/b#"] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }
}
