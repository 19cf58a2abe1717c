//! What goes into a service's image, as a versioned structure, and its fingerprint. No I/O: trees, slices and parts come in.
//!
//! # The format, version 2
//!
//! A fingerprint is the SHA-256 of this JSON object, written without blanks, its keys in this order, the keys of every map sorted:
//!
//! ```text
//! schema     2
//! target     the target stage
//! syntax     the frontend's image with the digest it is pinned to, or null where the builder's own reads the Dockerfile
//! stages     for each reached stage its name (`#n` for the n-th without one) and the hashes of its steps, FROM first: the first
//!            16 hexadecimal digits of the SHA-256 of the step's canonical text (see `workspace::dockerfile::Slice::texts`)
//! contexts   for each named build context that a reached step uses: the hash of each of its parts, by the part's name
//! main       the hash of the files of the main context that reached steps can see, or null where they see none
//! bases      each image from outside, with the digest it is pinned to
//! addresses  each address that an ADD fetches and no checksum holds, with what it held when it was asked
//! arguments  each build argument that is given and can matter, with the first 16 digits of its value's SHA-256
//! platforms  the platforms, sorted
//! settings   what else changes the image: attestations, compression, the epoch, the architecture where no platform is named, another
//!            escape character than the backslash
//! ```
//!
//! A part's hash is the SHA-256 of its entries, sorted by name, each as name, zero byte, value, zero byte. The value of a file is its
//! mode, a blank, and the id that git would give to its content as it lies on disk. So a fingerprint holds no time, no absolute path, no line number, and nothing of what the target does
//! not reach. What is recorded after a build is the whole structure, entries included, so that the next plan can say what differs; values
//! of build arguments are in neither.
//!
//! The `base` target's fingerprint is made by the same function.
//!
//! # What is hashed is what a builder is handed
//!
//! Each way in which what a builder gets can differ from what git, the Dockerfile or a tag says, how it is met, and the test for it.
//! What cannot be known is built, or named in a warning.
//!
//! Files, where git's word does not tell what is on disk (`git::listing`; tests in `git/tests/bytes.rs`, and all of them at random, held
//! against a real builder, in `e2e/handed.rs`):
//!
//! | what | how it is met | test |
//! |---|---|---|
//! | filters (`filter=`, LFS), `ident`, `working-tree-encoding`, `text`, `eol`, `core.autocrlf` | such files are hashed as they lie on disk, clean or not | `a_clean_file_that_is_converted_…`, `line_ends_that_…` |
//! | the same where the attribute or the setting is gone, and git goes by the size and time that it noted | of other size than what git keeps, or where a filter driver is configured: refused as it is built, with the way out (`steps::project::check_unchanged`) | `a_file_that_was_converted_by_what_is_gone_…` |
//! | a Git LFS pointer in place of the file | a warning; an error in a release | `a_file_that_git_lfs_has_…` |
//! | `skip-worktree`, `assume-unchanged`, `core.ignoreStat`, intent-to-add, conflicts, sparse checkouts and indexes | on disk: hashed; not there: not sent | `what_git_was_told_not_to_look_at_…`, `an_unmerged_…`, `a_sparse_…` |
//! | `core.fileMode`, `core.symlinks`, `core.trustCtime`, `core.checkStat`, `core.fsmonitor` set so that git looks less closely | not the user's to set here | `settings_that_make_git_look_less_closely_…` |
//! | other bits than the executable one, folders' bits, empty folders, extended attributes, pipes | counted where the main context is seen; pruned contexts have none | `bits_empty_folders_and_extended_attributes_count` |
//! | ignored files (`.gitignore`, `info/exclude`, the user's own excludes) that COPY or a mount of the main context takes | the context is walked as the builder's sender walks it | `files_that_git_ignores_…` |
//! | repositories and submodules within, whatever they ignore; `.git` itself | as any file; a warning for `.git` | `repositories_and_submodules_within_…` |
//! | links in the path of a COPY, wildcards among them | what they lead to counts too | `links_in_the_path_of_a_pattern_…` |
//! | a Dockerfile or an ignore file that is a link: builders follow it within the folder that they are sent | followed so (`dockerfile::place`) | `a_link_out_of_its_folder_…`, `release/both_ways.rs` |
//! | spellings on a file system that does not tell them apart (`core.ignoreCase`, `core.precomposeUnicode`) | the name on disk counts, and is hashed where git has another | `links…`, by the walk |
//! | names that are not UTF-8 | a warning: no builder takes them | `a_name_that_is_not_utf8_…` |
//! | our own state in the context | does not count, and is named in a warning | `our_own_state_…` |
//! | an edit between plan and build | refused (`steps::project::check_unchanged`) | `e2e/pushes.rs` |
//! | an edit while a builder is at work, which takes files as it comes to them | the image has failed, and is given no content tag, which is put last (`steps::edited`) | `an_image_of_a_file_that_was_edited_…` |
//! | an edit of the copies in pruned contexts while others build, as `sed -i` over all that lies below the root makes it | the same | the same |
//! | an edit of the Dockerfile or the ignore file while others build, which a builder reads as it begins | the same | the same |
//! | another run of the working tree, which writes into the same pruned contexts before a builder has them | it waits (`Cut::hold` in `steps::contexts`) | `two_runs_of_a_working_tree_…` |
//! | an edit that keeps size and time of modification, by which BuildKit decides what to send again, also of a named context, or of a file that another folder of the context's name has sent | refused, with the way out (`steps::sent::check_times`); pruned contexts have times of their own | `an_edit_that_a_builder_would_not_be_sent_…` |
//! | a folder's permissions alone, of which a builder keeps the old ones (moby/buildkit#7176) | the context is handed over under another name (`steps::identity`) | `contexts_that_a_builder_would_take_for_others_…` |
//! | another folder under the name of a named context, whose files have the other's sizes and times | the same | the same |
//! | times of modification | not in BuildKit's keys; images' times are clamped | `bits_…` |
//!
//! What comes from elsewhere (`steps::inputs`, `steps::outside`, `steps::given`; tests in `e2e/bytes.rs`):
//!
//! | what | how it is met | test |
//! |---|---|---|
//! | base images, with all that their configuration brings (ENV, USER…) | by digest, from `xtask.lock`; a stand-in by its own | `an_image_without_a_pin_is_refused` |
//! | their ONBUILD triggers, which take files no line of the Dockerfile names | noted in `xtask.lock`; the whole main context counts then | `triggers_of_an_image_…`, `an_image_with_triggers_…` |
//! | variables that they set, by which a COPY names files, whatever default stands beside it; an ARG after an ENV of its name, of which builders take the one or the other | not known here: the whole main context counts | `a_variable_names_files_as_…`, `an_arg_after_another_env_…` |
//! | `DOCKER_DEFAULT_PLATFORM`, which buildx takes for `--platform` | taken for it here too | `the_platform_of_the_users_client_…` |
//! | `BUILDX_GIT_LABELS` and its like, by which buildx adds what it finds out | taken from buildx | `variables_of_the_users_client_…` |
//! | `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY`, by which a builder takes other sources | what the file says counts | the same |
//! | the frontend of `# syntax=` or `BUILDKIT_SYNTAX` | pinned like a base image, and handed on so; a warning where it cannot be | `the_frontend_is_pinned_like_a_base_image` |
//! | the scanner that makes SBOMs | the same | `e2e/pushes.rs` |
//! | `ADD` of an address without checksum, of a branch or tag of a repository | asked each time: a strong ETag, the content's hash, the commit, and again once it is built: then the image has failed, as where a builder's cache had what a weak ETag stood for before; where nobody answers it is built, with a warning | `an_address_whose_content_moves_is_asked_again` |
//! | named contexts: folders, images, addresses | read like the main context; pinned; asked | `e2e` of `contexts` |
//! | named contexts: images of services of ours | by the other service's fingerprint; that image is made or proven to stand first | `e2e/built_from.rs` |
//! | `TARGET*` and `BUILD*`, which BuildKit sets itself | known without `--platform` too; the builder's own platform counts where it is read | `every_argument_that_buildkit_sets_by_itself_…` |
//! | `BUILDKIT_*` and `SOURCE_DATE_EPOCH` among the arguments | always counted | the properties in `fingerprint/tests.rs` |
//! | proxies (`HTTP_PROXY` and its like), which buildx takes from the user's client | no part of keys or images, but where an ARG declares them: what the client's file says counts then | `proxies_of_the_users_client_…` |
//! | secrets, SSH agents | that they are there, never their values; a host's name tells BuildKit's keys of those that a step can do without (`steps::given`) | `e2e/given.rs` |
//! | addresses of added hosts | counted; that host's name tells BuildKit's keys, which have the hosts' names alone | the same |
//! | what a RUN fetches, cache mounts | nobody can know: the step's text counts, as for BuildKit | |

