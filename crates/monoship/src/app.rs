//! A repository's program: its pipeline, with what the team adds to the library's own. This is the process too: it reads the environment
//! once, hands signals to the shutdown switch, and turns the outcome into an exit code.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use monoship_core::collect::Collect as _;
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::execute::shutdown::{GRACE, Shutdown};
use monoship_core::tool;
use monoship_init::workflow;
use monoship_plan::tags::Tags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::caught::caught;
use crate::command;
use crate::context::Context;
use crate::notifier::Notifier;
use monoship_steps::overlay::Overlay;
use monoship_steps::service::Service;

/// What `cargo xtask` is in a repository.
///
/// ```no_run
/// use monoship::{App, Context, Result, stages};
///
/// fn main() -> std::process::ExitCode {
///     App::new(pipeline).run()
/// }
///
/// fn pipeline(cx: &Context) -> Result<()> {
///     let tree = stages::checkout(cx)?;
///     let ready = stages::prepare(cx, &tree)?;
///     let plan = stages::plan(cx, &ready)?;
///     let base = stages::build_base(cx, &plan)?;
///     let images = stages::build_services(cx, &plan, &base)?;
///     let published = stages::publish(cx, images)?;
///     stages::update_release(cx, &published)
/// }
/// ```
pub struct App {
    pipeline: Box<Pipeline>,
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) notifiers: Vec<Box<dyn Notifier>>,
    pub(crate) verbs: Vec<Verb>,
}

type Pipeline = dyn Fn(&Context) -> Result<()> + Send + Sync;

type Run = dyn Fn(&Context, &[String]) -> Result<()> + Send + Sync;

/// A verb of a team's own.
pub(crate) struct Verb {
    pub name: &'static str,
    pub about: &'static str,
    pub run: Box<Run>,
}

impl Verb {
    /// What it does, in a line.
    pub(crate) fn title(&self) -> &'static str {
        self.about.lines().next().unwrap_or_default()
    }
}

impl App {
    /// A program whose pipeline this is.
    ///
    /// ```no_run
    /// use monoship::{App, Context};
    ///
    /// let app = App::new(|cx: &Context| {
    ///     cx.say("nothing is built here");
    ///     Ok(())
    /// });
    /// ```
    pub fn new(pipeline: impl Fn(&Context) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { pipeline: Box::new(pipeline), overlay: Arc::default(), notifiers: Vec::new(), verbs: Vec::new() }
    }

