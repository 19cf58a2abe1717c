//! A release without its images: what it would do, and its notes alone. Nothing is built here, and no tag is put.

use crate::stage::checkout::{self, At};
use crate::stage::publication::{self, Naming};
use crate::stage::{Session, configuration, publish, update_release};
use monoship_core::error::Result;
use monoship_core::name::ReleaseTag;
use monoship_docker::engine::Engine;
use monoship_plan::Plan;
use monoship_plan::request::Release;

use super::prepare;

/// What a release would do, as far as it is known before anything is built.
pub struct Preview {
    /// The tag as it exists.
    pub tag: ReleaseTag,
    /// Its commit.
    pub commit: String,
    /// The engine that would build.
    pub engine: Engine,
    /// What would be built.
    pub plan: Plan,
    /// What would be published of the images that stand already.
    pub publication: publish::Plan,
    /// The notes as they would be.
    pub notes: update_release::Report,
}

/// Looks at what [`super::release`] would do, and does none of it.
///
/// # Errors
/// As [`super::release`]'s, as far as it goes.
pub fn preview(session: &Session, release: &Release) -> Result<Preview> {
    let (tag, commit) = checkout::resolve(&session.git(), &release.tag)?;
    let session = &configuration::at_commit(session, &commit)?;
    let at = At { purpose: "dry-run", name: tag.tag.as_str(), commit: &commit, keep: release.keep_checkout };
    checkout::within(session, &at, |root| {
        let (_, engine, plan) = prepare(session, root, &publication::build_request(session, release))?;
        let naming = Naming::of_release(session, &tag, &commit, release)?;
        let (publication, noted) = publication::preview(session, &plan, &naming)?;
        let report = publication::write_notes(session, &tag, release, &noted, true)?;
        Ok(Preview { tag: tag.clone(), commit: commit.clone(), engine, plan, publication, notes: report })
    })
}

/// Writes the notes of a release whose images stand, and touches nothing else.
///
/// # Errors
/// A service without an image of that version; as [`publication::write_notes`].
pub fn notes(session: &Session, release: &Release, dry_run: bool) -> Result<update_release::Report> {
    let (tag, commit) = checkout::resolve(&session.git(), &release.tag)?;
    let session = &configuration::at_commit(session, &commit)?;
    let at = At { purpose: "notes", name: tag.tag.as_str(), commit: &commit, keep: false };
    let noted = checkout::within(session, &at, |root| publication::standing(session, &tag, root))?;
    publication::write_notes(session, &tag, release, &noted, dry_run)
}
