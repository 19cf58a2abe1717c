//! Real nodes: embedded engines, each behind a relay that makes a remote builder of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::OnceLock;

use monoship_core::execute::shutdown::Shutdown;
use serde_json::{Value, json};

use support::engine::{NODE, TestEngine, environment, environment_of, fresh_with_node, shared};
use support::faulty_proxy::FaultyProxy;
use support::registry::RegistryServer;
use support::relay::Relay;
use support::repo::{Ran, Repo};
use support::turn::turn;

const SERVICES: [&str; 12] =
    ["accounts", "api", "billing", "catalog", "docs", "gateway", "mail", "media", "reports", "search", "web", "worker"];

/// A node: an engine behind a relay, and buildx's name for it.
pub struct Machine {
    pub relay: Relay,
    pub name: &'static str,
}

/// Builders of buildx that lead to these engines, in a folder of buildx's own.
pub struct Machines {
    pub builders: tempfile::TempDir,
    pub all: Vec<Machine>,
}

/// An engine that has the base image and nothing else.
pub fn second() -> &'static TestEngine {
    emptied(second_as_it_is())
}

/// The same with what it has.
pub fn second_as_it_is() -> &'static TestEngine {
    static SECOND: OnceLock<TestEngine> = OnceLock::new();
    SECOND.get_or_init(|| fresh_with_node("fleet"))
}

/// Another one.
fn third() -> &'static TestEngine {
    static THIRD: OnceLock<TestEngine> = OnceLock::new();
    emptied(THIRD.get_or_init(|| fresh_with_node("fleet-third")))
}

fn emptied(engine: &'static TestEngine) -> &'static TestEngine {
    engine.forget();
    engine
}

impl Machines {
    pub fn new(engines: &[(&'static str, &TestEngine)]) -> Self {
        let mut machines = Self { builders: tempfile::tempdir().unwrap(), all: Vec::new() };
        for (name, engine) in engines {
            machines.add(name, Relay::to(&engine.layout().socket()), &[]);
        }
        machines
    }

    /// Makes a builder of buildx's for a relay.
    pub fn add(&mut self, name: &'static str, relay: Relay, flags: &[&str]) {
        let env = environment().with("BUILDX_CONFIG", self.builders.path().to_str().unwrap());
        let call = shared().engine.clone().with_builders_of(&env).buildx().args(["create", "--name", name, "--driver", "remote"]);
        call.args(flags).arg(relay.endpoint()).read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
        self.all.push(Machine { relay, name });
    }

    pub fn relay(&self, name: &str) -> &Relay {
        &self.all.iter().find(|machine| machine.name == name).unwrap().relay
    }

    /// The repository, building on all of them.
    pub fn fleet(&self, repo: Repo, platforms: &[&str]) -> Repo {
        let nodes = self
            .all
            .iter()
            .zip(platforms)
            .map(|(machine, platform)| format!("{{ builder = '{}', platforms = ['{platform}'], builds = 2 }}", machine.name));
        let fleet = format!("[{}]", nodes.collect::<Vec<_>>().join(", "));
        repo.env("BUILDX_CONFIG", self.builders.path()).env("XTASK_BUILDERS_FLEET", fleet)
    }
}

/// A workspace of twelve services without dependencies. A step of each takes as long as its file says.
fn workspace(registry: &str) -> Repo {
    let repo = Repo::empty();
    let mut dockerfile = format!("FROM {NODE} AS base\nWORKDIR /work\n");
    let mut lock = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\n\
                    importers:\n\n  .: {}\n"
        .to_owned();
    for service in SERVICES {
        repo.write(&format!("apps/{service}/package.json"), &format!(r#"{{"name":"{service}","version":"1.0.0"}}"#));
        repo.write(&format!("apps/{service}/src/code"), &format!("{service} of {}\n", repo.path().display()));
        repo.write(&format!("apps/{service}/src/takes"), "0\n");
        let steps = "RUN sleep $(cat /src/takes) && mkdir /out && cp /src/code /out/\n";
        write!(dockerfile, "\nFROM base AS {service}-build\nCOPY apps/{service}/src /src\n{steps}").unwrap();
        write!(dockerfile, "\nFROM scratch AS {service}\nCOPY --from={service}-build /out /\nCMD [\"/code\"]\n").unwrap();
        write!(lock, "\n  apps/{service}: {{}}\n").unwrap();
    }
    repo.write("Dockerfile.monorepo-optimized", &dockerfile);
    repo.write("pnpm-lock.yaml", &lock);
    pushing(repo, registry)
}

/// Files that every workspace here has, and where it pushes to: without caches or attestations, so that two pushes can be compared.
pub fn pushing(repo: Repo, registry: &str) -> Repo {
    repo.write("package.json", r#"{"name":"root","private":true,"packageManager":"pnpm@10.34.9"}"#);
    repo.write("pnpm-workspace.yaml", "packages:\n  - apps/*\n");
    repo.write(".gitignore", "target/\n");
    let images = format!("[images]\nregistry = '{registry}'\nnamespace = 'org/shop'\n");
    let off =
        "[attest]\nsbom = false\nprovenance = false\n[cache]\ngha = false\nregistry = false\nprevious = false\ninline = false\n";
    repo.write("xtask.toml", &format!("{images}{off}"));
    repo.commit("start");
    let env = environment_of("shared");
    repo.env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
        .env("XTASK_BUILDERS_ENGINE", "embedded")
        .env("XTASK_BUILDERS_STAND_INS", "always")
}

/// Edits services, so that each is built anew.
fn edit(repo: &Repo, services: &[&str], takes: &str, what: &str) {
    for service in services {
        repo.write(&format!("apps/{service}/src/takes"), takes);
        let file = format!("apps/{service}/src/code");
        repo.write(&file, &format!("{}{what}\n", repo.read(&file)));
    }
    repo.commit(what);
}

pub fn task<'a>(record: &'a Value, service: &str) -> &'a Value {
    let found = record["tasks"].as_array().unwrap().iter().find(|task| task["task"] == json!({"service": service}));
    found.unwrap_or_else(|| panic!("there is no {service} in {record:#}"))
}

pub fn node<'a>(record: &'a Value, service: &str) -> &'a str {
    task(record, service)["nodes"][0]["builder"].as_str().unwrap_or_else(|| panic!("{:#}", task(record, service)))
}

fn digests(record: &Value) -> Vec<&Value> {
    SERVICES.map(|service| &task(record, service)["digest"]).to_vec()
}

/// These services were built, and where.
fn built<'a>(record: &'a Value, services: &[&str]) -> BTreeSet<&'a str> {
    let of = |service: &&str| (task(record, service)["status"].as_str().unwrap(), node(record, service));
    let built: Vec<_> = services.iter().map(of).collect();
    assert!(built.iter().all(|(status, _)| *status == "built"), "{built:?}");
    built.into_iter().map(|(_, node)| node).collect()
}

