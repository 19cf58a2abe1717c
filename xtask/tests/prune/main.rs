//! Pruned contexts against real pnpm: what is installed from one equals what the whole workspace's install puts in place.

mod command;
mod installs;
mod synthetic;
