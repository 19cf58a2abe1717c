//! The walk that finds what a target reaches: from stage to stage by FROM, `--from=` and `--mount=…from=`, with the values of ARG
//! and ENV in force at each step. Its findings go into a [`Slice`].

use std::cell::{Cell, RefCell};

use super::slice::{Address, ContextSource, Slice, SliceRequest};
use super::{Dockerfile, Instruction, Stage, mounts, words};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{ImageRef, Platform};
use monoship_core::sorted::{SortedMap, SortedSet};

/// Where a step takes files from.
pub(super) enum Origin {
    /// A stage, a named context or an image.
    Named(String),
    /// Paths of the main context.
    Main(Vec<String>),
}

/// The values in force at one point of a stage.
#[derive(Debug, Clone, Default)]
struct Scope {
    /// By ENV and ARG alike.
    values: SortedMap<String, String>,
    /// Those whose value is ENV's.
    by_env: SortedSet<String>,
    /// The stage starts from an image, which can have set what no line here sets.
    on_image: bool,
}

/// A value that is not known here: no path.
const UNKNOWN: &str = "$";

/// A text with its variables replaced.
struct Expanded {
    text: String,
    /// It depends on what only the image that the stage starts from can say.
    unknown: bool,
}

/// One pass over what the target reaches, for one platform.
pub(super) struct Walk<'d, 'r, 's> {
    file: &'d Dockerfile,
    request: &'r SliceRequest<'r>,
    platform: SortedMap<&'static str, String>,
    globals: SortedMap<String, String>,
    slice: &'s mut Slice<'d>,
    done: SortedSet<usize>,
    open: Vec<&'d Stage>,
}

impl<'d, 'r, 's> Walk<'d, 'r, 's> {
    pub(super) fn new(
        file: &'d Dockerfile,
        request: &'r SliceRequest<'r>,
        platform: Option<&Platform>,
        slice: &'s mut Slice<'d>,
    ) -> Result<Self> {
        let own = request.own.cloned().unwrap_or_else(Platform::native);
        let platform = own_arguments(request, platform.unwrap_or(&own), &own);
        let mut walk =
            Self { file, request, platform, globals: SortedMap::new(), slice, done: SortedSet::new(), open: Vec::new() };
        walk.read_globals()?;
        Ok(walk)
    }

    fn read_globals(&mut self) -> Result<()> {
        for instruction in &self.file.globals {
            for (name, default) in instruction.declared(self.file.escape) {
                let given = self.request.args.get(&name).cloned();
                let default = default.map(|default| self.expand_global(&default, instruction.line)).transpose()?;
                if let Some(default) = &default {
                    self.slice.globals.insert(name.clone(), default.clone());
                }
                if let Some(value) = given.or(default) {
                    self.globals.insert(name, value);
                }
            }
        }
        Ok(())
    }

    /// Replaces what is known before the first stage; the rest stays as written.
    fn expand_global(&self, text: &str, line: usize) -> Result<String> {
        let known = |name: &str| self.globals.get(name).or_else(|| self.platform.get(name)).cloned();
        words::expand(text, self.file.escape, true, &known).map_err(|what| self.fault(line, what))
    }

    fn fault(&self, line: usize, what: impl Into<String>) -> Error {
        Error::usage(what).at(&self.file.path, Some(line))
    }

    pub(super) fn run(&mut self) -> Result<()> {
        let target = self.file.target(self.request.target)?;
        self.open.push(target);
        while let Some(stage) = self.open.pop() {
            if self.done.insert(stage.index) {
                self.visit(stage)?;
            }
        }
        Ok(())
    }

    fn visit(&mut self, stage: &'d Stage) -> Result<()> {
        if let Some(name) = stage.name.as_ref().filter(|name| self.request.contexts.contains(*name)) {
            self.slice.contexts.insert(name.clone());
            return Ok(());
        }
        self.slice.stages.insert(stage.index, stage);
        let base = self.expand_global(&stage.base, stage.line)?;
        self.note_from_args(stage);
        let parent = self.file.last_named(&base, stage.index);
        self.slice.froms.entry(stage.index).or_default().insert(base.clone());
        match parent {
            Some(parent) => self.open.push(parent),
            None => self.outside(&base, stage.line)?,
        }
        let mut scope = self.inherited(stage)?;
        for instruction in &stage.instructions {
            self.step(instruction, stage, &mut scope)?;
        }
        Ok(())
    }

    /// The ENV and ARG values a stage gets from the stages it starts from.
    fn inherited(&self, stage: &Stage) -> Result<Scope> {
        let base = self.expand_global(&stage.base, stage.line)?;
        let replaced = |s: &&Stage| s.name.as_ref().is_some_and(|name| self.request.contexts.contains(name));
        let Some(parent) = self.file.last_named(&base, stage.index).filter(|s| !replaced(s)) else {
            return Ok(Scope { on_image: base != "scratch", ..Scope::default() });
        };
        let mut scope = self.inherited(parent)?;
        for instruction in &parent.instructions {
            self.assign(instruction, &mut scope);
        }
        // What it leaves to the stages that start from it is done in them, first of all.
        for trigger in parent.instructions.iter().filter(|instruction| instruction.keyword == "ONBUILD") {
            if let Some(trigger) = trigger.inner(self.file.escape) {
                self.assign(&trigger, &mut scope);
            }
        }
        Ok(scope)
    }

