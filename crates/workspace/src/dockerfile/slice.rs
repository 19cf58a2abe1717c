//! The part of a Dockerfile that one target reaches, and what that part needs from outside. Named build contexts replace stages
//! and images of their name, as in BuildKit's `dockerfile2llb`.

use super::mounts::Kind;
use super::walk::Walk;
use super::{Dockerfile, Instruction, Stage, words};
use crate::dockerignore::path_match;
use crate::matching::{Count, Token, ends};
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::name::{ImageRef, Platform};
use monoship_core::sorted::{SortedMap, SortedSet};

/// What is to be built.
#[derive(Debug, Clone, Copy)]
pub struct SliceRequest<'a> {
    /// The target stage.
    pub target: &'a str,
    /// The named build contexts that will be given; each replaces the stage or image of its name.
    pub contexts: &'a SortedSet<String>,
    /// The build arguments that will be given.
    pub args: &'a SortedMap<String, String>,
    /// The platforms that will be built. With none it is the builder's own.
    pub platforms: &'a [Platform],
    /// The builder's own platform; [`Platform::native`] where it is not known.
    pub own: Option<&'a Platform>,
}

/// What one target reaches.
#[derive(Debug)]
pub struct Slice<'d> {
    pub(super) file: &'d Dockerfile,
    pub(super) stages: SortedMap<usize, &'d Stage>,
    /// For each stage what its FROM reads with variables replaced; one for each distinct result among the platforms.
    pub(super) froms: SortedMap<usize, SortedSet<String>>,
    pub(super) images: SortedMap<ImageRef, usize>,
    pub(super) contexts: SortedSet<String>,
    pub(super) sources: SortedSet<ContextSource>,
    pub(super) addresses: SortedSet<Address>,
    pub(super) args: SortedSet<String>,
    pub(super) globals: SortedMap<String, String>,
    pub(super) secrets: SortedMap<String, Mounted>,
    pub(super) agents: SortedMap<String, Mounted>,
    /// The caches that steps mount, each with the stage whose step does.
    pub(super) caches: SortedMap<String, usize>,
}

/// A secret or an SSH agent that a RUN mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted {
    /// The step fails without it.
    pub required: bool,
    /// The first line that mounts it so, from 1.
    pub line: usize,
}

/// An image from outside that a target starts from or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// The image, variables replaced.
    pub image: ImageRef,
    /// The line that names it first, from 1.
    pub line: usize,
}

/// A path of the main context that an instruction can see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextSource {
    /// The path, relative to the context and clean; `.` is the whole of it. May hold `*`, `?`, `[…]` and, under `--parents`, `**`.
    pub pattern: String,
    /// The line of the instruction, from 1.
    pub line: usize,
}

/// An address that an ADD fetches, variables replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address as the builder is told it; a `$` in it is a variable whose value is not known here.
    pub address: String,
    /// The line of the instruction, from 1.
    pub line: usize,
    /// The instruction says what it has to hold (`--checksum`).
    pub checksum: bool,
}

impl Address {
    /// True where the Dockerfile itself says what is fetched: by a checksum, or as a commit of a git repository by its full id.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        let is_commit = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fragment = self.address.split_once('#').is_some_and(|(_, rest)| is_commit(rest.split(':').next().unwrap_or(rest)));
        let query = self.address.split_once('?').is_some_and(|(_, query)| {
            let query = query.split('#').next().unwrap_or(query);
            let says = |pair: (&str, &str)| matches!(pair.0, "checksum" | "commit" | "ref") && is_commit(pair.1);
            query.split('&').filter_map(|pair| pair.split_once('=')).any(says)
        });
        self.checksum || self.repository().is_some() && (fragment || query)
    }

    /// Where it is a git repository: its address, and the branch, tag or commit, empty for the default branch.
    #[must_use]
    pub fn repository(&self) -> Option<(&str, &str)> {
        let (place, fragment) = self.address.split_once('#').unwrap_or((&self.address, ""));
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        let http = place.starts_with("http://") || place.starts_with("https://");
        let named =
            || query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| matches!(*key, "ref" | "branch" | "tag"));
        let revision = match fragment.split(':').next() {
            Some("") | None => named().map_or("", |(_, value)| value),
            Some(revision) => revision,
        };
        (!http || place.strip_suffix(".git").is_some()).then_some((place, revision))
    }
}

