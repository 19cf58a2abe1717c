//! What a fleet costs where it has one node: the same engine behind a relay, which makes a remote builder of it, beside the engine itself.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::engine::{BUILDX, Engine, run};
use super::measure::{Contender, at_most, side_by_side};
use support::relay::Relay;

/// How much longer a build may take.
const MOST: f64 = 1.05;

/// Measures, and says whether it holds.
pub fn holds(runs: usize) -> bool {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet");
    if root.exists() {
        std::fs::remove_dir_all(&root).expect("the old clone can be removed");
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
    run(Command::new("git").args(["clone", "--quiet", "--local"]).arg(here).arg(&root));
    Overhead { data: Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet-engine"), root }.measure(runs)
}

/// A clone of this repository, and where the engine's data are.
struct Overhead {
    root: PathBuf,
    data: PathBuf,
}

impl Overhead {
    fn xtask(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.current_dir(&self.root).env("XTASK_BUILDERS_ENGINE", "embedded").env("XTASK_ENGINE_DATA", &self.data);
        command
    }

    fn measure(&self, runs: usize) -> bool {
        let engine = Engine::up(|| self.xtask());
        let relay = Relay::to(Path::new(engine.says("docker-host").trim_start_matches("unix://")));
        let builders = self.root.join("target/builders");
        let mut create = engine.client(BUILDX, &self.root);
        run(create.args(["create", "--name", "one", "--driver", "remote", &relay.endpoint()]).env("BUILDX_CONFIG", &builders));
        let push = || {
            let mut command = self.xtask();
            command.args(["build", "--push", "--allow-stand-ins"]);
            command.env("XTASK_IMAGES_REGISTRY", engine.says("registry")).env("XTASK_IMAGES_NAMESPACE", "bench/fleet");
            command
        };
        let fleet = || {
            let mut command = push();
            command.env("BUILDX_CONFIG", &builders);
            command.env("XTASK_BUILDERS_FLEET", "[{ builder = 'one', platforms = ['linux/amd64'], builds = 4 }]");
            command
        };
        run(&mut push());
        let edits = Cell::new(0);
        let edit = || {
            edits.set(edits.get() + 1);
            for service in ["api", "scheduler", "web", "worker"] {
                let file = self.root.join(format!("apps/{service}/src/main.ts"));
                let text = std::fs::read_to_string(&file).expect("a service has a main");
                let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("// edit ")).collect();
                std::fs::write(&file, format!("{}\n// edit {}\n", kept.join("\n"), edits.get())).expect("it can be written");
            }
        };
        let medians = side_by_side(
            "One line changed in each of four services, pushed",
            1,
            runs,
            &mut [Contender::new("the engine", push).before(edit), Contender::new("a fleet of one node", fleet).before(edit)],
        );
        at_most(MOST, "a fleet of one node to the engine itself", medians[1], medians[0])
    }
}

impl Drop for Overhead {
    fn drop(&mut self) {
        run(self.xtask().args(["engine", "reset"]));
    }
}
