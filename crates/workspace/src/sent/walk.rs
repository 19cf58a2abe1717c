//! The walk itself, in parallel, and the ids of what git does not know.

use rayon::slice::ParallelSliceMut as _;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Concerns, Entry};
use crate::dockerfile::ContextSource;
use crate::dockerignore::Ignore;
use crate::git::{Mode, Tree, hash};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::cores;
use monoship_core::name::sha256_hex;
use monoship_core::sorted::SortedSet;

/// A folder's permissions that go without saying.
const USUAL: u32 = 0o755;

/// The kind's bits of a mode.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

pub(super) fn walk<'p>(
    root: &Path,
    tree: &Tree,
    ignore: &Ignore,
    patterns: impl Iterator<Item = &'p String>,
    own: &str,
) -> Result<(Vec<Entry>, Concerns)> {
    let sources: SortedSet<ContextSource> =
        patterns.map(|pattern| ContextSource { pattern: pattern.clone(), line: 0 }).into_set();
    if sources.is_empty() {
        return Ok(Default::default());
    }
    let whole = sources.iter().any(|source| source.pattern == ".");
    let walk = Walk { root, ignore, sources: &sources, own };
    let found = walk.below("", whole, &[], false)?;
    let (mut entries, mut concerns) = (found.entries, found.concerns);
    entries.par_sort_unstable_by(|a, b| a.path.cmp(&b.path));
    fill_in(root, tree, &mut entries, &mut concerns)?;
    Ok((entries, concerns))
}

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
    sources: &'a SortedSet<ContextSource>,
    own: &'a str,
}

#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    concerns: Concerns,
    /// Something is there that does not count.
    left_out: bool,
}

impl Found {
    fn add(mut self, other: Self) -> Self {
        if self.entries.is_empty() {
            self.entries = other.entries;
        } else {
            self.entries.extend(other.entries);
        }
        self.concerns.repositories.extend(other.concerns.repositories);
        self.concerns.odd_names.extend(other.concerns.odd_names);
        self.concerns.own_state |= other.concerns.own_state;
        self.left_out |= other.left_out;
        self
    }
}

impl Walk<'_> {
    /// What is sent of the folder `dir` (empty for the context itself). `all`: a pattern sees the folder, and so all in it. `matches`: which
    /// of the ignore file's patterns match it. `objects`: what lies here is named after its content.
    fn below(&self, dir: &str, all: bool, matches: &[bool], objects: bool) -> Result<Found> {
        let full = if dir.is_empty() { self.root.to_owned() } else { self.root.join(dir) };
        let failed =
            |e| Error::io("read", &full, e).hint("a builder is sent it: make it readable, or leave it out with .dockerignore");
        let here = fs::read_dir(&full).map_err(failed)?.collect::<Result<Vec<DirEntry>, _>>().map_err(failed)?;
        if here.len() < 16 {
            return here
                .iter()
                .try_fold(Found::default(), |found, entry| Ok(found.add(self.one(dir, entry, all, matches, objects)?)));
        }
        let each = cores::try_map(&here, |entry| self.one(dir, entry, all, matches, objects))?;
        Ok(each.into_iter().fold(Found::default(), Found::add))
    }

    fn one(&self, dir: &str, entry: &DirEntry, all: bool, matches: &[bool], objects: bool) -> Result<Found> {
        let name = entry.file_name();
        let (name, odd) = match name.to_str() {
            Some(name) => (name.to_owned(), false),
            None => (name.to_string_lossy().into_owned(), true),
        };
        let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let seen = all || self.sources.iter().any(|source| source.sees(&path));
        let leads = is_folder && self.sources.iter().any(|source| source.leads_to(&path));
        if !(seen || leads) {
            return Ok(Found::default());
        }
        let (excluded, matches) = self.ignore.step(&path, (!dir.is_empty()).then_some(matches));
        if excluded && (!is_folder || self.ignore.is_final(&path, &matches)) {
            return Ok(Found::default());
        }
        let mut found = Found::default();
        if path == self.own {
            found.concerns.own_state = seen && !excluded;
            found.left_out = true;
            return Ok(found);
        }
        if odd {
            found.concerns.odd_names.extend(seen.then_some(path));
            found.left_out = true;
            return Ok(found);
        }
        if name == ".git" && seen && !excluded {
            found.concerns.repositories.insert(path.clone());
        }
        let seen = seen && !excluded;
        if is_folder {
            let objects = objects || name == "objects" && (dir == ".git" || dir.ends_with("/.git"));
            found = found.add(self.below(&path, all || seen, &matches, objects)?);
            let (is_empty, mode) = (found.entries.is_empty() && !found.left_out, lstat(entry)?.mode());
            let other_mode = !found.entries.is_empty() && mode & 0o7777 != USUAL;
            if (seen && is_empty) || other_mode {
                let more = attributes(&entry.path());
                found.entries.push(Entry { path: format!("{path}/").into(), mode, id: None, more });
            }
            // That there is something in it is said by what is in it: here only what does not count.
            found.left_out &= found.entries.is_empty();
            return Ok(found);
        }
        if seen {
            let there = lstat(entry)?;
            let more = if objects { Some(format!("{} bytes", there.size()).into()) } else { attributes(&entry.path()) };
            let mode = if there.is_symlink() { LINK } else { there.mode() };
            found.entries.push(Entry { path: path.into(), mode, id: None, more });
        }
        Ok(found)
    }
}

