//! The embedded engine, for real: it comes up, builds, pushes and goes, and nothing of it stays behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use monoship_core::env::Env;
use monoship_core::event::Events;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::engine::{Engine, ca_bundle};
use monoship_docker::store::ImageStore;
use monoship_engine::trust::Trust;
use monoship_engine::{EngineOptions, daemon, standin};
use monoship_plan::config::{EngineChoice, Suite};
use serde_json::{Value, json};
use support::engine::{NODE, TestEngine, environment_of, fresh, fresh_with_node, shared};
use support::tools::IPROUTE;

const SCANNER: &str = "docker/buildkit-syft-scanner:stable-1";

/// A build's context with this Dockerfile in it.
fn context(dockerfile: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    dir
}

/// `buildx build` of a Dockerfile, with the machine's certificate bundle as the secret `ca`.
fn build(engine: &Engine, context: &Path) -> Invocation {
    let call = engine.buildx().arg("build").arg("--progress=plain").timeout(Duration::from_mins(3));
    let call = match ca_bundle(&support::engine::environment()) {
        Some(bundle) => call.arg("--secret").arg(format!("id=ca,src={}", bundle.display())),
        None => call,
    };
    call.arg(context)
}

fn run(call: &Invocation) -> String {
    call.read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn get(url: &str) -> Value {
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let mut answer = ureq::get(url).header("accept", accept).call().unwrap();
    serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
}

/// A Dockerfile whose install step reaches the npm registry, through the machine's own certificates where it has some.
fn networked() -> String {
    format!(
        "FROM {NODE}\nRUN --mount=type=secret,id=ca,target=/run/secrets/ca \
         if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi; \
         cd /opt && npm install --no-audit --no-fund is-number@7.0.0\nUSER node\nRUN [ \"$(id -u)\" = 1000 ] && touch ~/mine\n"
    )
}

/// A push with `mode=max` provenance and an SBOM, on `engine`; both are read back from its registry.
fn builds_and_attests(test: &TestEngine) {
    let names: Vec<String> = test.stand_ins(&[NODE, SCANNER]).iter().map(|s| s.image.to_string()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let context = context(&networked());
    let registry = test.registry();
    let name = format!("{registry}/engine-test/attested:1");
    run(&build(&test.engine, context.path()).args(["--provenance=mode=max", "--sbom=true", "--push", "--tag", &name]));
    let index = get(&format!("http://{registry}/v2/engine-test/attested/manifests/1"));
    let attestation = index["manifests"].as_array().unwrap().iter().find(|m| m["platform"]["os"] == "unknown").unwrap();
    let manifest =
        get(&format!("http://{registry}/v2/engine-test/attested/manifests/{}", attestation["digest"].as_str().unwrap()));
    let layers = manifest["layers"].as_array().unwrap();
    let kind = |layer: &Value| layer["annotations"]["in-toto.io/predicate-type"].as_str().unwrap().to_owned();
    assert!(layers.iter().any(|layer| kind(layer).starts_with("https://slsa.dev/provenance/")), "{manifest}");
    let sbom = layers.iter().find(|layer| kind(layer) == "https://spdx.dev/Document").unwrap();
    let statement = get(&format!("http://{registry}/v2/engine-test/attested/blobs/{}", sbom["digest"].as_str().unwrap()));
    let packages = statement["predicate"]["packages"].as_array().unwrap();
    let has = |name: &str| packages.iter().any(|package| package["name"] == name);
    assert!(has("is-number") && has("bash"), "an npm package and a Debian package are both listed");
}

#[test]
fn the_newest_suite_builds_with_network_and_attests_its_push() {
    let test = shared();
    builds_and_attests(test);
    let kept = run(&test.engine.buildx().args(["du", "--verbose"]));
    assert!(!kept.contains("COPY rootfs/"), "a stand-in's files are kept beside its image: {kept}");
    assert!(test.engine.capabilities.push_without_store && test.engine.capabilities.gha_v2);
}

#[test]
fn a_fallback_suite_does_the_same_beside_the_first_engine() {
    let first = shared();
    let test = fresh("stable", Suite::Stable);
    assert!(test.engine.engine_version < first.engine.engine_version);
    builds_and_attests(&test);
    // Neither took the other's network away.
    first.stand_ins(&[NODE]);
    run(&build(&first.engine, context(&networked()).path()).arg("--no-cache"));
}

#[test]
fn steps_trust_what_this_machines_tools_trust_and_no_layer_has_a_trace_of_it() {
    let test = fresh_with_node("trust");
    let machine = tempfile::tempdir().unwrap();
    std::fs::write(machine.path().join("own.pem"), "the company's\n").unwrap();
    std::fs::write(machine.path().join("all.pem"), "everybody's\n").unwrap();
    let env = Env::new(machine.path(), []).with("NODE_EXTRA_CA_CERTS", "own.pem").with("SSL_CERT_FILE", "all.pem");
    let restarted = |trust: Trust| {
        daemon::down(&test.layout(), &Events::none(), &Shutdown::new()).unwrap();
        let options = EngineOptions { trust, ..test.options.clone() };
        monoship_engine::up(&options, &Events::none(), &Shutdown::new()).unwrap()
    };
    // What a step says is where it goes wrong: `set -x` has it in the error.
    let dockerfile = |checks: &str| {
        format!(
            "FROM {NODE} AS step\nRUN set -x; touch /made; {checks}\nFROM {NODE}\n\
             RUN --mount=from=step,target=/step set -x; [ -e /step/made ] && ! ls -a /step/dev | grep trust\n"
        )
    };
    let given = dockerfile(
        "[ \"$(cat $NODE_EXTRA_CA_CERTS $SSL_CERT_FILE)\" = \"$(printf \"the company's\\neverybody's\")\" ] && \
         [ -z \"$CURL_CA_BUNDLE$REQUESTS_CA_BUNDLE$GIT_SSL_CAINFO\" ] && ! touch $SSL_CERT_FILE\n\
         ENV SSL_CERT_FILE=/theirs.pem\nRUN [ $SSL_CERT_FILE = /theirs.pem ]",
    );
    let engine = restarted(Trust::of(&env));
    run(&build(&engine, context(&given).path()).args(["--load", "--tag", "trust:1"]));
    let config = run(&engine.docker().args(["image", "inspect", "trust:1"]));
    assert!(config.contains("NODE_VERSION=") && !config.contains("trust/"), "{config}");

    let nothing = dockerfile("! printenv | grep -i cert && [ ! -e /dev/xtask-trust ]");
    run(&build(&restarted(Trust::default()), context(&nothing).path()));
}

#[test]
fn a_running_engine_is_found_and_started_only_once() {
    let test = fresh("once", Suite::Testing);
    let up = || monoship_engine::up(&test.options, &Events::none(), &Shutdown::new()).unwrap();
    let pid = daemon::status(&test.layout()).pid;
    up();
    assert_eq!(daemon::status(&test.layout()).pid, pid);
    daemon::down(&test.layout(), &Events::none(), &Shutdown::new()).unwrap();
    let registries: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| up().registry)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    // The same port as before, so that names that mention it stay right.
    assert_eq!(registries, vec![test.engine.registry; 4]);
    let daemons = processes(&test).into_iter().filter(|line| line.contains("dockerd --config-file")).count();
    assert_eq!(daemons, 1);
}

#[test]
fn a_shell_that_was_pointed_at_the_engine_uses_it_and_the_program_knows_it_again() {
    let test = shared();
    let env = environment_of("shared");
    let said = support::repo::xtask_command(support::repo::here(), &["engine", "env"])
        .env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
        .output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    // A shell without a client of its own.
    let script =
        format!("PATH=\n{said}docker version --format '{{{{.Server.Version}}}}' && echo \"$DOCKER_HOST $DOCKER_CONFIG\"");
    let shell = run(&Invocation::new("/bin/sh").args(["-euc", &script]));
    let (version, variables) = shell.trim().split_once('\n').unwrap();
    assert!(version.starts_with(&test.engine.engine_version.unwrap().to_string()), "{version}");
    let (host, config) = variables.split_once(' ').unwrap();
    assert_eq!(host, test.engine.docker_host.as_deref().unwrap());
    let pointed = env.with("DOCKER_HOST", host).with("DOCKER_CONFIG", config);
    let found = monoship_steps::engine::running(&pointed, EngineChoice::Auto, Suite::Testing, &Shutdown::new()).unwrap();
    assert!(found.is_some_and(|engine| engine.is_embedded()));
}

#[test]
fn each_image_is_found_by_each_of_its_names_whatever_it_lacks() {
    let engine = &shared().engine;
    let store = || ImageStore::new(engine.docker_host.as_deref(), engine.docker(), &Shutdown::new());
    // The client's way to the same engine, as to one that is elsewhere.
    let by_client = || ImageStore::new(Some("ssh://is-not-a-socket"), engine.docker(), &Shutdown::new());
    let name = |at: usize| -> ImageRef { format!("engine-test/{}/listed-{at}:1", "long".repeat(55)).parse().unwrap() };
    // Two zero blocks: a tar archive without entries.
    let import = engine.docker().args(["import", "-", &name(0).to_string()]).stdin(vec![0; 1024]);
    let digest: Digest = run(&import).parse().unwrap();
    let mut names: Vec<ImageRef> = (0..60).map(name).collect();
    // Docker Hub's short names, a host with a port, and no tag at all.
    names.extend(
        ["listed:1", "docker.io/library/listed:2", "127.0.0.1:5000/a/b:1", "engine-test/listed"]
            .map(|name| name.parse().unwrap()),
    );
    names[1..].iter().for_each(|other| store().tag(&names[0], other).unwrap());
    names.push(names[0].without_reference().with_digest(digest.clone()));
    let mut there = vec![Some(digest.clone()); names.len()];
    // For a machine that this one is not, and without a history.
    let import = ["import", "--platform=linux/s390x", "-", "engine-test/elsewhere:1"];
    there.push(Some(run(&engine.docker().args(import).stdin(vec![0; 1024])).parse().unwrap()));
    run(&engine.docker().args(["load"]).stdin(without_history("engine-test/bare:1")));
    there.push(Some(store().inspect(&"engine-test/bare:1".parse().unwrap()).unwrap().unwrap().id));
    names.extend(["engine-test/elsewhere:1", "engine-test/bare:1"].map(|name| name.parse().unwrap()));
    assert_eq!(store().ids(&names).unwrap(), there);
    assert_eq!(by_client().ids(&names).unwrap(), there);
    let other_digest = names[0].without_reference().with_digest(Digest::of(b"another"));
    let strangers = ["engine-test/never-made:1", "listed:3", "listed"].map(|name| name.parse().unwrap());
    let asked = [&strangers[..], &[other_digest]].concat();
    assert_eq!((store().ids(&asked).unwrap(), by_client().ids(&asked).unwrap()), (vec![None; 4], vec![None; 4]));
    assert_eq!(by_client().inspect(&names[0]).unwrap(), store().inspect(&names[0]).unwrap());
    assert_eq!(by_client().inspect(&asked[0]).unwrap(), None);
    assert!(!by_client().remove(&asked[0]).unwrap());
    for id in there.iter().flatten().collect::<BTreeSet<_>>() {
        run(&engine.docker().args(["image", "rm", "--force", id.as_ref()]));
    }
    assert_eq!(store().ids(&names).unwrap(), vec![None; names.len()]);
}

/// An image as `docker save` writes it, whose configuration tells no history.
fn without_history(name: &str) -> Vec<u8> {
    let layer = [0; 1024];
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}});
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    let files = [("config.json", config.to_string().into_bytes()), ("manifest.json", manifest.to_string().into_bytes())];
    for (path, bytes) in files.into_iter().chain([("layer.tar", layer.to_vec())]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// What the machine still knows of an engine.
fn traces(test: &TestEngine) -> Vec<String> {
    let layout = test.layout();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let run = layout.run().display().to_string();
    let places = [run.clone(), layout.docker_root().display().to_string(), layout.tmp().display().to_string()];
    let is_ours = |line: &&str| places.iter().any(|place| line.contains(place));
    let mut found: Vec<String> = mounts.lines().filter(is_ours).map(str::to_owned).collect();
    found.extend(processes(test));
    if layout.run().exists() {
        found.push(run);
    }
    let interfaces = std::fs::read_dir("/sys/class/net").unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    found.extend(interfaces.filter(|name| *name == layout.bridge()));
    let state = daemon::status(&layout);
    let rules = format!("{}/bin/iptables-nft", state.packages.unwrap());
    for table in ["nat", "filter"] {
        let listed = Invocation::new(&rules).args(["-t", table, "-S"]).read(&Shutdown::new()).unwrap_or_default();
        found.extend(listed.lines().filter(|line| line.contains(&layout.bridge())).map(str::to_owned));
    }
    found
}

/// The command lines of an engine's processes, build steps included: those name it in their control group.
fn processes(test: &TestEngine) -> Vec<String> {
    let layout = test.layout();
    let run = layout.run().display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let group = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if line.contains(&run) || group.contains(&layout.cgroup()) {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_killed_engine_is_cleaned_up_and_the_next_one_works() {
    let test = fresh_with_node("killed");
    let dir = context(&format!("FROM {NODE}\nRUN --mount=type=secret,id=kept cat /run/secrets/kept; sleep 7654\n"));
    let secret = format!("id=kept,src={}", dir.path().join("Dockerfile").display());
    std::thread::scope(|scope| {
        let call = build(&test.engine, dir.path()).args(["--secret", &secret]);
        let building = scope.spawn(move || call.run(&Shutdown::new()));
        let deadline = Instant::now() + Duration::from_mins(1);
        while !processes(&test).iter().any(|line| line.contains("sleep 7654")) {
            assert!(Instant::now() < deadline, "the build step did not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = daemon::status(&test.layout()).pid.unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert!(!building.join().unwrap().unwrap().success());
    });
    assert!(!daemon::status(&test.layout()).running);
    let engine = monoship_engine::up(&test.options, &Events::none(), &Shutdown::new()).unwrap();
    assert!(!processes(&test).iter().any(|line| line.contains("sleep 7654")), "the orphaned build step was ended");
    run(&build(&engine, context(&networked()).path()));

    // One that runs from packages that are gone, as when somebody has emptied the cache folder, cannot be asked: it is started anew.
    let layout = test.layout();
    let empty = || {
        let state = std::fs::read_to_string(layout.state()).unwrap();
        let packages = daemon::status(&layout).packages.unwrap();
        std::fs::write(layout.state(), state.replace(&packages, &format!("{packages}-emptied"))).unwrap();
        assert!(!daemon::status(&layout).running);
    };
    empty();
    let engine = monoship_engine::up(&test.options, &Events::none(), &Shutdown::new()).unwrap();
    run(&engine.docker().arg("version"));
    empty();
    daemon::down(&layout, &Events::none(), &Shutdown::new()).unwrap();
    assert_eq!(traces(&test), Vec::<String>::new());
}

#[test]
fn a_container_that_runs_does_not_keep_an_engine_from_going() {
    let test = fresh_with_node("containers");
    let docker = |args: &[&str]| run(&test.engine.docker().args(args.iter().copied()).timeout(Duration::from_mins(1)));
    // Node as process 1 ignores SIGTERM, as many services do.
    let script = "require('http').createServer((q, s) => s.end('up')).listen(8080)";
    docker(&["run", "--detach", "--name", "service", "--publish", "127.0.0.1:0:8080", NODE, "node", "-e", script]);
    let address = docker(&["port", "service", "8080"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        match ureq::get(format!("http://{address}/")).call() {
            Ok(mut answer) => break answer.body_mut().read_to_string().unwrap(),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(answer, "up");
    daemon::down(&test.layout(), &Events::none(), &Shutdown::new()).unwrap();
    assert_eq!(traces(&test), Vec::<String>::new());
}

#[test]
fn an_image_nobody_can_make_is_named_with_what_to_do() {
    let test = shared();
    let http = monoship_core::execute::http::Http::new(
        &support::engine::environment(),
        monoship_core::execute::http::Limits::STANDARD,
        &Shutdown::new(),
    );
    for (image, why) in [
        ("postgres:17".to_owned(), "has no stand-in"),
        ("node:24-alpine".to_owned(), "is an Alpine and has no stand-in"),
        ("alpine:3.22".to_owned(), "is an Alpine and has no stand-in"),
        ("nginx:1-alpine-slim".to_owned(), "is an Alpine and has no stand-in"),
        ("caddy:2-builder".to_owned(), "give no `builder`"),
        ("debian:jessie".to_owned(), "`jessie` is no release of Debian"),
        (format!("node:24-slim@sha256:{}", "0".repeat(64)), "pinned to a digest"),
    ] {
        let images = [image.parse().unwrap()];
        let policy = monoship_plan::config::StandIns::Always;
        let error = standin::ensure(&test.engine, &images, policy, &Events::none(), &http).unwrap_err();
        assert!(error.to_string().contains(&image) && error.to_string().contains(why), "{error}");
        assert!(error.hint_text().unwrap().contains("docker load"), "{error:?}");
    }
}

#[test]
fn a_full_disk_is_named_while_fetching_and_nothing_half_done_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    run(&Invocation::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&small));
    let options = EngineOptions { cache_dir: small.join("cache"), ..EngineOptions::new(&environment_of("full"), Suite::Testing) };
    let started = monoship_engine::up(&options, &Events::none(), &Shutdown::new());
    let unpacked = small.join("cache/packages/testing").exists();
    run(&Invocation::new("umount").arg(&small));
    let error = started.unwrap_err();
    assert!(error.to_string().contains(small.to_str().unwrap()), "{error}");
    assert!(error.hint_text().unwrap().contains("is full"), "{error:?}");
    assert!(!unpacked);
}

#[test]
fn without_root_and_without_docker_the_error_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    // The target folder may lie where nobody else may look.
    let (program, home) = (dir.path().join("xtask"), dir.path().join("home"));
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    std::fs::create_dir(&home).unwrap();
    for (path, mode) in [(dir.path(), 0o755), (home.as_path(), 0o777)] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let call = Invocation::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    let call = call.args(["engine", "up"]).env("HOME", &home).env_remove("XTASK_CACHE_DIR").env_remove("XDG_CACHE_HOME");
    let output = call.dir(dir.path()).run(&Shutdown::new()).unwrap();
    let said = output.error_tail();
    assert_eq!(output.code, Some(1), "{said}");
    assert!(said.contains("needs root"), "{said}");
}

/// A network namespace, gone with this value.
struct Namespace(String);

impl Namespace {
    /// One whose only interface leads into this machine: to a bridge, or with an address of its own at this end.
    fn new(name: &str, own: &str, theirs: &str, bridge: Option<&str>) -> Self {
        let made = Self(format!("{name}{}", std::process::id()));
        let outer = format!("v{}", made.0);
        ip(&["netns", "add", &made.0]);
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", "e0", "netns", &made.0]);
        match bridge {
            Some(bridge) => ip(&["link", "set", &outer, "master", bridge]),
            None => ip(&["addr", "add", &format!("{theirs}/24"), "dev", &outer]),
        }
        ip(&["link", "set", &outer, "up"]);
        ip(&["-n", &made.0, "addr", "add", &format!("{own}/24"), "dev", "e0"]);
        ip(&["-n", &made.0, "link", "set", "e0", "up"]);
        ip(&["-n", &made.0, "route", "add", "default", "via", theirs]);
        made
    }

    /// What comes of a connection from here: an answer, be it that nobody listens, or none.
    fn reaches(&self, address: &str) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{address}/4321");
        let call = Invocation::new(IPROUTE.path()).args(["netns", "exec", &self.0, "timeout", "2", "bash", "-c", &connect]);
        let output = call.run(&Shutdown::new()).unwrap();
        output.success() || output.error_tail().contains("refused")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Invocation::new(IPROUTE.path()).args(["link", "del", &format!("v{}", self.0)]).run(&Shutdown::new());
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(args: &[&str]) {
    run(&Invocation::new(IPROUTE.path()).args(args.iter().copied()));
}

#[test]
fn the_engine_forwards_for_its_bridge_alone_and_nobody_may_begin_a_connection_to_what_is_behind_it() {
    let test = shared();
    let bridge = test.layout().bridge();
    let told = run(&Invocation::new(IPROUTE.path()).args(["-4", "-o", "addr", "show", "dev", &bridge]));
    let gateway = told.split_whitespace().nth(3).unwrap().split('/').next().unwrap().to_owned();
    let behind = format!("{}.250", gateway.rsplit_once('.').unwrap().0);
    let inside = Namespace::new("in", &behind, &gateway, Some(&bridge));
    let lan = Namespace::new("la", "10.213.7.2", "10.213.7.1", None);
    let other = Namespace::new("ot", "10.213.8.2", "10.213.8.1", None);
    assert!(inside.reaches("10.213.7.2"), "a build step reaches the network, and is answered");
    assert!(!lan.reaches(&behind), "a host of the network reached what is behind the bridge");
    // Where the machine forwards by itself, that is its own business.
    if Path::new("/run/xtask/ip_forward").exists() {
        assert!(!lan.reaches("10.213.8.2"), "the machine has become a router");
    }
    drop((inside, lan, other));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "as another user")]
fn nobody_but_its_own_user_can_connect_to_the_engines_registry() {
    use std::os::unix::process::CommandExt as _;
    let port = shared().engine.registry.unwrap().port();
    let connect = |user: u32| {
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]).current_dir("/");
        bash.uid(user).stderr(std::process::Stdio::null()).status().unwrap().success()
    };
    assert!(connect(0), "its own user");
    assert!(!connect(65_534), "another user connected");
}
