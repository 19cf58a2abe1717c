//! `init --try`: one service is built and started, and what keeps it from either is told with the line that fixes it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::command::{Call, Finished, build, say, tell};
use crate::job::Job;
use crate::run;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Task;
use monoship_core::execute::pool;
use monoship_core::execute::retry::sleep;
use monoship_core::name::ServiceName;
use monoship_core::sorted::SortedMap;
use monoship_core::text::clean;
use monoship_docker::engine::{CA_VARIABLES, Engine, ca_bundle};
use monoship_init::{diagnosis, variables};
use monoship_plan::request::BuildRequest;
use monoship_steps::Session;
use monoship_workspace::{Scope, Workspace};

/// How long a service has to answer its health check.
const HEALTHY: Duration = Duration::from_mins(1);
/// How long one without a health check has to stay up.
const STAYS: Duration = Duration::from_secs(5);
/// How long it may take to listen on a port; a worker listens on none.
const LISTENS: Duration = Duration::from_secs(15);
/// Where a container that is tried finds the certificates that this machine's tools were told to trust.
const TRUSTED: &str = "/xtask-trust.pem";
/// What of a line of its output is shown.
const WIDEST: usize = 300;

/// Builds and starts a service of the repository at `root`.
///
/// # Errors
/// An unknown service, and whatever keeps the run from an outcome.
pub fn run(service: &str, root: &Path, call: &Call<'_>) -> Result<Finished> {
    let mut env = call.env.clone();
    root.clone_into(&mut env.cwd);
    let there = call.with(&env);
    let (session, reporter) = there.build_session()?;
    let name: ServiceName = service.parse()?;
    let request =
        BuildRequest::new(format!("init --try {service}"), build::into_engine(), &session.config, pool::builds_at_once());
    let job = Job::build(BuildRequest { services: vec![service.to_owned()], ..request });
    let ran = run::run(call.app, session, job)?;
    reporter.finish();
    let session = &ran.session;
    let finished = build::conclude(&there, session, ran.record(), "", false)?;
    if !matches!(finished, Finished::Well) {
        let log = session.run.log_path(&Task::Service(name));
        told(&std::fs::read_to_string(log).unwrap_or_default())?;
        return Ok(Finished::Badly);
    }
    start(&name, session)
}

fn start(service: &ServiceName, session: &Session) -> Result<Finished> {
    let engine = session.find_engine()?;
    let image = session.config.images.image(service)?.with_tag("dev".parse()?).to_string();
    let given = examples(service, session);
    let flags = given.iter().flat_map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")]);
    let trusted = ca_bundle(&session.env);
    let trusts = trusted.iter().flat_map(|_| ["--env".to_owned(), format!("{}={TRUSTED}", CA_VARIABLES[0])]);
    let id = engine.docker().arg("create").args(flags).args(trusts).arg(&image).read(&session.shutdown)?.trim().to_owned();
    let ended = begin(&engine, &id, trusted.as_deref(), session).and_then(|()| {
        let names: Vec<&str> = given.keys().map(String::as_str).into_vec();
        let with = if names.is_empty() { String::new() } else { format!(" with the example's values of {}", names.join(", ")) };
        say(&format!("started {image}{with}"));
        watch(&engine, &id, session)
    });
    let log = engine.docker().args(["logs", "--tail", "200", &id]).run(&session.shutdown);
    let ports = listening(&engine, &id, session);
    // It is nobody's but ours, and goes whatever became of it.
    let removed = engine.docker().args(["rm", "--force", "--volumes", &id]).read(&session.shutdown);
    let log = log.map(|output| output.text() + "\n" + &output.error_tail()).unwrap_or_default();
    match ended? {
        Ok(how) => {
            removed?;
            tell(&format!("{service} starts: {how}\n"))?;
            if let Some(package) = downloaded(&log) {
                tell(&format!(
                    "why: it downloads {package} each time it starts\nfix: in the last stage, below `USER`: `RUN corepack prepare {package} --activate`; or have CMD start `node` itself\n"
                ))?;
            }
            if ports.as_ref().is_some_and(Vec::is_empty) {
                told_servers(&given)?;
            }
            if let Some(port) = ports.as_deref().and_then(on_loopback_alone) {
                let why = "to itself alone (127.0.0.1): nobody outside of its container reaches it";
                tell(&format!(
                    "why: it listens on port {port} {why}\nfix: have it listen on 0.0.0.0 (a `host` beside the `port`)\n"
                ))?;
            }
            Ok(Finished::Well)
        }
        Err(how) => {
            // The calls that led to an error would push out what it says.
            let lines: Vec<&str> = log.trim().lines().filter(|line| !line.trim_start().starts_with("at ")).into_vec();
            // Of what a bundler made small Node shows the whole line.
            let shown = |line: &str| clean(line).chars().take(WIDEST).collect::<String>();
            lines[lines.len().saturating_sub(15)..].iter().for_each(|line| say(&format!("  │ {}", shown(line))));
            tell(&format!("{service} does not start: {how}\n"))?;
            told(&log)?;
            if diagnosis::of(&log).is_empty() {
                told_servers(&given)?;
            }
            Ok(Finished::Badly)
        }
    }
}

