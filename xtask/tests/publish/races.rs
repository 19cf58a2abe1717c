//! Two runs at once on two clones, each on a slow and faulty way of its own to one real registry; one or both may be refused, stopped, or lose the
//! registry for good at any request. What is promised is looked at past the proxies: after both have ended, and once more after what failed was
//! run again.
//!
//! `RACES=5000 SEED=7 cargo test --test publish races` goes through more, from another seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use monoship_core::event::{Event, Events};
use monoship_core::execute::http::Limits;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Digest, ImageRef};
use monoship_core::sorted::SortedSet;
use monoship_plan::templates::TagTemplates;
use monoship_publish::{self as publish, Item, Journal, Order, PublishRequest};

use crate::{SERVICES, tag};
use support::faulty_proxy::{Fault, FaultyProxy, Weather};
use support::image::TestImage;
use support::random::Random;
use support::registry::{RegistryServer, anonymous, stoppable};

/// By default: some 20 seconds on two idle cores.
const RACES: usize = 100;

/// How many are under way at once: most of the time of each is waiting.
const AT_ONCE: usize = 6;

/// For another run's end. All end by themselves, and one that lost its registry is run again at once, so nobody is given up here.
const PATIENCE: Duration = Duration::from_mins(1);

/// Nothing hangs here, and on a busy machine any request may take its time.
const LONG: Limits = Limits { connect: Duration::from_secs(30), idle: Duration::from_secs(30), whole: Duration::from_mins(1) };

/// What the two do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One release, of one build that both found.
    SameRelease,
    /// One release, which each has built for itself: the same images under another index.
    OwnBuilds,
    /// A release and the next one.
    TwoVersions,
    /// Two commits of one branch.
    Branch,
}

/// How a run ends, if it is not left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    /// This tag of this service is refused for good.
    Refused(&'static str, &'static str),
    /// Stopped at its n-th request.
    Stopped(usize),
    /// The registry is gone from its n-th request on.
    Lost(usize),
}

/// What the way to the registry is like.
#[derive(Debug, Clone, Copy)]
struct Way {
    fate: Fate,
    /// Each request takes up to so many milliseconds longer.
    slow: usize,
    /// Of a hundred requests, so many meet a fault that passes.
    faulty: usize,
    /// The registry deletes manifests.
    deletes: bool,
    /// It never answers whether it does, and so nothing can be told to the other run.
    silent: bool,
    seed: u64,
}

type Images = BTreeMap<(&'static str, &'static str), Digest>;

/// What each service was built from, one after the other.
const CONTENT: [&str; 3] = ["old", "one", "two"];

/// One machine.
struct Clone<'a> {
    proxy: FaultyProxy,
    dir: tempfile::TempDir,
    kind: Kind,
    version: &'static str,
    content: &'static str,
    images: &'a Images,
    place: String,
}

/// How a run ended, with all that it said.
#[derive(Debug)]
struct Ended {
    done: Result<BTreeMap<String, Digest>, String>,
}

impl Ended {
    /// It promises that nothing of it is left.
    fn says_nothing_moved(&self) -> bool {
        self.done.as_ref().is_err_and(|said| said.contains("has moved"))
    }
}