/// A stage in a form that only changes when what it does changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageText {
    /// Its name, or `#n` for the n-th reached stage without one.
    pub name: String,
    /// Its FROM and its instructions, each with its line (from 1). The lines are for people, no part of the form.
    pub steps: Vec<(String, usize)>,
}

impl Dockerfile {
    /// The part that `request` reaches.
    ///
    /// # Errors
    /// When the target is not there, an image's name cannot be worked out, or a substitution is malformed.
    pub fn slice(&self, request: &SliceRequest<'_>) -> Result<Slice<'_>> {
        self.target(request.target)?;
        let mut slice = Slice {
            file: self,
            stages: SortedMap::new(),
            froms: SortedMap::new(),
            images: SortedMap::new(),
            contexts: SortedSet::new(),
            sources: SortedSet::new(),
            addresses: SortedSet::new(),
            args: SortedSet::new(),
            globals: SortedMap::new(),
            secrets: SortedMap::new(),
            agents: SortedMap::new(),
            caches: SortedMap::new(),
        };
        let unset = [None];
        let some: Vec<Option<&Platform>> = request.platforms.iter().map(Some).into_vec();
        for platform in if some.is_empty() { &unset[..] } else { &some[..] } {
            Walk::new(self, request, *platform, &mut slice)?.run()?;
        }
        Ok(slice)
    }

    /// The stages a target reaches, in file order; `contexts` replace stages of their name.
    ///
    /// # Errors
    /// As [`Dockerfile::slice`].
    pub fn reachable(&self, target: &str, contexts: &SortedSet<String>) -> Result<Vec<&Stage>> {
        let slice = self.slice(&SliceRequest { target, contexts, args: &SortedMap::new(), platforms: &[], own: None })?;
        Ok(slice.stages.into_values().into_vec())
    }

    /// About how many layers building these targets makes: one for each RUN, COPY and ADD of the stages that they reach, each stage
    /// counted once. A target that is not there counts for nothing.
    pub fn layers<'a>(&self, targets: impl IntoIterator<Item = &'a str>) -> usize {
        let none = SortedSet::new();
        let reached = targets.into_iter().filter_map(|target| self.reachable(target, &none).ok()).flatten();
        let stages: SortedMap<usize, &Stage> = reached.map(|stage| (stage.index, stage)).into_map();
        let makes_layer = |step: &&Instruction| matches!(step.keyword.as_str(), "RUN" | "COPY" | "ADD");
        stages.values().map(|stage| stage.instructions.iter().filter(makes_layer).count()).sum()
    }
}