/// How often each service's tag was put.
fn tagged(registry: &FaultyProxy) -> [usize; SERVICES.len()] {
    SERVICES.map(|service| registry.count("PUT", &format!("/org/shop/{service}/manifests/main ")))
}

/// The same workspace built anew without its fleet.
fn alone(repo: &Repo) -> Value {
    let args = ["build", "--push", "--force", "--json"];
    let output = repo.command(&args).env_remove("XTASK_BUILDERS_FLEET").output().unwrap();
    Ran::new(&args, &output).exits(0).json()
}

#[test]
fn what_is_built_from_another_image_takes_it_from_the_registry_whichever_node_made_it() {
    let _turn = turn();
    shared().stand_ins(&[NODE]);
    let registry = RegistryServer::plain();
    let machines = Machines::new(&[("one", shared()), ("two", second())]);
    let repo = machines.fleet(workspace(&registry.host()), &["linux/amd64"; 2]);
    let config = repo.read("xtask.toml");
    let entries = ["billing", "docs", "mail", "search"]
        .map(|name| format!("[[service]]\nname = '{name}'\ncontexts = {{ shared = 'service:api' }}\n"));
    repo.write("xtask.toml", &format!("{config}{}", entries.concat()));
    for service in ["billing", "docs", "mail", "search"] {
        let from = format!("COPY --from={service}-build /out /\n");
        repo.edit("Dockerfile.monorepo-optimized", &from, &format!("{from}COPY --from=shared /code /of-api\n"));
    }
    repo.commit("built from api");
    let some = ["billing", "docs", "mail", "search"];
    let refused = repo.xtask(&[&["build"], &some[..]].concat()).exits(2);
    assert!(refused.stderr.contains("the nodes of a fleet have no images in common"), "{}", refused.stderr);
    let mut on_one = repo.command(&["build", "mail"]);
    on_one.env_remove("XTASK_BUILDERS_FLEET").env("XTASK_BUILDERS_BUILDER", "one");
    let refused = Ran::new(&["build", "mail"], &on_one.output().unwrap()).exits(2);
    assert!(refused.stderr.contains("the builder `one` does not see the images"), "{}", refused.stderr);
    let record = repo.xtask(&[&["build", "--push", "--json"], &some[..]].concat()).exits(0).json();
    assert_eq!(built(&record, &some), BTreeSet::from(["one", "two"]), "both nodes take it");
    let time = |service: &str, field: &str| task(&record, service)[field].clone();
    let begun = |service: &str| humantime::parse_rfc3339(time(service, "started").as_str().unwrap()).unwrap();
    let over = begun("api") + std::time::Duration::from_millis(time("api", "took-ms").as_u64().unwrap());
    assert!(some.iter().all(|service| begun(service) >= over), "{record:#}");

    repo.edit("Dockerfile.monorepo-optimized", "COPY --from=api-build /out /", "COPY --from=api-build /none /");
    let record = repo.xtask(&[&["build", "--push", "--json"], &some[..]].concat()).exits(1).json();
    assert_eq!(task(&record, "api")["status"], "failed");
    assert!(some.iter().all(|service| task(&record, service)["lacking"] == "api"), "{record:#}");
}

