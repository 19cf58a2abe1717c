//! The folders of runs: `target/xtask/runs/<id>/` with `run.json`, `<task>.log` and, where asked for, `<task>.rawjson`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::logs::Logs;
use super::run::{RunRecord, VERSION};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::event::Task;
use monoship_core::secret::mask;
use monoship_core::sorted::Order as _;
use monoship_core::validated;

/// A run's name: when it began and which process it was, `20261124T035844785-1f3a`. Sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);
validated!(RunId);

impl RunId {
    /// The name of a run of process `pid` that began at `started`.
    #[must_use]
    pub fn new(started: SystemTime, pid: u32) -> Self {
        let digits = monoship_core::time::rfc3339::text(started);
        let digits: String = digits.chars().filter(|c| c.is_ascii_digit() || *c == 'T').collect();
        Self(format!("{digits}-{pid:04x}"))
    }
}

impl FromStr for RunId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("`{text}` is not the id of a run"))
            .hint("the runs that are kept are the folders of target/xtask/runs"))
    }
}

/// How much is kept: whatever is beyond either bound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// At most this many.
    pub count: usize,
    /// None older than this.
    pub age: Duration,
}

/// All runs that are kept.
#[derive(Debug, Clone)]
pub struct Runs {
    folder: PathBuf,
    aside: PathBuf,
}

/// One run's folder.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    folder: PathBuf,
}

impl Runs {
    /// The runs under `root`, which is `target/xtask`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { folder: root.join("runs"), aside: root.join("aside") }
    }

    /// The folder of a run that builds nothing (a plan, a dry run): one for all of them, beside those that are kept, so that no
    /// number of them drives out the log of a build.
    ///
    /// # Errors
    /// When the folder cannot be made, where somebody may write at all: who only looks at a repository that is read-only for it goes without.
    pub fn aside(&self, started: SystemTime) -> Result<Run> {
        let is_read_only = |e: &std::io::Error| matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied);
        match std::fs::create_dir_all(&self.aside) {
            Err(error) if !is_read_only(&error) => return Err(Error::io("create", &self.aside, error)),
            _ => {}
        }
        Ok(Run { id: RunId::new(started, std::process::id()), folder: self.aside.clone() })
    }

    /// Makes the folder of a run that begins.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn begin(&self, started: SystemTime) -> Result<Run> {
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::io("create", &self.folder, e))?;
        let base = RunId::new(started, std::process::id());
        for attempt in 0.. {
            let id = if attempt == 0 { base.clone() } else { RunId(format!("{base}-{attempt}")) };
            let folder = self.folder.join(id.as_str());
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(Run { id, folder }),
                // Two runs of one process within a millisecond.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 1_000 => {}
                Err(error) => return Err(Error::io("create", &folder, error)),
            }
        }
        unreachable!("the loop returns")
    }

    /// The runs there are, newest first. A folder that cannot be read has none.
    #[must_use]
    pub fn list(&self) -> Vec<Run> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let runs = entries.filter_map(|entry| {
            let id: RunId = entry.file_name().to_str()?.parse().ok()?;
            Some(Run { id, folder: entry.path() })
        });
        let mut runs: Vec<Run> = runs.into_vec();
        runs.order_by(|a, b| b.id.cmp(&a.id));
        runs
    }

    /// The newest run that has a record, with it.
    #[must_use]
    pub fn latest(&self) -> Option<(Run, RunRecord)> {
        self.list().into_iter().find_map(|run| run.read().ok().map(|record| (run, record)))
    }

    /// The run of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, id: &RunId) -> Result<Run> {
        let run = self.list().into_iter().find(|run| run.id == *id);
        run.ok_or_else(|| {
            let error = Error::usage(format!("there is no run `{id}` in {}", self.folder.display()));
            match self.list().into_iter().next() {
                Some(newest) => error.hint(format!("a run has the name of its folder; the newest is {}", newest.id)),
                None => error.hint("none is kept yet: `cargo xtask build` makes one"),
            }
        })
    }

    /// Removes runs beyond `keep`, the newest always excepted. Returns how many went. One that another process is removing at
    /// the same time is no error.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn prune(&self, keep: Keep, now: SystemTime) -> Result<usize> {
        let oldest = now.checked_sub(keep.age).map(|time| RunId::new(time, 0));
        let mut gone = 0;
        for (index, run) in self.list().into_iter().enumerate().skip(1) {
            if index < keep.count && oldest.as_ref().is_none_or(|oldest| run.id >= *oldest) {
                continue;
            }
            match std::fs::remove_dir_all(&run.folder) {
                Ok(()) => gone += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove", &run.folder, error)),
            }
        }
        Ok(gone)
    }
}

impl Run {
    /// Where everything of this run lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a task's whole log lies.
    #[must_use]
    pub fn log_path(&self, task: &Task) -> PathBuf {
        self.folder.join(format!("{}.log", task.file()))
    }