impl Slice<'_> {
    /// The stages, in file order.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.values().copied()
    }

    /// The images it starts or copies from, sorted.
    pub fn images(&self) -> impl Iterator<Item = BaseImage> {
        self.images.iter().map(|(image, line)| BaseImage { image: image.clone(), line: *line })
    }

    /// The frontend image of `# syntax=`, where the file names one.
    #[must_use]
    pub fn syntax(&self) -> Option<&str> {
        self.file.syntax()
    }

    /// What `# escape=` sets, where that is not the backslash: the same text means something else then.
    #[must_use]
    pub fn escape(&self) -> Option<char> {
        Some(self.file.escape).filter(|escape| *escape != '\\')
    }

    /// The named contexts it uses, of those that were given.
    #[must_use]
    pub fn contexts(&self) -> &SortedSet<String> {
        &self.contexts
    }

    /// Counts the whole main context as seen: an image that it starts from has triggers that look at it.
    pub fn see_everything(&mut self) {
        let line = self.images.values().copied().min().unwrap_or(1);
        self.sources.insert(ContextSource { pattern: ".".to_owned(), line });
    }

    /// The addresses that it fetches.
    #[must_use]
    pub fn addresses(&self) -> &SortedSet<Address> {
        &self.addresses
    }

    /// True where it reads what BuildKit says of the builder's own platform (`BUILDPLATFORM` and its like): its result can then differ
    /// from one builder to another, whatever platform is asked for.
    #[must_use]
    pub fn depends_on_builder(&self) -> bool {
        self.args.iter().any(|name| matches!(name.as_str(), "BUILDARCH" | "BUILDOS" | "BUILDPLATFORM" | "BUILDVARIANT"))
    }

    /// The paths of the main context it can see. `--exclude` is not taken into account: the answer may be too large, never too small.
    #[must_use]
    pub fn sources(&self) -> &SortedSet<ContextSource> {
        &self.sources
    }

    /// The secrets its steps mount, by id.
    #[must_use]
    pub fn secrets(&self) -> &SortedMap<String, Mounted> {
        &self.secrets
    }

    /// The SSH agents its steps mount, by id.
    #[must_use]
    pub fn agents(&self) -> &SortedMap<String, Mounted> {
        &self.agents
    }

    /// The secrets and agents that a step of any stage of the file mounts and can do without, reached or not: targets of one file share steps.
    #[must_use]
    pub fn optional_mounts(&self) -> &SortedSet<(Kind, String)> {
        &self.file.optional_mounts
    }

    /// The caches its steps mount (`--mount=type=cache`), as flags name them: `id=store,uid=1000`; each with the image that the step
    /// runs on, without those of stages that start from none.
    #[must_use]
    pub fn caches(&self) -> SortedMap<&str, &ImageRef> {
        self.caches.iter().filter_map(|(cache, stage)| Some((cache.as_str(), self.image_below(*stage)?))).into_map()
    }

    /// The image that a stage starts from, itself or by the stages below it.
    fn image_below(&self, stage: usize) -> Option<&ImageRef> {
        let stage = self.line(self.stages.get(&stage)?).last()?;
        let from: ImageRef = self.froms[&stage.index].first()?.parse().ok()?;
        self.images.get_key_value(&from.without_latest()).map(|(image, _)| image)
    }

    /// The patterns of [`Slice::sources`], each once.
    #[must_use]
    pub fn patterns(&self) -> SortedSet<String> {
        self.sources.iter().map(|source| source.pattern.clone()).into_set()
    }

    /// The build arguments that can change it: those its stages declare, and those its FROM lines read.
    #[must_use]
    pub fn args(&self) -> &SortedSet<String> {
        &self.args
    }

    /// True where a step can see the file at `path` of the main context (relative, with slashes).
    #[must_use]
    pub fn sees(&self, path: &str) -> bool {
        self.sources.iter().any(|source| source.sees(path))
    }

    /// The canonical text: the same whatever comments, blank lines, unreached stages or line numbers do. Blanks within a RUN are
    /// kept as BuildKit sees them, because they are in its cache key and in the image's history.
    #[must_use]
    pub fn texts(&self) -> Vec<StageText> {
        let names = self.names();
        self.stages.iter().map(|(index, stage)| self.text(stage, &names[index], &names)).into_vec()
    }

    /// The stages' names in [`Slice::texts`], by their place in the file. Of several of one name, which is the last's to whoever names it from
    /// below, the others count as without one.
    pub(super) fn names(&self) -> SortedMap<usize, String> {
        let mut nameless = 0;
        let named = self.stages.iter().map(|(index, stage)| {
            let is_last =
                |name: &&String| self.stages.values().all(|later| later.index <= *index || later.name.as_ref() != Some(*name));
            let name = stage.name.as_ref().filter(is_last).cloned().unwrap_or_else(|| {
                nameless += 1;
                format!("#{nameless}")
            });
            (*index, name)
        });
        named.into_map()
    }

    fn text(&self, stage: &Stage, name: &str, names: &SortedMap<usize, String>) -> StageText {
        let platform = stage.platform.as_ref().map(|p| format!(" --platform={p}")).unwrap_or_default();
        let froms = self.froms[&stage.index].iter().map(|from| (format!("FROM{platform} {from}"), stage.line));
        let steps = stage.instructions.iter().map(|step| (self.step_text(step, names), step.line));
        StageText { name: name.to_owned(), steps: froms.chain(steps).into_vec() }
    }

    fn step_text(&self, step: &Instruction, names: &SortedMap<usize, String>) -> String {
        let mut text = step.keyword.clone();
        for flag in &step.flags {
            let by_number = flag.strip_prefix("--from=").and_then(|from| names.get(&from.parse().ok()?));
            text.push(' ');
            text.push_str(&by_number.map_or_else(|| flag.clone(), |name| format!("--from={name}")));
        }
        match step.keyword.as_str() {
            "ARG" => {
                for (name, default) in step.declared(self.file.escape) {
                    let default = default.or_else(|| self.globals.get(&name).cloned());
                    text.push_str(&default.map_or_else(|| format!(" {name}"), |value| format!(" {name}={value}")));
                }
            }
            "COPY" | "ADD" | "EXPOSE" | "VOLUME" => self.put_words(step, &mut text),
            "ENV" | "LABEL" if !step.is_legacy(self.file.escape) => self.put_words(step, &mut text),
            // BuildKit's parser divides nothing else: blanks are part of what is run, and of a folder's or a user's name.
            _ => text.extend([" ", &step.args]),
        }
        for heredoc in &step.heredocs {
            // Lengths keep two documents apart from one that holds the other's end.
            text.extend(["\n", &heredoc.content.len().to_string(), ":", &heredoc.content]);
        }
        text
    }

    fn put_words(&self, step: &Instruction, text: &mut String) {
        for word in words::quoted_words(&step.args, self.file.escape) {
            text.extend([" ", &word]);
        }
    }
}

