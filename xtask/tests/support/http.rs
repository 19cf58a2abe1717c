//! A small blocking HTTP/1.1 server for the fakes: a thread per connection, keep-alive, chunked and plain bodies, and the
//! faults a network has. It knows nothing of what it serves. Loopback only.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What a client sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The path as sent, without the query; still percent-encoded.
    pub path: String,
    /// Decoded pairs, in the order sent.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first query value of this name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The path's parts, decoded after the split, so that an encoded slash stays inside its part.
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect()
    }

    /// The body as JSON; `Null` where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What goes wrong with an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The connection closes without an answer.
    HangUp,
    /// Half the body, then the connection closes.
    Truncate,
}

/// What the server answers.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub broken: Option<Break>,
}

impl Response {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), broken: None }
    }

    /// A JSON answer.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        let response = Self { body: value.to_string().into_bytes(), ..Self::status(status) };
        response.header("content-type", "application/json; charset=utf-8")
    }

    /// A binary answer.
    pub fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self { body, ..Self::status(status) }.header("content-type", "application/octet-stream")
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same answer, broken on its way.
    pub fn broken(self, how: Break) -> Self {
        Self { broken: Some(how), ..self }
    }
}

/// A running server; dropping it stops it.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on a free loopback port until dropped. `handler` is called from many threads at once.
    pub fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, handler) = (Arc::clone(&stop), Arc::new(handler));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), handler, stopped) = (stream, Arc::clone(&handler), Arc::clone(&stopped)) else { continue };
                std::thread::spawn(move || {
                    // A client that goes away mid-request is no fault of the test.
                    let _ = serve(&stream, handler.as_ref(), &stopped);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, stop, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes `accept`.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(stream: &TcpStream, handler: &(dyn Fn(&Request) -> Response + Send + Sync), stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, stream)? {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let response = handler(&request);
        if response.broken == Some(Break::HangUp) {
            break;
        }
        write_response(stream, &request, &response)?;
        let close = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if close || response.broken.is_some() {
            break;
        }
    }
    Ok(())
}

/// What a TLS connection begins with: the record type of a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

fn read_request(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream) -> std::io::Result<Option<Request>> {
    if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
        // As Go's servers do: by this answer BuildKit learns that a registry on loopback speaks plain HTTP.
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")?;
        return Ok(None);
    }
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = pairs.map(|(name, value)| (decode(name, true), decode(value, true))).collect();
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), query, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        request.body = read_chunks(reader)?;
    } else if let Some(length) = request.header("content-length").and_then(|value| value.parse().ok()) {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_chunks(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(std::io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn write_response(mut stream: &TcpStream, request: &Request, response: &Response) -> std::io::Result<()> {
    let mut head = vec![format!("HTTP/1.1 {} Status", response.status)];
    head.extend(response.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    // A handler that answers a HEAD says the length of what it does not send.
    let said = response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if response.status != 204 && !said {
        head.push(format!("content-length: {}", response.body.len()));
    }
    let head = head.join("\r\n") + "\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        let upto = if response.broken.is_some() { response.body.len() / 2 } else { response.body.len() };
        stream.write_all(&response.body[..upto])?;
    }
    stream.flush()
}

/// Percent-decoding; a `+` is a space in a query and itself in a path.
pub fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match (bytes[at], hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
