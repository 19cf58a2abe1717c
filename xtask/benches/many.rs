//! How the cost grows with the number of services: `cargo bench --bench many [-- SCENARIO…] [--services N] [--runs N] [--pnpm VERSION]`.
//!
//! Scenarios: `cold` (an engine that has nothing, downloads included), `shared` (a package that all services need is edited), `one` (one
//! service is edited), `runner` (the same on a second machine, which is empty, with the caches that the first one left in the registry),
//! `mounts` (a package that needs all others is edited on a second CI runner), `growth` (the cold build of 4, 8, 16 and 32 services). A workspace of N services over eight packages that need each
//! other in a chain is made anew and given what `xtask init` writes; its peer is `docker buildx bake` on the usual Dockerfile. The exit code
//! is 1 where a bar is missed.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself and reads the machine's environment")]

mod engine;
mod measure;
mod race;

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use engine::{BUILDX, Engine, ca_file, run};
use measure::{Contender, at_most, side_by_side, verdict};
use race::{empty, in_memory, xtask};

/// How many packages every service needs, by way of each other.
const PACKAGES: usize = 8;

/// Modules of a package: enough that compiling them costs more than starting the compiler.
const MODULES: usize = 60;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let services = number(&mut args, "--services").unwrap_or(16);
    let runs = number(&mut args, "--runs").unwrap_or(1);
    let pnpm = value(&mut args, "--pnpm").unwrap_or_else(|| "10.34.9".to_owned());
    let wanted = |scenario: &str| args.is_empty() || args.iter().any(|arg| arg == scenario);
    let mut all_hold = true;
    if ["cold", "shared", "one", "runner", "mounts"].into_iter().any(wanted) {
        let bench = Bench::new(services, &pnpm);
        all_hold &= !wanted("cold") || bench.cold(runs);
        all_hold &= !wanted("shared") || bench.edited("packages/lib1", 0.25, runs);
        all_hold &= !wanted("one") || bench.edited("apps/svc01", 0.1, runs);
        all_hold &= !wanted("runner") || bench.runner("apps/svc01", runs);
        all_hold &= !wanted("mounts") || bench.mounts(&format!("packages/lib{PACKAGES}"), runs);
    }
    if wanted("growth") {
        all_hold &= growth(runs, &pnpm);
    }
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes a flag and its number out of the arguments.
fn number(args: &mut Vec<String>, flag: &str) -> Option<usize> {
    let value = value(args, flag)?;
    Some(value.parse().ok().filter(|n| *n > 0).unwrap_or_else(|| panic!("{flag} takes a number")))
}

/// Takes a flag and its value out of the arguments.
fn value(args: &mut Vec<String>, flag: &str) -> Option<String> {
    let at = args.iter().position(|arg| arg == flag)?;
    args.drain(at..args.len().min(at + 2)).nth(1)
}

/// Seconds for each service that is added, by the ends of the table.
fn growth(runs: usize, pnpm: &str) -> bool {
    let medians = [4, 8, 16, 32].map(|services| (services, Bench::new(services, pnpm).race(runs)));
    println!("\n## Growth of the cold build\n\n| services | xtask build s | bake, usual Dockerfile s |\n|---:|---:|---:|");
    for (services, [ours, theirs]) in medians {
        println!("| {services} | {:.1} | {:.1} |", ours.as_secs_f64(), theirs.as_secs_f64());
    }
    let ((_, first), (_, last)) = (medians[0], medians[medians.len() - 1]);
    let [ours, theirs] = [0, 1].map(|at| last[at].saturating_sub(first[at]));
    at_most(1.0, "each service added, to bake on the usual Dockerfile", ours, theirs)
}

/// The workspace everything runs in, and the engine it runs on with its data.
struct Bench {
    root: PathBuf,
    data: PathBuf,
    engine: Engine,
    services: Vec<String>,
    edits: Cell<usize>,
    /// What the steps of our last build said, from before its state was removed.
    logs: RefCell<String>,
    /// What containers had received when each cold run began.
    marks: RefCell<Vec<u64>>,
}

