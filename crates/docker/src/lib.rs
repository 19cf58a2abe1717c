//! What we know of Docker: buildx command lines, its progress stream, registries, image stores, capabilities.

pub mod attest;
pub mod buildx;
pub mod capability;
pub mod cosign;
pub mod credentials;
pub mod engine;
pub mod layers;
pub mod manifest;
pub mod mark;
pub mod proxies;
pub mod rawjson;
pub mod reach;
pub mod registry;
pub mod socket;
pub mod spec;
pub mod store;
mod tarball;
