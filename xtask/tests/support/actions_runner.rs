//! A GitHub Actions runner for our own workflow files: jobs in the order of their needs, each in a workspace of its own; `run:` lines
//! as the runner runs them, actions as what they leave behind. What is not known is a panic.

#![expect(clippy::disallowed_methods, reason = "a runner starts the steps' shells, and signals them as the real one does")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use monoship_github::workflow::paths;
use monoship_workspace::yaml::{Yaml, parse};
use serde_json::{Map, Value, json};

use super::expression::{evaluate, expand, truthy};
use super::repo::git;

/// What starts a run.
pub struct Event {
    /// `GITHUB_EVENT_NAME`.
    pub name: &'static str,
    /// What lies at `GITHUB_EVENT_PATH`.
    pub payload: Value,
    /// `GITHUB_REF`.
    pub git_ref: String,
    /// `GITHUB_SHA`.
    pub sha: String,
}

/// How one job ended.
#[derive(Clone)]
pub struct JobRun {
    /// Its name in the workflow, with the matrix's value in parentheses.
    pub name: String,
    /// `success`, `failure` or `skipped`.
    pub result: &'static str,
    /// What it wrote, secrets masked as a runner masks them.
    pub log: String,
    /// Its summaries.
    pub summary: String,
    /// Every output of every step.
    pub outputs: BTreeMap<String, String>,
    /// Standard outputs of its `run:` lines.
    pub stdout: String,
}

/// Variables and their values.
pub type Variables = Vec<(String, String)>;

/// A runner service.
pub struct ActionsRunner {
    /// The repository that is checked out.
    pub origin: PathBuf,
    /// The word of the workspace whose workflow is run; empty for the root's.
    pub word: &'static str,
    /// Variables of a job's every step, by its name: which engine it has, where the services are.
    pub env: Box<dyn Fn(&str) -> Variables>,
    /// `github.token`.
    pub token: String,
    /// What `actions/github-script` finds in its environment.
    pub runtime: Variables,
}

/// A step that is ready to be run by hand: for tests that signal it.
pub struct Step {
    /// What bash is given.
    pub script: PathBuf,
    /// Where it runs.
    pub workspace: PathBuf,
    /// Its variables.
    pub environment: Variables,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary: PathBuf,
}

/// What the jobs of one workflow run share: its artifacts, and over its attempts what came of each job.
pub struct Run<'a> {
    runner: &'a ActionsRunner,
    event: &'a Event,
    workflow: Yaml,
    /// Where the job lies that every job of the workflow calls.
    called_at: String,
    called: Yaml,
    artifacts: tempfile::TempDir,
    attempt: u32,
    ran: BTreeMap<String, Vec<JobRun>>,
    needs: Map<String, Value>,
}

fn document(text: &str) -> Yaml {
    parse(text).unwrap_or_else(|error| panic!("{error:?}: {text}")).remove(0)
}

fn text<'a>(yaml: &'a Yaml, key: &str) -> Option<&'a str> {
    yaml.get(key).and_then(Yaml::as_str)
}

impl ActionsRunner {
    /// Runs every job of the workflow as `event` starts it.
    pub fn run(&self, event: &Event) -> Vec<JobRun> {
        self.begin(event).attempt(|_| true)
    }

    /// A run of the workflow that `event` starts, none of its jobs begun.
    pub fn begin<'a>(&'a self, event: &'a Event) -> Run<'a> {
        let file = |path: &str| document(&git(&self.origin, &["show", &format!("{}:{path}", event.sha)]));
        let [workflow, called] = paths(self.word);
        let (workflow, called_at, called) = (file(&workflow), format!("./{called}"), file(&called));
        assert!(workflow.get("on").and_then(|on| on.get(event.name)).is_some(), "{} starts nothing", event.name);
        let artifacts = tempfile::tempdir().unwrap();
        Run { runner: self, event, workflow, called_at, called, artifacts, attempt: 0, ran: BTreeMap::new(), needs: Map::new() }
    }

