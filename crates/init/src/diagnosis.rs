//! What the output of a failed first build, or of a service that ends at its start, means, and which line fixes it.

use monoship_core::collect::Collect as _;
use monoship_core::sorted::Order as _;
use monoship_core::text::clean;

/// A cause that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// What fixes it.
    pub fix: String,
}

const GIVE_VARIABLES: &str = "for the build: a line `NAME=value` in `.env.example`, then `init --refresh`, or an `ARG`; for the service: give it where it is run";

/// What says so, what it means, and what fixes it; `{}` is the line that says it.
const KNOWN: [(&[&str], &str, &str); 33] = [
    (
        &[
            "gyp ERR! find Python",
            "not found: make",
            "make: not found",
            "g++: not found",
            "No such file or directory: 'make'",
            "Could not find any Visual Studio",
        ],
        "a dependency is compiled at install, and the stage has no compiler",
        "in the Dockerfile: `FROM node:24-bookworm AS base` (the image that is not slim); leave `runtime` slim",
    ),
    (
        &["spawn git ENOENT", "git: not found", "git: command not found"],
        "the build calls git, which its image does not have",
        "in the Dockerfile, under `FROM … AS base`: `RUN apt-get update && apt-get install --yes --no-install-recommends git`",
    ),
    (
        &[
            "@prisma/client did not initialize",
            ".prisma/client/default",
            "PrismaClient is unable to be run",
            "has no exported member 'PrismaClient'",
        ],
        "Prisma's client was not generated",
        "a `postinstall` or `build` script with `prisma generate`, in the package that has the schema",
    ),
    (
        &["binaries.prisma.sh"],
        "Prisma downloads its engines, and their server was not reached",
        "build where binaries.prisma.sh can be reached, set `PRISMA_ENGINES_MIRROR`, or need no engine: `engineType = \"client\"` and a driver adapter in the schema",
    ),
    (
        &["fonts.googleapis.com", "Failed to fetch `"],
        "the build downloads fonts, and their server was not reached",
        "build where it can be reached, or use `next/font/local`",
    ),
    (
        &[
            "Invalid environment variables",
            "Missing required environment variable",
            "Environment variable not found",
            "Missing environment variable",
            "Cannot resolve environment variable",
            // Nest's ConfigModule, fastify-env.
            "Config validation error",
            "env must have required property",
        ],
        "the build, or the service, wants variables that it is not given{names}",
        GIVE_VARIABLES,
    ),
    (
        // zod, of whatever it is given: only with names of variables below.
        &MISSING,
        "the build, or the service, wants variables that it is not given{names}",
        GIVE_VARIABLES,
    ),
    (
        &UNFIT,
        "variables do not hold what the build, or the service, wants{names}",
        "a value that fits in `.env.example`, or where it is run",
    ),
    (
        // `JWT_SECRET must be longer than or equal to 32 characters`
        &REFUSED,
        "variables do not hold what the build, or the service, wants{names}",
        "a value that fits in `.env.example`, or where it is run",
    ),
    (
        // `API_KEY is required.`
        &[REQUIRED],
        "the build, or the service, wants variables that it is not given{names}",
        GIVE_VARIABLES,
    ),
    (&ABSENT, "the build, or the service, wants variables that it is not given{names}", GIVE_VARIABLES),
    (
        &["heap out of memory", "exit code: 137"],
        "it ran out of memory",
        "`ENV NODE_OPTIONS=--max-old-space-size=4096` in the build stage, or `memory = \"4GB\"` under its [[service]], so that fewer builds run beside it",
    ),
    (
        &["The lockfileVersion of", "ERR_PNPM_LOCKFILE_BREAKING_CHANGE", "ERR_PNPM_BROKEN_LOCKFILE"],
        "the pnpm that the build takes does not read this pnpm-lock.yaml",
        "pin the one that wrote it in package.json (`corepack use pnpm@9`), and take it in the Dockerfile: `RUN corepack enable`",
    ),
    (
        &["ERR_PNPM_BAD_CONFIG_DEP"],
        "the pnpm that the build takes looks for the one of `packageManager`, and does not find it",
        "take that one from the start: `RUN corepack enable` in the Dockerfile, or `npm install -g pnpm@…` with its version",
    ),
    (&["ERR_PNPM_OUTDATED_LOCKFILE"], "pnpm-lock.yaml is older than a package.json", "`pnpm install`, and commit the lock"),
    (
        &["ERR_PNPM_FETCH_401", "ERR_PNPM_FETCH_403", "E401"],
        "a registry wants a token",
        "`secrets = [\"id=NPM_TOKEN,env=NPM_TOKEN\"]` in xtask.toml, the variable, and the mount in the Dockerfile (`init` writes both where .npmrc has `${NPM_TOKEN}`)",
    ),
    (
        &["ERR_PNPM_FETCH_404"],
        "the registry does not have a package of the lock: {}",
        "if it was withdrawn, `pnpm update` it, and commit the lock; if it is another registry's, name that in .npmrc (`@scope:registry=https://…`)",
    ),
    (
        &["ERR_PNPM_GLOBAL_BIN_DIR_NOT_IN_PATH"],
        "this pnpm puts global commands where PATH does not lead",
        "pnpm 11 and later put them into $PNPM_HOME/bin: `ENV PATH=\"$PNPM_HOME/bin:$PNPM_HOME:$PATH\"`; if the Dockerfile takes whichever pnpm is the newest, have it take the one that the repository was written with",
    ),
    (
        &["ERR_PNPM_IGNORED_BUILDS"],
        "pnpm does not run a dependency's install script that nobody allowed",
        "allow it in pnpm-workspace.yaml: `allowBuilds: {name: true}`, before pnpm 11 `onlyBuiltDependencies: [name]`; if the Dockerfile takes whichever pnpm is the newest, have it take the one that the repository was written with",
    ),
    (
        &["ERR_PNPM_RECURSIVE_EXEC_FIRST_FAIL", "ERR_PNPM_NO_SCRIPT", "ERR_PNPM_RECURSIVE_RUN_NO_SCRIPT"],
        "a script calls another one that is not there: {}",
        "see whether the package has it; the root's own (`pnpm -w run …`) are in no image: call what they call, `node ../../scripts/….mjs`",
    ),
    (
        &["SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate"],
        "the step does not know the certificate authority of this network",
        "name its file in NODE_EXTRA_CA_CERTS: the embedded engine, started anew, gives it to every step; for another engine the Dockerfile has to ask: `RUN --mount=type=secret,id=ca NODE_EXTRA_CA_CERTS=/run/secrets/ca …` (docs/engine.md of the library)",
    ),
    (
        &["No compatible signature found in package metadata"],
        "the registry that this network reaches gives no signatures, and corepack takes no package manager without one",
        "name its hash, which stands for a signature: `corepack use pnpm@…` writes it into `packageManager` (`pnpm@10.15.0+sha512.…`)",
    ),
    (
        &["Cannot find matching keyid"],
        "this image's corepack is older than the key that npm signs with now",
        "`RUN npm install --global corepack@latest` before `corepack enable`, or a newer Node",
    ),
    (
        &["failed to resolve source metadata"],
        "an image that the Dockerfile names, or its `# syntax=` line, was not had: {}",
        "build where its registry can be reached, or see whether the name is right; `init --new-dockerfile` writes a Dockerfile on node alone",
    ),
    (
        &["Error when performing the request to"],
        "corepack did not reach the registry: {}",
        "build where it can be reached; if this network has a certificate authority of its own, see docs/engine.md of the library for how a step gets it",
    ),
    (
        &["error TS2307"],
        "TypeScript does not find a module: {}",
        "see whether git has it: what it has not, no build sees; a package belongs into package.json, a file outside of the packages into `include = [\"…\"]` under its [[service]]",
    ),
    (
        &["MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND", "Cannot find package", "Cannot find module"],
        "a module is not there: {}",
        "a package that runs needs it in `dependencies`; a file outside of the packages in `include = [\"…\"]` under its [[service]]",
    ),
    (
        &["manifest invalid", "unsupported media type application/vnd.oci", "unsupported manifest media type"],
        "the registry does not take an image of this kind: {}",
        "an older one takes no index, which attestations make of an image: `provenance = false` and `sbom = false` under [attest] in xtask.toml; and layers are packed with zstd, which is in OCI image-spec 1.1",
    ),
    (
        &["EACCES: permission denied"],
        "its user may not write there: {}",
        "in the Dockerfile, before `USER`: `RUN mkdir -p …` and `chown` of that folder; or a volume there that the user may write",
    ),
    (
        &["failed to calculate checksum of ref"],
        "what it copies is not there: {}",
        "see whether git has it, and whether .dockerignore leaves it out; of another stage, whether a step there makes it",
    ),
    (
        &["ENOENT: no such file or directory"],
        "a file is not there: {}",
        "see whether git has it, and whether .dockerignore leaves it out; outside of the packages name it in `include = [\"…\"]` under its [[service]]; what lies beside sources `tsc` does not copy: let the build script",
    ),
    (
        &[": not found", "command not found"],
        "a program is not there: {}",
        "a development dependency of the package, or of the root, that has it",
    ),
    (
        &["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT"],
        "a server was not reached: {}",
        "a build should need none but registries; a service needs what it connects to",
    ),
];

