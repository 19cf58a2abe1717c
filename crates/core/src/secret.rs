//! Secrets: a value that cannot be shown by accident, and the one mask that everything passes on its way out of the process. What is
//! masked is what was learnt: each [`Secret`] that was made, and each variable of the environment that holds one. How a secret may
//! look by then (base64, percent signs, escapes) is in `secret/forms.rs`; what gives away one that nobody told us of is in
//! `secret/shapes.rs`. Nothing is ever forgotten: a secret of an hour ago still opens doors.

mod forms;
mod shapes;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Deserializer};

use crate::env::Env;
use crate::sorted::Order as _;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// From this length on any text can be masked without hiding ordinary words; shorter ones need characters of two kinds.
const LONG: usize = 8;
/// Shorter text is never masked: it would stand in every line.
const SHORTEST: usize = 4;

/// A password, token or address that only its holder may know. It shows as `***` everywhere and cannot be serialised; only
/// [`Secret::expose`] gives it out. Making one teaches the [`mask`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        learn(&text);
        Self(text)
    }

    /// The secret itself, for the header or the variable that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Everything that was learnt, as an index by the first two bytes: a line of a log is looked through once, however many secrets there are.
struct Known {
    /// Secrets as they are, so that none is learnt twice, and for what a child may have.
    raw: HashSet<String>,
    patterns: Vec<Pattern>,
    /// One bit for each pair of bytes: whether a pattern begins with it. Most places of a text are passed by this alone.
    begins: Box<[u64; 1 << 10]>,
    /// The patterns that begin with a pair of bytes, longest first.
    by_pair: HashMap<usize, Vec<usize>>,
}

struct Pattern {
    text: Vec<u8>,
    shape: Option<shapes::Shape>,
}

static KNOWN: RwLock<Option<Known>> = RwLock::new(None);

impl Known {
    fn new() -> Self {
        let begins = Box::new([0; 1 << 10]);
        let mut known = Self { raw: HashSet::new(), patterns: Vec::new(), begins, by_pair: HashMap::new() };
        for (start, shape) in shapes::ALL {
            known.add(start.as_bytes().to_vec(), Some(*shape));
        }
        known
    }

    fn add(&mut self, text: Vec<u8>, shape: Option<shapes::Shape>) {
        let at = pair(&text, 0);
        self.begins[at >> 6] |= 1 << (at & 63);
        let number = self.patterns.len();
        self.patterns.push(Pattern { text, shape });
        let Self { patterns, by_pair, .. } = self;
        let all = by_pair.entry(at).or_default();
        all.push(number);
        all.order_by_key(|one| std::cmp::Reverse(patterns[*one].text.len()));
    }

    /// The next place at or after `at` that is to be masked.
    fn next(&self, text: &[u8], mut at: usize) -> Option<Range<usize>> {
        while at + 1 < text.len() {
            let pair = pair(text, at);
            if self.begins[pair >> 6] & (1 << (pair & 63)) != 0
                && let Some(range) = self.found(text, at, pair)
            {
                return Some(range);
            }
            at += 1;
        }
        None
    }

    fn found(&self, text: &[u8], at: usize, pair: usize) -> Option<Range<usize>> {
        let candidates = self.by_pair.get(&pair)?.iter().map(|one| &self.patterns[*one]);
        let mut here = candidates.filter(|pattern| text[at..].starts_with(&pattern.text));
        here.find_map(|pattern| match pattern.shape {
            None => Some(at..at + pattern.text.len()),
            Some(shape) => shape.range(text, at),
        })
    }
}

fn pair(text: &[u8], at: usize) -> usize {
    usize::from(text[at]) << 8 | usize::from(text[at + 1])
}

/// True of text that can be told from ordinary words.
fn is_telling(text: &str) -> bool {
    let kinds: [fn(char) -> bool; 4] =
        [|c| c.is_lowercase(), |c| c.is_uppercase(), |c| c.is_ascii_digit(), |c| !c.is_alphanumeric()];
    let two_kinds = || kinds.iter().filter(|kind| text.chars().any(**kind)).count() > 1;
    text.len() >= LONG || (text.len() >= SHORTEST && two_kinds())
}

