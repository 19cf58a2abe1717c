//! One file a verb: each reads its flags, composes stages, and prints what was asked for.

pub mod build;
pub mod cache;
pub mod ci;
mod completions;
pub mod doctor;
#[cfg(feature = "embedded-engine")]
pub mod engine;
pub mod init;
pub mod layers;
mod mistyped;
pub mod open;
pub(crate) mod own;
pub mod plan;
pub mod prune;
pub mod release;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod update;
pub mod verify;

use std::borrow::Cow;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clap::{CommandFactory as _, FromArgMatches as _};
use serde::Serialize;

use crate::app::App;
use crate::cli::{Cli, Global, Verb};
use monoship_core::env::Env;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::{Http, Limits};
use monoship_core::execute::retry::Policy;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::secret;
use monoship_core::text;
use monoship_core::tool;
use monoship_docker::credentials::Credentials;
use monoship_docker::registry::{Options, Registry};
use monoship_plan::config::{Config, Folder};
use monoship_report::commands::Whereabouts;
use monoship_report::output;
use monoship_report::record::{Ended, Keep, Run, Runs};
use monoship_report::{Progress, Reporter, Style, colour, columns_of_output, commands, error};
use monoship_steps::project::EarlyScan;
use monoship_steps::service::lay_over;
use monoship_steps::{Session, configuration, state_dir};
use monoship_workspace::git::Git;
use monoship_workspace::managers::no_workspace;

/// How many runs' records and logs are kept, and for how long.
const KEEP: Keep = Keep { count: 50, age: Duration::from_hours(30 * 24) };

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Everything that was asked for stands.
    Well,
    /// A service, a check or a gate failed, and that has been said.
    Badly,
}

/// What a command line says: one of the library's verbs, or one of the team's own.
pub enum Line {
    /// The library's.
    Library(Box<Cli>),
    /// The team's, by its place in the list, with its arguments.
    Own(usize, Global, Vec<String>),
}

/// The command line's definition, the team's own verbs included: for parsing, help and completion.
pub fn definition(app: &App) -> clap::Command {
    let mut command = Cli::command();
    for verb in &app.verbs {
        let rest = clap::Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).value_name("ARGS");
        let rest = rest.help("Passed to the command as they are");
        let own = clap::Command::new(verb.name).about(verb.title()).long_about(verb.about);
        command = command.subcommand(own.arg(rest));
    }
    command
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// What clap says of it; `--help` and `--version` are such errors too.
pub fn parse(app: &App, line: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Line, clap::Error> {
    let matches = definition(app).try_get_matches_from(line)?;
    let own = matches.subcommand().and_then(|(name, rest)| Some((app.verbs.iter().position(|verb| verb.name == name)?, rest)));
    match own {
        Some((at, rest)) => {
            let args = rest.get_many::<String>("args").unwrap_or_default().cloned().collect();
            Ok(Line::Own(at, Global::from_arg_matches(&matches)?, args))
        }
        None => Cli::from_arg_matches(&matches).map(|cli| Line::Library(Box::new(cli))),
    }
}

/// What every verb has to work with.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The repository's program.
    pub app: &'a App,
    global: &'a Global,
    /// The environment.
    pub env: &'a Env,
    /// The stop switch.
    pub shutdown: &'a Shutdown,
    begun: SystemTime,
    started: Instant,
    /// True in another folder than the command was called in: what the command line says of folders is not of that one.
    is_elsewhere: bool,
}

/// Does what the command line says.
pub fn run(app: &App, line: &Line, env: &Env, shutdown: &Shutdown) -> ExitCode {
    secret::learn_environment(env);
    let global = match line {
        Line::Library(cli) => &cli.global,
        Line::Own(_, global, _) => global,
    };
    let call = Call { app, global, env, shutdown, begun: SystemTime::now(), started: Instant::now(), is_elsewhere: false };
    let done = match line {
        Line::Library(cli) => verb(&cli.verb, &call),
        Line::Own(at, _, args) => own::run(&app.verbs[*at], args, &call),
    };
    match done {
        Ok(Finished::Well) => ExitCode::SUCCESS,
        Ok(Finished::Badly) => ExitCode::from(1),
        Err(error) => failed_at(&error, env, &call.whereabouts()),
    }
}

