//! `cargo xtask ci` and the workflow files it writes: each event through a simulated runner, on the real engine, with a registry on
//! loopback, a fake of GitHub's API and one of its cache service.

mod forge;

mod apart;
mod elsewhere;
mod folders;
mod linters;
mod matrix;
mod single;
mod stops;
