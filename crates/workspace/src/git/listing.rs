//! From git's answers to a [`Tree`]: the index and what differs from it, or a commit's tree; submodules taken in.
//!
//! What git calls clean is not read, but where git's word does not tell what is on disk. These are looked at:
//!
//! - files that attributes convert on their way (`filter`, LFS among them; `ident`, `working-tree-encoding`, `text`, `eol`), and all of
//!   them under `core.autocrlf`: git calls clean what it would convert back to what it keeps. Where it is only about line ends, those of
//!   another size than git keeps;
//! - files that git was told not to look at: `assume-unchanged`, and `skip-worktree` where the file is on disk;
//! - unmerged paths.
//!
//! And these settings are not the user's here: `core.fileMode` and `core.symlinks` (git would not look at the bits and kinds that a
//! builder is handed), `core.trustCtime` and `core.checkStat` (an edit that sets size and time back is found), `core.fsmonitor`.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io::ErrorKind;

use super::hash::{self, Format};
use super::{File, Git, Mode, NotARepository, ObjectId, Question, Tree};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::cores;
use monoship_core::execute::process::NotStarted;
use monoship_core::sorted::{SortedMap, SortedSet};

/// Submodules within submodules are followed this deep.
const MAX_DEPTH: usize = 8;

/// What asks for the index: see [`parse_index`].
pub(super) const INDEX: [&str; 4] = ["ls-files", "--stage", "-v", "-z"];

/// What git is told to look at, whatever the repository's configuration says.
const LOOK_CLOSELY: [&str; 8] =
    ["-c", "core.fileMode=true", "-c", "core.symlinks=true", "-c", "core.trustCtime=true", "-c", "core.checkStat=default"];

/// The paths that an attribute may convert between the disk and the repository. What is marked `-text` and nothing else is not.
const CONVERTED: [&str; 6] = [
    "ls-files",
    "-z",
    "--",
    ".",
    ":(exclude,attr:!filter !ident !working-tree-encoding !text !eol !crlf)",
    ":(exclude,attr:-text !filter !ident !working-tree-encoding)",
];

/// Of those, the ones of which more than line ends may differ.
const BEYOND_LINE_ENDS: [&str; 5] = ["ls-files", "-z", "--", ".", ":(exclude,attr:!filter !ident !working-tree-encoding)"];

/// See [`Git::scan`]: five answers on their way.
pub struct Scan {
    differs: Question,
    untracked: Question,
    index: Question,
    converted: Question,
    line_ends: Question,
}

impl Git {
    /// The work tree: tracked files as they are on disk, and untracked files that are not ignored. Clean files are not read.
    /// Checked-out submodules are taken in. Outside a repository (or without git) every file is hashed, but those
    /// in `node_modules`; [`Tree::outside_git`] then says why.
    ///
    /// # Errors
    /// When git refuses (ownership, a bare or damaged repository), or a dirty file cannot be read.
    pub fn worktree(&self) -> Result<Tree> {
        self.worktree_from(self.scan())
    }

