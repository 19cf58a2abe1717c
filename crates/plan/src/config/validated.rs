//! The configuration as validated: every default in place, every value checked. Later layers take this and never look back at the file.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::config::arguments;
use crate::config::fleet;
use crate::config::folder::Folder;
use crate::config::gates::Gates;
use crate::config::given::Given;
use crate::config::notify::Notify;
use crate::config::place;
use crate::config::upkeep::{Leftover, Size, Upkeep};
use crate::config::written::{self, EngineChoice, Provenance, Sbom, Sign, Switch, Written};
use crate::templates::TagTemplates;
use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::name::{ImageRef, Platform, ServiceName};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_docker::engine::{StandIns, Suite};
use monoship_fleet::Node;

/// The sparse-checkout patterns of the reference workflow, and of `cargo xtask` itself.
pub const DEFAULT_PATTERNS: [&str; 13] = [
    ".github",
    "Dockerfile.monorepo-optimized",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "package.json",
    "tsconfig*.json",
    "apps",
    "packages",
    "xtask*",
    ".dockerignore",
    ".npmrc",
    ".pnpmfile.cjs",
    "patches",
];

/// The version tags of a release. `{version}` is the tag without `v`; a pre-release gets only the first two.
pub const DEFAULT_TAGS: [&str; 5] = ["v{version}", "{version}", "{major}.{minor}", "{major}", "latest"];

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, which may be missing.
    pub file: PathBuf,
    /// The folder of the workspace in its repository, where it is not the root; the caller fills it in.
    pub folder: Option<Folder>,
    /// Where images go and how they are made.
    pub images: Images,
    /// The Dockerfile target of the shared base image.
    pub base_target: String,
    /// Services that are configured by name; empty where the defaults find them all.
    pub services: Vec<ServiceConfig>,
    /// The cache tiers.
    pub cache: Cache,
    /// Attestations of pushed images.
    pub attest: Attest,
    /// The sparse-checkout patterns.
    pub checkout_patterns: Vec<String>,
    /// What a release publishes.
    pub release: Release,
    /// Which engine to use.
    pub engine: EngineChoice,
    /// Where the embedded engine's packages come from.
    pub suite: Suite,
    /// When it makes stand-ins.
    pub stand_ins: StandIns,
    /// A builder that buildx knows by this name.
    pub builder: Option<String>,
    /// The builders that builds are divided among; empty where there is one.
    pub fleet: Vec<Node>,
    /// How many services build at once; `None` takes it from the cores.
    pub jobs: Option<NonZeroUsize>,
    /// How much memory there is for builds; `None` takes it from the engine.
    pub memory: Option<Size>,
    /// Bounds on builds and images.
    pub gates: Gates,
    /// Who is told of what happened.
    pub notify: Notify,
    /// Where the history of runs is shared, with a tag; `None` where there is no registry.
    pub history: Option<ImageRef>,
}

/// Where images go and how they are made.
#[derive(Debug, Clone)]
pub struct Images {
    /// `registry/namespace`, where images are pushed; `None` where neither the file nor the git remote says it.
    pub prefix: Option<ImageRef>,
    /// What tells this repository's images from another's where there is no prefix; the caller fills in the name of the root's package
    /// where the file says nothing.
    pub local: Option<String>,
    /// The Dockerfile, relative to the repository's root.
    pub dockerfile: String,
    /// The platforms to build; empty means the engine's own.
    pub platforms: Vec<Platform>,
    /// Build arguments of every target.
    pub build_args: SortedMap<String, String>,
    /// What else every target's build is given.
    pub given: Given,
    /// Folders of apps, and targets, that look like services and are none.
    pub not_services: SortedSet<String>,
}

impl Images {
    /// A service's image, without tag; a local name, which nothing can be pushed to, where there is no registry.
    ///
    /// # Errors
    /// When prefix and name together are no image's name.
    pub fn image(&self, service: &ServiceName) -> Result<ImageRef> {
        let local = || self.local.as_ref().map_or_else(|| "local".to_owned(), |name| format!("local/{name}"));
        let prefix = self.prefix.as_ref().map_or_else(local, ToString::to_string);
        format!("{prefix}/{service}").parse()
    }
}

/// A service as configured.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Its name.
    pub name: ServiceName,
    /// Its Dockerfile target; the name unless said otherwise.
    pub target: String,
    /// Its package: a folder or a package name; `apps/<name>` unless said otherwise.
    pub package: String,
    /// The Dockerfile of its own, where it has one.
    pub own: Option<Own>,
    /// Its platforms, where they differ from the images'.
    pub platforms: Option<Vec<Platform>>,
    /// Build arguments of this service alone.
    pub build_args: SortedMap<String, String>,
    /// What else its build is given.
    pub given: Given,
    /// The lines of the file, from 1, that have its contexts; none where no file says them.
    pub context_lines: SortedMap<String, usize>,
    /// Patterns of files outside its packages that are its sources too, relative to the repository's root.
    pub include: Vec<String>,
    /// The memory that a build of it takes at its height, where it is said.
    pub memory: Option<Size>,
}

