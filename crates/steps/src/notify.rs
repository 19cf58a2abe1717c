//! Telling people and machines what happened, as `[notify]` asks: a signed JSON message to a webhook, a text to one that speaks as
//! Slack's, or a command. A message that cannot be delivered is a warning, and no warning shows an address, a key, or what a server
//! said to them.

use std::time::Duration;

use ring::hmac;
use serde::Serialize;

use crate::{Session, history};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Level, Status, Task};
use monoship_core::execute::http::{Http, Request, Trouble};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::hex;
use monoship_core::secret::{Secret, mask, mask_json};
use monoship_core::text::{self, counted};
use monoship_plan::config::{Notify, Occasion};
use monoship_publish::Published;
use monoship_report::record::history::PastTask;
use monoship_report::record::rolling::usual;
use monoship_report::record::{Outcome, RunId, RunRecord};

/// The version of the message: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// How many builds a median is taken over, and how many runs back it is looked for.
const WINDOW: usize = 20;
const RUNS: usize = 500;

/// What a run came to, as far as it is told.
#[derive(Clone, Copy, Default)]
pub struct RunSummary<'a> {
    /// The run.
    pub record: Option<&'a RunRecord>,
    /// The tag that was released, and what was published under it.
    pub released: Option<(&'a str, &'a [Published])>,
}

/// What a run came to, for somebody who is told of it. As JSON it is what `[notify] webhook-url` sends.
///
/// ```no_run
/// # use monoship_steps as monoship;
/// fn line(message: &monoship::Message) -> String {
///     format!("{} {}", if message.is_failure() { "✗" } else { "✓" }, message.text())
/// }
/// ```
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Message {
    version: u32,
    occasion: Occasion,
    /// The tag whose images were published; of a failure too, where something after them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<String>,
    /// All of it in a line, for people.
    text: String,
    run: RunId,
    ci: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// What it is about: services, gates, or images with their digest; each in a line.
    about: Vec<String>,
}

impl Message {
    /// That a run failed: for tests of who is told.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let message = monoship::Message::failure("build failed", ["api at RUN pnpm build"]);
    /// assert!(message.is_failure() && message.about().len() == 1);
    /// ```
    #[must_use]
    pub fn failure<'a>(text: &str, about: impl IntoIterator<Item = &'a str>) -> Self {
        Self::made(Occasion::Failure, text, about)
    }

    /// That a release was published: for tests of who is told.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let message = monoship::Message::release("v1.2.3", ["ghcr.io/acme/shop/api:v1.2.3 sha256:8b1f0c9"]);
    /// assert!(message.is_release() && message.text() == "released v1.2.3: 1 image");
    /// ```
    #[must_use]
    pub fn release<'a>(tag: &str, images: impl IntoIterator<Item = &'a str>) -> Self {
        let message = Self::made(Occasion::Release, "", images);
        Self { text: of_release(tag, message.about.len()), released: Some(tag.to_owned()), ..message }
    }

    /// That services took much longer than they use to: for tests of who is told.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// let message = monoship::Message::slow("slow: api took 40 s", ["api took 40 s"]);
    /// assert!(!message.is_failure() && !message.is_release());
    /// ```
    #[must_use]
    pub fn slow<'a>(text: &str, about: impl IntoIterator<Item = &'a str>) -> Self {
        Self::made(Occasion::Slow, text, about)
    }

    /// A message of no run.
    fn made<'a>(occasion: Occasion, text: &str, about: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            version: VERSION,
            occasion,
            released: None,
            text: text.to_owned(),
            run: "test".parse().expect("letters are an id"),
            ci: false,
            command: None,
            took_ms: None,
            commit: None,
            reference: None,
            about: about.into_iter().map(str::to_owned).into_vec(),
        }
    }

    /// All of it in a line.
    ///
    /// ```
    /// # fn told(message: &monoship_steps::Message) {
    /// println!("{}", message.text());
    /// # }
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is about, a line each: services with the step that failed, gates, or images with their digest.
    ///
    /// ```
    /// # fn told(message: &monoship_steps::Message) {
    /// let services = message.about().join(", ");
    /// # }
    /// ```
    #[must_use]
    pub fn about(&self) -> &[String] {
        &self.about
    }

    /// True where the run failed.
    ///
    /// ```
    /// # fn told(message: &monoship_steps::Message) {
    /// let channel = if message.is_failure() { "#alarm" } else { "#builds" };
    /// # }
    /// ```
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.occasion == Occasion::Failure
    }

    /// True where a release was published, also if a stage after that failed.
    ///
    /// ```
    /// # fn told(message: &monoship_steps::Message) {
    /// let loud = message.is_release();
    /// # }
    /// ```
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.released.is_some()
    }

    /// True where `[notify] on` asks for it.
    fn is_wanted(&self, on: &[Occasion]) -> bool {
        on.contains(&self.occasion) || self.is_release() && on.contains(&Occasion::Release)
    }

    /// The message as JSON.
    ///
    /// ```
    /// # fn told(message: &monoship_steps::Message) {
    /// let body = message.json();
    /// # }
    /// ```
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }
}

