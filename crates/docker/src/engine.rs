//! An engine that answers, and how its clients are called: the Docker that is there, any builder buildx knows, or one that another crate
//! has started. What is built on it is not known here.

pub mod client;
pub mod existing;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::capability::{Capabilities, Version};
use monoship_core::env::Env;
use monoship_core::execute::process::Invocation;

/// An engine that answers, and how to call its clients.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The `docker` client.
    pub docker: PathBuf,
    /// The buildx plugin, called directly: a fifth faster than through the client.
    pub buildx: PathBuf,
    /// For `DOCKER_HOST`; `None` leaves the user's own setting.
    pub docker_host: Option<String>,
    /// For `DOCKER_CONFIG`; `None` leaves the user's own setting.
    pub docker_config: Option<PathBuf>,
    /// For `BUILDX_CONFIG`: where buildx keeps the builders that it knows, where these are not the engine's own.
    pub builders: Option<PathBuf>,
    /// The loopback registry that comes with the embedded engine.
    pub registry: Option<SocketAddr>,
    /// The engine's version; `None` for a builder that is not an engine's.
    pub engine_version: Option<Version>,
    /// The plugin's version.
    pub buildx_version: Version,
    /// What the two can do.
    pub capabilities: Capabilities,
    /// Set for the embedded engine.
    pub own: Option<Own>,
}

/// Where the embedded engine's things are, for whoever is asked about its disk or its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Downloaded packages and what stand-ins are made of, shared by every engine of this user.
    pub cache: PathBuf,
    /// Its images, registry, logs and state.
    pub data: PathBuf,
    /// Tells it from any other embedded engine on the machine.
    pub id: String,
}

impl Engine {
    /// True for the embedded engine.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.own.is_some()
    }

    /// The same for builds on builders that the user has in buildx: BuildKit itself exports there, and this engine takes what is loaded.
    #[must_use]
    pub fn with_builders_of(self, env: &Env) -> Self {
        let builders = existing::builders_dir(env);
        Self { capabilities: Capabilities::of_builder(self.buildx_version), builders, ..self }
    }

    /// A call of the `docker` client on this engine.
    #[must_use]
    pub fn docker(&self) -> Invocation {
        self.client(&self.docker)
    }

    /// A call of the buildx plugin on this engine: `engine.buildx().arg("build")`.
    #[must_use]
    pub fn buildx(&self) -> Invocation {
        SAID_BY_THE_COMMAND.iter().fold(self.client(&self.buildx), |call, name| call.env_remove(*name))
    }

    fn client(&self, program: &Path) -> Invocation {
        let mut call = Invocation::new(program).may_have(&MAY_HAVE);
        if let Some(host) = &self.docker_host {
            // A context chosen in the environment would win over the host.
            call = call.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT");
        }
        if let Some(config) = &self.docker_config {
            call = call.env("DOCKER_CONFIG", config);
            call = match &self.builders {
                Some(builders) => call.env("BUILDX_CONFIG", builders),
                None => call.env_remove("BUILDX_CONFIG"),
            };
        }
        if self.is_embedded() {
            call = call.env_remove("BUILDX_BUILDER").env_remove("DOCKER_TLS_VERIFY");
        }
        call
    }

    /// What identifies the image store that `load` puts images into, for whoever remembers what is in it.
    #[must_use]
    pub fn store_id(&self) -> String {
        match &self.own {
            Some(own) => own.id.clone(),
            None => self.docker_host.clone().unwrap_or_else(|| "default".to_owned()),
        }
    }
}

/// Variables by which buildx would make another image of the same inputs (the labels of a commit, which is not among them), or leave out what a
/// release is checked by. Two machines that have one of them and not the other must not differ in what stands under a content tag.
const SAID_BY_THE_COMMAND: [&str; 5] = [
    "BUILDX_GIT_CHECK_DIRTY",
    "BUILDX_GIT_INFO",
    "BUILDX_GIT_LABELS",
    "BUILDX_NO_DEFAULT_ATTESTATIONS",
    "BUILDX_NO_DEFAULT_LOAD",
];

/// Secrets that the builder's clients need: for the Actions cache, and for whatever clouds their credential helpers, caches and drivers are in.
const MAY_HAVE: [&str; 6] = ["ACTIONS_RUNTIME_TOKEN", "AWS_*", "AZURE_*", "CLOUDSDK_*", "DOCKER_AUTH_CONFIG", "GOOGLE_*"];

/// The repository that `# syntax=docker/dockerfile:1` names. An engine has such a frontend of its own, and uses it where no line names one.
pub const FRONTEND: &str = "docker/dockerfile";

/// The variables by which tools are told which certificate authorities to trust, Node's first.
pub const CA_VARIABLES: [&str; 5] =
    ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"];

/// The certificate bundle that this machine's tools were told to trust, to be handed to install steps as the build secret
/// `ca`: the first of [`CA_VARIABLES`] that names a file. `None` where none does; the defaults are good then.
#[must_use]
pub fn ca_bundle(env: &Env) -> Option<PathBuf> {
    let files = CA_VARIABLES.into_iter().filter_map(|name| env.get(name)).map(|file| env.cwd.join(file));
    files.into_iter().find(|file| file.is_file())
}

/// Which suite of Debian the embedded engine's packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// Testing, the default; stable where testing's packages do not run here.
    Testing,
    /// Stable.
    Stable,
}

impl Suite {
    /// As written in settings and folder names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Testing => "testing",
            Self::Stable => "stable",
        }
    }
}

/// When the embedded engine makes stand-ins for the images a Dockerfile names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandIns {
    /// Where Docker Hub does not answer.
    #[default]
    Auto,
    /// Without asking Docker Hub, for machines that must not, and for tests.
    Always,
    /// Not at all: BuildKit tries Docker Hub and says what happened.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_bundle_is_the_first_file_that_a_variable_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
        let env = Env::new(dir.path(), []).with("NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem").with("CURL_CA_BUNDLE", "ca.pem");
        assert_eq!(ca_bundle(&env), Some(dir.path().join("ca.pem")));
        assert_eq!(ca_bundle(&Env::new(dir.path(), []).with("SSL_CERT_FILE", "")), None);
    }
}
