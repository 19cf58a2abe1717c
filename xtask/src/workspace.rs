//! The pnpm workspace as it is on disk: packages and their graph, lock, ignore rules, Dockerfile, git's view of it.

pub mod dockerfile;
pub mod dockerignore;
pub mod git;