fn lstat(entry: &DirEntry) -> Result<fs::Metadata> {
    entry.metadata().map_err(|e| Error::io("read", &entry.path(), e))
}

/// Extended attributes that a builder is sent: not the ones that belong to this machine.
fn attributes(path: &Path) -> Option<Box<str>> {
    let mut names = [0_u8; 4096];
    // A file system without any says so; a list that is longer than this is taken for another each time.
    let len = match rustix::fs::llistxattr(path, &mut names) {
        Ok(0) | Err(rustix::io::Errno::NOTSUP) => return None,
        Ok(len) => len,
        Err(_) => return Some("attributes that cannot be read".into()),
    };
    let counts = |name: &&[u8]| {
        let machines = [&b"security."[..], b"system.", b"com.apple."].iter().any(|prefix| name.starts_with(prefix));
        !name.is_empty() && (*name == b"security.capability" || !machines)
    };
    let names: SortedSet<&[u8]> = names[..len].split(|byte| *byte == 0).filter(counts).into_set();
    let mut text = Vec::new();
    for name in &names {
        let mut value = vec![0_u8; 65_536];
        let key = OsString::from_vec(name.to_vec());
        let len = rustix::fs::lgetxattr(path, &key, &mut value[..]).unwrap_or_default();
        text.extend_from_slice(name);
        text.extend_from_slice(format!("\0{len}\0").as_bytes());
        text.extend_from_slice(&value[..len]);
    }
    (!names.is_empty()).then(|| sha256_hex(&text)[..16].into())
}

/// Gives files and links their ids: git's where it knows them, else they are read. Both lists are sorted.
fn fill_in(root: &Path, tree: &Tree, entries: &mut [Entry], concerns: &mut Concerns) -> Result<()> {
    let mut known = tree.files().iter().peekable();
    let mut unknown = Vec::new();
    for (at, entry) in entries.iter_mut().enumerate() {
        let kind = entry.mode & KIND;
        if (kind != FILE && kind != LINK) || is_named_by_content(entry) {
            continue;
        }
        while known.next_if(|file| *file.path < *entry.path).is_some() {}
        let same = |mode: Mode| match mode {
            Mode::Plain | Mode::Executable => kind == FILE,
            Mode::Symlink => kind == LINK,
            Mode::Submodule => false,
        };
        let found =
            known.peek().filter(|file| file.path == entry.path && same(file.mode) && !tree.absent().contains(&*file.path));
        match found {
            Some(file) => {
                entry.id = Some(file.id);
                concerns.pointers.extend(tree.pointers().get(&*file.path).cloned());
            }
            None => unknown.push(at),
        }
    }
    let paths: Vec<(usize, String)> = unknown.into_iter().map(|at| (at, entries[at].path.to_string())).into_vec();
    for (at, hashed) in cores::try_map(&paths, |(at, path)| Ok((*at, hash::one(root, path, tree.format())?)))? {
        let entry = &mut entries[at];
        // What vanished in between is like a file of no content, once; whoever looks again sees that it is gone.
        let Some(hashed) = hashed else { continue };
        entry.id = Some(hashed.file.id);
        let top = entry.path.split_once('/').map_or(&*entry.path, |(top, _)| top);
        let read = concerns.read.entry(top.to_owned()).or_default();
        *read = (read.0 + 1, read.1 + hashed.size);
        concerns.pointers.extend(hashed.is_pointer.then(|| entry.path.to_string()));
    }
    debug_assert_eq!(entries.iter().filter(|entry| entry.mode & KIND == FOLDER && entry.id.is_some()).count(), 0);
    Ok(())
}

/// Git names its objects after their content.
fn is_named_by_content(entry: &Entry) -> bool {
    entry.more.as_ref().is_some_and(|more| more.ends_with(" bytes"))
}