    /// Declares a service in Rust. One of this name in `xtask.toml` or in `apps/` is replaced.
    ///
    /// ```no_run
    /// # use monoship::{App, Service};
    /// # fn pipeline(_: &monoship::Context) -> monoship::Result<()> { Ok(()) }
    /// let mut app = App::new(pipeline);
    /// for region in ["eu", "us"] {
    ///     app = app.service(Service::new(format!("web-{region}")).package("apps/web").target("web").build_arg("REGION", region));
    /// }
    /// ```
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        Arc::make_mut(&mut self.overlay).services.push(service);
        self
    }

    /// Says which tags a release gets, in place of `[release] tags`.
    ///
    /// ```no_run
    /// # use monoship::{App, Release, Tag, TagRule, Tags};
    /// # fn pipeline(_: &monoship::Context) -> monoship::Result<()> { Ok(()) }
    /// struct Edge;
    ///
    /// impl TagRule for Edge {
    ///     fn tags(&self, _: &Release) -> Vec<String> {
    ///         vec!["edge".to_owned()]
    ///     }
    ///     fn owns(&self, tag: &Tag) -> bool {
    ///         tag.as_str() == "edge"
    ///     }
    /// }
    ///
    /// let app = App::new(pipeline).tags(Tags::semver().and(Edge));
    /// ```
    #[must_use]
    pub fn tags(mut self, tags: Tags) -> Self {
        Arc::make_mut(&mut self.overlay).tags = Some(tags);
        self
    }

    /// Adds somebody who is told of failures, releases and slow builds.
    ///
    /// ```no_run
    /// # fn pipeline(_: &monoship::Context) -> monoship::Result<()> { Ok(()) }
    /// use monoship::{App, Context, Message, Notifier, Result};
    ///
    /// struct Log;
    ///
    /// impl Notifier for Log {
    ///     fn notify(&self, cx: &Context, message: &Message) -> Result<()> {
    ///         cx.command("logger").arg(message.text()).run()
    ///     }
    /// }
    ///
    /// let app = App::new(pipeline).notify(Log);
    /// ```
    #[must_use]
    pub fn notify(mut self, notifier: impl Notifier + 'static) -> Self {
        self.notifiers.push(Box::new(notifier));
        self
    }

    /// Adds a verb: `cargo xtask NAME ARGS…` calls `run` with the arguments. It is listed in the help by the first line of `about`, and completed
    /// in shells; `cargo xtask help NAME` shows all of `about`: say there what the arguments are. A name that the library has a verb for is refused.
    ///
    /// ```no_run
    /// # use monoship::App;
    /// # fn pipeline(_: &monoship::Context) -> monoship::Result<()> { Ok(()) }
    /// let app = App::new(pipeline).verb("seed", "Fill staging with data", |cx, args| cx.command("./seed.sh").args(args).run());
    /// ```
    #[must_use]
    pub fn verb(
        mut self,
        name: &'static str,
        about: &'static str,
        run: impl Fn(&Context, &[String]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.verbs.push(Verb { name, about, run: Box::new(run) });
        self
    }

    /// Does what the command line of this process says, and returns its exit code: 0 for success, 1 for a failure, 2 for a wrong command
    /// line or configuration, 130 for a run that was stopped.
    ///
    /// ```no_run
    /// # fn pipeline(_: &monoship::Context) -> monoship::Result<()> { Ok(()) }
    /// fn main() -> std::process::ExitCode {
    ///     monoship::App::new(pipeline).run()
    /// }
    /// ```
    #[must_use]
    pub fn run(self) -> ExitCode {
        let env = match environment() {
            Ok(env) => env,
            Err(error) => return command::failed(&error, &Env::default()),
        };
        let cwd = env.cwd.clone();
        let name = move || workflow::tool(command::home(&cwd).unwrap_or(&cwd)).unwrap_or_else(|_| "xtask".to_owned());
        tool::learn(name);
        if let Err(error) = command::own::check_names(&self) {
            return command::failed(&error, &env);
        }
        let typed = arguments();
        let cli = match command::parse(&self, typed.clone()) {
            Ok(cli) => cli,
            Err(error) => return command::explained(&error, &typed, &env),
        };
        let shutdown = Shutdown::new();
        if let Err(error) = watch_signals(shutdown.clone()) {
            return command::failed(&Error::failed("cannot watch for signals").source(error), &env);
        }
        command::run(&self, &cli, &env, &shutdown)
    }

    /// Calls `work` as a command of this program is called in the folder `dir` of a workspace, with these variables beside the process's own, its commands too:
    /// for tests of a team's verbs and stages. A `PATH` of the test's programs has them called in place of real ones. Nothing is started, and no exit code made of what comes of it.
    ///
    /// ```no_run
    /// # use monoship::{App, Context, Image, Result};
    /// # fn pipeline(_: &Context) -> Result<()> { Ok(()) }
    /// fn smoke(cx: &Context, image: &Image) -> Result<()> {
    ///     cx.start(image, &["--env", "PORT=8080"])?.exec(&["node", "--version"]).map(drop)
    /// }
    ///
    /// #[test]
    /// fn an_image_without_node_is_refused() {
    ///     let tried = App::new(pipeline).in_workspace(".", &[("PORT", "1")], |cx| smoke(cx, &Image::new("api", "busybox:1")?));
    ///     assert!(tried.is_err());
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of `work`; a folder in no workspace, and a configuration that cannot be used.
    pub fn in_workspace<T>(
        &self,
        dir: impl AsRef<Path>,
        vars: &[(&str, &str)],
        work: impl FnOnce(&Context) -> Result<T>,
    ) -> Result<T> {
        let mut env = vars.iter().fold(environment()?, |env, (name, value)| env.with(name, value));
        env.cwd.push(dir);
        command::own::in_workspace(self, &env, vars, work)
    }

    pub(crate) fn pipeline(&self, cx: &Context) -> Result<()> {
        caught("the pipeline", || (self.pipeline)(cx))
    }
}

fn arguments() -> Vec<OsString> {
    std::env::args_os().into_vec()
}

/// The one place that reads the environment.
#[expect(clippy::disallowed_methods, reason = "the environment is read once, here")]
fn environment() -> Result<Env> {
    let cwd = std::env::current_dir().map_err(|e| Error::failed("cannot tell the working folder").source(e))?;
    let vars = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut env = Env::new(cwd, vars);
    env.stdin_is_terminal = std::io::stdin().is_terminal();
    env.stdout_is_terminal = std::io::stdout().is_terminal();
    env.stderr_is_terminal = std::io::stderr().is_terminal();
    Ok(env)
}

/// How often it is looked whether something still has to be put back.
const LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// The first signal stops the run in order; the same one again, or a run that does not come to its end, ends it at once. Another one says
/// the same with more weight, as Actions does with SIGTERM after SIGINT: the run is on its way out already, and tells what became of it.
fn watch_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        let mut pending = signals.forever();
        if let Some(first) = pending.next() {
            let second = shutdown.clone();
            std::thread::spawn(move || {
                shutdown.close();
                // The workers' children are gone, so the main thread is on its way out; if it is not, nobody waits longer.
                std::thread::sleep(GRACE);
                // But for what is being put back: half of that would be worse than a moment more. What is to be cleaned up comes after it.
                while shutdown.is_held() {
                    while shutdown.is_held() {
                        std::thread::sleep(LOOK);
                    }
                    std::thread::sleep(GRACE);
                }
                std::process::exit(130);
            });
            if pending.any(|signal| signal == first) {
                second.kill();
                std::process::exit(130);
            }
        }
    });
    Ok(())
}