use serde::{Deserialize, Serialize};

use super::part::{MainContext, Part};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Fingerprint, ImageRef, Platform, sha256_hex};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::dockerfile::{Slice, StageText};

#[cfg(test)]
mod tests;

/// The format's version. Raise it whenever equal inputs may come to mean another image: every service is then built once.
pub const SCHEMA: u32 = 2;

/// A build context's parts by name: for sources, one for each package of the closure.
pub type Parts = SortedMap<String, Part>;

/// Everything that can change one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inputs {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The target stage.
    pub target: String,
    /// The frontend's image and its digest; `None` where the builder's own frontend reads the Dockerfile.
    pub syntax: Option<String>,
    /// The reached stages, by name.
    pub stages: SortedMap<String, StageInput>,
    /// The named contexts that are used.
    pub contexts: SortedMap<String, Parts>,
    /// What is seen of the main context.
    pub main: Option<Part>,
    /// Images from outside and what they are pinned to.
    pub bases: SortedMap<ImageRef, String>,
    /// Addresses that an ADD fetches, and what each held.
    #[serde(default)]
    pub addresses: SortedMap<String, String>,
    /// Build arguments and hashes of their values: a value must not get into a record.
    pub arguments: SortedMap<String, String>,
    /// The platforms.
    pub platforms: SortedSet<Platform>,
    /// Attestation and output settings that change the image.
    pub settings: SortedMap<String, String>,
}

