//! What these tests share: a monorepo of two services that build in a second, everything a release talks to, and reading back
//! what it left, without any of its own code.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use monoship_core::name::sha256_hex;
use serde_json::{Value, json};

use monoship_core::execute::lock::Lock;
use support::actions_cache::CacheStore;
use support::engine::{environment_of, shared};
use support::faulty_proxy::FaultyProxy;
use support::github_api::{GithubApi, TOKEN};
use support::repo::{Ran, Repo, SMALL_DOCKERFILE, git};
use support::turn::{all_seats, seat};

/// The services, in the order of every report.
pub const SERVICES: [&str; 2] = ["api", "web"];

/// The tags of release 1.0.0.
pub const TAGS: [&str; 5] = ["v1.0.0", "1.0.0", "1.0", "1", "latest"];

const CONFIG: &str = "\
[images]
dockerfile = \"Dockerfile.monorepo-optimized\"
not-services = [\"apps/scheduler\", \"apps/worker\"]
";

/// Bills of materials and cache tiers have tests of their own.
pub const BARE: &str = "\
[attest]
sbom = false
[cache]
gha = false
registry = false
previous = false
inline = false
";

/// A repository, a namespace of its own in the engine's registry behind a watching proxy, and a GitHub.
pub struct Scene {
    pub repo: Repo,
    pub registry: FaultyProxy,
    pub github: GithubApi,
    pub namespace: String,
    agent: ureq::Agent,
    _seats: Vec<Lock>,
}

impl Scene {
    pub fn new() -> Self {
        Self::seated(vec![seat()])
    }

    /// The same with no other release beside it.
    pub fn alone() -> Self {
        Self::seated(all_seats())
    }

    fn seated(seats: Vec<Lock>) -> Self {
        let engine = shared();
        let registry = FaultyProxy::start(&engine.registry());
        let github = GithubApi::start("org/repo", CacheStore::default());
        let env = environment_of("shared");
        let repo = Repo::new();
        // The registry outlives the test, so the namespace must be as new as the folder.
        let name = repo.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let namespace = format!("release/{}", name.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
        let repo = repo
            .env("XTASK_ENGINE_DATA", env.get("XTASK_ENGINE_DATA").unwrap())
            .env("XTASK_BUILDERS_ENGINE", "embedded")
            .env("XTASK_BUILDERS_STAND_INS", "always")
            .env("XTASK_IMAGES_REGISTRY", registry.host())
            .env("XTASK_IMAGES_NAMESPACE", &namespace)
            .env("GITHUB_API_URL", github.url())
            .env("GITHUB_REPOSITORY", "org/repo");
        repo.write("Dockerfile.monorepo-optimized", SMALL_DOCKERFILE);
        repo.write("xtask.toml", &format!("{CONFIG}{BARE}"));
        // The engine's build cache outlives the test, too, and what comes out of it cannot be killed half-way.
        for service in SERVICES {
            repo.write(&format!("apps/{service}/src/new.ts"), &format!("export const made = '{namespace}';\n"));
        }
        repo.commit("two services");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        Self { repo, registry, github, namespace, agent, _seats: seats }
    }

    /// The same with more variables.
    pub fn with(self, set: impl FnOnce(Repo) -> Repo) -> Self {
        Self { repo: set(self.repo), ..self }
    }

    /// Tags what is committed, and publishes a release of it on GitHub.
    pub fn tag(&self, tag: &str, body: &str) {
        git(self.repo.path(), &["tag", tag]);
        self.github.release(tag, body);
    }

    /// Begins a release. Its standard error goes to the file.
    pub fn begin(&self, tag: &str) -> (Child, tempfile::NamedTempFile) {
        let shown = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.repo.command(&["release", tag, "--allow-stand-ins", "--progress", "plain", "--json"]);
        command.env("GITHUB_TOKEN", TOKEN).stdout(Stdio::null()).stderr(shown.reopen().unwrap());
        (command.spawn().unwrap(), shown)
    }

    /// Releases to the end and forgets what was asked of the registry before.
    pub fn release(&self, tag: &str) -> Ran {
        self.registry.heal();
        self.github.state().log.clear();
        self.run(&["release", tag, "--allow-stand-ins", "--json"])
    }

    /// Runs `xtask` as someone whom GitHub knows.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::new(args, &self.repo.command(args).env("GITHUB_TOKEN", TOKEN).output().unwrap())
    }

    /// How many requests changed anything at GitHub.
    pub fn github_writes(&self) -> usize {
        self.github.state().log.iter().filter(|line| !line.starts_with("GET ")).count()
    }

    /// Makes a tag name an image's manifest for one platform instead of its index, as someone who pushes by hand might.
    pub fn tamper(&self, service: &str, tag: &str) {
        let index = self.manifest(service, tag);
        self.point(service, tag, index["manifests"][0]["digest"].as_str().unwrap());
    }

    /// Makes a tag name what another tag or a digest names.
    pub fn point(&self, service: &str, tag: &str, to: &str) {
        let (_, manifest) = self.get(&format!("{service}/manifests/{to}"));
        let kind = serde_json::from_slice::<Value>(&manifest).unwrap()["mediaType"].as_str().unwrap().to_owned();
        let url = format!("http://{}/v2/{}/{service}/manifests/{tag}", shared().registry(), self.namespace);
        let put = self.agent.put(&url).header("content-type", kind);
        assert_eq!(put.send(&manifest[..]).unwrap().status().as_u16(), 201);
    }

    /// Deletes a manifest, tagged or not, or a blob, as whoever cleans up might.
    pub fn delete(&self, service: &str, what: &str) {
        let url = format!("http://{}/v2/{}/{service}/{what}", shared().registry(), self.namespace);
        assert_eq!(self.agent.delete(&url).call().unwrap().status().as_u16(), 202);
    }

    /// The registry's answer, asked past the proxy: status and body.
    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/json";
        let url = format!("http://{}/v2/{}/{path}", shared().registry(), self.namespace);
        let mut answer = self.agent.get(&url).header("accept", accept).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
    }

    /// What a tag names.
    pub fn manifest(&self, service: &str, tag: &str) -> Value {
        serde_json::from_slice(&self.get(&format!("{service}/manifests/{tag}")).1).unwrap()
    }

    /// Every tag of a service, with the digest of the very bytes that the registry gives for it.
    pub fn tags(&self, service: &str) -> BTreeMap<String, String> {
        let (status, body) = self.get(&format!("{service}/tags/list"));
        if status == 404 {
            return BTreeMap::new();
        }
        let listed: Value = serde_json::from_slice(&body).unwrap();
        let names = listed["tags"].as_array().into_iter().flatten().map(|tag| tag.as_str().unwrap().to_owned());
        let found = names.filter_map(|tag| {
            let (status, body) = self.get(&format!("{service}/manifests/{tag}"));
            (status == 200).then(|| (tag, format!("sha256:{}", sha256_hex(&body))))
        });
        found.collect()
    }

    /// The tags that name a version or float over versions: all but content tags.
    pub fn version_tags(&self, service: &str) -> BTreeMap<String, String> {
        self.tags(service).into_iter().filter(|(tag, _)| !tag.starts_with("in-")).collect()
    }

    /// True where an image stands under a content tag.
    pub fn stands(&self, service: &str) -> bool {
        self.tags(service).keys().any(|tag| is_content(tag))
    }

    /// Every service's every tag of release 1.0.0 is there and names the one image that stands under the content tag.
    #[track_caller]
    pub fn whole(&self) {
        for service in SERVICES {
            let mut tags = self.tags(service);
            tags.retain(|tag, _| !is_part(tag));
            let content: Vec<&String> = tags.iter().filter(|(tag, _)| is_content(tag)).map(|(_, digest)| digest).collect();
            assert_eq!(content.len(), 1, "{service}: {tags:?}");
            for tag in TAGS {
                assert_eq!(tags.get(tag), Some(content[0]), "{service}:{tag} in {tags:?}");
            }
            assert_eq!(tags.len(), 1 + TAGS.len(), "{service}: {tags:?}");
        }
    }

    /// No checkout is left, in its folder or in git's list.
    #[track_caller]
    pub fn no_checkout(&self) {
        for purpose in ["checkout", "dry-run", "notes", "verify"] {
            let left = std::fs::read_dir(self.state(purpose)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "something is left in {purpose}");
        }
        let listed = git(self.repo.path(), &["worktree", "list"]);
        assert_eq!(listed.lines().count(), 1, "{listed}");
    }

    /// The folder in which a run keeps things.
    pub fn state(&self, file: &str) -> PathBuf {
        self.repo.path().join("target/xtask").join(file)
    }
}

/// `in-<fingerprint>`.
pub fn is_content(tag: &str) -> bool {
    tag.strip_prefix("in-").is_some_and(|rest| !rest.contains('-'))
}

/// `in-<fingerprint>-<run>`: as what a builder pushed it, with one platform's build before the run.
fn is_part(tag: &str) -> bool {
    tag.starts_with("in-") && !is_content(tag)
}

/// How each service ended.
#[track_caller]
pub fn statuses(record: &Value) -> [&str; 2] {
    SERVICES.map(|service| {
        let tasks = record["tasks"].as_array().unwrap();
        let found = tasks.iter().find(|task| task["task"] == json!({"service": service}));
        found.unwrap_or_else(|| panic!("there is no {service} in {record:#}"))["status"].as_str().unwrap()
    })
}

/// Waits for a child's end, which must come soon.
#[track_caller]
pub fn wait(child: &mut Child, shown: &File) -> std::process::ExitStatus {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it does not end: {shown:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !so() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
