//! Who we are to a registry: Docker's configuration file with its `auths`, `credHelpers` and `credsStore`, and GitHub's token for
//! GitHub's registry. Credentials are looked up only when a registry asks for them, and never shown.
//!
//! Formats: docker/cli `cli/config/configfile/file.go` (the file), docker/docker-credential-helpers `README.md` (the helpers'
//! protocol: `get`, the server on standard input, JSON on standard output). Not the docker_credential crate: it starts helpers without
//! a time limit or a stop switch, and reads the process's environment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::DOCKER_HUB;
use monoship_core::secret::Secret;
use monoship_core::sorted::SortedMap;

/// What the configuration file calls Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// How long a helper may take. Some ask a cloud's API; one that asks a person has no terminal to do so.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// How to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password, or a token in its place.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth 2 refresh token, from `docker login` against registries that issue them.
    Identity(Secret),
    /// What is shown to the registry as it is: `registrytoken`, by which a job proves who it is where no token server is asked.
    Bearer(Secret),
}

impl Credential {
    fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.to_owned(), password: Secret::new(password) }
    }

    /// The value of an `authorization` header for who asks for a name and a password; `None` for tokens.
    #[must_use]
    pub fn basic_header(&self) -> Option<Secret> {
        match self {
            Self::Basic { user, password } => {
                Some(Secret::new(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose())))))
            }
            Self::Identity(_) | Self::Bearer(_) => None,
        }
    }
}

/// The parts of the configuration file that are about credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: SortedMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: SortedMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

/// A helper's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    secret: Secret,
}

/// Where Docker's configuration file is: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
pub(crate) fn configuration_file(env: &Env) -> Option<PathBuf> {
    let dir = env.get("DOCKER_CONFIG").map(|dir| env.cwd.join(dir)).or_else(|| env.home().map(|home| home.join(".docker")));
    Some(dir?.join("config.json"))
}

/// The credentials of this machine and user. Cloning is cheap; each registry is looked up once a run.
#[derive(Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    path: Option<PathBuf>,
    /// `DOCKER_AUTH_CONFIG`: the file's content in a variable, which the CLI from 28.3 and many CI systems take.
    inline: Option<Secret>,
    search: Option<String>,
    github: Option<Credential>,
    shutdown: Shutdown,
    found: Mutex<HashMap<String, Option<Credential>>>,
}

impl Credentials {
    /// Credentials from `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; nothing is read yet.
    #[must_use]
    pub fn new(env: &Env, shutdown: &Shutdown) -> Self {
        let token = env.get("GITHUB_TOKEN").or_else(|| env.get("GH_TOKEN"));
        let github = token.map(|token| Credential::basic(env.get("GITHUB_ACTOR").unwrap_or("x-access-token"), token));
        let inner = Inner {
            path: configuration_file(env),
            inline: env.get("DOCKER_AUTH_CONFIG").map(Secret::new),
            search: env.get("PATH").map(str::to_owned),
            github,
            shutdown: shutdown.clone(),
            found: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The credential for a registry (`docker.io`, `ghcr.io`, `host:port`); `None` where there is none, which is anonymous.
    ///
    /// # Errors
    /// When the file is malformed, or a helper is missing, fails, or answers nonsense.
    pub fn of(&self, registry: &str) -> Result<Option<Credential>> {
        let found = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner).get(registry).cloned();
        if let Some(known) = found {
            return Ok(known);
        }
        let credential = self.inner.look_up(registry)?;
        self.inner.found.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned(), credential.clone());
        Ok(credential)
    }
}

impl Inner {
    fn look_up(&self, registry: &str) -> Result<Option<Credential>> {
        let key = if registry == DOCKER_HUB { HUB_KEY } else { registry };
        if let Some(inline) = &self.inline {
            let file = parse(inline.expose().as_bytes(), "DOCKER_AUTH_CONFIG")?;
            if let Some(credential) = from_auths(&file, registry, key)? {
                return Ok(Some(credential));
            }
        }
        let file = self.read()?;
        let helper = file.cred_helpers.get(key).or_else(|| file.cred_helpers.get(registry)).or(file.creds_store.as_ref());
        if let Some(helper) = helper.filter(|name| !name.is_empty())
            && let Some(credential) = self.ask(helper, key)?
        {
            return Ok(Some(credential));
        }
        if let Some(credential) = from_auths(&file, registry, key)? {
            return Ok(Some(credential));
        }
        Ok(self.github.clone().filter(|_| registry == "ghcr.io"))
    }

