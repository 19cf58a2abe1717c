//! A proxy in front of a real registry that does to chosen requests what bad days do, and passes everything else on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::http::{Break, Request, Response, Server};

/// What happens to a request instead of, or to, its answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status and these headers; the registry never sees the request.
    Status(u16, Vec<(&'static str, String)>),
    /// This status, and this code and message of the registry's; it never sees the request.
    Says(u16, &'static str, &'static str),
    /// Success, with this JSON; the registry never sees the request.
    Body(String),
    /// The registry does what is asked, and its answer never arrives.
    Lost,
    /// The connection breaks; the registry never sees the request.
    Reset,
    /// Nothing for this long, or until [`FaultyProxy::let_go`], then the connection breaks.
    Hang(Duration),
    /// Half of the registry's answer's body.
    Truncate,
    /// The body with one byte changed.
    Corrupt,
}

struct Rule {
    method: &'static str,
    part: String,
    fault: Fault,
    left: usize,
    /// Requests of our own client do not meet it.
    of_builder: bool,
}

impl Rule {
    /// By a part of the path, or with a `$` by its end.
    fn is_of(&self, request: &Request) -> bool {
        let path = &request.path;
        let ours = request.header("user-agent").is_some_and(|agent| agent.starts_with("xtask/"));
        self.part.strip_suffix('$').map_or_else(|| path.contains(&self.part), |end| path.ends_with(end))
            && !(self.of_builder && ours)
    }
}

/// Says of each request whether the registry is gone by now.
type Darkness = Box<dyn Fn(&Request) -> bool + Send>;

/// What becomes of a request: how long it takes on its way, and the fault that it meets.
pub type Weather = Arc<dyn Fn(&Request) -> (Duration, Option<Fault>) + Send + Sync>;

/// A running proxy.
pub struct FaultyProxy {
    server: Server,
    rules: Arc<Mutex<Vec<Rule>>>,
    dark: Arc<Mutex<Option<Darkness>>>,
    weather: Arc<Mutex<Option<Weather>>>,
    log: Arc<Mutex<Vec<String>>>,
    let_go: Arc<AtomicBool>,
}

impl FaultyProxy {
    /// In front of the registry at `upstream` (`host:port`).
    pub fn start(upstream: &str) -> Self {
        let rules: Arc<Mutex<Vec<Rule>>> = Arc::default();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let dark: Arc<Mutex<Option<Darkness>>> = Arc::default();
        let let_go = Arc::new(AtomicBool::new(false));
        let weather: Arc<Mutex<Option<Weather>>> = Arc::default();
        let (darkness, is_let_go, now) = (Arc::clone(&dark), Arc::clone(&let_go), Arc::clone(&weather));
        let (known, seen, upstream) = (Arc::clone(&rules), Arc::clone(&log), upstream.to_owned());
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None).build().into();
        let server = Server::start(move |request| {
            let fault = {
                let mut rules = known.lock().unwrap();
                let hit = rules.iter_mut().find(|r| r.left > 0 && r.method == request.method && r.is_of(request));
                let gone = darkness.lock().unwrap().as_ref().is_some_and(|gone| gone(request));
                let hit = hit.filter(|_| !gone);
                let outage = gone.then_some(Fault::Reset);
                outage.or_else(|| {
                    hit.map(|rule| {
                        rule.left -= 1;
                        rule.fault.clone()
                    })
                })
            };
            let fault = fault.or_else(|| {
                let weather = now.lock().unwrap().clone()?;
                let (delay, fault) = weather(request);
                std::thread::sleep(delay);
                fault
            });
            let note = |what: &str| seen.lock().unwrap().push(format!("{} {} {what}", request.method, request.path));
            let Some(fault) = fault else {
                let response = forward(&agent, &upstream, request);
                note(&response.status.to_string());
                return response;
            };
            // Before it happens: a client that gives up on a hang looks at the log while we still hang.
            note(&format!("{fault:?}"));
            if let Fault::Hang(long) = fault {
                let until = Instant::now() + long;
                while Instant::now() < until && !is_let_go.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10).min(long));
                }
            }
            answer(&agent, &upstream, request, fault)
        });
        Self { server, rules, dark, weather, log, let_go }
    }

    /// `127.0.0.1:port`, as it stands in an image reference.
    pub fn host(&self) -> String {
        self.server.url().trim_start_matches("http://").to_owned()
    }

    /// The next `times` requests of this method whose path contains `part` meet this fault.
    pub fn fail(&self, method: &'static str, part: &str, fault: Fault, times: usize) {
        self.rules.lock().unwrap().push(Rule { method, part: part.to_owned(), fault, left: times, of_builder: false });
    }

    /// [`FaultyProxy::fail`] for the builder's next request alone.
    pub fn fail_builder(&self, method: &'static str, part: &str, fault: Fault) {
        self.rules.lock().unwrap().push(Rule { method, part: part.to_owned(), fault, left: 1, of_builder: true });
    }

    /// [`FaultyProxy::fail`] for paths that end with `part`.
    pub fn fail_exactly(&self, method: &'static str, part: &str, fault: Fault, times: usize) {
        self.fail(method, &format!("{part}$"), fault, times);
    }

    /// Breaks every request's connection once `gone` says so of one; it is asked about each.
    pub fn go_dark(&self, gone: impl Fn(&Request) -> bool + Send + 'static) {
        *self.dark.lock().unwrap() = Some(Box::new(gone));
    }

    /// Ends every hang, those to come too.
    pub fn let_go(&self) {
        self.let_go.store(true, Ordering::SeqCst);
    }

    /// Asks `weather` of each request that no rule is for.
    pub fn weather(&self, weather: Weather) {
        *self.weather.lock().unwrap() = Some(weather);
    }

    /// The faults that no request has met yet, as `METHOD part`.
    pub fn still_to_come(&self) -> Vec<String> {
        let rules = self.rules.lock().unwrap();
        rules.iter().filter(|rule| rule.left > 0).map(|rule| format!("{} {}", rule.method, rule.part)).collect()
    }

    /// No more faults, and what was asked so far is forgotten.
    pub fn heal(&self) {
        self.rules.lock().unwrap().clear();
        *self.dark.lock().unwrap() = None;
        self.let_go.store(false, Ordering::SeqCst);
        *self.weather.lock().unwrap() = None;
        self.log.lock().unwrap().clear();
    }

    /// `METHOD path status` or `METHOD path fault` of each request so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// How many requests of this method had a path with this part.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(&format!("{method} ")) && line.contains(part)).count()
    }
}

