//! When to try again: exponential backoff with jitter, a server's `retry-after`, and an end. What counts as passing is said
//! by whoever made the attempt ([`Again`]); nothing here knows HTTP. No output: waits are handed to a callback.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant, SystemTime};

use crate::env::Env;
use crate::error::{Error, Result};
use crate::execute::shutdown::Shutdown;

/// How a wait is cut into looks at the shutdown switch.
const LOOK: Duration = Duration::from_millis(25);

/// The variable that says how long the first wait is.
const RETRY_WAIT: &str = "XTASK_RETRY_WAIT";

/// How often, and how patiently, something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries in all, the first included; at least 1 is made.
    pub attempts: u32,
    /// The longest first wait; each further one doubles it.
    pub first: Duration,
    /// No wait that we choose is longer than this.
    pub ceiling: Duration,
    /// A server that asks for a longer wait than this is not waited for: trying earlier would only be refused again, so
    /// the failure is reported with what it asked for.
    pub patience: Duration,
}

impl Policy {
    /// For what a run depends on: five tries within about eight seconds of waiting, a minute where the server asks for it.
    pub const STANDARD: Self = Self {
        attempts: 5,
        first: Duration::from_millis(500),
        ceiling: Duration::from_secs(8),
        patience: Duration::from_mins(1),
    };

    /// For probes whose failure only means a worse plan.
    pub const ONCE: Self = Self { attempts: 1, ..Self::STANDARD };

    /// The standard one, with the longest first wait that `XTASK_RETRY_WAIT` names, if it does: `2s` where a network recovers slowly.
    ///
    /// # Errors
    /// When the value is no duration, or is longer than a minute.
    pub fn from_env(env: &Env) -> Result<Self> {
        let Some(text) = env.get(RETRY_WAIT) else { return Ok(Self::STANDARD) };
        match humantime::parse_duration(text) {
            Ok(first) if first <= Self::STANDARD.patience => {
                Ok(Self { first, ceiling: Self::STANDARD.ceiling.max(first), ..Self::STANDARD })
            }
            _ => Err(Error::usage(format!("variable {RETRY_WAIT}: `{text}` is not a duration of at most a minute"))
                .hint("write it as `500ms` or `2s`")),
        }
    }

    /// How long to wait after the `failures`-th failed try (counted from 1), or `None` to give up. `jitter` is from 0 to 1.
    ///
    /// A chosen wait lies between half and all of its step, so that parallel clients spread out; a server's wait is never
    /// shortened, only spread by up to one first step.
    #[must_use]
    pub fn pause(&self, failures: u32, again: Again, jitter: f64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let step = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.ceiling);
        let jitter = jitter.clamp(0.0, 1.0);
        match again {
            Again::Never => None,
            Again::Backoff => Some(step.mul_f64(0.5 + 0.5 * jitter)),
            Again::After(asked) if asked > self.patience => None,
            Again::After(asked) => Some(asked + self.first.mul_f64(jitter)),
        }
    }

    /// Tries `operation` until it succeeds, fails for good, or the policy gives up; each wait is told to `on_wait` first.
    ///
    /// # Errors
    /// The last failure; or `cancelled`, as soon as the run is closing.
    pub fn run<T>(
        &self,
        shutdown: &Shutdown,
        on_wait: impl Fn(&Wait<'_>),
        mut operation: impl FnMut() -> Result<T, Failed>,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            shutdown.check()?;
            let failed = match operation() {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            failures += 1;
            let Some(pause) = self.pause(failures, failed.again, random()) else {
                return Err(failed.given_up(failures, self));
            };
            on_wait(&Wait { failures, attempts: self.attempts, pause, error: &failed.error });
            sleep(pause, shutdown)?;
        }
    }
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It would fail the same way.
    Never,
    /// It may pass; the client chooses when.
    Backoff,
    /// The server said how long to wait.
    After(Duration),
}

/// A failed try.
#[derive(Debug)]
pub struct Failed {
    /// What to report if it is the last one.
    pub error: Error,
    /// Whether another can help.
    pub again: Again,
}

impl Failed {
    /// A failure that trying again cannot fix.
    #[must_use]
    pub fn for_good(error: Error) -> Self {
        Self { error, again: Again::Never }
    }

    fn given_up(self, failures: u32, policy: &Policy) -> Error {
        match self.again {
            Again::After(asked) if asked > policy.patience => {
                let hint = format!("the server asks to wait {} s; run this again after that", asked.as_secs());
                self.error.hint(hint)
            }
            Again::Backoff | Again::After(_) if failures > 1 => {
                let hint = format!("tried {failures} times; this may pass, so run it again later");
                if self.error.hint_text().is_none() { self.error.hint(hint) } else { self.error }
            }
            _ => self.error,
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::for_good(error)
    }
}

/// A wait that is about to begin.
#[derive(Debug)]
pub struct Wait<'a> {
    /// Tries that have failed so far, from 1.
    pub failures: u32,
    /// Tries in all.
    pub attempts: u32,
    /// How long it will be.
    pub pause: Duration,
    /// What the last try failed with.
    pub error: &'a Error,
}

