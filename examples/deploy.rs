//! A deployment after the release: every image by its digest, once all of them are published, and nothing in any other run.

use std::process::ExitCode;

use monoship::{App, Context, Published, Result, stages};

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
    stages::update_release(cx, &published)?;
    cx.stage("deploy", &published, |published| deploy(cx, published))
}

/// `./deploy.sh api=ghcr.io/acme/shop/api@sha256:…`, where your cluster's own tool would stand.
fn deploy(cx: &Context, published: &Published) -> Result<()> {
    let images = published.images().map(|image| format!("{}={}", image.service(), image.reference()));
    cx.command("./deploy.sh").args(images).run()
}
