//! The smallest xtask: the library's own pipeline, and nothing else. `src/main.rs` of a repository's `xtask` crate, as `init` writes it.

use std::process::ExitCode;

use monoship::{App, Context, Result, stages};

fn main() -> ExitCode {
    App::new(pipeline).run()
}

fn pipeline(cx: &Context) -> Result<()> {
    let tree = stages::checkout(cx)?;
    let ready = stages::prepare(cx, &tree)?;
    let plan = stages::plan(cx, &ready)?;
    let base = stages::build_base(cx, &plan)?;
    let images = stages::build_services(cx, &plan, &base)?;
    let published = stages::publish(cx, images)?;
    stages::update_release(cx, &published)
}
