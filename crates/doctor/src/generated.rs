//! The files that the library wrote: is one older than the library, or newer?

use super::{Checkup, Finding};
use monoship_core::collect::Collect as _;
use monoship_init::generated::{there, version};

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Ok(home) = &checkup.home else { return Vec::new() };
    // A file that cannot be read is the finding of the check that reads it for what it says.
    let Ok(files) = there(home, &checkup.config) else { return Vec::new() };
    let ours = version();
    let mut found = Vec::new();
    for file in &files {
        let wrote = format!("{} was written by monoship {}, and this is {ours}", file.path, file.stamp.version);
        if file.stamp.version > ours {
            let fix = "`cargo update -p monoship` brings the newer one";
            found.push(Finding::warning("generated-newer", wrote, fix));
        } else if file.stamp.version < ours && file.stamp.edited {
            let fix = "`cargo xtask init --refresh` shows what is new; take the line `# monoship: …` out once the file is yours";
            found.push(Finding::note("generated-older", format!("{wrote}; it was edited since"), fix));
        } else if file.stamp.version < ours {
            found.push(Finding::warning(
                "generated-older",
                wrote,
                "`cargo xtask init --refresh` shows what is new, and writes it",
            ));
        }
    }
    if found.is_empty() && !files.is_empty() {
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).into_vec();
        found.push(Finding::good(format!("as monoship {ours} writes: {}", names.join(", "))));
    }
    found
}