/// What zod says of a value that is not there, or not of the kind: as JSON, and as Node prints it.
const MISSING: [&str; 2] = ["\"code\": \"invalid_type\"", "code: 'invalid_type'"];
/// What zod says of one that does not fit.
const UNFIT: [&str; 2] = ["\"code\": \"too_small\"", "code: 'too_small'"];
const REQUIRED: &str = " is required";
/// What a list of zod's findings says behind the name of one that is not there, of its third version and its fourth.
const ABSENT: [&str; 2] = [": Required", ": Invalid input: expected "];
/// What class-validator says behind a variable's name.
const REFUSED: [&str; 3] = [" must be ", " must match ", " should not be "];

/// The causes that an output shows, the first that stands in it first; an output may show several.
#[must_use]
pub fn of(output: &str) -> Vec<Finding> {
    // Colours stand within what is looked for.
    let output = &output.lines().map(clean).into_vec().join("\n");
    let mut found: Vec<(usize, Finding)> = Vec::new();
    for (signs, what, fix) in KNOWN {
        // A step that another one's failure stopped says nothing; nor does what pnpm tries again, and names as an error if it gives up, or
        // Node's own line that throws.
        let is_cause = |line: &str| !["context canceled", "Will retry in", "throw new ERR_"].iter().any(|no| line.contains(no));
        let says = |line: &str| signs.iter().any(|sign| line.contains(sign)) && is_cause(line);
        // The source that an error comes from stands above it, and names no variable.
        let must_name = [&MISSING[..], &UNFIT, &ABSENT, &REFUSED, &[REQUIRED]].contains(&signs);
        let mut said = output.lines().enumerate().filter(|(_, line)| says(line)).map(|(line, whole)| {
            let names = match signs {
                [REQUIRED] => variables(whole, 0),
                _ if signs == REFUSED || signs == ABSENT => variables(&before(whole, signs), 0),
                _ => variables(output, line),
            };
            (line, whole, names)
        });
        let Some((line, whole, names)) = said.find(|(.., names)| !must_name || !names.is_empty()) else { continue };
        // The more exact ones stand before the others.
        if found.iter().any(|(there, _)| *there == line) {
            continue;
        }
        let text = whole.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c.is_whitespace()).trim();
        let text = if text.starts_with('{') { quoted(text, signs) } else { text };
        // Of a step that failed, the step: BuildKit's own words follow it.
        let text: String = text.split(" … failed: ").next().unwrap_or(text).chars().take(160).collect();
        let what = what.replace("{}", &text);
        let what = what.replace("{names}", &names);
        found.push((line, Finding { what, fix: fix.to_owned() }));
    }
    found.order_by_key(|(line, _)| *line);
    let mut found: Vec<Finding> = found.into_iter().map(|(_, finding)| finding).into_vec();
    found.truncate(3);
    found
}

