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

/// Runs the contenders in turn, A B C A B C …, `runs` times after `warm_ups` uncounted rounds, and prints the medians with
/// the ratio of each to the first.
pub fn side_by_side(title: &str, warm_ups: usize, runs: usize, contenders: &mut [Contender<'_>]) -> Vec<Duration> {
    println!("\n## {title}\n");
    let mut times: Vec<Vec<Duration>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..warm_ups + runs {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            (contender.prepare)();
            let took = timed(&contender.name, (contender.command)());
            if round >= warm_ups {
                times.push(took);
            }
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    println!("| command | median s | min | max | ratio to the first |\n|---|---:|---:|---:|---:|");
    for ((contender, times), middle) in contenders.iter().zip(&times).zip(&medians) {
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        let ratio = middle.as_secs_f64() / medians[0].as_secs_f64();
        let (least, most) = (seconds(times.iter().min()), seconds(times.iter().max()));
        println!("| {} | {:.3} | {least:.3} | {most:.3} | {ratio:.2} |", contender.name, middle.as_secs_f64());
    }
    medians
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
