//! The property that everything rests on: an edit changes the fingerprints of the services it reaches, and no other. A small workspace is
//! kept in memory, edited at random, and judged by a model that knows the graph and nothing of fingerprints.

use super::*;
use crate::explain::explain;
use crate::part::Kind;
use monoship_workspace::dockerfile::{Dockerfile, SliceRequest};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{File, Tree};
use monoship_workspace::sent::Sent;

/// A pseudo-random sequence (Knuth's MMIX constants): the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

const PACKAGES: usize = 8;
const SERVICES: usize = 4;
const KEYS: usize = 12;

/// A workspace: services on packages on packages, locked dependencies, a Dockerfile.
#[derive(Clone)]
struct World {
    /// What each package (services last) depends on.
    needs: Vec<SortedSet<usize>>,
    /// The files of each: name and a number that stands for the content.
    files: Vec<SortedMap<String, (bool, u32)>>,
    /// The lock entries each uses.
    uses: Vec<SortedSet<usize>>,
    lock: Vec<u32>,
    /// A RUN of each service's own stage, and a remark.
    steps: Vec<(u32, u32)>,
    shared_step: u32,
    unreached: u32,
    remark: u32,
    base: u32,
    other_base: u32,
    args: Vec<u32>,
    root_file: u32,
    ignored_file: u32,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let count = PACKAGES + SERVICES;
        let some = |random: &mut Random, below: usize| -> SortedSet<usize> {
            if below == 0 { SortedSet::new() } else { (0..random.below(3)).map(|_| random.below(below)).collect() }
        };
        let files = |n: usize| (0..3).map(|f| (format!("src/{f}.ts"), (false, u32::try_from(n * 10 + f).unwrap()))).collect();
        Self {
            needs: (0..count).map(|n| some(random, n.min(PACKAGES))).collect(),
            files: (0..count).map(files).collect(),
            uses: (0..count).map(|_| some(random, KEYS)).collect(),
            lock: vec![0; KEYS],
            steps: vec![(0, 0); SERVICES],
            shared_step: 0,
            unreached: 0,
            remark: 0,
            base: 0,
            other_base: 0,
            args: vec![0; SERVICES],
            root_file: 0,
            ignored_file: 0,
        }
    }

    fn folder(n: usize) -> String {
        if n < PACKAGES { format!("packages/p{n}") } else { format!("apps/s{}", n - PACKAGES) }
    }

    fn closure(&self, service: usize) -> SortedSet<usize> {
        let mut closure = SortedSet::new();
        let mut open = vec![PACKAGES + service];
        while let Some(next) = open.pop() {
            if closure.insert(next) {
                open.extend(&self.needs[next]);
            }
        }
        closure
    }

    fn tree(&self) -> Tree {
        let id = |n: u32| format!("{n:040x}");
        let mut files = Vec::new();
        for (n, own) in self.files.iter().enumerate() {
            for (name, (executable, content)) in own {
                files.push(File::new(&format!("{}/{name}", Self::folder(n)), *executable, &id(*content)).unwrap());
            }
        }
        files.push(File::new("tsconfig.json", false, &id(self.root_file)).unwrap());
        files.push(File::new("notes.md", false, &id(self.ignored_file)).unwrap());
        Tree::from_files(files)
    }

    fn dockerfile(&self) -> String {
        let service = |(n, (step, remark)): (usize, &(u32, u32))| {
            // Odd services are on another base, and look at a file of the main context.
            let (base, look) = if n % 2 == 0 { ("base", "") } else { ("nginx", "COPY tsconfig.* notes.md /\n") };
            let build = format!("RUN --mount=from=sources,target=/s build {step}\n");
            let own = format!("FROM {base} AS s{n}\n{look}COPY --from=s{n}-build /out /app\n");
            format!("FROM base AS s{n}-build\nARG MODE{n}\n# {remark}\n{build}{own}")
        };
        let head = format!("ARG NODE=24\n# remark {}\nFROM node:$NODE AS base\nRUN shared {}\n", self.remark, self.shared_step);
        let unreached = format!("FROM base AS unreached\nRUN {}\nFROM scratch AS sources\nCOPY . /\n", self.unreached);
        head + &unreached + &self.steps.iter().enumerate().map(service).collect::<String>()
    }

    fn inputs(&self) -> Vec<Inputs> {
        let (tree, dockerfile) = (self.tree(), self.dockerfile());
        let ignore = Ignore::parse("*.md").unwrap();
        let sent = Sent::of_tree(&tree, &ignore);
        let main = MainContext::new(&sent);
        let dockerfile = Dockerfile::parse("Dockerfile".as_ref(), &dockerfile).unwrap();
        (0..SERVICES).map(|service| self.service(service, &tree, &main, &dockerfile)).collect()
    }

    fn service(&self, service: usize, tree: &Tree, main: &MainContext<'_>, dockerfile: &Dockerfile) -> Inputs {
        let closure = self.closure(service);
        let mut sources: Parts = closure.iter().map(|n| (Self::folder(*n), Part::files(tree.under(&Self::folder(*n))))).collect();
        let keys: SortedSet<usize> = closure.iter().flat_map(|n| self.uses[*n].iter().copied()).collect();
        let lock = keys.iter().map(|key| (format!("dep{key}@1.0.{}", self.lock[*key]), String::new()));
        sources.insert("lock".into(), Part::new(Kind::Lock, lock));
        let contexts = SortedMap::from([("sources".to_owned(), sources)]);
        let args: SortedMap<String, String> = (0..SERVICES).map(|n| (format!("MODE{n}"), self.args[n].to_string())).collect();
        let target = format!("s{service}");
        let names = contexts.keys().cloned().collect();
        let slice = dockerfile
            .slice(&SliceRequest { target: &target, contexts: &names, args: &args, platforms: &[], own: None })
            .unwrap();
        let pin =
            |image: &ImageRef| Some(if image.repository() == "library/node" { self.base } else { self.other_base }.to_string());
        Inputs::new(&Facts {
            target: &target,
            slice: &slice,
            contexts: &contexts,
            main,
            args: &args,
            pin: &pin,
            syntax: None,
            addresses: &SortedMap::new(),
            platforms: &[],
            settings: &SortedMap::new(),
        })
        .unwrap()
    }

    /// Makes one random edit; returns the services whose image it can change.
    fn edit(&mut self, random: &mut Random) -> (String, SortedSet<usize>) {
        let all: SortedSet<usize> = (0..SERVICES).collect();
        let odd = || all.iter().copied().filter(|n| n % 2 == 1).collect();
        let package = random.below(PACKAGES + SERVICES);
        let of_package =
            |world: &Self| all.iter().copied().filter(|s| world.closure(*s).contains(&package)).collect::<SortedSet<_>>();
        let (service, key) = (random.below(SERVICES), random.below(KEYS));
        let fresh = u32::try_from(random.below(1 << 30)).unwrap() + 1_000;
        match random.below(16) {
            0 | 1 => {
                self.files[package].values_mut().next().unwrap().1 = fresh;
                (format!("edit a file of {}", Self::folder(package)), of_package(self))
            }
            2 => {
                let file = self.files[package].values_mut().next().unwrap();
                file.0 = !file.0;
                (format!("the exec bit in {}", Self::folder(package)), of_package(self))
            }
            3 => {
                self.files[package].insert(format!("src/{fresh}.ts"), (false, 1));
                (format!("a new file in {}", Self::folder(package)), of_package(self))
            }
            4 => {
                let (name, file) = self.files[package].pop_first().unwrap();
                self.files[package].insert(format!("{name}x"), file);
                (format!("a renamed file in {}", Self::folder(package)), of_package(self))
            }
            5 => {
                self.lock[key] += 1;
                let reads = |s: &usize| self.closure(*s).iter().any(|n| self.uses[*n].contains(&key));
                (format!("a bump of dep{key}"), all.iter().copied().filter(reads).collect())
            }
            6 => {
                let before: Vec<_> = all.iter().map(|s| self.closure(*s)).collect();
                let on = random.below(package.clamp(1, PACKAGES));
                if on < package && !self.needs[package].remove(&on) {
                    self.needs[package].insert(on);
                }
                let moved = |s: &usize| before[*s] != self.closure(*s);
                (format!("a dependency of {}", Self::folder(package)), all.iter().copied().filter(moved).collect())
            }
            7 => (format!("a step of s{service}"), {
                self.steps[service].0 += 1;
                [service].into()
            }),
            8 => (format!("a comment in s{service}"), {
                self.steps[service].1 += 1;
                SortedSet::new()
            }),
            9 => ("a shared step".into(), {
                self.shared_step += 1;
                all
            }),
            10 => ("a stage nobody reaches".into(), {
                self.unreached += 1;
                SortedSet::new()
            }),
            11 => ("a comment".into(), {
                self.remark += 1;
                SortedSet::new()
            }),
            12 => ("the base".into(), {
                self.base += 1;
                all
            }),
            13 => ("the other base".into(), {
                self.other_base += 1;
                odd()
            }),
            14 => (format!("MODE{service}"), {
                self.args[service] += 1;
                [service].into()
            }),
            _ if random.below(2) == 0 => ("a file odd services look at".into(), {
                self.root_file = fresh;
                odd()
            }),
            _ => ("an ignored file".into(), {
                self.ignored_file = fresh;
                SortedSet::new()
            }),
        }
    }
}

