//! Builds and releases every Docker service of a pnpm monorepo, on a laptop and in CI, with the same code.
//!
//! A repository has a small crate of its own, `xtask`, whose `main` says what is done with it; this library knows how.
//!
//! ```no_run
//! use monoship::{App, Context, Result, stages};
//!
//! fn main() -> std::process::ExitCode {
//!     App::new(pipeline).run()
//! }
//!
//! /// What a laptop, CI, and every job of a matrix run.
//! fn pipeline(cx: &Context) -> Result<()> {
//!     let tree = stages::checkout(cx)?;
//!     let ready = stages::prepare(cx, &tree)?;
//!     let plan = stages::plan(cx, &ready)?;
//!     let base = stages::build_base(cx, &plan)?;
//!     let images = stages::build_services(cx, &plan, &base)?;
//!     let published = stages::publish(cx, images)?;
//!     stages::update_release(cx, &published)
//! }
//! ```
//!
//! What a team adds are lines in that function ([`Context::each`], [`Context::stage`]) and calls on [`App`]: services, tag rules, notifiers,
//! verbs. `cargo xtask help` lists the verbs that every repository has.
//!
//! # Features
//!
//! - `embedded-engine`: on Linux without a Docker, a private engine made of the distribution's packages.
//! - `html`: `stats --html`, the history as a page.

mod app;
mod caught;
#[doc(hidden)]
pub mod command;
mod command_line;
mod container;
mod context;
mod job;
mod notifier;
mod run;
pub mod stages;

pub use app::App;
pub use command_line::Command;
pub use container::Container;
pub use context::Context;
#[doc(hidden)]
pub use monoship_cli as cli;
pub use monoship_core::error::{Error, Result};
pub use monoship_core::name::Tag;
pub use monoship_plan::tags::{Release, TagRule, Tags};
pub use monoship_steps::notify::Message;
pub use monoship_steps::service::Service;
pub use notifier::Notifier;
pub use stages::{Image, Images, Published, PublishedImage};
