//! The clock, against the servers that a run talks to: tokens and certificates are held to it.

use std::time::{Duration, Instant, SystemTime};

use super::{Checkup, Finding};
use monoship_core::collect::Collect as _;
use monoship_core::execute::http::{Request, is_loopback};

/// Servers' own clocks and the way to them differ by less.
const TOLERATED: Duration = Duration::from_secs(30);

/// Beyond this, tokens are refused.
const TOO_FAR: Duration = Duration::from_mins(5);

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Some((difference, server)) = urls(checkup).into_iter().find_map(|url| Some((off(checkup, &url)?, url))) else {
        return vec![Finding::note(
            "clock-not-compared",
            "no server answered to compare the clock with",
            "configure a registry, or set GITHUB_TOKEN",
        )];
    };
    let what = format!("this machine's clock is {} s off {server}'s", difference.as_secs());
    let fix = "set the clock, or turn its synchronisation on (`timedatectl set-ntp true`)";
    vec![match difference {
        _ if difference > TOO_FAR => Finding::problem("clock-wrong", what, fix),
        _ if difference > TOLERATED => Finding::warning("clock-off", what, fix),
        _ => Finding::good(format!("as {server}'s")),
    }]
}

/// Where to ask: GitHub where it is used, then the registry.
fn urls(checkup: &Checkup) -> Vec<String> {
    let github = checkup.env.get("GITHUB_API_URL").map(str::to_owned);
    let github = github.or_else(|| checkup.github.as_ref().is_ok_and(Result::is_ok).then(|| "https://api.github.com".to_owned()));
    let registry = checkup.config.images.prefix.as_ref().map(|prefix| {
        let host = prefix.registry();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        format!("{}://{host}/v2/", if is_loopback(name) { "http" } else { "https" })
    });
    github.into_iter().chain(registry).into_vec()
}

/// How far the clock is off a server's; `None` where it says nothing.
fn off(checkup: &Checkup, url: &str) -> Option<Duration> {
    let began = Instant::now();
    let response = checkup.http.send(Request::new("GET", url)).ok()?;
    let theirs = httpdate::parse_http_date(response.header("date")?).ok()?;
    // Somewhere between question and answer, and cut to the second.
    let ours = SystemTime::now() - began.elapsed() / 2;
    Some(ours.duration_since(theirs).unwrap_or_else(|e| e.duration()))
}