impl Clone<'_> {
    fn name(&self) -> String {
        if self.kind == Kind::Branch { "main".to_owned() } else { format!("v{}", self.version) }
    }

    fn exact(&self) -> Vec<String> {
        if self.kind == Kind::Branch { Vec::new() } else { vec![format!("v{}", self.version), self.version.to_owned()] }
    }

    fn request(&self) -> PublishRequest {
        let version: semver::Version = self.version.parse().unwrap();
        let templates = TagTemplates::parse(&["v{version}", "{version}", "latest"]).unwrap();
        let branch = self.kind == Kind::Branch;
        let tags = if branch { vec![tag("main")] } else { templates.made_of(&version, true).unwrap() };
        let items = SERVICES.iter().map(|service| Item {
            service: service.parse().unwrap(),
            source: repository(&self.proxy.host(), &self.place, service).with_tag(tag("in-one")),
            digest: Some(self.images[&(*service, self.content)].clone()),
            tags: tags.clone(),
        });
        PublishRequest {
            name: self.name(),
            order: (!branch).then(|| Order { templates, version, unreleased: SortedSet::new() }),
            items: items.collect(),
            journal: self.journal(),
            move_tags: false,
            annotations: None,
            patience: PATIENCE,
        }
    }

    fn journal(&self) -> std::path::PathBuf {
        self.dir.path().join("journal.json")
    }

    /// One run, under this weather.
    fn run(&self, way: Way) -> Ended {
        let shutdown = Shutdown::new();
        self.proxy.heal();
        self.proxy.weather(weather(way, &shutdown));
        let registry = stoppable(LONG, &shutdown);
        let said: Arc<Mutex<String>> = Arc::default();
        let heard = Arc::clone(&said);
        let events = Events::new(move |event| {
            if let Event::Notice { message, .. } = event {
                heard.lock().unwrap().push_str(&format!("{message}\n"));
            }
        });
        let done = publish::plan(&self.request(), &registry).and_then(|plan| publish::run(&plan, &registry, &events));
        let done = done.map(|all| all.into_iter().map(|one| (one.service.to_string(), one.digest)).collect());
        let hint = |error: monoship_core::error::Error| {
            format!("{error}\n{}\n{}", error.hint_text().unwrap_or_default(), said.lock().unwrap())
        };
        Ended { done: done.map_err(hint) }
    }

    /// The run, and, where it lost its registry, its rerun a moment later; others wait for that.
    fn live(&self, way: Way) -> Ended {
        let ended = self.run(way);
        if ended.done.is_ok() || !matches!(way.fate, Fate::Lost(_)) {
            return ended;
        }
        std::thread::sleep(Duration::from_millis(way.seed % 100));
        self.run(Way { fate: Fate::Well, faulty: 0, silent: false, ..way })
    }
}

fn weather(way: Way, shutdown: &Shutdown) -> Weather {
    let (random, seen, shutdown) = (Mutex::new(Random(way.seed)), AtomicUsize::new(0), shutdown.clone());
    Arc::new(move |request| {
        let number = seen.fetch_add(1, Ordering::SeqCst);
        let (delay, chance, which) = {
            let mut random = random.lock().unwrap();
            (random.below(way.slow * 1_000 + 1), random.below(100), random.below(4))
        };
        if matches!(way.fate, Fate::Stopped(at) if number == at) {
            shutdown.close();
        }
        let fault = match way.fate {
            _ if way.silent && request.method == "DELETE" => Some(Fault::Reset),
            Fate::Lost(from) if number >= from => Some(Fault::Reset),
            Fate::Refused(service, tag)
                if request.method == "PUT" && request.path.ends_with(&format!("{service}/manifests/{tag}")) =>
            {
                Some(Fault::Says(403, "DENIED", "requested access to the resource is denied"))
            }
            _ if !way.deletes && request.method == "DELETE" && request.path.contains("/manifests/") => {
                Some(Fault::Says(405, "UNSUPPORTED", "The operation is unsupported."))
            }
            _ if chance < way.faulty => Some(match which {
                0 => Fault::Lost,
                1 => Fault::Reset,
                2 => Fault::Status(503, Vec::new()),
                _ => Fault::Status(429, Vec::new()),
            }),
            _ => None,
        };
        (Duration::from_micros(u64::try_from(delay).unwrap()), fault)
    })
}

fn repository(host: &str, place: &str, service: &str) -> ImageRef {
    format!("{host}/{place}/{service}").parse().unwrap()
}

