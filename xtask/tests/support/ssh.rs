//! A host that is reached over ssh: a real sshd on loopback, in front of a docker's socket. A connection gets an sshd of its own, as from
//! inetd, in a mount namespace in which the user that sshd wants is there and root may log in with one key. Nothing of the machine is changed.

#![expect(clippy::disallowed_methods, reason = "a test starts the server of a host, one a connection")]

use std::fs::Permissions;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use monoship_core::execute::shutdown::Shutdown as Stop;

use super::engine::TestEngine;
use super::tools::OPENSSH;

/// A host, which is gone with this value.
pub struct SshHost {
    address: SocketAddr,
    folder: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    gone: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// Starts sshd on the connection that is its standard input. `$1`: the folder with all that it is given.
const SERVE: &str = r#"set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
# What is in /run stays in sight, and beside it what sshd calls home.
mount --rbind /run "$1/run"
mount --types tmpfs tmpfs /run
mkdir /run/sshd
for entry in "$1"/run/*; do
    if test -d "$entry"; then mkdir -p "/run/${entry##*/}" && mount --rbind "$entry" "/run/${entry##*/}"; fi
done
exec "$2" -i -e -f "$1/sshd_config" 2>> "$1/log"
"#;

impl SshHost {
    /// One on which the engine's `docker` is on the path, and means this engine.
    pub fn of(engine: &TestEngine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        keys(folder.path());
        configure(folder.path(), engine);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let (seen, files, sshd) = (Arc::clone(&state), folder.path().to_owned(), OPENSSH.path());
        std::thread::spawn(move || {
            while !seen.gone.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((connection, _)) => serve(connection, &files, &sshd, &seen),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        let host = Self { address, folder, state };
        host.client();
        host
    }

    /// For `DOCKER_HOST` and contexts.
    pub fn url(&self) -> String {
        format!("ssh://root@{}", self.address)
    }

    /// A folder with the `ssh` of somebody who may log in here.
    pub fn clients(&self) -> std::path::PathBuf {
        self.folder.path().join("bin")
    }

    /// As docs/fleet.md advises: one connection for all calls. docker makes a new one for each, and BuildKit waits for 5 s for one.
    fn client(&self) {
        let (folder, ssh) = (self.folder.path(), OPENSSH.beside("usr/bin/ssh"));
        let config = format!(
            "IdentityFile {0}/client\nIdentitiesOnly yes\nUserKnownHostsFile {0}/known\nGlobalKnownHostsFile none\nBatchMode yes\n\
             ControlMaster auto\nControlPath {0}/master\nControlPersist 60s\n",
            folder.display()
        );
        std::fs::write(folder.join("ssh_config"), config).unwrap();
        let host = std::fs::read_to_string(folder.join("host.pub")).unwrap();
        std::fs::write(folder.join("known"), format!("[127.0.0.1]:{} {host}", self.address.port())).unwrap();
        std::fs::create_dir(self.clients()).unwrap();
        let script = self.clients().join("ssh");
        std::fs::write(&script, format!("#!/bin/sh\n{ssh} -F {}/ssh_config \"$@\"\n", folder.display())).unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    }

    /// It is gone, as if the machine had lost power.
    pub fn kill(&self) {
        self.state.gone.store(true, Ordering::SeqCst);
        for connection in self.state.connections.lock().unwrap().drain(..) {
            // The other side may have gone first.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for SshHost {
    fn drop(&mut self) {
        self.kill();
    }
}

fn keys(folder: &Path) {
    for name in ["host", "client"] {
        let call = OPENSSH.beside("usr/bin/ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name));
        call.read(&Stop::new()).unwrap();
    }
}

fn configure(folder: &Path, engine: &TestEngine) {
    let (shown, root) = (folder.display(), OPENSSH.root());
    let clients = engine.engine.docker.parent().unwrap().display();
    let host = engine.engine.docker_host.as_deref().unwrap();
    let mut config = format!(
        "HostKey {shown}/host\nAuthorizedKeysFile {shown}/client.pub\nStrictModes no\nMaxSessions 100\nUsePAM no\nUseDNS no\nPidFile none\n\
         PermitRootLogin prohibit-password\nSetEnv DOCKER_HOST={host} PATH={clients}:/usr/bin:/bin\n"
    );
    // Since OpenSSH 9.8 what serves a session is a program of its own, since 10.0 what lets people in as well.
    for (key, program) in [("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")] {
        let program = root.join("usr/lib/openssh").join(program);
        if program.is_file() {
            config += &format!("{key} {}\n", program.display());
        }
    }
    std::fs::write(folder.join("sshd_config"), config).unwrap();
    std::fs::create_dir(folder.join("run")).unwrap();
    let passwd = format!("root:x:0:0:root:{shown}:/bin/sh\nsshd:x:64999:64999::/run/sshd:/usr/sbin/nologin\n");
    std::fs::write(folder.join("passwd"), passwd).unwrap();
    std::fs::write(folder.join("shadow"), "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n").unwrap();
}

fn serve(connection: TcpStream, folder: &Path, sshd: &Path, state: &State) {
    connection.set_nonblocking(false).unwrap();
    state.connections.lock().unwrap().push(connection.try_clone().unwrap());
    let (input, output) = (OwnedFd::from(connection.try_clone().unwrap()), OwnedFd::from(connection));
    let mut call = Command::new("unshare");
    call.args(["--mount", "sh", "-c", SERVE, "serve"]).arg(folder).arg(sshd);
    let mut child = call.stdin(Stdio::from(input)).stdout(Stdio::from(output)).spawn().unwrap();
    std::thread::spawn(move || child.wait());
}
