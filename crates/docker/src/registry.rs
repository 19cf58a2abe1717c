//! A client of the OCI distribution specification 1.1: manifests byte for byte, blobs, tags, deletion, rights. Everything read is
//! checked against its digest; what passes is tried again; credentials are asked for only when the registry does.
//!
//! Blobs are in `registry/blob.rs`, listings and rights in `registry/list.rs`, the token flow in `registry/session.rs`. No policy on what to publish or delete lives here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::credentials::Credentials;
use super::manifest::{ACCEPT, Descriptor, Raw};
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Http, Request, Response, authority};
use monoship_core::execute::retry::{Failed, Policy, Wait};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef, Tag};

mod blob;
mod challenge;
mod list;
mod session;

pub use self::blob::Blob;
use self::session::{Proof, Session};

/// How many requests [`Registry::resolve_all`] has under way at once.
const PARALLEL: usize = 16;

/// How many characters of a registry's own words an error quotes.
const QUOTED: usize = 300;

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
}

/// What may be done to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// The registry refuses, for this reason.
    Denied(String),
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

/// An answer whose status the caller expected, or a refusal.
enum Answer {
    Got(Response),
    /// 401 after showing what we have, 403, or the token server's refusal.
    Denied(String),
}

/// A request's place: whom it goes to and what it needs.
struct Call<'a> {
    image: &'a ImageRef,
    /// A token scope; several are separated by spaces.
    scope: String,
    /// What it does, for errors: "read", "write to", "delete from".
    doing: &'static str,
}

impl<'a> Call<'a> {
    fn new(image: &'a ImageRef, actions: &str, doing: &'static str) -> Self {
        Self { image, scope: format!("repository:{}:{actions}", image.repository()), doing }
    }

    fn pull(image: &'a ImageRef) -> Self {
        Self::new(image, "pull", "read")
    }

    fn push(image: &'a ImageRef) -> Self {
        Self::new(image, "pull,push", "write to")
    }

    fn denied(&self, reason: &str) -> Error {
        let host = self.image.registry();
        let repository = self.image.repository();
        Error::failed(format!("{host} does not let us {} {repository}: {reason}", self.doing))
            .hint(format!("log in with `docker login {host}` as someone who may, or check the token's permissions"))
    }
}

impl Registry {
    /// A client with these credentials.
    #[must_use]
    pub fn new(http: &Http, credentials: &Credentials, options: Options) -> Self {
        let inner = Inner { credentials: credentials.clone(), insecure: options.insecure, sessions: Mutex::default() };
        Self { http: http.clone(), inner: Arc::new(inner), policy: options.policy, on_wait: Arc::new(|_| ()) }
    }

