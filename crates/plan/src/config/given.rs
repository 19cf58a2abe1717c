//! What a build is given beside its Dockerfile and its files, as buildx has it: secrets, SSH agents, named contexts, entitlements, network,
//! limits, labels and annotations. `[images]` says it for every target, a `[[service]]` for itself; an entry of the same name wins there.

use serde::Deserialize;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{ImageRef, ServiceName, nearest};
use monoship_core::sorted::{SortedMap, SortedSet};

/// The entitlements that BuildKit knows (`util/entitlements`).
const ENTITLEMENTS: [&str; 3] = ["network.host", "security.insecure", "device"];

/// The limits that buildx takes (docker/go-units, `ulimit.go`).
const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file, relative to the repository's root; `~/` is the user's home folder.
    File(String),
    /// In a variable.
    Env(String),
    /// On the standard output of a program with its arguments, less the last line end.
    Command(Vec<String>),
}

/// A secret: `"id=npm,env=NPM_TOKEN"` as buildx writes it, or `{ id = "npm", command = ["gh", "auth", "token"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Secret {
    /// What `RUN --mount=type=secret,id=…` calls it.
    pub id: String,
    /// Where its value is.
    pub source: SecretSource,
}

impl TryFrom<toml::Value> for Secret {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        let fields = match value {
            toml::Value::String(text) => pairs(&text)?,
            toml::Value::Table(table) => table,
            other => return Err(format!("expected a secret such as \"id=npm,env=NPM_TOKEN\", found {other}")),
        };
        Self::of(fields)
    }
}

impl Secret {
    fn of(fields: toml::Table) -> Result<Self, String> {
        let (mut id, mut kind, mut file, mut env, mut command) = (None, None, None, None, None);
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("command", toml::Value::Array(words)) => command = Some(words_of(words)?),
                ("command", other) => return Err(format!("a secret's command is a list of words, found {other}")),
                ("id", toml::Value::String(text)) => id = Some(text),
                ("type", toml::Value::String(text)) => kind = Some(text),
                ("src" | "source" | "file", toml::Value::String(text)) => file = Some(text),
                ("env", toml::Value::String(text)) => env = Some(text),
                ("id" | "type" | "src" | "source" | "file" | "env", other) => {
                    return Err(format!("`{key}` of a secret is a text, found {other}"));
                }
                (unknown, _) => return Err(unknown_field(unknown, &["id", "file", "src", "env", "command", "type"])),
            }
        }
        let id = id.ok_or("a secret needs an `id`, which `RUN --mount=type=secret,id=…` names")?;
        if !is_id(&id) {
            return Err(format!("`{id}` is not a secret's id: letters, digits, `-`, `_` and `.`"));
        }
        // `type=env,src=NAME` is buildx's other way to name a variable.
        if kind.as_deref() == Some("env") && env.is_none() {
            env = file.take();
        }
        let source = match (file, env, command) {
            (Some(file), None, None) if !file.is_empty() => SecretSource::File(file),
            (None, Some(name), None) if is_variable(&name) => SecretSource::Env(name),
            (None, Some(name), None) => return Err(format!("`{name}` is not a variable's name")),
            (None, None, Some(command)) => SecretSource::Command(command),
            (None, None, None) if is_variable(&id) => SecretSource::Env(id.clone()),
            (None | Some(_), None, None) => {
                return Err(format!("nothing says where the secret `{id}` is: add `env=`, `src=` or a `command`"));
            }
            _ => return Err(format!("the secret `{id}` has several sources: leave one of them")),
        };
        Ok(Self { id, source })
    }
}

/// An SSH agent or keys: `"default"`, or `"github=~/.ssh/github"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ssh {
    /// What `RUN --mount=type=ssh,id=…` calls it.
    pub id: String,
    /// Sockets or keys, relative to the repository's root; without any it is the agent of `SSH_AUTH_SOCK`.
    pub paths: Vec<String>,
}

impl TryFrom<String> for Ssh {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((&text, ""));
        if !is_id(id) {
            return Err(format!("`{text}` is not an SSH agent: write `default`, or `id=path`"));
        }
        Ok(Self { id: id.to_owned(), paths: paths.split(',').filter(|path| !path.is_empty()).map(str::to_owned).into_vec() })
    }
}

/// How a context begins that is a service's image.
const SERVICE: &str = "service:";

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ContextSource {
    /// A folder, relative to the repository's root.
    Folder(String),
    /// An image.
    Image(ImageRef),
    /// What BuildKit fetches itself: a git repository, or an archive.
    Remote(String),
    /// The image of another service of ours, which is built first.
    Service(ServiceName),
}

