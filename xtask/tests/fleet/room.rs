//! Nodes without room: in a step, and where BuildKit itself writes.

use std::io::{BufRead as _, BufReader, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::nodes::{Machines, copied, node, second, task};
use monoship_core::execute::shutdown::Shutdown;
use monoship_plan::config::Suite;
use support::engine::{NODE, data_dir, environment, fresh, shared};
use support::registry::RegistryServer;
use support::turn::turn;

/// A disk of its own in a folder, gone with this value, however the test ends.
struct Disk {
    pipe: PipeWriter,
    child: Child,
}

impl Disk {
    #[expect(clippy::disallowed_methods, reason = "it must outlive the test by a moment, to unmount what it mounted")]
    fn of(folder: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (theirs, ours) = std::io::pipe().unwrap();
        // It waits for the pipe, whose other end only we hold.
        let script = format!(
            "mount -t tmpfs -o mode=755,size={megabytes}m tmpfs \"$0\" && echo mounted && cat > /dev/null; umount --lazy \"$0\""
        );
        let mut call = Command::new("sh");
        call.args(["-c", &script]).arg(folder).process_group(0);
        let mut child = call.stdin(theirs).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n");
        Self { pipe: ours, child }
    }
}

/// After the engine on it, which is declared behind it.
struct SmallEngine {
    engine: Option<support::engine::TestEngine>,
    disk: Option<Disk>,
}

impl Drop for SmallEngine {
    fn drop(&mut self) {
        drop(self.engine.take());
        if let Some(Disk { pipe, mut child }) = self.disk.take() {
            drop(pipe);
            child.wait().unwrap();
        }
    }
}

#[test]
fn what_buildkit_has_no_room_to_write_is_built_elsewhere() {
    let _turn = turn();
    let folder = data_dir("fleet-small");
    let disk = Disk::of(&folder, 64);
    let small = SmallEngine { engine: Some(fresh("fleet-small", Suite::Testing)), disk: Some(disk) };
    let registry = RegistryServer::plain();
    let machines = Machines::new(&[("small", small.engine.as_ref().unwrap()), ("other", shared())]);
    let prefers = |name: &str, weight: u32| format!("{{ builder = '{name}', platforms = ['linux/amd64'], weight = {weight} }}");
    let fleet = format!("[{}, {}]", prefers("small", 1_000), prefers("other", 1));
    let repo = machines.fleet(copied(&registry.host()), &[]).env("XTASK_BUILDERS_FLEET", fleet);
    let first = repo.xtask(&["build", "--push", "--json"]).exits(0).json();
    assert_eq!(node(&first, "api"), "small", "it has room for little");
    // More than the disk holds: what is copied is written by BuildKit, and no step is executed.
    let large = std::fs::File::create(repo.path().join("apps/api/src/large")).unwrap();
    large.set_len(80 << 20).unwrap();
    let moved = repo.xtask(&["build", "--push", "--json"]).exits(0);
    assert!(moved.stderr.contains("the node small is lost: its disk is full: "), "{}", moved.stderr);
    let record = moved.json();
    assert_eq!((node(&record, "api"), &task(&record, "api")["nodes"][0]["moved"][0][0]), ("other", &json!("small")));
    drop(machines);
    drop(small);
}

#[test]
fn a_step_that_a_node_has_no_room_for_is_executed_elsewhere() {
    let _turn = turn();
    shared().stand_ins(&[NODE]);
    let (registry, machines) = (RegistryServer::plain(), Machines::new(&[("one", shared()), ("two", second())]));
    let repo = machines.fleet(copied(&registry.host()), &["linux/amd64"; 2]);
    // A step that fills a disk of one megabyte on the machine that is marked as full.
    let disk = format!("--mount=type=cache,id={},target=/disk", repo.path().file_name().unwrap().display());
    let room = "--mount=type=tmpfs,target=/room,size=1048576";
    let fills = format!("RUN {disk} {room} if test -e /disk/full; then dd if=/dev/zero of=/room/file bs=1048576 count=2; fi\n");
    let api =
        format!("FROM {NODE} AS api-build\nCOPY apps/api/src /src\n{fills}\nFROM base AS api\nCOPY --from=api-build /src /\n");
    repo.write("Dockerfile.monorepo-optimized", &format!("FROM scratch AS base\n\n{api}"));
    repo.commit("a service that needs room");
    let first = repo.xtask(&["build", "--push", "--json"]).exits(0).json();
    let (full, other) = if node(&first, "api") == "one" { ("one", "two") } else { ("two", "one") };
    let env = environment().with("BUILDX_CONFIG", machines.builders.path().to_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {NODE}\nRUN {disk} touch /disk/full\n")).unwrap();
    let call =
        shared().engine.clone().with_builders_of(&env).buildx().args(["build", "--builder", full, "--output", "type=cacheonly"]);
    call.arg(folder.path()).read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
    repo.write("apps/api/src/code", "more\n");
    let moved = repo.xtask(&["build", "--push", "--json"]).exits(0);
    assert!(moved.stderr.contains(&format!("the node {full} is lost: its disk is full: ")), "{}", moved.stderr);
    let record = moved.json();
    assert_eq!((node(&record, "api"), &task(&record, "api")["nodes"][0]["moved"][0][0]), (other, &json!(full)));
}
