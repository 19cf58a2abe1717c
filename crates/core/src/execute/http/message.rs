//! What goes over the wire: requests as they are asked for, answers as they came. No I/O here.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ureq::http;

use super::{MAX_BODY, without_query};
use crate::error::{Error, Result};
use crate::execute::retry::{Again, retry_after};

/// A request.
pub struct Request {
    pub(super) method: http::Method,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    body: Body,
    pub(super) max_body: u64,
    pub(super) whole: Option<Duration>,
}

/// What a request carries.
pub(super) enum Body {
    None,
    Bytes(Arc<[u8]>),
    /// Sent once, with its length: a request with a stream cannot be tried again.
    Stream(Box<dyn Read + Send>, u64),
}

impl Request {
    /// A request without headers or body. `method` is one of HTTP's, in capitals.
    #[must_use]
    pub fn new(method: &'static str, url: impl Into<String>) -> Self {
        let method = http::Method::from_bytes(method.as_bytes()).expect("methods are ours, and written in capitals");
        Self { method, url: url.into(), headers: Vec::new(), body: Body::None, max_body: MAX_BODY, whole: None }
    }

    /// A GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Where it goes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a header. A value with a line end or another control character makes the request fail, not the header leak.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends these bytes.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self
    }

    /// Sends `length` bytes of a stream.
    #[must_use]
    pub fn stream(mut self, reader: impl Read + Send + 'static, length: u64) -> Self {
        self.body = Body::Stream(Box::new(reader), length);
        self
    }

    /// Sends a value as JSON.
    ///
    /// # Panics
    /// Where the value's map keys are not strings, which the types we send do not have.
    #[must_use]
    pub fn json(self, value: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("what we send serialises");
        self.header("content-type", "application/json").body(bytes)
    }

    /// Reads at most `bytes` of the answer's body; a longer one is an error.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Another limit for the whole exchange than the client's, body included.
    #[must_use]
    pub fn whole(mut self, limit: Duration) -> Self {
        self.whole = Some(limit);
        self
    }

    /// The body for one exchange; bytes stay for the next, as a redirect needs.
    pub(super) fn take_body(&mut self) -> Body {
        match &self.body {
            Body::Bytes(bytes) => Body::Bytes(Arc::clone(bytes)),
            _ => std::mem::replace(&mut self.body, Body::None),
        }
    }
}

/// An answer's status and headers.
#[derive(Debug, Clone)]
pub struct Head {
    /// For example 404.
    pub status: u16,
    pub(super) headers: http::HeaderMap,
    /// Where redirects ended.
    pub(super) url: String,
}

impl Head {
    /// The header's first value, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All of the header's values that are text.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// True for 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The URL that answered, without its query.
    #[must_use]
    pub fn url(&self) -> &str {
        without_query(&self.url)
    }

    /// Whether trying again can help, by the status alone: 408, 429 and the 5xx that pass, with the server's `retry-after`.
    #[must_use]
    pub fn again(&self) -> Again {
        if !matches!(self.status, 408 | 425 | 429 | 500 | 502 | 503 | 504) {
            return Again::Never;
        }
        let asked = self.header("retry-after").and_then(|value| retry_after(value, SystemTime::now()));
        asked.map_or(Again::Backoff, Again::After)
    }
}

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// The body; never longer than the request allowed.
    pub body: Vec<u8>,
}

impl std::ops::Deref for Response {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Response {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is something else; the error names the URL and the place, and quotes nothing of the body.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            if self.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
                return Error::failed(format!("{} answered with a page for people", self.url()))
                    .hint("something else answers in its place: check the address, and whether a proxy asks for a login");
            }
            Error::failed(format!("{} answered with unexpected JSON", self.url())).source(e)
        })
    }

    /// The body as text, invalid UTF-8 replaced, cut to `max` characters: for error messages.
    #[must_use]
    pub fn excerpt(&self, max: usize) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(max).collect()
    }
}
