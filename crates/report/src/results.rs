//! The small files by which the jobs of a matrix tell each other what they did: the plan's, which says what a complete run is,
//! and one for each service. They are complete or refused: an artifact may be cut, old, of another commit, or missing.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::TaskRecord;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text, write_atomically};
use monoship_core::name::{Digest, Fingerprint, Platform, ServiceName, Tag, sha256_hex};
use monoship_core::secret::mask_json;
use monoship_core::sorted::{Order as _, SortedMap};

/// How many jobs a matrix may have (docs.github.com, usage limits of GitHub Actions).
const MATRIX_JOBS: usize = 256;

/// Grows when a field's meaning changes; another version is refused.
const VERSION: u32 = 1;

/// What `ci plan` hands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanFile {
    /// The commit that is built.
    pub commit: String,
    /// The version to publish, for a release.
    pub tag: Option<Tag>,
    /// Every service that a complete run has, built or not.
    pub services: SortedMap<ServiceName, Planned>,
    /// What the team's stages before the builds came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<TaskRecord>,
}

/// One service of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Planned {
    /// Its inputs.
    pub fingerprint: Fingerprint,
    /// The image that is there already; `None` where a job must build it.
    pub present: Option<Digest>,
    /// Why it is built, or is not.
    pub why: String,
    /// The platforms that are built apart, each by a job of its own where the plan was asked for that, and joined by the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
}

/// What a service's job hands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceFile {
    /// The commit that was built.
    pub commit: String,
    /// The service.
    pub service: ServiceName,
    /// The platform, of a job that built for one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its inputs, as the job saw them: they must be the plan's.
    pub fingerprint: Fingerprint,
    /// Which attempt of the run this is, from 1; a later one replaces an earlier one.
    pub attempt: u32,
    /// What came of it, as the job's own record has it.
    pub task: TaskRecord,
    /// What the team's own stages came to for its image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<TaskRecord>,
}

/// What is on disk: the content and its own checksum, so that a cut or edited file is told from a whole one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sealed {
    version: u32,
    sha256: String,
    content: serde_json::Value,
}

fn seal(content: &impl Serialize) -> Vec<u8> {
    // A `Value`'s maps are sorted: the checksum is over the same bytes at both ends, whatever the file's white space.
    let mut content = serde_json::to_value(content).expect("our own types serialise");
    // It leaves the machine, and the next job shows it, who does not know our secrets.
    mask_json(&mut content);
    let sealed = Sealed { version: VERSION, sha256: sha256_hex(content.to_string().as_bytes()), content };
    let mut bytes = serde_json::to_vec_pretty(&sealed).expect("our own types serialise");
    bytes.push(b'\n');
    bytes
}

fn unseal<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let refused = |why: &str| {
        Error::failed(format!("this result is incomplete: {why}")).at(path, None).hint("run the job that made it again")
    };
    let text = read_text(path)?;
    let sealed: Sealed = serde_json::from_str(&text).map_err(|e| refused("it is not JSON of a result").source(e))?;
    if sealed.version != VERSION {
        return Err(refused(&format!("it has version {}, and this xtask reads {VERSION}", sealed.version))
            .hint("all jobs of a run must use the same commit's xtask"));
    }
    if sealed.sha256 != sha256_hex(sealed.content.to_string().as_bytes()) {
        return Err(refused("its checksum differs"));
    }
    let mut content = sealed.content;
    mask_json(&mut content);
    serde_json::from_value(content).map_err(|e| refused("it lacks something").source(e))
}

impl PlanFile {
    /// The file's name in the results' folder.
    pub const NAME: &'static str = "plan.json";

