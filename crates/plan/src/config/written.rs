//! `xtask.toml` as it is written: every key optional, unknown ones refused. What it means is decided in `validated.rs`.

use serde::Deserialize;

use monoship_core::sorted::SortedMap;
use monoship_docker::engine::{StandIns, Suite};

use crate::config::arguments::Argument;
use crate::config::given;
use crate::config::upkeep::{Age, Leftover, Size};
use monoship_core::name::{ImageRef, Platform, ServiceName};

/// Gives a section the keys of [`given::Written`] beside its own: `flatten` would take unknown keys in silence.
macro_rules! with_given {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $kind:ty,)+ }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)+
            #[serde(default)]
            pub secrets: Option<Vec<given::Secret>>,
            #[serde(default)]
            pub ssh: Option<Vec<given::Ssh>>,
            #[serde(default)]
            pub contexts: Option<SortedMap<String, given::ContextSource>>,
            #[serde(default)]
            pub allow: Option<Vec<given::Entitlement>>,
            #[serde(default)]
            pub add_hosts: Option<Vec<given::Host>>,
            #[serde(default)]
            pub network: Option<given::Network>,
            #[serde(default)]
            pub shm_size: Option<given::ShmSize>,
            #[serde(default)]
            pub ulimits: Option<Vec<given::Limit>>,
            #[serde(default)]
            pub cgroup_parent: Option<String>,
            #[serde(default)]
            pub labels: Option<SortedMap<String, String>>,
            #[serde(default)]
            pub annotations: Option<SortedMap<String, String>>,
        }

        impl $name {
            /// What builds are given, taken out.
            pub(super) fn take_given(&mut self) -> given::Written {
                given::Written {
                    secrets: self.secrets.take(),
                    ssh: self.ssh.take(),
                    contexts: self.contexts.take(),
                    allow: self.allow.take(),
                    add_hosts: self.add_hosts.take(),
                    network: self.network.take(),
                    shm_size: self.shm_size.take(),
                    ulimits: self.ulimits.take(),
                    cgroup_parent: self.cgroup_parent.take(),
                    labels: self.labels.take(),
                    annotations: self.annotations.take(),
                }
            }
        }
    };
}

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Written {
    pub images: Images,
    pub base: Base,
    pub service: Vec<Service>,
    pub cache: Cache,
    pub attest: Attest,
    pub checkout: Checkout,
    pub release: Release,
    pub builders: Builders,
    pub stats: super::stats::Written,
    pub gates: super::gates::Written,
    pub notify: super::notify::Written,
}

with_given! {
    /// Where images go and what they are called: `<registry>/<namespace>/<service>`.
    #[derive(Debug, Clone, Default, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
    pub struct Images {
        pub registry: Option<String>,
        pub namespace: Option<String>,
        pub local: Option<String>,
        pub dockerfile: Option<String>,
        pub platforms: Option<Vec<Platform>>,
        pub build_args: Option<SortedMap<String, Argument>>,
        pub not_services: Option<Vec<String>>,
    }
}

/// The shared target of all services, which has a cache of its own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Base {
    pub target: Option<String>,
}

with_given! {
    /// One service, where the defaults do not say it.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub struct Service {
        pub name: ServiceName,
        pub target: Option<String>,
        pub package: Option<String>,
        pub dockerfile: Option<String>,
        pub context: Option<String>,
        pub platforms: Option<Vec<Platform>>,
        #[serde(default)]
        pub build_args: SortedMap<String, Argument>,
        #[serde(default)]
        pub include: Vec<String>,
        pub memory: Option<Size>,
    }
}

/// A cache tier: on where it can work, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Switch {
    /// On where it can work.
    Auto,
    /// Never.
    Off,
}

impl TryFrom<toml::Value> for Switch {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(true) => Ok(Self::Auto),
            toml::Value::Boolean(false) => Ok(Self::Off),
            toml::Value::String(text) if text == "auto" => Ok(Self::Auto),
            other => Err(format!("expected true, false or \"auto\", found {other}")),
        }
    }
}

/// The cache tiers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Cache {
    pub gha: Option<Switch>,
    pub registry: Option<Switch>,
    pub previous: Option<Switch>,
    pub inline: Option<Switch>,
    pub mounts: Option<Switch>,
    pub repository: Option<ImageRef>,
    pub max_age: Option<Age>,
    pub max_count: Option<usize>,
    pub max_size: Option<Size>,
    pub protect: Option<Vec<String>>,
    pub prune: Option<Vec<Leftover>>,
}

/// How much provenance a pushed image carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Provenance {
    /// Everything, build arguments included.
    Max,
    /// Builder, materials and times.
    Min,
    /// None.
    Off,
}

impl TryFrom<toml::Value> for Provenance {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match &value {
            toml::Value::Boolean(true) => Ok(Self::Max),
            toml::Value::Boolean(false) => Ok(Self::Off),
            toml::Value::String(text) if text == "max" => Ok(Self::Max),
            toml::Value::String(text) if text == "min" => Ok(Self::Min),
            other => Err(format!("expected \"max\", \"min\", true or false, found {other}")),
        }
    }
}

/// Whether a pushed image carries a software bill of materials, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Sbom {
    /// By BuildKit's default generator.
    On,
    /// By this generator image.
    Generator(ImageRef),
    /// None.
    Off,
}

impl TryFrom<toml::Value> for Sbom {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match &value {
            toml::Value::Boolean(true) => Ok(Self::On),
            toml::Value::Boolean(false) => Ok(Self::Off),
            toml::Value::String(image) => image.parse().map(Self::Generator).map_err(|e| e.to_string()),
            other => Err(format!("expected true, false or a generator image, found {other}")),
        }
    }
}

/// Attestations of pushed images.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Attest {
    pub provenance: Option<Provenance>,
    pub sbom: Option<Sbom>,
}

/// The sparse checkout of a release.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Checkout {
    pub patterns: Option<Vec<String>>,
}

/// Whether a release is signed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Sign {
    /// Not at all.
    Off,
    /// By whom an OpenID issuer vouches for.
    Keyless,
    /// By this private key, as cosign takes it.
    Key(String),
}

impl TryFrom<toml::Value> for Sign {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(false) => Ok(Self::Off),
            toml::Value::String(text) if text == "keyless" => Ok(Self::Keyless),
            toml::Value::String(key) if !key.is_empty() && !key.starts_with('-') => Ok(Self::Key(key)),
            other => Err(format!("expected \"keyless\", a key or false, found {other}")),
        }
    }
}

/// What a release publishes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Release {
    pub tags: Option<Vec<String>>,
    pub branches: Option<Vec<String>>,
    pub annotate: Option<bool>,
    pub sign: Option<Sign>,
    pub public_key: Option<String>,
    pub identity: Option<String>,
    pub issuer: Option<String>,
    pub signing_config: Option<String>,
    pub trusted_root: Option<String>,
}

/// Which engine to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// The Docker that is there when it answers, else the embedded engine.
    Auto,
    /// Only the Docker that is there.
    Docker,
    /// Only the embedded engine.
    Embedded,
}

/// The engine, the builder and how many services build at once.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Builders {
    pub engine: Option<EngineChoice>,
    pub suite: Option<Suite>,
    pub stand_ins: Option<StandIns>,
    pub builder: Option<String>,
    pub fleet: Vec<super::fleet::Written>,
    pub jobs: Option<std::num::NonZeroUsize>,
    pub memory: Option<Size>,
}
