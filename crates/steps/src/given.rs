//! What builds are given beside their files: whether a secret is there, what a named context holds, and which of it counts for the image.
//!
//! In a fingerprint stand: which of the secrets and SSH agents that its steps mount are given (never a value), the content of the named
//! contexts it uses, network, added hosts, labels and annotations. Entitlements and limits are not in it: they decide whether a step
//! succeeds, not what it makes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::process::Invocation;
use monoship_core::name::{ImageRef, ServiceName, sha256_hex};
use monoship_core::secret::{self, Secret};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::spec::{BuildSpec, SecretValue};
use monoship_plan::built_from;
use monoship_plan::config::given::{ContextSource, Given, SecretSource};
use monoship_plan::fingerprint::{Inputs, Parts};
use monoship_plan::part::{Kind, Part};
use monoship_workspace::dockerfile::{Address, MountKind, Mounted, Slice};

use crate::bases::Bases;
use crate::inputs::Target;
use crate::project::Project;
use crate::{Session, outside};

/// How long a program may take that prints a secret: a person may have to touch a key.
const PATIENCE: Duration = Duration::from_mins(1);

/// What programs printed, by their words: each is run once a run. It is shown nowhere.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<SortedMap<Vec<String>, Secret>>>);

/// What one target's build is told, and what keeps it from being built.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    /// The secrets that are there.
    pub secrets: SortedMap<String, SecretValue>,
    /// `--ssh`, `--allow` and the like.
    pub options: Vec<(&'static str, String)>,
    /// Annotations of the image.
    pub annotations: SortedMap<String, String>,
    /// The named contexts, as buildx takes them.
    pub contexts: SortedMap<String, String>,
    /// The services whose images are contexts, by the contexts' names: where these lie is known once it is decided what is built.
    pub services: SortedMap<String, ServiceName>,
    /// What a step demands and nothing gives.
    pub missing: Vec<Missing>,
}

/// A secret or an SSH agent that a step demands and that is not there.
#[derive(Debug, Clone)]
pub struct Missing {
    what: String,
    why: String,
    hint: String,
    line: usize,
}

impl Missing {
    /// As an error at the line of the Dockerfile.
    pub fn error(&self, dockerfile: &str) -> Error {
        Error::usage(format!("{}: {}", self.what, self.why)).at(dockerfile, Some(self.line)).hint(self.hint.clone())
    }
}

/// What a target is given, looked up: `slice` is what it reaches.
pub fn resolve(session: &Session, project: &Project, bases: &Bases, target: &Target<'_>, slice: &Slice<'_>) -> Resolved {
    let given = target.given;
    let mut resolved = Resolved::default();
    for (id, source) in &given.secrets {
        match value(session, source) {
            Ok(value) => drop(resolved.secrets.insert(id.clone(), value)),
            Err(why) => resolved.missing.extend(demanded(slice.secrets(), id, SECRET, &why, "set it, or take `required` away")),
        }
    }
    for (id, mounted) in slice.secrets().iter().filter(|(id, mounted)| mounted.required && !given.secrets.contains_key(*id)) {
        if *id != CA {
            let hint =
                format!("say where it is: `secrets = [\"id={id},env=…\"]` under [images] or the [[service]] in xtask.toml");
            let (what, why) = (format!("the secret `{id}`"), "nothing in xtask.toml gives it".to_owned());
            resolved.missing.push(Missing { what, why, hint, line: mounted.line });
        }
    }
    agents(session, given, slice, &mut resolved);
    for name in slice.contexts() {
        if let Some(source) = given.contexts.get(name) {
            match context(session, project, source, bases) {
                Ok(context) => drop(resolved.contexts.insert(name.clone(), context)),
                Err(service) => drop(resolved.services.insert(name.clone(), service.clone())),
            }
        }
    }
    let mut option = |flag, value: &str| resolved.options.push((flag, value.to_owned()));
    given.allow.iter().for_each(|value| option("--allow", value));
    given.add_hosts.iter().chain(&key_host(session, given, slice)).for_each(|value| option("--add-host", value));
    given.network.iter().for_each(|value| option("--network", value));
    given.shm_size.iter().for_each(|value| option("--shm-size", value));
    given.ulimits.iter().for_each(|value| option("--ulimit", value));
    given.cgroup_parent.iter().for_each(|value| option("--cgroup-parent", value));
    if target.service.is_some() {
        given.labels.iter().for_each(|(name, value)| option("--label", &format!("{name}={value}")));
        resolved.annotations = given.annotations.clone();
    }
    resolved
}