    /// The same client, telling each wait before another try to `on_wait`.
    #[must_use]
    pub fn on_wait(mut self, on_wait: impl Fn(&Wait<'_>) + Send + Sync + 'static) -> Self {
        self.on_wait = Arc::new(on_wait);
        self
    }

    /// The same client with another policy: [`Policy::ONCE`] for probes.
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
    /// is returned, another one is a failure that quotes the registry.
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
                    Proof::Refused(reason) => return Ok(Answer::Denied(reason)),
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
                401 | 403 => return Ok(Answer::Denied(reason(&response))),
                _ => return Err(unexpected(call, &response)),
            }
        }
    }

    /// As [`Registry::ask`], a refusal being a failure.
    fn must(&self, call: &Call<'_>, expected: &[u16], make: impl Fn() -> Request) -> Result<Response, Failed> {
        match self.ask(call, expected, make)? {
            Answer::Got(response) => Ok(response),
            Answer::Denied(reason) => Err(call.denied(&reason).into()),
        }
    }

    /// What the image's tag or digest points to, by HEAD; `None` where there is no such manifest or repository.
    ///
    /// # Errors
    /// When the registry cannot be reached, refuses, or answers without a digest.
    pub fn resolve(&self, image: &ImageRef) -> Result<Option<Descriptor>> {
        let call = Call::pull(image);
        let head = self.retrying(|| {
            let url = self.url(image, &format!("manifests/{}", image.reference()))?;
            self.must(&call, &[200, 404], || Request::new("HEAD", &url).header("accept", ACCEPT))
        })?;
        if head.status == 404 {
            return Ok(None);
        }
        let digest = head.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let size = head.header("content-length").and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            // The digest header is optional in the specification: then the bytes tell.
            return Ok(self.manifest(image)?.map(|raw| raw.descriptor()));
        };
        let media_type = head.header("content-type").unwrap_or_default().to_owned();
        let pointer = Descriptor { digest, size, ..Descriptor::of(&media_type, b"") };
        Ok(Some(pointer))
    }

    /// [`Registry::resolve`] for many images, in parallel; the answers are in the order of the images.
    #[must_use]
    pub fn resolve_all(&self, images: &[ImageRef]) -> Vec<Result<Option<Descriptor>>> {
        in_parallel(images, |image| self.resolve(image))
    }

    /// The manifest or index that the image's tag or digest points to, byte for byte; `None` where there is none.
    ///
    /// # Errors
    /// As [`Registry::resolve`], and when the bytes are not what the digest says.
    pub fn manifest(&self, image: &ImageRef) -> Result<Option<Raw>> {
        let call = Call::pull(image);
        self.retrying(|| {
            let url = self.url(image, &format!("manifests/{}", image.reference()))?;
            let response = self.must(&call, &[200, 404], || Request::get(&url).header("accept", ACCEPT))?;
            if response.status == 404 {
                return Ok(None);
            }
            let promised = image.digest().cloned().or_else(|| response.header("docker-content-digest")?.parse().ok());
            let media_type =
                response.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
            let raw = Raw::new(media_type, response.body);
            match promised {
                Some(digest) if digest != *raw.digest() => Err(corrupt(&format!("manifest {image}"), &digest, raw.digest())),
                _ => Ok(Some(raw)),
            }
        })
    }

    /// The manifest, which has to be there.
    ///
    /// # Errors
    /// As [`Registry::manifest`], and when there is none.
    pub fn need_manifest(&self, image: &ImageRef) -> Result<Raw> {
        self.manifest(image)?
            .ok_or_else(|| Error::failed(format!("there is no image {image}")).hint("check the name and the tag"))
    }

    /// Puts the bytes under the image's tag, else under their digest, and checks that the registry took them for the same
    /// content. What they point to must be in the repository.
    ///
    /// # Errors
    /// When the registry cannot be reached, refuses, or made other content of it.
    pub fn put_manifest(&self, image: &ImageRef, raw: &Raw) -> Result<()> {
        let call = Call::push(image);
        let reference = image.tag().map_or(raw.digest().as_str(), Tag::as_str);
        let body: Arc<[u8]> = raw.bytes().into();
        self.retrying(|| {
            let url = self.url(image, &format!("manifests/{reference}"))?;
            let response = self.must(&call, &[200, 201, 202], || {
                Request::new("PUT", &url).header("content-type", raw.media_type()).body(Arc::clone(&body))
            })?;
            match response.header("docker-content-digest") {
                Some(made) if made != raw.digest().as_str() => Err(Failed::for_good(Error::failed(format!(
                    "{} stored {image} as {made} instead of {}",
                    image.registry(),
                    raw.digest()
                )))),
                _ => Ok(()),
            }
        })
    }

    /// Deletes a manifest by its digest, and with it every tag that points to it.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses.
    pub fn delete_manifest(&self, image: &ImageRef, digest: &Digest) -> Result<Deletion> {
        self.delete(image, &format!("manifests/{digest}"))
    }

    /// Deletes one tag and leaves its manifest, where the registry knows how (OCI distribution-spec 1.1; GHCR and older
    /// distribution registries do not).
    ///
    /// # Errors
    /// As [`Registry::delete_manifest`].
    pub fn delete_tag(&self, image: &ImageRef, tag: &Tag) -> Result<Deletion> {
        self.delete(image, &format!("manifests/{tag}"))
    }

    fn delete(&self, image: &ImageRef, path: &str) -> Result<Deletion> {
        let call = Call::new(image, "delete,pull,push", "delete from");
        let status = self.retrying(|| {
            let url = self.url(image, path)?;
            Ok(self.must(&call, &[200, 202, 204, 400, 404, 405, 415, 501], || Request::new("DELETE", &url))?.status)
        })?;
        Ok(match status {
            404 => Deletion::Absent,
            400 | 405 | 415 | 501 => Deletion::Unsupported,
            _ => Deletion::Deleted,
        })
    }
}

/// Applies `work` to every item on at most [`PARALLEL`] threads, keeping the order. Not rayon: its pool has a thread a core and is
/// busy with builds, and these threads only wait.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..items.len().min(PARALLEL) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).filter(|at| *at < items.len())
                {
                    *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(work(&items[at]));
                }
            });
        }
    });
    let taken = results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    taken.map(|result| result.expect("every index was handed out once")).collect()
}

/// What a registry says in `{"errors":[{"code","message"}]}`, else the start of what it said.
fn reason(response: &Response) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        code: String,
        #[serde(default)]
        message: String,
    }
    let said = match serde_json::from_slice::<Body>(&response.body) {
        Ok(body) => body.errors.iter().map(|item| format!("{}: {}", item.code, item.message)).collect::<Vec<_>>().join("; "),
        Err(_) => response.excerpt(QUOTED),
    };
    let said: String = said.chars().filter(|c| !c.is_control()).take(QUOTED).collect();
    if said.is_empty() { format!("status {}", response.status) } else { format!("{said} (status {})", response.status) }
}

fn unexpected(call: &Call<'_>, response: &Response) -> Failed {
    let error = Error::failed(format!("cannot {} {}: {}", call.doing, call.image.without_reference(), reason(response)));
    Failed { again: response.again(), error }
}

/// Content that is not what its digest says: a broken transfer passes, a broken store does not, and we cannot tell them apart.
fn corrupt(what: &str, promised: &Digest, got: &Digest) -> Failed {
    let error = Error::failed(format!("{what} is corrupt: it should be {promised} and is {got}"));
    Failed { again: monoship_core::execute::retry::Again::Backoff, error }
}
