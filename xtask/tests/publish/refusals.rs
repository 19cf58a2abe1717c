//! What a registry refuses for good, what other runs do meanwhile, and which release a floating tag belongs to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use monoship_core::error::Result;
use monoship_core::event::{Event, Events};
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::SortedSet;
use monoship_docker::registry::note;
use monoship_plan::templates::TagTemplates;
use monoship_publish::{self as publish, Item, Journal, Order, PublishRequest, Published, Step};
use serde_json::json;

use crate::{
    ALL, SERVICES, Scene, build, build_with, expected, publish as publish_whole, puts_a_tag, release, repository, state, tag,
};
use support::faulty_proxy::{Fault, FaultyProxy};
use support::registry::{RegistryServer, SHORT, anonymous, stoppable};

/// As Amazon ECR says it.
const IMMUTABLE: Fault = Fault::Says(
    400,
    "TAG_INVALID",
    "The image tag 'x' already exists in the 'y' repository and cannot be overwritten because the repository is immutable.",
);
const NO_DELETION: Fault = Fault::Says(405, "UNSUPPORTED", "Invalid HTTP method");
const FORBIDDEN: Fault = Fault::Says(403, "DENIED", "requested access to the resource is denied");

/// How many runs say in the registry that they are there.
fn words(scene: &Scene) -> usize {
    let tags = scene.registry.tags(&repository(&scene.host, "api")).unwrap().into_iter();
    tags.filter(|tag| tag.as_str().starts_with("publish")).count()
}

/// Publishes, and returns what was said.
fn telling(scene: &Scene, request: &PublishRequest) -> (Result<Vec<Published>>, Vec<String>) {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    let events = Events::new(move |event| {
        if let Event::Notice { message, .. } = event {
            heard.lock().unwrap().push(message);
        }
    });
    let plan = publish::plan(request, &scene.registry);
    let done = plan.and_then(|plan| publish::run(&plan, &scene.registry, &events));
    let said = said.lock().unwrap().clone();
    (done, said)
}

#[test]
fn where_no_tag_changes_the_new_ones_are_put_and_the_run_says_which_stay() {
    let scene = Scene::new();
    for there in ["/manifests/1.2", "/manifests/1", "/manifests/latest"] {
        // `1.2` is a part of `1.2.3`, which may be put.
        scene.proxy.fail_exactly("PUT", there, IMMUTABLE, 99);
    }
    scene.proxy.fail("DELETE", "/manifests/", NO_DELETION, 99);
    for run in ["the first run", "a rerun"] {
        let (done, said) = telling(&scene, &scene.request);
        let steps: Vec<Step> = done.unwrap()[0].tags.iter().map(|tag| tag.step.clone()).collect();
        assert!(steps[2..].iter().all(|step| *step == Step::Immutable), "{run}: {steps:?}");
        assert!(said.iter().any(|line| line.contains("1, 1.2, latest of api, web stay where they are")), "{run}: {said:?}");
    }
    let mut after = scene.before.clone();
    after.extend(scene.after.iter().filter(|(name, _)| name.ends_with("1.2.3")).map(|(n, d)| (n.clone(), d.clone())));
    assert_eq!(scene.state(), after);
}

/// As a robot of Harbor's that may push and pull, or a policy of ECR's without `ListImages`.
#[test]
fn who_may_push_and_not_list_publishes_a_branch_and_is_told_what_a_release_lacks() {
    let scene = Scene::new();
    let branch = |content: &str| {
        let plain = release(&scene.host, "1.2.3", content, scene.dir.path());
        let items = plain.items.into_iter().map(|item| Item { tags: vec![tag("main")], ..item });
        PublishRequest { name: "main".to_owned(), order: None, move_tags: true, items: items.collect(), ..plain }
    };
    let main = || SERVICES.map(|service| scene.state().get(&format!("{service}:main")).cloned());
    let forbid = || scene.proxy.fail("GET", "/tags/list", FORBIDDEN, 99);
    forbid();
    telling(&scene, &branch("old")).0.unwrap();
    scene.proxy.heal();
    let old = main();
    assert!(old.iter().all(Option::is_some), "{old:?}");

    // Whom it cannot see it takes nothing from.
    forbid();
    scene.proxy.fail("PUT", "web/manifests/main", FORBIDDEN, 99);
    let error = telling(&scene, &branch("new")).0.unwrap_err();
    assert!(error.hint_text().unwrap().contains("we may not list this registry's tags"), "{error}: {:?}", error.hint_text());
    scene.proxy.heal();
    assert!(main()[0] != old[0] && main()[1] == old[1], "{:?} {old:?}", main());

    forbid();
    let error = telling(&scene, &scene.request).0.unwrap_err();
    assert!(error.to_string().contains("does not let us list the tags of org/repo/"), "{error}");
}

