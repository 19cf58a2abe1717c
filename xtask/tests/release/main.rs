//! `cargo xtask release` from end to end: real git tags, the real engine and registry, and a fake of GitHub's API. What was
//! published is read back by plain HTTP. One binary, so that one engine serves every test.

mod harness;

mod both_ways;
mod built_from;
mod dies;
mod faults;
mod guarded;
mod looks;
mod meets;
mod own;
mod platforms;
mod publishes;
mod signs;
mod tour;
mod verifies;
mod workspaces;
