//! What a build argument may be called, and hold, and where it comes from.

use serde::Deserialize;

use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::sorted::SortedMap;

/// The argument, and the variable, that says which time images carry.
pub(super) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// A build argument as it is written: its value, or the variable that has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Argument {
    /// This value.
    Value(String),
    /// What a variable has, when the configuration is read.
    Variable {
        /// The variable's name.
        env: String,
        /// What it is where the variable is not set, or empty.
        default: Option<String>,
    },
}

impl TryFrom<toml::Value> for Argument {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        let wrong = |found: &toml::Value| {
            format!(
                "a build argument is a text, or `{{ env = \"NAME\" }}` for what a variable has, with a `default` or without; found {found}"
            )
        };
        let table = match value {
            toml::Value::String(text) => return Ok(Self::Value(text)),
            toml::Value::Table(table) => table,
            other => return Err(wrong(&other)),
        };
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let is_known = |(key, value): (&String, &toml::Value)| ["env", "default"].contains(&key.as_str()) && value.is_str();
        match text("env").filter(|_| table.iter().all(is_known)) {
            Some(env) => Ok(Self::Variable { env, default: text("default") }),
            None => Err(wrong(&toml::Value::Table(table))),
        }
    }
}

/// The arguments with their values. As with buildx, one whose variable is not set is not given, and the Dockerfile's default counts.
///
/// # Errors
/// As [`argument`], also of a variable's name.
pub(super) fn given(written: SortedMap<String, Argument>, env: &Env) -> Result<SortedMap<String, String>> {
    let mut given = SortedMap::new();
    for (name, written) in written {
        let value = match written {
            Argument::Value(value) => Some(value),
            Argument::Variable { env: variable, default } => {
                argument(&variable, "0")?;
                env.get(&variable).map(str::to_owned).or(default)
            }
        };
        // Its name is as wrong where nobody gives it a value.
        argument(&name, value.as_deref().unwrap_or("0"))?;
        given.extend(value.map(|value| (name, value)));
    }
    Ok(given)
}

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
