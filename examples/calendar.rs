//! Calendar tags beside the version's: `2026-11-28`, the day of the release's commit. `cache prune` knows them again, and lets those of
//! earlier years go.

use std::process::ExitCode;
use std::time::SystemTime;

use monoship::{App, Context, Release, Result, Tag, TagRule, Tags, stages};

fn main() -> ExitCode {
    App::new(pipeline).tags(Tags::semver().and(Calendar)).run()
}

fn pipeline(cx: &Context) -> Result<()> {
    let tree = stages::checkout(cx)?;
    let ready = stages::prepare(cx, &tree)?;
    let plan = stages::plan(cx, &ready)?;
    let base = stages::build_base(cx, &plan)?;
    let images = stages::build_services(cx, &plan, &base)?;
    let published = stages::publish(cx, images)?;
    stages::update_release(cx, &published)
}

struct Calendar;

/// Two years, in seconds.
const KEPT_SECONDS: u64 = 2 * 365 * 24 * 60 * 60;

impl TagRule for Calendar {
    fn tags(&self, release: &Release) -> Vec<String> {
        vec![release.day().to_owned()]
    }

    fn owns(&self, tag: &Tag) -> bool {
        year(tag).is_some()
    }

    fn retired(&self, tag: &Tag, now: SystemTime) -> Option<String> {
        let oldest = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs().saturating_sub(KEPT_SECONDS);
        // Mean years of 365.2425 days: a tag goes in the right year, give or take a day.
        let oldest_year = 1970 + oldest / 31_556_952;
        (year(tag)? < oldest_year).then(|| format!("it is from before {oldest_year}"))
    }
}

/// The year in a tag such as `2026-11-28`.
fn year(tag: &Tag) -> Option<u64> {
    let parts: Vec<&str> = tag.as_str().split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    (digits(year, 4) && digits(month, 2) && digits(day, 2)).then(|| year.parse().ok())?
}
