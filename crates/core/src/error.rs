//! The one error type: what failed, where (file and line), what to do about it, and who must act. No I/O here.

use std::error::Error as StdError;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::secret::mask;

/// Who must act, which is what decides the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line or a configuration file is wrong; the user fixes it. Exit code 2.
    Usage,
    /// Something outside failed: a service's build, a check, a gate, the network, the engine. Exit code 1.
    Failed,
    /// The user, or the runner, asked us to stop. Exit code 130.
    Cancelled,
}

/// An error as shown to a person: a lowercase fragment, the place it concerns, and a hint that says what to do. No secret is in what it
/// says: an error goes into logs, records and messages.
///
/// ```
/// # use monoship_core::error as monoship;
/// use monoship::Error;
///
/// let error = Error::failed("api does not answer /health").hint("its log has what it said");
/// assert_eq!((error.to_string().as_str(), error.exit_code()), ("api does not answer /health", 1));
/// ```
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    place: Option<(PathBuf, Option<usize>)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = mask(fragment(&message.into())).into_owned();
        Self { inner: Box::new(Inner { kind, message, place: None, hint: None, source: None }) }
    }

    /// An error in the command line or a configuration file.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// assert_eq!(Error::usage("there is no such region").exit_code(), 2);
    /// ```
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failure of a build, a check, or something outside.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// assert_eq!(Error::failed("the database did not answer").exit_code(), 1);
    /// ```
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The run was asked to stop: exit code 130.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// assert!(Error::cancelled().is_cancelled());
    /// ```
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "cancelled")
    }

    /// An I/O failure on `path` while doing `what` ("read", "write", …). A full disk and a denied access get a hint of their own.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// # fn chart() -> monoship::Result<String> {
    /// use std::path::Path;
    ///
    /// use monoship::Error;
    ///
    /// let path = Path::new("chart/values.yaml");
    /// let chart = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    /// # Ok(chart) }
    /// ```
    pub fn io(what: &str, path: &Path, source: std::io::Error) -> Self {
        let kind = source.kind();
        let error = Self::failed(format!("cannot {what} {}", path.display()));
        let error = match in_words(kind) {
            Some(words) => error.source(words),
            None => error.source(source),
        };
        match kind {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                error.hint(format!("the disk that holds {} is full; free some room and run this again", path.display()))
            }
            std::io::ErrorKind::PermissionDenied => error.hint("check who owns it and its permissions"),
            _ => error,
        }
    }

    /// Adds what the user can do about it; a later call replaces an earlier hint.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// let error = Error::failed("the database did not answer").hint("start it with `make database`");
    /// println!("{error}");
    /// ```
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(mask(&hint.into()).into_owned());
        self
    }

    /// Adds the file it concerns and, where known, the line (counted from 1).
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// let error = Error::usage("there is no limit").at("chart/values.yaml", Some(3));
    /// assert_eq!(error.to_string(), "chart/values.yaml:3: there is no limit");
    /// ```
    #[must_use]
    pub fn at(mut self, file: impl Into<PathBuf>, line: Option<usize>) -> Self {
        self.inner.place = Some((file.into(), line));
        self
    }

    /// Adds the underlying error, shown after a colon.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// # fn port(text: &str) -> monoship::Result<u16> {
    /// use monoship::Error;
    ///
    /// let port = text.parse::<u16>().map_err(|e| Error::usage(format!("`{text}` is no port")).source(e))?;
    /// # Ok(port) }
    /// ```
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The underlying error, where it is of that type.
    #[doc(hidden)]
    #[must_use]
    pub fn source_as<E: StdError + 'static>(&self) -> Option<&E> {
        self.inner.source.as_deref()?.downcast_ref()
    }

    /// Who must act.
    #[doc(hidden)]
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// True where the run was asked to stop.
    ///
    /// ```no_run
    /// # use monoship_core::error as monoship;
    /// # fn tried(done: monoship::Result<()>) -> monoship::Result<()> {
    /// match done {
    ///     Err(error) if !error.is_cancelled() => println!("once more: {error}"),
    ///     done => return done,
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.kind == Kind::Cancelled
    }

    /// The message and its causes, for where the place is shown apart: `message: cause: its cause`.
    #[doc(hidden)]
    #[must_use]
    pub fn without_place(&self) -> String {
        let mut text = self.inner.message.clone();
        let mut source: Option<&(dyn StdError + 'static)> = self.inner.source.as_deref().map(|e| e as _);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(fragment(&error.to_string()));
            source = error.source();
        }
        mask(&text).into_owned()
    }

    /// The file and line it concerns.
    #[doc(hidden)]
    #[must_use]
    pub fn place(&self) -> Option<(&Path, Option<usize>)> {
        self.inner.place.as_ref().map(|(file, line)| (file.as_path(), *line))
    }

    /// What the user can do about it; where only the cause says so, what that says.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// let error = Error::failed("the database did not answer").hint("start it with `make database`");
    /// assert_eq!(error.hint_text(), Some("start it with `make database`"));
    /// ```
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.inner.hint.as_deref().or_else(|| self.source_as::<Self>()?.hint_text())
    }

    /// The process's exit code: 1 a failure, 2 usage or configuration, 130 cancelled.
    ///
    /// ```
    /// # use monoship_core::error as monoship;
    /// use monoship::Error;
    ///
    /// assert_eq!(Error::usage("there is no such region").exit_code(), 2);
    /// ```
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.inner.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Cancelled => 130,
        }
    }
}

