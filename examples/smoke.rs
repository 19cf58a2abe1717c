//! A smoke test between build and publish: each image is started, asked for its health, and stopped. One that does not answer keeps every
//! tag of every service where it was.

use std::process::ExitCode;
use std::time::Duration;

use monoship::{App, Context, Error, Image, Result, stages};

fn main() -> ExitCode {
    App::new(pipeline).run()
}

fn pipeline(cx: &Context) -> Result<()> {
    let tree = stages::checkout(cx)?;
    let ready = stages::prepare(cx, &tree)?;
    let plan = stages::plan(cx, &ready)?;
    let base = stages::build_base(cx, &plan)?;
    let images = stages::build_services(cx, &plan, &base)?;
    let images = cx.each("smoke", images, smoke)?;
    let published = stages::publish(cx, images)?;
    stages::update_release(cx, &published)
}

/// How often a service is asked before it counts as broken.
const TRIES: u32 = 20;

/// Asks the service's health route from inside its container, so that no port of this machine is taken.
fn smoke(cx: &Context, image: &Image) -> Result<()> {
    let container = cx.start(image, &["--env", "PORT=8080"])?;
    let ask = "fetch('http://127.0.0.1:8080/health').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))";
    for _ in 0..TRIES {
        if container.exec(&["node", "-e", ask]).is_ok() {
            return Ok(());
        }
        cx.pause(Duration::from_millis(200))?;
    }
    Err(Error::failed(format!("{} does not answer /health", image.service())).hint("its log has what it said"))
}
