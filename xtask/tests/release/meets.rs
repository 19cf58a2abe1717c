//! Two releases at once: of one tag, the later takes over; of two tags, neither notices the other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{SERVICES, Scene, until, wait};
use support::faulty_proxy::Fault;

fn shown(file: &tempfile::NamedTempFile) -> String {
    std::fs::read_to_string(file.path()).unwrap()
}

/// True where a process has a file open.
fn holds(process: u32, file: &Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == file))
}

/// Lets the request go that a release waits for, once it knows that it is to stop: the signal is on its way, and one tag alone keeps it.
fn let_go_of_one_that_is_stopped(scene: &Scene) {
    std::thread::sleep(Duration::from_secs(2));
    scene.registry.let_go();
}

#[test]
fn a_second_release_of_a_tag_stops_the_first_and_completes_it() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    // The first one comes to its first version tag and no further.
    scene.registry.fail("PUT", "/manifests/v1.0.0", Fault::Hang(Duration::from_secs(20)), 1);
    let (mut first, first_shown) = scene.begin("v1.0.0");
    until("the first release puts a tag", || scene.registry.count("PUT", "/manifests/v1.0.0 Hang") > 0);
    let refused = scene.run(&["release", "v1.0.0", "--allow-stand-ins", "--no-cancel"]).exits(1).stderr;
    assert!(refused.contains(&format!("process {} is already releasing this tag", first.id())), "{refused}");
    let (mut second, second_shown) = scene.begin("v1.0.0");
    let lock = scene.state("release/v1.0.0.lock").canonicalize().unwrap();
    until("the second release comes to the first one's lock", || holds(second.id(), &lock));
    let_go_of_one_that_is_stopped(&scene);
    let ended = wait(&mut second, second_shown.as_file());
    assert_eq!(ended.code(), Some(0), "{}", shown(&second_shown));
    assert_eq!(wait(&mut first, first_shown.as_file()).code(), Some(130), "{}", shown(&first_shown));
    let said = format!("stopped the earlier release of v1.0.0 (process {})", first.id());
    assert!(shown(&second_shown).contains(&said), "{}", shown(&second_shown));
    scene.whole();
    scene.no_checkout();
}

#[test]
fn a_release_that_is_stopped_takes_its_checkout_with_it_and_leaves_every_tag_as_it_was() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.registry.fail("PUT", "/manifests/latest", Fault::Hang(Duration::from_secs(20)), 1);
    let (mut child, said) = scene.begin("v1.0.0");
    until("it puts a floating tag", || scene.registry.count("PUT", "/manifests/latest Hang") > 0);
    // Putting the tags back takes longer than a process that is told to end lives by itself.
    scene.registry.weather(Arc::new(|_| (Duration::from_millis(100), None)));
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let_go_of_one_that_is_stopped(&scene);
    assert_eq!(wait(&mut child, said.as_file()).code(), Some(130), "{}", shown(&said));
    assert!(SERVICES.iter().all(|service| scene.version_tags(service).is_empty()), "{}", shown(&said));
    scene.no_checkout();
}

#[test]
fn releases_of_two_tags_of_one_commit_do_not_disturb_each_other() {
    let scene = Scene::new();
    scene.tag("v1.0.0", "");
    scene.tag("v2.0.0", "");
    let mut both = ["v1.0.0", "v2.0.0"].map(|tag| scene.begin(tag));
    for (child, file) in &mut both {
        assert_eq!(wait(child, file.as_file()).code(), Some(0), "{}", shown(file));
    }
    for service in SERVICES {
        let tags = scene.version_tags(service);
        for tag in ["v1.0.0", "1.0.0", "1.0", "1", "v2.0.0", "2.0.0", "2.0", "2"] {
            assert!(tags.contains_key(tag), "{service} lacks {tag}: {tags:?}");
        }
        assert_eq!(tags["latest"], tags["v2.0.0"], "{service}");
    }
    assert!(["v1.0.0", "v2.0.0"].iter().all(|tag| scene.github.body(tag).contains("🐳")));
}