    fn note_from_args(&mut self, stage: &Stage) {
        let escape = self.file.escape;
        let seen = RefCell::new(SortedSet::new());
        let note = |name: &str| {
            seen.borrow_mut().insert(name.to_owned());
            None
        };
        // A malformed substitution has been reported by whoever needed its value.
        for text in [Some(&stage.base), stage.platform.as_ref()].into_iter().flatten() {
            let _ = words::expand(text, escape, true, &note);
        }
        // What a default reads counts too; defaults only read ARGs above them, so one pass upwards finds all.
        for instruction in self.file.globals.iter().rev() {
            for (name, default) in instruction.declared(escape) {
                let read = seen.borrow().contains(&name);
                if let (true, Some(default)) = (read, default) {
                    let _ = words::expand(&default, escape, true, &note);
                }
            }
        }
        self.slice.args.extend(seen.into_inner());
    }

    /// A name that is no stage: a named context, `scratch`, or an image.
    fn outside(&mut self, name: &str, line: usize) -> Result<()> {
        let known = name.parse::<ImageRef>().map_or_else(|_| name.to_owned(), |image| image.context_name());
        if self.request.contexts.contains(&known) {
            self.slice.contexts.insert(known);
            return Ok(());
        }
        if name == "scratch" {
            return Ok(());
        }
        if name.contains('$') || name.is_empty() {
            return Err(self
                .fault(line, format!("what `{name}` names depends on a variable that has no value here"))
                .hint("give the `ARG` a default before the first `FROM`, or set it in the service's `build-args`"));
        }
        let image: ImageRef = name.parse().map_err(|e: Error| self.fault(line, e.to_string()))?;
        let first = self.slice.images.entry(image.without_latest()).or_insert(line);
        *first = line.min(*first);
        Ok(())
    }

    fn step(&mut self, instruction: &Instruction, stage: &'d Stage, scope: &mut Scope) -> Result<()> {
        self.assign(instruction, scope);
        let escape = self.file.escape;
        let Some(inner) = instruction.inner(escape) else { return Ok(()) };
        if inner.keyword == "ARG" {
            self.slice.args.extend(inner.declared(escape).into_iter().map(|(name, _)| name));
        }
        // A trigger goes by what is set where it is executed.
        let elsewhere = Scope { on_image: true, ..Scope::default() };
        let scope = if instruction.keyword == "ONBUILD" { &elsewhere } else { &*scope };
        mounts::note(&inner, instruction.line, stage, self.slice);
        let line = instruction.line;
        for origin in origins(&inner) {
            match origin {
                Origin::Named(from) => self.from(&from, stage, line)?,
                Origin::Main(paths) => {
                    for path in paths {
                        let path = self.expand(&path, scope);
                        if inner.keyword == "ADD" && path.as_deref().is_ok_and(is_address) {
                            let checksum = inner.flag("checksum").is_some();
                            self.slice.addresses.extend(path.map(|address| Address { address, line, checksum }));
                            continue;
                        }
                        let pattern = path.map_or_else(|()| ".".to_owned(), |path| clean(&path));
                        self.slice.sources.insert(ContextSource { pattern, line });
                    }
                }
            }
        }
        Ok(())
    }

    /// `--from=` takes a stage's number, a stage's name (any stage), a named context or an image.
    fn from(&mut self, from: &str, stage: &'d Stage, line: usize) -> Result<()> {
        let lower = from.to_ascii_lowercase();
        let found = match from.parse::<usize>() {
            Ok(number) => {
                Some(self.file.stages.get(number).ok_or_else(|| self.fault(line, format!("there is no stage {number}")))?)
            }
            Err(_) => self.file.last_named(&lower, self.file.stages.len()),
        };
        match found {
            Some(found) if found.index == stage.index => Err(self.fault(line, "a stage cannot copy from itself")),
            Some(found) => {
                self.open.push(found);
                Ok(())
            }
            None => self.outside(from, line),
        }
    }

    /// What ENV and ARG set. An ARG without a value leaves what there is. Of one after an ENV of its name Docker's reference says that ENV wins, and
    /// BuildKit (0.25) goes by the ARG: what other builders do is not known.
    fn assign(&self, instruction: &Instruction, scope: &mut Scope) {
        let escape = self.file.escape;
        let value = |text: &str, scope: &Scope| {
            let expanded = self.replaced(text, scope).ok()?;
            Some(if expanded.unknown { UNKNOWN.to_owned() } else { expanded.text })
        };
        match instruction.keyword.as_str() {
            "ARG" => {
                for (name, default) in instruction.declared(escape) {
                    let given = self.request.args.get(&name).cloned();
                    let inherited = || self.globals.get(&name).or_else(|| self.platform.get(name.as_str())).cloned();
                    let default = || default.as_deref().map_or_else(inherited, |text| value(text, scope));
                    let Some(value) = given.or_else(default) else { continue };
                    let is_doubtful = scope.by_env.contains(&name) && scope.values.get(&name) != Some(&value);
                    scope.values.insert(name, if is_doubtful { UNKNOWN.to_owned() } else { value });
                }
            }
            "ENV" => {
                let before = scope.clone();
                let set: Vec<(String, String)> = if instruction.is_legacy(escape) {
                    let (name, rest) = words::split_keyword(&instruction.args);
                    value(rest, &before).map(|value| (name.to_owned(), value)).into_iter().into_vec()
                } else {
                    let pairs = words::quoted_words(&instruction.args, escape);
                    let pairs = pairs.iter().filter_map(|word| word.split_once('='));
                    pairs.filter_map(|(name, text)| Some((name.to_owned(), value(text, &before)?))).into_vec()
                };
                scope.by_env.extend(set.iter().map(|(name, _)| name.clone()));
                scope.values.extend(set);
            }
            _ => {}
        }
    }