impl Bench {
    fn new(services: usize, pnpm: &str) -> Self {
        let place = in_memory("many", 12_000_000_000).unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("many"));
        // The images are named after the folder.
        let (root, data) = (place.join("many"), place.join("engine"));
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("the last one can be removed");
        }
        let services: Vec<String> = (1..=services).map(|at| format!("svc{at:02}")).collect();
        write_workspace(&root, &services, pnpm);
        run(Command::new(env!("CARGO_BIN_EXE_xtask")).arg("init").current_dir(&root));
        // After that, or the peer's Dockerfile would be taken for a service's.
        write_peer(&root, &services, pnpm);
        run(Command::new("git").args(["add", "--all"]).current_dir(&root));
        let engine = Engine::up(|| xtask(&root, &data));
        let bench =
            Self { root, data, engine, services, edits: Cell::new(0), logs: RefCell::default(), marks: RefCell::default() };
        // Both start from a base image that is there: one service's build brings it.
        run(bench.build().arg("svc01"));
        bench
    }

    /// An engine without images, steps and downloads.
    fn cold(&self, runs: usize) -> bool {
        let [ours, theirs] = self.race(runs);
        let mut holds = at_most(0.6, "cold, xtask build to docker buildx bake on the usual Dockerfile", ours, theirs);
        self.keep_logs();
        // Each run of either begins with a mark. Bake receives more than an install: `pnpm deploy` asks for metadata again.
        let mut marks = self.marks.take();
        marks.push(self.received());
        let received: Vec<u64> = marks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (ours, plain) = (received[0], self.plain_install());
        let text = format!(
            "the containers of xtask build received {ours} bytes, that of one plain pnpm install {plain}, of bake {}",
            received[1]
        );
        holds &= verdict(ours * 100 <= plain * 105, &text);
        let logs = self.logs.take();
        for package in 1..=PACKAGES {
            let built = logs.matches(&format!("building @many/lib{package}, as")).count();
            holds &= verdict(built == 1, &format!("lib{package} was compiled {built} times"));
        }
        holds
    }

    fn race(&self, runs: usize) -> [std::time::Duration; 2] {
        let medians = side_by_side(
            &format!("{} services cold, downloads included", self.services.len()),
            0,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()).before(|| self.begin_cold()),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake()).before(|| self.begin_cold()),
            ],
        );
        [medians[0], medians[1]]
    }

    /// How many bytes a container receives in which pnpm is installed, and installs the whole repository.
    fn plain_install(&self) -> u64 {
        let usual = std::fs::read_to_string(self.root.join("Dockerfile.usual")).expect("the peer is there");
        let end = usual.find("RUN pnpm --recursive").expect("the peer builds after it has installed");
        std::fs::write(self.root.join("Dockerfile.plain"), &usual[..end]).expect("it can be written");
        self.empty();
        let before = self.received();
        let mut build = self.engine.client(BUILDX, &self.root);
        build.args(["build", "--file", "Dockerfile.plain", "--output", "type=cacheonly", "."]);
        if !ca_file().is_empty() {
            build.args(["--secret", &format!("id=ca,src={}", ca_file())]);
        }
        run(&mut build);
        self.received() - before
    }

    fn begin_cold(&self) {
        self.empty();
        self.marks.borrow_mut().push(self.received());
    }

    /// How many bytes containers have received so far, by the counter of the engine's bridge.
    fn received(&self) -> u64 {
        let socket = self.engine.says("docker-host").trim_start_matches("unix://");
        let settings = std::fs::read(Path::new(socket).with_file_name("daemon.json")).expect("the engine has settings");
        let settings: serde_json::Value = serde_json::from_slice(&settings).expect("they are JSON");
        let bridge = settings["bridge"].as_str().expect("the engine has a bridge");
        let counter = format!("/sys/class/net/{bridge}/statistics/tx_bytes");
        std::fs::read_to_string(&counter).expect("the bridge counts").trim().parse().expect("it is a number")
    }

    /// One line of one package.
    fn edited(&self, package: &str, most: f64, runs: usize) -> bool {
        let edit = || self.edit(package);
        run(&mut self.bake());
        run(&mut self.build());
        let medians = side_by_side(
            &format!("{package} edited, of {} services", self.services.len()),
            0,
            runs,
            &mut [
                Contender::new("xtask build", || self.build()).before(edit),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake()).before(edit),
            ],
        );
        at_most(most, &format!("{package} edited, xtask build to docker buildx bake"), medians[0], medians[1])
    }

    fn edit(&self, package: &str) {
        self.edits.set(self.edits.get() + 1);
        let file = self.root.join(package).join("src/edited.ts");
        std::fs::write(file, format!("export const edit = {};\n", self.edits.get())).expect("it can be written");
    }

    /// One line of one service, on a machine that has nothing, where another one has pushed everything with its caches. Both write caches again.
    fn runner(&self, package: &str, runs: usize) -> bool {
        let (build, bake) = (|| self.push("many/ours"), || self.bake_and_push());
        let medians = side_by_side(
            &format!("{package} edited on a second machine, of {} services", self.services.len()),
            0,
            runs,
            &mut [
                Contender::new("xtask build --push", build).before(|| self.second_machine(build(), package)),
                Contender::new("docker buildx bake --push, mode=max", bake).before(|| self.second_machine(bake(), package)),
            ],
        );
        at_most(
            0.25,
            "a second machine, xtask build --push to docker buildx bake with its registry cache",
            medians[0],
            medians[1],
        )
    }

    /// The same with what a CI runner gets back of cache mounts, and without: a package that most others are no part of is edited.
    fn mounts(&self, package: &str, runs: usize) -> bool {
        let on = |mut build: Command, mounts: &str| {
            // Bake lists no contents.
            build.env("CI", "true").env("XTASK_CACHE_MOUNTS", mounts).env("XTASK_ATTEST_SBOM", "false");
            build
        };
        let kept = || on(self.push("many/kept"), "true");
        let (bare, bake) = (|| on(self.push("many/bare"), "false"), || self.bake_and_push());
        let medians = side_by_side(
            &format!("{package} edited on a second CI runner, of {} services", self.services.len()),
            0,
            runs,
            &mut [
                Contender::new("xtask build --push", kept).before(|| self.second_machine(kept(), package)),
                Contender::new("the same, mounts = false", bare).before(|| self.second_machine(bare(), package)),
                Contender::new("docker buildx bake --push, mode=max", bake).before(|| self.second_machine(bake(), package)),
            ],
        );
        at_most(1.0, "a second CI runner, with cache mounts to without them", medians[0], medians[1])
    }

    /// A machine that has nothing, and a repository with an edit since another machine ran this.
    fn second_machine(&self, mut first: Command, package: &str) {
        self.empty();
        run(&mut first);
        self.empty();
        self.edit(package);
    }

    fn push(&self, namespace: &str) -> Command {
        let mut command = self.build();
        command.arg("--push").env("XTASK_IMAGES_REGISTRY", self.engine.says("registry")).env("XTASK_IMAGES_NAMESPACE", namespace);
        command
    }

    fn bake_and_push(&self) -> Command {
        let registry = self.engine.says("registry");
        let mut command = self.bake();
        command.arg("--push").env("REGISTRY", format!("{registry}/many"));
        for service in &self.services {
            let cache = format!("type=registry,ref={registry}/many/usual/cache:{service}");
            command.args(["--set", &format!("usual-{service}.cache-from={cache}")]);
            command.args(["--set", &format!("usual-{service}.cache-to={cache},mode=max")]);
        }
        command
    }

    fn build(&self) -> Command {
        let mut command = xtask(&self.root, &self.data);
        command.arg("build");
        command
    }

    fn bake(&self) -> Command {
        let mut command = self.engine.client("usr/bin/docker", &self.root);
        command.args(["buildx", "bake", "--file", "docker-bake.hcl"]);
        command
    }

    /// Takes down what the steps of the newest run that built something printed, if there is one.
    fn keep_logs(&self) {
        let Ok(runs) = std::fs::read_dir(self.root.join("target/xtask/runs")) else { return };
        let built = runs.flatten().map(|run| run.path()).filter(|run| run.join("svc01.log").exists()).max();
        let Some(newest) = built else { return };
        let files = std::fs::read_dir(newest).expect("the run has files").flatten().map(|file| file.path());
        let logs = files.filter(|file| file.extension().is_some_and(|end| end == "log"));
        self.logs.replace(logs.filter_map(|file| std::fs::read_to_string(file).ok()).collect());
    }

    /// Removes every image that a contender made, and the build cache with all that its cache mounts hold.
    fn empty(&self) {
        self.keep_logs();
        let names = self.services.iter().flat_map(|service| {
            let pushed = self.engine.says("registry");
            [
                format!("usual/{service}:bench"),
                format!("local/many/{service}:dev"),
                format!("{pushed}/many/usual/{service}:bench"),
                format!("{pushed}/many/ours/{service}:dev"),
                format!("{pushed}/many/kept/{service}:dev"),
                format!("{pushed}/many/bare/{service}:dev"),
            ]
        });
        empty(&self.engine, &self.root, names, &[]);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        run(xtask(&self.root, &self.data).args(["engine", "reset"]));
        // Memory is not a place to leave a workspace in.
        std::fs::remove_dir_all(&self.root).expect("the workspace can be removed");
    }
}

