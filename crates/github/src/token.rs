//! What the runner's token allows with the Actions cache: its claims, decoded. The signature is not ours to check; the cache
//! service does. Reads no clock and no environment of its own.
//!
//! The token is a JWT whose `ac` claim is a JSON *string*, `[{"Scope":"refs/heads/main","Permission":3}]`: 1 reads, 2 writes
//! (`tonistiigi/go-actions-cache`, which BuildKit uses). BuildKit refuses a token without numeric `exp` and `nbf`.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use monoship_core::collect::Collect as _;
use monoship_core::env::Env;

const READ: u64 = 1;
const WRITE: u64 = 2;

/// What can be done with the Actions cache from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GhaAccess {
    /// Entries of `read` are found, in this order; new ones belong to `write`.
    Write {
        /// The git ref that entries are written under.
        write: String,
        /// The git refs that are looked through.
        read: Vec<String>,
    },
    /// Entries of these git refs are found, in this order; none can be written.
    Read {
        /// The git refs that are looked through.
        read: Vec<String>,
    },
    /// The token's time is over, since this long.
    Expired(Duration),
    /// There is no usable token, because of this.
    Absent(String),
}

/// Which protocol the cache service speaks here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `ACTIONS_RESULTS_URL`.
    V2,
    /// `ACTIONS_CACHE_URL`; GitHub has turned it off, some Enterprise servers have not.
    V1,
}

#[derive(Deserialize)]
struct Claims {
    ac: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
struct Scope {
    #[serde(rename = "Scope")]
    scope: String,
    #[serde(rename = "Permission")]
    permission: u64,
}

impl GhaAccess {
    /// Reads `ACTIONS_RUNTIME_TOKEN`, `ACTIONS_RESULTS_URL`, `ACTIONS_CACHE_SERVICE_V2` and `ACTIONS_CACHE_URL`. Whatever is
    /// wrong becomes a reason, never an error: a build works without this cache.
    #[must_use]
    pub fn detect(env: &Env, now: SystemTime) -> Self {
        let Some(token) = env.get("ACTIONS_RUNTIME_TOKEN") else {
            let why = if env.flag("GITHUB_ACTIONS") {
                "no step has exported ACTIONS_RUNTIME_TOKEN (see docs/ci.md)"
            } else {
                "not in GitHub Actions"
            };
            return Self::Absent(why.to_owned());
        };
        if Protocol::detect(env).is_none() {
            return Self::Absent("there is a token, but neither ACTIONS_RESULTS_URL nor ACTIONS_CACHE_URL is set".to_owned());
        }
        Self::of_token(token, now)
    }

    fn of_token(token: &str, now: SystemTime) -> Self {
        let absent = |why: &str| Self::Absent(format!("ACTIONS_RUNTIME_TOKEN {why}"));
        let parts: Vec<&str> = token.trim().split('.').into_vec();
        let [_, claims, _] = parts.as_slice() else { return absent("is not a token") };
        let decoded = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok();
        let Some(claims) = decoded.and_then(|json| serde_json::from_slice::<Claims>(&json).ok()) else {
            return absent("has claims that cannot be read");
        };
        let (Some(access), Some(until), Some(from)) = (claims.ac, claims.exp, claims.nbf) else {
            return absent("lacks one of `ac`, `exp` and `nbf`");
        };
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if seconds >= until {
            return Self::Expired(Duration::try_from_secs_f64(seconds - until).unwrap_or_default());
        }
        if seconds < from {
            return absent("is not valid yet: is the clock right?");
        }
        let Ok(scopes) = serde_json::from_str::<Vec<Scope>>(&access) else { return absent("has an `ac` that cannot be read") };
        let with = |bit: u64| scopes.iter().filter(move |scope| scope.permission & bit != 0).map(|scope| scope.scope.clone());
        // BuildKit writes under the last scope that may be written.
        match (with(WRITE).next_back(), with(READ).into_vec()) {
            (Some(write), read) => Self::Write { write, read },
            (None, read) if !read.is_empty() => Self::Read { read },
            (None, _) => absent("allows neither reading nor writing"),
        }
    }

    /// Nothing, or why the cache cannot be read.
    ///
    /// # Errors
    /// The reason, a fragment.
    pub fn readable(&self) -> Result<(), String> {
        match self {
            Self::Write { read, .. } | Self::Read { read } if !read.is_empty() => Ok(()),
            Self::Write { .. } | Self::Read { .. } => Err("the runner's token may not read".to_owned()),
            Self::Expired(_) | Self::Absent(_) => Err(self.to_string()),
        }
    }

    /// Nothing, or why the cache cannot be written.
    ///
    /// # Errors
    /// The reason, a fragment.
    pub fn writable(&self) -> Result<(), String> {
        match self {
            // GitHub shows a ref's entries to that ref and to those that come from it; nothing comes from a tag.
            Self::Write { write, .. } if write.starts_with("refs/tags/") => {
                Err(format!("what is written under {} is read by no other run", write.escape_debug()))
            }
            Self::Write { .. } => Ok(()),
            Self::Read { .. } => Err("the runner's token may only read".to_owned()),
            Self::Expired(_) | Self::Absent(_) => Err(self.to_string()),
        }
    }
}

/// One line for a person.
impl fmt::Display for GhaAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |refs: &[String]| refs.iter().map(|name| name.escape_debug().to_string()).into_vec().join(", ");
        match self {
            Self::Write { read, .. } if self.writable().is_err() => write!(f, "reads {}, writes nothing for a tag", list(read)),
            Self::Write { write, read } => write!(f, "writes {}, reads {}", write.escape_debug(), list(read)),
            Self::Read { read } => write!(f, "reads {}, writes nothing", list(read)),
            Self::Expired(since) => write!(f, "the runner's token expired {} s ago", since.as_secs()),
            Self::Absent(why) => f.write_str(why),
        }
    }
}

