//! Real embedded engines for tests: one that all tests of a run share, and others of their own. Their data lies under the
//! target folder, the packages in the user's cache, as for anybody who runs `cargo xtask build`.

use std::fs::File;
use std::io::PipeWriter;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use monoship_core::env::Env;
use monoship_core::event::Events;
use monoship_core::execute::http::{Http, Limits};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_docker::engine::Engine;
use monoship_engine::layout::Layout;
use monoship_engine::state::StandIn;
use monoship_engine::{EngineOptions, daemon, standin};
use monoship_plan::config::StandIns;
use monoship_plan::config::Suite;

use crate::repo::{here, program, target_dir};

/// The base image that tests build on.
pub const NODE: &str = "node:24-bookworm-slim";

/// The real environment, as `main` sees it.
#[expect(clippy::disallowed_methods, reason = "a test's own `main`")]
pub fn environment() -> Env {
    Env::new(here(), std::env::vars())
}

/// The environment in which the `xtask` program uses the engine called `name`, whatever Docker there is.
pub fn environment_of(name: &str) -> Env {
    environment().with("XTASK_ENGINE_DATA", data_dir(name).to_str().expect("the target folder's name is UTF-8"))
}

/// Where an engine keeps what it has.
pub fn data_dir(name: &str) -> PathBuf {
    target_dir().join("engines").join(name)
}

/// A running engine. It goes down with this value, or, where that is never dropped or the test is killed, with the process.
pub struct TestEngine {
    pub engine: Engine,
    pub options: EngineOptions,
    _use: Use,
}

/// The engine that every test may use and none may stop; its images and caches are kept between runs, so give yours names
/// and scopes of their own.
pub fn shared() -> &'static TestEngine {
    static SHARED: OnceLock<TestEngine> = OnceLock::new();
    SHARED.get_or_init(|| start("shared", Suite::Testing))
}

/// Another engine, empty, that shares nothing with the first but the packages.
pub fn fresh(name: &str, suite: Suite) -> TestEngine {
    emptied(name, suite);
    start(name, suite)
}

/// The same with [`NODE`] to build on, taken over from the shared engine's registry: making it takes ten times as long.
pub fn fresh_with_node(name: &str) -> TestEngine {
    let theirs = shared();
    theirs.stand_ins(&[NODE]);
    let (theirs, ours) = (theirs.layout(), emptied(name, Suite::Testing));
    // Hard links: a registry never changes a blob.
    let copy = Invocation::new("cp").args(["--archive", "--link"]).args([theirs.registry_root(), theirs.served()]);
    copy.arg(ours.data()).read(&Shutdown::new()).unwrap();
    start(name, Suite::Testing)
}

fn emptied(name: &str, suite: Suite) -> Layout {
    let layout = EngineOptions::new(&environment_of(name), suite).layout().unwrap();
    daemon::reset(&layout, false, &Events::none(), &Shutdown::new()).unwrap();
    layout
}

fn start(name: &str, suite: Suite) -> TestEngine {
    let options = EngineOptions::new(&environment_of(name), suite);
    // Before the engine, so that there is no moment in which a killed test would leave it behind.
    let used = Use::begin(&options);
    let engine = monoship_engine::up(&options, &Events::none(), &Shutdown::new()).unwrap();
    TestEngine { engine, options, _use: used }
}

impl TestEngine {
    pub fn layout(&self) -> Layout {
        self.options.layout().unwrap()
    }

    /// The registry's `host:port`.
    pub fn registry(&self) -> String {
        self.engine.registry.unwrap().to_string()
    }

    /// Throws away every image and all of the build cache: what a machine that has never built looks like.
    pub fn forget(&self) {
        for call in [
            self.engine.docker().args(["system", "prune", "--all", "--force"]),
            self.engine.buildx().args(["prune", "--all", "--force"]),
        ] {
            call.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Takes a blob out of the registry, by its digest: whoever asks for it is told that there is none.
    pub fn lose_blob(&self, digest: &str) {
        let hex = digest.trim_start_matches("sha256:");
        let folder = self.layout().registry_root().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Sees to it that these images can be built on, without asking Docker Hub: tests talk to nobody but package registries.
    pub fn stand_ins(&self, images: &[&str]) -> Vec<StandIn> {
        let images: Vec<_> = images.iter().map(|image| image.parse().unwrap()).collect();
        let http = Http::new(&environment(), Limits::STANDARD, &Shutdown::new());
        standin::ensure(&self.engine, &images, StandIns::Always, &Events::none(), &http).unwrap()
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        // Its images too: a few of these fill a small disk.
        daemon::reset(&self.layout(), false, &Events::none(), &Shutdown::new()).unwrap();
    }
}

/// Says that this process uses an engine, and sees to it that the last user's end takes the engine down, however that end comes.
///
/// A small process reads from a pipe whose other end only we hold. When it closes, that process waits for a lock which every
/// user holds, shared, from before the engine starts. It gives up where another test binary has come meanwhile: that one
/// brought a process of its own.
struct Use {
    _pipe: PipeWriter,
    _lock: File,
    /// Never waited for: it ends after us.
    _reaper: Child,
}

impl Use {
    #[expect(clippy::disallowed_methods, reason = "it must outlive the run, and every registered child ends with it")]
    fn begin(options: &EngineOptions) -> Self {
        std::fs::create_dir_all(&options.data_dir).unwrap();
        let path = options.data_dir.join("users");
        let lock = File::options().create(true).append(true).open(&path).unwrap();
        lock.lock_shared().unwrap();
        let (theirs, ours) = std::io::pipe().unwrap();
        let reaper = Command::new("sh")
            .args(["-c", "cat; exec flock --exclusive --timeout 2 \"$0\" \"$1\" engine down"])
            .arg(&path)
            .arg(program())
            .env("XTASK_ENGINE_DATA", &options.data_dir)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { _pipe: ours, _lock: lock, _reaper: reaper }
    }
}
