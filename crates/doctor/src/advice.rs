//! What Dockerfiles of the repository's own could have that those of `init` do: installs that an edit leaves alone, a store that is kept,
//! layers that stand by themselves. Each is said once for a Dockerfile, with its lines; nothing of it is needed.

use monoship_core::collect::Collect as _;
use monoship_workspace::dockerfile::{Dockerfile, Instruction, Stage};

use super::{Finding, Monorepo};

pub(super) fn check(monorepo: &Monorepo) -> Vec<Finding> {
    monorepo.own.iter().flat_map(|(path, dockerfile)| of(path, dockerfile)).into_vec()
}

fn of(path: &str, dockerfile: &Dockerfile) -> Vec<Finding> {
    let stages = dockerfile.stages();
    let all = || stages.iter().flat_map(Stage::instructions);
    let place = |lines: &[usize]| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).into_vec();
        format!("{path}:{}", lines.join(", "))
    };
    let mut found = Vec::new();
    let late: Vec<usize> = stages.iter().filter_map(|stage| whole_before_install(stage.instructions())).into_vec();
    if !late.is_empty() {
        let what = format!("{} copies everything before an install: any edit installs anew", place(&late));
        let fix = "in front of it: `COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./` and `RUN pnpm fetch`; then `pnpm install --offline`";
        found.push(Finding::note("copies-before-install", what, fix));
    }
    let bare: Vec<usize> = all().filter(|one| installs(one) && !is_cached(one)).map(|one| one.line).into_vec();
    if !bare.is_empty() {
        let what =
            format!("{} installs without a store that is kept: each change of the lock downloads everything", place(&bare));
        let fix =
            "`RUN --mount=type=cache,id=pnpm-store,target=/pnpm/store pnpm install --frozen-lockfile --store-dir /pnpm/store`";
        found.push(Finding::note("install-without-cache-mount", what, fix));
    }
    let modules: Vec<usize> = all().filter(|one| copies_modules(one)).map(|one| one.line).into_vec();
    if !modules.is_empty() {
        let what = format!("{} copies a node_modules of the machine's, made for another system", place(&modules));
        found.push(Finding::warning("copies-node-modules", what, "take the line out, and install in the image"));
    }
    let last = stages.last().map(Stage::instructions).unwrap_or_default();
    let is_bound = |one: &&Instruction| one.keyword == "COPY" && has(one, "--from") && !has(one, "--link");
    let bound: Vec<usize> = last.iter().filter(is_bound).map(|one| one.line).into_vec();
    if !bound.is_empty() {
        let what =
            format!("{} copies what waits for the lines above: their change writes it, and pushes it, anew", place(&bound));
        found.push(Finding::note("copy-without-link", what, "`COPY --link --from=…`, with numbers in `--chown`"));
    }
    let open: Vec<usize> = stages.iter().filter(|stage| floats(stage, dockerfile)).map(Stage::line).into_vec();
    if !open.is_empty() {
        let what = format!("{} names a base without a version: an update may bring another major one", place(&open));
        found.push(Finding::note("base-without-version", what, "name one: `FROM node:24-bookworm-slim`"));
    }
    let newest: Vec<usize> = all().filter(|one| one.keyword == "RUN" && takes_newest(&one.args)).map(|one| one.line).into_vec();
    if !newest.is_empty() {
        let what =
            format!("{} installs whichever pnpm is the newest: a later build may get one that refuses the lock", place(&newest));
        let fix = "`RUN corepack enable`, which takes the one of `packageManager`, or name its version: `npm install -g pnpm@…`";
        found.push(Finding::note("pnpm-without-version", what, fix));
    }
    if let Some(line) = fetched_at_start(stages) {
        let what = format!("{path}:{line} starts pnpm, which corepack downloads then, each time: the image does not hold it");
        let fix = "above it, below `USER`: `RUN corepack prepare pnpm@… --activate`; or start `node` itself";
        found.push(Finding::note("pnpm-fetched-at-start", what, fix));
    }
    found
}

/// The line that starts an image by pnpm where the image has corepack's word for it alone. What corepack fetched is in a user's home, and of no
/// use to another user.
fn fetched_at_start(stages: &[Stage]) -> Option<usize> {
    let mut lineage: Vec<&Stage> = stages.last().into_iter().into_vec();
    while let Some(parent) = lineage.last().and_then(|stage| stages.iter().find(|one| one.name() == Some(stage.base()))) {
        if parent.line() >= lineage.last()?.line() {
            break;
        }
        lineage.push(parent);
    }
    let (mut is_enabled, mut is_held, mut is_shared, mut start) = (false, false, false, None);
    for one in lineage.into_iter().rev().flat_map(Stage::instructions) {
        let commands = one.args.split(['&', ';', '\n']).map(|command| command.split_whitespace().into_vec());
        match one.keyword.as_str() {
            "ENV" => is_shared |= one.args.contains("COREPACK_HOME"),
            "USER" => is_held &= is_shared,
            "CMD" | "ENTRYPOINT" => start = Some(one),
            "RUN" => commands.for_each(|words| match words[..] {
                ["corepack", "enable", ..] => is_enabled = true,
                ["corepack", "prepare" | "install" | "use", ..] | ["pnpm", ..] => is_held = true,
                // A pnpm of its own, which every user has.
                ["npm", ..] if words.iter().any(|word| word.starts_with("pnpm")) => (is_held, is_shared) = (true, true),
                _ => {}
            }),
            _ => {}
        }
    }
    let by_pnpm = |one: &&Instruction| one.args.trim_start_matches(['[', '"', ' ']).starts_with("pnpm");
    start.filter(by_pnpm).filter(|_| is_enabled && !is_held).map(|one| one.line)
}