/// Starts a container that was made, once it has the certificates that build steps have here: what it downloads as it starts, a pnpm by
/// corepack, comes over the same network.
fn begin(engine: &Engine, id: &str, trusted: Option<&Path>, session: &Session) -> Result<()> {
    if let Some(file) = trusted {
        engine.docker().args(["cp", "--follow-link"]).arg(file).arg(format!("{id}:{TRUSTED}")).read(&session.shutdown)?;
    }
    engine.docker().args(["start", id]).read(&session.shutdown).map(drop)
}

/// The package manager that corepack fetches as a container starts, by its own words: of a stage that was given none, with `corepack enable` alone.
fn downloaded(log: &str) -> Option<String> {
    let (_, address) = log.split_once("Corepack is about to download ")?;
    let file = address.split_whitespace().next()?.rsplit('/').next()?;
    let (name, version) = file.strip_suffix(".tgz")?.split_once('-')?;
    Some(format!("{name}@{version}"))
}

fn told_servers(given: &SortedMap<String, String>) -> Result<()> {
    let servers = servers(given).join(", ");
    if servers.is_empty() {
        return Ok(());
    }
    let fix = "start them, and run the image with their addresses";
    tell(&format!("why: perhaps a server that its example leads to and that a try does not start: {servers}\nfix: {fix}\n"))
}

/// The variables whose values lead to a database, a queue or the like: `postgres://localhost/app`.
fn servers(given: &SortedMap<String, String>) -> Vec<&str> {
    let leads = |value: &str| value.split_once("://").is_some_and(|(scheme, _)| !["http", "https", "file"].contains(&scheme));
    given.iter().filter(|(_, value)| leads(value)).map(|(name, _)| name.as_str()).into_vec()
}

/// What the repository's examples of an environment, and those of the packages that it needs, give the service: a try is about what it needs
/// beyond that.
fn examples(service: &ServiceName, session: &Session) -> SortedMap<String, String> {
    let named = session.config.services.iter().find(|other| other.name == *service);
    let package = named.map_or_else(|| format!("apps/{service}"), |service| service.package.clone());
    let Ok(workspace) = Workspace::load(&session.home) else { return SortedMap::new() };
    let folders: Vec<&str> = workspace.find(&package).map_or_else(
        |_| Vec::new(),
        |id| {
            let needed = workspace.closure(id, Scope::PRODUCTION).packages;
            needed.into_iter().filter(|other| *other != id).chain([id]).map(|id| workspace.package(id).dir.as_str()).into_vec()
        },
    );
    variables::examples(&session.home, &folders)
}

/// Waits for the health check, or for a while; the outer error is the run's.
fn watch(engine: &Engine, id: &str, session: &Session) -> Result<Result<String, String>> {
    let format = "{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}";
    let began = Instant::now();
    loop {
        let state = engine.docker().args(["inspect", "--format", format, id]).read(&session.shutdown)?;
        let words: Vec<&str> = state.split_whitespace().into_vec();
        match words[..] {
            ["running", _, "healthy"] => return Ok(Ok("its health check passes".to_owned())),
            ["running", _, "none"] if began.elapsed() > STAYS => {
                let silent = listening(engine, id, session).is_some_and(|ports| ports.is_empty());
                if !silent {
                    return Ok(Ok("it stays up; it has no health check".to_owned()));
                }
                if began.elapsed() > LISTENS {
                    return Ok(Ok("it stays up, and listens on no port; it has no health check".to_owned()));
                }
                sleep(Duration::from_secs(1), &session.shutdown)?;
            }
            ["running", _, "unhealthy"] => return Ok(Err("its health check fails".to_owned())),
            ["running" | "created", ..] if began.elapsed() < HEALTHY => sleep(Duration::from_millis(200), &session.shutdown)?,
            ["running", ..] => return Ok(Err("its health check does not pass".to_owned())),
            [_, "0", ..] => return Ok(Err("it ends by itself, with exit code 0: what goes on is a service".to_owned())),
            [_, code, ..] => return Ok(Err(format!("it ends with exit code {code}"))),
            _ => return Err(Error::failed(format!("the engine says `{state}` of a container"))),
        }
    }
}