/// Refuses flags that every verb is parsed with and this one does not look at.
fn check_global(verb: &Verb, global: &Global) -> Result<()> {
    let (name, engine, config) = match verb {
        Verb::Completions { .. } => ("completions", false, false),
        Verb::Prune(_) => ("prune", false, false),
        Verb::Init(_) => ("init", false, false),
        Verb::Stats(flags) => ("stats", flags.html.is_some(), flags.html.is_some() || flags.pull || flags.push),
        Verb::Verify(_) => ("verify", false, true),
        Verb::Update(_) => ("update", false, true),
        #[cfg(feature = "embedded-engine")]
        Verb::Engine { action } => ("engine", false, matches!(action, crate::cli::Engine::Up)),
        _ => return Ok(()),
    };
    if global.workspace.is_some() && matches!(verb, Verb::Completions { .. } | Verb::Init(_)) {
        let error = Error::usage(format!("`--workspace` means nothing for `{name}`"));
        return Err(error.hint(if name == "init" { "name the folder with `--dir`" } else { "leave it out" }));
    }
    let refused = |flag: &str| Err(Error::usage(format!("`{flag}` means nothing for `{name}`")).hint("leave it out"));
    match (global.engine.is_some() && !engine, global.config.is_some() && !config) {
        (true, _) => refused("--engine"),
        (false, true) => refused("--config"),
        (false, false) => Ok(()),
    }
}

fn verb(verb: &Verb, call: &Call<'_>) -> Result<Finished> {
    check_global(verb, call.global)?;
    match verb {
        Verb::Build(flags) => build::run(flags, call),
        Verb::Plan(flags) => plan::run(flags, call),
        Verb::Update(flags) => update::run(flags, call),
        Verb::Ci(flags) => ci::run(flags, call),
        Verb::Release(flags) => release::run(flags, call),
        Verb::Verify(flags) => verify::run(flags, call),
        Verb::Stats(flags) => stats::run(flags, call),
        Verb::Open(flags) => open::run(flags, call),
        #[cfg(feature = "embedded-engine")]
        Verb::Engine { action } => {
            // Only a start depends on the configuration: outside a monorepo, or with a broken file, one must still be able to
            // look and to stop.
            let starts = matches!(action, crate::cli::Engine::Up);
            let config = call.home().ok().map(|home| call.config(&home));
            let config = if starts { config.transpose()? } else { config.and_then(Result::ok) };
            let suite = config.as_ref().filter(|_| starts);
            let suite = suite.map_or(monoship_plan::config::Suite::Testing, |config| config.suite);
            let reporter = Reporter::start(call.style(), output::err());
            engine::run(action, suite, config.as_ref(), call.env, &reporter.events(), call.shutdown)?;
            Ok(Finished::Well)
        }
        Verb::Init(flags) => init::run(flags, call),
        Verb::Doctor(flags) => doctor::run(flags, call),
        Verb::Layers(flags) => layers::run(flags, call),
        Verb::Cache { action } => cache::run(action, call),
        Verb::Prune(flags) => prune::run(flags, call),
        Verb::Completions { shell } => {
            write(&completions::script(*shell, definition(call.app), tool::name()))?;
            Ok(Finished::Well)
        }
    }
}