/// Services that all need the last of a chain of packages, compiled by TypeScript, with a lock of their own. pnpm takes no other version's
/// place: a registry may not sign what it has, and then pnpm refuses itself.
fn write_workspace(root: &Path, services: &[String], pnpm: &str) {
    let write = |file: &str, text: &str| write(&root.join(file), text);
    let manifest = r#"{"name": "many", "private": true, "packageManager": "pnpm@VERSION", "type": "module"}"#;
    write("package.json", &manifest.replace("VERSION", pnpm));
    write("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\npmOnFail: ignore\n");
    write(".gitignore", "node_modules\ndist\ntarget\n*.tsbuildinfo\n");
    write(".dockerignore", "**/node_modules\n**/dist\n.git\ntarget\n**/*.tsbuildinfo\n");
    write(
        "tsconfig.base.json",
        r#"{"compilerOptions": {"composite": true, "target": "ES2022", "module": "NodeNext", "strict": true, "declaration": true, "skipLibCheck": true}}"#,
    );
    let package = |folder: &str, name: &str, needs: Option<&str>, outside: &str| {
        let needed = needs.map(|needs| format!(r#""@many/{needs}": "workspace:*", "#)).unwrap_or_default();
        write(
            &format!("{folder}/package.json"),
            &format!(
                r#"{{"name": "@many/{name}", "version": "0.0.0", "private": true, "type": "module", "main": "dist/index.js", "types": "dist/index.d.ts", "files": ["dist"], "scripts": {{"build": "tsc -b", "start": "node dist/index.js"}}, "dependencies": {{{needed}{outside}}}, "devDependencies": {{"typescript": "5.9.3", "@types/node": "^24.0.0"}}}}"#
            ),
        );
        let reference = needs.map(|needs| format!(r#"{{"path": "../../packages/{needs}"}}"#)).unwrap_or_default();
        write(
            &format!("{folder}/tsconfig.json"),
            &format!(
                r#"{{"extends": "../../tsconfig.base.json", "compilerOptions": {{"rootDir": "src", "outDir": "dist"}}, "include": ["src"], "references": [{reference}]}}"#
            ),
        );
    };
    for at in 1..=PACKAGES {
        let below = (at > 1).then(|| format!("lib{}", at - 1));
        package(&format!("packages/lib{at}"), &format!("lib{at}"), below.as_deref(), r#""zod": "^4.1.11""#);
        let mut index = below.map(|below| format!("export * as up from '@many/{below}';\n")).unwrap_or_default();
        for module in 0..MODULES {
            let _ = writeln!(index, "export * as m{module} from './m{module}.js';");
            let schema = format!(
                "import {{ z }} from 'zod';\nexport const s{module} = z.object({{ id: z.string(), n: z.number().int(), kind: z.enum(['a', 'b', 'c{module}']) }});\nexport type T{module} = z.infer<typeof s{module}>;\nexport const parse{module} = (v: unknown): T{module} => s{module}.parse(v);\n"
            );
            write(&format!("packages/lib{at}/src/m{module}.ts"), &schema);
        }
        write(&format!("packages/lib{at}/src/index.ts"), &index);
    }
    for service in services {
        package(
            &format!("apps/{service}"),
            service,
            Some(&format!("lib{PACKAGES}")),
            r#""fastify": "^5.6.0", "pino": "^10.0.0""#,
        );
        write(
            &format!("apps/{service}/src/index.ts"),
            &format!(
                "import {{ m1 }} from '@many/lib{PACKAGES}';\nimport Fastify from 'fastify';\nconst app = Fastify();\napp.get('/healthz', async () => ({{ ok: true, name: '{service}', p: typeof m1.parse1 }}));\nvoid app.listen({{ port: 8080, host: '0.0.0.0' }});\n"
            ),
        );
    }
    run(Command::new("npx").args(["--yes", &format!("pnpm@{pnpm}"), "install", "--lockfile-only"]).current_dir(root));
    for args in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "many"]] {
        let identity = ["-c", "user.name=many", "-c", "user.email=many@localhost"];
        run(Command::new("git").args(identity).args(args).current_dir(root));
    }
}

/// What the peer goes by.
fn write_peer(root: &Path, services: &[String], pnpm: &str) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
    let read = |file: &str| std::fs::read_to_string(repository.join("bench").join(file)).expect("the peer is there");
    write(&root.join("Dockerfile.usual"), &usual(&read("Dockerfile.usual"), services, pnpm));
    let quoted: Vec<String> = services.iter().map(|service| format!("{service:?}")).collect();
    let bake = read("docker-bake.hcl").replace(r#"["api", "scheduler", "web", "worker"]"#, &format!("[{}]", quoted.join(", ")));
    write(&root.join("docker-bake.hcl"), &bake.replace("bench/Dockerfile.usual", "Dockerfile.usual"));
}

fn write(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("folders can be made");
    std::fs::write(file, text).expect("files can be written");
}

/// The peer's Dockerfile, for these services.
fn usual(own: &str, services: &[String], pnpm: &str) -> String {
    let head = &own[..own.find("FROM service AS api").expect("a section for each service")];
    let head = head.replace("api scheduler web worker", &services.join(" ")).replace("@monorepo/", "@many/");
    // This workspace has no configuration of its own at the root.
    let mut text = head
        .replace(" tsconfig.json tsconfig.base.json", " tsconfig.base.json")
        .replace("pnpm@10.34.9", &format!("pnpm@{pnpm}"))
        .replace("CMD [\"node\", \"dist/main.js\"]", "CMD [\"node\", \"dist/index.js\"]");
    for service in services {
        let _ = writeln!(text, "FROM service AS {service}\nCOPY --from=build /prod/{service} /app\n");
    }
    text
}