/// The secret that every build is offered without a word: see `ca_bundle`.
const CA: &str = "ca";

fn agents(session: &Session, given: &Given, slice: &Slice<'_>, resolved: &mut Resolved) {
    for (id, paths) in &given.ssh {
        match agent(session, paths) {
            Err(why) => {
                let hint =
                    "start an agent (`eval $(ssh-agent)`, `ssh-add`), or name a key: `ssh = [\"default=~/.ssh/id_ed25519\"]`";
                resolved.missing.extend(demanded(slice.agents(), id, AGENT, &why, hint));
            }
            Ok(files) if files.is_empty() => resolved.options.push(("--ssh", id.clone())),
            Ok(files) => resolved.options.push(("--ssh", format!("{id}={}", files.join(",")))),
        }
    }
    for (id, mounted) in slice.agents().iter().filter(|(id, mounted)| mounted.required && !given.ssh.contains_key(*id)) {
        let hint = format!("add `ssh = [\"{id}\"]` under [images] or the [[service]] in xtask.toml");
        let (what, why) = (format!("the SSH agent `{id}`"), "nothing in xtask.toml gives it".to_owned());
        resolved.missing.push(Missing { what, why, hint, line: mounted.line });
    }
}

/// The sockets or keys of an agent, none where it is the user's own; or why it is not there.
fn agent(session: &Session, paths: &[String]) -> Result<Vec<String>, String> {
    let files: Vec<PathBuf> = paths.iter().map(|path| place(session, path)).into_vec();
    if files.is_empty() && session.env.get("SSH_AUTH_SOCK").is_none() {
        return Err("no agent runs: SSH_AUTH_SOCK is not set".to_owned());
    }
    match files.iter().find(|file| !file.exists()) {
        Some(file) => Err(format!("there is no {}", file.display())),
        None => Ok(files.iter().map(|file| file.display().to_string()).into_vec()),
    }
}

/// A host that nobody asks for. BuildKit knows a step again by its hosts' names, and neither by their addresses nor by whether a secret or an
/// agent was there that it can do without (its `CacheMap` of an `ExecOp`): so that a cache, here or elsewhere, answers with no other result, the
/// name tells these. It is made from what the whole Dockerfile mounts, since targets share steps.
fn key_host(session: &Session, given: &Given, slice: &Slice<'_>) -> Option<String> {
    let mut told: Vec<String> = given.add_hosts.iter().map(|host| format!("host {host}")).into_vec();
    for (kind, id) in slice.optional_mounts() {
        let there = match kind {
            MountKind::Secret => given.secrets.get(id).is_some_and(|source| value(session, source).is_ok()),
            MountKind::Agent => given.ssh.get(id).is_some_and(|paths| agent(session, paths).is_ok()),
        };
        told.extend(there.then(|| format!("{kind:?} {id}")));
    }
    (!told.is_empty()).then(|| format!("{}.xtask.invalid:127.0.0.1", &sha256_hex(told.join("\n").as_bytes())[..16]))
}

/// What is missing for a step that demands it.
fn demanded(mounts: &SortedMap<String, Mounted>, id: &str, kind: &str, why: &str, hint: &str) -> Option<Missing> {
    let mounted = mounts.get(id).filter(|mounted| mounted.required)?;
    Some(Missing { what: format!("the {kind} `{id}`"), why: why.to_owned(), hint: hint.to_owned(), line: mounted.line })
}