/// A service as somebody says it, in the file or in Rust, before it is checked: each field as that of [`ServiceConfig`].
#[derive(Debug)]
pub struct Declared {
    /// Its name.
    pub name: ServiceName,
    /// Its Dockerfile target, or the stage of a Dockerfile of its own.
    pub target: Option<String>,
    /// Its package.
    pub package: Option<String>,
    /// The Dockerfile of its own.
    pub dockerfile: Option<String>,
    /// The folder that is its build context.
    pub context: Option<String>,
    /// Its platforms.
    pub platforms: Option<Vec<Platform>>,
    /// Build arguments, which are checked by their names.
    pub build_args: SortedMap<String, String>,
    /// What else its build is given.
    pub given: Given,
    /// Patterns of files.
    pub include: Vec<String>,
    /// The memory that a build of it takes.
    pub memory: Option<Size>,
}

impl Declared {
    /// The service, with what is not said filled in.
    ///
    /// # Errors
    /// A path that leads out of the repository, a target, a pattern or a build argument that is none.
    pub fn checked(self) -> Result<ServiceConfig> {
        let own = Own::of(self.dockerfile.as_deref(), self.context.as_deref(), self.target.as_deref())
            .map_err(|error| Error::usage(format!("service `{}`", self.name)).source(error))?;
        // With a Dockerfile of its own it shares no stage, and no cache: these go by its name.
        let target = self.target.filter(|_| own.is_none()).unwrap_or_else(|| self.name.to_string());
        target_name(&target)?;
        self.build_args.iter().try_for_each(|(name, value)| arguments::argument(name, value))?;
        let folder = own.as_ref().map(Own::folder);
        Ok(ServiceConfig {
            target,
            package: self.package.or(folder).unwrap_or_else(|| format!("apps/{}", self.name)),
            own,
            platforms: self.platforms,
            build_args: self.build_args,
            given: self.given,
            context_lines: SortedMap::new(),
            include: self.include.iter().map(|pattern| included(pattern)).collect::<Result<_>>()?,
            memory: self.memory,
            name: self.name,
        })
    }
}

/// A Dockerfile that one service has for itself. Paths are relative to the repository's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Own {
    /// The Dockerfile.
    pub dockerfile: String,
    /// The folder that is its build context; `.` for the repository.
    pub context: String,
    /// The target stage; empty for the last one.
    pub stage: String,
}

impl Own {
    /// Of the keys of a service. A context alone holds its Dockerfile.
    ///
    /// # Errors
    /// A path that leads out of the repository.
    pub fn of(dockerfile: Option<&str>, context: Option<&str>, target: Option<&str>) -> Result<Option<Self>> {
        let within = |path: &str| -> Result<String> {
            let outside =
                || Error::usage(format!("`{path}` leads out of the repository")).hint("write it from the repository's root");
            let mut parts: Vec<&str> = Vec::new();
            for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
                if part == ".." {
                    parts.pop().ok_or_else(outside)?;
                } else {
                    parts.push(part);
                }
            }
            if path.starts_with('/') {
                Err(outside())
            } else {
                Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
            }
        };
        let context_folder = within(context.unwrap_or("."))?;
        let dockerfile = match (dockerfile, context) {
            (None, None) => return Ok(None),
            (Some(dockerfile), _) => within(dockerfile)?,
            (None, Some(_)) => within(&format!("{context_folder}/Dockerfile"))?,
        };
        Ok(Some(Self { dockerfile, context: context_folder, stage: target.unwrap_or_default().to_owned() }))
    }

    /// The folder that it is likely about: the context's, else the Dockerfile's.
    #[must_use]
    pub fn folder(&self) -> String {
        let beside = self.dockerfile.rsplit_once('/').map_or(".", |(folder, _)| folder);
        if self.context == "." { beside.to_owned() } else { self.context.clone() }
    }
}

/// The cache tiers, in their order of preference.
#[derive(Debug, Clone)]
pub struct Cache {
    /// GitHub's cache service.
    pub gha: Switch,
    /// A cache manifest in the registry.
    pub registry: Switch,
    /// The image that was pushed last.
    pub previous: Switch,
    /// Cache metadata inside the image.
    pub inline: Switch,
    /// What `RUN --mount=type=cache` keeps.
    pub mounts: Switch,
    /// The registry tier's repository; one tag a target.
    pub repository: Option<ImageRef>,
    /// What `cache prune` goes by.
    pub upkeep: Upkeep,
}

