//! The pipeline's stages, each a function of what the one before it made.
//!
//! ```text
//! checkout → prepare → plan → build_base → build_services → publish → update_release
//! ```
//!
//! Every command runs the whole chain, and each stage knows its part in it: in a look (`plan`, `--dry-run`) nothing is done after the plan; on a
//! laptop without `--push` nothing is published; in a matrix of jobs a stage that ran on another machine hands back what that machine
//! recorded. What passes from stage to stage is a value; nothing is passed behind their backs.
//!
//! ```no_run
//! use monoship::{Context, Result, stages};
//!
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

mod build;
mod checkout;
mod own;
mod plan;
mod publish;

pub use build::{Base, Image, Images, build_base, build_services};
pub use checkout::{Tree, checkout};
pub use own::Input;
pub(crate) use plan::Planned;
pub use plan::{Plan, Ready, plan, prepare};
pub use publish::{Published, PublishedImage, publish, update_release};