/// A path of the configuration: of the user's home folder, or of the repository that the command was called in. What is secret is in no commit.
fn place(session: &Session, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), session.env.home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => session.home.join(path),
    }
}

/// Where the builder takes a secret from, or why it is not there.
fn value(session: &Session, source: &SecretSource) -> Result<SecretValue, String> {
    match source {
        SecretSource::Env(name) if session.env.get(name).is_none() => Err(format!("the variable {name} is not set")),
        SecretSource::Env(name) => Ok(SecretValue::Env(name.clone())),
        SecretSource::File(path) => {
            let file = place(session, path);
            if file.is_file() { Ok(SecretValue::File(file)) } else { Err(format!("there is no file {}", file.display())) }
        }
        SecretSource::Command(words) => Ok(SecretValue::Command(words.clone())),
    }
}

/// A folder of the configuration: of a commit that is checked out, what is in it.
fn folder_of(session: &Session, project: &Project, path: &str) -> PathBuf {
    let checked_out = project.root.join(path);
    if !path.starts_with("~/") && checked_out.is_dir() { checked_out } else { place(session, path) }
}

/// A context as buildx takes it; the error is the service whose image it is.
fn context<'s>(
    session: &Session,
    project: &Project,
    source: &'s ContextSource,
    bases: &Bases,
) -> std::result::Result<String, &'s ServiceName> {
    Ok(match source {
        ContextSource::Folder(path) => folder_of(session, project, path).display().to_string(),
        ContextSource::Image(image) => bases.pinned(image).unwrap_or_else(|| format!("docker-image://{image}")),
        ContextSource::Remote(address) => address.clone(),
        ContextSource::Service(service) => return Err(service),
    })
}

/// The settings that say of a secret and of an SSH agent that it is given.
const SECRET: &str = "secret";
const AGENT: &str = "SSH agent";

fn setting(kind: &str, id: &str) -> String {
    format!("{kind} {id}")
}

/// What counts for an image of all that is given, beside the contexts: settings of its fingerprint.
pub fn settings(session: &Session, given: &Given, slice: &Slice<'_>, makes_image: bool) -> SortedMap<String, String> {
    let mut settings = SortedMap::new();
    let mut presence = |kind: &str, id: &str, mounted: &Mounted, there: bool| {
        // What a step demands is there whenever it is built.
        let word = if there || mounted.required { "given" } else { "not given" };
        settings.insert(setting(kind, id), word.to_owned());
    };
    for (id, mounted) in slice.secrets() {
        // Where certificates come from is the machine's affair, and no part of an image.
        if *id != CA || given.secrets.contains_key(id) {
            let there = given.secrets.get(id).is_some_and(|source| value(session, source).is_ok());
            presence(SECRET, id, mounted, there);
        }
    }
    for (id, mounted) in slice.agents() {
        let there = given.ssh.get(id).is_some_and(|paths| agent(session, paths).is_ok());
        presence(AGENT, id, mounted, there);
    }
    settings.retain(|_, word| word == "given");
    settings.extend(given.network.iter().map(|network| ("network".to_owned(), network.clone())));
    settings.extend(given.add_hosts.iter().map(|host| (format!("added host {host}"), String::new())));
    if makes_image {
        let short = |value: &String| sha256_hex(value.as_bytes())[..16].to_owned();
        settings.extend(given.labels.iter().map(|(name, value)| (format!("label {name}"), short(value))));
        settings.extend(given.annotations.iter().map(|(name, value)| (format!("annotation {name}"), short(value))));
    }
    settings
}

/// The images that configured contexts are, of those that a target uses.
pub fn images<'a>(given: &'a Given, slice: &Slice<'_>) -> impl Iterator<Item = &'a ImageRef> {
    let used = slice.contexts().clone();
    given.contexts.iter().filter(move |(name, _)| used.contains(*name)).filter_map(|(_, source)| match source {
        ContextSource::Image(image) => Some(image),
        _ => None,
    })
}