/// What an error of another library's, or of a program, says: clap and many others begin with the word that is put before it here, too.
fn fragment(text: &str) -> &str {
    let text = text.trim_end();
    text.strip_prefix("error: ").unwrap_or(text)
}

/// What the system says of a file, as a person says it; none where it says that itself.
fn in_words(kind: std::io::ErrorKind) -> Option<&'static str> {
    use std::io::ErrorKind;
    match kind {
        ErrorKind::NotFound => Some("it is not there"),
        ErrorKind::IsADirectory => Some("it is a folder"),
        ErrorKind::NotADirectory => Some("a part of its path is a file"),
        _ => None,
    }
}

/// One line without the hint: `file:line: message: cause: its cause`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.inner.place {
            write!(f, "{}", file.display())?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.without_place())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&format!("{:?}", self.inner)))
    }
}

impl StdError for Error {}

/// An error on its way through a parser, which keeps nothing of it but its text: the hint is the second line.
#[derive(Debug)]
pub struct Carried(Error);

impl Carried {
    /// What stands before the hint in such a text.
    pub const HINT: &'static str = "\nhint: ";
}

impl From<Error> for Carried {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.hint_text().map_or(Ok(()), |hint| write!(f, "{}{hint}", Self::HINT))
    }
}

/// Reads a text file, naming it in the error.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| match e.kind() {
        // Nothing failed: the file is wrong.
        std::io::ErrorKind::InvalidData => Error::usage("this is not text in UTF-8").at(path, None).hint("save it as UTF-8"),
        // Nor is a path that leads to no file.
        kind if let Some(words) = in_words(kind) => Error::usage(format!("cannot read {}", path.display())).source(words),
        _ => Error::io("read", path, e),
    })
}

/// Removes whatever is at `path`: a folder with all that is in it, a file, or a link and not what it leads to. Nothing there is fine.
///
/// # Errors
/// When it, or something in it, cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    match if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) } {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Replaces `path` with `bytes` in one step (temporary file beside it, then rename), so that a crash leaves the old
/// content or the new, never a part. Parent folders are created. The file keeps its mode, and a new one gets what any new file gets.
///
/// # Errors
/// When the folder cannot be made, written or renamed into.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, mode_of(path), true)
}

