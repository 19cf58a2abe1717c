//! Git's view of a workspace: which files there are, with the mode and blob id of each, without reading what is clean. The
//! commands run here; what the answers mean for a service is decided in `plan`.
//!
//! Three commands run side by side for the work tree (measured at 100,000 clean files on two cores, each beside the others:
//! `ls-files -s` 0.04 s, `diff-files` 0.25 s, `ls-files -o` 0.22 s; `git status`, which also compares the index with HEAD, 0.3 to
//! 0.5 s). Reading `.git/index` ourselves would save the smallest of these and would have to know split and sparse indexes.

mod below;
pub(crate) mod hash;
mod history;
mod listing;
mod names;
mod of_commit;
mod refusal;
mod remote;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use monoship_core::error::Result;
use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::execute::started::Started;
use monoship_core::secret::Secret;
use monoship_core::sorted::{SortedMap, SortedSet, side_by_side};

pub use hash::Format;
pub use history::{Head, is_full_id};
pub use listing::Scan;
pub use names::Index;
use refusal::{NotARepository, is_another_users, refusal};
pub use remote::Remote;

/// A file's kind, as git keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// 100644
    Plain,
    /// 100755
    Executable,
    /// 120000; the blob holds the target.
    Symlink,
    /// 160000: a submodule that is not checked out; the id is its commit.
    Submodule,
}

impl Mode {
    /// Git's six octal digits.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Submodule => "160000",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"100644" | b"100664" => Some(Self::Plain),
            b"100755" => Some(Self::Executable),
            b"120000" => Some(Self::Symlink),
            b"160000" => Some(Self::Submodule),
            _ => None,
        }
    }
}

/// An object id in hexadecimal: 40 digits, or 64 in a repository that uses SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    // Kept as text: 100,000 ids are copied out of git's answer and most are never looked at.
    hex: [u8; 64],
    len: u8,
}

impl ObjectId {
    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.hex[..usize::from(self.len)]).unwrap_or_default()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let len = u8::try_from(text.len()).ok().filter(|len| matches!(len, 40 | 64))?;
        let mut hex = [0; 64];
        hex[..text.len()].copy_from_slice(text);
        text.is_ascii().then_some(Self { hex, len })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One file: its path relative to the workspace, with slashes, its mode and its blob id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the workspace's root, with slashes.
    pub path: Box<str>,
    /// Its kind.
    pub mode: Mode,
    /// The id of its content (of its target, for a symlink; of its commit, for a submodule).
    pub id: ObjectId,
}

impl File {
    /// A plain or executable file, for trees that do not come from git. `None` where `id` is no object id.
    #[must_use]
    pub fn new(path: &str, executable: bool, id: &str) -> Option<Self> {
        let mode = if executable { Mode::Executable } else { Mode::Plain };
        Some(Self { path: path.into(), mode, id: ObjectId::parse(id.as_bytes())? })
    }
}

/// Every file of a workspace at one moment, sorted by path (bytewise). Ignored files are not in it.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    files: Vec<File>,
    dirty: SortedSet<String>,
    absent: SortedSet<String>,
    converted: SortedMap<String, ObjectId>,
    pointers: SortedSet<String>,
    format: Format,
    odd: Vec<String>,
    outside_git: Option<String>,
}

/// What became of a path between two trees. A rename is a deletion and an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Only the later tree has it.
    Added,
    /// Only the earlier tree has it.
    Deleted,
    /// Its content or its mode differ.
    Modified,
}

impl Tree {
    /// A tree of the files given, for tests and for plans that come from elsewhere.
    #[must_use]
    pub fn from_files(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files, ..Self::default() }
    }

    /// All files.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The file at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&File> {
        self.place(path).map(|at| &self.files[at])
    }

    /// Where in [`Tree::files`] the file at `path` is.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<usize> {
        self.files.binary_search_by(|file| (*file.path).cmp(path)).ok()
    }

    /// The files below the folder `folder` (no trailing slash; empty means all).
    #[must_use]
    pub fn under(&self, folder: &str) -> &[File] {
        if folder.is_empty() {
            return &self.files;
        }
        let start = format!("{folder}/");
        let from = self.files.partition_point(|file| *file.path < *start);
        let below = self.files[from..].partition_point(|file| file.path.starts_with(&start));
        &self.files[from..from + below]
    }

    /// Paths whose content differs from the index, and untracked ones. Empty for a commit.
    #[must_use]
    pub fn dirty(&self) -> &SortedSet<String> {
        &self.dirty
    }

    /// Files that a sparse checkout left out of the work tree. They are in [`Tree::files`], but not on disk.
    #[must_use]
    pub fn absent(&self) -> &SortedSet<String> {
        &self.absent
    }

    /// Files that git calls clean and whose content on disk is another than the one git keeps (filters, LFS, line ends, encodings,
    /// `$Id$`), each with the id of the one git keeps.
    #[must_use]
    pub fn converted(&self) -> &SortedMap<String, ObjectId> {
        &self.converted
    }

    /// Files whose content is in Git LFS, and not on disk.
    #[must_use]
    pub fn pointers(&self) -> &SortedSet<String> {
        &self.pointers
    }

    /// The hash of its ids.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// A commit's tree as it would be on disk beside the work tree `here`: where both have a file with the content that git keeps, and
    /// that is converted on its way to this machine's disk, its id is that of what is on disk.
    #[must_use]
    pub fn as_checked_out_beside(&self, here: &Self) -> Self {
        let mut tree = self.clone();
        for (path, kept) in &here.converted {
            if let (Some(at), Some(on_disk)) = (tree.place(path).filter(|at| tree.files[*at].id == *kept), here.get(path)) {
                tree.files[at].id = on_disk.id;
            }
        }
        tree
    }

    /// Names that are not UTF-8, made readable. They are not in [`Tree::files`]; whoever needs their folder must refuse.
    #[must_use]
    pub fn odd_names(&self) -> &[String] {
        &self.odd
    }

    /// Why git was not asked, where the folder was hashed instead: something to tell the user.
    #[must_use]
    pub fn outside_git(&self) -> Option<&str> {
        self.outside_git.as_deref()
    }

    /// What changed from `self` to `later`.
    #[must_use]
    pub fn changed(&self, later: &Self) -> SortedMap<String, Change> {
        let mut out = SortedMap::new();
        for (before, after) in side_by_side(self.files.iter(), later.files.iter(), |a, b| a.path.cmp(&b.path)) {
            let (path, change) = match (before, after) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(a), Some(_)) => (&a.path, Change::Modified),
                (Some(a), None) => (&a.path, Change::Deleted),
                (None, Some(b)) => (&b.path, Change::Added),
                (None, None) => continue,
            };
            out.insert(path.to_string(), change);
        }
        out
    }
}