#[test]
fn a_version_that_is_moved_on_purpose_and_may_not_be_leaves_nothing_behind() {
    let scene = Scene::new();
    let manifests = || SERVICES.map(|service| scene.server.manifests(&format!("org/repo/{service}")).len());
    let mut request = release(&scene.host, "1.2.2", "new", scene.dir.path());
    request.move_tags = true;
    scene.proxy.fail("PUT", "/manifests/", IMMUTABLE, 99);
    scene.proxy.fail("DELETE", "/manifests/", NO_DELETION, 99);
    let before = manifests();
    let error = telling(&scene, &request).0.unwrap_err();
    assert!(error.to_string().contains("the tag is immutable"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("release a new version") && !hint.contains("run this again") && !hint.contains("half"), "{hint}");
    assert_eq!((scene.state(), manifests(), request.journal.exists()), (scene.before.clone(), before, false));
}

#[test]
fn the_first_refusal_is_the_only_one_and_a_later_one_is_not_said_to_pass() {
    let scene = Scene::new();
    scene.proxy.heal();
    scene.proxy.fail("PUT", "/manifests/", FORBIDDEN, 99);
    let error = scene.publish().unwrap_err();
    assert!(error.to_string().contains("does not let us write to"), "{error}");
    assert_eq!((scene.proxy.count("PUT", "/manifests/"), scene.state()), (1, scene.before.clone()));

    scene.proxy.heal();
    scene.proxy.fail("PUT", "web/manifests/v1.2.3", FORBIDDEN, 99);
    scene.proxy.fail("DELETE", "/manifests/", NO_DELETION, 99);
    let error = scene.publish().unwrap_err();
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("docker login") && hint.contains("half published") && !hint.contains("run this again"), "{hint}");
    assert!(scene.request.journal.exists(), "whoever fixes the right can complete it");
    scene.proxy.heal();
    scene.publish().unwrap();
    assert_eq!(scene.state(), scene.after);
}

#[test]
fn what_another_run_of_the_release_has_put_is_its_success() {
    let scene = Scene::new();
    let plan = publish::plan(&scene.request, &scene.registry).unwrap();
    // Another machine publishes half of it between our plan and our tags.
    let image = scene.registry.need_manifest(&repository(&scene.host, "api").with_tag(tag("in-new"))).unwrap();
    for theirs in ["v1.2.3", "1.2.3"] {
        scene.registry.put_manifest(&repository(&scene.host, "api").with_tag(tag(theirs)), &image).unwrap();
    }
    scene.proxy.heal();
    scene.proxy.fail("PUT", "web/manifests/latest", FORBIDDEN, 99);
    publish::run(&plan, &scene.registry, &Events::none()).unwrap_err();
    assert_eq!(scene.proxy.count("PUT", "api/manifests/v1.2.3"), 0, "it is there");
    scene.proxy.heal();
    let mut left = scene.before.clone();
    left.extend(["v1.2.3", "1.2.3"].map(|theirs| (format!("api:{theirs}"), image.digest().clone())));
    assert_eq!(scene.state(), left);
}

#[test]
fn what_another_run_put_between_our_plan_and_our_first_tag_stays_put() {
    let scene = Scene::new();
    let plan = publish::plan(&scene.request, &scene.registry).unwrap();
    // Another machine, with a build of its own of the same images, begins and ends between the two.
    build_with(&scene.registry, &scene.host, "new", &json!({"built": "again"}));
    let elsewhere = tempfile::tempdir().unwrap();
    publish_whole(&release(&scene.host, "1.2.3", "new", elsewhere.path()), &scene.registry).unwrap();
    let theirs = scene.state();
    assert_ne!(theirs, scene.before);
    scene.proxy.heal();
    scene.proxy.fail("PUT", "web/manifests/latest", FORBIDDEN, 99);
    let error = publish::run(&plan, &scene.registry, &Events::none()).unwrap_err();
    assert!(scene.proxy.count("PUT", "api/manifests/latest") > 0, "nothing was to be taken back: {error}");
    assert_eq!(scene.state(), theirs);
}