/// The ports that a container listens on; `None` where that is not to be known, as in an image without `cat`.
fn listening(engine: &Engine, id: &str, session: &Session) -> Option<Vec<Port>> {
    // Its exit code tells nothing: a machine without IPv6 has no second file.
    let sockets =
        engine.docker().args(["exec", id, "cat", "/proc/net/tcp", "/proc/net/tcp6"]).run(&session.shutdown).ok()?.text();
    sockets.contains("local_address").then(|| ports(&sockets))
}

/// A port that is listened on.
#[derive(Debug, PartialEq, Eq)]
struct Port {
    number: u16,
    /// On an address that nobody outside of the container reaches.
    on_loopback: bool,
}

/// Those of the kernel's `/proc/net/tcp` and `tcp6`, whose second field is the address in the machine's byte order and whose fourth is the
/// state.
fn ports(sockets: &str) -> Vec<Port> {
    const LISTENS: &str = "0A";
    const LOOPBACK: [&str; 2] = ["00000000000000000000000001000000", "0000000000000000FFFF00000100007F"];
    let fields = sockets.lines().map(|line| line.split_whitespace().into_vec());
    let open = fields.filter(|fields| fields.get(3) == Some(&LISTENS));
    let of = |fields: Vec<&str>| {
        let (address, port) = fields[1].split_once(':')?;
        let on_loopback = address.len() == 8 && address.ends_with("7F") || LOOPBACK.contains(&address);
        Some(Port { number: u16::from_str_radix(port, 16).ok()?, on_loopback })
    };
    open.filter_map(of).into_vec()
}

/// The first port, where none is reached from outside.
fn on_loopback_alone(ports: &[Port]) -> Option<u16> {
    ports.iter().all(|port| port.on_loopback).then(|| ports.first()).flatten().map(|port| port.number)
}

fn told(output: &str) -> Result<()> {
    let mut text = String::new();
    for finding in diagnosis::of(output) {
        let _ = writeln!(text, "why: {}\nfix: {}", finding.what, finding.fix);
    }
    tell(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_leads_to_a_server_is_told_from_addresses_of_pages_and_files() {
        let given = [
            ("API_URL", "https://api.example"),
            ("CACHE", "redis://localhost:6379"),
            ("DB", "postgres://localhost/app"),
            ("FILE", "file://x.db"),
            ("PORT", "80"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(servers(&given), ["CACHE", "DB"]);
    }

    #[test]
    fn a_package_manager_that_is_fetched_at_the_start_is_named() {
        let log = "! Corepack is about to download https://registry.example/pnpm/-/pnpm-9.15.0.tgz\nlistening\n";
        assert_eq!(downloaded(log).as_deref(), Some("pnpm@9.15.0"));
        assert_eq!(downloaded("listening\n"), None);
    }

    #[test]
    fn who_listens_to_itself_alone_is_told_from_who_is_reached() {
        let on_loopback_alone = |sockets: &str| on_loopback_alone(&ports(sockets));
        assert_eq!(ports("  sl  local_address rem_address   st\n"), []);
        let head = "  sl  local_address rem_address   st tx_queue\n";
        let line = |address: &str, state: &str| format!("   0: {address} 00000000:0000 {state} 00000000:00000000\n");
        let own = line("0100007F:1388", "0A");
        let all = line("00000000000000000000000000000000:0BB8", "0A");
        assert_eq!(on_loopback_alone(&format!("{head}{own}{head}")), Some(5000));
        assert_eq!(on_loopback_alone(&format!("{head}{own}{head}{all}")), None);
        assert_eq!(on_loopback_alone(&format!("{head}{}{own}", line("0200A8C0:1F90", "01"))), Some(5000));
        assert_eq!(on_loopback_alone(&line("00000000000000000000000001000000:1388", "0A")), Some(5000));
        assert_eq!(on_loopback_alone(&format!("{head}{}", line("00000000:1388", "0A"))), None);
        assert_eq!(on_loopback_alone(head), None);
    }
}
