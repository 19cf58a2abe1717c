//! `cargo xtask build` from end to end: the real monorepo, the real engine, a real registry on loopback. One binary, so that
//! one engine serves every test; each test holds the machine while it builds.

mod harness;

mod adopted;
mod bad_inputs;
mod bases;
mod breaks;
mod builds;
mod built_from;
mod bytes;
mod caches;
mod gates;
mod given;
mod handed;
mod init;
mod layers;
mod locks;
mod mounts;
mod once;
mod own;
mod platforms;
mod private;
mod pushes;
mod silence;
mod stands;
mod stops;
mod upkeep;
mod workspaces;
