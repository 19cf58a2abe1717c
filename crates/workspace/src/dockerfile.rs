//! The Dockerfile: its stages, what a target reaches, which images, named contexts and files of the main context it needs. It
//! is read as BuildKit's frontend reads it, far enough to be trusted with "this stage cannot have changed". Text comes in;
//! no file is read but by [`load`] and [`ignore_file`].
//!
//! By hand, because BuildKit's quirks (heredocs, continuations, substitution, what a number in `COPY --from` means) decide
//! fingerprints; the parsers there are give a tree of the words, and leave these to their caller.

mod lineage;
mod lines;
mod mounts;
pub mod place;
mod slice;
mod step;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::package::unfinished_merge;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::name::nearest;
use monoship_core::sorted::{SortedMap, SortedSet};

pub use lineage::{Lineage, Origin};
pub use lines::{Heredoc, without_syntax};
pub use mounts::Kind as MountKind;
pub use slice::{Address, BaseImage, ContextSource, Mounted, Slice, SliceRequest, StageText};
pub use step::StepInputs;
pub use words::quoted_words;

/// A Dockerfile, parsed.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    path: PathBuf,
    syntax: Option<String>,
    escape: char,
    /// The ARGs before the first FROM.
    globals: Vec<Instruction>,
    stages: Vec<Stage>,
    /// The places of the stages of a name, in order.
    named: SortedMap<String, Vec<usize>>,
    /// The secrets and agents that a step of any stage mounts and can do without.
    optional_mounts: SortedSet<(MountKind, String)>,
}

/// A stage: a FROM and what follows it.
#[derive(Debug, Clone)]
pub struct Stage {
    index: usize,
    name: Option<String>,
    base: String,
    platform: Option<String>,
    line: usize,
    instructions: Vec<Instruction>,
}

impl Stage {
    /// Its name, lower-cased as BuildKit does; `None` where it has none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// BuildKit's name for it: `stage-2` for the third of a file where it has none.
    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{}", self.index))
    }

    /// What its FROM names, as written: a stage, an image, or a variable.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The line of its FROM, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What follows its FROM.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

/// One instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// The line it begins on, from 1.
    pub line: usize,
    /// The keyword in capitals.
    pub keyword: String,
    /// The `--flags`, unquoted.
    pub flags: Vec<String>,
    /// What follows the flags.
    pub args: String,
    /// The documents that follow it.
    pub heredocs: Vec<Heredoc>,
}

/// Every keyword there is (BuildKit's `command` package).
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads and parses the Dockerfile at `path`.
///
/// # Errors
/// When it is not there, cannot be read, or is malformed; the place is in the error.
pub fn load(path: &Path) -> Result<Dockerfile> {
    let folder = path.parent().unwrap_or(path);
    let sent = path.file_name().and_then(|name| place::on_disk(folder, name.to_str()?)).filter(|sent| sent.is_file());
    match sent {
        Some(sent) => Dockerfile::parse(path, &read_text(&sent)?),
        // A folder in its place, say: the reader has the words.
        None if path.exists() && !path.is_symlink() => Dockerfile::parse(path, &read_text(path)?),
        None => Err(missing(path, "create it, or name the one you have as `[images] dockerfile` in xtask.toml")),
    }
}

/// The error of a Dockerfile that no builder can read: it is not there, or a link to what is not in its folder.
#[must_use]
pub fn missing(path: &Path, hint: &str) -> Error {
    match path.read_link() {
        Ok(target) => {
            Error::usage(format!("it is a link to {}, and builders follow links within its folder alone", target.display()))
                .at(path, None)
                .hint("put the Dockerfile itself there, or name the file that it leads to, which has to be in the repository")
        }
        Err(_) => Error::usage("there is no Dockerfile here").at(path, None).hint(hint),
    }
}

/// The ignore file that counts for a Dockerfile in a context: `<Dockerfile>.dockerignore` beside it, else `.dockerignore`
/// at the context's root, else none (BuildKit's `dockerui`). One that is a link out of its folder is none to a builder: see [`place`].
#[must_use]
pub fn ignore_file(dockerfile: &Path, context: &Path) -> Option<PathBuf> {
    let own = || {
        let name = format!("{}.dockerignore", dockerfile.file_name()?.to_str()?);
        place::on_disk(dockerfile.parent()?, &name).filter(|path| path.is_file())
    };
    own().or_else(|| context_ignore_file(context))
}

/// The ignore file at the root of a context.
#[must_use]
pub fn context_ignore_file(context: &Path) -> Option<PathBuf> {
    place::on_disk(context, ".dockerignore").filter(|path| path.is_file())
}

impl Dockerfile {
    /// True where a heredoc, a file that it writes or a script that it runs, has this text.
    #[must_use]
    pub fn has_heredoc_with(&self, text: &str) -> bool {
        let mut heredocs = self.stages.iter().flat_map(|stage| &stage.instructions).flat_map(|one| &one.heredocs);
        heredocs.any(|heredoc| heredoc.content.contains(text))
    }

