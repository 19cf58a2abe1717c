//! Publication against a real registry: all or nothing, on good days and bad ones.

mod races;
mod refusals;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::event::{Event, Events};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::manifest::{Document, Raw};
use monoship_docker::registry::Registry;
use monoship_plan::templates::TagTemplates;
use monoship_publish::{self as publish, Item, Journal, Order, PublishRequest, Published, Step};
use monoship_steps::platforms;
use serde_json::json;
use support::faulty_proxy::{Fault, FaultyProxy};
use support::image::TestImage;
use support::registry::{Auth, HANG, RegistryServer, SHORT, anonymous, client, stoppable};
use support::token_server::TokenServer;

const SERVICES: [&str; 2] = ["api", "web"];

fn repository(host: &str, service: &str) -> ImageRef {
    format!("{host}/org/repo/{service}").parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Pushes an image for each service under the content tag `in-<content>`; equal content makes equal images.
fn build(registry: &Registry, host: &str, content: &str) -> Vec<Raw> {
    build_with(registry, host, content, &json!({"built": "once"}))
}

fn build_with(registry: &Registry, host: &str, content: &str, provenance: &serde_json::Value) -> Vec<Raw> {
    let push = |service: &&str| {
        let attestations = vec![("https://slsa.dev/provenance/v0.2", provenance.clone())];
        let image = TestImage { attestations, ..TestImage::new(&format!("{service} {content}")) };
        image.push(registry, &repository(host, service).with_tag(tag(&format!("in-{content}"))))
    };
    SERVICES.iter().map(push).collect()
}

/// A release of `version` with the default tags, of what was built as `content`.
fn release(host: &str, version: &str, content: &str, dir: &Path) -> PublishRequest {
    let parsed: semver::Version = version.parse().unwrap();
    let templates = TagTemplates::parse(&["v{version}", "{version}", "{major}.{minor}", "{major}", "latest"]).unwrap();
    let tags = templates.made_of(&parsed, true).unwrap();
    let items = SERVICES.iter().map(|service| Item {
        service: service.parse().unwrap(),
        source: repository(host, service).with_tag(tag(&format!("in-{content}"))),
        digest: None,
        tags: tags.clone(),
    });
    PublishRequest {
        name: format!("v{version}"),
        order: Some(Order { templates, version: parsed, unreleased: SortedSet::new() }),
        items: items.collect(),
        journal: dir.join(format!("release/v{version}.json")),
        move_tags: false,
        annotations: None,
        patience: Duration::from_secs(20),
    }
}

fn publish(request: &PublishRequest, registry: &Registry) -> Result<Vec<Published>> {
    publish::run(&publish::plan(request, registry)?, registry, &Events::none())
}

/// Where each of the two services' tags point, by `service:tag`, content tags left out.
fn state(registry: &Registry, host: &str) -> BTreeMap<String, Digest> {
    let mut all = BTreeMap::new();
    for service in SERVICES {
        let repository = repository(host, service);
        for tag in registry.tags(&repository).unwrap() {
            // What a run tells others by is looked at where that is tested.
            if !["in-", "publishing-"].iter().any(|start| tag.as_str().starts_with(start)) {
                let found = registry.resolve(&repository.with_tag(tag.clone())).unwrap().unwrap();
                all.insert(format!("{service}:{tag}"), found.digest);
            }
        }
    }
    all
}

fn expected(tags: &[&str], images: &[Raw]) -> BTreeMap<String, Digest> {
    let pairs = SERVICES.iter().zip(images);
    pairs.flat_map(|(service, raw)| tags.iter().map(move |tag| (format!("{service}:{tag}"), raw.digest().clone()))).collect()
}

const ALL: [&str; 5] = ["v1.2.3", "1.2.3", "1.2", "1", "latest"];

#[test]
fn a_release_puts_every_tag_on_the_very_bytes_and_a_rerun_puts_nothing() {
    let server = RegistryServer::plain();
    let proxy = FaultyProxy::start(&server.host());
    let (registry, host, dir) = (anonymous(), proxy.host(), tempfile::tempdir().unwrap());
    let images = build(&registry, &host, "a");
    let request = release(&host, "1.2.3", "a", dir.path());
    let done = publish(&request, &registry).unwrap();
    assert_eq!(state(&registry, &host), expected(&ALL, &images));
    assert!(done.iter().all(|service| service.tags.iter().all(|tag| tag.step == Step::Create && tag.before.is_none())));
    let latest = registry.manifest(&repository(&host, "web").with_tag(tag("latest"))).unwrap().unwrap();
    assert_eq!(latest, images[1], "byte for byte");
    assert!(Journal::load(&request.journal).unwrap().unwrap().complete);

    proxy.heal();
    let again = publish(&request, &registry).unwrap();
    assert!(again.iter().all(|service| service.tags.iter().all(|tag| tag.step == Step::Keep)));
    assert_eq!((proxy.count("PUT", "/"), proxy.count("POST", "/")), (0, 0));

    let next = publish(&release(&host, "1.2.4", "a", dir.path()), &registry).unwrap();
    assert_eq!(next[0].digest, done[0].digest, "an unchanged tree carries its digest forward");
    assert!(next[0].tags[..2].iter().all(|tag| tag.step == Step::Create));
    assert!(next[0].tags[2..].iter().all(|tag| tag.step == Step::Keep));
}

#[test]
fn nothing_is_published_while_a_service_is_missing_and_each_is_named() {
    let server = RegistryServer::plain();
    let (registry, host, dir) = (anonymous(), server.host(), tempfile::tempdir().unwrap());
    build(&registry, &host, "a");
    let mut request = release(&host, "1.2.3", "a", dir.path());
    request.items[0].source = repository(&host, "api").with_tag(tag("in-b"));
    request.items[1].digest = Some(Digest::of(b"what the build reported"));
    let error = publish::plan(&request, &registry).unwrap_err().to_string();
    assert!(
        error.contains("was not published: missing from the registry: ")
            && error.contains("org/repo/api:in-b, ")
            && error.ends_with("org/repo/web:in-a"),
        "{error}"
    );
    assert!(state(&registry, &host).is_empty() && !request.journal.exists());
}

#[test]
fn floating_tags_never_go_back_and_a_version_never_changes() {
    let server = RegistryServer::plain();
    let (registry, host, dir) = (anonymous(), server.host(), tempfile::tempdir().unwrap());
    let new = build(&registry, &host, "new");
    publish(&release(&host, "2.0.0", "new", dir.path()), &registry).unwrap();
    let old = build(&registry, &host, "old");
    let done = publish(&release(&host, "1.2.3", "old", dir.path()), &registry).unwrap();
    assert_eq!(done[0].tags[4].step, Step::HeldBy("2.0.0".parse().unwrap()));
    let mut whole = expected(&["v2.0.0", "2.0.0", "2.0", "2", "latest"], &new);
    whole.extend(expected(&ALL[..4], &old));
    assert_eq!(state(&registry, &host), whole);
    // The same image as the newer release's: what did not change since is carried forward both ways.
    let done = publish(&release(&host, "1.1.0", "new", dir.path()), &registry).unwrap();
    assert_eq!(done[0].tags[4].step, Step::HeldBy("2.0.0".parse().unwrap()));
    whole.extend(expected(&["v1.1.0", "1.1.0", "1.1"], &new));
    assert_eq!(state(&registry, &host), whole);
    publish(&release(&host, "3.0.0-rc.1", "old", dir.path()), &registry).unwrap();
    whole.extend(expected(&["v3.0.0-rc.1", "3.0.0-rc.1"], &old));
    assert_eq!(state(&registry, &host), whole);

    build(&registry, &host, "changed");
    let mut request = release(&host, "1.2.3", "changed", dir.path());
    let error = publish::plan(&request, &registry).unwrap_err();
    assert!(error.to_string().contains("v1.2.3 exists and is another image"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--move-tags")));
    assert_eq!(state(&registry, &host), whole);
    request.move_tags = true;
    publish(&request, &registry).unwrap();
    assert_ne!(state(&registry, &host), whole);
}

#[test]
fn a_branchs_tags_move_freely() {
    let server = RegistryServer::plain();
    let (registry, host, dir) = (anonymous(), server.host(), tempfile::tempdir().unwrap());
    for content in ["a", "b"] {
        let images = build(&registry, &host, content);
        let mut request = release(&host, "1.2.3", content, dir.path());
        (request.name, request.order, request.journal) = ("main".to_owned(), None, dir.path().join("main.json"));
        request.items.iter_mut().for_each(|item| item.tags = vec![tag("main"), tag("sha-0123abc")]);
        publish(&request, &registry).unwrap();
        assert_eq!(state(&registry, &host), expected(&["main", "sha-0123abc"], &images));
    }
}

/// A registry with 1.2.2 released, behind a proxy, and 1.2.3 ready to be.
struct Scene {
    server: RegistryServer,
    proxy: FaultyProxy,
    registry: Registry,
    host: String,
    before: BTreeMap<String, Digest>,
    after: BTreeMap<String, Digest>,
    request: PublishRequest,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let server = RegistryServer::plain();
        let proxy = FaultyProxy::start(&server.host());
        let (registry, host, dir) = (anonymous(), proxy.host(), tempfile::tempdir().unwrap());
        build(&registry, &host, "old");
        publish(&release(&host, "1.2.2", "old", dir.path()), &registry).unwrap();
        let before = state(&registry, &host);
        let mut after = before.clone();
        after.extend(expected(&ALL, &build(&registry, &host, "new")));
        let request = release(&host, "1.2.3", "new", dir.path());
        Self { server, proxy, registry, host, before, after, request, dir }
    }

    fn state(&self) -> BTreeMap<String, Digest> {
        state(&self.registry, &self.host)
    }

    fn publish(&self) -> Result<Vec<Published>> {
        publish(&self.request, &self.registry)
    }
}

#[test]
fn a_refusal_in_the_middle_puts_every_tag_back_to_where_it_was() {
    let scene = Scene::new();
    for refused in ["web/manifests/v1.2.3", "web/manifests/latest", "api/manifests/1.2"] {
        scene.proxy.heal();
        scene.proxy.fail("PUT", refused, Fault::Status(403, Vec::new()), 1);
        let error = scene.publish().unwrap_err();
        assert!(error.to_string().contains("does not let us write to"), "{error}");
        assert!(scene.proxy.count("PUT", "manifests/") > 1, "others were put before");
        scene.proxy.heal();
        assert_eq!(scene.state(), scene.before, "{refused}");
        assert!(!scene.request.journal.exists());
    }
    scene.publish().unwrap();
    assert_eq!(scene.state(), scene.after);
}

#[test]
fn passing_faults_in_the_middle_are_ridden_out() {
    let scene = Scene::new();
    let faults = [
        ("api/manifests/v1.2.3", Fault::Status(429, vec![("retry-after", "1".to_owned())])),
        ("api/manifests/1.2", Fault::Lost),
        ("web/manifests/1.2.3", Fault::Reset),
        ("web/manifests/latest", Fault::Status(503, Vec::new())),
        ("web/manifests/1", Fault::Hang(HANG)),
    ];
    for (part, fault) in faults {
        scene.proxy.fail("PUT", part, fault, 1);
    }
    // One whose answer never comes stands all the same.
    scene.proxy.fail_exactly("PUT", "web/manifests/v1.2.3", Fault::Lost, usize::MAX);
    scene.publish().unwrap();
    assert_eq!(scene.state(), scene.after);
}

/// Of a release, not what a run tells others by.
fn puts_a_tag(request: &support::http::Request) -> bool {
    request.method == "PUT" && request.path.contains("/manifests/") && !request.path.contains("/publishing-")
}

#[test]
fn a_run_that_dies_anywhere_is_completed_by_a_rerun() {
    // The registry goes dark at the n-th tag, so that nothing can be put back either: what a killed run leaves.
    for survivors in [0, 4, 9] {
        let scene = Scene::new();
        let plan = publish::plan(&scene.request, &scene.registry).unwrap();
        let put = Mutex::new(0);
        scene.proxy.go_dark(move |request| {
            let mut put = put.lock().unwrap();
            *put += usize::from(puts_a_tag(request));
            *put > survivors
        });
        let error = publish::run(&plan, &scene.registry, &Events::none()).unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("half published")), "{survivors}: {error}");
        assert!(!Journal::load(&scene.request.journal).unwrap().unwrap().complete);
        scene.proxy.heal();
        // Someone rebuilt in between: equal inputs, other provenance. The interrupted run's images are kept all the same.
        build_with(&scene.registry, &scene.host, "new", &json!({"built": "again"}));
        let plan = publish::plan(&scene.request, &scene.registry).unwrap();
        assert!(plan.resumed);
        publish::run(&plan, &scene.registry, &Events::none()).unwrap();
        assert_eq!(scene.state(), scene.after, "{survivors}");
    }
}