impl TryFrom<String> for ContextSource {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let remote = ["https://", "http://", "git://", "ssh://", "git@"].iter().any(|prefix| text.starts_with(prefix));
        if remote {
            return Ok(Self::Remote(text));
        }
        if let Some(image) = text.strip_prefix("docker-image://") {
            return image.parse().map(Self::Image).map_err(|e: Error| e.to_string());
        }
        if let Some(service) = text.strip_prefix(SERVICE) {
            if service.is_empty() {
                return Err("`service:` takes the name of a service: `service:api`".into());
            }
            return service.parse().map(Self::Service).map_err(|e: Error| e.to_string());
        }
        if let Some((kind @ ("target" | "stage"), name)) = text.split_once(':') {
            return Err(format!(
                "a {kind} is no context: a stage of the Dockerfile is copied from by its name, `COPY --from={name}`, and the image of \
                 another service is `service:{name}`"
            ));
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(format!(
                "`{scheme}://` is not a kind of context: a folder, `docker-image://…`, `service:…`, a git or archive address"
            )),
            None if text.is_empty() => Err("a context is a folder, `docker-image://…`, `service:…` or an address".into()),
            None => Ok(Self::Folder(text)),
        }
    }
}

macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $check:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(pub String);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let check: fn(&str) -> Result<String, String> = $check;
                check(&text).map(Self)
            }
        }
    };
}

checked_text!(
    /// An entitlement: `network.host`, `security.insecure`, `device=…`.
    Entitlement,
    |text| {
        let name = text.split('=').next().unwrap_or_default();
        if ENTITLEMENTS.contains(&name) { Ok(text.to_owned()) } else { Err(unknown_word(text, "an entitlement", &ENTITLEMENTS)) }
    }
);
checked_text!(
    /// A host and its address: `registry.internal:10.0.0.7`.
    Host,
    |text| {
        let (name, address) = text.split_once([':', '=']).unwrap_or((text, ""));
        let known = address == "host-gateway" || address.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        if !name.is_empty() && known { Ok(format!("{name}:{address}")) } else { Err(format!("`{text}` is not `host:address`")) }
    }
);
checked_text!(
    /// The network of RUN steps.
    Network,
    |text| if ["default", "none", "host"].contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(unknown_word(text, "a network of build steps", &["default", "none", "host"]))
    }
);
checked_text!(
    /// A size as docker writes it: `128m`.
    ShmSize,
    |text| {
        let lower = text.to_ascii_lowercase();
        let digits = lower.trim_end_matches('b').trim_end_matches(['k', 'm', 'g']);
        let fits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().any(|b| b != b'0');
        if fits { Ok(lower) } else { Err(format!("`{text}` is not a size such as `128m`")) }
    }
);
checked_text!(
    /// A limit: `nofile=1024:2048`.
    Limit,
    |text| {
        let (name, bounds) = text.split_once('=').unwrap_or((text, ""));
        if !LIMITS.contains(&name) {
            return Err(unknown_word(name, "a limit", &LIMITS));
        }
        let number = |bound: &str| bound == "-1" || (!bound.is_empty() && bound.bytes().all(|b| b.is_ascii_digit()));
        let fits = bounds.split(':').count() <= 2 && bounds.split(':').all(number);
        if fits { Ok(text.to_owned()) } else { Err(format!("`{text}` is not `{name}=soft:hard`")) }
    }
);

/// As it is written.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "each is the key of its name; see `Given`")]
pub struct Written {
    pub secrets: Option<Vec<Secret>>,
    pub ssh: Option<Vec<Ssh>>,
    pub contexts: Option<SortedMap<String, ContextSource>>,
    pub allow: Option<Vec<Entitlement>>,
    pub add_hosts: Option<Vec<Host>>,
    pub network: Option<Network>,
    pub shm_size: Option<ShmSize>,
    pub ulimits: Option<Vec<Limit>>,
    pub cgroup_parent: Option<String>,
    pub labels: Option<SortedMap<String, String>>,
    pub annotations: Option<SortedMap<String, String>>,
}

/// What a target's build is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Secrets by id.
    pub secrets: SortedMap<String, SecretSource>,
    /// SSH agents by id: sockets or keys, or the agent's own socket where there are none.
    pub ssh: SortedMap<String, Vec<String>>,
    /// Named contexts: each replaces the stage, or the image, of its name.
    pub contexts: SortedMap<String, ContextSource>,
    /// Entitlements.
    pub allow: SortedSet<String>,
    /// `host:address`.
    pub add_hosts: SortedSet<String>,
    /// `none`, `host` or `default`.
    pub network: Option<String>,
    /// `128m`.
    pub shm_size: Option<String>,
    /// `nofile=1024:2048`.
    pub ulimits: SortedSet<String>,
    /// The control group of RUN steps.
    pub cgroup_parent: Option<String>,
    /// Labels of the image.
    pub labels: SortedMap<String, String>,
    /// Annotations of its manifest.
    pub annotations: SortedMap<String, String>,
}

