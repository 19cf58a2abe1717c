//! What a build argument may be called, and hold.

use monoship_core::error::{Error, Result};

/// The argument, and the variable, that says which time images carry.
pub(super) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Checks an argument: what is recorded in an image's provenance must be no secret.
///
/// # Errors
/// A name that is none, or that looks like a secret's; a time that is none.
pub fn argument(name: &str, value: &str) -> Result<()> {
    if name == EPOCH {
        epoch(value)?;
    }
    // By whole words: a `TOKENIZER` is none.
    let secret = ["TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"];
    let upper = name.to_ascii_uppercase();
    let is_secret = |word: &str| secret.iter().any(|secret| word.trim_end_matches('S').ends_with(secret));
    // As BuildKit's own check of a Dockerfile has it.
    let is_about_one = upper.ends_with("_FILE") || upper.ends_with("_VERSION") || upper.split('_').any(|word| word == "PUBLIC");
    if !is_about_one && (upper.contains("PRIVATE_KEY") || upper.split('_').any(is_secret)) {
        return Err(Error::usage(format!("build argument `{name}` looks like a secret"))
            .hint("build arguments are recorded in the image's provenance; mount it as a build secret: `secrets` in `[images]` or the `[[service]]`"));
    }
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Ok(());
    }
    Err(Error::usage(format!("`{name}` is not a valid build argument name")))
}

/// Checks a time that images are to carry. A builder would find it out at the end of a build, and again for every service.
pub(super) fn epoch(text: &str) -> Result<()> {
    let years = -62_167_219_200..253_402_300_800;
    if text.parse::<i64>().is_ok_and(|seconds| years.contains(&seconds)) {
        return Ok(());
    }
    Err(Error::usage(format!("{EPOCH} is `{text}`, which is no time"))
        .hint("it is in seconds since 1970, as `git log -1 --format=%ct` says it"))
}