    /// A source with its variables replaced. Where one has no value (the base image may set it) it can be the whole context, or, behind
    /// what says that it is an address, any address.
    fn expand(&self, path: &str, scope: &Scope) -> Result<String, ()> {
        match self.replaced(path, scope) {
            Ok(Expanded { text, unknown }) if is_address(&text) || !(unknown || text.contains('$')) => Ok(text),
            _ => Err(()),
        }
    }

    fn replaced(&self, text: &str, scope: &Scope) -> Result<Expanded, String> {
        let unknown = Cell::new(false);
        let known = |name: &str| {
            let value = scope.values.get(name);
            // `${NAME:-default}` is not the default where the image sets it.
            let is_unknown = value.map_or(scope.on_image, |value| value == UNKNOWN);
            unknown.set(unknown.get() || is_unknown);
            value.cloned()
        };
        let text = words::expand(text, self.file.escape, true, &known)?;
        Ok(Expanded { text, unknown: unknown.get() })
    }
}

/// The arguments that BuildKit sets itself (`defaultArgs` in `dockerfile2llb`), which a build argument of the same name replaces.
fn own_arguments(request: &SliceRequest<'_>, target: &Platform, own: &Platform) -> SortedMap<&'static str, String> {
    let ([os, arch, variant], [own_os, own_arch, own_variant]) = (target.parts(), own.parts());
    let set = [
        ("BUILDARCH", own_arch),
        ("BUILDOS", own_os),
        ("BUILDPLATFORM", own.as_str()),
        ("BUILDVARIANT", own_variant),
        ("TARGETARCH", arch),
        ("TARGETOS", os),
        ("TARGETPLATFORM", target.as_str()),
        ("TARGETSTAGE", request.target),
        ("TARGETVARIANT", variant),
    ];
    let given = |name: &str| request.args.get(name).cloned();
    set.into_iter().map(|(name, value)| (name, given(name).unwrap_or_else(|| value.to_owned()))).into_map()
}

/// What ADD fetches instead of taking it from the context (`dispatchCopy` in `dockerfile2llb`, `gitutil.ParseURL`).
fn is_address(source: &str) -> bool {
    ["http://", "https://", "ssh://", "git://"].iter().any(|scheme| source.starts_with(scheme)) || is_scp_style(source)
}

/// A repository as `scp` writes it, `user@host:path` (`sshutil.IsImplicitSSHTransport`).
fn is_scp_style(source: &str) -> bool {
    let is_name =
        |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let parts = source.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)));
    parts.is_some_and(|(user, host)| is_name(user, "-_") && is_name(host, "-."))
}

/// The path without `.`, `..` that would leave the context, doubled, leading and trailing slashes. `.` for the context itself.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

pub(super) fn origins(instruction: &Instruction) -> Vec<Origin> {
    match instruction.keyword.as_str() {
        "COPY" | "ADD" => {
            if let Some(from) = instruction.flag("from") {
                return vec![Origin::Named(from.to_owned())];
            }
            vec![Origin::Main(copied(instruction))]
        }
        "RUN" => mounts::mounts_of(instruction).filter_map(mount).into_vec(),
        _ => Vec::new(),
    }
}

/// The sources of a COPY or ADD without `--from`: all words but the last, less heredocs.
fn copied(instruction: &Instruction) -> Vec<String> {
    let mut words =
        words::json_list(&instruction.args).unwrap_or_else(|| instruction.args.split_whitespace().map(str::to_owned).into_vec());
    words.pop();
    words.retain(|word| !word.starts_with("<<"));
    words
}

/// What a `--mount` reads: a bind without `from` sees the main context, anything with `from` sees that. A kind that a variable names can be a bind.
fn mount(text: &str) -> Option<Origin> {
    if let Some(from) = mounts::field(text, &["from"]).filter(|from| !from.is_empty()) {
        return Some(Origin::Named(from.to_owned()));
    }
    let can_be_bind = mounts::field(text, &["type"]).is_none_or(|kind| kind.eq_ignore_ascii_case("bind") || kind.contains('$'));
    let source = mounts::field(text, &mounts::SOURCE).unwrap_or(".");
    can_be_bind.then(|| Origin::Main(vec![source.to_owned()]))
}