/// A stage: a hash for each step. The lines are those of the current Dockerfile, for messages; they are not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageInput {
    /// 16 hexadecimal digits for each step, FROM first.
    pub steps: Vec<String>,
    /// The line of each step, from 1; empty in what was read from a record.
    #[serde(skip)]
    pub lines: Vec<usize>,
}

/// What [`Inputs::new`] is made from.
pub struct Facts<'a> {
    /// The target stage.
    pub target: &'a str,
    /// What it reaches; made with the same contexts, arguments and platforms as are given here.
    pub slice: &'a Slice<'a>,
    /// Every named context that will be given. Those the target does not use are left out.
    pub contexts: &'a SortedMap<String, Parts>,
    /// The main context.
    pub main: &'a MainContext<'a>,
    /// The build arguments that will be given. Those the target cannot see are left out.
    pub args: &'a SortedMap<String, String>,
    /// What an image is pinned to: a digest, or what tells one stand-in from another.
    pub pin: &'a dyn Fn(&ImageRef) -> Option<String>,
    /// The frontend's image and its digest, where the Dockerfile or an argument names one.
    pub syntax: Option<String>,
    /// What each address holds that an ADD fetches and the Dockerfile does not pin.
    pub addresses: &'a SortedMap<String, String>,
    /// The platforms that will be built.
    pub platforms: &'a [Platform],
    /// Attestation and output settings that change the image.
    pub settings: &'a SortedMap<String, String>,
}

impl Inputs {
    /// Gathers what goes into one image.
    ///
    /// # Errors
    /// When an image is not pinned, or a context that the target uses was not given.
    pub fn new(facts: &Facts<'_>) -> Result<Self> {
        let mut contexts = SortedMap::new();
        for name in facts.slice.contexts() {
            let parts = facts.contexts.get(name).ok_or_else(|| {
                Error::failed(format!(
                    "the target `{}` uses the build context `{name}`, whose content is not known",
                    facts.target
                ))
            })?;
            contexts.insert(name.clone(), parts.clone());
        }
        let mut bases = SortedMap::new();
        for base in facts.slice.images() {
            let own = base.image.digest().map(ToString::to_string);
            let pinned = own.or_else(|| (facts.pin)(&base.image)).ok_or_else(|| {
                Error::usage(format!("`{}` is not pinned", base.image))
                    .hint("run `cargo xtask update`, which writes its digest to xtask.lock")
            })?;
            bases.insert(base.image, pinned);
        }
        let escape = facts.slice.escape().map(|escape| ("escape".to_owned(), escape.to_string()));
        Ok(Self {
            schema: SCHEMA,
            target: facts.target.to_owned(),
            syntax: facts.syntax.clone(),
            stages: facts.slice.texts().into_iter().map(stage_input).collect(),
            contexts,
            main: facts.main.seen_by(facts.slice),
            bases,
            addresses: addresses(facts)?,
            arguments: arguments(facts),
            platforms: facts.platforms.iter().cloned().collect(),
            settings: facts.settings.clone().into_iter().chain(escape).into_map(),
        })
    }