#[test]
fn a_stopped_run_that_can_take_nothing_back_leaves_latest_to_a_newer_release_that_ended_meanwhile() {
    let server = RegistryServer::plain();
    let (direct, dir, shutdown) = (anonymous(), tempfile::tempdir().unwrap(), Shutdown::new());
    let proxy = FaultyProxy::start(&server.host());
    for content in ["old", "new", "newer"] {
        build(&direct, &server.host(), content);
    }
    publish_whole(&release(&server.host(), "1.2.2", "old", dir.path()), &direct).unwrap();
    let few = |mut request: PublishRequest| {
        request.items.iter_mut().for_each(|item| item.tags.retain(|tag| !["1", "1.2"].contains(&tag.as_str())));
        request
    };
    // The newer one begins and ends between the older one's look at `latest` and its put, which is its last.
    let newer = few(release(&server.host(), "1.2.4", "newer", dir.path()));
    let (once, stop) = (AtomicBool::new(false), shutdown.clone());
    proxy.weather(Arc::new(move |request| {
        if request.method == "PUT" && request.path.ends_with("/latest") && !once.swap(true, Ordering::SeqCst) {
            publish_whole(&newer, &anonymous()).unwrap();
            stop.close();
        }
        (Duration::ZERO, (request.method == "DELETE").then_some(NO_DELETION))
    }));
    let registry = stoppable(SHORT, &shutdown);
    publish_whole(&few(release(&proxy.host(), "1.2.3", "new", dir.path())), &registry).unwrap_err();
    let state = state(&direct, &server.host());
    for service in SERVICES {
        assert_eq!(state[&format!("{service}:latest")], state[&format!("{service}:1.2.4")], "{:?}", proxy.log());
    }
}

#[test]
fn a_version_that_another_run_publishes_meanwhile_with_other_content_stays_its() {
    let scene = Scene::new();
    let plan = publish::plan(&scene.request, &scene.registry).unwrap();
    let other = scene.registry.need_manifest(&repository(&scene.host, "web").with_tag(tag("in-old"))).unwrap();
    let theirs = repository(&scene.host, "web").with_tag(tag("1.2.3"));
    scene.registry.put_manifest(&theirs, &other).unwrap();
    let error = publish::run(&plan, &scene.registry, &Events::none()).unwrap_err();
    assert!(error.to_string().contains("exists and is another image"), "{error}");
    let mut left = scene.before.clone();
    left.insert("web:1.2.3".to_owned(), other.digest().clone());
    assert_eq!(scene.state(), left);
}

#[test]
fn a_pre_release_by_github_s_mark_and_a_version_that_was_never_whole_hold_no_tag() {
    let server = RegistryServer::plain();
    let (registry, host, dir) = (anonymous(), server.host(), tempfile::tempdir().unwrap());
    let images = build(&registry, &host, "a");
    publish_whole(&release(&host, "1.2.2", "a", dir.path()), &registry).unwrap();
    // Marked as a pre-release: exact tags alone, here even of the very image that is released next.
    let new = build(&registry, &host, "b");
    let mut marked = release(&host, "2.0.0", "b", dir.path());
    let order = marked.order.clone().unwrap();
    marked.items.iter_mut().for_each(|item| item.tags = order.templates.made_of(&order.version, false).unwrap());
    publish_whole(&marked, &registry).unwrap();
    assert_eq!(state(&registry, &host)["api:latest"], *images[0].digest());
    // A release that failed on a registry that takes no tag away.
    registry.put_manifest(&repository(&host, "api").with_tag(tag("v3.0.0")), &new[0]).unwrap();
    let mut hotfix = release(&host, "1.2.3", "b", dir.path());
    hotfix.order.as_mut().unwrap().unreleased = SortedSet::from([semver::Version::new(2, 0, 0)]);
    publish_whole(&hotfix, &registry).unwrap();
    let all = state(&registry, &host);
    assert_eq!(all.iter().filter(|(name, _)| ALL.iter().any(|tag| name.ends_with(&format!(":{tag}")))).count(), 2 * ALL.len());
    assert!(expected(&ALL, &new).iter().all(|(name, digest)| all[name] == *digest), "{all:#?}");
}