/// Git, asked about one folder. Nothing is read from the user's environment but `PATH`, and no optional lock is taken.
#[derive(Clone)]
pub struct Git {
    root: PathBuf,
    shutdown: Shutdown,
    /// Credentials, for a remote that is asked for what a shallow or partial clone lacks.
    vars: Vec<(String, Secret)>,
}

/// Variables that would point git somewhere else, as a hook's environment has them (`git rev-parse --local-env-vars`, and the
/// pathspec switches).
const FOREIGN: [&str; 21] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// What git needs of our environment: it is started before anybody can say which of the other variables are secret.
const OF_GIT: [&str; 30] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_*",
    "LD_*",
    "NIX_*",
    "XDG_*",
    "GIT_*",
    "SSH_*",
    "GNUPGHOME",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_*",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "no_proxy",
];

/// Commands that may talk to a remote: to fetch, or for a blob that a partial clone lacks. No other is handed credentials.
const ASK_A_REMOTE: [&str; 21] = [
    "archive",
    "cat-file",
    "checkout",
    "diff",
    "diff-tree",
    "fetch",
    "grep",
    "log",
    "ls-remote",
    "ls-tree",
    "merge-base",
    "merge-tree",
    "read-tree",
    "reset",
    "restore",
    "rev-list",
    "show",
    "status",
    "sparse-checkout",
    "submodule",
    "worktree",
];

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Git").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Git {
    /// Git for the workspace whose root is `root`. That may be a folder within the repository.
    pub fn at(root: impl Into<PathBuf>, shutdown: &Shutdown) -> Self {
        Self { root: root.into(), shutdown: shutdown.clone(), vars: Vec::new() }
    }

    /// The same with these variables for every command: a job whose checkout kept no credentials hands its own on so.
    #[must_use]
    pub fn with_vars(self, vars: Vec<(String, Secret)>) -> Self {
        Self { vars, ..self }
    }

    /// The same for another work tree of the repository.
    #[must_use]
    pub fn in_worktree(&self, root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), ..self.clone() }
    }

    /// The workspace's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The stop switch of its commands.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// A git command that user settings (hooks, file system monitors, quoting, columns, signatures, languages) do not change.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Invocation {
        let settings = [
            "core.quotePath=false",
            "core.fsmonitor=false",
            "core.hooksPath=/dev/null",
            "submodule.recurse=false",
            "column.ui=never",
            "log.showSignature=false",
        ];
        let mut git = Invocation::new("git").only(&OF_GIT).arg("--no-optional-locks").dir(&self.root);
        for setting in settings {
            git = git.args(["-c", setting]);
        }
        git = git.preset();
        for name in FOREIGN {
            git = git.env_remove(name);
        }
        if args.iter().any(|word| ASK_A_REMOTE.contains(word)) {
            for (name, value) in &self.vars {
                git = git.env_secret(name, value.clone());
            }
        }
        git.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").args(args)
    }

    /// Starts a command whose answer is read later.
    fn start(&self, args: &[&str]) -> Result<Question> {
        let command = self.command(args);
        Ok(Question { started: command.start(&self.shutdown)?, command })
    }

    /// Runs to the end; a non-zero exit is an error with a hint for the refusals we know.
    fn bytes(&self, args: &[&str]) -> Result<Vec<u8>> {
        self.start(args)?.bytes()
    }

    /// What git says, without the trailing line end.
    ///
    /// # Errors
    /// When git exits non-zero, with a hint for the refusals we know, or cannot be run.
    pub fn read(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(args)?).trim_end().to_owned())
    }

    /// The same, or `None` where git exits non-zero: for questions whose answer may be "no".
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn ask(&self, args: &[&str]) -> Result<Option<String>> {
        self.start(args)?.answer()
    }
}

/// A question that git answers while its asker does something else.
struct Question {
    command: Invocation,
    started: Started,
}

impl Question {
    /// See [`Git::bytes`].
    fn bytes(self) -> Result<Vec<u8>> {
        let output = self.started.finish()?;
        if output.success() { Ok(output.stdout) } else { Err(refusal(&self.command, &output)) }
    }

    /// See [`Git::ask`].
    fn answer(self) -> Result<Option<String>> {
        let output = self.started.finish()?;
        // No answer at all, to whatever was asked.
        if is_another_users(&output) {
            return Err(refusal(&self.command, &output));
        }
        Ok(output.success().then(|| output.text()))
    }
}