/// Tells of a result, whatever it is, by the configuration of what was built.
///
/// `others` says that somebody else wants the messages too; they are returned.
pub fn after<'a, T>(
    session: &Session,
    others: bool,
    result: &'a Result<T>,
    seen: impl FnOnce(&'a T) -> RunSummary<'a>,
) -> Vec<Message> {
    let notify = &session.config.notify;
    let channels = channels(notify, session);
    if channels.is_empty() && !others {
        return Vec::new();
    }
    let messages = match result {
        Err(error) if error.is_cancelled() => Vec::new(),
        Err(error) => vec![message(session, None, Occasion::Failure, &error.to_string(), Vec::new())],
        Ok(value) => messages(session, seen(value)),
    };
    let wanted: Vec<&Message> = messages.iter().filter(|message| message.is_wanted(&notify.on)).into_vec();
    deliver(session, &channels, &wanted);
    messages
}

fn messages(session: &Session, summary: RunSummary<'_>) -> Vec<Message> {
    let Some(record) = summary.record else { return Vec::new() };
    let released = summary.released.filter(|(_, published)| !published.is_empty());
    let images: Vec<String> = released.iter().flat_map(|(tag, published)| published_images(tag, published)).into_vec();
    let tag = released.map(|(tag, _)| tag.to_owned());
    let told = |occasion, text: &str, about| message(session, Some(record), occasion, text, about);
    match (record.outcome, tag) {
        (Outcome::Cancelled, _) => Vec::new(),
        (Outcome::Failed, None) => vec![told(Occasion::Failure, &format!("{} failed", record.command), troubles(record))],
        // One message: two of one run would contradict each other.
        (Outcome::Failed, Some(tag)) => {
            let text = format!("{} failed once its images were published", record.command);
            let message = told(Occasion::Failure, &text, [troubles(record), images].concat());
            vec![Message { released: Some(tag), ..message }]
        }
        (Outcome::Succeeded, tag) => {
            let released = tag.map(|tag| {
                let message = told(Occasion::Release, &of_release(&tag, images.len()), images);
                Message { released: Some(tag), ..message }
            });
            slow(session, record).into_iter().chain(released).into_vec()
        }
    }
}

fn of_release(tag: &str, images: usize) -> String {
    format!("released {tag}: {}", counted(images, "image"))
}

fn published_images(tag: &str, published: &[Published]) -> Vec<String> {
    published.iter().map(|image| format!("{}:{tag} {}", image.repository, image.digest)).into_vec()
}

/// What failed: tasks with the step, a team's stages with what they said, gates with the bound.
fn troubles(record: &RunRecord) -> Vec<String> {
    let failed = record.tasks.iter().filter(|task| task.status == Status::Failed);
    let tasks = failed.map(|task| match &task.failure {
        Some(failure) => format!("{} at {}", task.task, failure.step.as_deref().unwrap_or("the end")),
        None if matches!(task.task, Task::Stage(_)) => format!("{}: {}", task.task, task.why),
        None => task.task.to_string(),
    });
    let gates = record.gates.iter().filter(|gate| gate.fails).map(|gate| format!("gate {}: {}", gate.gate, gate.text));
    tasks.chain(gates).into_vec()
}

/// The builds that took much longer than they use to.
fn slow(session: &Session, record: &RunRecord) -> Option<Message> {
    let factor = session.config.notify.slower_than;
    let past = history::newest(session, RUNS).unwrap_or_default();
    let past: Vec<_> = past.into_iter().filter(|run| run.id != record.id).into_vec();
    let built = record.tasks.iter().filter(|task| task.status == Status::Built);
    let about = built.filter_map(|task| {
        let usual = usual(&past, &task.task, WINDOW, PastTask::build_time)?;
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let times = task.took_ms as f64 / usual.median.max(1) as f64;
        let median = text::duration(Duration::from_millis(usual.median));
        let told = || format!("{} took {}, {times:.1} times its median of {median}", task.task, text::duration(task.took()));
        (times > factor).then(told)
    });
    let about: Vec<String> = about.into_vec();
    (!about.is_empty()).then(|| message(session, Some(record), Occasion::Slow, &format!("slow: {}", about.join("; ")), about))
}

/// A message. What it quotes may hold secrets, and whoever is told, in Rust too, is another party.
fn message(session: &Session, record: Option<&RunRecord>, occasion: Occasion, text: &str, about: Vec<String>) -> Message {
    Message {
        version: VERSION,
        occasion,
        released: None,
        text: mask(text).into_owned(),
        run: session.run.id.clone(),
        ci: session.env.is_ci(),
        command: record.map(|record| record.command.clone()),
        took_ms: record.map(|record| record.took_ms),
        commit: record.and_then(|record| record.commit.clone()),
        reference: record.and_then(|record| record.reference.clone()),
        about: about.into_iter().map(|line| mask(&line).into_owned()).into_vec(),
    }
}

/// Somebody who is told.
enum Channel {
    Webhook { url: Secret, key: Option<Secret> },
    Slack { url: Secret },
    Command(Invocation),
}