impl Written {
    /// Checks what one entry alone cannot tell.
    ///
    /// # Errors
    /// An id that stands twice; a name that cannot be a context's, a label's or an annotation's.
    pub fn validate(self) -> Result<Given> {
        let mut given = Given::default();
        for secret in self.secrets.into_iter().flatten() {
            let id = secret.id.clone();
            if given.secrets.insert(secret.id, secret.source).is_some() {
                return Err(Error::usage(format!("the secret `{id}` is listed twice")));
            }
        }
        for agent in self.ssh.into_iter().flatten() {
            let id = agent.id.clone();
            if given.ssh.insert(agent.id, agent.paths).is_some() {
                return Err(Error::usage(format!("the SSH agent `{id}` is listed twice")));
            }
        }
        for (name, source) in self.contexts.into_iter().flatten() {
            let wrong = |_| {
                Error::usage(format!("`{name}` is not a context's name"))
                    .hint("it is the name of a stage or of an image, which the context replaces, in lower case")
            };
            let known = name.parse::<ImageRef>().map_err(wrong)?.context_name();
            if given.contexts.insert(known, source).is_some() {
                return Err(Error::usage(format!("the context `{name}` is listed twice")));
            }
        }
        for name in self.labels.iter().chain(&self.annotations).flat_map(SortedMap::keys) {
            if name.is_empty() || name.contains(['=', ' ', '\n']) {
                return Err(Error::usage(format!("`{name}` is not a label's or annotation's name")));
            }
        }
        let texts = |all: Option<Vec<String>>| all.into_iter().flatten().collect();
        Ok(Given {
            allow: texts(self.allow.map(|all| all.into_iter().map(|one| one.0).collect())),
            add_hosts: texts(self.add_hosts.map(|all| all.into_iter().map(|one| one.0).collect())),
            network: self.network.map(|one| one.0),
            shm_size: self.shm_size.map(|one| one.0),
            ulimits: texts(self.ulimits.map(|all| all.into_iter().map(|one| one.0).collect())),
            cgroup_parent: self.cgroup_parent,
            labels: self.labels.unwrap_or_default(),
            annotations: self.annotations.unwrap_or_default(),
            ..given
        })
    }
}

impl Given {
    /// The services whose images are contexts, by the contexts' names.
    pub fn services(&self) -> impl Iterator<Item = (&String, &ServiceName)> {
        self.contexts.iter().filter_map(|(name, source)| match source {
            ContextSource::Service(service) => Some((name, service)),
            _ => None,
        })
    }

    /// What every target is given, with a service's own over it.
    #[must_use]
    pub fn with(&self, own: &Self) -> Self {
        let mut all = self.clone();
        all.secrets.extend(own.secrets.clone());
        all.ssh.extend(own.ssh.clone());
        all.contexts.extend(own.contexts.clone());
        all.allow.extend(own.allow.iter().cloned());
        all.add_hosts.extend(own.add_hosts.iter().cloned());
        all.ulimits.extend(own.ulimits.iter().cloned());
        all.labels.extend(own.labels.clone());
        all.annotations.extend(own.annotations.clone());
        all.network = own.network.clone().or(all.network);
        all.shm_size = own.shm_size.clone().or(all.shm_size);
        all.cgroup_parent = own.cgroup_parent.clone().or(all.cgroup_parent);
        all
    }
}

fn pairs(text: &str) -> Result<toml::Table, String> {
    let pair = |field: &str| {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("`{field}` of the secret `{text}` is not `key=value`"))?;
        Ok((key.trim().to_ascii_lowercase(), toml::Value::String(value.to_owned())))
    };
    text.split(',').map(pair).collect()
}

fn words_of(words: Vec<toml::Value>) -> Result<Vec<String>, String> {
    let word = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(text),
        other => Err(format!("a secret's command is a list of words, found {other}")),
    };
    let words = words.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
    if words.is_empty() { Err("a secret's command has no word".to_owned()) } else { Ok(words) }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_variable(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(word)
}

