//! Somebody who is told, and a verb of one's own: `cargo xtask seed --small`.

use std::process::ExitCode;

use monoship::{App, Context, Message, Notifier, Result, stages};

fn main() -> ExitCode {
    App::new(pipeline).notify(Pager).verb("seed", "Fill staging with data", seed).run()
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

struct Pager;

impl Notifier for Pager {
    /// Pages on failures, where this machine has somebody to page: a laptop pages nobody.
    fn notify(&self, cx: &Context, message: &Message) -> Result<()> {
        match cx.env("PAGER_COMMAND") {
            Some(pager) if message.is_failure() => cx.command(pager).arg(message.text()).stdin(message.json()).run(),
            _ => Ok(()),
        }
    }
}

fn seed(cx: &Context, args: &[String]) -> Result<()> {
    let small = args.iter().any(|arg| arg == "--small");
    cx.say(if small { "a small set" } else { "the whole set" });
    cx.command("./seed.sh").args(args).run()
}
