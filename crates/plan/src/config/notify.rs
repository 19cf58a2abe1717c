//! `[notify]`: who is told of what happened. Addresses and keys are never written here, only the variables that hold them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::upkeep::Age;
use monoship_core::error::{Error, Result};

/// A build slower than this many times its median is told, unless the configuration says otherwise.
const SLOWER: f64 = 2.0;

/// How long a channel may take, unless the configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What somebody may want to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A run failed.
    Failure,
    /// A build took much longer than it uses to.
    Slow,
    /// A release was published.
    Release,
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// Of what.
    pub on: Vec<Occasion>,
    /// How many times its median a build takes that is slow.
    pub slower_than: f64,
    /// The variable that holds the URL of a webhook.
    pub webhook_url: Option<String>,
    /// The variable that holds the key its messages are signed with.
    pub webhook_key: Option<String>,
    /// The variable that holds the URL of a webhook that speaks as Slack's.
    pub slack_url: Option<String>,
    /// A command that gets the message on its standard input.
    pub command: Vec<String>,
    /// The variables with secrets that the command needs; it gets no others.
    pub command_env: Vec<String>,
    /// How long each of these may take.
    pub timeout: Duration,
}

/// The section as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Written {
    pub on: Option<Vec<Occasion>>,
    pub slower_than: Option<f64>,
    pub webhook_url_env: Option<String>,
    pub webhook_key_env: Option<String>,
    pub slack_url_env: Option<String>,
    pub command: Option<Vec<String>>,
    pub command_env: Option<Vec<String>>,
    pub timeout: Option<Age>,
}

impl Written {
    pub(super) fn validate(self) -> Result<Notify> {
        let slower_than = self.slower_than.unwrap_or(SLOWER);
        if !slower_than.is_finite() || slower_than < 1.0 {
            return Err(Error::usage(format!("[notify] slower-than = {slower_than}: it must be at least 1")));
        }
        let command_env = self.command_env.unwrap_or_default().into_iter().map(|name| variable("command-env", name));
        Ok(Notify {
            on: self.on.unwrap_or_else(|| vec![Occasion::Failure, Occasion::Slow, Occasion::Release]),
            slower_than,
            webhook_url: self.webhook_url_env.map(|name| variable("webhook-url-env", name)).transpose()?,
            webhook_key: self.webhook_key_env.map(|name| variable("webhook-key-env", name)).transpose()?,
            slack_url: self.slack_url_env.map(|name| variable("slack-url-env", name)).transpose()?,
            command: self.command.unwrap_or_default(),
            command_env: command_env.collect::<Result<_>>()?,
            timeout: self.timeout.map_or(TIMEOUT, |age| age.0),
        })
    }
}

/// The name of a variable. The value is not quoted: who writes the secret itself here must not find it in a log.
fn variable(key: &str, name: String) -> Result<String> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(Error::usage(format!("[notify] {key} is not the name of a variable"))
            .hint("write the name of the environment variable that holds the secret, never the secret"));
    }
    if name.starts_with("XTASK_") {
        return Err(Error::usage(format!("[notify] {key} = \"{name}\": variables that begin so are keys of this file"))
            .hint("choose another name, such as BUILD_WEBHOOK_URL"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_place_of_a_variables_name_is_refused_and_not_quoted() {
        for secret in ["https://hooks.example.org/T0/B0/abc", "s3cr3t-key", ""] {
            let written = Written { slack_url_env: Some(secret.to_owned()), ..Written::default() };
            let error = written.validate().unwrap_err();
            assert!(error.to_string().contains("slack-url-env is not the name of a variable"), "{error}");
            assert!(secret.is_empty() || !format!("{error} {:?}", error.hint_text()).contains(secret));
        }
        let ours = Written { webhook_url_env: Some("XTASK_HOOK".to_owned()), ..Written::default() };
        assert!(ours.validate().unwrap_err().to_string().contains("keys of this file"));
        let list = Written { command_env: Some(vec!["PAGER_TOKEN".to_owned(), "s3cr3t-key".to_owned()]), ..Written::default() };
        let error = list.validate().unwrap_err().to_string();
        assert!(error.contains("command-env is not the name of a variable") && !error.contains("s3cr3t"), "{error}");
        assert!(Written { slower_than: Some(0.5), ..Written::default() }.validate().is_err());
    }
}
