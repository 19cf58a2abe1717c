//! The repository and its configuration: are we in a pnpm workspace, and can `xtask.toml` be used?

use super::{Checkup, Finding, Severity};

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let mut found = Vec::new();
    match &checkup.home {
        Err(error) => found.push(Finding::error(Severity::Problem, "not-in-a-workspace", error, "run it in one")),
        Ok(_) if checkup.config_error.is_some() => {}
        Ok(home) => {
            let file = if home.join("xtask.toml").is_file() { "xtask.toml can be used" } else { "no xtask.toml: the defaults" };
            let images = checkup.config.images.prefix.as_ref().map_or_else(
                || format!("local/{}/<service>", checkup.config.images.local.as_deref().unwrap_or_default()),
                |prefix| format!("{prefix}/<service>"),
            );
            found.push(Finding::good(format!("{file}; images are called {images}")));
        }
    }
    if let Some(error) = &checkup.config_error {
        found.push(Finding::error(Severity::Problem, "configuration-wrong", error, "docs/configuration.md has every key"));
    }
    found
}