/// The content of configured contexts, each read once.
#[derive(Default)]
pub struct Contexts(SortedMap<String, Parts>);

impl Contexts {
    /// Reads those that are used.
    ///
    /// # Errors
    /// A folder that is not there or cannot be read.
    pub fn read<'a>(
        session: &Session,
        project: &Project,
        bases: &Bases,
        targets: impl Iterator<Item = (&'a Given, &'a Slice<'a>)>,
    ) -> Result<Self> {
        let mut contents = SortedMap::new();
        for (given, slice) in targets {
            for (name, source) in given.contexts.iter().filter(|(name, _)| slice.contexts().contains(*name)) {
                let key = key(source);
                if !contents.contains_key(&key) {
                    let parts = read(session, project, bases, name, source)?;
                    contents.insert(key, parts);
                }
            }
        }
        Ok(Self(contents))
    }

    /// What a target uses of them, by their names.
    pub fn of(&self, given: &Given, slice: &Slice<'_>) -> SortedMap<String, Parts> {
        let used = given.contexts.iter().filter(|(name, _)| slice.contexts().contains(*name));
        used.filter_map(|(name, source)| Some((name.clone(), self.0.get(&key(source))?.clone()))).into_map()
    }
}

fn key(source: &ContextSource) -> String {
    format!("{source:?}")
}

fn read(session: &Session, project: &Project, bases: &Bases, name: &str, source: &ContextSource) -> Result<Parts> {
    let setting = |value: String| Part::new(Kind::Settings, [(format!("build context {name}"), value)]);
    let part = match source {
        ContextSource::Folder(path) => {
            let root = folder_of(session, project, path);
            if !root.is_dir() {
                let error =
                    Error::usage(format!("the build context `{name}` is the folder {}, which is not there", root.display()));
                return Err(error.hint("fix `contexts` in xtask.toml"));
            }
            let shown = path.trim_start_matches("./").trim_end_matches('/');
            let named = project.named(&root)?;
            let entries = named.sent.entries().iter().map(|entry| {
                let mut value = String::new();
                entry.describe(&mut value);
                (format!("{shown}/{}", entry.path), value)
            });
            Part::new(Kind::Files, entries)
        }
        ContextSource::Image(image) => setting(bases.pinned(image).unwrap_or_else(|| image.to_string())),
        ContextSource::Remote(address) => {
            let address = Address { address: address.clone(), line: 0, checksum: false };
            let held = match if address.is_pinned() { Ok(String::new()) } else { outside::ask(session, &address) } {
                Ok(held) => held,
                Err(why) => {
                    let message = format!("what the build context `{name}` holds at {} is not known: {why}", address.address);
                    let hint = "what uses it is built each time; name a commit: `…#<40 hexadecimal digits>`".to_owned();
                    session.events.notice(Level::Warning, None, message, Some(hint));
                    outside::unknown(session)
                }
            };
            setting(format!("{} {held}", address.address))
        }
        // Its fingerprint is entered once it is known.
        ContextSource::Service(service) => return Ok(built_from::parts(service, None)),
    };
    Ok([(GIVEN.to_owned(), part)].into_iter().into_map())
}

/// The one part of a context that the configuration names.
const GIVEN: &str = "given";

/// The first address among the contexts of a target that holds something else than it was read as.
pub fn moved(session: &Session, given: &Given, inputs: &Inputs) -> Option<String> {
    let asked = given.contexts.iter().filter_map(|(name, source)| {
        let ContextSource::Remote(address) = source else { return None };
        let (_, value) = inputs.contexts.get(name)?.get(GIVEN)?.entries().first()?;
        let held = value.strip_prefix(&**address)?.trim_start();
        (!held.is_empty()).then(|| (address.clone(), held.to_owned()))
    });
    outside::moved(session, &asked.into_map())
}