/// Attestations of pushed images.
#[derive(Debug, Clone)]
pub struct Attest {
    /// How much provenance.
    pub provenance: Provenance,
    /// Whether, and by whom, a bill of materials.
    pub sbom: Sbom,
}

/// What a release publishes.
#[derive(Debug, Clone)]
pub struct Release {
    /// Which tags a version gets.
    pub tags: TagTemplates,
    /// Patterns of branches, on one of which a release's commit has to be; `None` for the default branch.
    pub branches: Option<Vec<String>>,
    /// Put version, revision and time as annotations on a new index over the same platform manifests.
    pub annotate: bool,
    /// Who signs.
    pub signing: Signing,
}

/// Who signs a release, by cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// Nobody.
    Off,
    /// Whom an OpenID issuer vouches for.
    Keyless(Keyless),
    /// A key pair, each half as cosign takes it: a file relative to the repository's root, `env://…`, or a key service's URL.
    Key {
        /// Signs.
        private: String,
        /// Checks.
        public: String,
    },
}

/// What is said of keyless signatures; what is not said is the public instance's, of any workflow of the git remote's repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyless {
    /// Who signs, a regular expression.
    pub identity: Option<String>,
    /// Who vouches, a regular expression.
    pub issuer: Option<String>,
    /// The file that names a private instance's services, relative to the repository's root, as the next.
    pub signing_config: Option<String>,
    /// The file with their keys and certificates.
    pub trusted_root: Option<String>,
}

/// Makes the configuration; `remote` is the registry and namespace that the git remote suggests, `env` has what arguments take from variables.
///
/// # Errors
/// A value that is well-formed TOML and still cannot be meant. The caller adds the file.
pub fn validate(mut written: Written, env: &Env, remote: Option<(String, String)>) -> Result<Config> {
    let repository_name = remote.as_ref().and_then(|(_, namespace)| namespace.rsplit('/').next()).map(str::to_owned);
    let prefix = place::of_images(&written.images, remote)?;
    let repository = match written.cache.repository {
        Some(repository) if repository.tag().is_some() || repository.digest().is_some() => {
            return Err(Error::usage(format!("[cache] repository `{repository}` has a tag"))
                .hint("leave it out: each target's cache gets a tag of its own"));
        }
        Some(repository) => Some(repository),
        None => prefix.as_ref().and_then(|prefix| place::beside(prefix, repository_name.as_deref(), "cache")),
    };
    if let Some(name) = &written.images.local
        && format!("local/{name}/service").parse::<ImageRef>().is_err()
    {
        return Err(Error::usage(format!("[images] local = \"{name}\" is not allowed in an image name"))
            .hint("lower-case letters, digits, and `.`, `_`, `-` between them: `local = \"shop\"`"));
    }
    // The namespace is a repository, too, unless it has one part.
    let at_namespace = prefix.clone().filter(|prefix| prefix.repository().contains('/'));
    let history = at_namespace.or_else(|| place::beside(prefix.as_ref()?, repository_name.as_deref(), "history"));
    let history = written.stats.validate(history.as_ref())?;
    let base_target = written.base.target.unwrap_or_else(|| "base".to_owned());
    target_name(&base_target)?;
    let services = services(written.service, env)?;
    let given = written.images.take_given().validate()?;
    if let Some((name, service)) = given.services().next() {
        return Err(Error::usage(format!(
            "[images] context {name}: `service:{service}` cannot be one of every target, {service} included"
        ))
        .hint("set it in the [[service]] that needs it"));
    }
    let build_args = arguments::given(written.images.build_args.unwrap_or_default(), env)?;
    if written.builders.builder.is_some() && !written.builders.fleet.is_empty() {
        return Err(Error::usage("[builders] builder names one builder, and `fleet` several").hint("leave `builder` out"));
    }
    if written.builders.memory.is_some() && !written.builders.fleet.is_empty() {
        return Err(Error::usage("[builders] memory is one machine's, and `fleet` has several")
            .hint("leave `memory` out, and say with `builds` how many each takes at once"));
    }
    let fleet = fleet::validate(written.builders.fleet)?;
    let signing = signing(&written.release)?;
    let tags = written.release.tags.map_or_else(|| TagTemplates::parse(&DEFAULT_TAGS), |tags| TagTemplates::parse(&tags))?;
    Ok(Config {
        file: PathBuf::new(),
        folder: None,
        images: Images {
            prefix,
            local: written.images.local,
            dockerfile: written.images.dockerfile.unwrap_or_else(|| "Dockerfile.monorepo-optimized".to_owned()),
            platforms: written.images.platforms.unwrap_or_default(),
            build_args,
            given,
            not_services: written.images.not_services.unwrap_or_default().into_iter().into_set(),
        },
        base_target,
        services,
        cache: Cache {
            gha: written.cache.gha.unwrap_or(Switch::Auto),
            registry: written.cache.registry.unwrap_or(Switch::Auto),
            previous: written.cache.previous.unwrap_or(Switch::Auto),
            inline: written.cache.inline.unwrap_or(Switch::Auto),
            mounts: written.cache.mounts.unwrap_or(Switch::Auto),
            repository,
            upkeep: Upkeep {
                max_age: written.cache.max_age,
                max_count: written.cache.max_count,
                max_size: written.cache.max_size,
                protect: written.cache.protect.unwrap_or_default(),
                leftovers: written.cache.prune.unwrap_or_else(|| Leftover::ALL.to_vec()),
            },
        },
        attest: Attest {
            provenance: written.attest.provenance.unwrap_or(Provenance::Max),
            sbom: written.attest.sbom.unwrap_or(Sbom::On),
        },
        checkout_patterns: written.checkout.patterns.unwrap_or_else(|| DEFAULT_PATTERNS.map(str::to_owned).to_vec()),
        release: Release {
            tags,
            branches: written.release.branches,
            annotate: written.release.annotate.unwrap_or(false),
            signing,
        },
        engine: written.builders.engine.unwrap_or(EngineChoice::Auto),
        suite: written.builders.suite.unwrap_or(Suite::Testing),
        stand_ins: written.builders.stand_ins.unwrap_or_default(),
        builder: written.builders.builder,
        fleet,
        jobs: written.builders.jobs,
        memory: written.builders.memory,
        gates: written.gates.validate()?,
        notify: written.notify.validate()?,
        history,
    })
}