#[test]
fn a_random_edit_changes_exactly_the_fingerprints_it_should() {
    let mut kinds = SortedSet::new();
    for seed in 0..12 {
        let mut random = Random(seed);
        let mut world = World::new(&mut random);
        let mut before = world.inputs();
        for round in 0..40 {
            let (what, wanted) = world.edit(&mut random);
            let after = world.inputs();
            let changed: SortedSet<usize> =
                (0..SERVICES).filter(|s| before[*s].fingerprint() != after[*s].fingerprint()).collect();
            assert_eq!(changed, wanted, "seed {seed}, round {round}: {what}");
            for service in 0..SERVICES {
                let reasons = explain(&before[service], &after[service]);
                assert_eq!(reasons.is_empty(), !wanted.contains(&service), "seed {seed}, round {round}: {what}: {reasons:?}");
            }
            kinds.insert(what.split(" of ").next().unwrap().to_owned());
            before = after;
        }
    }
    assert!(kinds.len() > 12, "every kind of edit was tried: {kinds:?}");
}

#[test]
fn a_record_reads_back_to_the_same_fingerprint_and_holds_no_argument_value() {
    let mut world = World::new(&mut Random(1));
    world.args = vec![123_456_789; SERVICES];
    for inputs in world.inputs() {
        let record = inputs.to_record();
        assert!(!record.to_string().contains("123456789"));
        let back = Inputs::from_record(record).unwrap();
        assert_eq!(back.fingerprint(), inputs.fingerprint());
        assert_eq!(explain(&back, &inputs), []);
    }
    assert_eq!(Inputs::from_record(serde_json::json!({ "schema": 0 })), None);
}