/// The same for a text that the repository keeps: a file that is a link stays one, and what it leads to is written; one with the line ends of
/// Windows keeps them.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_checked_in(path: &Path, text: &str) -> Result<()> {
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(to) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new(".")).join(to);
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let of_windows = there.split_once('\n').is_some_and(|(first, _)| first.ends_with('\r'));
    if of_windows {
        return write_atomically(&path, text.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes());
    }
    write_atomically(&path, text.as_bytes())
}

/// The same for what somebody relies on after the whole machine has crashed: the folder is on disk too, and with it the new name.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, bytes)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("write", parent, e))
}

/// The same for what can be made again, like a copy of something: nobody waits for the disk. A crash of the whole machine
/// may leave the file empty.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_derived(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, mode_of(path), false)
}

/// The same for a file that nobody but its owner may read, not even for the moment before it has its name.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, 0o600, true)
}

/// A file's mode, or that of any new file, which the umask then narrows.
fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0o666, |there| there.permissions().mode() & 0o777)
}

fn replace(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> Result<()> {
    use std::io::Write as _;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    // Less the process's umask, as for any file.
    let mode = std::fs::Permissions::from_mode(mode);
    let mut file =
        tempfile::Builder::new().permissions(mode).tempfile_in(parent).map_err(|e| Error::io("write into", parent, e))?;
    file.write_all(bytes)
        .and_then(|()| if durable { file.as_file().sync_data() } else { Ok(()) })
        .map_err(|e| Error::io("write", path, e))?;
    file.persist(path).map_err(|e| Error::io("replace", path, e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_place_message_and_cause_in_one_line() {
        let error = Error::usage("unknown key `regsitry`").at("xtask.toml", Some(3)).hint("did you mean `registry`?");
        assert_eq!(error.to_string(), "xtask.toml:3: unknown key `regsitry`");
        assert_eq!(error.exit_code(), 2);
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::io("write", Path::new("/c/x"), full);
        assert!(error.to_string().starts_with("cannot write /c/x: "), "{error}");
        assert!(error.hint_text().is_some_and(|h| h.contains("is full")));
    }

    #[test]
    fn what_another_program_calls_an_error_is_not_called_so_twice() {
        let said = "error: unexpected argument '--al' found\n\nUsage: seed [--all]\n";
        let error = Error::usage(said);
        assert_eq!(error.to_string(), "unexpected argument '--al' found\n\nUsage: seed [--all]");
        assert_eq!(
            Error::failed("cannot seed").source(error).to_string().lines().next().unwrap(),
            "cannot seed: unexpected argument '--al' found"
        );
        assert_eq!(Error::failed("cannot seed").source("error: no database").to_string(), "cannot seed: no database");
    }

    #[test]
    fn a_cause_s_hint_is_shown_where_nothing_better_is_said() {
        let cause = || Error::failed("no route").hint("start the proxy");
        let wrapped = Error::failed("cannot deploy").source(Error::failed("api").source(cause()));
        assert_eq!(wrapped.hint_text(), Some("start the proxy"));
        assert_eq!(Error::failed("cannot deploy").source(cause()).hint("wait").hint_text(), Some("wait"));
    }

    #[test]
    fn a_file_of_the_repository_stays_a_link_and_keeps_its_line_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, loose) = (dir.path().join("a/one"), dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(&file, "x\r\n").unwrap();
        std::os::unix::fs::symlink("a/one", &link).unwrap();
        std::os::unix::fs::symlink("a/two", &loose).unwrap();
        write_checked_in(&link, "x\ny\r\n").unwrap();
        write_checked_in(&loose, "z\n").unwrap();
        assert!(link.is_symlink() && loose.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\r\ny\r\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("a/two")).unwrap(), "z\n");
    }

    #[test]
    fn an_atomic_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/state.json");
        write_atomically(&path, b"one, long").unwrap();
        write_durably(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), mode(&plain), "as any new file's");
        write_private(&plain, b"secret").unwrap();
        write_atomically(&plain, b"still secret").unwrap();
        assert_eq!(mode(&plain), 0o600);
    }
}