    /// The fingerprint: see the module's text.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let described = Hashed {
            schema: self.schema,
            target: &self.target,
            syntax: self.syntax.as_deref(),
            stages: &self.stages,
            contexts: self.contexts.iter().map(|(name, parts)| (name.as_str(), hashes(parts))).into_map(),
            main: self.main.as_ref().map(Part::hash),
            bases: &self.bases,
            addresses: &self.addresses,
            arguments: &self.arguments,
            platforms: &self.platforms,
            settings: &self.settings,
        };
        Fingerprint::of(&serde_json::to_vec(&described).expect("maps with text keys serialise"))
    }

    /// True where the file at `path`, relative to the repository's root, is part of it.
    #[must_use]
    pub fn count_on(&self, path: &str) -> bool {
        self.contexts.values().flat_map(SortedMap::values).chain(&self.main).any(|part| part.names(path))
    }

    /// The form that is recorded after a build.
    #[must_use]
    pub fn to_record(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("maps with text keys serialise")
    }

    /// Reads what [`Inputs::to_record`] made. `None` for what it did not: a plan that cannot read the last record says less, and no
    /// more than that is lost.
    #[must_use]
    pub fn from_record(record: serde_json::Value) -> Option<Self> {
        serde_json::from_value(record).ok()
    }
}

/// The part of [`Inputs`] that is hashed. The order of its fields is the format.
#[derive(Serialize)]
struct Hashed<'a> {
    schema: u32,
    target: &'a str,
    syntax: Option<&'a str>,
    stages: &'a SortedMap<String, StageInput>,
    contexts: SortedMap<&'a str, SortedMap<&'a str, &'a str>>,
    main: Option<&'a str>,
    bases: &'a SortedMap<ImageRef, String>,
    addresses: &'a SortedMap<String, String>,
    arguments: &'a SortedMap<String, String>,
    platforms: &'a SortedSet<Platform>,
    settings: &'a SortedMap<String, String>,
}

fn hashes(parts: &Parts) -> SortedMap<&str, &str> {
    parts.iter().map(|(name, part)| (name.as_str(), part.hash())).into_map()
}

fn short_hash(text: &str) -> String {
    sha256_hex(text.as_bytes())[..16].to_owned()
}

fn stage_input(stage: StageText) -> (String, StageInput) {
    let (steps, lines) = stage.steps.iter().map(|(text, line)| (short_hash(text), *line)).unzip();
    (stage.name, StageInput { steps, lines })
}

/// The addresses that the Dockerfile does not pin, each with what it held.
fn addresses(facts: &Facts<'_>) -> Result<SortedMap<String, String>> {
    let unpinned = facts.slice.addresses().iter().filter(|address| !address.is_pinned());
    let held = unpinned.map(|address| {
        let held = facts.addresses.get(&address.address).ok_or_else(|| {
            Error::failed(format!("the target `{}` adds {}, and nobody asked what it holds", facts.target, address.address))
        })?;
        Ok((address.address.clone(), held.clone()))
    });
    held.collect()
}

/// The arguments that can matter: declared in a reached stage or read by a reached FROM, and those BuildKit itself listens to.
fn arguments(facts: &Facts<'_>) -> SortedMap<String, String> {
    let counts = |name: &str| facts.slice.args().contains(name) || name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH";
    let given = facts.args.iter().filter(|(name, _)| counts(name));
    given.map(|(name, value)| (name.clone(), short_hash(value))).into_map()
}
