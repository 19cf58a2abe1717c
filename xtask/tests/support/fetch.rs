//! Getting what tests need from others' registries, by their own clients. One that stalls is asked again, and says so as it happens: a test
//! that waits for a download is not to look like one that hangs.

use std::io::Write as _;
use std::time::Duration;

use monoship_core::error::Result;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

/// How often one download is tried.
const TRIES: u32 = 4;
/// How long a client may take each time; all that is fetched is a few seconds' worth.
const LIMIT: Duration = Duration::from_mins(3);

/// Runs a client that fetches `what` until it has it.
#[track_caller]
pub fn fetch(what: &str, client: impl Fn() -> Invocation) {
    patiently(what, || client().timeout(LIMIT).read(&Shutdown::new()).map(drop));
}

/// The same of something that bounds its own time.
#[track_caller]
pub fn patiently(what: &str, attempt: impl Fn() -> Result<()>) {
    say(&format!("fetching {what}"));
    for tried in 1..=TRIES {
        match attempt() {
            Ok(()) => return,
            Err(error) if tried < TRIES => say(&format!("fetching {what} again: {error}")),
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// On the real standard error: `eprintln!` shows nothing before the test has ended.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
