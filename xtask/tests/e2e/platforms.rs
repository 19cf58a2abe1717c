//! Caches across platforms, on real engines: each run writes its own, and finds in the others' what does not depend on the platform.

use std::path::Path;

use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{ImageRef, Platform};
use monoship_plan::cache::{CachePlan, Facts, Probe, Scoped, resolve};

use crate::harness::{second_engine, turn};
use support::engine::{NODE, TestEngine, shared};
use support::registry::{RegistryServer, anonymous};

/// The stage that compiles runs on the builder's own platform; what it makes differs each time that it is executed.
const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS compile
RUN head -c 16 /dev/urandom | base64 > /made
FROM scratch
COPY --from=compile /made /made
";

/// The tiers of a run for `platform` in a repository that builds both, as a run that pushes has them.
fn tiers(repository: &ImageRef, platform: &str) -> CachePlan {
    let platforms = |all: &[&str]| -> Vec<Platform> { all.iter().map(|name| name.parse().unwrap()).collect() };
    let (run, configured) = (platforms(&[platform]), platforms(&["linux/amd64", "linux/arm64"]));
    let off = || Probe::Off("not in this test".to_owned());
    let tags = anonymous().tags(repository).unwrap();
    let facts = Facts {
        gha: off(),
        gha_writable: Err(String::new()),
        gha_v2: true,
        registry: Probe::Found,
        registry_writable: Ok(()),
        registry_repository: Some(repository.clone()),
        registry_tags: Some(tags.iter().map(ToString::to_string).collect()),
        previous: off(),
        previous_image: None,
        inline_off: Some(String::new()),
        no_read: None,
        no_write: None,
    };
    resolve(Scoped { target: "api", folder: None, run: &run, configured: &configured }, &[], &facts)
}

/// Builds for `platform` and returns what the compiling stage made.
fn built(engine: &TestEngine, dir: &Path, repository: &ImageRef, platform: &str) -> String {
    let (plan, out) = (tiers(repository, platform), tempfile::tempdir().unwrap());
    let output = format!("type=local,dest={}", out.path().display());
    let caches = plan.from.iter().flat_map(|from| ["--cache-from", from]).chain(plan.to.iter().flat_map(|to| ["--cache-to", to]));
    let call = engine.engine.buildx().args(["build", "--quiet", "--platform", platform, "--output", &output]);
    call.args(caches).arg(dir).read(&Shutdown::new()).unwrap_or_else(|error| panic!("{error}"));
    std::fs::read_to_string(out.path().join("made")).unwrap()
}

#[test]
fn what_does_not_depend_on_the_platform_is_made_once_and_no_run_overwrites_anothers_cache() {
    let _turn = turn();
    shared().stand_ins(&[NODE]);
    let (server, dir) = (RegistryServer::plain(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("Dockerfile"), DOCKERFILE).unwrap();
    let repository: ImageRef = format!("{}/org/cache", server.host()).parse().unwrap();
    let cache = |name: &str| anonymous().manifest(&repository.with_tag(name.parse().unwrap())).unwrap().unwrap();

    let first = built(shared(), dir.path(), &repository, "linux/amd64");
    let first_cache = cache("api-linux-amd64");
    // An engine that knows nothing, and a run for the other platform.
    let second = built(second_engine(), dir.path(), &repository, "linux/arm64");
    assert_eq!(first, second, "the stage was executed once");
    assert_eq!(cache("api-linux-amd64"), first_cache);
    cache("api-linux-arm64");
    assert_eq!(anonymous().tags(&repository).unwrap().len(), 2);
}
