//! Talking to the Actions runner through files and variables: outputs, the job summary, git's credentials. What is said comes from
//! callers; what is said in log lines is in `report::commands`.
//!
//! Source: docs.github.com "workflow commands for GitHub Actions".

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::secret::{Secret, mask};

/// What a step's summary may have, in bytes; more is refused as a whole.
pub const SUMMARY_LIMIT: usize = 1 << 20;

/// The runner, where there is one.
#[derive(Debug, Clone, Default)]
pub struct Runner {
    on: bool,
    output: Option<PathBuf>,
    summary: Option<PathBuf>,
}

impl Runner {
    /// The runner of this environment; off outside Actions.
    #[must_use]
    pub fn from_env(env: &Env) -> Self {
        let file = |name: &str| env.get(name).map(|path| env.cwd.join(path));
        Self { on: env.flag("GITHUB_ACTIONS"), output: file("GITHUB_OUTPUT"), summary: file("GITHUB_STEP_SUMMARY") }
    }

    /// True in Actions: commands are read from our output there, and are noise elsewhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Sets a step output. The value may have any lines. Does nothing where the runner takes no outputs.
    ///
    /// # Errors
    /// When the runner's file cannot be written.
    ///
    /// # Panics
    /// For a name that is not one: names are ours.
    pub fn set_output(&self, name: &str, value: &str) -> Result<()> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(!name.is_empty() && name.chars().all(word), "`{name}` is not the name of an output");
        let Some(file) = &self.output else { return Ok(()) };
        let value = mask(value);
        append(file, &output_entry(name, &value, &delimiter(&value)))
    }

    /// Adds Markdown to the job summary, cut at a line where it would pass the limit. Does nothing where the runner takes none.
    ///
    /// # Errors
    /// When the runner's file cannot be written.
    pub fn add_summary(&self, markdown: &str) -> Result<()> {
        let Some(file) = &self.summary else { return Ok(()) };
        let there = std::fs::metadata(file).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
        append(file, &fit(&mask(markdown), SUMMARY_LIMIT.saturating_sub(there)))
    }
}

fn append(file: &Path, text: &str) -> Result<()> {
    let opened = std::fs::File::options().create(true).append(true).open(file);
    let mut opened = opened.map_err(|e| Error::io("open", file, e))?;
    opened.write_all(text.as_bytes()).map_err(|e| Error::io("write", file, e))
}

/// A line that nobody who wrote `value` can have guessed: without that, a value could end itself and set other outputs.
fn delimiter(value: &str) -> String {
    loop {
        let random = || RandomState::new().hash_one(0_u8);
        let delimiter = format!("xtask_{:016x}{:016x}", random(), random());
        if !value.contains(&delimiter) {
            return delimiter;
        }
    }
}

fn output_entry(name: &str, value: &str, delimiter: &str) -> String {
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// `markdown`, or as many of its first lines as fit into `room` bytes with a line that says so.
fn fit(markdown: &str, room: usize) -> String {
    const CUT: &str = "\n\n*The rest does not fit into a summary.*\n";
    let whole = if markdown.ends_with('\n') { markdown.to_owned() } else { format!("{markdown}\n") };
    if whole.len() <= room {
        return whole;
    }
    let Some(room) = room.checked_sub(CUT.len()) else { return String::new() };
    let mut kept = 0;
    for line in whole.split_inclusive('\n') {
        if kept + line.len() > room {
            break;
        }
        kept += line.len();
    }
    format!("{}{CUT}", &whole[..kept])
}

/// Variables that let git fetch from this repository over https without the token in an argument list: for a checkout that kept no
/// credentials. Empty without a token or outside Actions. All are secrets to whoever shows a command, though only the last one is one.
#[must_use]
pub fn git_credentials(env: &Env) -> Vec<(String, Secret)> {
    use base64::Engine as _;
    let token = env.get("GH_TOKEN").or_else(|| env.get("GITHUB_TOKEN"));
    let (true, Some(token), Some(server)) = (env.flag("GITHUB_ACTIONS"), token, env.get("GITHUB_SERVER_URL")) else {
        return Vec::new();
    };
    if !server.starts_with("https://") {
        return Vec::new();
    }
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
    // What the caller's own environment configures stays in force.
    let count: usize = env.get("GIT_CONFIG_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
    let key = format!("http.{}/.extraheader", server.trim_end_matches('/'));
    vec![
        ("GIT_CONFIG_COUNT".to_owned(), Secret::new((count + 1).to_string())),
        (format!("GIT_CONFIG_KEY_{count}"), Secret::new(key)),
        (format!("GIT_CONFIG_VALUE_{count}"), Secret::new(format!("AUTHORIZATION: basic {basic}"))),
    ]
}

#[cfg(test)]
mod tests;