/// Tells what is given and used by nobody: a word that is mistyped gives nothing, and says nothing either.
pub fn warn_unused<'a>(session: &Session, targets: impl Iterator<Item = (&'a Given, &'a Slice<'a>)>) {
    let (mut given_to, mut used) = (SortedSet::new(), SortedSet::new());
    for (given, slice) in targets {
        given_to.extend(given.secrets.keys().map(|id| (SECRET, id.clone())));
        given_to.extend(given.contexts.keys().map(|name| ("build context", name.clone())));
        used.extend(slice.secrets().keys().map(|id| (SECRET, id.clone())));
        let fetches = !slice.addresses().is_empty() || given.contexts.values().any(|one| matches!(one, ContextSource::Remote(_)));
        used.extend(given.secrets.keys().filter(|id| fetches && is_for_fetching(id)).map(|id| (SECRET, id.clone())));
        used.extend(slice.contexts().iter().map(|name| ("build context", name.clone())));
    }
    for (kind, name) in given_to.difference(&used) {
        session.events.notice(Level::Warning, None, format!("no step uses the {kind} `{name}` of xtask.toml"), None);
    }
}

/// The secrets that BuildKit itself takes where it fetches an address, for one host or all (its `source/git` and `source/http`).
fn is_for_fetching(id: &str) -> bool {
    ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER", "HTTP_AUTH_TOKEN_", "HTTP_AUTH_HEADER_"].iter().any(|name| id.starts_with(name))
}

/// Runs the programs that print secrets for these builds, each once, before anything is built.
///
/// # Errors
/// One that fails or prints nothing. What it printed is in no message.
pub fn fetch<'a>(session: &Session, specs: impl IntoIterator<Item = &'a BuildSpec>) -> Result<()> {
    for (id, words) in specs.into_iter().flat_map(|spec| &spec.secrets).filter_map(|(id, value)| match value {
        SecretValue::Command(words) => Some((id, words)),
        SecretValue::Env(name) => {
            session.env.get(name).into_iter().for_each(secret::learn);
            None
        }
        SecretValue::File(file) => {
            learn_file(file);
            None
        }
    }) {
        let mut known = session.secrets.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(words) {
            continue;
        }
        let failed = |why: String| {
            Error::failed(format!("the command of the secret `{id}` {why}"))
                .hint(format!("run it yourself: `{}`", words.join(" ")))
        };
        // It makes a secret of another one; of which, only it knows.
        let output = program(words).may_have(&["*"]).dir(&session.home).timeout(PATIENCE).run(&session.shutdown)?;
        if !output.success() {
            return Err(failed(
                output.code.map_or("was ended by a signal".to_owned(), |code| format!("failed with exit code {code}")),
            ));
        }
        let mut bytes = output.stdout;
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(failed("printed nothing".to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed("printed something that is not text".to_owned()))?;
        known.insert(words.clone(), Secret::new(text));
    }
    Ok(())
}

/// Teaches the mask what a file holds, unless that is for everybody to know. One that cannot be read fails with the build.
fn learn_file(file: &Path) {
    const LARGEST: u64 = 16 << 10;
    let is_small = std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
    let text = if is_small { std::fs::read_to_string(file).unwrap_or_default() } else { String::new() };
    if !text.contains("BEGIN CERTIFICATE") {
        secret::learn(&text);
    }
}

fn program(words: &[String]) -> Invocation {
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    Invocation::new(first).args(rest.iter().cloned())
}

/// The builder's call with the variables that hold what programs printed.
#[must_use]
pub fn with_secrets(session: &Session, spec: &BuildSpec, call: Invocation) -> Invocation {
    let known = session.secrets.0.lock().unwrap_or_else(PoisonError::into_inner);
    spec.secrets.iter().fold(call, |call, (id, value)| match value {
        SecretValue::Command(words) => call.secret_env(SecretValue::variable(id), &program(words), known.get(words).cloned()),
        SecretValue::Env(name) => call.may_have(&[name]),
        SecretValue::File(_) => call,
    })
}