    /// Writes it into `dir`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(Self::NAME);
        write_atomically(&path, &seal(self))?;
        Ok(path)
    }

    /// Reads it from `dir`.
    ///
    /// # Errors
    /// When it is missing or not whole.
    pub fn read(dir: &Path) -> Result<Self> {
        unseal(&dir.join(Self::NAME))
    }

    /// The matrix of the jobs that must build: `{"service":["api","web"]}`. GitHub refuses an empty matrix, so the jobs are
    /// skipped where it is one.
    ///
    /// # Errors
    /// As [`jobs_of_a_matrix`].
    pub fn matrix(&self) -> Result<serde_json::Value> {
        let names = self.services.iter().filter(|(_, planned)| planned.present.is_none()).map(|(name, _)| name.as_str());
        Ok(serde_json::json!({"service": jobs_of_a_matrix(names.into_vec())?}))
    }

    /// Checks that a service's job has built, or is about to build, what was planned.
    ///
    /// # Errors
    /// A service that is not in the plan, another commit, other inputs.
    pub fn fits(&self, service: &ServiceName, commit: &str, fingerprint: &Fingerprint) -> Result<()> {
        let Some(planned) = self.services.get(service) else {
            return Err(Error::failed(format!("a result of `{service}`, which the plan does not have")));
        };
        if commit != self.commit {
            return Err(Error::failed(format!("a result of commit {commit}, and the plan is of {}", self.commit)));
        }
        if *fingerprint != planned.fingerprint {
            return Err(Error::failed(format!("`{service}` was built from other inputs than were planned"))
                .hint("the plan's job and this one saw different files; are generated files committed?"));
        }
        Ok(())
    }
}

/// The rows of a matrix, as many as GitHub takes.
///
/// # Errors
/// When there are more: GitHub would start no job at all, and name neither the number nor a way on.
pub fn jobs_of_a_matrix<T>(rows: Vec<T>) -> Result<Vec<T>> {
    if rows.len() <= MATRIX_JOBS {
        return Ok(rows);
    }
    let message = format!("{} jobs would have to build, and GitHub takes {MATRIX_JOBS} in one matrix", rows.len());
    Err(Error::failed(message).hint(
        "have one job build all of them: `cargo xtask ci workflow --layout single`; or push most of them from elsewhere with `cargo xtask build --push`",
    ))
}

impl ServiceFile {
    /// Writes it into `dir`, as `service-<service>.json`, since a service may be called `plan`, or `service-<service>@<platform>.json`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let platform = self.platform.as_ref().map(|platform| platform.scope_suffix().replacen('-', "@", 1));
        let path = dir.join(format!("service-{}{}.json", self.service, platform.unwrap_or_default()));
        write_atomically(&path, &seal(self))?;
        Ok(path)
    }
}

/// The results of a service's jobs: of its one job, or by platform.
pub type Results = SortedMap<Option<Platform>, ServiceFile>;

/// Reads every service's files under `dir` (an artifact may have a folder of its own) and holds it against the plan. Of several attempts
/// the latest counts.
///
/// # Errors
/// A file that is not whole or not of this plan.
pub fn collect(plan: &PlanFile, dir: &Path) -> Result<SortedMap<ServiceName, Results>> {
    let mut latest: SortedMap<ServiceName, Results> = SortedMap::new();
    for path in files(dir)? {
        let file: ServiceFile = unseal(&path)?;
        plan.fits(&file.service, &file.commit, &file.fingerprint).map_err(|error| error.at(path, None))?;
        let of_service = latest.entry(file.service.clone()).or_default();
        if of_service.get(&file.platform).is_none_or(|there| file.attempt > there.attempt) {
            of_service.insert(file.platform.clone(), file);
        }
    }
    Ok(latest)
}

/// The results below `dir`, at most one folder deep, sorted. A link is not followed: artifacts come from other jobs.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| Error::io("list", &folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &folder, e))?;
            let kind = entry.file_type().map_err(|e| Error::io("look at", &entry.path(), e))?;
            let path = entry.path();
            if kind.is_dir() && depth == 0 {
                folders.push((path, 1));
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "json") && !path.ends_with(PlanFile::NAME) {
                found.push(path);
            }
        }
    }
    found.order();
    Ok(found)
}

#[cfg(test)]
mod tests;
