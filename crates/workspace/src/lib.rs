//! The pnpm workspace as it is on disk: packages and their graph, lock, ignore rules, Dockerfile, git's view of it.

pub mod compiled;
pub mod contents;
pub mod context;
pub mod dockerfile;
pub mod dockerignore;
pub mod git;
pub mod glob;
pub mod graph;
mod hoisting;
pub mod load;
pub mod managers;
mod matching;
pub mod package;
mod projects;
pub mod prune;
pub mod sent;
pub mod sources;
pub mod tools;
mod usage;
pub mod yaml;

pub use graph::{Closure, Scope};
pub use load::{PackageId, Workspace};
pub use prune::PrunePlan;
pub use sources::Sources;