fn answer(agent: &ureq::Agent, upstream: &str, request: &Request, fault: Fault) -> Response {
    match fault {
        Fault::Status(status, headers) => {
            let body = serde_json::json!({"errors": [{"code": "FAULT", "message": "a bad day"}]});
            headers.into_iter().fold(Response::json(status, &body), |response, (name, value)| response.header(name, value))
        }
        Fault::Says(status, code, message) => {
            Response::json(status, &serde_json::json!({"errors": [{"code": code, "message": message}]}))
        }
        Fault::Body(json) => Response { body: json.into_bytes(), ..Response::json(200, &serde_json::Value::Null) },
        Fault::Lost => forward(agent, upstream, request).broken(Break::HangUp),
        Fault::Reset | Fault::Hang(_) => Response::status(200).broken(Break::HangUp),
        Fault::Truncate => forward(agent, upstream, request).broken(Break::Truncate),
        Fault::Corrupt => {
            let mut response = forward(agent, upstream, request);
            if let Some(byte) = response.body.last_mut() {
                *byte ^= 1;
            }
            response
        }
    }
}

fn forward(agent: &ureq::Agent, upstream: &str, request: &Request) -> Response {
    let query: Vec<String> = request.query.iter().map(|(n, v)| format!("{n}={}", encode(v))).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let mut builder =
        ureq::http::Request::builder().method(request.method.as_str()).uri(format!("http://{upstream}{}{query}", request.path));
    // The `host` header goes on too, so that the registry's locations lead back here.
    for (name, value) in request.headers.iter().filter(|(name, _)| !["connection", "content-length"].contains(&name.as_str())) {
        builder = builder.header(name, value);
    }
    let sends = !request.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
    let answer =
        if sends { agent.run(builder.body(request.body.clone()).unwrap()) } else { agent.run(builder.body(()).unwrap()) };
    let mut answer = answer.expect("the registry behind the proxy answers");
    let body = answer.body_mut().read_to_vec().expect("the registry's whole answer");
    let mut response = Response { body, ..Response::status(answer.status().as_u16()) };
    for (name, value) in answer.headers() {
        let own = ["connection", "transfer-encoding"].contains(&name.as_str())
            || (name == "content-length" && request.method != "HEAD");
        if !own {
            response = response.header(name.as_str(), value.to_str().unwrap_or_default());
        }
    }
    response
}

fn encode(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