#[test]
fn the_format_of_version_2_does_not_move() {
    let inputs = World::new(&mut Random(7)).inputs();
    let digits: Vec<_> = inputs.iter().map(|i| i.fingerprint().as_str()[..12].to_owned()).collect();
    // A change here makes every service of every user build once. If that is meant, raise SCHEMA.
    assert_eq!(digits, ["4ef391dee3ca", "8e592e242d38", "34cc61e5f554", "c5b40783854c"]);
}

/// The inputs of the target `api` of a Dockerfile, in an empty context.
fn of_dockerfile(text: &str) -> Result<Inputs> {
    let dockerfile = Dockerfile::parse("Dockerfile".as_ref(), text).unwrap();
    let (empty, none, tree, ignore) = (SortedMap::new(), SortedSet::new(), Tree::default(), Ignore::default());
    let slice =
        dockerfile.slice(&SliceRequest { target: "api", contexts: &none, args: &empty, platforms: &[], own: None }).unwrap();
    let sent = Sent::of_tree(&tree, &ignore);
    let main = MainContext::new(&sent);
    Inputs::new(&Facts {
        target: "api",
        slice: &slice,
        contexts: &SortedMap::new(),
        main: &main,
        args: &empty,
        pin: &|_| None,
        syntax: None,
        addresses: &SortedMap::new(),
        platforms: &[],
        settings: &empty,
    })
}

#[test]
fn one_text_under_another_escape_character_is_another_image() {
    let text = "FROM scratch AS api\nENV A=b\\c\n";
    let [before, after] = ["", "# escape=`\n"].map(|head| of_dockerfile(&format!("{head}{text}")).unwrap());
    assert_ne!(before.fingerprint(), after.fingerprint());
    assert_eq!(explain(&before, &after).iter().map(ToString::to_string).collect::<Vec<_>>(), ["setting escape added"]);
}

#[test]
fn an_image_without_a_pin_is_refused() {
    let error = of_dockerfile("FROM node:24 AS api\n").unwrap_err();
    assert!(error.to_string().contains("`docker.io/library/node:24` is not pinned"), "{error}");
    assert!(error.hint_text().unwrap().contains("cargo xtask update"));
}
