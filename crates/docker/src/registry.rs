//! A client of the OCI distribution specification 1.1: manifests byte for byte, blobs, tags, deletion, rights. Everything read is
//! checked against its digest; what passes is tried again; credentials are asked for only when the registry does.
//!
//! Not the oci-client crate: it is async, which is an executor for everyone who compiles this, and has neither a stop switch nor a bound
//! on what it reads.
//!
//! Blobs are in `registry/blob.rs`, listings and rights in `registry/list.rs`, the token flow in `registry/session.rs`. No policy on what to publish or delete lives here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::credentials::Credentials;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Http, Request, Response, authority, without_query};
use monoship_core::execute::pool::in_parallel;
use monoship_core::execute::retry::{Again, Failed, Policy, Wait};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_core::sorted::SortedSet;

pub mod answers;
mod blob;
mod challenge;
mod layout;
mod list;
mod manifests;
mod session;

use self::answers::Ask;
pub use self::answers::Verdict;
pub use self::blob::Blob;
pub use self::list::{is_withdrawn, note, withdrawn};
use self::session::{Proof, Session};

/// How many characters of a registry's own words an error quotes.
const QUOTED: usize = 300;

/// How long a question may take whose answer is only good to have.
const PROBE: Duration = Duration::from_secs(8);

/// How a registry is talked to.
#[derive(Debug, Clone)]
pub struct Options {
    /// When to try again.
    pub policy: Policy,
    /// Hosts that may be reached without TLS, beside loopback: Docker's `insecure-registries`.
    pub insecure: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { policy: Policy::STANDARD, insecure: Vec::new() }
    }
}

/// A client for all registries. Cloning is cheap and shares connections and tokens.
#[derive(Clone)]
pub struct Registry {
    http: Http,
    inner: Arc<Inner>,
    policy: Policy,
    on_wait: Arc<dyn Fn(&Wait<'_>) + Send + Sync>,
}

struct Inner {
    credentials: Credentials,
    insecure: Vec<String>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// Hosts that answer even those who may write that a tag which is not there is not for them.
    hiding: Mutex<SortedSet<String>>,
}

/// What may be done to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// The registry refuses, for this reason.
    Denied(Refusal),
}

/// A registry's no, which asking again would not change: what it means, and its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means, by [`answers`].
    pub verdict: Verdict,
    /// What the registry says, fit to be shown, with the status.
    pub said: String,
}

impl Refusal {
    /// The error of a write to this image that was refused so.
    #[must_use]
    pub fn to_write(&self, image: &ImageRef) -> Error {
        Call::push(image).refused(self)
    }
}

/// A fragment.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::NoRepository | Verdict::Immutable | Verdict::TooMuch | Verdict::ReadOnly | Verdict::InUse => {
                write!(f, "{}: {}", self.verdict, self.said)
            }
            _ => f.write_str(&self.said),
        }
    }
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Deleted,
    /// It was not there.
    Absent,
    /// The registry does not delete by this way (405, and 400 from some): GHCR wants its Packages API, a distribution registry
    /// wants `REGISTRY_STORAGE_DELETE_ENABLED`.
    Unsupported,
}

/// What a HEAD is answered by what stands before a registry and lets nothing but GET through (RFC 9110 §15.5.6 and §15.6.2; firewalls say 403).
/// Such an answer says nothing of what was asked: GET tells.
const HEAD_REFUSED: &[u16] = &[403, 405, 501];

/// An answer whose status the caller expected, or one that is no success and does not pass.
enum Answer {
    Got(Response),
    Not(Refusal),
}

/// A request's place: whom it goes to and what it needs.
struct Call<'a> {
    image: &'a ImageRef,
    /// A token scope; several are separated by spaces.
    scope: String,
    /// What it does, for errors: "read", "write to", "delete from".
    doing: &'static str,
    /// What it asks for, as the answer is judged.
    ask: Ask,
}

