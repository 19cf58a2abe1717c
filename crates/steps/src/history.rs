//! The history of runs: a line for each, and one history for CI and laptops, kept in the registry. How it lies there is `history/shared.rs`'s
//! to say, what a line holds is `record::history`'s.
//!
//! A registry knows no "only if unchanged": whoever puts a tag last wins, and what another put a moment before is gone from it. So each push
//! stores its lines under a tag of its own first, a *part*, which nobody else writes. Whoever reads the history reads the parts and then the
//! common tag; whoever pushes puts the whole of that under the common tag. A part that is missing in there, because two pushes met, is read all
//! the same, and comes in with the next push, whoever's that is.
//!
//! A part goes once the common tag has its lines and it is older than `SETTLING`. By then no push can be under way that read before the
//! part was there, so that each one that still puts the common tag has the lines: from the part, or from the common tag, which it read after.

mod shared;

use std::time::{Duration, SystemTime};

use self::shared::Shared;
use crate::Session;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::name::ImageRef;
use monoship_report::record::history::{PastRun, missing};
use monoship_report::record::{Keep, RunRecord};

/// How much of the history is kept: about 10 MB.
const KEEP: Keep = Keep { count: 10_000, age: Duration::from_hours(366 * 24) };

/// How long a part stays at least. A push puts the common tag within half of this after it began to read, or leaves it to another.
const SETTLING: Duration = Duration::from_hours(1);

/// Appends a run. A history that cannot be written is a warning: the run itself went as it went.
pub fn append(session: &Session, record: &RunRecord) {
    let history = session.history();
    if let Err(error) = history.append(&PastRun::from(record)).and_then(|()| history.tidy(KEEP, session.begun)) {
        session.events.notice(Level::Warning, None, error.to_string(), Some("`cargo xtask stats` will not know this run".into()));
    }
}

/// The newest `count` runs, oldest first, for whoever goes by what is usual. A CI runner starts with none, and takes in the registry's.
///
/// # Errors
/// When the history cannot be read, here or there.
pub fn newest(session: &Session, count: usize) -> Result<Vec<PastRun>> {
    let history = session.history();
    let is_ours = |run: &PastRun| run.id == session.run.id;
    if session.env.is_ci() && session.config.history.is_some() && history.newest(2)?.iter().all(is_ours) {
        pull(session)?;
    }
    history.newest(count)
}

/// How many runs a push moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// From the registry.
    pub came: usize,
    /// Into the registry.
    pub went: usize,
}

/// Takes in the runs that the registry's history has and ours has not. Returns how many came.
///
/// # Errors
/// When there is no registry, it does not answer, or what it holds is no history.
pub fn pull(session: &Session) -> Result<usize> {
    session.history().merge(&shared::read(session, &place(session)?)?.text())
}

/// Takes in what the registry has, then puts there what it has not.
///
/// # Errors
/// As [`pull`], and when the registry cannot be written.
pub fn push(session: &Session) -> Result<Exchanged> {
    let (place, history, began) = (place(session)?, session.history(), SystemTime::now());
    let shared = shared::read(session, &place)?;
    let theirs = shared.text();
    let came = history.merge(&theirs)?;
    history.prune(KEEP, session.begun)?;
    let ours = history.lines()?;
    let news = missing(&ours, &theirs);
    if !news.is_empty() {
        shared::put_part(session, &place, &news)?;
    }
    let moved = Exchanged { came, went: news.len() };
    let whole = if missing(&ours, shared.common_text()).is_empty() {
        shared.common_digest().cloned()
    } else if began.elapsed().is_ok_and(|took| took > SETTLING / 2) {
        return Ok(moved);
    } else {
        Some(shared::put_common(session, &place, &ours)?)
    };
    if session.registry.resolve(&place)?.map(|found| found.digest) == whole {
        settle(session, &place, &shared);
    }
    Ok(moved)
}

/// Removes the parts that are old enough; the common tag has all that was read. One that stays costs a request at every reading.
fn settle(session: &Session, place: &ImageRef, shared: &Shared) {
    let settled = shared.parts_before(session.begun - SETTLING);
    if let Err(error) = shared::remove(session, place, &settled) {
        let told = format!("parts of the history that the whole has taken in cannot be removed: {error}");
        session.events.notice(Level::Info, None, told, error.hint_text().map(str::to_owned));
    }
}

fn place(session: &Session) -> Result<ImageRef> {
    session.config.history.clone().ok_or_else(|| {
        Error::usage("there is no registry to share the history through")
            .hint("set `[stats] repository` in xtask.toml, or `[images] registry` and `namespace`")
    })
}
