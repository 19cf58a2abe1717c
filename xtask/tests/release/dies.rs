//! Kill -9, at points spread over a whole release. Afterwards no version tag exists, or a rerun puts them all; a rerun always
//! completes; and what stood under its content tag is not built again.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{SERVICES, Scene, statuses, until, wait};

/// Where a release dies.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// Once this file or folder of its state is there.
    File(&'static str),
    /// Once its output shows this.
    Shows(&'static str),
    /// When its `.1`th PUT, counted from 1, of a manifest whose tag starts with `.0` is on its way, which the registry then carries out.
    Put(&'static str, usize),
    /// The same, and the registry never sees the request.
    LostPut(&'static str, usize),
    /// Just before GitHub carries out its next request of this method.
    Before(&'static str),
    /// Just after.
    After(&'static str),
}

/// In the order in which a release comes to them.
const POINTS: [Point; 12] = [
    Point::File("release/v1.0.0.lock"),
    Point::File("checkout/v1.0.0"),
    Point::Shows("-build 2/2] RUN"),
    Point::LostPut("in-", 1),
    Point::Put("in-", 2),
    Point::File("publish/v1.0.0.json"),
    Point::LostPut("v1.0.0", 1),
    Point::Put("v1.0.0", 2),
    Point::Put("1", 3),
    Point::Put("latest", 2),
    Point::Before("PATCH"),
    Point::After("PATCH"),
];

fn kill(pid: &AtomicI32) {
    if let Some(pid) = Pid::from_raw(pid.load(Ordering::SeqCst)) {
        // Other threads of this test may have been faster.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Begins a release and kills it at the point.
fn die(scene: &Scene, point: Point) {
    let pid = Arc::new(AtomicI32::new(0));
    let victim = Arc::clone(&pid);
    match point {
        Point::Put(tag, nth) | Point::LostPut(tag, nth) => {
            let (seen, lost) = (AtomicUsize::new(0), matches!(point, Point::LostPut(..)));
            scene.registry.go_dark(move |request| {
                let name = request.path.split_once("/manifests/").map_or("", |(_, name)| name);
                let hit = request.method == "PUT" && name.starts_with(tag) && seen.fetch_add(1, Ordering::SeqCst) + 1 == nth;
                if hit {
                    kill(&victim);
                }
                hit && lost
            });
        }
        Point::Before(method) => scene.github.before_next(method, move |_| kill(&victim)),
        Point::After(method) => scene.github.after_next(method, move |_| kill(&victim)),
        Point::File(_) | Point::Shows(_) => {}
    }
    let (mut child, shown) = scene.begin("v1.0.0");
    pid.store(i32::try_from(child.id()).unwrap(), Ordering::SeqCst);
    let text = || std::fs::read_to_string(shown.path()).unwrap();
    match point {
        Point::File(file) => until("a file of its state", || scene.state(file).exists()),
        Point::Shows(part) => until("its output", || text().contains(part)),
        _ => {}
    }
    if matches!(point, Point::File(_) | Point::Shows(_)) {
        kill(&pid);
    }
    let ended = wait(&mut child, shown.as_file());
    assert_eq!(ended.signal(), Some(9), "{point:?} was never come to: {}", text());
}

#[test]
fn a_release_killed_anywhere_leaves_no_version_tag_or_is_completed_by_a_rerun_which_builds_nothing_twice() {
    let mut with_tags = 0;
    for point in POINTS {
        // A new clone and a registry that has never seen these images.
        let scene = Scene::new();
        scene.tag("v1.0.0", "as it was");
        die(&scene, point);
        let stood = SERVICES.map(|service| scene.stands(service));
        let tags: usize = SERVICES.iter().map(|service| scene.version_tags(service).len()).sum();
        with_tags += usize::from(tags > 0);
        let rerun = scene.release("v1.0.0").exits(0);
        scene.whole();
        let record = rerun.json();
        for ((service, stood), status) in SERVICES.iter().zip(stood).zip(statuses(&record)) {
            assert!(!stood || status == "unchanged", "{point:?}: {service} stood and was {status}");
        }
        assert!(scene.github.body("v1.0.0").contains("🐳 Docker Images"), "{point:?}");
        eprintln!("{point:?}: {tags} version tags, {stood:?} stood");
    }
    assert!(with_tags >= 4, "only {with_tags} points lie where tags are");
}