/// True where a command installs pnpm by its name alone, or as its latest one.
fn takes_newest(args: &str) -> bool {
    let installs = |words: &[&str]| {
        let is_global = words.iter().any(|word| ["-g", "--global"].contains(word)) && words.first() == Some(&"npm");
        (is_global || words.starts_with(&["corepack", "prepare"]))
            && words.iter().any(|word| ["pnpm", "pnpm@latest"].contains(word))
    };
    args.split("&&").any(|command| installs(&command.split_whitespace().into_vec()))
}

fn has(one: &Instruction, flag: &str) -> bool {
    one.flags.iter().any(|there| there.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

/// A COPY of the whole context in front of an install in one stage.
fn whole_before_install(instructions: &[Instruction]) -> Option<usize> {
    let is_whole = |one: &&Instruction| {
        one.keyword == "COPY" && !has(one, "--from") && matches!(one.args.split_whitespace().next(), Some("." | "./"))
    };
    let whole = instructions.iter().find(is_whole)?;
    let first = instructions.iter().find(|one| installs(one) || (one.keyword == "RUN" && one.args.contains("pnpm fetch")))?;
    (whole.line < first.line).then_some(whole.line)
}

fn installs(one: &Instruction) -> bool {
    let calls = ["pnpm install", "pnpm i ", "npm ci", "npm install\n", "yarn install", "pnpm fetch", "pnpm deploy"];
    one.keyword == "RUN" && calls.iter().any(|call| format!("{}\n", one.args).contains(call)) && !one.args.contains("install -g")
}

fn is_cached(one: &Instruction) -> bool {
    one.flags.iter().any(|flag| flag.starts_with("--mount=") && flag.contains("type=cache"))
}

fn copies_modules(one: &Instruction) -> bool {
    let sources = one.args.split_whitespace().rev().skip(1);
    one.keyword == "COPY"
        && !has(one, "--from")
        && sources.into_iter().any(|word| word.trim_end_matches('/').ends_with("node_modules"))
}

/// True for a base of another's without a tag, or with one that moves.
fn floats(stage: &Stage, dockerfile: &Dockerfile) -> bool {
    let base = stage.base();
    let name = base.rsplit('/').next().unwrap_or(base);
    let tag = name.split_once(':').map_or("latest", |(_, tag)| tag);
    let is_stage = dockerfile.targets().any(|target| target == base);
    !is_stage && base != "scratch" && !base.contains(['@', '$']) && !tag.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_with_its_lines() {
        let codes = |text: &str| {
            let dockerfile = Dockerfile::parse("Dockerfile".as_ref(), text).unwrap();
            of("apps/a/Dockerfile", &dockerfile)
                .into_iter()
                .map(|finding| format!("{} {}", finding.code, finding.what))
                .collect::<Vec<_>>()
        };
        let found = codes(
            "FROM node:alpine AS build\nRUN npm install -g pnpm\nCOPY . .\nCOPY apps/web/node_modules ./x\nRUN pnpm install\nFROM build AS other\nRUN pnpm i --prod\n\
             FROM node:24\nCOPY --from=build /app /app\nCOPY --link --from=other /b /b\n",
        );
        let starts = [
            "copies-before-install apps/a/Dockerfile:3 copies",
            "install-without-cache-mount apps/a/Dockerfile:5, 7 installs",
            "copies-node-modules apps/a/Dockerfile:4 copies",
            "copy-without-link apps/a/Dockerfile:9 copies",
            "base-without-version apps/a/Dockerfile:1 names",
            "pnpm-without-version apps/a/Dockerfile:2 installs",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        assert!(found.iter().zip(starts).all(|(found, start)| found.starts_with(start)), "{found:?}");
        let good = "FROM node:24-bookworm-slim AS build\nCOPY package.json pnpm-lock.yaml ./\nRUN --mount=type=cache,target=/pnpm/store pnpm fetch\nCOPY . .\n\
                    RUN --mount=type=cache,target=/pnpm/store pnpm install --offline\nFROM scratch\nCOPY --link --from=build /app /app\n";
        assert_eq!(codes(good), Vec::<String>::new());
        let started = |lines: &str| {
            let text = format!("FROM node:24 AS base\nRUN corepack enable\nFROM base\n{lines}CMD [\"pnpm\", \"start\"]\n");
            codes(&text).iter().any(|found| found.starts_with("pnpm-fetched-at-start"))
        };
        assert!(
            started("") && started("RUN pnpm -v\nUSER node\n") && started("RUN corepack prepare pnpm@10 --activate\nUSER node\n")
        );
        assert!(!started("RUN pnpm -v\n") && !started("USER node\nRUN corepack prepare pnpm@10 --activate\n"));
        assert!(
            !started("RUN npm install -g pnpm@10\nUSER node\n") && !started("ENV COREPACK_HOME=/c\nRUN pnpm -v\nUSER node\n")
        );
        let newest = ["npm i -g turbo pnpm", "corepack enable && corepack prepare pnpm@latest --activate"];
        assert!(newest.into_iter().all(takes_newest));
        let others = ["npm install -g pnpm@9", "corepack prepare pnpm@10.1.0 --activate", "npm install -g turbo && pnpm install"];
        assert!(!others.into_iter().any(takes_newest));
    }
}