#[test]
fn a_tag_of_a_team_s_own_template_stays_with_the_newer_release_too() {
    let server = RegistryServer::plain();
    let (registry, host, dir) = (anonymous(), server.host(), tempfile::tempdir().unwrap());
    let templates = TagTemplates::parse(&["rel-{version}", "stable", "rel-{major}"]).unwrap();
    let of = |version: &str, content: &str| {
        let mut request = release(&host, version, content, dir.path());
        let version: semver::Version = version.parse().unwrap();
        request.items.iter_mut().for_each(|item| item.tags = templates.made_of(&version, true).unwrap());
        request.order = Some(Order { templates: templates.clone(), version, unreleased: SortedSet::new() });
        request
    };
    let new = build(&registry, &host, "new");
    publish_whole(&of("2.0.0", "new"), &registry).unwrap();
    build(&registry, &host, "old");
    let done = publish_whole(&of("1.2.3", "old"), &registry).unwrap();
    let steps: Vec<&Step> = done[0].tags.iter().map(|tag| &tag.step).collect();
    assert_eq!(steps, [&Step::Create, &Step::HeldBy("2.0.0".parse().unwrap()), &Step::Create]);
    assert_eq!(state(&registry, &host)["api:stable"], *new[0].digest());
    build(&registry, &host, "changed");
    let error = publish_whole(&of("1.2.3", "changed"), &registry).unwrap_err();
    assert!(error.to_string().contains("rel-1.2.3 exists and is another image"), "{error}");
}

#[test]
fn an_old_answer_of_the_registry_s_cache_neither_keeps_a_tag_from_being_put_back_nor_fails_a_run() {
    for refused in [true, false] {
        let scene = Scene::new();
        let old = scene.before["api:latest"].to_string();
        let (put, told) = (AtomicBool::new(false), AtomicBool::new(false));
        // Once the last tag was tried, one question for the first one is answered as it would have been before.
        scene.proxy.weather(Arc::new(move |request| {
            let is = |method: &str, part: &str| request.method == method && request.path.ends_with(part);
            let fault = if is("PUT", "web/manifests/latest") {
                put.store(true, Ordering::SeqCst);
                refused.then_some(FORBIDDEN)
            } else if is("HEAD", "api/manifests/latest") && put.load(Ordering::SeqCst) && !told.swap(true, Ordering::SeqCst) {
                Some(Fault::Status(200, vec![("docker-content-digest", old.clone())]))
            } else {
                None
            };
            (Duration::ZERO, fault)
        }));
        let done = scene.publish();
        let asked = scene.proxy.log();
        assert!(asked.iter().any(|line| line.contains("api/manifests/latest Status(200")), "{asked:?}");
        assert_eq!(done.is_err(), refused, "{done:?}");
        assert_eq!(scene.state(), if refused { scene.before.clone() } else { scene.after.clone() }, "{asked:?}");
        assert_eq!(scene.request.journal.exists(), !refused);
    }
}

#[test]
fn a_run_of_another_machine_that_was_killed_is_waited_for_and_then_taken_for_killed() {
    let scene = Scene::new();
    let plan = publish::plan(&scene.request, &scene.registry).unwrap();
    let put = AtomicUsize::new(0);
    scene.proxy.go_dark(move |request| put.fetch_add(usize::from(puts_a_tag(request)), Ordering::SeqCst) > 3);
    publish::run(&plan, &scene.registry, &Events::none()).unwrap_err();
    scene.proxy.heal();
    assert_eq!(words(&scene), 1, "it says still that it is there");
    // Another clone knows nothing of the journal.
    let mut request = release(&scene.host, "1.2.3", "new", &scene.dir.path().join("another"));
    request.patience = Duration::from_millis(200);
    let (done, said) = telling(&scene, &request);
    done.unwrap();
    assert!(said.iter().any(|line| line.contains("never ended; it is taken for killed")), "{said:?}");
    assert_eq!((scene.state(), words(&scene)), (scene.after.clone(), 0));
}

#[test]
fn a_word_that_a_registry_only_says_to_have_deleted_makes_no_later_run_wait() {
    let scene = Scene::new();
    scene.proxy.fail("DELETE", "/manifests/", Fault::Status(202, Vec::new()), usize::MAX);
    scene.publish().unwrap();
    build(&scene.registry, &scene.host, "newer");
    let next = release(&scene.host, "1.2.4", "newer", scene.dir.path());
    let (done, said) = telling(&scene, &next);
    done.unwrap();
    assert!(said.is_empty(), "{said:?}");
    assert!(scene.state().contains_key("web:1.2.4"));
}