    fn read(&self) -> Result<ConfigFile> {
        let Some(path) = &self.path else { return Ok(ConfigFile::default()) };
        match std::fs::read(path) {
            Ok(bytes) => parse(&bytes, &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let folder = path.parent().unwrap_or(path).display();
                Err(Error::usage(format!("{folder} is a file, and Docker's configuration is config.json in a folder"))
                    .hint("DOCKER_CONFIG names the folder"))
            }
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    fn ask(&self, helper: &str, key: &str) -> Result<Option<Credential>> {
        let file = self.path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(Error::usage(format!("{file}: `{helper}` is not the name of a credential helper")));
        }
        let program = format!("docker-credential-{helper}");
        let mut invocation = Invocation::new(&program).arg("get").stdin(key).timeout(HELPER_LIMIT);
        // It makes a credential of a secret; of which, only it knows.
        invocation = invocation.may_have(&["*"]);
        if let Some(search) = &self.search {
            invocation = invocation.env("PATH", search);
        }
        let hint = format!("{file} names this helper for {key}; log in again, or take the helper out of the file");
        let output = match invocation.run(&self.shutdown) {
            Ok(output) => output,
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => return Err(error.hint(hint)),
        };
        // The protocol has no code for "none": every helper says this sentence, on standard output.
        if !output.success() && output.text().contains("credentials not found") {
            return Ok(None);
        }
        if !output.success() {
            // Its streams are not quoted: a failing helper may have said anything.
            let code = output.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            return Err(Error::failed(format!("`{program} get` ended with {code} for {key}")).hint(hint));
        }
        let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|_| {
            Error::failed(format!("`{program} get` answered something that is not its protocol's JSON")).hint(hint)
        })?;
        // Some say so that they have nothing.
        if answer.secret.expose().is_empty() {
            return Ok(None);
        }
        Ok(match answer.username.as_str() {
            "<token>" => Some(Credential::Identity(answer.secret)),
            user => Some(Credential::basic(user, answer.secret.expose())),
        })
    }
}

/// serde's messages quote the value they stumble over, which may be a password, so only the place is kept.
fn parse(bytes: &[u8], name: &str) -> Result<ConfigFile> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::usage(format!("the Docker configuration is malformed at column {}", error.column()))
            .at(name, Some(error.line()))
            .hint("it is JSON with `auths`, `credHelpers` and `credsStore`; `docker login` writes it")
    })
}

fn from_auths(file: &ConfigFile, registry: &str, key: &str) -> Result<Option<Credential>> {
    let by_host = || file.auths.iter().find(|(name, _)| host_of(name) == registry).map(|(_, entry)| entry);
    let Some(entry) = file.auths.get(key).or_else(by_host) else { return Ok(None) };
    // In the order of BuildKit's `authprovider`.
    if let Some(token) = entry.registrytoken.as_ref().filter(|token| !token.expose().is_empty()) {
        return Ok(Some(Credential::Bearer(token.clone())));
    }
    if let Some(token) = entry.identitytoken.as_ref().filter(|token| !token.expose().is_empty()) {
        return Ok(Some(Credential::Identity(token.clone())));
    }
    if let Some(auth) = entry.auth.as_ref().filter(|auth| !auth.expose().is_empty()) {
        // `base64` breaks lines, and docker does not mind.
        let whole = auth.expose().replace(['\r', '\n'], "");
        let decoded = BASE64_STANDARD.decode(whole).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Err(Error::usage(format!(
                "the Docker configuration's `auth` for {registry} is not base64 of `user:password`"
            ))
            .hint(format!("run `docker login {registry}` again")));
        };
        return Ok(Some(Credential::basic(user, password.trim_end_matches('\0'))));
    }
    match (&entry.username, &entry.password) {
        (Some(user), Some(password)) if !user.is_empty() => Ok(Some(Credential::basic(user, password.expose()))),
        _ => Ok(None),
    }
}