/// The words that stand right before one of these signs.
fn before(line: &str, signs: &[&str]) -> String {
    let ends = signs.iter().flat_map(|sign| line.match_indices(sign)).map(|(at, _)| at);
    let word = |at: usize| line[..at].rsplit(|c: char| c.is_whitespace() || "\"'`".contains(c)).next().unwrap_or_default();
    ends.map(word).into_vec().join(" ")
}

/// Of a line of JSON, as servers log, the text that has one of these signs.
fn quoted<'t>(line: &'t str, signs: &[&str]) -> &'t str {
    let Some(at) = signs.iter().find_map(|sign| line.find(sign)) else { return line };
    let from = line[..at].rfind('"').map_or(0, |quote| quote + 1);
    let length = line[from..].find(['"', '\\']).unwrap_or(line.len() - from);
    &line[from..from + length]
}

/// The variables that a line of an output and those below it name, as far as names of several words are told from other capitals.
fn variables(output: &str, line: usize) -> String {
    // Zod's own list, printed, has seven lines for each.
    const BELOW: usize = 60;
    const MOST: usize = 8;
    let lines = || output.lines().skip(line).take(BELOW);
    let words = lines().flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
    let is_name = |word: &&str| {
        word.contains('_')
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && !word.starts_with("ERR_")
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    // zod's own words say which is one, of however many words it is.
    let said = lines().filter_map(|line| Some(line.split_once("→ at ")?.1.trim()));
    let mut names: Vec<&str> = Vec::new();
    said.chain(words.filter(is_name)).for_each(|word| {
        if !names.contains(&word) {
            names.push(word);
        }
    });
    let more = if names.len() > MOST { ", …" } else { "" };
    names.truncate(MOST);
    if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_first_builds_fail_with_is_known_with_what_mends_it() {
        let first = |text: &str| of(text).first().map(|finding| finding.what.clone()).unwrap_or_default();
        assert!(first("12.3 gyp ERR! find Python \n").contains("no compiler"));
        assert!(
            first("Error: @prisma/client did not initialize yet. Please run \"prisma generate\"").contains("Prisma's client")
        );
        assert!(
            first("ERROR: failed to solve: failed to push r.io/a:1: unknown: manifest invalid")
                .contains("does not take an image")
        );
        assert_eq!(first("  3.1 sh: 1: tsc: not found"), "a program is not there: sh: 1: tsc: not found");
        assert!(first("❌ Invalid environment variables: { DATABASE_URL: ['Required'] }").ends_with("not given: DATABASE_URL"));
        assert!(first("Invalid environment variables:\n  × Invalid input\n    → at DB_URL\n  × Invalid input\n    → at DB_HOST\n    → at DB_URL\n").ends_with("not given: DB_URL, DB_HOST"));
        assert!(first("Error: Config validation error: \"REDIS_HOST\" is required.").ends_with("not given: REDIS_HOST"));
        assert!(
            first(" \u{1b}[33mMissing\u{1b}[0m environment variables:\n  \u{1b}[34mAPP_ORIGIN\u{1b}[0m: undefined")
                .ends_with(": APP_ORIGIN")
        );
        assert!(first("Environment variable not found: port").ends_with("not given"));
        assert!(first("ERROR: Invalid environment variables\n✖ Invalid input\n  → at PORT\n").ends_with("not given: PORT"));
        let zod =
            |name: &str| format!("ZodError: [\n  {{\n    \"code\": \"invalid_type\",\n    \"path\": [\n      \"{name}\"\n    ],");
        assert!(first(&zod("REDIS_URL")).ends_with("not given: REDIS_URL") && of(&zod("title")).is_empty());
        let item = |name: &str| {
            format!(
                "  {{\n    \"expected\": \"string\",\n    \"code\": \"invalid_type\",\n    \"path\": [\n      \"{name}\"\n    ],\n    \"message\": \"Invalid input\"\n  }},\n"
            )
        };
        let many = first(&["CLIENT_ID", "BOT_TOKEN", "GCP_KEY", "GCP_EMAIL", "GCP_PROJECT"].map(item).concat());
        assert!(many.ends_with("BOT_TOKEN, GCP_KEY, GCP_EMAIL, GCP_PROJECT"), "{many}");
        let printed = "ZodError: {\n  code: 'too_small',\n  path: [ 'JWT_SECRET' ]\n";
        assert_eq!(first(printed), "variables do not hold what the build, or the service, wants: JWT_SECRET");
        assert!(
            first("MASTER_KEY is required. Set it").ends_with("not given: MASTER_KEY") && of("a name is required").is_empty()
        );
        let thrown = "src/config.ts:155\n  throw new Error(`${key} is required.`);\n        ^\nError: AUTH_URL is required.\n";
        assert!(first(thrown).ends_with("not given: AUTH_URL"), "{}", first(thrown));
        let listed = r#"{"msg":"invalid environment — AUTH_SECRET: Required; API_KEY: Required","stack":"Error: …"}"#;
        assert!(first(listed).ends_with("not given: AUTH_SECRET, API_KEY") && of("name: Required").is_empty());
        assert!(first("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory").contains("memory"));
        assert!(first("npm error code SELF_SIGNED_CERT_IN_CHAIN\nnpm error errno ENOTFOUND").contains("certificate authority"));
        let refused = first("throw new Error(`No compatible signature found in package metadata`);\nNode.js v24");
        assert!(refused.contains("corepack") && refused.contains("signatures"), "{refused}");
        assert!(first("Error: Cannot find matching keyid: {\"signatures\":[]}").contains("older than the key"));
        assert!(first("Error: Cannot find module '../../shared/x.js'").contains("../../shared/x.js"));
        assert_eq!(of("sh: 1: git: not found")[0].what, "the build calls git, which its image does not have");
        let root = "9.00    ERR_PNPM_RECURSIVE_EXEC_FIRST_FAIL  Command \"gen\" not found";
        assert!(of(root)[0].what.ends_with("Command \"gen\" not found") && of(root)[0].fix.contains("`pnpm -w run …`"));
        let thrown = "    throw new ERR_MODULE_NOT_FOUND(packageName, fileURLToPath(base), null);\nError [ERR_MODULE_NOT_FOUND]: Cannot find package 'ms' imported from /app/a.mjs";
        assert!(first(thrown).contains("Cannot find package 'ms'"));
        let again = "WARN  GET https://npm.example/x.tgz error (EAI_AGAIN). Will retry in 2 seconds. 6 retries left.\nError: ENOENT: no such file or directory, open 'a.json'\n";
        assert!(of(again)[0].what.starts_with("a file is not there: Error: ENOENT") && of(again).len() == 1);
        let gone = "  ERR_PNPM_FETCH_404  GET https://npm.example/@acme/kit/-/kit-0.0.2.tgz: Not Found - 404";
        assert!(of(gone)[0].what.ends_with("@acme/kit/-/kit-0.0.2.tgz: Not Found - 404"));
        let image = of(
            "ERROR: failed to resolve source metadata for docker.io/docker/dockerfile:1: docker.io/docker/dockerfile:1: not found",
        );
        assert!(image.len() == 1 && image[0].what.starts_with("an image"), "{image:?}");
        let copied = of(
            "9.7 [run 4/4] COPY --from=build /app/public public … failed: failed to calculate checksum of ref a::b: \"/app/public\": not found",
        );
        assert!(
            copied.len() == 1 && copied[0].what.ends_with("not there: [run 4/4] COPY --from=build /app/public public"),
            "{copied:?}"
        );
        assert!(first("index.ts(1,2): error TS2307: Cannot find module './a'").starts_with("TypeScript does not find"));
        assert!(
            first("Internal Error: Error when performing the request to https://npm.example/pnpm; see").starts_with("corepack")
        );
        let logged =
            r#"{"level":60,"err":{"message":"connect ECONNREFUSED 127.0.0.1:5432","stack":"Error: connect ECONNREFUSED"}}"#;
        assert_eq!(first(logged), "a server was not reached: connect ECONNREFUSED 127.0.0.1:5432");
        let newer =
            "  Error: ERR_PNPM_BROKEN_LOCKFILE\n  ╰─▶ The lockfile is broken: The\n  lockfileVersion of 6.0 is incompatible";
        assert!(first(newer).contains("does not read this pnpm-lock.yaml") && of(newer).len() == 1, "{:?}", of(newer));
        assert!(first("Error: EACCES: permission denied, mkdir './data'").ends_with("permission denied, mkdir './data'"));
        let unfit = "{\"isNotIn\":\"APP_SECRET should not be one of the following values: REPLACE_WITH_LONG_SECRET\",\"minLength\":\"APP_SECRET must be longer than or equal to 32 characters\"}";
        assert!(first(unfit).ends_with("wants: APP_SECRET"), "{}", first(unfit));
        assert!(of("the path must be absolute\nit should not be so").is_empty());
        let fix = |text: &str| of(text)[0].fix.clone();
        assert!(fix("  Error: ERR_PNPM_IGNORED_BUILDS\n\n  × installing dependencies").contains("`allowBuilds: {name: true}`"));
        assert!(fix("  Error: ERR_PNPM_GLOBAL_BIN_DIR_NOT_IN_PATH\n").contains("$PNPM_HOME/bin"));
        assert!(first("Error: ERR_PNPM_BAD_CONFIG_DEP").contains("the one of `packageManager`"));
        assert!(of("all went well").is_empty() && of("failed: exit code: 137: context canceled").is_empty());
    }
}
