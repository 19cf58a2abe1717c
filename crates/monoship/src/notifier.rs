//! Who is told of a run in Rust, beside whom `[notify]` names.

use monoship_core::error::Result;
use monoship_core::event::Level;
use monoship_steps::notify::{self, Message, RunSummary};

use crate::caught::caught;
use crate::context::Context;

/// Somebody else who is told, in Rust: a pager, a dashboard, a chat.
///
/// ```no_run
/// use monoship::{Context, Message, Notifier, Result};
///
/// struct Pager;
///
/// impl Notifier for Pager {
///     fn notify(&self, cx: &Context, message: &Message) -> Result<()> {
///         if message.is_failure() {
///             cx.command("page").arg(message.text()).run()?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Notifier: Send + Sync {
    /// Takes a message. What goes wrong is a warning, never the run's failure.
    ///
    /// # Errors
    /// Whatever keeps it from being told.
    fn notify(&self, cx: &Context, message: &Message) -> Result<()>;
}

/// Tells everybody of a result, by the configuration of what was built.
pub(crate) fn after<'a, T>(
    cx: &Context,
    own: &[Box<dyn Notifier>],
    result: &'a Result<T>,
    seen: impl FnOnce(&'a T) -> RunSummary<'a>,
) {
    let session = &cx.progress().session.clone().unwrap_or_else(|| cx.session().clone());
    let messages = notify::after(session, !own.is_empty(), result, seen);
    for (notifier, message) in own.iter().flat_map(|notifier| messages.iter().map(move |message| (notifier, message))) {
        if let Err(error) = caught("it", || notifier.notify(cx, message)) {
            session.events.notice(
                Level::Warning,
                None,
                format!("a notifier failed: {error}"),
                error.hint_text().map(str::to_owned),
            );
        }
    }
}
