//! A fleet on a simulated clock: the real assignment and dispatch, builds that only have a duration, nodes that go and come back. Nothing
//! sleeps. Whatever is drawn follows from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use monoship_fleet::{Build, Dispatch, GivenUp, Node, Turn, assign};

use super::random::Random;

/// How long services' builds took that this tool recorded (its own monorepo and public ones), in tenths of a second.
const RECORDED: [u64; 26] =
    [13, 13, 13, 14, 18, 18, 18, 19, 29, 32, 36, 364, 408, 412, 430, 437, 482, 482, 535, 535, 540, 540, 552, 552, 552, 1792];

/// How long a node takes that says that it is there, and how long one is waited for that says nothing.
const ANSWERS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// A node is gone from one moment to another.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub node: usize,
    pub from: Duration,
    pub until: Duration,
}

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub nodes: Vec<Node>,
    pub builds: Vec<Build>,
    /// How long each build takes this time; what it usually takes is the build's own.
    pub takes: Vec<Duration>,
    pub outages: Vec<Outage>,
}

/// What came of it.
#[derive(Debug)]
pub struct Simulated {
    /// When the last build had ended.
    pub makespan: Duration,
    /// The node that each build came to its end on.
    pub built_on: Vec<Option<usize>>,
    /// How often each was begun.
    pub begun: Vec<u32>,
    /// Builds that moved off a node because it was lost, and builds that an idle node took from a busy one.
    pub moved: (usize, usize),
    /// When the last of what was lost in the middle would have ended, had it been begun again in that moment.
    pub again: Duration,
    pub given_up: Vec<GivenUp>,
    /// What the dispatch was seen to do that it must not.
    pub wrong: Vec<String>,
}

/// A count as a factor.
pub fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// A fleet of linux/amd64 nodes called `node-0`, `node-1`, …, every third of twice the weight.
pub fn fleet(nodes: usize) -> Vec<Node> {
    let of = |at: usize| {
        let weight = if at.is_multiple_of(3) { 2 } else { 1 };
        let node = Node::new(format!("node-{at}"), vec!["linux/amd64".parse().unwrap()]);
        node.weight(NonZeroU32::new(weight).unwrap()).builds(NonZeroUsize::new(2 * weight as usize).unwrap())
    };
    (0..nodes).map(of).collect()
}

/// Services with usual times as recorded, and what they take this time: between three quarters and four thirds of that.
pub fn services(count: usize, random: &mut Random) -> (Vec<Build>, Vec<Duration>) {
    let of = |at: usize| {
        let usual = Duration::from_millis(random.of(&RECORDED) * 100 * (80 + random.below(40) as u64) / 100);
        let takes = usual.mul_f64(float(75 + random.below(58)) / 100.0);
        let key = format!("service-{at}");
        (Build { key, platforms: vec!["linux/amd64".parse().unwrap()], usual: Some(usual), last: None }, takes)
    };
    (0..count).map(of).unzip()
}

impl Scenario {
    /// The longest build.
    pub fn longest(&self) -> Duration {
        self.takes.iter().max().copied().unwrap_or_default()
    }

    /// What no order comes below: the longest build, or all work on all nodes for as long as they are there.
    pub fn lower_bound(&self) -> Duration {
        self.longest().max(self.work())
    }

    /// All work on all nodes for as long as they are there, none of it lost.
    pub fn work(&self) -> Duration {
        let work: f64 = self.takes.iter().map(Duration::as_secs_f64).sum();
        let done = |by: f64| -> f64 {
            let there = |node: usize| {
                let gone = self.outages.iter().filter(|outage| outage.node == node);
                let gone = gone.map(|outage| (outage.until.as_secs_f64().min(by) - outage.from.as_secs_f64()).max(0.0));
                by - gone.sum::<f64>()
            };
            (0..self.nodes.len()).map(|node| there(node) * float(self.nodes[node].builds.get())).sum()
        };
        let (mut low, mut high) = (0.0, work + 100_000.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if done(middle) < work { low = middle } else { high = middle }
        }
        Duration::from_secs_f64(low)
    }