fn signing(release: &written::Release) -> Result<Signing> {
    let public = &release.public_key;
    let keyless = Keyless {
        identity: release.identity.clone(),
        issuer: release.issuer.clone(),
        signing_config: release.signing_config.clone(),
        trusted_root: release.trusted_root.clone(),
    };
    let nothing_keyless = keyless == Keyless::default();
    let odd = match &release.sign {
        Some(Sign::Keyless) if public.is_none() => return Ok(Signing::Keyless(keyless)),
        Some(Sign::Key(private)) if nothing_keyless => {
            // A key service answers for both halves.
            let service = private.contains("://") && !private.starts_with("env://");
            let public = public.clone().or_else(|| service.then(|| private.clone()));
            return public.map(|public| Signing::Key { private: private.clone(), public }).ok_or_else(|| {
                Error::usage("[release] sign names a key, but not how to check it")
                    .hint("set `public-key` to the file with the public key")
            });
        }
        Some(Sign::Off) | None if public.is_none() && nothing_keyless => return Ok(Signing::Off),
        Some(Sign::Keyless) => "`public-key` means nothing with sign = \"keyless\"",
        Some(Sign::Key(_)) => "`identity`, `issuer`, `signing-config` and `trusted-root` mean nothing where `sign` names a key",
        Some(Sign::Off) | None => {
            "`public-key`, `identity`, `issuer`, `signing-config` and `trusted-root` mean nothing without `sign`"
        }
    };
    Err(Error::usage(format!("[release] {odd}")).hint("leave them out, or change `sign`"))
}

fn services(written: Vec<written::Service>, env: &Env) -> Result<Vec<ServiceConfig>> {
    let mut seen = monoship_core::sorted::SortedSet::new();
    let mut services = Vec::new();
    for mut service in written {
        let given = service.take_given().validate()?;
        if !seen.insert(service.name.clone()) {
            return Err(Error::usage(format!("service `{}` is configured twice", service.name))
                .hint("merge the two, or rename one of them"));
        }
        let declared = Declared {
            name: service.name,
            target: service.target,
            package: service.package,
            dockerfile: service.dockerfile,
            context: service.context,
            platforms: service.platforms,
            build_args: arguments::given(service.build_args, env)?,
            given,
            include: service.include,
            memory: service.memory,
        };
        services.push(declared.checked()?);
    }
    Ok(services)
}

/// A pattern of `include`, which stays within the repository.
///
/// # Errors
/// One that is absolute, negative or empty, or leads out.
fn included(pattern: &str) -> Result<String> {
    let leaves = pattern.starts_with(['/', '!']) || pattern.split('/').any(|part| part == "..");
    if pattern.trim().is_empty() || leaves {
        return Err(Error::usage(format!("`{pattern}` is not a pattern of files to include"))
            .hint("write it from the repository's root: `vite.shared.mjs`, `prisma/**`"));
    }
    Ok(pattern.to_owned())
}

fn target_name(name: &str) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(word) {
        return Ok(());
    }
    Err(Error::usage(format!("`{name}` is not a Dockerfile target"))
        .hint("a target is a stage name: a letter, then letters, digits, `-`, `_` and `.`"))
}