impl Call<'_> {
    /// How standard error looks.
    pub fn style(&self) -> Style {
        Style::choose(self.global.progress, self.env)
    }

    /// The columns of the terminal that standard error is; none where it is not one.
    pub fn columns(&self) -> Option<usize> {
        if self.env.stderr_is_terminal { monoship_report::columns() } else { None }
    }

    /// The same command elsewhere: in the working folder of `env`.
    pub fn with<'b>(&'b self, env: &'b Env) -> Call<'b> {
        Call { env, is_elsewhere: true, ..*self }
    }

    /// How long the command has run.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The root of the workspace that the command line names, else of the one that the working folder is in.
    ///
    /// # Errors
    /// When there is none.
    pub fn home(&self) -> Result<PathBuf> {
        let Some(named) = self.global.workspace.as_ref().filter(|_| !self.is_elsewhere) else {
            return home(&self.env.cwd)
                .map(Path::to_owned)
                .ok_or_else(|| no_workspace(&self.env.cwd, "run this in a repository with a pnpm-workspace.yaml"));
        };
        let dir = self.env.cwd.join(named);
        if !dir.is_dir() {
            return Err(Error::usage(format!("there is no folder {}", dir.display())).hint("pass another `--workspace`"));
        }
        let dir = dir.canonicalize().map_err(|e| Error::io("find", &dir, e))?;
        if home(&dir) == Some(&*dir) {
            return Ok(dir);
        }
        Err(no_workspace(&dir, "name the folder that has the pnpm-workspace.yaml with `--workspace`"))
    }

    /// Where that workspace lies in its repository; where there is none, the working folder counts as the root.
    pub fn whereabouts(&self) -> Whereabouts {
        let Ok(home) = self.home() else { return Whereabouts { root: self.env.cwd.clone(), ..Whereabouts::default() } };
        let folder = configuration::folder(&home);
        let root = home.ancestors().nth(folder.as_ref().map_or(0, Folder::depth)).unwrap_or(&home).to_owned();
        Whereabouts { root, folder: folder.map(|folder| PathBuf::from(folder.as_str())).unwrap_or_default() }
    }

    /// The configuration: file, variables, then flags.
    ///
    /// # Errors
    /// As [`configuration::load`].
    pub fn config(&self, home: &Path) -> Result<Config> {
        let file = self.global.config.as_ref().map_or_else(|| home.join(configuration::FILE), |file| self.env.cwd.join(file));
        let folder = configuration::folder(home);
        let suggested = || configuration::suggested(&Git::at(home, self.shutdown), folder.as_ref());
        let mut config = configuration::load(&file, self.global.config.is_some(), self.env, &suggested)?;
        if let Some(engine) = self.global.engine {
            config.engine = engine;
        }
        if config.images.prefix.is_none() {
            config.images.local.get_or_insert_with(|| configuration::local_name(home));
        }
        config.folder = folder;
        lay_over(&mut config, &self.app.overlay.services)?;
        Ok(config)
    }

    /// Begins to look at the working tree: git does while the run begins.
    pub fn begin_scan(&self) -> EarlyScan {
        self.home()
            .map_or_else(|_| EarlyScan::default(), |home| EarlyScan::begin(&monoship_steps::git(&home, self.env, self.shutdown)))
    }

    /// Begins a run that builds nothing: its display and its logs, which the next such run replaces.
    ///
    /// # Errors
    /// When the configuration or the folder cannot be used.
    pub fn session(&self) -> Result<(Session, Reporter)> {
        self.session_in(|runs| runs.aside(self.begun))
    }

    /// Begins a run that builds: its folder is kept, and the oldest go.
    ///
    /// # Errors
    /// When the configuration or the folder cannot be used.
    pub fn build_session(&self) -> Result<(Session, Reporter)> {
        self.session_in(|runs| {
            let run = runs.begin(self.begun)?;
            runs.prune(KEEP, self.begun)?;
            Ok(run)
        })
    }

    fn session_in(&self, begin: impl FnOnce(&Runs) -> Result<Run>) -> Result<(Session, Reporter)> {
        let home = self.home()?;
        let config = self.config(&home)?;
        let notify = &config.notify;
        let named =
            [&notify.webhook_url, &notify.webhook_key, &notify.slack_url].into_iter().flatten().chain(&notify.command_env);
        // Before anything is said: their names say nothing of what they hold.
        named.filter_map(|name| self.env.get(name)).for_each(secret::learn);
        let run = begin(&Runs::new(&state_dir(&home)))?;
        let reporter = Reporter::start(self.style(), output::err());
        let (shown, logs, ended) = (reporter.events(), run.logs(false), Ended::default());
        let noted = ended.clone();
        let events = monoship_core::event::Events::new(move |event| {
            logs.event(&event);
            noted.event(&event);
            shown.emit(event);
        });
        let raw = self.global.progress == Progress::RawJson;
        let http = Http::new(self.env, Limits::STANDARD, self.shutdown);
        let credentials = Credentials::new(self.env, self.shutdown);
        let session = Session {
            registry: Registry::new(&http, &credentials, Options { policy: Policy::from_env(self.env)?, ..Options::default() }),
            http,
            env: self.env.clone(),
            config,
            home,
            events,
            shutdown: self.shutdown.clone(),
            secrets: monoship_steps::given::Secrets::default(),
            run,
            ended,
            begun: self.begun,
            started: self.started,
            raw,
            early_scan: EarlyScan::default(),
            overlay: Arc::clone(&self.app.overlay),
        };
        Ok((session, reporter))
    }
}