#[test]
fn a_resumed_run_that_is_refused_takes_back_what_the_dead_one_put_too() {
    let scene = Scene::new();
    let plan = publish::plan(&scene.request, &scene.registry).unwrap();
    let put = Mutex::new(0);
    scene.proxy.go_dark(move |request| {
        let mut put = put.lock().unwrap();
        *put += usize::from(request.method == "PUT");
        *put > 3
    });
    publish::run(&plan, &scene.registry, &Events::none()).unwrap_err();
    scene.proxy.heal();
    assert_ne!(scene.state(), scene.before);
    scene.proxy.fail("PUT", "web/manifests/latest", Fault::Status(403, Vec::new()), 1);
    scene.publish().unwrap_err();
    assert_eq!(scene.state(), scene.before);
}

#[test]
fn a_half_published_version_is_completed_without_its_journal_too() {
    let scene = Scene::new();
    let first = repository(&scene.host, "api").with_tag(tag("v1.2.3"));
    let image = scene.registry.need_manifest(&repository(&scene.host, "api").with_tag(tag("in-new"))).unwrap();
    scene.registry.put_manifest(&first, &image).unwrap();
    let rebuilt = build_with(&scene.registry, &scene.host, "new", &json!({"built": "on another machine"}));
    let done = scene.publish().unwrap();
    assert_eq!((&done[0].digest, &done[1].digest), (image.digest(), rebuilt[1].digest()));
    assert!(done[0].tags.iter().all(|tag| scene.state()[&format!("api:{}", tag.tag)] == *image.digest()));
}

