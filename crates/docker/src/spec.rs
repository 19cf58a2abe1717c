//! What one `docker buildx build` is told, as data: what `--dry-run` prints and what is executed are made from this one value.

use std::path::PathBuf;

use monoship_core::event::Task;
use monoship_core::name::{ImageRef, Platform, Tag};
use monoship_core::sorted::SortedMap;

/// One build of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSpec {
    /// Whose build this is.
    pub task: Task,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The engine's own frontend reads the Dockerfile, whatever that names in `# syntax=`.
    pub built_in_frontend: bool,
    /// The main context.
    pub context: PathBuf,
    /// A link to it, by whose name builders are to know it; made when the build begins.
    pub link: Option<PathBuf>,
    /// The target stage; empty for the last one.
    pub target: String,
    /// Named contexts: each overrides the Dockerfile stage, or the image, of its name.
    pub contexts: SortedMap<String, String>,
    /// Build arguments. They are recorded in provenance, so none is a secret.
    pub build_args: SortedMap<String, String>,
    /// Build secrets, by id.
    pub secrets: SortedMap<String, SecretValue>,
    /// Flags that take a value and change nothing else here: `--ssh`, `--allow`, `--add-host`, `--network`, limits, `--label`.
    pub options: Vec<(&'static str, String)>,
    /// Annotations of an image's manifest; they mean nothing where no image is made.
    pub annotations: SortedMap<String, String>,
    /// Annotations of what is pushed that say who put it, and what it was made from.
    pub mark: SortedMap<String, String>,
    /// The platforms; empty means the engine's own.
    pub platforms: Vec<Platform>,
    /// `--cache-from` values, in order of preference.
    pub cache_from: Vec<String>,
    /// `--cache-to` values.
    pub cache_to: Vec<String>,
    /// Execute every step, cached or not.
    pub no_cache: bool,
    /// What becomes of the result.
    pub output: Output,
    /// The value of `--provenance`; `None` turns it off.
    pub provenance: Option<String>,
    /// The value of `--sbom`; `None` turns it off.
    pub sbom: Option<String>,
    /// A builder known to buildx.
    pub builder: Option<String>,
}

impl BuildSpec {
    /// The same for one of its platforms, with that platform's caches. An image is pushed as a part, to be joined with the others; its tag
    /// says which, since Docker's own builder cannot push by digest alone.
    #[must_use]
    pub fn of_platform(&self, platform: &Platform, cache_from: Vec<String>, cache_to: Vec<String>) -> Self {
        let mut output = self.output.clone();
        if let Output::Push { names, folder, by_digest, .. } = &mut output {
            // Another job, or another day, may be to join it.
            *by_digest = false;
            if let Some(folder) = folder {
                folder.as_mut_os_string().push(platform.scope_suffix());
            }
            for name in names {
                let part = name.tag().and_then(|tag| format!("{tag}{}", platform.scope_suffix()).parse::<Tag>().ok());
                *name = part.map_or_else(|| name.without_reference(), |part| name.with_tag(part));
            }
        }
        Self { platforms: vec![platform.clone()], cache_from, cache_to, output, ..self.clone() }
    }

    /// The same as a builder is told it: its image is called by what nobody looks for in place of its content tag. That one is put when it is
    /// certain that the builder took what was read: a run that ends before leaves nothing that others trust.
    #[must_use]
    pub fn provisional(&self, run: &str) -> Self {
        let mut output = self.output.clone();
        if let Output::Load { names, .. } | Output::Push { names, folder: None, by_digest: false, .. } = &mut output {
            names.iter_mut().for_each(|name| *name = provisional(name, run));
        }
        Self { output, ..self.clone() }
    }

    /// True where what is pushed is an index: over attestations, or over several platforms.
    #[must_use]
    pub fn makes_index(&self) -> bool {
        self.provenance.is_some() || self.sbom.is_some() || self.platforms.len() > 1
    }

    /// The image that the parts of several platforms are joined under.
    #[must_use]
    pub fn joined(&self) -> Option<&ImageRef> {
        if self.platforms.len() > 1 { self.output.names().first() } else { None }
    }
}

/// What an image is called before it has its content tag: no other run calls one so, for some registries change no tag that exists. Any other
/// name is its own.
#[must_use]
pub fn provisional(name: &ImageRef, run: &str) -> ImageRef {
    let tag = name.tag().filter(|tag| tag.is_content()).and_then(|tag| format!("{tag}-{run}").parse().ok());
    tag.map_or_else(|| name.clone(), |tag| name.with_tag(tag))
}

/// Where the builder takes a secret's value from. The value itself is in no command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// A file.
    File(PathBuf),
    /// A variable that is there.
    Env(String),
    /// What this program prints, by way of a variable that the builder's process alone has: see [`SecretValue::variable`].
    Command(Vec<String>),
}

impl SecretValue {
    /// The variable that holds what a program printed for the secret `id`.
    #[must_use]
    pub fn variable(id: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("XTASK_BUILD_SECRET_{}", id.chars().map(word).collect::<String>())
    }
}

/// What becomes of a build's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Nothing: the build only warms the cache.
    CacheOnly,
    /// Into the engine's image store.
    Load {
        /// The names.
        names: Vec<ImageRef>,
        /// Pack the layers with zstd, where the engine can.
        zstd: bool,
    },
    /// To the registry under these names.
    Push {
        /// The names; their repository is where the image lies.
        names: Vec<ImageRef>,
        /// Push straight from the builder's content store, zstd-compressed, layer times clamped to the epoch. Where the engine
        /// cannot, it pushes through its image store.
        direct: bool,
        /// Under no tag: who has the digest puts it. Docker's own builder cannot (buildx 0.29).
        by_digest: bool,
        /// Put it into this folder, as an OCI image layout, for us to push: a builder asks first whether the tag is there, which some
        /// registries refuse to say.
        folder: Option<PathBuf>,
    },
    /// A buildx output as the user wrote it.
    Other(String),
}

impl Output {
    /// The names the image will have.
    pub fn names(&self) -> &[ImageRef] {
        match self {
            Self::Load { names, .. } | Self::Push { names, .. } => names,
            Self::CacheOnly | Self::Other(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_is_told_no_content_tag_and_every_other_name_as_it_is() {
        let image: ImageRef = "ghcr.io/o/r/api".parse().unwrap();
        let named =
            |tag: &str| provisional(&image.with_tag(tag.parse().unwrap()), "20261124T0608-4ea6").tag().unwrap().to_string();
        let content = format!("in-{}", "0a".repeat(20));
        assert_eq!(named(&content), format!("{content}-20261124T0608-4ea6"));
        assert_eq!(named(&format!("{content}-linux-arm64")), format!("{content}-linux-arm64-20261124T0608-4ea6"));
        assert_eq!(["dev", "in-progress"].map(named), ["dev", "in-progress"]);
    }
}