    /// Parses `text`; `path` is for errors only.
    ///
    /// # Errors
    /// When the text is not a Dockerfile, with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        Self::of_text(path, text).map_err(|error| unfinished_merge(text, path).unwrap_or(error))
    }

    fn of_text(path: &Path, text: &str) -> Result<Self> {
        let at = |line, what: String| Error::usage(what).at(path, Some(line));
        let lines = lines::cut(text).map_err(|(line, what)| at(line, what))?;
        let mut file = Self {
            path: path.to_owned(),
            syntax: lines.syntax,
            escape: lines.escape,
            globals: Vec::new(),
            stages: Vec::new(),
            named: SortedMap::new(),
            optional_mounts: SortedSet::new(),
        };
        for logical in &lines.logical {
            let instruction = Instruction::read(logical, lines.escape).map_err(|e| e.at(path, Some(logical.line)))?;
            match (instruction.keyword.as_str(), file.stages.last_mut()) {
                ("FROM", _) => {
                    let stage = Stage::open(&instruction, file.stages.len()).map_err(|what| at(logical.line, what))?;
                    file.stages.push(stage);
                }
                (_, Some(stage)) => stage.instructions.push(instruction),
                ("ARG", None) => file.globals.push(instruction),
                (other, None) => {
                    return Err(at(logical.line, format!("`{other}` stands before the first `FROM`; only `ARG` may")));
                }
            }
        }
        if file.stages.is_empty() {
            return Err(Error::usage("this Dockerfile has no `FROM`").at(path, None));
        }
        for stage in &file.stages {
            if let Some(name) = &stage.name {
                file.named.entry(name.clone()).or_default().push(stage.index);
            }
        }
        file.optional_mounts = mounts::optional(&file.stages, file.escape);
        Ok(file)
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The frontend image of `# syntax=`, where it names one.
    #[must_use]
    pub fn syntax(&self) -> Option<&str> {
        self.syntax.as_deref()
    }

    /// The arguments before the first stage, which FROM lines may use.
    #[must_use]
    pub fn globals(&self) -> &[Instruction] {
        &self.globals
    }

    /// Every stage, in order.
    #[must_use]
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The last stage of a name, as it is written in small letters, of the first so many stages.
    fn last_named(&self, name: &str, first: usize) -> Option<&Stage> {
        let place = self.named.get(name)?.iter().rev().find(|place| **place < first)?;
        Some(&self.stages[*place])
    }

    /// The names that can be given as a target, in order.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(Stage::name)
    }

    /// The stage a target names: the last one of that name, and the last of all where it names none.
    ///
    /// # Errors
    /// When there is none; the nearest name is in the hint.
    pub fn target(&self, name: &str) -> Result<&Stage> {
        if name.is_empty()
            && let Some(last) = self.stages.last()
        {
            return Ok(last);
        }
        let lower = name.to_ascii_lowercase();
        self.last_named(&lower, self.stages.len()).ok_or_else(|| {
            let error = Error::usage(format!("there is no stage named `{name}`")).at(&self.path, None);
            match nearest(&lower, self.targets()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("add a stage `FROM … AS {name}`, or set the service's `target` to one that is there")),
            }
        })
    }
}

impl Stage {
    fn open(from: &Instruction, index: usize) -> Result<Self, String> {
        let args: Vec<&str> = from.args.split_whitespace().collect();
        let (base, name) = match args[..] {
            [base] => (base, None),
            [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(name.to_ascii_lowercase())),
            _ => return Err("`FROM` takes `IMAGE` or `IMAGE AS NAME`".to_owned()),
        };
        if let Some(name) = &name {
            let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(rest) {
                return Err(format!("`{name}` is not a stage name: a letter, then letters, digits, `-`, `_` and `.`"));
            }
        }
        let mut platform = None;
        for flag in &from.flags {
            match flag.strip_prefix("--platform=") {
                Some(value) => platform = Some(value.to_owned()),
                None => return Err(format!("`FROM` has no flag `{flag}`")),
            }
        }
        Ok(Self { index, name, base: base.to_owned(), platform, line: from.line, instructions: Vec::new() })
    }
}

impl Instruction {
    fn read(logical: &lines::Logical, escape: char) -> Result<Self> {
        let (keyword, rest) = words::split_keyword(&logical.text);
        let (keyword, written) = (keyword.to_ascii_uppercase(), keyword);
        if !KEYWORDS.contains(&keyword.as_str()) {
            let error = Error::usage(format!("there is no instruction `{written}`"));
            return Err(match nearest(&keyword, KEYWORDS) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        let (flags, args) = words::split_flags(rest, escape);
        if args.is_empty() && logical.heredocs.is_empty() {
            return Err(Error::usage(format!("`{keyword}` has no arguments")));
        }
        Ok(Self { line: logical.line, keyword, flags, args, heredocs: logical.heredocs.clone() })
    }

    /// The value of the last flag `--name=…`.
    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find_map(|flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// The instruction an ONBUILD holds, itself otherwise. `None` where what it holds is malformed; the engine will say so.
    fn inner(&self, escape: char) -> Option<Cow<'_, Self>> {
        if self.keyword != "ONBUILD" {
            return Some(Cow::Borrowed(self));
        }
        let logical = lines::Logical { line: self.line, text: self.args.clone(), heredocs: self.heredocs.clone() };
        Self::read(&logical, escape).ok().map(Cow::Owned)
    }

    /// True for an ENV or a LABEL without `=`: `NAME` and, blanks included, its value.
    fn is_legacy(&self, escape: char) -> bool {
        words::quoted_words(&self.args, escape).first().is_some_and(|word| !word.contains('='))
    }

    /// The `NAME[=default]` of an ARG.
    fn declared(&self, escape: char) -> Vec<(String, Option<String>)> {
        let pairs = words::quoted_words(&self.args, escape).into_iter();
        pairs.map(|word| word.split_once('=').map_or((word.clone(), None), |(k, v)| (k.to_owned(), Some(v.to_owned())))).collect()
    }
}
