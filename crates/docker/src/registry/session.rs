//! What is known of one registry host during a run: where it is reached, what proof it asks for, and the tokens it was shown.
//!
//! Token flow: distribution `docs/spec/auth/token.md` (GET with basic auth) and `oauth.md` (POST with an identity token).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::challenge::{self, Challenge};
use crate::credentials::{Credential, Credentials};
use monoship_core::collect::Collect as _;
use monoship_core::error::Error;
use monoship_core::execute::http::{Head, Http, Request, Response, Trouble, authority, is_loopback, percent_encode};
use monoship_core::execute::retry::{Again, Failed};
use monoship_core::name::DOCKER_HUB;
use monoship_core::secret::Secret;

/// Where Docker Hub's registry answers; its name is not its address.
const HUB_HOST: &str = "registry-1.docker.io";

/// A token's life where its server does not say: the specification's minute.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// A token this close to its end is not used: the request may be long.
const MARGIN: Duration = Duration::from_secs(10);

/// What the registry made of us.
pub(super) enum Proof {
    /// Send this header, or none.
    Header(Option<Secret>),
    /// The token server would not have it.
    Refused {
        /// The codes of its errors.
        codes: Vec<String>,
        /// The reason with its own words, fit to be shown.
        said: String,
    },
}

/// One registry host.
pub(super) struct Session {
    host: String,
    /// Listed by the user as reachable without TLS.
    insecure: bool,
    state: Mutex<State>,
    /// Held while finding out where the host is reached, so that parallel requests ask once.
    probing: Mutex<()>,
}

#[derive(Default)]
struct State {
    base: Option<String>,
    challenge: Option<Challenge>,
    /// By scope.
    tokens: HashMap<String, (Secret, Instant)>,
}

/// Both names are in use; a server may send either or both, one of them empty.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    /// Seconds; less than none of who does not count them.
    expires_in: Option<i64>,
}

impl Session {
    pub(super) fn new(host: &str, insecure: bool) -> Self {
        Self { host: host.to_owned(), insecure, state: Mutex::default(), probing: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry's root URL, `https://host` without a slash.
    ///
    /// Docker reaches registries on loopback, and those its daemon was told of, without TLS where they have none. Loopback is
    /// asked in the clear first, which costs a millisecond and saves loading the machine's certificates; nothing secret is sent.
    pub(super) fn base(&self, http: &Http) -> Result<String, Failed> {
        let _guard = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = self.state().base.clone() {
            return Ok(base);
        }
        let host = if self.host == DOCKER_HUB { HUB_HOST } else { &self.host };
        let (plain, secure) = (format!("http://{host}"), format!("https://{host}"));
        let loopback = is_loopback(host_name(host));
        if !loopback && !self.insecure {
            self.state().base = Some(secure.clone());
            return Ok(secure);
        }
        let (first, second) = if loopback { (plain, secure) } else { (secure, plain) };
        let base = match http.send(Request::get(format!("{first}/v2/"))) {
            // Go's servers say in the clear that they wanted TLS.
            Ok(response) if response.status == 400 => second,
            Ok(response) => {
                self.learn(&response);
                first
            }
            Err(error) if matches!(error.trouble, Trouble::Unreachable) => return Err(error.into()),
            Err(broken) => match http.send(Request::get(format!("{second}/v2/"))) {
                Ok(_) => second,
                // It spoke neither way, once: what may be fixed by asking again is the answer, not that the other way is none.
                Err(error) if matches!(error.trouble, Trouble::Tls) && broken.again() != Again::Never => {
                    return Err(broken.into());
                }
                Err(error) => return Err(error.into()),
            },
        };
        self.state().base = Some(base.clone());
        Ok(base)
    }

    /// Takes note of what a 401 asks for.
    pub(super) fn learn(&self, head: &Head) {
        if head.status == 401
            && let Some(challenge) = challenge::parse(head.headers("www-authenticate"))
        {
            self.state().challenge = Some(challenge);
        }
    }

    /// True where what we are told depends on what our token is for.
    pub(super) fn asks_for_tokens(&self) -> bool {
        matches!(self.state().challenge, Some(Challenge::Bearer { .. }))
    }

    /// Forgets the token for a scope: the registry did not take it.
    pub(super) fn forget(&self, scope: &str) {
        self.state().tokens.remove(scope);
    }

    /// What to send along for `scope`: nothing where the registry never asked.
    pub(super) fn proof(&self, http: &Http, credentials: &Credentials, scope: &str) -> Result<Proof, Failed> {
        let challenge = self.state().challenge.clone();
        match challenge {
            None => Ok(Proof::Header(None)),
            Some(Challenge::Basic) => {
                let credential = credentials.of(&self.host)?;
                Ok(Proof::Header(credential.and_then(|credential| credential.basic_header())))
            }
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                // The catalog and the version check have no scope of ours: ask for what the registry said.
                let scope = if scope.is_empty() { asked.unwrap_or_default() } else { scope.to_owned() };
                let known =
                    self.state().tokens.get(&scope).filter(|(_, end)| *end > Instant::now()).map(|(token, _)| token.clone());
                if let Some(token) = known {
                    return Ok(Proof::Header(Some(token)));
                }
                self.fetch(http, credentials, &realm, service.as_deref(), &scope)
            }
        }
    }

    /// A token server is asked with a password: by https, on this machine, or as openly as the registry itself is reached.
    fn may_send_credentials_to(&self, realm: &str) -> bool {
        let Some((scheme, authority)) = authority(realm) else { return false };
        let open = self.state().base.as_deref().is_some_and(|base| base.starts_with("http:"));
        scheme == "https" || (scheme == "http" && (open || is_loopback(host_name(&authority))))
    }

    fn fetch(
        &self,
        http: &Http,
        credentials: &Credentials,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<Proof, Failed> {
        if !self.may_send_credentials_to(realm) {
            let error = Error::failed(format!("{} sends us to `{realm}` for a token, which is not https", self.host));
            return Err(error.hint("credentials are not sent there; fix the registry's token realm").into());
        }
        let credential = credentials.of(&self.host)?;
        if let Some(Credential::Bearer(token)) = &credential {
            return Ok(Proof::Header(Some(Secret::new(format!("Bearer {}", token.expose())))));
        }
        let response = http.send(token_request(realm, service, scope, credential.as_ref()))?;
        if matches!(response.status, 400 | 401 | 403) {
            let whom = match &credential {
                Some(Credential::Basic { user, .. }) => format!("`{user}`"),
                Some(_) => "our identity token".to_owned(),
                None => "anonymous users".to_owned(),
            };
            let (codes, said) = super::words(&response);
            return Ok(Proof::Refused { codes, said: format!("its token server refuses {whom}: {said}") });
        }
        if !response.is_success() {
            let error = Error::failed(format!("{}'s token server answered {} ({})", self.host, response.status, response.url()));
            return Err(Failed { again: response.again(), error });
        }
        let (header, life) = read_token(&response)?;
        self.state().tokens.insert(scope.to_owned(), (header.clone(), Instant::now() + life.saturating_sub(MARGIN)));
        Ok(Proof::Header(Some(header)))
    }
}

/// An authority without its port; an IPv6 address keeps its brackets.
fn host_name(authority: &str) -> &str {
    let port = authority.rsplit_once(':').filter(|(name, port)| !port.contains(']') && !name.is_empty());
    port.map_or(authority, |(name, _)| name)
}

fn token_request(realm: &str, service: Option<&str>, scope: &str, credential: Option<&Credential>) -> Request {
    // Several scopes are separated by a space, and sent as a parameter each (by GET) or as one (by POST).
    let service = service.map(|service| ("service", service));
    if let Some(Credential::Identity(token)) = credential {
        let fields =
            [("grant_type", "refresh_token"), ("client_id", "xtask"), ("refresh_token", token.expose()), ("scope", scope)];
        let form = encode(fields.into_iter().chain(service));
        return Request::new("POST", realm).header("content-type", "application/x-www-form-urlencoded").body(form.into_bytes());
    }
    let scopes = scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope));
    let query = encode(service.into_iter().chain(scopes));
    let separator = if realm.contains('?') { '&' } else { '?' };
    let request = Request::get(format!("{realm}{separator}{query}"));
    match credential.and_then(Credential::basic_header) {
        Some(header) => request.header("authorization", header.expose()),
        None => request,
    }
}