/// A place with all three images of both services, and 1.2.2 released of the old one.
fn template(server: &RegistryServer) -> Images {
    let registry = anonymous();
    let mut images = BTreeMap::new();
    for service in SERVICES {
        let place = repository(&server.host(), "template", service);
        for content in CONTENT {
            let raw =
                TestImage::new(&format!("{service} {content}")).push(&registry, &place.with_tag(tag(&format!("in-{content}"))));
            images.insert((service, content), raw.digest().clone());
            if content == "old" {
                for there in ["v1.2.2", "1.2.2", "latest", "main"] {
                    registry.put_manifest(&place.with_tag(tag(there)), &raw).unwrap();
                }
            }
        }
        // The same image as `one`, as another machine has built it.
        let again = TestImage { mark: Some("another/machine"), ..TestImage::new(&format!("{service} one")) };
        let raw = again.push(&registry, &place.with_tag(tag("in-again")));
        images.insert((service, "again"), raw.digest().clone());
    }
    images
}

type State = BTreeMap<(&'static str, String), Digest>;

/// Where the tags are, past proxies and clients.
fn state(server: &RegistryServer, place: &str) -> State {
    let tags = |service: &'static str| {
        let tags = server.tags(&format!("{place}/{service}")).into_iter();
        tags.filter(|(tag, _)| !tag.starts_with("in-")).map(move |(tag, digest)| ((service, tag), digest))
    };
    SERVICES.into_iter().flat_map(tags).collect()
}

