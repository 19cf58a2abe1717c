//! The embedded engine that all contenders of a benchmark build on, and how they are called.

use std::path::Path;
use std::process::Command;

/// What `xtask engine status --json` says of an engine that runs.
pub struct Engine(serde_json::Value);

impl Engine {
    /// Starts the engine of whoever `xtask` makes commands for.
    pub fn up(xtask: impl Fn() -> Command) -> Self {
        run(xtask().args(["engine", "up"]));
        let status = xtask().args(["engine", "status", "--json"]).output().expect("xtask runs");
        Self(serde_json::from_slice(&status.stdout).expect("the status is JSON"))
    }

    /// One field of the status.
    pub fn says(&self, field: &str) -> &str {
        self.0[field].as_str().expect("the engine runs")
    }

    /// A client of the engine, a program of its packages, called in `root`.
    pub fn client(&self, program: &str, root: &Path) -> Command {
        let mut command = Command::new(Path::new(self.says("packages")).join(program));
        command
            .current_dir(root)
            .env("DOCKER_HOST", self.says("docker-host"))
            .env("DOCKER_CONFIG", self.says("docker-config"))
            .env("CA_FILE", ca_file())
            // Bake asks before it reads a file outside the context, and nobody is there to answer.
            .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0");
        command
    }
}

/// The plugin, called directly.
pub const BUILDX: &str = "usr/libexec/docker/cli-plugins/docker-buildx";

/// The certificate bundle this machine's tools trust, as the contenders' build secret.
pub fn ca_file() -> String {
    ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

/// Runs what is not timed; a failure ends the benchmark, showing what it said.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
