//! This repository's pipeline.

use std::process::ExitCode;

use monoship::{App, Context, Result, stages};

fn main() -> ExitCode {
    App::new(pipeline).run()
}

/// What a laptop, CI, and every job of a matrix run.
fn pipeline(cx: &Context) -> Result<()> {
    // The working tree on a laptop; for a release a sparse checkout of its commit.
    let tree = stages::checkout(cx)?;
    // What only a build may touch: engine, stand-ins, pins. A look goes on with what is there.
    let ready = stages::prepare(cx, &tree)?;
    // What changed, and why: data, without effect.
    let plan = stages::plan(cx, &ready)?;
    // 1. build-base: the shared layers, once.
    let base = stages::build_base(cx, &plan)?;
    // 2. build-services: buildx in parallel, every cache tier, provenance and SBOM.
    let images = stages::build_services(cx, &plan, &base)?;
    // Every tag of every service, or none.
    let published = stages::publish(cx, images)?;
    // 3. update-release: the release's notes, with tags and digests.
    stages::update_release(cx, &published)
}