impl ContextSource {
    /// True where the pattern matches `path` or one of its parent folders.
    #[must_use]
    pub fn sees(&self, path: &str) -> bool {
        if self.pattern == "." {
            return true;
        }
        if let Some(plain) = self.plain() {
            return path.strip_prefix(plain).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        }
        let pattern: Vec<Component<'_>> = self.pattern.split('/').map(Component::read).into_vec();
        let path: Vec<&str> = path.split('/').into_vec();
        // `**` at the end stands for something: `a/**` does not see `a` itself.
        match pattern.split_last() {
            Some((Component::Any, parents)) => ends(parents, &path)[..path.len()].contains(&true),
            _ => ends(&pattern, &path).contains(&true),
        }
    }

    /// The pattern, where it is the name of one file or folder.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        (!self.pattern.contains(['*', '?', '[', '\\'])).then_some(&*self.pattern)
    }

    /// True where the pattern can match something below the folder `dir`.
    #[must_use]
    pub fn leads_to(&self, dir: &str) -> bool {
        if self.pattern == "." {
            return true;
        }
        let mut pattern = self.pattern.split('/');
        for name in dir.split('/') {
            match pattern.next() {
                None | Some("**") => return true,
                Some(part) if path_match(part, name).unwrap_or(true) => {}
                Some(_) => return false,
            }
        }
        true
    }
}

/// One component of a source's pattern.
enum Component<'a> {
    /// `**`: any number of them.
    Any,
    /// One, as Go's `filepath.Match` has it.
    One(&'a str),
}

impl<'a> Component<'a> {
    fn read(text: &'a str) -> Self {
        if text == "**" { Self::Any } else { Self::One(text) }
    }
}

impl Token<&str> for Component<'_> {
    fn count(&self) -> Count {
        match self {
            Self::Any => Count::Many,
            Self::One(_) => Count::One,
        }
    }

    fn takes(&self, name: &&str) -> bool {
        match self {
            Self::Any => true,
            // A pattern that is malformed could mean anything.
            Self::One(pattern) => path_match(pattern, name).unwrap_or(true),
        }
    }
}
