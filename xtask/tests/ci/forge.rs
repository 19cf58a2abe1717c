//! What these tests share: a repository with two services that build in a second, at a forge with a registry, GitHub's API, its cache
//! service, and runners.

use std::collections::BTreeMap;

use monoship_github::workflow::{Layout, Options, write};
use serde_json::{Value, json};

use monoship_core::execute::lock::Lock;
use support::actions_cache::{ActionsCache, CacheStore, READ, WRITE, runtime_token};
use support::actions_runner::{ActionsRunner, Event, JobRun};
use support::engine::{environment_of, shared};
use support::github_api::{GithubApi, READ_TOKEN, TOKEN};
use support::repo::{Repo, SMALL_DOCKERFILE, git};
use support::turn::seat;

/// The services of the small repository.
pub const SERVICES: [&str; 2] = ["api", "web"];

const CONFIG: &str = "\
[images]
dockerfile = \"Dockerfile.monorepo-optimized\"
[attest]
sbom = false
provenance = false
";

/// The forge.
pub struct Forge {
    pub origin: Repo,
    pub github: GithubApi,
    pub cache: ActionsCache,
    pub namespace: String,
    agent: ureq::Agent,
    _seat: Lock,
}

impl Forge {
    /// With the two small services and a workflow of this layout.
    pub fn small(layout: Layout) -> Self {
        Self::new(layout, |repo| {
            repo.write("Dockerfile.monorepo-optimized", SMALL_DOCKERFILE);
            // The other two have no target in the small Dockerfile, and a release leaves no service out in silence.
            let others = "[images]\nnot-services = [\"apps/scheduler\", \"apps/worker\"]\n";
            repo.write("xtask.toml", &CONFIG.replacen("[images]\n", others, 1));
        })
    }

    /// With the two small services for two platforms, each of which a runner has natively.
    pub fn native() -> Self {
        Self::native_and(|_| ())
    }

    /// The same with changes of the test's own.
    pub fn native_and(change: impl FnOnce(&Repo)) -> Self {
        let both = ["linux/amd64", "linux/arm64"];
        let options =
            Options { layout: Layout::Matrix, platforms: both.map(|one| one.parse().unwrap()).into(), ..Options::default() };
        Self::with(&options, |repo| {
            // Nothing is executed: this machine has one of the two.
            let copies = |service: &str| {
                format!(
                    "\nFROM base AS {service}\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY apps/{service}/src /src\nCMD [\"/src\"]\n"
                )
            };
            repo.write("Dockerfile.monorepo-optimized", &format!("FROM scratch AS base\n{}{}", copies("api"), copies("web")));
            let images = "[images]\nnot-services = [\"apps/scheduler\", \"apps/worker\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";
            repo.write("xtask.toml", &CONFIG.replacen("[images]\n", images, 1));
            change(repo);
        })
    }

    /// With this repository's own four services, without attestations.
    pub fn real(layout: Layout) -> Self {
        Self::new(layout, |repo| repo.write("xtask.toml", CONFIG))
    }

    fn new(layout: Layout, change: impl FnOnce(&Repo)) -> Self {
        Self::with(&Options { layout, ..Options::default() }, change)
    }

    fn with(options: &Options, change: impl FnOnce(&Repo)) -> Self {
        let seat = seat();
        let origin = Repo::new();
        change(&origin);
        // What the runner's checkout takes along for cargo; the tool itself is compiled already.
        origin.write("xtask/Cargo.toml", "");
        // The engine's build cache outlives the test: each has its own contents.
        let namespace = Self::namespace_of(&origin);
        for service in SERVICES {
            origin.write(&format!("apps/{service}/src/new.ts"), &format!("export const made = '{namespace}';\n"));
        }
        write(origin.path(), options, false).unwrap();
        origin.commit("a workflow");
        Self::of(origin, seat)
    }