/// Keys are hosts or, from older clients, URLs.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn credentials(dir: &Path, config: &str, vars: &[(&str, &str)]) -> Credentials {
        std::fs::write(dir.join("config.json"), config).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.display());
        let env = Env::new(dir, [("DOCKER_CONFIG".to_owned(), dir.display().to_string()), ("PATH".to_owned(), path)]);
        let env = vars.iter().fold(env, |env, (name, value)| env.with(name, value));
        Credentials::new(&env, &Shutdown::new())
    }

    fn helper(dir: &Path, name: &str, script: &str) {
        let path = dir.join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn auths_are_read_in_every_form_docker_ever_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnBhOnNz"},
            "a.example": {"username": "u", "password": "p"},
            "https://b.example/v2/": {"auth": "dTpwAAA="},
            "c.example:5000": {"identitytoken": "t", "auth": "dTpw"},
            "e.example": {"registrytoken": "r", "auth": "dTpw"},
            "f.example": {"auth": "dT\npw\r\n"},
            "empty.example": {}}, "HttpHeaders": {"x": "y"}}"#;
        let found = credentials(dir.path(), config, &[]);
        let of = |registry| found.of(registry).unwrap();
        assert_eq!(of("docker.io"), Some(Credential::basic("hub", "pa:ss")));
        assert_eq!(of("a.example"), Some(Credential::basic("u", "p")));
        assert_eq!(of("b.example"), Some(Credential::basic("u", "p")));
        assert_eq!(of("c.example:5000"), Some(Credential::Identity(Secret::new("t"))));
        assert_eq!(of("e.example"), Some(Credential::Bearer(Secret::new("r"))));
        assert_eq!(of("f.example"), Some(Credential::basic("u", "p")));
        assert_eq!((of("empty.example"), of("d.example"), of("c.example")), (None, None, None));
    }

    #[test]
    fn helpers_are_asked_by_their_protocol_and_the_nearest_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        helper(
            dir.path(),
            "store",
            r#"read key; printf '{"ServerURL":"%s","Username":"<token>","Secret":"id-%s"}' "$key" "$key""#,
        );
        helper(dir.path(), "one", r#"read key; test "$1" = get && printf '{"Username":"u","Secret":"%s"}' "$key""#);
        helper(dir.path(), "none", "echo credentials not found in native keychain; exit 1");
        helper(dir.path(), "empty", r#"echo '{"ServerURL":"","Username":"","Secret":""}'"#);
        let config = r#"{"auths": {"none.example": {"auth": "dTpw"}, "empty.example": {"auth": "dTpw"}}, "credsStore": "store",
            "credHelpers": {"one.example": "one", "none.example": "none", "empty.example": "empty"}}"#;
        let found = credentials(dir.path(), config, &[]);
        assert_eq!(found.of("one.example").unwrap(), Some(Credential::basic("u", "one.example")));
        let hub = Secret::new(format!("id-{HUB_KEY}"));
        assert_eq!(found.of("docker.io").unwrap(), Some(Credential::Identity(hub)));
        for host in ["none.example", "empty.example"] {
            let taken = found.of(host).unwrap();
            assert_eq!(taken, Some(Credential::basic("u", "p")), "what the helper has not is taken from the file: {host}");
        }
    }

    #[test]
    fn the_file_in_place_of_its_folder_is_no_configuration_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        let env = Env::new(dir.path(), [("DOCKER_CONFIG".to_owned(), "config.json".to_owned())]);
        let error = Credentials::new(&env, &Shutdown::new()).of("r.example").unwrap_err();
        assert!(error.to_string().contains("config.json is a file") && error.exit_code() == 2, "{error}");
    }

    #[test]
    fn a_missing_failing_or_babbling_helper_is_named_and_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        helper(dir.path(), "fails", "echo s3cret; echo s3cret >&2; exit 3");
        helper(dir.path(), "babbles", "echo s3cret");
        for name in ["fails", "babbles", "absent", "../../bin/sh"] {
            let found = credentials(dir.path(), &format!(r#"{{"credsStore": "{name}"}}"#), &[]);
            let error = found.of("r.example").unwrap_err();
            let text = format!("{error} {:?}", error.hint_text());
            assert!(text.contains(name) && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn githubs_token_speaks_for_githubs_registry_only_and_after_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let vars = [("GITHUB_TOKEN", "tok"), ("GITHUB_ACTOR", "octocat")];
        let found = credentials(dir.path(), "{}", &vars);
        assert_eq!(
            (found.of("ghcr.io").unwrap(), found.of("docker.io").unwrap()),
            (Some(Credential::basic("octocat", "tok")), None)
        );
        let found = credentials(dir.path(), r#"{"auths": {"ghcr.io": {"auth": "dTpw"}}}"#, &vars);
        assert_eq!(found.of("ghcr.io").unwrap(), Some(Credential::basic("u", "p")));
        let inline = r#"{"auths": {"ghcr.io": {"username": "ci", "password": "x"}}}"#;
        let found = credentials(dir.path(), "{}", &[("DOCKER_AUTH_CONFIG", inline)]);
        assert_eq!(found.of("ghcr.io").unwrap(), Some(Credential::basic("ci", "x")));
    }

    #[test]
    fn a_malformed_file_is_named_with_its_line_and_no_secret_is_ever_shown() {
        let dir = tempfile::tempdir().unwrap();
        let error = credentials(dir.path(), "{\"auths\":\n \"s3cret\"}", &[]).of("r.example").unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains("config.json:2: ") && !shown.contains("s3cret"), "{shown}");
        let error = credentials(dir.path(), r#"{"auths": {"r.example": {"auth": "s3cret"}}}"#, &[]).of("r.example").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let credential = Credential::basic("u", "s3cret");
        assert_eq!(format!("{credential:?} {}", credential.basic_header().unwrap()), r#"Basic { user: "u", password: *** } ***"#);
    }
}