#[test]
fn a_cancelled_run_leaves_every_tag_as_it_was() {
    for stop_at in [1, 8] {
        let scene = Scene::new();
        let shutdown = Shutdown::new();
        let registry = stoppable(SHORT, &shutdown);
        let plan = publish::plan(&scene.request, &registry).unwrap();
        let (seen, closer) = (Mutex::new(0), shutdown.clone());
        let events = Events::new(move |event| {
            if let Event::Amount { done, .. } = event {
                let mut seen = seen.lock().unwrap();
                *seen = done;
                if *seen == stop_at {
                    closer.close();
                }
            }
        });
        let error: Error = publish::run(&plan, &registry, &events).unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(scene.state(), scene.before, "stopped at {stop_at}");
        scene.publish().unwrap();
        assert_eq!(scene.state(), scene.after);
    }
}

#[test]
fn annotations_go_on_a_new_index_over_the_same_images() {
    let server = RegistryServer::plain();
    let (registry, host, dir) = (anonymous(), server.host(), tempfile::tempdir().unwrap());
    let images = build(&registry, &host, "a");
    let mut request = release(&host, "1.2.3", "a", dir.path());
    let annotations = [("org.opencontainers.image.version", "1.2.3"), ("org.opencontainers.image.revision", "0123abc")];
    request.annotations = Some(annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let done = publish(&request, &registry).unwrap();
    assert_ne!(done[0].digest, *images[0].digest());
    let index = |image: &ImageRef| match registry.need_manifest(image).unwrap().document().unwrap() {
        Document::Index(index) => index,
        Document::Manifest(_) => panic!("not an index"),
    };
    let published = index(&repository(&host, "api").with_tag(tag("latest")));
    assert_eq!(published.annotations["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(published.manifests, index(&repository(&host, "api").with_tag(tag("in-a"))).manifests);
    request.annotations.as_mut().unwrap().insert("org.opencontainers.image.created".to_owned(), "later".to_owned());
    assert_eq!(publish(&request, &registry).unwrap()[0].digest, done[0].digest, "a rerun keeps what is published");
}

#[test]
fn parts_of_several_platforms_are_joined_as_they_stand_with_and_without_attestations() {
    let server = RegistryServer::plain();
    let (registry, image) = (anonymous(), repository(&server.host(), "api"));
    let part = |platform: &'static str, attestations| {
        let part = TestImage { platforms: vec![platform], attestations, ..TestImage::new(platform) };
        part.push(&registry, &image.with_tag(tag(&format!("in-a-{}", platform.replace('/', "-")))))
    };
    let entries = |raw: &Raw| match raw.document().unwrap() {
        Document::Index(index) => index.manifests,
        Document::Manifest(_) => panic!("not an index"),
    };
    let attested = part("linux/amd64", vec![("https://slsa.dev/provenance/v0.2", json!({"built": "once"}))]);
    let bare = entries(&part("linux/arm64", Vec::new())).remove(0);
    // As a builder that attests nothing pushes it: the image itself, whose platform its manifest does not tell.
    let parts = [("linux/amd64", attested.digest().clone()), ("linux/arm64", bare.digest.clone())];
    let parts = parts.map(|(platform, digest)| (platform.parse().unwrap(), digest));
    let target = image.with_tag(tag("in-a"));
    let digest = platforms::join(&registry, &target, &parts, &SortedMap::new()).unwrap();
    let joined = registry.need_manifest(&target).unwrap();
    assert_eq!((joined.digest(), entries(&joined)), (&digest, [entries(&attested), vec![bare]].concat()));
    assert_eq!(platforms::join(&registry, &target, &parts, &SortedMap::new()).unwrap(), digest, "equal parts make equal bytes");
    let gone = [("linux/arm64".parse().unwrap(), Digest::of(b"gone"))];
    assert!(platforms::join(&registry, &target, &gone, &SortedMap::new()).is_err());
    assert_eq!(registry.need_manifest(&target).unwrap().digest(), &digest, "what stands stays");
}

#[test]
fn who_may_not_push_learns_it_before_anything_moves() {
    let tokens = TokenServer::start();
    let server = RegistryServer::start(&Auth::Token(&tokens), None);
    let (host, dir) = (server.host(), tempfile::tempdir().unwrap());
    let as_user = |user: &str, password: &str| {
        let config = json!({"auths": {&host: {"username": user, "password": password}}});
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        client(&Env::new(dir.path(), [("DOCKER_CONFIG".to_owned(), dir.path().display().to_string())]))
    };
    let writer = as_user("writer", "right");
    build(&writer, &host, "a");
    assert!(state(&writer, &host).is_empty());
    let reader = as_user("reader", "look");
    let error = publish(&release(&host, "1.2.3", "a", dir.path()), &reader).unwrap_err();
    assert!(error.to_string().contains("nothing was published") && error.to_string().contains("org/repo/web"), "{error}");
    assert!(state(&reader, &host).is_empty());
}