/// One race: what it was, and the first promise that did not hold.
fn race(server: &RegistryServer, images: &Images, number: usize, seed: u64) -> (String, Tally) {
    let mut random = Random((seed << 32 | number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    random.below(2);
    let kind = random.of(&[Kind::SameRelease, Kind::OwnBuilds, Kind::TwoVersions, Kind::TwoVersions, Kind::Branch]);
    let place = format!("race{number}");
    SERVICES.iter().for_each(|service| server.copy_repository(&format!("template/{service}"), &format!("{place}/{service}")));
    let deletes = random.below(4) > 0;
    let floating = if kind == Kind::Branch { "main" } else { "latest" };
    let mut clone = |version, content| {
        let fate = match random.below(8) {
            0..3 => Fate::Well,
            3 => Fate::Refused(random.of(&SERVICES), if kind == Kind::Branch { "main" } else { version }),
            4 => Fate::Refused(random.of(&SERVICES), floating),
            5..7 => Fate::Stopped(random.below(70)),
            _ => Fate::Lost(random.below(70)),
        };
        let (slow, faulty, silent) = (random.of(&[0, 1, 4, 12]), random.of(&[0, 0, 3, 10]), random.below(5) == 0);
        let way = Way { fate, slow, faulty, deletes, silent, seed: random.0 };
        let (proxy, dir) = (FaultyProxy::start(&server.host()), tempfile::tempdir().unwrap());
        let start = Duration::from_millis(random.below(60) as u64);
        (Clone { proxy, dir, kind, version, content, images, place: place.clone() }, way, start)
    };
    let second = match kind {
        Kind::SameRelease => ("1.2.3", "one"),
        Kind::OwnBuilds => ("1.2.3", "again"),
        Kind::TwoVersions => ("1.2.4", "two"),
        Kind::Branch => ("1.2.3", "two"),
    };
    let clones = [clone("1.2.3", "one"), clone(second.0, second.1)];
    let what = format!(
        "race {number}: {kind:?}, deletes: {deletes}, {:?} after {:?} and {:?} after {:?}",
        clones[0].1, clones[0].2, clones[1].1, clones[1].2
    );
    let ended: Vec<Ended> = std::thread::scope(|scope| {
        let begin = |(clone, way, start): &'_ (Clone<'_>, Way, Duration)| {
            std::thread::sleep(*start);
            clone.live(*way)
        };
        let threads: Vec<_> = clones.iter().map(|one| scope.spawn(move || begin(one))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let forgetful = clones.iter().any(|(_, way, _)| way.faulty > 0 || matches!(way.fate, Fate::Lost(_)));
    let tells = deletes && !clones.iter().any(|(_, way, _)| way.silent);
    let after = state(server, &place);
    let mut look = Look { what: format!("{what}\n{ended:#?}\n{after:#?}"), images, kind, deletes: tells, forgetful };
    look.kept(&after);
    for (at, one) in ended.iter().enumerate() {
        let other = &ended[1 - at];
        look.run(&clones[at].0, one, &clones[1 - at].0, other, &after);
    }
    let failed: Vec<usize> = (0..2).filter(|at| ended[*at].done.is_err()).collect();
    for at in failed.iter().copied() {
        let (clone, way, _) = &clones[at];
        let again = clone.run(Way { fate: Fate::Well, faulty: 0, slow: 0, silent: false, ..*way });
        assert!(again.done.is_ok(), "the rerun of {at} fails: {again:?}\n{}", look.what);
    }
    let whole = state(server, &place);
    look.what = format!("{}\nand after reruns {whole:#?}", look.what);
    look.kept(&whole);
    look.whole(&clones.each_ref().map(|one| &one.0), &whole);
    for (clone, ..) in &clones {
        assert!(Journal::load(&clone.journal()).unwrap().is_some_and(|journal| journal.complete), "{}", look.what);
    }
    (
        what,
        Tally {
            failed: failed.len(),
            half: ended.iter().filter(|e| e.done.as_ref().is_err_and(|s| s.contains("half published"))).count(),
        },
    )
}

#[derive(Default)]
struct Tally {
    failed: usize,
    half: usize,
}

/// What is promised.
struct Look<'a> {
    what: String,
    images: &'a Images,
    kind: Kind,
    deletes: bool,
    forgetful: bool,
}

impl Look<'_> {
    /// How new the image under a floating tag is.
    #[track_caller]
    fn age(&self, service: &'static str, digest: &Digest) -> usize {
        let is = |content| self.images[&(service, content)] == *digest;
        if is("two") {
            2
        } else if is("one") || is("again") {
            1
        } else if is("old") {
            0
        } else {
            panic!("nobody's image: {}", self.what)
        }
    }

    /// The release before keeps its tags, floating ones point to somebody's image, and nothing else is there.
    fn kept(&self, state: &State) {
        for service in SERVICES {
            for old in ["v1.2.2", "1.2.2"] {
                assert_eq!(state.get(&(service, old.to_owned())), Some(&self.images[&(service, "old")]), "{}", self.what);
            }
            for floating in ["latest", "main"] {
                let found =
                    state.get(&(service, floating.to_owned())).unwrap_or_else(|| panic!("{floating} is gone: {}", self.what));
                self.age(service, found);
            }
        }
        let known = ["v1.2.2", "1.2.2", "v1.2.3", "1.2.3", "v1.2.4", "1.2.4", "latest", "main"];
        // A run's word stays where the registry was gone when it was to be taken away; the next run does that.
        let word = |tag: &str| self.forgetful && (tag.starts_with("publishing-") || tag.starts_with("published-"));
        let strange: Vec<_> = state.keys().filter(|(_, tag)| !known.contains(&tag.as_str()) && !word(tag)).collect();
        assert!(strange.is_empty(), "{strange:?} is left: {}", self.what);
    }

    fn run(&self, clone: &Clone<'_>, ended: &Ended, other: &Clone<'_>, others: &Ended, state: &State) {
        let what = &self.what;
        let at = |service: &'static str, tag: &str| state.get(&(service, tag.to_owned()));
        match &ended.done {
            Ok(done) => {
                for service in SERVICES {
                    let exact: Vec<_> = clone.exact().iter().map(|tag| at(service, tag).cloned()).collect();
                    assert!(
                        exact.iter().all(|found| *found == exact.first().cloned().flatten()),
                        "{service}'s tags differ: {what}"
                    );
                    // Where nobody can be told of, another machine's build of the same images may have come last.
                    let says = &done[service];
                    let same =
                        |found: &Digest| found == says || (!self.deletes && self.age(service, found) == self.age(service, says));
                    assert!(
                        exact.iter().all(|found| found.as_ref().is_some_and(same)),
                        "a success of {service} is not there: {what}"
                    );
                    // It is left to the newer release, where that failed, has its exact tags, and is to be run again.
                    let stands = other.exact().iter().all(|tag| SERVICES.iter().all(|service| at(service, tag).is_some()));
                    let left = self.kind == Kind::TwoVersions && others.done.is_err() && other.version > clone.version && stands;
                    if self.kind != Kind::Branch && !left {
                        let (latest, own) = (self.age(service, at(service, "latest").unwrap()), self.age(service, says));
                        assert!(latest >= own, "latest went back: {what}");
                    }
                }
                if self.kind == Kind::Branch && others.done.is_ok() && self.deletes {
                    let ages = SERVICES.map(|service| self.age(service, at(service, "main").unwrap()));
                    assert_eq!(ages[0], ages[1], "the branch is half of each: {what}");
                    assert!(ages[0] > 0, "the branch was not moved: {what}");
                }
            }
            Err(_) if ended.says_nothing_moved() => {
                let alone = clone.exact() != other.exact() || others.says_nothing_moved();
                let left: Vec<_> =
                    clone.exact().into_iter().filter(|tag| SERVICES.iter().any(|service| at(service, tag).is_some())).collect();
                assert!(!alone || left.is_empty(), "{left:?} is left of one that says that nothing moved: {what}");
                if others.says_nothing_moved() {
                    for service in SERVICES {
                        let floating = if self.kind == Kind::Branch { "main" } else { "latest" };
                        assert_eq!(self.age(service, at(service, floating).unwrap()), 0, "{floating} moved: {what}");
                    }
                }
            }
            Err(said) => {
                let told = said.contains("half published") || said.contains("nothing was published");
                let unmoved = clone.exact().iter().all(|tag| SERVICES.iter().all(|service| at(service, tag).is_none()));
                assert!(told || unmoved || clone.exact() == other.exact(), "half published, and it does not say so: {what}");
            }
        }
    }

    /// Every tag of both, and `latest` with the newest.
    fn whole(&self, clones: &[&Clone<'_>; 2], state: &State) {
        let at = |service: &'static str, tag: &str| self.age(service, &state[&(service, tag.to_owned())]);
        for service in SERVICES {
            for clone in clones {
                let own = self.age(service, &self.images[&(service, clone.content)]);
                for tag in clone.exact() {
                    assert!(state.contains_key(&(service, tag.clone())), "{service}:{tag} is missing: {}", self.what);
                    assert_eq!(at(service, &tag), own, "{service}:{tag} is another's: {}", self.what);
                }
                let digests: SortedSet<_> = clone.exact().iter().map(|tag| &state[&(service, tag.clone())]).collect();
                assert!(digests.len() <= 1, "{service}'s tags differ: {}", self.what);
            }
            let newest = clones.iter().map(|clone| self.age(service, &self.images[&(service, clone.content)])).max().unwrap();
            if self.kind != Kind::Branch {
                assert_eq!(at(service, "latest"), newest, "latest is not the newest: {}", self.what);
            }
        }
        if self.kind == Kind::Branch && self.deletes {
            assert_eq!(at("api", "main"), at("web", "main"), "the branch is half of each: {}", self.what);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a longer run is asked for by variables")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn two_runs_at_once_end_with_every_tag_or_none_once_rerun_take_nothing_from_each_other_and_never_move_latest_back() {
    let races = number("RACES").map_or(RACES, |races| usize::try_from(races).unwrap());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("RACES={races} SEED={seed}");
    let server = RegistryServer::plain();
    let images = template(&server);
    let (next, failed, half) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(race_number) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|number| *number < races) {
                    let (_, tally) = race(&server, &images, race_number, seed);
                    failed.fetch_add(tally.failed, Ordering::SeqCst);
                    half.fetch_add(tally.half, Ordering::SeqCst);
                }
            });
        }
    });
    let (failed, half) = (failed.into_inner(), half.into_inner());
    println!("{races} races from seed {seed}: {failed} of {} runs failed, {half} half published until their rerun", 2 * races);
    assert!(failed > races / 10 && failed < 2 * races, "the weather is no weather");
}