#[test]
fn a_fleet_builds_what_one_engine_builds_and_outlives_the_loss_of_nodes() {
    let _turn = turn();
    shared().stand_ins(&[NODE]);
    let registry = RegistryServer::plain();
    let proxy = FaultyProxy::start(&registry.host());
    let machines = Machines::new(&[("one", shared()), ("two", second()), ("three", third())]);
    ["two", "three"].into_iter().for_each(|name| machines.relay(name).slow(3));
    let repo = machines.fleet(workspace(&proxy.host()), &["linux/amd64"; 3]);

    // Spread over all; each tag is put once, and the images are those of one engine.
    let spread = repo.xtask(&["build", "--push", "--json"]).exits(0);
    let is_head = |line: &str| line.starts_with("service ") && line.contains(" node ");
    assert!(spread.stderr.lines().any(is_head), "the table names the nodes: {}", spread.stderr);
    let spread = spread.json();
    assert_eq!(built(&spread, &SERVICES), BTreeSet::from(["one", "two", "three"]));
    assert_eq!(tagged(&proxy), [1; SERVICES.len()]);
    let of_one = alone(&repo);
    assert!(SERVICES.iter().all(|service| task(&of_one, service).get("nodes").is_none()), "a run without a fleet names no node");
    assert_eq!(digests(&spread), digests(&of_one));

    // Nothing changed: no node is asked.
    let unchanged = repo.xtask(&["build", "--push", "--json"]).exits(0).json();
    assert!(SERVICES.iter().all(|service| task(&unchanged, service)["status"] == "unchanged"));

    // An edit goes to the node that has the rest in its cache.
    let edited = SERVICES.iter().find(|service| node(&spread, service) == "two").unwrap();
    repo.edit(&format!("apps/{edited}/src/code"), " of ", " edited in ");
    let plan = repo.xtask(&["build", "--push", "--dry-run"]).exits(0);
    assert!(plan.stdout.contains("--builder two"), "the dry run says where: {}", plan.stdout);
    let record = repo.xtask(&["build", "--push", "--json"]).exits(0).json();
    assert_eq!(node(&record, edited), "two");
    let steps = task(&record, edited)["steps"].as_array().unwrap();
    let of_base = |step: &&Value| step["name"].as_str().unwrap().contains("[base ");
    assert!(steps.iter().filter(of_base).all(|step| step["cached"] == true), "{steps:#?}");

    // With a cache to carry it the base is executed once, on one of them.
    repo.edit("Dockerfile.monorepo-optimized", "WORKDIR /work\n", "WORKDIR /work\nRUN date > /stamp\n");
    let config = repo.read("xtask.toml");
    repo.edit("xtask.toml", "registry = false", "registry = true");
    let some = ["api", "billing", "docs", "mail", "search", "web"];
    let record = repo.xtask(&[&["build", "--push", "--json"], &some[..]].concat()).exits(0).json();
    assert!(built(&record, &some).len() > 1, "{record:#}");
    let base = record["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "base").unwrap();
    assert_eq!((&base["status"], base["nodes"].as_array().unwrap().len()), (&json!("built"), 1));
    for service in some {
        let steps = task(&record, service)["steps"].as_array().unwrap();
        assert!(steps.iter().filter(of_base).all(|step| step["cached"] == true), "{service}: {steps:#?}");
    }
    repo.write("xtask.toml", &config);

    // Killed in the middle: what it was at goes elsewhere, and says so; what stands is not built again; the images are those of one engine.
    repo.edit("Dockerfile.monorepo-optimized", "RUN date > /stamp\n", "");
    edit(&repo, &SERVICES, "2", "while two dies");
    proxy.heal();
    let shown = repo.path().join("target/shown");
    let file = std::fs::File::create(&shown).unwrap();
    let mut child = repo.command(&["build", "--push"]).stdout(Stdio::null()).stderr(file).spawn().unwrap();
    wait_for(&shown, &mut child, " on two\n");
    machines.relay("two").kill();
    assert!(child.wait().unwrap().success(), "{}", std::fs::read_to_string(&shown).unwrap());
    let shown = std::fs::read_to_string(&shown).unwrap();
    assert!(shown.contains("the node two is lost") && shown.contains("went from two to "), "{shown}");
    let log = shown.lines().find_map(|line| line.split_once("its output: ")?.1.strip_suffix(".log")).unwrap();
    let run = repo.path().join(log).parent().unwrap().to_owned();
    for service in SERVICES {
        let log = std::fs::read_to_string(run.join(format!("{service}.log"))).unwrap();
        let begun = log.matches(&format!("--target {service} ")).count();
        let moved = shown.contains(&format!("{service} went from two to "));
        // One that only waited for it was begun on another alone.
        assert!(begun == 1 || moved && begun == 2, "{service} was begun {begun} times: {shown}");
    }
    assert_eq!(tagged(&proxy), [1; SERVICES.len()]);
    let tags = || SERVICES.map(|service| registry.tags(&format!("org/shop/{service}"))["main"].clone());
    let after = tags();
    assert!(digests(&alone(&repo)).into_iter().eq(after.iter().map(|tag| json!(tag)).collect::<Vec<_>>().iter()));

    // One that accepts and never answers is left alone.
    edit(&repo, &some, "0", "while three is silent");
    machines.relay("three").silent(true);
    let silent = repo.xtask(&["build", "--push", "--json"]).exits(0);
    assert!(silent.stderr.contains("the node three is lost: it did not answer within 10 s"), "{}", silent.stderr);
    assert_eq!(built(&silent.json(), &some), BTreeSet::from(["one"]));
    machines.relay("three").silent(false);

    // All gone: nothing is published, and the error says what each of them said.
    let before = tags();
    ["one", "three"].into_iter().for_each(|name| machines.relay(name).kill());
    edit(&repo, &SERVICES, "0", "while nobody is there");
    let gone = repo.xtask(&["build", "--push"]).exits(1);
    assert!(
        gone.stderr.contains("no node of the fleet is left to build it (one: ") && gone.stderr.contains("connection refused")
    );
    assert_eq!(tags(), before);
}

fn wait_for(shown: &std::path::Path, child: &mut std::process::Child, text: &str) {
    let until = std::time::Instant::now() + std::time::Duration::from_mins(2);
    while !std::fs::read_to_string(shown).unwrap().contains(text) {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none() && std::time::Instant::now() < until, "no {text:?} ({ended:?})");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A service whose image needs no execution.
pub fn copied(registry: &str) -> Repo {
    let repo = Repo::empty();
    repo.write("apps/api/package.json", r#"{"name":"api","version":"1.0.0"}"#);
    repo.write("apps/api/src/code", &format!("{}\n", repo.path().display()));
    let api = "FROM base AS api\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY apps/api/src /\nCMD [\"/code\"]\n";
    repo.write("Dockerfile.monorepo-optimized", &format!("FROM scratch AS base\n\n{api}"));
    repo.write("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n\n  apps/api: {}\n");
    pushing(repo, registry)
}

#[test]
fn each_platform_is_built_on_the_node_that_has_it_and_joined_into_one_index() {
    let _turn = turn();
    let registry = RegistryServer::plain();
    let machines = Machines::new(&[("one", shared()), ("two", second())]);
    let repo = machines.fleet(copied(&registry.host()), &["linux/amd64", "linux/arm64"]);

    let unnamed = repo.xtask(&["build", "--push"]).exits(2);
    assert!(
        unnamed.stderr.contains("api has no platform set, and the nodes of the fleet have different ones"),
        "{}",
        unnamed.stderr
    );
    let missing = repo.xtask(&["build", "--push", "--platform", "linux/s390x"]).exits(2);
    assert!(missing.stderr.contains("no node of the fleet has linux/s390x"), "{}", missing.stderr);

    let record = repo.xtask(&["build", "--push", "--json", "--platform", "linux/amd64,linux/arm64"]).exits(0).json();
    let nodes = task(&record, "api")["nodes"].as_array().unwrap();
    let on = |platform: &str| nodes.iter().find(|node| node["platforms"][0] == platform).unwrap()["builder"].as_str().unwrap();
    assert_eq!((on("linux/amd64"), on("linux/arm64")), ("one", "two"));
    let url = format!("http://{}/v2/org/shop/api/manifests/main", registry.host());
    let mut answer = ureq::get(&url).header("accept", "application/vnd.oci.image.index.v1+json").call().unwrap();
    let index: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let platforms: BTreeSet<&str> = manifests.iter().map(|one| one["platform"]["architecture"].as_str().unwrap()).collect();
    assert_eq!((manifests.len(), platforms), (2, BTreeSet::from(["amd64", "arm64"])));
}

#[test]
fn doctor_and_status_ask_every_node() {
    let machines = Machines::new(&[("one", shared()), ("two", shared())]);
    let registry = RegistryServer::plain();
    machines.relay("two").kill();
    let repo = machines.fleet(copied(&registry.host()), &["linux/amd64", "linux/arm64"]);
    let findings = repo.xtask(&["doctor", "--json"]).json();
    let of = |name: &str| {
        let of_fleet = findings["findings"].as_array().unwrap().iter().filter(|finding| finding["area"] == "fleet");
        let found = of_fleet.filter(|finding| finding["what"].as_str().unwrap().contains(name)).collect::<Vec<_>>();
        found.into_iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of("node one"), of("node two")), (vec!["ok".to_owned()], vec!["node-unreachable".to_owned()]), "{findings:#}");
    let status = repo.xtask(&["engine", "status"]).exits(0);
    assert!(status.stdout.contains("node      one: tcp://127.0.0.1:"), "{}", status.stdout);
    assert!(status.stdout.contains("node      two: ") && status.stdout.contains("connection refused"), "{}", status.stdout);
    assert!(status.stdout.lines().last().unwrap().starts_with("export "), "{}", status.stdout);
}

#[test]
fn what_a_builder_cannot_load_is_said_before_anything_is_built() {
    let _turn = turn();
    let (registry, machines) = (RegistryServer::plain(), Machines::new(&[("one", shared())]));
    // A client with buildx, one remote builder, and no Docker.
    let packages = shared().engine.docker.parent().unwrap().to_owned();
    let path = format!("{}:{}", packages.display(), environment().get("PATH").unwrap());
    let client = || {
        copied(&registry.host())
            .env("XTASK_BUILDERS_ENGINE", "docker")
            .env("PATH", &path)
            .env("DOCKER_CONFIG", shared().engine.docker_config.as_ref().unwrap())
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .env("BUILDX_CONFIG", machines.builders.path())
    };
    for variable in ["BUILDX_BUILDER", "XTASK_BUILDERS_BUILDER"] {
        let repo = client().env(variable, "one");
        let refused = repo.xtask(&["build"]).exits(1).stderr;
        let why = "the builder `one` keeps no images, and there is no Docker here to load them into";
        assert!(refused.contains(why), "{variable}: {refused}");
        assert!(refused.contains("--push") && refused.contains("type=oci,dest={service}.tar"), "{refused}");
        assert!(!refused.contains("target api"), "nothing was begun: {refused}");
        repo.xtask(&["build", "--output", "type=oci,dest=target/{service}.tar"]).exits(0);
        assert!(repo.path().join("target/api.tar").is_file());

        // It pushes by digest: no tag of the run's own stays beside those that are asked for.
        let pushed = repo.xtask(&["build", "--push", "--force", "--json"]).exits(0).json();
        let content = format!("in-{:.40}", task(&pushed, "api")["fingerprint"].as_str().unwrap());
        let tags = registry.tags("org/shop/api");
        assert_eq!(tags[&content].to_string(), task(&pushed, "api")["digest"], "{tags:?}");
        assert!(tags.keys().all(|tag| *tag == content || !tag.starts_with(&content)), "{tags:?}");
    }
    let fleet = machines.fleet(client(), &["linux/amd64"]);
    let refused = fleet.xtask(&["build"]).exits(1);
    assert!(refused.stderr.contains("the nodes of a fleet keep no images"), "{}", refused.stderr);
    let record = fleet.xtask(&["build", "--push", "--json"]).exits(0).json();
    assert_eq!(node(&record, "api"), "one");
}
