//! What builders are sent of the main context and of folders that are named contexts, and what of it the user should know.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::project::Project;
use crate::{STATE, Session, outside};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_derived};
use monoship_core::event::Level;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::fingerprint::Inputs;
use monoship_plan::request::BuildRequest;
use monoship_workspace::dockerfile::{Slice, context_ignore_file};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::Tree;
use monoship_workspace::sent::Sent;

/// More files than this that git does not know are worth a word: each is read for every plan.
const MANY: usize = 5_000;

/// What was last found; of a commit it is given, of a folder it is looked up when it is first asked for.
#[derive(Default)]
pub struct Known {
    sent: Mutex<Option<Arc<Sent>>>,
    /// Folders that are named contexts, by path.
    named: Mutex<SortedMap<PathBuf, Named>>,
    addresses: Mutex<Option<Arc<SortedMap<String, String>>>>,
}

impl Known {
    /// What is known of a commit, beside the working tree `here`: what an address held then nobody can tell.
    pub fn given(sent: Sent, here: Option<&Project>) -> Self {
        let addresses = here.and_then(|here| locked(&here.known.addresses).clone()).unwrap_or_default();
        Self { sent: Mutex::new(Some(Arc::new(sent))), addresses: Mutex::new(Some(addresses)), ..Self::default() }
    }
}

/// A folder that is a named context.
#[derive(Clone)]
pub struct Named {
    ignore: Arc<Ignore>,
    /// What a builder is sent of it: all that its ignore file leaves in.
    pub sent: Arc<Sent>,
}

