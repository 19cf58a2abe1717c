//! What a sparse checkout leaves out of what a build takes. A checkout of ours was completed when it was read, for the services as they are
//! configured; here is what a run says of its own. That of the user is for the user to complete: what is pushed would be called after the commit,
//! and lack a part of it.

use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_plan::request::BuildRequest;
use monoship_workspace::context::to_check_out;
use monoship_workspace::dockerfile::Slice;

use crate::contexts::Cut;
use crate::project::{self, Project};
use crate::{Session, checkout};

/// Checks that all of what the builders of this plan take is there. Into the engine, what steps copy is built as it is, and the user is told.
///
/// # Errors
/// Names what is left out, and the line that copies it.
pub fn check(
    session: &Session,
    project: &Project,
    request: &BuildRequest,
    cut: &Cut<'_>,
    (views, slices): (&[&Project], &[Slice<'_>]),
) -> Result<()> {
    let copied = project::copied_and_absent(views, slices);
    if project.root != session.home {
        return copied.map_or(Ok(()), |(view, path, line)| Err(checkout::left_out(view, path, Some(line))));
    }
    if let Some(path) = cut.absent() {
        return Err(
            Error::usage(format!("the sparse checkout leaves out {path}, which the build needs")).hint(to_check_out(path))
        );
    }
    let Some((view, path, line)) = copied else { return Ok(()) };
    let below = view.root.strip_prefix(&project.root).unwrap_or(&view.root);
    let hint = to_check_out(&below.join(path).to_string_lossy());
    let error = Error::usage(format!("the sparse checkout leaves out {path}, which this line copies"));
    let error = error.at(view.dockerfile.path(), Some(line));
    if request.pushes() {
        return Err(error.hint(hint));
    }
    session.events.notice(Level::Warning, None, format!("{error}: the image lacks it"), Some(hint));
    Ok(())
}