    fn is_there(&self, node: usize, now: Duration) -> bool {
        !self.outages.iter().any(|outage| outage.node == node && outage.from <= now && now < outage.until)
    }

    /// Runs it to the end.
    pub fn run(&self) -> Simulated {
        let places = assign(&self.nodes, &self.builds);
        let mut dispatch = Dispatch::new(&self.nodes, &self.builds, &places, usize::MAX);
        let mut done = Simulated {
            makespan: Duration::ZERO,
            built_on: vec![None; self.builds.len()],
            begun: vec![0; self.builds.len()],
            moved: (0, 0),
            again: Duration::ZERO,
            given_up: Vec::new(),
            wrong: Vec::new(),
        };
        let mut events = BinaryHeap::new();
        let mut on: Vec<Option<(usize, u32)>> = vec![None; self.builds.len()];
        for outage in &self.outages {
            events.push(Reverse((outage.from, Event::Gone(outage.node))));
        }
        let mut now = Duration::ZERO;
        let mut awake = BTreeSet::new();
        loop {
            for node in 0..self.nodes.len() {
                loop {
                    match dispatch.turn(node, now) {
                        Turn::Ask => {
                            let (answer, silence) = ANSWERS;
                            let takes = if self.is_there(node, now) { answer } else { silence };
                            events.push(Reverse((now + takes, Event::Asked(node))));
                        }
                        Turn::Build(build) => {
                            done.begun[build] += 1;
                            if done.built_on[build].is_some() {
                                done.wrong.push(format!("build {build} stood and was begun again"));
                            }
                            if !self.is_there(node, now) {
                                // It is known at the next event of the node, which is now.
                                events.push(Reverse((now, Event::Gone(node))));
                            }
                            on[build] = Some((node, done.begun[build]));
                            let ended = Event::Ended(node, build, done.begun[build]);
                            events.push(Reverse((now + self.takes[build], ended)));
                        }
                        Turn::Wait(until) => {
                            if let Some(time) = until.filter(|time| awake.insert(now + *time)) {
                                events.push(Reverse((now + time, Event::Awake)));
                            }
                            break;
                        }
                        Turn::Leave => break,
                    }
                }
            }
            if !dispatch.is_open() {
                break;
            }
            let Some(Reverse((at, event))) = events.pop() else {
                done.wrong.push("builds are left, and nothing will happen any more".to_owned());
                break;
            };
            now = at;
            match event {
                Event::Asked(node) => {
                    let there = self.is_there(node, now);
                    dispatch.answered(node, if there { Ok(()) } else { Err("it did not answer".to_owned()) }, now);
                }
                Event::Ended(node, build, time) if on[build] == Some((node, time)) => {
                    on[build] = None;
                    done.built_on[build] = Some(node);
                    done.makespan = now;
                    dispatch.ended(node, build);
                }
                Event::Gone(node) => {
                    let running = (0..self.builds.len()).filter(|build| on[*build].is_some_and(|(at, _)| at == node));
                    let running: Vec<usize> = running.collect();
                    let before = dispatch.moves().len();
                    for build in &running {
                        on[*build] = None;
                        done.again = done.again.max(now + self.takes[*build]);
                        dispatch.lost(node, *build, "the connection broke", now);
                    }
                    for moved in &dispatch.moves()[before..] {
                        if moved.from != node {
                            done.wrong.push(format!("node {node} was lost, and build {} moved off {}", moved.build, moved.from));
                        }
                    }
                }
                Event::Ended(..) | Event::Awake => {}
            }
        }
        done.given_up = dispatch.take_given_up();
        let busy = dispatch.moves().iter().filter(|moved| moved.why.contains("busy")).count();
        done.moved = (dispatch.moves().len() - busy, busy);
        done
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Gone(usize),
    Ended(usize, usize, u32),
    Asked(usize),
    Awake,
}