    /// The steps of the job `images` before `cargo xtask ci` done in `dir`, and that one made ready.
    pub fn prepare(&self, event: &Event, dir: &Path) -> Step {
        let run = self.begin(event);
        let mut work = Work::new(&run, JobRun::new("images", "success"), json!({}), dir.to_owned());
        let (last, before) = run.called_job().get("steps").unwrap().items().split_last().expect("the job has steps");
        work.list(before);
        let (script, summary) = (dir.join("temp/script"), dir.join("temp/summary"));
        std::fs::write(&script, text(last, "run").expect("the last step is a shell line")).unwrap();
        std::fs::write(&summary, "").unwrap();
        let mut environment = work.environment();
        environment.push(("GITHUB_STEP_SUMMARY".into(), summary.to_str().unwrap().into()));
        Step { script, workspace: work.steps_dir(), environment, summary }
    }
}

impl Run<'_> {
    /// The next attempt: the jobs that `again` chooses by their last result, and those that need one of them, as "Re-run failed jobs"
    /// has it. The others stay as they are. All jobs, in the workflow's order.
    pub fn attempt(&mut self, again: impl Fn(&JobRun) -> bool) -> Vec<JobRun> {
        self.attempt += 1;
        let mut anew: Vec<String> = Vec::new();
        let jobs = self.workflow.get("jobs").expect("there are jobs").clone();
        for (name, job) in jobs.entries() {
            let before = self.ran.remove(name).unwrap_or_default();
            let follows = needs(job).iter().any(|need| anew.iter().any(|job| job == need));
            let (rerun, kept): (Vec<_>, Vec<_>) = before.into_iter().partition(|job| follows || again(job));
            let jobs = if rerun.is_empty() && !kept.is_empty() {
                kept
            } else {
                anew.push(name.clone());
                let chosen: Vec<&str> = kept.iter().map(|job| job.name.as_str()).collect();
                let ran = self.job(name, job, &chosen);
                kept.into_iter().chain(ran).collect()
            };
            self.note(name, &jobs);
            self.ran.insert(name.clone(), jobs);
        }
        jobs.entries().iter().flat_map(|(name, _)| self.ran[name].clone()).collect()
    }

    /// What the jobs to come see of one.
    fn note(&mut self, name: &str, jobs: &[JobRun]) {
        let result = if jobs.iter().any(|job| job.result == "failure") { "failure" } else { jobs[0].result };
        let declared = |yaml: Option<&Yaml>, contexts: &Value| -> Map<String, Value> {
            let entries = yaml.map(Yaml::entries).unwrap_or_default();
            let value = |yaml: &Yaml| yaml.as_str().or_else(|| text(yaml, "value")).unwrap_or_default().to_owned();
            entries.iter().map(|(name, yaml)| (name.clone(), expand(&value(yaml), contexts).into())).collect()
        };
        let steps = self.contexts(&json!({}), &json!({}), jobs[0].outputs.iter());
        let outputs = declared(self.called_job().get("outputs"), &steps);
        let call = self.called.get("on").and_then(|on| on.get("workflow_call")?.get("outputs"));
        let outputs = declared(call, &json!({"jobs": {"xtask": {"outputs": outputs}}}));
        self.needs.insert(name.to_owned(), json!({"result": result, "outputs": outputs}));
    }

    /// The folder of the checkout in which its `run:` lines begin.
    fn directory(&self) -> &str {
        let defaults = self.called_job().get("defaults").and_then(|defaults| defaults.get("run"));
        defaults.and_then(|run| text(run, "working-directory")).unwrap_or_default()
    }

    fn called_job(&self) -> &Yaml {
        let jobs = self.called.get("jobs").map(Yaml::entries).unwrap_or_default();
        assert_eq!(jobs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["xtask"]);
        &jobs[0].1
    }

    fn contexts<'s>(&self, matrix: &Value, inputs: &Value, outputs: impl Iterator<Item = (&'s String, &'s String)>) -> Value {
        let mut steps = json!({});
        for (name, value) in outputs {
            let (step, name) = name.split_once('.').expect("a step's name and its output's");
            steps[step]["outputs"][name] = value.clone().into();
        }
        json!({
            "github": {
                "event_name": self.event.name, "event": self.event.payload, "token": self.runner.token, "actor": "octocat",
                "ref": self.event.git_ref, "workflow": "Images",
            },
            "needs": self.needs, "steps": steps, "matrix": matrix, "inputs": inputs,
            "runner": {"os": "Linux", "arch": "X64"},
            "status": {"cancelled": false, "success": true, "failure": false},
        })
    }

    /// A job, once for each value of its matrix but those that are not to run again.
    fn job(&self, name: &str, job: &Yaml, kept: &[&str]) -> Vec<JobRun> {
        let well = needs(job).iter().all(|need| self.needs[*need]["result"] == "success");
        let condition = text(job, "if");
        let contexts = self.contexts(&json!({}), &self.event.payload["inputs"], std::iter::empty());
        let may = condition.is_none_or(|condition| truthy(&evaluate(condition, &contexts)));
        // A condition without a status function has `success() &&` before it.
        let asks = condition.is_some_and(|condition| condition.contains("cancelled()"));
        if !may || (!asks && !well) {
            return vec![JobRun::new(name, "skipped")];
        }
        let matrix = job.get("strategy").and_then(|strategy| text(strategy, "matrix"));
        let Some(matrix) = matrix.map(|matrix| evaluate(matrix, &contexts)) else {
            return vec![self.call(name, job, &json!({}))];
        };
        let of_service = |service: &Value| json!({"service": service});
        let rows: Vec<Value> = match matrix["include"].as_array() {
            Some(rows) => rows.clone(),
            None => matrix["service"].as_array().expect("the matrix has services").iter().map(of_service).collect(),
        };
        assert!(!rows.is_empty(), "GitHub refuses an empty matrix");
        // As GitHub names them: by every value, in the order of the row.
        let values = |row: &Value| {
            ["service", "platform", "runner"].iter().filter_map(|key| row[key].as_str()).collect::<Vec<_>>().join(", ")
        };
        let named = rows.iter().map(|row| (format!("{name} ({})", values(row)), row));
        let wanted = named.filter(|(shown, _)| !kept.contains(&shown.as_str()));
        wanted.map(|(shown, row)| self.call(&shown, job, row)).collect()
    }

    /// Calls the job that all jobs call, with this one's inputs.
    fn call(&self, name: &str, job: &Yaml, matrix: &Value) -> JobRun {
        assert!(job.get("permissions").is_some(), "{name} says nothing of its permissions");
        assert_eq!(text(job, "uses"), Some(self.called_at.as_str()), "{name}");
        let contexts = self.contexts(matrix, &json!({}), std::iter::empty());
        let given = job.get("with").map(Yaml::entries).unwrap_or_default();
        let inputs: Map<String, Value> =
            given.iter().map(|(name, value)| (name.clone(), expand(value.as_str().unwrap(), &contexts).into())).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut work = Work::new(self, JobRun::new(name, "success"), inputs.into(), dir.path().to_owned());
        work.list(self.called_job().get("steps").expect("a job has steps").items());
        work.job
    }
}