impl Named {
    fn look(root: &Path) -> Result<Self> {
        let ignore = context_ignore_file(root).map(|file| Ignore::load(&file)).transpose()?.unwrap_or_default();
        let sent = Sent::on_disk(root, &Tree::default(), &ignore, &[".".to_owned()].into_iter().into_set(), STATE)?;
        Ok(Self { ignore: Arc::new(ignore), sent: Arc::new(sent) })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Project {
    /// What these patterns of COPY, ADD and mounts see of the main context.
    ///
    /// # Errors
    /// When something that a builder would be sent cannot be read.
    pub fn sent(&self, patterns: &SortedSet<String>) -> Result<Arc<Sent>> {
        let mut known = locked(&self.known.sent);
        if let Some(sent) = known.as_ref().filter(|sent| sent.covers(patterns)) {
            return Ok(Arc::clone(sent));
        }
        let sent = Arc::new(Sent::on_disk(&self.root, &self.tree, &self.ignore, patterns, STATE)?);
        *known = Some(Arc::clone(&sent));
        Ok(sent)
    }

    /// What a builder is sent of a folder that is a named context.
    ///
    /// # Errors
    /// When something of it cannot be read.
    pub fn named(&self, root: &Path) -> Result<Named> {
        let mut known = locked(&self.known.named);
        if let Some(named) = known.get(root) {
            return Ok(named.clone());
        }
        let named = Named::look(root)?;
        known.insert(root.to_owned(), named.clone());
        Ok(named)
    }

    /// True where `touched` says so of the files of a folder that is a named context, which it is given with that.
    pub fn named_touched(&self, touched: impl Fn(&Path, &mut dyn Iterator<Item = &str>) -> bool) -> bool {
        let known = locked(&self.known.named);
        known.iter().any(|(root, named)| touched(root, &mut named.sent.entries().iter().map(|entry| &*entry.path)))
    }

    /// The first file of a named context that was edited since it was looked at.
    ///
    /// # Errors
    /// As [`Project::named`].
    pub fn edited_in_named(&self) -> Result<Option<PathBuf>> {
        for (root, Named { ignore, sent }) in &*locked(&self.known.named) {
            let changed = sent.changed(&sent.again(root, &Tree::default(), ignore, STATE)?);
            if let Some(path) = changed.first() {
                return Ok(Some(root.join(path)));
            }
        }
        Ok(None)
    }

    /// What was last looked up, where anything was.
    pub fn last_sent(&self) -> Option<Arc<Sent>> {
        locked(&self.known.sent).clone()
    }

    /// What the addresses hold that these targets add: see [`outside::held`].
    ///
    /// # Errors
    /// When the run is closing.
    pub fn addresses(&self, session: &Session, slices: &[Slice<'_>]) -> Result<SortedMap<String, String>> {
        let mut known = locked(&self.known.addresses);
        let asked = match known.as_ref() {
            Some(asked) => Arc::clone(asked),
            None => Arc::new(outside::held(session, slices, &session.config.images.dockerfile)?),
        };
        *known = Some(Arc::clone(&asked));
        let held = |address: &str| asked.get(address).cloned().unwrap_or_else(|| "not asked".to_owned());
        let all = slices.iter().flat_map(Slice::addresses);
        Ok(all.map(|address| (address.address.clone(), held(&address.address))).into_map())
    }
}

/// Where it is kept what builders were sent: size and time of modification of each file, and its content's id.
const STAMPS: &str = "sent.stamps";

/// The records of such a file, by path.
struct Stamps {
    file: PathBuf,
    before: String,
    known: BTreeMap<String, String>,
}

impl Stamps {
    fn read(file: PathBuf) -> Self {
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let records = before.split('\0').filter_map(|record| record.split_once('\t'));
        let known = records.map(|(path, stamp)| (path.to_owned(), stamp.to_owned())).collect();
        Self { file, before, known }
    }

    /// Takes a file in; true where another content of its size, mode and time is known. A stamp is size, time, mode and content.
    fn differs(&mut self, path: String, stamp: &str) -> bool {
        let but_content = |stamp: &str| stamp.splitn(4, ' ').take(3).map(str::to_owned).into_vec();
        let old = self.known.insert(path, stamp.to_owned());
        old.is_some_and(|old| old != stamp && but_content(&old) == but_content(stamp))
    }

    fn write(&self) -> Result<()> {
        let text: String = self.known.iter().map(|(path, stamp)| format!("{path}\t{stamp}\0")).collect();
        if text == self.before { Ok(()) } else { write_derived(&self.file, text.as_bytes()) }
    }
}

/// Refuses to go on where a file's content differs from what builders were sent before, and its size, mode and time of modification do not: the
/// transfer goes by these (`fsutil`'s `diff`), so that a builder would take the old content, and the image its new content's tag.
///
/// A builder knows a context by the name of its folder alone, so what another clone, or another folder of that name, has sent counts too. Two
/// files seldom have one time to the nanosecond by chance; those that were given a time in whole seconds are remembered for all. What else goes
/// by a name, the name tells: see `identity`.
///
/// # Errors
/// The first such file; when what was sent cannot be written down.
pub fn check_times(session: &Session, project: &Project, images: &[&Inputs]) -> Result<()> {
    let main = project.last_sent().filter(|_| images.iter().any(|inputs| inputs.main.is_some()));
    let named = locked(&project.known.named).clone();
    let mut contexts: Vec<_> = named.into_iter().map(|(root, named)| (root, named.sent, false)).into_vec();
    contexts.extend(main.map(|sent| (project.root.clone(), sent, true)));
    if contexts.is_empty() {
        return Ok(());
    }
    let name = project.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut own = Stamps::read(session.state_dir().join(STAMPS));
    let mut of_name = Stamps::read(session.env.cache_dir().join("sent").join(format!("{name}.stamps")));
    for (root, sent, is_main) in contexts {
        for entry in sent.entries() {
            let path = root.join(&*entry.path);
            let Ok(there) = std::fs::symlink_metadata(&path) else { continue };
            if !there.is_file() {
                continue;
            }
            let mut stamp = format!("{} {}.{:09} ", there.size(), there.mtime(), there.mtime_nsec());
            entry.describe(&mut stamp);
            let shown = path.strip_prefix(&session.home).unwrap_or(&path).display().to_string();
            let hint = format!("a builder would take the other content: run `touch {shown}`");
            if own.differs(path.to_string_lossy().into_owned(), &stamp) {
                let message = format!("`{shown}` changed since it was sent to a builder, but kept its size and time");
                return Err(Error::failed(message).hint(hint));
            }
            if is_main && there.mtime_nsec() == 0 && of_name.differs(entry.path.to_string(), &stamp) {
                let message = format!(
                    "`{shown}` has the size and time of another file, which a builder was sent from another folder called `{name}`"
                );
                return Err(Error::failed(message).hint(hint));
            }
        }
    }
    of_name.write()?;
    own.write()
}

/// Tells what goes into these images and should not, or cannot be relied on.
///
/// # Errors
/// When an image that is released would hold the pointer of a file that Git LFS has.
pub fn tell(session: &Session, project: &Project, request: &BuildRequest, images: &[Inputs]) -> Result<()> {
    let warn = |message: String, hint: &str| session.events.notice(Level::Warning, None, message, Some(hint.to_owned()));
    let sent = project.last_sent().unwrap_or_default();
    let concerns = sent.concerns();
    let pointers: SortedSet<&String> = project.tree.pointers().iter().chain(&concerns.pointers).into_set();
    let mut pointers = pointers.into_iter().filter(|path| images.iter().any(|inputs| inputs.count_on(path)));
    if let Some(first) = pointers.next() {
        let more = pointers.count();
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let message = format!("`{first}`{more} is a Git LFS pointer, not the file it stands for");
        let hint = "run `git lfs install --local` and `git lfs pull`; in a workflow, `lfs: true` for actions/checkout";
        if request.pushes() && request.release {
            return Err(Error::failed(message).hint(hint));
        }
        warn(format!("{message}: the image gets the pointer"), hint);
    }
    for name in &concerns.odd_names {
        warn(format!("`{name}` in the build context has a name that is not UTF-8: no builder takes it"), "rename it");
    }
    for folder in &concerns.repositories {
        let message = format!("`{folder}` is in the build context: each commit and each fetch is a change");
        warn(message, "add it to .dockerignore, as `**/.git`");
    }
    if concerns.own_state {
        let message =
            format!("`{STATE}` is in the build context: its logs and records get into images, and do not count as a change");
        warn(message, "add `target` to .dockerignore");
    }
    let unknown: usize = concerns.read.values().map(|(files, _)| files).sum();
    if unknown > MANY {
        let most = concerns.read.iter().max_by_key(|(_, (files, _))| *files).map_or("", |(folder, _)| folder);
        let message = format!("{unknown} files that git does not know are in the build context, most of them in `{most}`");
        warn(message, "each is read for every plan; leave them out with .dockerignore");
    }
    Ok(())
}