fn read_token(response: &Response) -> Result<(Secret, Duration), Failed> {
    let nonsense = || Error::failed(format!("{} answered without a token", response.url()));
    // serde would quote what it stumbles over.
    let answer: TokenAnswer = serde_json::from_slice(&response.body).map_err(|_| nonsense())?;
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.expose().is_empty());
    let token = token.ok_or_else(nonsense)?;
    let seconds = answer.expires_in.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    let life = Duration::from_secs(seconds).max(DEFAULT_LIFE);
    Ok((Secret::new(format!("Bearer {}", token.expose())), life.min(Duration::from_hours(24))))
}

/// `a=b&c=d`, percent-encoded.
fn encode<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.map(|(name, value)| format!("{name}={}", percent_encode(value)));
    pairs.into_vec().join("&")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use monoship_core::env::Env;
    use monoship_core::execute::http::Limits;
    use monoship_core::execute::shutdown::Shutdown;

    #[test]
    fn a_token_is_taken_under_either_name_and_for_a_minute_where_its_life_cannot_be_read() {
        let read = |body: &str| {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/token", server.local_addr().unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let server = std::thread::spawn(move || {
                let (mut stream, _) = server.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let response = Http::new(&Env::new("/", []), Limits::STANDARD, &Shutdown::new()).send(Request::get(url)).unwrap();
            server.join().unwrap();
            read_token(&response).map(|(header, life)| (header.expose().to_owned(), life.as_secs())).ok()
        };
        let bearer = |life: u64| Some(("Bearer t".to_owned(), life));
        assert_eq!(read(r#"{"token": "t", "expires_in": 300}"#), bearer(300));
        assert_eq!(read(r#"{"token": "", "access_token": "t"}"#), bearer(60));
        assert_eq!(read(r#"{"token": "t", "expires_in": -1}"#), bearer(60));
        assert_eq!(read(r#"{"token": ""}"#), None);
    }

    /// A registry without TLS on loopback that breaks a connection off before it answers.
    #[test]
    fn a_connection_that_breaks_is_no_reason_to_ask_with_tls_for_good() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            drop(listener.accept().unwrap());
            // What comes is the beginning of a handshake: it is answered in the clear, as a server does that knows no TLS.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            }
        });
        let long = Duration::from_secs(5);
        let limits = Limits { connect: long, idle: long, whole: 2 * long };
        let http = Http::new(&Env::new("/", []), limits, &Shutdown::new());
        let session = Session::new(&host, false);
        assert_ne!(session.base(&http).unwrap_err().again, Again::Never);
        assert_eq!(session.base(&http).unwrap(), format!("http://{host}"));
        server.join().unwrap();
    }
}
