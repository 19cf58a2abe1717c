//! HTTP for registries and GitHub: one client, configured once from the [`Env`]: trust, proxies, time limits, bounded bodies. A
//! status is data here, never an error; what a status means, and whether to try again, is the caller's business.
//!
//! Every exchange runs on a thread of its own and the caller waits for it while looking at [`Shutdown`]: a server that hangs
//! cannot hold up a Ctrl-C, which a blocking client offers no other way to interrupt. The thread costs about 50 µs.
//!
//! URLs in errors are cut at the `?`: object stores put their signatures there.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::execute::retry::{Again, Failed};
use crate::execute::shutdown::Shutdown;

mod exchange;
mod link;
mod message;
mod proxy;
mod tls;

use self::message::Body;

pub use self::exchange::Stream;
pub use self::message::{Head, Request, Response};

/// The largest body that [`Http::send`] reads, unless the request says otherwise: registries bound manifests at 4 MiB.
pub const MAX_BODY: u64 = 16 << 20;

/// How many redirects are followed, and only for GET and HEAD.
const MAX_REDIRECTS: usize = 5;

/// The time limits of every request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For name resolution, connection, proxy and TLS together.
    pub connect: Duration,
    /// Without a byte moving in either direction.
    pub idle: Duration,
    /// For the whole exchange, where the request does not say otherwise.
    pub whole: Duration,
}

impl Limits {
    /// What fits the registries and API servers of the world: a minute of silence is a hang.
    pub const STANDARD: Self =
        Self { connect: Duration::from_secs(10), idle: Duration::from_mins(1), whole: Duration::from_mins(5) };
}

/// All but RFC 3986's unreserved characters.
const RESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes what stands in a path segment or a query's value: everything but RFC 3986's unreserved characters.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, RESERVED).to_string()
}

/// The text that was percent-encoded; what is malformed stays as it is, and bytes that are not UTF-8 are replaced.
#[must_use]
pub fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The client. Cloning is cheap and shares its connections.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
    shutdown: Shutdown,
    at_most: Option<Duration>,
}

struct Inner {
    limits: Limits,
    roots: tls::Roots,
    proxies: proxy::Proxies,
    /// One agent per scheme and authority: trust and proxy depend on both, and an agent keeps its connections.
    agents: Mutex<HashMap<(bool, String), ureq::Agent>>,
}

/// Why there was no answer, or no whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The URL or a header cannot be sent.
    Malformed,
    /// The name does not resolve or nothing listens.
    Unreachable,
    /// The server's certificate is not trusted, or there is no TLS.
    Tls,
    /// A time limit passed.
    Timeout,
    /// The connection broke: reset, closed early, body shorter than announced.
    Broken,
    /// The body is longer than the request allows.
    TooLarge,
    /// The run is closing.
    Cancelled,
}

/// A failed exchange.
#[derive(Debug, Clone)]
pub struct HttpError {
    /// Which way.
    pub trouble: Trouble,
    message: String,
}

impl HttpError {
    fn new(trouble: Trouble, message: impl Into<String>) -> Self {
        Self { trouble, message: message.into() }
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn again(&self) -> Again {
        match self.trouble {
            Trouble::Unreachable | Trouble::Timeout | Trouble::Broken => Again::Backoff,
            _ => Again::Never,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        match error.trouble {
            Trouble::Cancelled => Self::cancelled(),
            Trouble::Tls => Self::failed(error.message)
                .hint("where its certificate is from an authority of your own, name the bundle in SSL_CERT_FILE or put it in /etc/docker/certs.d/<host>/ca.crt"),
            Trouble::Unreachable => Self::failed(error.message).hint("check the host's name, the network, and HTTPS_PROXY and NO_PROXY"),
            _ => Self::failed(error.message),
        }
    }
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self { again: error.again(), error: error.into() }
    }
}

impl Http {
    /// A client with this environment's trust (`SSL_CERT_FILE`, `SSL_CERT_DIR`, Docker's `certs.d`) and proxies.
    #[must_use]
    pub fn new(env: &Env, limits: Limits, shutdown: &Shutdown) -> Self {
        let (roots, proxies) = (tls::Roots::from_env(env), proxy::Proxies::from_env(env));
        let agents = Mutex::new(HashMap::new());
        Self { inner: Arc::new(Inner { limits, roots, proxies, agents }), shutdown: shutdown.clone(), at_most: None }
    }

    /// The run's stop switch.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The same client under another stop switch: for undoing something after the run was stopped.
    #[must_use]
    pub fn under(&self, shutdown: &Shutdown) -> Self {
        Self { shutdown: shutdown.clone(), ..self.clone() }
    }

    /// The same client for questions that nobody waits longer for than this, whatever the limits say: what takes a connection and never answers
    /// is given up.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use monoship_core::{env::Env, execute::http::{Http, Limits}, execute::shutdown::Shutdown};
    /// let http = Http::new(&Env::new("/", []), Limits::STANDARD, &Shutdown::new());
    /// let quick = http.at_most(Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn at_most(&self, whole: Duration) -> Self {
        Self { at_most: Some(whole), ..self.clone() }
    }

