//! Services declared in Rust: one Dockerfile target, built for each region with other arguments.

use std::process::ExitCode;

use monoship::{App, Context, Result, Service, stages};

const REGIONS: [&str; 2] = ["eu", "us"];

fn main() -> ExitCode {
    let regional =
        |region: &str| Service::new(format!("web-{region}")).package("apps/web").target("web").build_arg("REGION", region);
    REGIONS.into_iter().map(regional).fold(App::new(pipeline), App::service).run()
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