    /// Begins to look at the work tree, for who has something else to do until it is read.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn scan(&self) -> Result<Scan> {
        Ok(Scan {
            // The one that takes longest first.
            untracked: self.start(&["ls-files", "--others", "--exclude-standard", "-z"])?,
            differs: self.start(
                &[&LOOK_CLOSELY[..], &["diff-files", "--raw", "-z", "--relative", "--no-renames", "--ignore-submodules=all"]]
                    .concat(),
            )?,
            index: self.start(&INDEX)?,
            converted: self.start(&CONVERTED)?,
            line_ends: self.start(&["config", "--get", "core.autocrlf"])?,
        })
    }

    /// As [`Git::worktree`], of what [`Git::scan`] began.
    ///
    /// # Errors
    /// As [`Git::worktree`].
    pub fn worktree_from(&self, looking: Result<Scan>) -> Result<Tree> {
        match looking.and_then(|looking| self.read_worktree(looking, 0)) {
            // A copy below some other repository, which ignores it.
            Ok(tree) if tree.files.is_empty() && tree.odd.is_empty() => self.folder("git keeps no file of this folder"),
            Ok(tree) => Ok(tree),
            Err(error) if error.source_as::<NotARepository>().is_some() => self.folder("this is no git repository"),
            Err(error) if error.source_as::<NotStarted>().is_some_and(NotStarted::is_missing) => {
                self.folder("git is not installed")
            }
            Err(error) => Err(error),
        }
    }

    /// The tree of a commit, named in any way git understands. Submodules that are checked out, and have the commit, are taken in.
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn commit(&self, revision: &str) -> Result<Tree> {
        let commit = self.resolve(revision)?;
        self.commit_at(&commit, 0)
    }

    fn folder(&self, why: &str) -> Result<Tree> {
        let (paths, odd) = hash::walk(&self.root)?;
        let paths: Vec<_> = paths.into_iter().map(|path| (path, None)).into_vec();
        let hashed = hash::files(&self.root, &paths, Format::Sha1)?;
        let pointers = hashed.iter().filter(|hashed| hashed.is_pointer).map(|hashed| hashed.file.path.to_string()).into_set();
        let files = hashed.into_iter().map(|hashed| hashed.file).into_vec();
        Ok(Tree { odd, pointers, outside_git: Some(why.to_owned()), ..Tree::from_files(files) })
    }

    fn read_worktree(&self, looking: Scan, depth: usize) -> Result<Tree> {
        // The quickest answer is read while the others are on their way.
        let mut listing = parse_index(&looking.index.bytes()?)?;
        for path in self.there_all_the_same(&listing.tree) {
            listing.tree.absent.remove(&path);
            listing.unsure.insert(path);
        }
        let may_be = converted(&listing.tree, &looking.converted.bytes()?, looking.line_ends.answer()?.as_deref());
        listing.converted = self.of_other_size(&listing.tree, may_be)?;
        let (mut differs, untracked) = (parse_differences(&looking.differs.bytes()?)?, looking.untracked.bytes()?);
        let (paths, nested) = parse_untracked(&untracked, &mut listing.tree.odd);
        differs.extend(paths.into_iter().map(|path| (path.to_owned(), Some(None))));
        self.take_in_dirty(&mut listing, differs)?;
        self.take_in_submodules(&mut listing.tree, nested, depth)?;
        listing.tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing.tree)
    }

    fn take_in_dirty(&self, listing: &mut Listing, mut differs: Differences) -> Result<()> {
        for path in std::mem::take(&mut listing.unsure) {
            differs.entry(path).or_insert(Some(None));
        }
        let replaced = listing.take_out(&differs);
        self.take_in_converted(listing, &differs)?;
        let there: Vec<_> = differs.iter().filter_map(|(path, mode)| Some((path.clone(), (*mode)?))).into_vec();
        let tree = &mut listing.tree;
        tree.dirty.extend(differs.into_keys());
        for hash::Hashed { file, is_pointer, .. } in hash::files(&self.root, &there, tree.format)? {
            // The index can be out of date about times; a file whose content has its id again is not dirty.
            if replaced.get(&*file.path).is_some_and(|(mode, id)| *mode == file.mode && *id == file.id) {
                tree.dirty.remove(&*file.path);
            }
            tree.pointers.extend(is_pointer.then(|| file.path.to_string()));
            tree.files.push(file);
        }
        Ok(())
    }

    /// Looks at what git calls clean and may convert. The tree is sorted by now, and has nothing that differs.
    fn take_in_converted(&self, listing: &mut Listing, differs: &Differences) -> Result<()> {
        let mut there = std::mem::take(&mut listing.converted);
        let tree = &mut listing.tree;
        there.retain(|(path, _)| !differs.contains_key(path) && !tree.absent.contains(path));
        for hash::Hashed { file, is_pointer, .. } in hash::files(&self.root, &there, tree.format)? {
            let Some(at) = tree.place(&file.path) else { continue };
            tree.pointers.extend(is_pointer.then(|| file.path.to_string()));
            if tree.files[at].id != file.id {
                tree.converted.insert(file.path.to_string(), tree.files[at].id);
                tree.files[at].id = file.id;
            }
        }
        Ok(())
    }

    /// Leaves out the files of which only line ends may differ and that are as long on disk as what git keeps: git calls them clean, so that
    /// nothing but a carriage return can be more there. Their content is read on neither side; `* text=auto` is on every file.
    fn of_other_size(&self, tree: &Tree, may_be: Vec<(String, Option<Mode>)>) -> Result<Vec<(String, Option<Mode>)>> {
        if may_be.is_empty() {
            return Ok(may_be);
        }
        let beyond = self.bytes(&BEYOND_LINE_ENDS)?;
        let beyond: HashSet<&[u8]> = records(&beyond).collect();
        let (mut doubtful, line_ends): (Vec<_>, Vec<_>) =
            may_be.into_iter().partition(|(path, _)| beyond.contains(path.as_bytes()));
        doubtful.extend(self.of_other_length(tree, line_ends)?);
        Ok(doubtful)
    }

    /// Those of these files that are not as long on disk as what git keeps, or of which it does not say how long that is.
    fn of_other_length(&self, tree: &Tree, files: Vec<(String, Option<Mode>)>) -> Result<Vec<(String, Option<Mode>)>> {
        let ids: Vec<ObjectId> = files.iter().filter_map(|(path, _)| Some(tree.get(path)?.id)).into_vec();
        let request = ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect::<String>();
        // What a partial clone lacks is no reason to fetch it: such a file is read.
        let command = self.command(&["cat-file", "--batch-check=%(objectsize)", "--buffer"]).env("GIT_NO_LAZY_FETCH", "1");
        let kept = command.stdin(request).run(&self.shutdown)?.text();
        let kept: Vec<Option<u64>> = kept.lines().map(|size| size.parse().ok()).into_vec();
        if kept.len() != files.len() || ids.len() != files.len() {
            return Ok(files);
        }
        let there = cores::map(&files, |(path, _)| self.root.join(path).symlink_metadata().ok().map(|there| there.len()));
        let other_length = |(there, kept): &(Option<u64>, Option<u64>)| there.is_none() || there != kept;
        let files = files.into_iter().zip(there.into_iter().zip(kept));
        Ok(files.filter(|(_, lengths)| other_length(lengths)).map(|(file, _)| file).into_vec())
    }

    /// The files of the work tree `tree` that git calls clean, that nothing converts, and that are not what git keeps: what converted them on
    /// their way to the disk (an attribute, `core.autocrlf`) is gone since, and git goes by the size and time that it noted then. A
    /// file that is as long as what git keeps is read only where a driver is configured that could have made it so (`filter.<driver>` in
    /// gitattributes(5), but for Git LFS's), and where it is `wanted`: neither line ends nor an encoding leave a length as it is.
    ///
    /// # Errors
    /// When git cannot be asked, or a file cannot be read.
    pub fn once_converted(&self, tree: &Tree, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<String>> {
        if tree.outside_git.is_some() {
            return Ok(Vec::new());
        }
        let trusted = tree.files.iter().filter(|file| {
            let path = &*file.path;
            let looked_at = tree.dirty.contains(path) || tree.converted.contains_key(path) || tree.absent.contains(path);
            file.mode != Mode::Submodule && !looked_at
        });
        let trusted: Vec<_> = trusted.map(|file| (file.path.to_string(), Some(file.mode))).into_vec();
        let drivers =
            self.ask(&["config", "--name-only", "--get-regexp", r"^filter\..*\.(smudge|process)$"])?.unwrap_or_default();
        let doubtful = if drivers.lines().any(|key| !key.starts_with("filter.lfs.")) {
            trusted.into_iter().filter(|(path, _)| wanted(path)).into_vec()
        } else {
            self.of_other_length(tree, trusted)?
        };
        let read = hash::files(&self.root, &doubtful, tree.format)?;
        let differs = read.into_iter().map(|read| read.file).filter(|file| tree.get(&file.path) != Some(file));
        Ok(differs.map(|file| file.path.into()).into_vec())
    }

    /// Files that a sparse checkout leaves out, or `skip-worktree` hides, and that are on disk.
    fn there_all_the_same(&self, tree: &Tree) -> Vec<String> {
        let absent: Vec<&String> = tree.absent.iter().into_vec();
        let pieces = cores::map(&absent.chunks(1_024).into_vec(), |paths| {
            let mut found = Vec::new();
            // Mostly whole folders are left out: what lies in a folder that is not there is not asked for.
            let mut gone: Option<String> = None;
            for path in *paths {
                if gone.as_ref().is_some_and(|gone| path.starts_with(gone)) {
                    continue;
                }
                match self.root.join(path).symlink_metadata() {
                    Ok(there) if !there.is_dir() => found.push((*path).clone()),
                    Err(error) if error.kind() == ErrorKind::NotFound => gone = self.first_missing(path),
                    _ => {}
                }
            }
            found
        });
        pieces.into_iter().flatten().into_vec()
    }

    /// The outermost folder of a path that is not on disk, with a slash at its end.
    fn first_missing(&self, path: &str) -> Option<String> {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.into_iter().find(|folder| !self.root.join(folder).exists()).map(|folder| format!("{folder}/"))
    }

    /// Puts the files of checked-out submodules, and of repositories that lie untracked in the work tree, in their place.
    pub(super) fn take_in_submodules(&self, tree: &mut Tree, mut nested: Vec<String>, depth: usize) -> Result<()> {
        nested.extend(tree.files.iter().filter(|f| f.mode == Mode::Submodule).map(|f| f.path.to_string()));
        for folder in nested {
            let root = self.root.join(&folder);
            if depth < MAX_DEPTH && root.join(".git").exists() {
                let inner = self.in_worktree(root);
                let inner = inner.read_worktree(inner.scan()?, depth + 1)?;
                replace_submodule(tree, &folder, inner);
            }
        }
        Ok(())
    }

    fn commit_at(&self, commit: &str, depth: usize) -> Result<Tree> {
        let answer = self.bytes(&["ls-tree", "-r", "-z", commit])?;
        let mut tree = Tree::default();
        for record in records(&answer) {
            let (head, name) = split_at_tab(record)?;
            let mut fields = head.split(|b| *b == b' ');
            let (mode, _, id) = (fields.next(), fields.next(), fields.next());
            let entry = mode.and_then(Mode::parse).zip(id.and_then(ObjectId::parse));
            let (mode, id) = entry.ok_or_else(|| unreadable(record))?;
            match std::str::from_utf8(name) {
                Ok(path) => tree.files.push(File { path: path.into(), mode, id }),
                Err(_) => tree.odd.push(String::from_utf8_lossy(name).into_owned()),
            }
        }
        let submodules: Vec<File> = tree.files.iter().filter(|f| f.mode == Mode::Submodule).cloned().into_vec();
        for submodule in submodules {
            let root = self.root.join(&*submodule.path);
            let inner = self.in_worktree(root);
            if depth < MAX_DEPTH && inner.root.join(".git").exists() && inner.has(submodule.id.as_str())? {
                let files = inner.commit_at(submodule.id.as_str(), depth + 1)?;
                replace_submodule(&mut tree, &submodule.path, files);
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// The contents of blobs, by id, in one process. Blobs that a partial clone lacks are fetched by git.
    ///
    /// # Errors
    /// When one cannot be had.
    pub fn blobs(&self, ids: &SortedSet<ObjectId>) -> Result<SortedMap<ObjectId, Vec<u8>>> {
        let mut request = String::new();
        for id in ids {
            request.push_str(id.as_str());
            request.push('\n');
        }
        let command = self.command(&["cat-file", "--batch"]).stdin(request);
        let output = command.run(&self.shutdown)?;
        if !output.success() {
            return Err(super::refusal(&command, &output));
        }
        let mut rest = output.stdout.as_slice();
        let mut out = SortedMap::new();
        for id in ids {
            let content = next_blob(&mut rest).ok_or_else(|| {
                Error::failed(format!("git has no blob {id}")).hint("fetch it: `git fetch --refetch`, or clone again")
            })?;
            out.insert(*id, content.to_vec());
        }
        Ok(out)
    }
}

/// The next answer of `cat-file --batch`: `<id> blob <size>`, the content, a line end.
fn next_blob<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(&rest[..end]).ok()?;
    let size: usize = head.split(' ').nth(2)?.parse().ok()?;
    let content = rest.get(end + 1..end + 1 + size)?;
    *rest = rest.get(end + 2 + size..)?;
    Some(content)
}

/// The untracked files of an `ls-files --others -z`, and the folders of repositories within, which it does not look into. Names that are not
/// UTF-8 go to `odd`.
pub(super) fn parse_untracked<'a>(answer: &'a [u8], odd: &mut Vec<String>) -> (Vec<&'a str>, Vec<String>) {
    let (mut paths, mut nested) = (Vec::new(), Vec::new());
    for name in records(answer) {
        match std::str::from_utf8(name) {
            Ok(folder) if folder.ends_with('/') => nested.push(folder.trim_end_matches('/').to_owned()),
            Ok(path) => paths.push(path),
            Err(_) => odd.push(String::from_utf8_lossy(name).into_owned()),
        }
    }
    (paths, nested)
}

/// The files that may be converted on their way between disk and repository, by git's list of those with an attribute that says so, and
/// by `core.autocrlf`: under `input`, too, a file whose lines end in CRLF is clean where they end in LF in the repository.
fn converted(tree: &Tree, named: &[u8], line_ends: Option<&str>) -> Vec<(String, Option<Mode>)> {
    let may_be = |file: &&File| matches!(file.mode, Mode::Plain | Mode::Executable);
    let found = |file: &File| (file.path.to_string(), Some(file.mode));
    if line_ends.is_some_and(|said| !matches!(said.trim(), "" | "false" | "no" | "off" | "0")) {
        return tree.files.iter().filter(may_be).map(found).into_vec();
    }
    let paths = records(named).filter_map(|name| std::str::from_utf8(name).ok());
    paths.filter_map(|path| tree.get(path)).filter(may_be).map(found).into_vec()
}

/// A path that differs from the index: `None` where it is gone, `Some(None)` where its mode must be looked up on disk.
type Differences = SortedMap<String, Option<Option<Mode>>>;

pub(super) struct Listing {
    pub(super) tree: Tree,
    /// Paths that must be looked at on disk whatever `diff-files` says.
    pub(super) unsure: SortedSet<String>,
    /// Files that may be converted on their way between disk and repository, with their mode.
    converted: Vec<(String, Option<Mode>)>,
}

impl Listing {
    /// Takes the paths that differ out of the tree, and returns what the index says of them.
    fn take_out(&mut self, differs: &Differences) -> SortedMap<String, (Mode, ObjectId)> {
        let known = |path: &String| self.tree.get(path).filter(|file| file.mode != Mode::Submodule);
        let replaced: SortedMap<_, _> =
            differs.keys().filter_map(|path| known(path).map(|file| (path.clone(), (file.mode, file.id)))).into_map();
        if !replaced.is_empty() {
            self.tree.files.retain(|file| !replaced.contains_key(&*file.path));
            self.tree.absent.retain(|path| !replaced.contains_key(path));
        }
        replaced
    }
}

/// `diff-files --raw -z`: `:<mode> <mode> <id> <id> <status>`, a zero byte, the path, a zero byte. The second mode is the work
/// tree's as git sees it (it knows of file systems without exec bits), zero where the file is gone.
fn parse_differences(answer: &[u8]) -> Result<Differences> {
    let mut out = Differences::new();
    let mut fields = answer.split(|b| *b == 0);
    while let (Some(head), Some(name)) = (fields.next().filter(|head| !head.is_empty()), fields.next()) {
        let mut words = head.split(|b| *b == b' ');
        let mode = words.nth(1).ok_or_else(|| unreadable(head))?;
        let status = words.nth(2).ok_or_else(|| unreadable(head))?;
        let Ok(path) = std::str::from_utf8(name) else { continue };
        // An unmerged path comes as `U`, and once more as compared with our side: what is on disk counts.
        let state = match status {
            b"U" => Some(None),
            _ if mode == b"000000" => None,
            _ => Some(Mode::parse(mode)),
        };
        if out.get(path) != Some(&Some(None)) {
            out.insert(path.to_owned(), state);
        }
    }
    Ok(out)
}

/// `ls-files --stage -v -z`: `<tag> <mode> <id> <stage>`, a tab, the path, a zero byte. Tag `S` is left out by a sparse checkout; a
/// lower-case tag is assumed unchanged, which is the user's word and not git's, so such a file is hashed.
pub(super) fn parse_index(answer: &[u8]) -> Result<Listing> {
    let mut listing = Listing { tree: Tree::default(), unsure: SortedSet::new(), converted: Vec::new() };
    listing.tree.files.reserve(answer.len() / 100);
    for record in records(answer) {
        let (head, name) = split_at_tab(record)?;
        let (tag, mode, id, stage) = split_head(head).ok_or_else(|| unreadable(record))?;
        if id.len == 64 {
            listing.tree.format = Format::Sha256;
        }
        let Ok(path) = std::str::from_utf8(name) else {
            listing.tree.odd.push(String::from_utf8_lossy(name).into_owned());
            continue;
        };
        if stage != b'0' {
            listing.unsure.insert(path.to_owned());
            continue;
        }
        if tag.eq_ignore_ascii_case(&b'S') {
            listing.tree.absent.insert(path.to_owned());
        } else if tag.is_ascii_lowercase() && mode != Mode::Submodule {
            listing.unsure.insert(path.to_owned());
        }
        listing.tree.files.push(File { path: path.into(), mode, id });
    }
    // Git sorts its index so; what is looked up by halves must not hang on it.
    if !listing.tree.files.is_sorted_by(|a, b| a.path < b.path) {
        listing.tree.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(listing)
}

/// Takes `H 100644 <id> 0` apart by position: this runs once for every file of the repository.
fn split_head(head: &[u8]) -> Option<(u8, Mode, ObjectId, u8)> {
    let (tag, mode) = (*head.first()?, Mode::parse(head.get(2..8)?)?);
    let id = ObjectId::parse(head.get(9..head.len().checked_sub(2)?)?)?;
    Some((tag, mode, id, *head.last()?))
}

/// What stands between zero bytes. The search is the standard library's, which is optimised in a debug build too: ten megabytes byte by
/// byte would cost a tenth of a second.
fn records(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = answer;
    std::iter::from_fn(move || {
        let record = CStr::from_bytes_until_nul(rest).map_or(rest, CStr::to_bytes);
        rest = rest.get(record.len() + 1..).unwrap_or_default();
        (!record.is_empty()).then_some(record)
    })
}

fn split_at_tab(record: &[u8]) -> Result<(&[u8], &[u8])> {
    // Where it is with ids of 40 digits.
    let usual = [51, 52].into_iter().find(|at| record.get(*at) == Some(&b'\t'));
    let tab = usual.or_else(|| record.iter().position(|b| *b == b'\t')).ok_or_else(|| unreadable(record))?;
    Ok((&record[..tab], &record[tab + 1..]))
}

fn unreadable(record: &[u8]) -> Error {
    Error::failed(format!("git answered something unknown: `{}`", String::from_utf8_lossy(record)))
        .hint("git 2.25 or newer is needed")
}

fn replace_submodule(tree: &mut Tree, folder: &str, inner: Tree) {
    tree.files.retain(|file| &*file.path != folder);
    let below = |path: &str| format!("{folder}/{path}");
    tree.files.extend(inner.files.into_iter().map(|file| File { path: below(&file.path).into(), ..file }));
    tree.dirty.extend(inner.dirty.iter().map(|path| below(path)));
    tree.absent.extend(inner.absent.iter().map(|path| below(path)));
    tree.converted.extend(inner.converted.iter().map(|(path, id)| (below(path), *id)));
    tree.pointers.extend(inner.pointers.iter().map(|path| below(path)));
    tree.odd.extend(inner.odd.iter().map(|path| below(path)));
}