fn unknown_word(text: &str, what: &str, known: &[&str]) -> String {
    match nearest(text, known.iter().copied()) {
        Some(near) => format!("`{text}` is not {what}: did you mean `{near}`?"),
        None => format!("`{text}` is not {what}: these are {}", known.join(", ")),
    }
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("a secret has no `{name}`: did you mean `{near}`?"),
        None => format!("a secret has no `{name}`: it has {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<Secret, String> {
        let document: toml::Table = toml::from_str(&format!("s = {text}")).unwrap();
        document["s"].clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_secret_is_written_as_buildx_does_or_as_a_table() {
        let source = |text: &str| secret(text).unwrap().source;
        assert_eq!(source("'id=npm,env=NPM_TOKEN'"), SecretSource::Env("NPM_TOKEN".into()));
        assert_eq!(source("'id=npm,src=~/.npmrc'"), SecretSource::File("~/.npmrc".into()));
        assert_eq!(source("'type=env,id=npm,src=NPM_TOKEN'"), SecretSource::Env("NPM_TOKEN".into()));
        assert_eq!(source("'id=NPM_TOKEN'"), SecretSource::Env("NPM_TOKEN".into()));
        let command = SecretSource::Command(vec!["gh".into(), "auth".into(), "token".into()]);
        assert_eq!(source("{ id = 'gh', command = ['gh', 'auth', 'token'] }"), command);
    }

    #[test]
    fn a_secret_that_cannot_be_meant_is_refused_in_words() {
        let refused = |text: &str| secret(text).unwrap_err();
        assert!(refused("'env=NPM_TOKEN'").contains("needs an `id`"));
        assert!(refused("'id=npm,evn=X'").contains("did you mean `env`?"));
        assert!(refused("'id=my-npm'").contains("nothing says where"));
        assert!(refused("'id=npm,env=A,src=b'").contains("several sources"));
        assert!(refused("'id=npm,env=A B'").contains("not a variable's name"));
        assert!(refused("{ id = 'npm', command = 'gh auth token' }").contains("list of words"));
        assert!(refused("3").contains("expected a secret"));
    }

    #[test]
    fn contexts_are_told_apart_and_other_words_have_a_nearest() {
        let context = |text: &str| ContextSource::try_from(text.to_owned());
        assert_eq!(context("../shared"), Ok(ContextSource::Folder("../shared".into())));
        assert!(matches!(context("docker-image://node:24"), Ok(ContextSource::Image(_))));
        assert!(matches!(context("https://example.org/a/b.git#v1"), Ok(ContextSource::Remote(_))));
        assert_eq!(context("service:api"), Ok(ContextSource::Service("api".parse().unwrap())));
        assert!(context("service:Api/x").is_err());
        assert!(context("service:").unwrap_err().contains("`service:api`"));
        assert!(context("stage:api").unwrap_err().contains("`COPY --from=api`"));
        assert!(context("oci-image://x").unwrap_err().contains("not a kind of context"));
        assert!(Entitlement::try_from("network.hots".to_owned()).unwrap_err().contains("did you mean `network.host`?"));
        assert!(Limit::try_from("nofiles=1".to_owned()).unwrap_err().contains("did you mean `nofile`?"));
        assert!(Host::try_from("a:b".to_owned()).is_err() && Host::try_from("a:10.0.0.1".to_owned()).is_ok());
        assert!(ShmSize::try_from("much".to_owned()).is_err() && ShmSize::try_from("1G".to_owned()).is_ok());
    }

    #[test]
    fn a_service_adds_to_what_every_target_is_given_and_its_own_wins() {
        let of =
            |text: &str| Given { secrets: [("npm".to_owned(), SecretSource::Env(text.to_owned()))].into(), ..Given::default() };
        let all = Given { network: Some("none".into()), ..of("A") };
        let own = Given { secrets: of("B").secrets, labels: [("a".to_owned(), "b".to_owned())].into(), ..Given::default() };
        let both = all.with(&own);
        assert_eq!((both.secrets, both.network.as_deref()), (of("B").secrets, Some("none")));
        assert_eq!(both.labels.len(), 1);
        let twice = Written { ssh: Some(vec![Ssh::try_from("a".to_owned()).unwrap(); 2]), ..Written::default() };
        assert!(twice.validate().unwrap_err().to_string().contains("is listed twice"));
    }

    #[test]
    fn a_context_has_the_name_that_a_builder_knows_it_by() {
        let named = |names: &[&str]| {
            let contexts = names.iter().map(|name| ((*name).to_owned(), ContextSource::Folder(".".into())));
            let given = Written { contexts: Some(contexts.collect()), ..Written::default() }.validate();
            given.map(|given| given.contexts.into_keys().collect::<Vec<_>>()).map_err(|error| error.to_string())
        };
        let known = named(&["shared", "node:latest", "docker.io/library/node:24", "ghcr.io/acme/base:latest"]);
        assert_eq!(known.unwrap(), ["ghcr.io/acme/base", "node", "node:24", "shared"]);
        assert!(named(&["node", "node:latest"]).unwrap_err().contains("is listed twice"));
        assert!(named(&["Shared"]).unwrap_err().contains("not a context's name"));
    }
}
