//! One exchange on a thread of its own, and the stream that hands its body over.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ureq::http;

use super::{Body, Head, HttpError, Trouble, without_query};
use crate::execute::shutdown::Shutdown;

/// How often a waiting caller looks at the shutdown switch. An answer wakes it at once.
const LOOK: Duration = Duration::from_millis(50);

/// The size of the pieces a body comes in; four of them may wait.
const PIECE: usize = 64 << 10;

/// What the thread says: the head first, then pieces, then the end; or a failure at any point, which is the last.
enum Said {
    Head(Head),
    Piece(Vec<u8>),
    End,
    Failed(HttpError),
}

/// Starts the exchange and waits for the head of its answer.
pub(super) fn start(
    agent: ureq::Agent,
    request: http::Request<Body>,
    deadline: Instant,
    shutdown: Shutdown,
) -> Result<(Head, Stream), HttpError> {
    let url = without_query(&request.uri().to_string()).to_owned();
    let (sender, receiver) = sync_channel(4);
    let thread = std::thread::Builder::new().name("http".to_owned());
    let started = thread.spawn(move || run(&agent, request, &sender));
    started.map_err(|e| HttpError::new(Trouble::Broken, format!("cannot start a thread to ask {url}: {e}")))?;
    let stream = Stream { receiver, piece: io::Cursor::default(), over: false, deadline: Some(deadline), shutdown, url };
    match stream.wait()? {
        Said::Head(head) => Ok((head, stream)),
        Said::Failed(error) => Err(error),
        Said::Piece(_) | Said::End => Err(stream.broken()),
    }
}

/// The thread. A receiver that is gone means that nobody wants the rest: it ends, and the connection with it.
fn run(agent: &ureq::Agent, request: http::Request<Body>, to: &SyncSender<Said>) {
    let said = match converse(agent, request, to) {
        Ok(()) => Said::End,
        Err(error) => Said::Failed(error),
    };
    let _ = to.send(said);
}

fn converse(agent: &ureq::Agent, request: http::Request<Body>, to: &SyncSender<Said>) -> Result<(), HttpError> {
    let url = request.uri().to_string();
    let request = request.map(|body| match body {
        Body::None => ureq::SendBody::none(),
        Body::Bytes(bytes) => ureq::SendBody::from_owned_reader(io::Cursor::new(bytes)),
        Body::Stream(reader, _) => ureq::SendBody::from_owned_reader(reader),
    });
    let response = agent.run(request).map_err(|e| classify(&e, &url))?;
    let (parts, body) = response.into_parts();
    let head = Head { status: parts.status.as_u16(), headers: parts.headers, url: url.clone() };
    let mut unwanted = to.send(Said::Head(head)).is_err();
    let mut reader = body.into_reader();
    while !unwanted {
        let mut piece = Vec::new();
        (&mut reader).take(PIECE as u64).read_to_end(&mut piece).map_err(|e| classify(&ureq::Error::from(e), &url))?;
        if piece.is_empty() {
            break;
        }
        unwanted = to.send(Said::Piece(piece)).is_err();
    }
    Ok(())
}

/// Sorts the library's errors, without quoting a query, a header or a proxy's password.
fn classify(error: &ureq::Error, url: &str) -> HttpError {
    let url = without_query(url);
    let host = url.split('/').nth(2).unwrap_or(url);
    let new = |trouble, what: String| HttpError::new(trouble, format!("{what} ({url})"));
    match error {
        ureq::Error::HostNotFound => new(Trouble::Unreachable, format!("{host} cannot be found")),
        ureq::Error::ConnectionFailed => new(Trouble::Unreachable, format!("cannot connect to {host}")),
        ureq::Error::ConnectProxyFailed(said) => {
            // `proxy server responded 407/407`.
            let status = said.rsplit('/').next().filter(|status| status.parse::<u16>().is_ok());
            let does = status.map_or_else(|| "does not answer".to_owned(), |status| format!("answers with status {status}"));
            new(Trouble::Unreachable, format!("the proxy on the way to {host} {does}"))
        }
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            new(Trouble::Timeout, format!("{host} did not take the connection in time"))
        }
        ureq::Error::Timeout(_) => new(Trouble::Timeout, format!("{host} did not answer in time")),
        ureq::Error::Tls(why) => new(Trouble::Tls, format!("no trusted connection to {host}: {why}")),
        ureq::Error::Rustls(why) => new(Trouble::Tls, format!("no trusted connection to {host}: {why}")),
        ureq::Error::TlsRequired => new(Trouble::Tls, format!("{host} needs TLS")),
        ureq::Error::Io(io) => classify_io(io, host, &new),
        ureq::Error::BodyStalled | ureq::Error::Protocol(_) => new(Trouble::Broken, format!("{host} broke off its answer")),
        _ => new(Trouble::Malformed, format!("{host} cannot be asked this way")),
    }
}

fn classify_io(error: &io::Error, host: &str, new: &dyn Fn(Trouble, String) -> HttpError) -> HttpError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            new(Trouble::Unreachable, format!("cannot connect to {host}: {error}"))
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => new(Trouble::Timeout, format!("{host} did not answer in time")),
        // What rustls reports through the stream: an untrusted certificate, or plain http where TLS was expected.
        io::ErrorKind::InvalidData => new(Trouble::Tls, format!("no trusted connection to {host}: {error}")),
        _ => new(Trouble::Broken, format!("the connection to {host} broke: {error}")),
    }
}

/// The body of an answer, as it comes. Dropping it before the end closes the connection.
pub struct Stream {
    receiver: Receiver<Said>,
    piece: io::Cursor<Vec<u8>>,
    over: bool,
    deadline: Option<Instant>,
    shutdown: Shutdown,
    url: String,
}

impl Stream {
    /// Takes the time limit of the whole exchange away: from here on the client's limit on silence is the only one.
    pub(super) fn unlimited(&mut self) {
        self.deadline = None;
    }

    fn wait(&self) -> Result<Said, HttpError> {
        loop {
            if self.shutdown.is_closing() {
                return Err(HttpError::new(Trouble::Cancelled, "cancelled"));
            }
            let left = self.deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            match self.receiver.recv_timeout(left.min(LOOK)) {
                Ok(said) => return Ok(said),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(HttpError::new(Trouble::Timeout, format!("{} took too long to answer", self.url)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.broken()),
            }
        }
    }

    fn broken(&self) -> HttpError {
        HttpError::new(Trouble::Broken, format!("{} broke off its answer", self.url))
    }

    /// What an error of [`Read::read`] stands for.
    pub fn trouble(&self, error: &io::Error) -> HttpError {
        error.get_ref().and_then(|inner| inner.downcast_ref::<HttpError>()).cloned().unwrap_or_else(|| self.broken())
    }
}

impl Read for Stream {
    /// # Errors
    /// An [`HttpError`] inside an `io::Error`: see [`Stream::trouble`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || self.over || buffer.is_empty() {
                return Ok(read);
            }
            match self.wait().map_err(io::Error::other)? {
                Said::Piece(piece) => self.piece = io::Cursor::new(piece),
                Said::End => self.over = true,
                Said::Failed(error) => return Err(io::Error::other(error)),
                Said::Head(_) => return Err(io::Error::other(self.broken())),
            }
        }
    }
}
