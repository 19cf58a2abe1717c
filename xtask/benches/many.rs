//! How the cost grows with the number of services: `cargo bench --bench many [-- SCENARIO…] [--services N] [--runs N]`.
//!
//! Scenarios: `cold` (an engine that has nothing, downloads included), `shared` (a package that all services need is edited), `one` (one
//! service is edited), `growth` (the cold build of 4, 8, 16 and 32 services). A workspace of N services over eight packages that need each
//! other in a chain is made anew and given what `xtask init` writes; its peer is `docker buildx bake` on the usual Dockerfile. The exit code
//! is 1 where a bar is missed.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts its contenders itself and reads the machine's environment")]

mod engine;
mod measure;

use std::cell::Cell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use engine::{BUILDX, Engine, run};
use measure::{Contender, at_most, side_by_side, verdict};

/// How many packages every service needs, by way of each other.
const PACKAGES: usize = 8;

/// Modules of a package: enough that compiling them costs more than starting the compiler.
const MODULES: usize = 60;

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let services = number(&mut args, "--services").unwrap_or(16);
    let runs = number(&mut args, "--runs").unwrap_or(1);
    let wanted = |scenario: &str| args.is_empty() || args.iter().any(|arg| arg == scenario);
    let mut all_hold = true;
    if ["cold", "shared", "one"].into_iter().any(wanted) {
        let bench = Bench::new(services);
        all_hold &= !wanted("cold") || bench.cold(runs);
        all_hold &= !wanted("shared") || bench.edited("packages/lib1", 0.25, runs);
        all_hold &= !wanted("one") || bench.edited("apps/svc01", 0.1, runs);
    }
    if wanted("growth") {
        all_hold &= growth(runs);
    }
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes a flag and its number out of the arguments.
fn number(args: &mut Vec<String>, flag: &str) -> Option<usize> {
    let at = args.iter().position(|arg| arg == flag)?;
    let value = args.get(at + 1).and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    args.drain(at..at + 2);
    Some(value.unwrap_or_else(|| panic!("{flag} takes a number")))
}

/// Seconds for each service that is added, by the ends of the table.
fn growth(runs: usize) -> bool {
    let medians = [4, 8, 16, 32].map(|services| (services, Bench::new(services).race(runs)));
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
}

impl Bench {
    fn new(services: usize) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("many");
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("the last one can be removed");
        }
        let services: Vec<String> = (1..=services).map(|at| format!("svc{at:02}")).collect();
        write_workspace(&root, &services);
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("many-engine");
        run(Command::new(env!("CARGO_BIN_EXE_xtask")).arg("init").current_dir(&root));
        run(Command::new("git").args(["add", "--all"]).current_dir(&root));
        let engine = Engine::up(|| xtask(&root, &data));
        let bench = Self { root, data, engine, services, edits: Cell::new(0) };
        // Both start from a base image that is there.
        run(xtask(&bench.root, &bench.data).args(["cache", "warm"]));
        bench
    }

    /// An engine without images, steps and downloads.
    fn cold(&self, runs: usize) -> bool {
        let [ours, theirs] = self.race(runs);
        let mut holds = at_most(0.6, "cold, xtask build to docker buildx bake on the usual Dockerfile", ours, theirs);
        let logs = self.logs();
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
                Contender::new("xtask build", || self.build()).before(|| self.empty()),
                Contender::new("docker buildx bake, usual Dockerfile", || self.bake()).before(|| self.empty()),
            ],
        );
        [medians[0], medians[1]]
    }

    /// One line of one package.
    fn edited(&self, package: &str, most: f64, runs: usize) -> bool {
        let edit = || {
            self.edits.set(self.edits.get() + 1);
            let file = self.root.join(package).join("src/edited.ts");
            std::fs::write(file, format!("export const edit = {};\n", self.edits.get())).expect("it can be written");
        };
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

    /// What the steps of the newest run that built something printed.
    fn logs(&self) -> String {
        let runs = std::fs::read_dir(self.root.join("target/xtask/runs")).expect("there are runs").flatten();
        let newest = runs.map(|run| run.path()).filter(|run| run.join("svc01.log").exists()).max().expect("a run that built");
        let files = std::fs::read_dir(newest).expect("the run has files").flatten().map(|file| file.path());
        files
            .filter(|file| file.extension().is_some_and(|end| end == "log"))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect()
    }

    /// Removes every image that a contender made, and the build cache with all that its cache mounts hold.
    fn empty(&self) {
        let names = self.services.iter().flat_map(|service| [format!("usual/{service}:bench"), format!("local/{service}:dev")]);
        self.engine
            .client("usr/bin/docker", &self.root)
            .args(["image", "rm", "--force"])
            .args(names)
            .output()
            .expect("docker runs");
        run(self.engine.client("usr/bin/docker", &self.root).args(["image", "prune", "--all", "--force"]));
        run(self.engine.client(BUILDX, &self.root).args(["prune", "--all", "--force"]));
        let state = self.root.join("target/xtask");
        if state.exists() {
            std::fs::remove_dir_all(state).expect("our own state can be removed");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        run(xtask(&self.root, &self.data).args(["engine", "reset"]));
    }
}

fn xtask(root: &Path, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root).env("XTASK_BUILDERS_ENGINE", "embedded").env("XTASK_ENGINE_DATA", data);
    command
}

/// Services that all need the last of a chain of packages, compiled by TypeScript, with a lock of their own.
fn write_workspace(root: &Path, services: &[String]) {
    let write = |file: &str, text: &str| {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("folders can be made");
        std::fs::write(file, text).expect("files can be written");
    };
    write("package.json", r#"{"name": "many", "private": true, "packageManager": "pnpm@10.34.9", "type": "module"}"#);
    write("pnpm-workspace.yaml", "packages:\n  - apps/*\n  - packages/*\n");
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
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
    let read = |file: &str| std::fs::read_to_string(repository.join("bench").join(file)).expect("the peer is there");
    write("Dockerfile.usual", &usual(&read("Dockerfile.usual"), services));
    let quoted: Vec<String> = services.iter().map(|service| format!("{service:?}")).collect();
    let bake = read("docker-bake.hcl").replace(r#"["api", "scheduler", "web", "worker"]"#, &format!("[{}]", quoted.join(", ")));
    write("docker-bake.hcl", &bake.replace("bench/Dockerfile.usual", "Dockerfile.usual"));
    run(Command::new("npx").args(["--yes", "pnpm@10.34.9", "install", "--lockfile-only"]).current_dir(root));
    for args in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "many"]] {
        let identity = ["-c", "user.name=many", "-c", "user.email=many@localhost"];
        run(Command::new("git").args(identity).args(args).current_dir(root));
    }
}

/// The peer's Dockerfile, for these services.
fn usual(own: &str, services: &[String]) -> String {
    let head = &own[..own.find("FROM service AS api").expect("a section for each service")];
    let head = head.replace("api scheduler web worker", &services.join(" ")).replace("@monorepo/", "@many/");
    // This workspace has no configuration of its own at the root.
    let mut text = head
        .replace(" tsconfig.json tsconfig.base.json", " tsconfig.base.json")
        .replace("CMD [\"node\", \"dist/main.js\"]", "CMD [\"node\", \"dist/index.js\"]");
    for service in services {
        let _ = writeln!(text, "FROM service AS {service}\nCOPY --from=build /prod/{service} /app\n");
    }
    text
}