/// The jobs that a job waits for.
fn needs(job: &Yaml) -> Vec<&str> {
    match job.get("needs") {
        Some(Yaml::List(all)) => all.iter().filter_map(Yaml::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect(),
        None => Vec::new(),
    }
}

impl JobRun {
    fn new(name: &str, result: &'static str) -> Self {
        let (log, summary, stdout) = (String::new(), String::new(), String::new());
        Self { name: name.to_owned(), result, log, summary, outputs: BTreeMap::new(), stdout }
    }

    /// An output, of whichever step.
    pub fn output(&self, name: &str) -> &str {
        let found = self.outputs.iter().find(|(key, _)| key.rsplit('.').next() == Some(name));
        found.unwrap_or_else(|| panic!("no output {name} in {:?}: {}", self.outputs, self.log)).1
    }
}

/// A job at work.
struct Work<'a> {
    run: &'a Run<'a>,
    job: JobRun,
    inputs: Value,
    dir: PathBuf,
    exported: Vec<(String, String)>,
    number: usize,
}

impl<'a> Work<'a> {
    fn new(run: &'a Run<'a>, job: JobRun, inputs: Value, dir: PathBuf) -> Self {
        for folder in ["work", "temp", "bin"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        // `cargo xtask` without compiling it in every workspace, but where it could be; and on stand-ins, which a release must be allowed.
        let cargo = format!(
            "#!/bin/sh\nfor file in .cargo/config.toml Cargo.toml xtask/Cargo.toml; do\n  test -f $file || {{ echo \"$PWD has no $file\"; exit 101; }}\ndone\n\
             test \"$1\" = build && exec env\ntest \"$1\" = xtask && shift && exec {} \"$@\" --allow-stand-ins\n",
            super::repo::program().display()
        );
        let path = dir.join("bin/cargo");
        std::fs::write(&path, cargo).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { run, job, inputs, dir, exported: Vec::new(), number: 0 }
    }

    /// Where the repository is checked out, and what paths of actions begin at.
    fn workspace(&self) -> PathBuf {
        self.dir.join("work")
    }

    fn steps_dir(&self) -> PathBuf {
        self.workspace().join(self.run.directory())
    }

    fn list(&mut self, steps: &[Yaml]) {
        for step in steps {
            let contexts = self.run.contexts(&json!({}), &self.inputs, self.job.outputs.iter());
            let failed = self.job.result == "failure";
            let may = match text(step, "if") {
                Some(condition) => truthy(&evaluate(condition, &contexts)) && (!failed || condition.contains("cancelled()")),
                None => !failed,
            };
            if may {
                self.step(step, &contexts);
            }
        }
    }

    fn step(&mut self, step: &Yaml, contexts: &Value) {
        self.number += 1;
        let id = text(step, "id").map_or_else(|| format!("step{}", self.number), str::to_owned);
        let map = |key: &str| -> BTreeMap<String, String> {
            let entries = step.get(key).map(Yaml::entries).unwrap_or_default();
            entries.iter().map(|(name, value)| (name.clone(), expand(value.as_str().unwrap_or_default(), contexts))).collect()
        };
        let (with, env) = (map("with"), map("env"));
        match (text(step, "run"), text(step, "uses")) {
            (Some(script), None) => {
                assert!(!script.contains("${{"), "an expression in a shell line: {script}");
                self.shell(&id, script, text(step, "shell"), &env);
            }
            (None, Some(action)) => self.action(&id, action, &with, &env),
            other => panic!("a step is one of `run` and `uses`: {other:?}"),
        }
    }

    fn action(&mut self, id: &str, action: &str, with: &BTreeMap<String, String>, env: &BTreeMap<String, String>) {
        let get = |name: &str| with.get(name).map(String::as_str).unwrap_or_default();
        match action.split('@').next().unwrap_or_default() {
            "actions/checkout" => self.checkout(with),
            "actions/cache" => {
                self.job.log.push_str("restored a program\n");
                self.job.outputs.insert(format!("{id}.cache-hit"), "true".to_owned());
            }
            "docker/setup-buildx-action" => _ = self.job.outputs.insert(format!("{id}.name"), "builder-1".to_owned()),
            "docker/login-action" => assert!(!get("password").is_empty(), "Username and password required"),
            "actions/github-script" => {
                let known = self.run.runner.runtime.iter().cloned().chain(env.clone());
                let wanted = known.filter(|(name, _)| get("script").contains(&format!("'{name}'")));
                self.exported.extend(wanted.collect::<Vec<_>>());
            }
            "actions/upload-artifact" => {
                let (from, to) = (self.workspace().join(get("path")), self.run.artifacts.path().join(get("name")));
                std::fs::create_dir_all(&to).unwrap();
                assert!(from.is_file(), "nothing to upload at {}: {}", from.display(), self.job.log);
                std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
            }
            "actions/download-artifact" => self.download(get("pattern"), get("path")),
            other => panic!("the action {other} is not known"),
        }
    }

    /// The artifacts of every attempt, all into one folder.
    fn download(&self, pattern: &str, path: &str) {
        let to = self.workspace().join(path);
        std::fs::create_dir_all(&to).unwrap();
        for artifact in std::fs::read_dir(self.run.artifacts.path()).unwrap().flatten() {
            if artifact.file_name().to_str().unwrap().starts_with(pattern.trim_end_matches('*')) {
                for file in std::fs::read_dir(artifact.path()).unwrap().flatten() {
                    std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
                }
            }
        }
    }

    /// As `actions/checkout` does it with these inputs: one commit and its parents, no blobs but those of the sparse folders.
    fn checkout(&self, with: &BTreeMap<String, String>) {
        assert_eq!(with["persist-credentials"], "false");
        let (dir, event) = (self.workspace(), self.run.event);
        let origin = format!("file://{}", self.run.runner.origin.display());
        let call = |args: &[&str]| git(&dir, &[&["-c", "advice.detachedHead=false", "-c", "protocol.version=2"], args].concat());
        call(&["init", "--quiet"]);
        call(&["remote", "add", "origin", &origin]);
        let depth = format!("--depth={}", with["fetch-depth"]);
        let named = event.git_ref.strip_prefix("refs/").unwrap();
        let tracking =
            named.strip_prefix("heads/").map_or(format!("refs/{named}"), |branch| format!("refs/remotes/origin/{branch}"));
        call(&["fetch", "--quiet", "--no-tags", "--filter=blob:none", &depth, "origin", &format!("+{}:{tracking}", event.sha)]);
        let folders: Vec<&str> = with["sparse-checkout"].split_whitespace().collect();
        call(&[&["sparse-checkout", "set"], &folders[..]].concat());
        match event.git_ref.strip_prefix("refs/heads/") {
            Some(branch) => call(&["checkout", "--quiet", "--force", "-B", branch, &tracking]),
            None => call(&["checkout", "--quiet", "--force", &tracking]),
        };
        // `S` is what git leaves out.
        let packages = git(&dir, &["ls-files", "-t", "--", "*apps/*"]);
        assert!(
            !packages.is_empty() && packages.lines().all(|file| file.starts_with("S ")),
            "the sparse checkout is not: {packages}"
        );
    }

    fn shell(&mut self, id: &str, script: &str, shell: Option<&str>, env: &BTreeMap<String, String>) {
        let temp = self.dir.join("temp");
        let file = |kind: &str| temp.join(format!("{kind}-{}", self.number));
        let (script_file, output, summary) = (file("script"), file("output"), file("summary"));
        std::fs::write(&script_file, format!("{script}\n")).unwrap();
        for file in [&output, &summary] {
            std::fs::write(file, "").unwrap();
        }
        let mut bash = Command::new("bash");
        match shell {
            None => bash.arg("-e"),
            Some("bash") => bash.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]),
            Some(other) => panic!("the shell {other} is not known"),
        };
        bash.arg(&script_file).current_dir(self.steps_dir()).stdin(Stdio::null());
        // What the machine says about CI must not decide what a step sees.
        for (name, _) in super::engine::environment().vars() {
            if ["GITHUB_", "ACTIONS_", "CI", "GH_TOKEN", "NO_COLOR"].iter().any(|foreign| name.starts_with(foreign)) {
                bash.env_remove(name);
            }
        }
        bash.envs(self.environment()).env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", &summary).envs(env);
        let ended = bash.output().unwrap();
        self.job.stdout.push_str(&String::from_utf8_lossy(&ended.stdout));
        let said = [String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr)].concat();
        self.job.log.push_str(&masked(&said));
        self.job.summary.push_str(&std::fs::read_to_string(&summary).unwrap());
        for (name, value) in outputs(&std::fs::read_to_string(&output).unwrap()) {
            self.job.outputs.insert(format!("{id}.{name}"), value);
        }
        if !ended.status.success() {
            self.job.result = "failure";
        }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let event = self.run.event;
        let payload = self.dir.join("temp/event.json");
        std::fs::write(&payload, event.payload.to_string()).unwrap();
        let path = format!("{}:{}", self.dir.join("bin").display(), variable("PATH"));
        let own = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", event.name),
            ("GITHUB_EVENT_PATH", payload.to_str().unwrap()),
            ("GITHUB_SHA", &event.sha),
            ("GITHUB_REF", &event.git_ref),
            ("GITHUB_RUN_ATTEMPT", &self.run.attempt.to_string()),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("PATH", &path),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut all: Vec<(String, String)> = own.into();
        all.extend((self.run.runner.env)(&self.job.name));
        all.extend(self.exported.clone());
        all
    }
}

/// A variable of the test's own environment: programs are found where they are.
fn variable(name: &str) -> String {
    super::engine::environment().get(name).unwrap_or_default().to_owned()
}

/// A step's outputs, as the runner reads them.
fn outputs(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").unwrap_or_else(|| panic!("no output: {line}"));
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        found.push((name.to_owned(), value.join("\n")));
    }
    found
}

/// A log as the runner shows it: masks carried out, and their commands gone.
fn masked(log: &str) -> String {
    let secrets: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("::add-mask::")).collect();
    let lines = log.lines().filter(|line| !line.starts_with("::add-mask::"));
    let hide = |line: &str| secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret, "***"));
    lines.map(|line| hide(line) + "\n").collect()
}