/// Remembers a secret, in every form in which it may be seen from now on.
pub fn learn(text: &str) {
    let text = text.trim();
    let mut open = vec![text.to_owned()];
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_with(Known::new);
    while let Some(secret) = open.pop() {
        if !is_telling(&secret) || !known.raw.insert(secret.clone()) {
            continue;
        }
        open.extend(forms::parts(&secret));
        for form in forms::all(&secret).into_iter().filter(|form| form.len() >= SHORTEST) {
            known.add(form.into_bytes(), None);
        }
    }
}

/// Remembers what the environment holds: variables whose name says that they are secret, and passwords in the addresses of others.
pub fn learn_environment(env: &Env) {
    for (name, value) in env.vars() {
        if is_secret(name, value) {
            learn(value);
        } else {
            for password in forms::password_of_url(value) {
                learn(&password);
            }
        }
    }
}

/// Text with every secret in it replaced by `***`. Everything that is shown, written or sent passes here.
#[must_use]
pub fn mask(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = known.as_ref() else {
        drop(known);
        // The first text of the process: the shapes are not laid out yet.
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Known::new);
        return Cow::Owned(mask(text).into_owned());
    };
    let mut masked = String::new();
    let mut copied = 0;
    while let Some(range) = known.next(text.as_bytes(), copied) {
        masked.push_str(&text[copied..range.start]);
        masked.push_str(MASK);
        copied = range.end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
}

/// The same, in place.
pub fn mask_in(text: &mut String) {
    if let Cow::Owned(masked) = mask(text) {
        *text = masked;
    }
}

/// Masks every string of a JSON value, names of members included: the text stays JSON whatever a secret looks like.
pub fn mask_json(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => mask_in(text),
        serde_json::Value::Array(all) => all.iter_mut().for_each(mask_json),
        serde_json::Value::Object(members) => {
            members.values_mut().for_each(mask_json);
            if members.keys().any(|name| matches!(mask(name), Cow::Owned(_))) {
                let all = std::mem::take(members);
                members.extend(all.into_iter().map(|(name, value)| (mask(&name).into_owned(), value)));
            }
        }
        _ => {}
    }
}

/// True of a variable that no child gets unless it is named to it: its name says that it is secret, or its value is a secret by now.
#[must_use]
pub fn is_withheld(name: &str, value: &str) -> bool {
    // What a child cannot run without stays, whatever somebody chose for a password.
    let needed = ["PATH", "HOME", "PWD", "TMPDIR", "USER", "LOGNAME", "SHELL", "LANG", "TERM"];
    if needed.contains(&name) || name.to_ascii_uppercase().ends_with("_PROXY") {
        return false;
    }
    if is_secret(name, value) {
        return true;
    }
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = known.as_ref() else { return false };
    let value = value.trim();
    known.raw.contains(value) || known.raw.iter().any(|secret| secret.len() >= 2 * LONG && value.contains(secret.as_str()))
}

/// True of a variable whose name says that its value is secret.
fn is_secret(name: &str, value: &str) -> bool {
    const SAYS: [&str; 14] = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "APIKEY",
        "API_KEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
        "ACCOUNT_KEY",
        "AUTH_CONFIG",
        "WEBHOOK",
        "COOKIE",
    ];
    const DENIES: [&str; 12] = [
        "_FILE",
        "_PATH",
        "_DIR",
        "_SOCK",
        "_HELPER",
        "_COUNT",
        "_NAME",
        "_ID",
        "_TYPE",
        "_EXPIRES",
        "_EXPIRATION",
        "PUBLIC_KEY",
    ];
    let name = name.to_ascii_uppercase();
    if name.starts_with("GIT_CONFIG_") {
        return name.starts_with("GIT_CONFIG_VALUE_") && value.to_ascii_lowercase().contains("authorization:");
    }
    if DENIES.iter().any(|end| name.ends_with(end)) || (name.ends_with("_URL") && !name.contains("WEBHOOK")) {
        return false;
    }
    let says = SAYS.iter().any(|word| name.contains(word)) || name.ends_with("_KEY") || name.ends_with("_PAT");
    // A file's name, for those who hand secrets over as files.
    says && !((value.starts_with('/') || value.starts_with("./")) && !value.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests;
