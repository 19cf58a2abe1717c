//! Measuring commands side by side: alternating runs, medians, ratios. What is measured is decided elsewhere.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command that is timed, with what must happen before each of its runs.
pub struct Contender<'a> {
    /// What the table calls it.
    pub name: String,
    /// Runs before each timed run and is not timed.
    pub prepare: Box<dyn FnMut() + 'a>,
    /// Makes the command.
    pub command: Box<dyn Fn() -> Command + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender that needs no preparation.
    pub fn new(name: &str, command: impl Fn() -> Command + 'a) -> Self {
        Self { name: name.to_owned(), prepare: Box::new(|| ()), command: Box::new(command) }
    }

    /// Adds what must happen before each run.
    #[must_use]
    pub fn before(mut self, prepare: impl FnMut() + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }
}

/// Runs the contenders in turn, A B C A B C …, `runs` times after `warm_ups` uncounted rounds. Prints the medians, the mean CPU time
/// of the command and its children (not of a daemon it asks), and the ratio of each median to the first. Returns the medians.
pub fn side_by_side(title: &str, warm_ups: usize, runs: usize, contenders: &mut [Contender<'_>]) -> Vec<Duration> {
    println!("\n## {title}\n");
    let mut times: Vec<Vec<Duration>> = contenders.iter().map(|_| Vec::new()).collect();
    let mut cpu = vec![Duration::ZERO; contenders.len()];
    for round in 0..warm_ups + runs {
        for (at, contender) in contenders.iter_mut().enumerate() {
            (contender.prepare)();
            let before = cpu_of_children();
            let took = timed(&contender.name, (contender.command)());
            if round >= warm_ups {
                times[at].push(took);
                cpu[at] += cpu_of_children().saturating_sub(before);
            }
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    println!("| command | median s | min | max | CPU s | ratio to the first |\n|---|---:|---:|---:|---:|---:|");
    for (at, contender) in contenders.iter().enumerate() {
        let (least, most) = (times[at][0].as_secs_f64(), times[at][runs - 1].as_secs_f64());
        let (middle, ratio) = (medians[at].as_secs_f64(), medians[at].as_secs_f64() / medians[0].as_secs_f64());
        let cpu = cpu[at].as_secs_f64() / f64::from(u32::try_from(runs).unwrap_or(u32::MAX));
        println!("| {} | {middle:.3} | {least:.3} | {most:.3} | {cpu:.3} | {ratio:.2} |", contender.name);
    }
    println!();
    medians
}

/// Holds `ours` to at most `most` times `theirs`, says how it came out, and returns that.
pub fn at_most(most: f64, what: &str, ours: Duration, theirs: Duration) -> bool {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    verdict(ratio <= most, &format!("{what}: {ratio:.3} times, at most {most} wanted"))
}

/// Says whether something holds, and returns that.
pub fn verdict(holds: bool, what: &str) -> bool {
    println!("{} {what}", if holds { "pass" } else { "FAIL" });
    holds
}

/// User and system time of every child waited for so far: the fields `cutime` and `cstime` of proc_pid_stat(5), in ticks of 10 ms. Zero
/// where there is no `/proc`.
fn cpu_of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the command's name, may hold spaces; it ends with the last parenthesis.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// One run; a failing command ends the benchmark, showing what it said.
fn timed(name: &str, mut command: Command) -> Duration {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{name}: {command:?}: {e}"));
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {command:?} failed: {said}");
    took
}

/// The median; sorts its input.
fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