/// The root of the monorepo that a folder is in.
pub fn home(dir: &Path) -> Option<&Path> {
    let is_root = |dir: &&Path| ["xtask.toml", "pnpm-workspace.yaml"].iter().any(|file| dir.join(file).is_file());
    dir.ancestors().find(is_root)
}

/// Shows what is wrong with a command line, or the help that it asks for, and gives the exit code.
pub fn explained(error: &clap::Error, typed: &[std::ffi::OsString], env: &Env) -> ExitCode {
    if let Some(error) = mistyped::explained(error, typed) {
        return failed(&error, env);
    }
    let (is_terminal, said) = (if error.use_stderr() { env.stderr_is_terminal } else { env.stdout_is_terminal }, error.render());
    let text = if colour(env, is_terminal) { said.ansi().to_string() } else { said.to_string() };
    if !error.use_stderr() {
        return print(&text).map_or_else(|error| failed(&error, env), |()| ExitCode::SUCCESS);
    }
    // Nobody reads it where standard error is closed.
    let _ = output::err().write_all(tool::named(&text).as_bytes());
    ExitCode::from(2)
}

/// Shows an error that came before anything was known of a workspace, and gives its exit code.
pub fn failed(error: &Error, env: &Env) -> ExitCode {
    failed_at(error, env, &Whereabouts { root: env.cwd.clone(), ..Whereabouts::default() })
}

fn failed_at(error: &Error, env: &Env, there: &Whereabouts) -> ExitCode {
    let mut text = error::text(error, Style::choose(Progress::Auto, env).paint);
    text = text::folded(&text, monoship_report::columns());
    if env.flag("GITHUB_ACTIONS") && !error.is_cancelled() {
        text.push_str(&commands::error_command(error, there));
        text.push('\n');
    }
    // Nobody reads it where standard error is closed.
    let _ = output::err().write_all(secret::mask(&tool::named(&text)).as_bytes());
    ExitCode::from(error.exit_code())
}

/// Writes a value to standard output as JSON, for `--json`.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::failed("cannot write JSON").source(e))?;
    print(&(without_commands(text) + "\n"))
}

/// The same JSON, from which no CI system takes a command: it looks for them in every part of a line.
fn without_commands(json: String) -> String {
    match text::without_commands(&json) {
        Cow::Borrowed(_) => json,
        Cow::Owned(_) => json.replace("##", "#\\u0023"),
    }
}

/// Says a line to whoever watches.
pub fn say(line: &str) {
    // Nobody reads it where standard error is closed.
    let line = text::folded(&tool::named(line), monoship_report::columns());
    let _ = writeln!(output::err(), "{line}");
}

/// Asks whoever sits at the terminal. `None` where no answer comes.
///
/// # Errors
/// When the answer cannot be read.
pub fn ask(question: &str) -> Result<Option<String>> {
    let mut asking = output::err();
    let _ = write!(asking, "{question} ");
    let _ = asking.flush();
    let mut answer = String::new();
    let length = std::io::stdin().read_line(&mut answer).map_err(|e| Error::failed("cannot read the answer").source(e))?;
    Ok((length > 0).then(|| answer.trim().to_owned()))
}

/// Writes what is for people to standard output: on a terminal no line is longer than it is wide, and no word is broken.
///
/// # Errors
/// As [`print`].
pub fn tell(text: &str) -> Result<()> {
    print(&text::folded(text, columns_of_output()))
}

/// Writes data to standard output. A reader that has gone (`| head`) is no failure.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    write(&tool::named(text))
}

fn write(text: &str) -> Result<()> {
    let mut out = output::out();
    let text = secret::mask(text);
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed("cannot write to standard output").source(error))
        }
        _ => Ok(()),
    }
}