    /// Sends a request and reads the whole answer, whatever its status. GET and HEAD follow redirects, without their
    /// `authorization` where the host changes, and never from https to http.
    ///
    /// # Errors
    /// When there is no answer, none in time, not a whole one, or one longer than the request allows.
    pub fn send(&self, request: Request) -> Result<Response, HttpError> {
        let max = request.max_body;
        let (head, mut stream) = self.follow(request)?;
        let mut body = Vec::new();
        let bounded = (&mut stream).take(max.saturating_add(1)).read_to_end(&mut body);
        bounded.map_err(|e| stream.trouble(&e))?;
        if body.len() as u64 > max {
            return Err(HttpError::new(Trouble::TooLarge, format!("{} answered with more than {max} bytes", head.url())));
        }
        Ok(Response { head, body })
    }

    /// Sends a request and returns as soon as the head of the answer is there. Without [`Request::whole`] the body may take as
    /// long as it keeps moving.
    ///
    /// # Errors
    /// As [`Http::send`]; what happens while the body is read is the [`Stream`]'s `io::Error`.
    pub fn open(&self, request: Request) -> Result<(Head, Stream), HttpError> {
        let unlimited = request.whole.is_none();
        let (head, mut stream) = self.follow(request)?;
        if unlimited {
            stream.unlimited();
        }
        Ok((head, stream))
    }

    fn follow(&self, mut request: Request) -> Result<(Head, Stream), HttpError> {
        let whole = request.whole.unwrap_or(self.inner.limits.whole);
        let deadline = Instant::now() + self.at_most.map_or(whole, |most| most.min(whole));
        let follows = matches!(request.method, http::Method::GET | http::Method::HEAD);
        for _ in 0..=MAX_REDIRECTS {
            let (head, stream) = self.exchange(&mut request, deadline)?;
            let location = head.header("location").filter(|_| follows && matches!(head.status, 301 | 302 | 303 | 307 | 308));
            let Some(location) = location else { return Ok((head, stream)) };
            let target = resolve(&request.url, location)?;
            if authority(&target) != authority(&request.url) {
                request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
            }
            request.url = target;
        }
        Err(HttpError::new(
            Trouble::Malformed,
            format!("{} redirects more than {MAX_REDIRECTS} times", without_query(&request.url)),
        ))
    }

    fn exchange(&self, request: &mut Request, deadline: Instant) -> Result<(Head, Stream), HttpError> {
        let shown = without_query(&request.url).to_owned();
        let malformed = |what: &str| HttpError::new(Trouble::Malformed, format!("cannot ask {shown}: {what}"));
        let mut builder = http::Request::builder().method(request.method.clone()).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let body = request.take_body();
        match &body {
            Body::None => {}
            Body::Bytes(bytes) => builder = builder.header("content-length", bytes.len()),
            Body::Stream(_, length) => builder = builder.header("content-length", *length),
        }
        // The library's message would quote a header's value, and with it a token.
        let built = builder.body(body).map_err(|_| malformed("the URL or a header has a character that cannot be sent"))?;
        let agent = self.agent(built.uri()).map_err(malformed)?;
        exchange::start(agent, built, deadline, self.shutdown.clone())
    }

    fn agent(&self, uri: &http::Uri) -> Result<ureq::Agent, &'static str> {
        let secure = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or("it has no host")?;
        let key = (secure, authority.to_string());
        let mut agents = self.inner.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let proxy = self.inner.proxies.of(secure, authority.host(), port);
        // Not quoted: a proxy's address may hold a password. One of SOCKS, which the library would pass by without a word, is refused.
        let other = "the proxy variable does not hold an http(s) URL";
        let proxy = proxy.map(|url| if proxy::is_http(url) { ureq::Proxy::new(url).map_err(|_| other) } else { Err(other) });
        let proxy = proxy.transpose()?;
        let limits = self.inner.limits;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("xtask/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .max_idle_connections_per_host(16)
            .max_idle_connections(16)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_per_read(Some(limits.idle))
            .timeout_per_write(Some(limits.idle));
        if secure {
            let roots = self.inner.roots.of(authority.as_str());
            config = config.tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build());
        }
        let agent: ureq::Agent = config.build().into();
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

/// `url` up to its query.
#[must_use]
pub fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// True for `localhost` and loopback addresses, with or without brackets.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    proxy::is_loopback(host)
}

/// Scheme and authority of an absolute URL, in lower case: whom it goes to.
#[must_use]
pub fn authority(url: &str) -> Option<(String, String)> {
    let uri: http::Uri = url.parse().ok()?;
    Some((uri.scheme_str()?.to_ascii_lowercase(), uri.authority()?.as_str().to_ascii_lowercase()))
}

/// A `location` (absolute, from the root, or relative) as an absolute URL.
///
/// # Errors
/// When either is not a URL, or it leads from https to http.
pub fn resolve(base: &str, location: &str) -> Result<String, HttpError> {
    let wrong = |why: &str| HttpError::new(Trouble::Malformed, format!("{} redirects {why}", without_query(base)));
    let (scheme, host) = authority(base).ok_or_else(|| wrong("from no URL"))?;
    // An address may stand in a query, too: `/login?next=https://…`.
    let is_absolute = location.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':'));
    let target = if is_absolute {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else if location.starts_with('?') {
        format!("{}{location}", without_query(base))
    } else {
        let folder = without_query(base).rsplit_once('/').map_or(base, |(folder, _)| folder);
        format!("{folder}/{location}")
    };
    match authority(&target) {
        Some((to, _)) if scheme == "https" && to == "http" => Err(wrong("from https to http")),
        Some((to, _)) if to == "http" || to == "https" => Ok(target),
        _ => Err(wrong("to something that is not a URL")),
    }
}

#[cfg(test)]
mod tests;