#[test]
fn where_head_is_refused_and_get_is_not_all_tags_are_put_and_a_refused_one_takes_all_back() {
    for status in [403, 405, 501] {
        let scene = Scene::new();
        scene.proxy.fail("HEAD", "/", Fault::Status(status, Vec::new()), usize::MAX);
        scene.proxy.fail("PUT", "web/manifests/latest", FORBIDDEN, 1);
        let (done, said) = telling(&scene, &scene.request);
        done.unwrap_err();
        assert_eq!(scene.state(), scene.before, "{status}: {said:?}");
        scene.publish().unwrap();
        scene.proxy.heal();
        assert_eq!(scene.state(), scene.after, "{status}");
    }
}

#[test]
fn a_run_that_lost_its_registry_before_its_first_tag_is_known_again_when_it_is_rerun() {
    let scene = Scene::new();
    let told = AtomicBool::new(false);
    scene.proxy.go_dark(move |request| {
        let tells = request.method == "PUT" && request.path.contains("/manifests/publishing-");
        told.swap(tells || told.load(Ordering::SeqCst), Ordering::SeqCst)
    });
    let (done, said) = telling(&scene, &scene.request);
    done.unwrap_err();
    assert!(said.iter().any(|line| line.contains("no tag of v1.2.3 has moved; run this again")), "{said:?}");
    scene.proxy.heal();
    assert_eq!((scene.state(), words(&scene)), (scene.before.clone(), 1), "its word could not be taken away");
    assert!(!Journal::load(&scene.request.journal).unwrap().unwrap().is_unfinished());
    let (done, said) = telling(&scene, &scene.request);
    done.unwrap();
    assert!(!said.iter().any(|line| line.contains("another run")), "{said:?}");
    assert_eq!((scene.state(), words(&scene)), (scene.after.clone(), 0));
}

#[test]
fn who_has_seen_another_run_takes_nothing_back_and_a_rerun_completes_it() {
    let scene = Scene::new();
    let place = repository(&scene.host, "api").with_tag(tag("publishing-another"));
    let word = note("application/vnd.monoship.publication", "vnd.monoship.publication", "publishing-another");
    assert_eq!(scene.registry.put_note(&place, &word).unwrap(), None);
    scene.proxy.fail("PUT", "web/manifests/latest", FORBIDDEN, 1);
    let error = scene.publish().unwrap_err();
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("half published") && hint.contains("another run publishes here"), "{hint}");
    let state = scene.state();
    assert_eq!((&state["api:v1.2.3"], &state["web:1.2.3"]), (&scene.after["api:v1.2.3"], &scene.after["web:1.2.3"]));
    assert!(scene.request.journal.exists());
    scene.registry.delete_manifest(&place, word.digest()).unwrap();
    scene.proxy.heal();
    scene.publish().unwrap();
    assert_eq!(scene.state(), scene.after);
}

#[test]
fn a_tag_that_a_busy_registry_never_took_is_not_said_to_be_half_published() {
    let scene = Scene::new();
    scene.proxy.fail("PUT", "web/manifests/latest", Fault::Status(429, Vec::new()), usize::MAX);
    let error = scene.publish().unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| !hint.contains("half published")), "{error}: {:?}", error.hint_text());
    assert_eq!((scene.state(), scene.request.journal.exists()), (scene.before.clone(), false));
    scene.proxy.heal();
    scene.publish().unwrap();
    assert_eq!(scene.state(), scene.after);
}

#[test]
fn a_tag_whose_removal_was_cut_off_counts_as_free() {
    let scene = Scene::new();
    scene.proxy.fail("PUT", "web/manifests/latest", FORBIDDEN, 1);
    // The registry is lost between the two steps of taking a tag away.
    let removing = AtomicBool::new(false);
    scene.proxy.go_dark(move |request| {
        let lost = removing.load(Ordering::SeqCst);
        let withdrawn = request.path.ends_with("/api/manifests/1.2.3")
            && String::from_utf8_lossy(&request.body).contains("application/vnd.monoship.withdrawn");
        removing.store(lost || withdrawn, Ordering::SeqCst);
        lost
    });
    scene.publish().unwrap_err();
    scene.proxy.heal();
    assert_ne!(scene.state().get("api:1.2.3"), scene.after.get("api:1.2.3"));
    assert!(scene.state().len() > scene.before.len(), "nothing was cut off");
    std::fs::remove_file(&scene.request.journal).unwrap();
    scene.publish().unwrap();
    assert_eq!(scene.state(), scene.after);
}
