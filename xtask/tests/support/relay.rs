//! A dockerd as a remote BuildKit: it serves BuildKit's control API to whoever asks `POST /grpc` with `Upgrade: h2c` on its socket. A relay
//! opens a port on loopback, does that upgrade for every connection, and passes bytes on, which makes a builder of buildx's driver
//! `remote` of it. It can go away, fall silent, and be slow, it can ask for TLS with
//! certificates on both sides, and it counts what it is sent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};

const UPGRADE: &[u8] = b"POST /grpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/// A relay, which ends with this value.
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    gone: AtomicBool,
    silent: AtomicBool,
    /// Milliseconds that every piece of up to 64 KiB is on its way.
    slow: AtomicU64,
    /// Bytes from clients.
    sent: AtomicU64,
    connections: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// To the dockerd on this socket.
    pub fn to(socket: &Path) -> Self {
        Self::start(socket, true, None)
    }

    /// The same, for whoever speaks TLS as this server does.
    pub fn with_tls(socket: &Path, tls: Arc<ServerConfig>) -> Self {
        Self::start(socket, true, Some(tls))
    }

    /// To the dockerd's whole API, as a dockerd that listens with TLS serves it: for contexts.
    pub fn of_docker(socket: &Path, tls: Arc<ServerConfig>) -> Self {
        Self::start(socket, false, Some(tls))
    }

    fn start(socket: &Path, upgrade: bool, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let (socket, seen) = (socket.to_owned(), Arc::clone(&state));
        std::thread::spawn(move || {
            // With the listener goes the port: who connects then is refused.
            while !seen.gone.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((connection, _)) => serve(connection, socket.clone(), upgrade, tls.clone(), &seen),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { address, state }
    }

    /// Where buildx finds it.
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// It is gone, as if the machine had lost power: what is open breaks, and who connects is refused.
    pub fn kill(&self) {
        self.state.gone.store(true, Ordering::SeqCst);
        for connection in self.state.connections.lock().unwrap().drain(..) {
            // The other side may have gone first.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// How many bytes it has been sent.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Lets every piece that passes take so many milliseconds, in both directions.
    pub fn slow(&self, milliseconds: u64) {
        self.state.slow.store(milliseconds, Ordering::SeqCst);
    }

    /// Whether it takes connections and never answers on any.
    pub fn silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(connection: TcpStream, socket: PathBuf, upgrade: bool, tls: Option<Arc<ServerConfig>>, state: &Arc<State>) {
    connection.set_nonblocking(false).unwrap();
    // As every server in Go: small answers do not wait for those before them to be acknowledged.
    connection.set_nodelay(true).unwrap();
    state.connections.lock().unwrap().push(connection.try_clone().unwrap());
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        let (mut client, mut daemon) = (connection, UnixStream::connect(socket)?);
        if upgrade {
            ask_for_buildkit(&mut daemon)?;
        }
        if let Some(tls) = tls {
            return tunnel(client, daemon, tls);
        }
        let (mut answers, mut to_client, quiet) = (daemon.try_clone()?, client.try_clone()?, Arc::clone(&state));
        std::thread::spawn(move || {
            pass(&mut answers, &mut to_client, &quiet);
            to_client.shutdown(Shutdown::Both)
        });
        pass(&mut Counted(&mut client, &state.sent), &mut daemon, &state);
        daemon.shutdown(Shutdown::Both)
    });
}

fn ask_for_buildkit(daemon: &mut UnixStream) -> std::io::Result<()> {
    daemon.write_all(UPGRADE)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        daemon.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    Ok(())
}

/// What is read, counted.
struct Counted<'a>(&'a mut TcpStream, &'a AtomicU64);

impl std::io::Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(bytes)?;
        self.1.fetch_add(count as u64, Ordering::SeqCst);
        Ok(count)
    }
}

/// Passes on what comes through TLS. Who does not pass the handshake is told why, and let go.
fn tunnel(mut client: TcpStream, mut daemon: UnixStream, tls: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut session = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    session.set_buffer_limit(None);
    let session = Arc::new(Mutex::new(session));
    let (back, mut answers, mut to_client) = (Arc::clone(&session), daemon.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = answers.read(&mut bytes) {
            let mut session = back.lock().unwrap();
            session.writer().write_all(&bytes[..count])?;
            flush(&mut session, &mut to_client)?;
        }
        to_client.shutdown(Shutdown::Both)
    });
    let passed = decrypt(&session, &mut client, &mut daemon);
    daemon.shutdown(Shutdown::Both)?;
    if passed.is_err() {
        // What is still to be read would break the connection before the client has read why.
        client.shutdown(Shutdown::Write)?;
        std::io::copy(&mut client, &mut std::io::sink())?;
    }
    passed
}

fn decrypt(session: &Mutex<ServerConnection>, client: &mut TcpStream, daemon: &mut UnixStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let count = client.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        let (mut pieces, mut plain) = (&bytes[..count], Vec::new());
        let mut session = session.lock().unwrap();
        while !pieces.is_empty() {
            session.read_tls(&mut pieces)?;
            let read = session.process_new_packets();
            flush(&mut session, client)?;
            let read = read.map_err(std::io::Error::other)?.plaintext_bytes_to_read();
            let at = plain.len();
            plain.resize(at + read, 0);
            session.reader().read_exact(&mut plain[at..])?;
        }
        drop(session);
        daemon.write_all(&plain)?;
    }
}

fn flush(session: &mut ServerConnection, client: &mut TcpStream) -> std::io::Result<()> {
    while session.wants_write() {
        session.write_tls(client)?;
    }
    Ok(())
}

fn pass(from: &mut impl std::io::Read, to: &mut impl std::io::Write, state: &State) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                std::thread::sleep(Duration::from_millis(state.slow.load(Ordering::SeqCst)));
                while state.silent.load(Ordering::SeqCst) && !state.gone.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                if to.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
        }
    }
}