impl Protocol {
    /// Which one buildx will be told to speak: version 2 wherever its URL is there, whether or not the flag is set.
    #[must_use]
    pub fn detect(env: &Env) -> Option<Self> {
        match (env.get("ACTIONS_RESULTS_URL"), env.get("ACTIONS_CACHE_URL")) {
            (Some(_), _) => Some(Self::V2),
            (None, Some(_)) => Some(Self::V1),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn env(claims: &serde_json::Value) -> Env {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2ln", part(&serde_json::json!({"alg": "RS256"})), part(claims));
        let vars = [("GITHUB_ACTIONS", "true"), ("ACTIONS_RESULTS_URL", "https://results/"), ("ACTIONS_RUNTIME_TOKEN", &token)];
        Env::new("/", vars.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    fn access(claims: &serde_json::Value) -> GhaAccess {
        GhaAccess::detect(&env(claims), UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn claims(access: &str) -> serde_json::Value {
        serde_json::json!({"ac": access, "nbf": NOW - 10, "exp": NOW + 10})
    }

    #[test]
    fn a_write_token_writes_its_own_ref_and_reads_the_others() {
        let both = r#"[{"Scope":"refs/heads/x","Permission":3},{"Scope":"refs/heads/main","Permission":1}]"#;
        let made = access(&claims(both));
        let read = vec!["refs/heads/x".to_owned(), "refs/heads/main".to_owned()];
        assert_eq!(made, GhaAccess::Write { write: "refs/heads/x".into(), read });
        assert_eq!((made.readable(), made.writable()), (Ok(()), Ok(())));
        assert_eq!(made.to_string(), "writes refs/heads/x, reads refs/heads/x, refs/heads/main");
    }

    #[test]
    fn a_tag_s_run_reads_what_branches_wrote_and_writes_nothing_that_only_it_could_read() {
        let both = r#"[{"Scope":"refs/tags/v1.0.0","Permission":3},{"Scope":"refs/heads/main","Permission":1}]"#;
        let made = access(&claims(both));
        assert_eq!(made.readable(), Ok(()));
        assert_eq!(made.writable(), Err("what is written under refs/tags/v1.0.0 is read by no other run".into()));
        assert_eq!(made.to_string(), "reads refs/tags/v1.0.0, refs/heads/main, writes nothing for a tag");
    }

    #[test]
    fn a_forks_token_reads_and_writes_nothing() {
        let made = access(&claims(r#"[{"Scope":"refs/heads/main","Permission":1}]"#));
        assert_eq!(made.readable(), Ok(()));
        assert_eq!(made.writable(), Err("the runner's token may only read".into()));
        assert!(access(&claims("[]")).to_string().contains("neither reading nor writing"));
    }

    #[test]
    fn an_expired_token_is_not_used() {
        let mut claims = claims(r#"[{"Scope":"refs/heads/main","Permission":3}]"#);
        claims["exp"] = (NOW - 61).into();
        let made = access(&claims);
        assert_eq!(made, GhaAccess::Expired(Duration::from_secs(61)));
        assert_eq!(made.writable(), Err("the runner's token expired 61 s ago".into()));
        claims["exp"] = (NOW + 99).into();
        claims["nbf"] = (NOW + 9).into();
        assert!(access(&claims).to_string().contains("clock"));
    }

    #[test]
    fn without_a_token_or_with_garbage_there_is_a_reason_and_never_the_token() {
        let bare = Env::new("/", []);
        assert_eq!(GhaAccess::detect(&bare, UNIX_EPOCH), GhaAccess::Absent("not in GitHub Actions".into()));
        let no_step = bare.clone().with("GITHUB_ACTIONS", "true");
        assert!(GhaAccess::detect(&no_step, UNIX_EPOCH).to_string().contains("no step has exported"));
        let no_url = bare.with("ACTIONS_RUNTIME_TOKEN", "x");
        assert!(GhaAccess::detect(&no_url, UNIX_EPOCH).to_string().contains("neither"));
        for broken in ["s3cret", "s3cret.s3cret.s3cret", "a.e30.c", "..", &format!("a.{}.c", URL_SAFE_NO_PAD.encode("[]"))] {
            let env = env(&claims("[]")).with("ACTIONS_RUNTIME_TOKEN", broken);
            let said = GhaAccess::detect(&env, UNIX_EPOCH).to_string();
            assert!(said.starts_with("ACTIONS_RUNTIME_TOKEN") && !said.contains("s3cret"), "{said}");
        }
        assert!(access(&claims("not json")).to_string().contains("`ac`"));
        assert!(access(&serde_json::json!({"ac": "[]", "exp": "soon", "nbf": 1})).to_string().contains("cannot be read"));
    }

    #[test]
    fn the_protocol_is_the_newest_that_has_a_url() {
        let env = env(&claims("[]"));
        assert_eq!(Protocol::detect(&env), Some(Protocol::V2));
        assert_eq!(Protocol::detect(&env.with("ACTIONS_RESULTS_URL", "").with("ACTIONS_CACHE_URL", "u")), Some(Protocol::V1));
    }
}