    /// Where the images of a repository go: what two of them have at one registry must not meet.
    pub fn namespace_of(origin: &Repo) -> String {
        let name = origin.path().file_name().unwrap().to_string_lossy().to_lowercase();
        format!("ci-{}/repo", name.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
    }

    /// Around a repository that has its workflows.
    pub fn of(origin: Repo, seat: Lock) -> Self {
        shared();
        let (store, namespace) = (CacheStore::default(), Self::namespace_of(&origin));
        let github = GithubApi::start("org/repo", store.clone());
        for setting in ["allowFilter", "allowAnySHA1InWant"] {
            git(origin.path(), &["config", &format!("uploadpack.{setting}"), "true"]);
        }
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        Self { origin, github, cache: ActionsCache::serving(store), namespace, agent, _seat: seat }
    }

    /// The variables by which a job finds its engine and the services.
    pub fn variables(&self, engine: &str) -> Vec<(String, String)> {
        let data = environment_of(engine).get("XTASK_ENGINE_DATA").unwrap().to_owned();
        let all = [
            ("XTASK_ENGINE_DATA", data),
            ("XTASK_BUILDERS_ENGINE", "embedded".to_owned()),
            ("XTASK_BUILDERS_STAND_INS", "always".to_owned()),
            ("XTASK_IMAGES_REGISTRY", shared().registry()),
            ("XTASK_IMAGES_NAMESPACE", self.namespace.clone()),
            ("GITHUB_API_URL", self.github.url()),
            ("GITHUB_REPOSITORY", "org/repo".to_owned()),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// What a job's token allows with the caches.
    pub fn runtime(&self, scopes: &[(&str, u32)], valid_for_seconds: i64) -> Vec<(String, String)> {
        let all = [
            ("ACTIONS_RESULTS_URL", self.cache.url()),
            ("ACTIONS_CACHE_SERVICE_V2", "True".to_owned()),
            ("ACTIONS_RUNTIME_TOKEN", runtime_token(scopes, valid_for_seconds)),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// A runner on the shared engine whose jobs may do everything on `git_ref`.
    pub fn runner(&self, git_ref: &str) -> ActionsRunner {
        let variables = self.variables("shared");
        ActionsRunner {
            origin: self.origin.path().to_owned(),
            word: "",
            env: Box::new(move |_| variables.clone()),
            token: TOKEN.to_owned(),
            runtime: self.runtime(&[("refs/heads/main", READ), (git_ref, READ | WRITE)], 3_600),
        }
    }

    /// The same for a fork's pull request.
    pub fn forks_runner(&self, git_ref: &str) -> ActionsRunner {
        let runtime = self.runtime(&[(git_ref, READ), ("refs/heads/main", READ)], 3_600);
        ActionsRunner { token: READ_TOKEN.to_owned(), runtime, ..self.runner(git_ref) }
    }

    /// The id of a revision.
    pub fn id(&self, revision: &str) -> String {
        git(self.origin.path(), &["rev-parse", revision])
    }

    /// Commits one line of one service's source.
    pub fn change(&self, service: &str, line: &str) {
        self.origin.write(&format!("apps/{service}/src/more.ts"), &format!("// {line} of {}\n", self.namespace));
        self.origin.commit(line);
    }

    /// Main was pushed, from `before` to what it is now.
    pub fn push(&self, before: &str) -> Event {
        let after = self.id("main");
        let payload = json!({"ref": "refs/heads/main", "before": before, "after": after, "repository": repository()});
        Event { name: "push", payload, git_ref: "refs/heads/main".into(), sha: after }
    }

    /// A pull request of what is checked out into main; what is built is the two merged.
    pub fn pull_request(&self, from: &str) -> Event {
        let (base, head) = (self.id("main"), self.id("HEAD"));
        git(self.origin.path(), &["checkout", "--quiet", "--detach", "main"]);
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        git(self.origin.path(), &[&identity[..], &["merge", "--quiet", "--no-ff", "-m", "merged", &head]].concat());
        let sha = self.id("HEAD");
        git(self.origin.path(), &["update-ref", "refs/pull/7/merge", &sha]);
        git(self.origin.path(), &["checkout", "--quiet", "main"]);
        let payload = json!({"action": "synchronize", "number": 7, "repository": repository(), "pull_request": {
            "number": 7,
            "base": {"ref": "main", "sha": base, "repo": repository()},
            "head": {"ref": "feature", "sha": head, "repo": {"full_name": from}},
        }});
        Event { name: "pull_request", payload, git_ref: "refs/pull/7/merge".into(), sha }
    }

    /// A release of what main is now was published: the second of the two events that GitHub sends then.
    pub fn release(&self, tag: &str) -> Event {
        git(self.origin.path(), &["tag", tag]);
        self.github.release(tag, "By hand.");
        self.release_event(tag, "released", false)
    }

    /// What GitHub sends of a release.
    pub fn release_event(&self, tag: &str, action: &str, prerelease: bool) -> Event {
        let release = json!({"tag_name": tag, "prerelease": prerelease});
        let payload = json!({"action": action, "release": release, "repository": repository()});
        Event { name: "release", payload, git_ref: format!("refs/tags/{tag}"), sha: self.id(tag) }
    }

    /// Every tag of a service in the registry, with the digest it names.
    pub fn tags(&self, service: &str) -> BTreeMap<String, String> {
        let base = format!("http://{}/v2/{}/{service}", shared().registry(), self.namespace);
        let get = |path: &str| {
            let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/json";
            self.agent.get(format!("{base}/{path}")).header("accept", accept).call().unwrap()
        };
        let listed: Value = serde_json::from_str(&get("tags/list").body_mut().read_to_string().unwrap()).unwrap();
        let names = listed["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let found = names.map(|tag| {
            let answer = get(&format!("manifests/{tag}"));
            (tag.to_owned(), answer.headers()["docker-content-digest"].to_str().unwrap().to_owned())
        });
        found.collect()
    }

    /// What stands under a service's tag.
    pub fn manifest(&self, service: &str, tag: &str) -> Value {
        let url = format!("http://{}/v2/{}/{service}/manifests/{tag}", shared().registry(), self.namespace);
        let mut answer = self.agent.get(url).header("accept", "application/vnd.oci.image.index.v1+json").call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// How many entries jobs have tried to write to the cache service.
    pub fn cache_writes(&self) -> usize {
        self.cache.store().log().iter().filter(|call| call.starts_with("CreateCacheEntry")).count()
    }
}

fn repository() -> Value {
    json!({"full_name": "org/repo", "default_branch": "main"})
}

/// The one job that ran, which must have ended so.
#[track_caller]
pub fn only<'a>(ran: &'a [JobRun], name: &str, result: &str) -> &'a JobRun {
    let all: Vec<_> = ran.iter().filter(|job| job.result != "skipped").map(|job| (job.name.as_str(), job.result)).collect();
    let job = ran.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("there is no job {name}: {all:?}"));
    assert_eq!(all, [(name, result)], "{}", job.log);
    job
}

/// A JSON output.
#[track_caller]
pub fn output(job: &JobRun, name: &str) -> Value {
    serde_json::from_str(job.output(name)).unwrap_or_else(|e| panic!("{e}: {}", job.output(name)))
}