    /// Something that writes each task's log from events; `raw` keeps the builder's own stream too.
    #[must_use]
    pub fn logs(&self, raw: bool) -> Logs {
        Logs::new(self.folder.clone(), raw)
    }

    /// Writes the run's record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, record: &RunRecord) -> Result<()> {
        let path = self.folder.join("run.json");
        let mut json =
            serde_json::to_string_pretty(record).map_err(|e| Error::failed("cannot write the run's record").source(e))?;
        json.push('\n');
        write_atomically(&path, mask(&json).as_bytes())
    }

    /// Reads the run's record.
    ///
    /// # Errors
    /// When there is none (the run was killed), it is damaged, or a newer version wrote it.
    pub fn read(&self) -> Result<RunRecord> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let path = self.folder.join("run.json");
        let text = read_text(&path)?;
        let damaged =
            |error: serde_json::Error| Error::failed("not a run's record").at(path.clone(), Some(error.line())).source(error);
        let version = serde_json::from_str::<Versioned>(&text).map_err(damaged)?.version;
        if version > VERSION {
            return Err(Error::failed(format!(
                "a newer version of xtask wrote this record (format {version}, known is {VERSION})"
            ))
            .at(path, None)
            .hint("update xtask to read it"));
        }
        serde_json::from_str(&text).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::run::TaskRecord;
    use monoship_core::event::Status;

    const DAY: Duration = Duration::from_hours(24);

    fn at(days: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * (20_000 + days)
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::new(dir.path());
        let run = runs.begin(at(1)).unwrap();
        let mut record = RunRecord::new(run.id.clone(), at(1), "build api");
        record.tasks.push(TaskRecord::new(Task::Service("api".parse().unwrap()), Status::Built));
        run.write(&record).unwrap();
        let (latest, read) = runs.latest().unwrap();
        assert_eq!((latest.id, read), (run.id, record));
    }

    #[test]
    fn two_runs_that_begin_in_the_same_millisecond_get_folders_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::new(dir.path());
        let ids: Vec<RunId> = (0..3).map(|_| runs.begin(at(1)).unwrap().id).collect();
        assert_eq!(runs.list().len(), 3);
        assert!(ids.iter().all(|id| runs.find(id).is_ok()));
    }

    #[test]
    fn a_killed_run_a_damaged_record_and_a_newer_one_are_passed_over_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::new(dir.path());
        let good = runs.begin(at(1)).unwrap();
        good.write(&RunRecord::new(good.id.clone(), at(1), "build")).unwrap();
        runs.begin(at(2)).unwrap();
        let damaged = runs.begin(at(3)).unwrap();
        std::fs::write(damaged.folder.join("run.json"), "{\"version\":1,\n\"id\":").unwrap();
        let newer = runs.begin(at(4)).unwrap();
        std::fs::write(newer.folder.join("run.json"), r#"{"version":99,"shape":"other"}"#).unwrap();
        std::fs::create_dir(runs.folder.join("not a run")).unwrap();
        assert_eq!(runs.latest().unwrap().0.id, good.id);
        let error = damaged.read().unwrap_err();
        assert_eq!(error.place().and_then(|place| place.1), Some(2), "{error}");
        assert!(newer.read().unwrap_err().to_string().contains("format 99"));
        assert_eq!(runs.list().len(), 4);
    }

    #[test]
    fn pruning_keeps_the_newest_and_what_is_within_both_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::new(dir.path());
        (0..10).for_each(|day| drop(runs.begin(at(day)).unwrap()));
        assert_eq!(runs.prune(Keep { count: 6, age: DAY * 100 }, at(10)).unwrap(), 4);
        assert_eq!(runs.prune(Keep { count: 6, age: DAY * 3 }, at(10)).unwrap(), 3);
        assert_eq!(runs.prune(Keep { count: 0, age: Duration::ZERO }, at(90)).unwrap(), 2);
        assert_eq!(runs.list().len(), 1, "the newest stays");
    }

    #[test]
    fn runs_that_build_nothing_share_one_folder_that_no_list_shows() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::new(dir.path());
        let kept = runs.begin(at(1)).unwrap();
        let folders = [2, 3].map(|day| runs.aside(at(day)).unwrap().folder);
        assert_eq!(folders[0], folders[1]);
        assert!(folders[0].is_dir());
        assert_eq!(runs.list().iter().map(|run| &run.id).collect::<Vec<_>>(), [&kept.id]);
        // Where nobody, the superuser included, may make a folder.
        assert!(Runs::new("/sys/xtask".as_ref()).aside(at(2)).is_ok(), "who looks writes nothing that has to be");
        assert!(Runs::new("/dev/null".as_ref()).aside(at(2)).is_err());
    }

    #[test]
    fn an_id_cannot_leave_its_folder() {
        for bad in ["", "..", "a/b", "-x", "a b", "é"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        assert_eq!(RunId::new(at(0), 0x1f3a).as_str(), "20241004T000000000-1f3a");
    }
}