impl<'a> Call<'a> {
    fn new(image: &'a ImageRef, actions: &str, doing: &'static str, ask: Ask) -> Self {
        Self { image, scope: format!("repository:{}:{actions}", image.repository()), doing, ask }
    }

    fn pull(image: &'a ImageRef) -> Self {
        Self::new(image, "pull", "read", Ask::Manifest)
    }

    fn push(image: &'a ImageRef) -> Self {
        Self::new(image, "pull,push", "write to", Ask::Upload)
    }

    fn list(image: &'a ImageRef) -> Self {
        Self::new(image, "pull", "list the tags of", Ask::List)
    }

    fn asking(self, ask: Ask) -> Self {
        Self { ask, ..self }
    }

    /// The same with the right to write, which is told what others are not.
    fn as_writer(&self) -> Self {
        Self { doing: self.doing, ..Self::new(self.image, "pull,push", "read", self.ask) }
    }

    fn refused(&self, refusal: &Refusal) -> Error {
        let host = self.image.registry();
        let place = self.image.without_reference();
        match refusal.verdict {
            Verdict::Denied | Verdict::AbsentOrDenied => {
                let also = if self.doing == "read" { "; where there is no such image, this is said too" } else { "" };
                Error::failed(format!("{host} does not let us {} {}: {}", self.doing, self.image.repository(), refusal.said))
                    .hint(format!("log in with `docker login {host}` as someone who may, or check the token's permissions{also}"))
            }
            verdict => {
                let error = Error::failed(format!("cannot {} {place}: {refusal}", self.doing));
                match verdict.way_out(host) {
                    Some(way_out) => error.hint(way_out),
                    None => error,
                }
            }
        }
    }
}

impl Registry {
    /// A client with these credentials.
    #[must_use]
    pub fn new(http: &Http, credentials: &Credentials, options: Options) -> Self {
        let inner = Inner {
            credentials: credentials.clone(),
            insecure: options.insecure,
            sessions: Mutex::default(),
            hiding: Mutex::default(),
        };
        Self { http: http.clone(), inner: Arc::new(inner), policy: options.policy, on_wait: Arc::new(|_| ()) }
    }

    /// The same client, telling each wait before another try to `on_wait`.
    #[must_use]
    pub fn on_wait(mut self, on_wait: impl Fn(&Wait<'_>) + Send + Sync + 'static) -> Self {
        self.on_wait = Arc::new(on_wait);
        self
    }

    /// The same client for a question that is not worth a wait: asked once, and for eight seconds at most.
    #[must_use]
    pub fn probing(mut self) -> Self {
        self.http = self.http.at_most(PROBE);
        self.policy(Policy::ONCE)
    }

    /// The same client with another policy: [`Policy::ONCE`] tries once.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The same client under another stop switch: for undoing something after the run was stopped.
    #[must_use]
    pub fn under(mut self, shutdown: &Shutdown) -> Self {
        self.http = self.http.under(shutdown);
        self
    }

    /// The run's stop switch.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        self.http.shutdown()
    }

    fn retrying<T>(&self, operation: impl FnMut() -> Result<T, Failed>) -> Result<T> {
        self.policy.run(self.shutdown(), |wait| (self.on_wait)(wait), operation)
    }

    fn session(&self, host: &str) -> Arc<Session> {
        let mut sessions = self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let insecure = self.inner.insecure.iter().any(|listed| listed == host);
        Arc::clone(sessions.entry(host.to_owned()).or_insert_with(|| Arc::new(Session::new(host, insecure))))
    }

    /// The URL of something below `/v2/<repository>/`.
    fn url(&self, image: &ImageRef, path: &str) -> Result<String, Failed> {
        let base = self.session(image.registry()).base(&self.http)?;
        Ok(format!("{base}/v2/{}/{path}", image.repository()))
    }

