//! From git's answers to a [`Tree`]: the index and what differs from it, or a commit's tree; submodules taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;

use super::hash::{self, Format};
use super::{File, Git, Mode, NOT_A_REPOSITORY, ObjectId, Question, Tree};
use monoship_core::error::{Error, Result};

/// Submodules within submodules are followed this deep.
const MAX_DEPTH: usize = 8;

/// What asks for the index: see [`parse_index`].
pub(super) const INDEX: [&str; 4] = ["ls-files", "--stage", "-v", "-z"];

/// See [`Git::look`]: three answers on their way.
pub struct Looking {
    differs: Question,
    untracked: Question,
    index: Question,
}

impl Git {
    /// The work tree: tracked files as they are on disk, and untracked files that are not ignored. Clean files are not read.
    /// Checked-out submodules are taken in. Outside a repository (or without git) every file is hashed, but those
    /// in `node_modules`; [`Tree::outside_git`] then says why.
    ///
    /// # Errors
    /// When git refuses (ownership, a bare or damaged repository), or a dirty file cannot be read.
    pub fn worktree(&self) -> Result<Tree> {
        self.worktree_from(self.look())
    }

    /// Begins to look at the work tree, for who has something else to do until it is read.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn look(&self) -> Result<Looking> {
        Ok(Looking {
            // The one that takes longest first.
            untracked: self.start(&["ls-files", "--others", "--exclude-standard", "-z"])?,
            differs: self.start(&["diff-files", "--raw", "-z", "--relative", "--no-renames", "--ignore-submodules=all"])?,
            index: self.start(&INDEX)?,
        })
    }

    /// As [`Git::worktree`], of what [`Git::look`] began.
    ///
    /// # Errors
    /// As [`Git::worktree`].
    pub fn worktree_from(&self, looking: Result<Looking>) -> Result<Tree> {
        match looking.and_then(|looking| self.read_worktree(looking, 0)) {
            // A copy below some other repository, which ignores it.
            Ok(tree) if tree.files.is_empty() && tree.odd.is_empty() => self.folder("git keeps no file of this folder"),
            Ok(tree) => Ok(tree),
            Err(error) if error.to_string().contains(NOT_A_REPOSITORY) => self.folder("this is no git repository"),
            Err(error) if error.to_string().starts_with("cannot start `git`") => self.folder("git is not installed"),
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
        let paths: Vec<_> = paths.into_iter().map(|path| (path, None)).collect();
        let files = hash::files(&self.root, &paths, Format::Sha1)?;
        Ok(Tree { odd, outside_git: Some(why.to_owned()), ..Tree::from_files(files) })
    }

    fn read_worktree(&self, looking: Looking, depth: usize) -> Result<Tree> {
        // The quickest answer is read while the others are on their way.
        let mut listing = parse_index(&looking.index.bytes()?)?;
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
        let there: Vec<_> = differs.iter().filter_map(|(path, mode)| Some((path.clone(), (*mode)?))).collect();
        let files = hash::files(&self.root, &there, listing.format)?;
        let hashed = files.len();
        listing.tree.files.extend(files);
        listing.tree.dirty.extend(differs.into_keys());
        // The index can be out of date about times; a file whose content has its id again is not dirty.
        for file in &listing.tree.files[listing.tree.files.len() - hashed..] {
            if replaced.get(&*file.path).is_some_and(|(mode, id)| *mode == file.mode && *id == file.id) {
                listing.tree.dirty.remove(&*file.path);
            }
        }
        Ok(())
    }

    /// Puts the files of checked-out submodules, and of repositories that lie untracked in the work tree, in their place.
    pub(super) fn take_in_submodules(&self, tree: &mut Tree, mut nested: Vec<String>, depth: usize) -> Result<()> {
        nested.extend(tree.files.iter().filter(|f| f.mode == Mode::Submodule).map(|f| f.path.to_string()));
        for folder in nested {
            let root = self.root.join(&folder);
            if depth < MAX_DEPTH && root.join(".git").exists() {
                let inner = self.in_worktree(root);
                let inner = inner.read_worktree(inner.look()?, depth + 1)?;
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
        let submodules: Vec<File> = tree.files.iter().filter(|f| f.mode == Mode::Submodule).cloned().collect();
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
    pub fn blobs(&self, ids: &BTreeSet<ObjectId>) -> Result<BTreeMap<ObjectId, Vec<u8>>> {
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
        let mut out = BTreeMap::new();
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

/// A path that differs from the index: `None` where it is gone, `Some(None)` where its mode must be looked up on disk.
type Differences = BTreeMap<String, Option<Option<Mode>>>;

pub(super) struct Listing {
    pub(super) tree: Tree,
    format: Format,
    /// Paths that must be looked at on disk whatever `diff-files` says.
    pub(super) unsure: BTreeSet<String>,
}

impl Listing {
    /// Takes the paths that differ out of the tree, and returns what the index says of them.
    fn take_out(&mut self, differs: &Differences) -> BTreeMap<String, (Mode, ObjectId)> {
        let known = |path: &String| self.tree.get(path).filter(|file| file.mode != Mode::Submodule);
        let replaced: BTreeMap<_, _> =
            differs.keys().filter_map(|path| known(path).map(|file| (path.clone(), (file.mode, file.id)))).collect();
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
    let mut listing = Listing { tree: Tree::default(), format: Format::Sha1, unsure: BTreeSet::new() };
    listing.tree.files.reserve(answer.len() / 100);
    for record in records(answer) {
        let (head, name) = split_at_tab(record)?;
        let (tag, mode, id, stage) = split_head(head).ok_or_else(|| unreadable(record))?;
        if id.len == 64 {
            listing.format = Format::Sha256;
        }
        let Ok(path) = std::str::from_utf8(name) else {
            listing.tree.odd.push(String::from_utf8_lossy(name).into_owned());
            continue;
        };
        if stage != b'0' {
            listing.unsure.insert(path.to_owned());
            continue;
        }
        if tag.is_ascii_lowercase() && mode != Mode::Submodule {
            listing.unsure.insert(path.to_owned());
        }
        if tag.eq_ignore_ascii_case(&b'S') {
            listing.tree.absent.insert(path.to_owned());
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
    tree.odd.extend(inner.odd.iter().map(|path| below(path)));
}