impl Channel {
    /// How it is called in a warning.
    fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "Slack webhook",
            Self::Command(_) => "command",
        }
    }
}

/// The channels whose variables are set here: a laptop has none of CI's, and tells nobody.
fn channels(notify: &Notify, session: &Session) -> Vec<Channel> {
    let value = |name: &Option<String>| name.as_ref().and_then(|name| session.env.get(name)).map(Secret::new);
    let mut channels = Vec::new();
    if let Some(url) = value(&notify.webhook_url) {
        channels.push(Channel::Webhook { url, key: value(&notify.webhook_key) });
    }
    channels.extend(value(&notify.slack_url).map(|url| Channel::Slack { url }));
    if let Some((program, args)) = notify.command.split_first() {
        let allowed: Vec<&str> = notify.command_env.iter().map(String::as_str).into_vec();
        channels.push(Channel::Command(Invocation::new(program).args(args).dir(&session.home).may_have(&allowed)));
    }
    channels
}

/// Every message to every channel, all at once.
fn deliver(session: &Session, channels: &[Channel], messages: &[&Message]) {
    std::thread::scope(|scope| {
        for channel in channels {
            scope.spawn(move || {
                for message in messages {
                    if let Err(why) = send(session, channel, message) {
                        let told = format!("the {} could not be told: {why}", channel.name());
                        session.events.notice(Level::Warning, None, told, None);
                    }
                }
            });
        }
    });
}

fn send(session: &Session, channel: &Channel, message: &Message) -> Result<(), String> {
    // With `--fail-fast` the run is being stopped when its failure is told.
    let shutdown = Shutdown::new();
    let (http, limit) = (session.http.under(&shutdown), session.config.notify.timeout);
    let mut json = serde_json::to_value(message).map_err(|error| error.to_string())?;
    mask_json(&mut json);
    let json = json.to_string().into_bytes();
    match channel {
        Channel::Webhook { url, key } => {
            let mut request = post(url);
            if let Some(key) = key {
                request =
                    request.header("x-hub-signature-256", format!("sha256={}", hmac_sha256(key.expose().as_bytes(), &json)));
            }
            answered(&http, request.body(json).whole(limit))
        }
        Channel::Slack { url } => {
            let body = serde_json::json!({ "text": mask(&slack_text(message)) }).to_string();
            answered(&http, post(url).body(body.into_bytes()).whole(limit))
        }
        Channel::Command(command) => {
            let output = command.clone().stdin(json).timeout(limit).run(&shutdown);
            match output {
                Ok(output) if output.success() => Ok(()),
                Ok(output) => Err(output.code.map_or("a signal ended it".to_owned(), |code| format!("it exited with {code}"))),
                Err(error) => Err(error.to_string()),
            }
        }
    }
}

fn post(url: &Secret) -> Request {
    Request::new("POST", url.expose()).header("content-type", "application/json").max_body(1 << 20)
}

/// The answer's status, or the kind of trouble: the client's own words name the address.
fn answered(http: &Http, request: Request) -> Result<(), String> {
    match http.send(request) {
        Ok(response) if (200..300).contains(&response.status) => Ok(()),
        Ok(response) => Err(format!("it answered with status {}", response.status)),
        Err(error) => Err(match error.trouble {
            Trouble::Malformed => "its variable does not hold a URL",
            Trouble::Unreachable => "it cannot be reached",
            Trouble::Tls => "its certificate is not trusted, or it does not speak TLS",
            Trouble::Timeout => "it did not answer in time",
            Trouble::Broken => "the connection broke",
            Trouble::TooLarge | Trouble::Cancelled => "unexpected response",
        }
        .to_owned()),
    }
}

/// As Slack wants it: `&`, `<` and `>` escaped, or they would make links and mentions.
fn slack_text(message: &Message) -> String {
    let lines: Vec<String> =
        std::iter::once(message.text.clone()).chain(message.about.iter().map(|line| format!("• {line}"))).into_vec();
    lines.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// HMAC-SHA-256 in hexadecimal digits (RFC 2104).
fn hmac_sha256(key: &[u8], text: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::event::Stage;
    use monoship_report::record::TaskRecord;

    #[test]
    fn who_is_told_of_a_failure_learns_which_stage_failed_and_what_it_said() {
        let stage = Task::Stage(Stage { stage: "canary".parse().unwrap(), service: None });
        let failed = |task, why: &str| TaskRecord { why: why.to_owned(), ..TaskRecord::new(task, Status::Failed) };
        let id = "20260101T000000000-abcd".parse().unwrap();
        let mut record = RunRecord::new(id, std::time::SystemTime::UNIX_EPOCH, "release v1.0.0");
        record.tasks = vec![failed(stage, "it answers nobody"), failed(Task::Base, "never built here")];
        assert_eq!(troubles(&record), ["canary: it answers nobody", "base"]);
    }

    #[test]
    fn messages_are_signed_as_the_standards_test_vectors_are() {
        // RFC 4231, test cases 2 and 6.
        let short = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(short, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }
}
