//! Stages of the run: a check before anything is built, a test of all images together, and a deployment after the release, of every image by its
//! digest, once all of them are published.

use std::process::ExitCode;

use monoship::stages::{self, Tree};
use monoship::{App, Context, Images, Published, Result};

fn main() -> ExitCode {
    App::new(pipeline).run()
}

fn pipeline(cx: &Context) -> Result<()> {
    let tree = stages::checkout(cx)?;
    cx.stage("check", &tree, check)?;
    let ready = stages::prepare(cx, &tree)?;
    let plan = stages::plan(cx, &ready)?;
    let base = stages::build_base(cx, &plan)?;
    let images = stages::build_services(cx, &plan, &base)?;
    cx.stage("integration", &images, integration)?;
    let published = stages::publish(cx, images)?;
    stages::update_release(cx, &published)?;
    cx.stage("deploy", &published, deploy)
}

/// `./check.sh .`, where your own linter would stand: of a release it checks the files of its commit.
fn check(cx: &Context, tree: &Tree) -> Result<()> {
    cx.command("./check.sh").args(tree.root()).run()
}

/// `./integration.sh api=shop/api:dev …`, which starts them all, as a compose file does, and asks them.
fn integration(cx: &Context, images: &Images) -> Result<()> {
    let images = images.standing().filter_map(|image| Some(format!("{}={}", image.service(), image.name()?)));
    cx.command("./integration.sh").args(images).run()
}

/// `./deploy.sh api=ghcr.io/acme/shop/api@sha256:…`, where your cluster's own tool would stand. It may have the cluster's token.
fn deploy(cx: &Context, published: &Published) -> Result<()> {
    let images = published.images().map(|image| format!("{}={}", image.service(), image.reference()));
    let deployed = cx.command("./deploy.sh").args(images).secrets(["DEPLOY_TOKEN"]).run();
    deployed.inspect_err(|_| step_back(cx, published))
}

/// Deploys what was there before: what the tags pointed to until this release moved them.
fn step_back(cx: &Context, published: &Published) {
    let before: Vec<String> =
        published.images().filter_map(|image| Some(format!("{}={}", image.service(), image.previous()?))).collect();
    if before.is_empty() {
        return;
    }
    match cx.command("./deploy.sh").args(&before).secrets(["DEPLOY_TOKEN"]).run() {
        Ok(()) => cx.say(format!("stepped back to {}", before.join(", "))),
        Err(error) => cx.warn(format!("not stepped back: {error}"), "deploy the release before by hand"),
    }
}
