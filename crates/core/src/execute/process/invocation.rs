//! A command line as a value: what is run and what is displayed are this one. Nothing is started here.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::collect::Collect as _;
use crate::secret::{Secret, mask};

/// A command line that has not been run: what `--dry-run` prints and what [`Invocation::run`] executes are this one value.
///
/// A child gets our environment less what is secret in it ([`is_withheld`](crate::secret::is_withheld)); what it needs of that is named to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    /// How many of the first arguments every call of the program has.
    pub(super) preset: usize,
    pub(super) env: Vec<(OsString, Variable)>,
    /// What counts as our environment beside what is: a test's variables.
    pub(super) beside: Vec<(OsString, OsString)>,
    /// Secrets of our environment that it may have, by name; `AWS_*` means all that begin so.
    pub(super) allowed: Vec<String>,
    /// Where set, it gets these variables of our environment and no others.
    pub(super) only: Option<Vec<&'static str>>,
    pub(super) dir: Option<PathBuf>,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) timeout: Option<Duration>,
}

/// What becomes of a variable in a child.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Set(OsString),
    /// Set, and shown as `***`.
    Secret(Secret),
    /// Set, and shown as what a shell would take it from; without a value only shown.
    Taken {
        shown: String,
        value: Option<Secret>,
    },
    Removed,
}

impl Variable {
    pub(super) fn value(&self) -> Option<&OsStr> {
        match self {
            Self::Set(value) => Some(value),
            Self::Secret(secret) => Some(OsStr::new(secret.expose())),
            Self::Taken { value, .. } => value.as_ref().map(|secret| OsStr::new(secret.expose())),
            Self::Removed => None,
        }
    }
}

impl Invocation {
    /// A command without arguments; `program` is looked up on the child's PATH unless it has a slash.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            preset: 0,
            env: Vec::new(),
            beside: Vec::new(),
            allowed: Vec::new(),
            only: None,
            dir: None,
            stdin: None,
            timeout: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable for the child.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Variable::Set(value.into())));
        self
    }

    /// Sets a variable that holds a secret: it shows as `***`.
    #[must_use]
    pub fn env_secret(mut self, name: impl Into<OsString>, value: Secret) -> Self {
        self.env.push((name.into(), Variable::Secret(value)));
        self
    }

    /// Takes these variables for ours, in place of what our environment has by their names: secret ones are withheld like all of ours.
    #[must_use]
    pub fn beside(mut self, variables: &[(String, String)]) -> Self {
        self.beside = variables.iter().map(|(name, value)| (name.into(), value.into())).into_vec();
        self
    }

    /// Lets the child have these of our own secret variables, where we have them; a name that ends in `*` means all that begin so.
    #[must_use]
    pub fn may_have(mut self, names: &[&str]) -> Self {
        self.allowed.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Lets the child have these variables of ours and no others, beside those that are set.
    #[must_use]
    pub fn only(mut self, names: &[&'static str]) -> Self {
        self.only = Some(names.to_vec());
        self
    }

    /// Sets a variable for the child whose value is neither displayed nor in any debug output: `command`, which a shell takes it from, is
    /// displayed in its place. Without a value nothing is set: the invocation is only to be shown.
    #[must_use]
    pub fn secret_env(mut self, name: impl Into<OsString>, command: &Self, value: Option<Secret>) -> Self {
        // Quotes within `$(…)` stand for themselves, whatever is around it.
        self.env.push((name.into(), Variable::Taken { shown: format!("\"$({command})\""), value }));
        self
    }

    /// Takes a variable away from the child.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Variable::Removed));
        self
    }

    /// Runs in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Feeds `bytes` to the child's standard input; without this it reads end-of-file.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Kills the child and fails once `limit` has passed.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The arguments, for tests and for `--dry-run --json`.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.args.iter().map(OsString::as_os_str)
    }

    /// The program, as given.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }
}

/// As it is displayed: nothing else of it may be shown.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line that can be pasted into a POSIX shell, variables first; in the place of secrets stands `***`. The folder is not part of it.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            match value {
                Variable::Set(value) => write!(f, "{}={} ", name.to_string_lossy(), mask(&quoted(value)))?,
                Variable::Secret(secret) => write!(f, "{}={secret} ", name.to_string_lossy())?,
                Variable::Taken { shown, .. } => write!(f, "{}={shown} ", name.to_string_lossy())?,
                Variable::Removed => {}
            }
        }
        f.write_str(&mask(&words(&self.program, &self.args)))
    }
}

impl Invocation {
    /// The arguments so far are those of every call of the program: an error need not name them.
    #[must_use]
    pub fn preset(self) -> Self {
        Self { preset: self.args.len(), ..self }
    }

    /// As an error names it: the program by its name, whichever file that is, and what is asked of it. Logs and `--dry-run` have all of it.
    #[must_use]
    pub fn brief(&self) -> String {
        let is_absolute = Path::new(&self.program).is_absolute();
        let name = Path::new(&self.program).file_name().filter(|_| is_absolute);
        mask(&words(name.unwrap_or(&self.program), &self.args[self.preset..])).into_owned()
    }
}

fn words(program: &OsStr, args: &[OsString]) -> String {
    let words: Vec<String> = std::iter::once(program).chain(args.iter().map(|arg| &**arg)).map(quoted).into_vec();
    words.join(" ")
}

/// A word as a POSIX shell takes it.
///
/// ```
/// use monoship_core::execute::process::quoted;
///
/// assert_eq!(quoted("a b".as_ref()), "'a b'");
/// assert_eq!(quoted("--tag=1".as_ref()), "--tag=1");
/// ```
#[must_use]
pub fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
