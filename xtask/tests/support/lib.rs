//! What tests and benchmarks share: real engines, and fakes of GitHub's services, which cannot be had here. A crate, so that it is compiled
//! once and not for each of them.
#![expect(
    missing_docs,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "nobody depends on it but this repository's tests"
)]

pub mod actions_cache;
pub mod actions_runner;
pub mod browser;
pub mod engine;
pub mod expression;
pub mod faulty_proxy;
pub mod fetch;
pub mod generate;
pub mod github_api;
pub mod http;
pub mod image;
pub mod marked;
pub mod npm;
pub mod npm_registry;
pub mod pnpm;
pub mod random;
pub mod registry;
pub mod relay;
pub mod repo;
pub mod schema;
pub mod sigstore;
pub mod simulation;
pub mod source;
pub mod ssh;
pub mod terminal;
pub mod token_server;
pub mod tools;
pub mod turn;
pub mod two;
pub mod x509;
