//! Which files a run builds: the working tree, or a commit's, checked out apart.

use std::path::PathBuf;
use std::sync::Arc;

use monoship_core::error::Result;
use monoship_core::execute::group::Group;
use monoship_plan::request::{BuildRequest, ReleaseRequest};

use crate::context::Context;
use crate::job::Job;
use monoship_steps::checkout::{self as steps, At, Held};
use monoship_steps::publication::{self, Naming};
use monoship_steps::signing::Signing;
use monoship_steps::{Session, configuration};

/// The files that are built. A checkout is removed with the last value that was made from it.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// let tree = stages::checkout(cx)?;
/// if let Some(commit) = tree.commit() {
///     cx.say(format!("building {commit}"));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tree {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// The run, by the configuration of these files.
    pub session: Session,
    /// Where they lie; none in the job that only publishes.
    pub root: Option<PathBuf>,
    /// The commit, where it is one's.
    pub commit: Option<String>,
    /// What is asked for; of a release, by the configuration of its commit.
    pub request: BuildRequest,
    /// What is released, where this run publishes it.
    pub version: Option<Version>,
    // In this order: the checkout is gone before the next run of the same release may begin.
    _held: Option<Held>,
    _alone: Option<Group>,
}

/// A version that is to be published, with all that can be refused before anything is built.
pub(crate) struct Version {
    pub release: ReleaseRequest,
    pub naming: Naming,
    pub signing: Option<Signing>,
}

impl Tree {
    /// The folder of the files; none in the job of a matrix that only publishes.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// let tree = monoship::stages::checkout(cx)?;
    /// let folder = tree.root();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn root(&self) -> Option<&std::path::Path> {
        self.inner.root.as_deref()
    }

    /// The commit's full id; none for a working tree.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context) -> monoship::Result<()> {
    /// let tree = monoship::stages::checkout(cx)?;
    /// let commit = tree.commit();
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        self.inner.commit.as_deref()
    }
}

/// The files to build: on a laptop the working tree as it is; for a release, and in CI, a sparse checkout of the commit. What is in
/// `xtask.toml` of that commit holds from here on.
///
/// ```no_run
/// # fn pipeline(cx: &monoship::Context) -> monoship::Result<()> {
/// let tree = monoship::stages::checkout(cx)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// A tag that is not there, has moved, is ambiguous or on no branch that is released from; a commit that cannot be checked out; a release that could not be published,
/// because the tools to sign it are missing or another run is at it.
pub fn checkout(cx: &Context) -> Result<Tree> {
    let (job, session) = (cx.job(), cx.session());
    let (release, commit) = match (&job.release, &job.commit) {
        (Some(release), None) => {
            let (tag, commit) = steps::released(session, &release.tag, release.local_tag)?;
            (Some(ReleaseRequest { tag, ..release.clone() }), Some(commit))
        }
        (release, commit) => (release.clone(), commit.clone()),
    };
    let Some(commit) = commit else {
        // Answered while the plan is made: the record names the commit that was built on, whatever is committed meanwhile.
        cx.progress().head = Some(session.git().head());
        return Ok(tree(cx, Inner::of_working_tree(session, &job.request)));
    };
    let session = configuration::at_commit(session, &commit)?;
    let request = match &release {
        Some(release) => by_configuration(&job.request, release, &session),
        None => job.request.clone(),
    };
    let version = match release {
        Some(release) if job.ends_run() || job.only_looks() => Some(Version::new(&session, release, &commit, job)?),
        _ => None,
    };
    let alone = version.as_ref().filter(|_| job.ends_run());
    let alone = alone.map(|version| publication::enter(&session, &version.release)).transpose()?;
    let held = if job.plans() { Some(hold(&session, job, version.as_ref(), &commit)?) } else { None };
    let root = held.as_ref().map(|held| held.root().to_owned());
    Ok(tree(cx, Inner { session, root, commit: Some(commit), request, version, _held: held, _alone: alone }))
}

fn tree(cx: &Context, inner: Inner) -> Tree {
    cx.progress().session = Some(inner.session.clone());
    Tree { inner: Arc::new(inner) }
}

/// Each purpose and each tag has a folder of its own: another tag's release of the same commit, or a look, must not take this one's away.
fn hold(session: &Session, job: &Job, version: Option<&Version>, commit: &str) -> Result<Held> {
    let at = match version {
        Some(version) => {
            let purpose = if job.only_looks() { "dry-run" } else { "checkout" };
            At { purpose, name: version.release.tag.tag.as_str(), commit, keep: version.release.keep_checkout }
        }
        None => At::of_commit(commit),
    };
    steps::hold(session, &at)
}

/// What a release asks of its build where the configuration decides: it was asked for before its commit was known.
fn by_configuration(asked: &BuildRequest, release: &ReleaseRequest, session: &Session) -> BuildRequest {
    let plain = release.build(&session.config, asked.jobs);
    BuildRequest { provenance: plain.provenance, sbom: plain.sbom, ..asked.clone() }
}

impl Inner {
    fn of_working_tree(session: &Session, request: &BuildRequest) -> Self {
        let (session, root) = (session.clone(), Some(session.home.clone()));
        Self { session, root, commit: None, request: request.clone(), version: None, _held: None, _alone: None }
    }
}

impl Version {
    fn new(session: &Session, release: ReleaseRequest, commit: &str, job: &Job) -> Result<Self> {
        let signing = if job.only_looks() { None } else { Signing::configured(session)? };
        let naming = Naming::of_release(session, &release.tag, commit, &release)?;
        Ok(Self { release, naming, signing })
    }
}