/// Sleeps, unless the run is closing.
///
/// # Errors
/// `cancelled`, within a few hundredths of a second of the run closing.
pub fn sleep(pause: Duration, shutdown: &Shutdown) -> Result<()> {
    let deadline = Instant::now() + pause;
    loop {
        shutdown.check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// From 0 to 1. The standard library seeds its hash maps from the system's randomness; spreading waits needs no better.
fn random() -> f64 {
    let bits = std::hash::RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// Reads a `retry-after` value: seconds, or an HTTP date, which is turned into the time from `now` (RFC 9110 §10.2.3). `None` for
/// anything else.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const QUICK: Policy = Policy {
        attempts: 3,
        first: Duration::from_millis(2),
        ceiling: Duration::from_millis(5),
        patience: Duration::from_secs(1),
    };

    fn failed(again: Again) -> Failed {
        Failed { error: Error::failed("no luck"), again }
    }

    #[test]
    fn waits_double_up_to_the_ceiling_and_jitter_only_shortens_them_by_half() {
        let policy = Policy::STANDARD;
        let waits = |jitter| (1..6).map(|n| policy.pause(n, Again::Backoff, jitter)).collect::<Vec<_>>();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(waits(1.0), [ms(500), ms(1000), ms(2000), ms(4000), None]);
        assert_eq!(waits(0.0), [ms(250), ms(500), ms(1000), ms(2000), None]);
        let patient = Policy { attempts: 99, ..policy };
        assert_eq!(patient.pause(60, Again::Backoff, 1.0), Some(policy.ceiling));
    }

    #[test]
    fn a_variable_names_the_first_wait_and_nonsense_in_it_is_refused() {
        let of = |text: &str| Policy::from_env(&Env::default().with(RETRY_WAIT, text));
        assert_eq!(of("").unwrap(), Policy::STANDARD);
        assert_eq!(of("5ms").unwrap(), Policy { first: Duration::from_millis(5), ..Policy::STANDARD });
        let slow = of("20s").unwrap();
        assert_eq!(slow.pause(1, Again::Backoff, 1.0), Some(Duration::from_secs(20)));
        for nonsense in ["5", "soon", "-1s", "61s", "9999999999999999999s"] {
            assert!(of(nonsense).unwrap_err().to_string().contains(nonsense), "{nonsense}");
        }
    }

    #[test]
    fn a_servers_wait_is_never_shortened_and_one_beyond_our_patience_is_refused() {
        let after = |s| Again::After(Duration::from_secs(s));
        assert_eq!(Policy::STANDARD.pause(1, after(7), 0.0), Some(Duration::from_secs(7)));
        assert!(Policy::STANDARD.pause(1, after(7), 1.0) > Some(Duration::from_secs(7)));
        assert_eq!(Policy::STANDARD.pause(1, after(61), 0.0), None);
        assert_eq!(Policy::STANDARD.pause(1, Again::Never, 0.0), None);
        let error = QUICK.run::<()>(&Shutdown::new(), |_| (), || Err(failed(after(3600)))).unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("3600 s")), "{:?}", error.hint_text());
    }

    #[test]
    fn a_passing_failure_is_tried_again_and_each_wait_is_told() {
        let told = RefCell::new(Vec::new());
        let mut tries = 0;
        let value = QUICK.run(
            &Shutdown::new(),
            |wait| told.borrow_mut().push((wait.failures, wait.error.to_string())),
            || {
                tries += 1;
                if tries < 3 { Err(failed(Again::Backoff)) } else { Ok(tries) }
            },
        );
        assert_eq!(value.unwrap(), 3);
        assert_eq!(*told.borrow(), [(1, "no luck".to_owned()), (2, "no luck".to_owned())]);
    }

    #[test]
    fn a_permanent_failure_is_not_tried_again() {
        let tries = RefCell::new(0);
        let result = QUICK.run::<()>(
            &Shutdown::new(),
            |_| (),
            || {
                *tries.borrow_mut() += 1;
                Err(failed(Again::Never))
            },
        );
        assert_eq!((*tries.borrow(), result.unwrap_err().to_string().as_str()), (1, "no luck"));
    }

    #[test]
    fn a_wait_ends_at_once_when_the_run_is_closing() {
        let shutdown = Shutdown::new();
        let slow = Policy { first: Duration::from_hours(1), ceiling: Duration::from_hours(1), ..QUICK };
        let error = slow.run::<()>(&shutdown, |_| shutdown.close(), || Err(failed(Again::Backoff))).unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = humantime::parse_rfc3339("1994-11-06T08:49:00Z").unwrap();
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            // The obsolete forms, which a recipient must read (RFC 9110 §5.6.7).
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(37)),
            ("Sun Nov  6 08:49:37 1994", Some(37)),
            ("-1", None),
            ("soon", None),
            ("Sun, 31 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 99:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