    /// One try: sends what `make` makes with proof for the call's scope; a 401 buys a fresh token once. A status in `expected`
    /// is returned; another one is a failure where it may pass, else a refusal.
    fn ask(&self, call: &Call<'_>, expected: &[u16], make: impl Fn() -> Request) -> Result<Answer, Failed> {
        let session = self.session(call.image.registry());
        let base = session.base(&self.http)?;
        let mut fresh = false;
        loop {
            let mut request = make();
            // An upload's location may lead to another host, which must not see our token.
            if authority(request.url()) == authority(&base) {
                match session.proof(&self.http, &self.inner.credentials, &call.scope)? {
                    Proof::Header(Some(header)) => request = request.header("authorization", header.expose()),
                    Proof::Header(None) => {}
                    Proof::Refused { codes, said } => {
                        return Ok(Answer::Not(Refusal { verdict: answers::judge(call.ask, 403, &codes, &said), said }));
                    }
                }
            }
            let response = self.http.send(request)?;
            match response.status {
                status if expected.contains(&status) => return Ok(Answer::Got(response)),
                401 if !fresh => {
                    session.learn(&response);
                    session.forget(&call.scope);
                    fresh = true;
                }
                _ => return judged(call, &response).map(Answer::Not),
            }
        }
    }

    /// As [`Registry::ask`], a refusal being a failure.
    fn must(&self, call: &Call<'_>, expected: &[u16], make: impl Fn() -> Request) -> Result<Response, Failed> {
        match self.ask(call, expected, make)? {
            Answer::Got(response) => Ok(response),
            Answer::Not(refusal) => Err(call.refused(&refusal).into()),
        }
    }
}

/// What an answer that is no success means: a refusal, or a failure that may pass.
fn judged(call: &Call<'_>, response: &Response) -> Result<Refusal, Failed> {
    let (codes, said) = words(response);
    let verdict = answers::judge(call.ask, response.status, &codes, &String::from_utf8_lossy(&response.body));
    if verdict != Verdict::Passing {
        return Ok(Refusal { verdict, said });
    }
    let error = Error::failed(format!("cannot {} {}: {said}", call.doing, call.image.without_reference()));
    let again = match response.again() {
        Again::Never => Again::Backoff,
        again => again,
    };
    Err(Failed { again, error })
}

/// The codes, and what a registry says in `{"errors":[{"code","message","detail"}]}`, else where it sends us, else the start of what it said.
/// Some say in a detail what it is about (Nexus); where it is no text it is for programs.
fn words(response: &Response) -> (Vec<String>, String) {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        detail: serde_json::Value,
    }
    let of_item = |item: &Item| {
        let parts = [item.code.as_str(), &item.message, item.detail.as_str().unwrap_or_default()];
        parts.into_iter().filter(|part| !part.is_empty()).into_vec().join(": ")
    };
    let (codes, said) = match (serde_json::from_slice::<Body>(&response.body), response.header("location")) {
        (Ok(body), _) => {
            let said: Vec<String> = body.errors.iter().map(of_item).into_vec();
            (body.errors.into_iter().map(|item| item.code).into_vec(), said.join("; "))
        }
        (Err(_), Some(location)) if (300..400).contains(&response.status) => {
            (Vec::new(), format!("it sends us to {}", without_query(location)))
        }
        (Err(_), _) => (Vec::new(), response.excerpt(QUOTED)),
    };
    let said: String = said.chars().filter(|c| !c.is_control()).take(QUOTED).collect();
    let status = response.status;
    (codes, if said.is_empty() { format!("status {status}") } else { format!("{said} (status {status})") })
}

/// Content that is not what its digest says: a broken transfer passes, a broken store does not, and we cannot tell them apart.
fn corrupt(what: &str, promised: &Digest, got: &Digest) -> Failed {
    let error = Error::failed(format!("{what} is corrupt: it should be {promised} and is {got}"));
    Failed { again: Again::Backoff, error }
}
