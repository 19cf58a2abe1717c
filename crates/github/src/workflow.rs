//! The workflow files that `cargo xtask ci workflow` writes: triggers, permissions, concurrency and calls. What a call does is Rust,
//! not YAML. The parts lie beside this file as YAML; here they are put together, written, and compared.

mod place;

use std::path::{Path, PathBuf};

use crate::notes::diff;
use monoship_core::error::{Error, Result, write_checked_in};
use monoship_core::name::{ImageRef, Platform};
use monoship_core::stamp::stamped;

pub use place::Place;

/// How the work is spread over runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Layout {
    /// One job on one runner, all services in parallel there.
    #[default]
    Single,
    /// Plan, base, one runner a service, publish.
    Matrix,
}

/// Who signs releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// Nobody.
    Off,
    /// Whom an OpenID issuer vouches for: the job may ask for a token that names it.
    Keyless,
    /// A private key.
    Key,
}

/// Where jobs that may write take the tool from, as the command line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prebuilt {
    /// Each compiles it.
    Off,
    /// This image, by its digest.
    Image(ImageRef),
}

impl std::str::FromStr for Prebuilt {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::Image) }
    }
}

/// What the files depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The layout.
    pub layout: Layout,
    /// The default branch, whose pushes are built and pushed.
    pub branch: String,
    /// The registry's host. GHCR takes the workflow's own token; any other one the secrets `REGISTRY_USERNAME` and `REGISTRY_PASSWORD`.
    pub registry: String,
    /// Who signs releases: cosign is installed where they are published, and keyless the job may ask for a token that names it.
    pub signing: Signing,
    /// The folders that cargo needs to compile the repository's crate, from the repository's root.
    pub sources: Vec<String>,
    /// Where the workspace lies.
    pub place: Place,
    /// The name of that crate, and of cargo's alias for it.
    pub tool: String,
    /// What images are built for. Where that is several, each has a job of its own in the layout `matrix`, on a [`runner`] that has it natively.
    pub platforms: Vec<Platform>,
    /// The image that holds the compiled tool at `/<tool>`, by its digest: jobs that may write take it from there. `None` compiles it in each.
    pub prebuilt: Option<ImageRef>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            layout: Layout::Single,
            branch: "main".to_owned(),
            registry: "ghcr.io".to_owned(),
            signing: Signing::Off,
            sources: vec!["xtask".to_owned()],
            place: Place::default(),
            tool: "xtask".to_owned(),
            platforms: Vec::new(),
            prebuilt: None,
        }
    }
}

/// GitHub's runner on which a platform is built. Its images for arm64 run on machines of their own; what no machine of its has natively is
/// built where the others are, as far as its Dockerfile executes nothing of it.
#[must_use]
pub fn runner(platform: &Platform) -> &'static str {
    if platform.as_ref().starts_with("linux/arm64") { "ubuntu-24.04-arm" } else { "ubuntu-latest" }
}

/// A file and what it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// From the repository's root.
    pub path: String,
    /// The whole content.
    pub content: String,
}

/// A file that is not as it would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// From the repository's root.
    pub path: String,
    /// The difference from what is there to what would be written; `None` where nothing is there.
    pub diff: Option<String>,
    /// True where what is there was not written by this tool.
    pub foreign: bool,
}

/// The version that the files say wrote them.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A part of the first line of each file, whatever the command is called in the repository.
const HEADER: &str = " ci workflow";

/// The files, from the repository's root: the workflow, and the job that its own jobs call. GitHub looks for workflows there alone, so those of a
/// workspace in a folder have the folder's word in their names; it is empty for the root's.
#[must_use]
pub fn paths(word: &str) -> [String; 2] {
    let of = if word.is_empty() { String::new() } else { format!("-{word}") };
    ["images", "xtask"].map(|name| format!(".github/workflows/{name}{of}.yml"))
}

/// True of a file that was written for the workspace in `folder`, by its first line: two folders may come to one word.
#[must_use]
pub fn is_ours(text: &str, folder: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.contains(HEADER) && (folder.is_empty() || first.contains(&format!("`{}:", place::within(folder))))
}

/// Each action at the commit that its release's tag pointed to in the action's own repository when it was looked up.
const PINS: [(&str, &str); 8] = [
    ("%checkout%", "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"),
    ("%cache%", "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5"),
    ("%github-script%", "actions/github-script@ed597411d8f924073f98dfc5c65a23a2325f34cd # v8.0.0"),
    ("%upload%", "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0"),
    ("%download%", "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1"),
    ("%setup-buildx%", "docker/setup-buildx-action@37fe631027851001ddb9b187196cc803df7f5f0e # v4.3.0"),
    ("%cosign%", "sigstore/cosign-installer@6f9f17788090df1f26f669e9d70d6ae9567deba6 # v4.1.2"),
    ("%login%", "docker/login-action@4907a6ddec9925e35a0a9e82d7399ccc52663121 # v4.1.0"),
];

/// The files, whole. Equal options make equal bytes.
///
/// # Errors
/// A branch, registry or folder that cannot stand in YAML as it is.
pub fn generate(options: &Options) -> Result<Vec<Generated>> {
    let plain = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed) && !text.ends_with(':')
    };
    let place = &options.place;
    let places = [&place.folder, &place.cargo].into_iter().filter(|folder| !folder.is_empty());
    let folders = places.chain(&options.sources).map(|folder| ("folder", folder)).chain([("crate", &options.tool)]);
    for (what, text) in [("branch", &options.branch), ("registry", &options.registry)].into_iter().chain(folders) {
        if !plain(text) {
            return Err(Error::usage(format!("the {what} `{text}` cannot be written into a workflow"))
                .hint("letters, digits, `-`, `_`, `.`, `/` and `:` can; the first is a letter or a digit"));
        }
    }
    let (layout, jobs) = match options.layout {
        Layout::Single => ("single", include_str!("workflow/single.yml")),
        Layout::Matrix => ("matrix", include_str!("workflow/matrix.yml")),
    };
    let ghcr = options.registry == "ghcr.io";
    let (username, password) = if ghcr {
        ("${{ github.actor }}", "${{ github.token }}")
    } else {
        ("${{ secrets.username }}", "${{ secrets.password }}")
    };
    let signing: &[&str] = match options.signing {
        Signing::Off => &[],
        Signing::Keyless => &["signed", "keyless"],
        Signing::Key => &["signed"],
    };
    let secrets: &[&str] = if ghcr { &[] } else { &["secrets"] };
    let made = if options.prebuilt.is_some() { "prebuilt" } else { "compiled" };
    let native = options.layout == Layout::Matrix && options.platforms.len() > 1;
    let by = if native { "native" } else { "whole" };
    let sections: Vec<&str> = [&[layout, made, by][..], signing, secrets, &place.sections()].concat();
    let prebuilt = options.prebuilt.as_ref().map(by_digest).transpose()?.unwrap_or_default();
    let [workflow, job] = paths(&place.word);
    let job_file = job.rsplit('/').next().unwrap_or_default().to_owned();
    let files = [
        (workflow, [include_str!("workflow/head.yml"), jobs, include_str!("workflow/tail.yml")].concat()),
        (job, include_str!("workflow/job.yml").to_owned()),
    ];
    let checked =
        options.platforms.iter().map(|platform| format!("- {{ platform: {platform}, runner: {} }}\n", runner(platform)));
    let checked: String = checked.collect();
    let call = only(include_str!("workflow/call.yml"), &sections);
    let filled = |text: &str| {
        let folders = place.checked_out(&options.sources).join("\n") + "\n";
        let text = indented(&indented(&only(text, &sections), "%call%", &call), "%folders%", &folders);
        let text = indented(&indented(&text, "%checked%", &checked), "%compiled%", &place.compiled())
            .replace("cargo xtask ", &format!("cargo {} ", options.tool))
            .replace("%platform%", if native { "${PLATFORM:+--platform \"$PLATFORM\"} " } else { "" })
            .replace("%tool%", &options.tool)
            .replace("%prebuilt%", &prebuilt)
            .replace("%layout%", layout)
            .replace("%job%", &job_file)
            .replace("%sources%", &place.relative_to_cargo(&options.sources).join(" "))
            .replace("%hashed%", &place.hashed(&options.sources).join(", "))
            .replace("%branch%", &quoted(&options.branch))
            .replace("%registry%", &quoted(&options.registry))
            .replace("%username%", username)
            .replace("%password%", password);
        let text = place.named(&text);
        PINS.iter().fold(text, |text, (mark, pin)| text.replace(mark, pin))
    };
    Ok(files.map(|(path, text)| Generated { path, content: stamped(&filled(&text), 1, VERSION) }).into())
}

/// The image as it stands in the file: a tag would say nothing of what runs.
fn by_digest(image: &ImageRef) -> Result<String> {
    if image.digest().is_none() {
        return Err(Error::usage(format!("the prebuilt tool {image} is not named by its digest"))
            .hint("`docker buildx imagetools inspect` shows it: name@sha256:…"));
    }
    Ok(image.to_string())
}

/// Leaves out what stands between `%begin NAME%` and its `%end%` of a section that is not asked for. Sections may lie in one another.
fn only(text: &str, sections: &[&str]) -> String {
    let mut made = String::new();
    let mut open = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.trim().strip_prefix("%begin ").and_then(|name| name.strip_suffix('%')) {
            Some(name) => open.push(sections.contains(&name)),
            None if line.trim() == "%end%" => drop(open.pop()),
            None if open.iter().all(|wanted| *wanted) => made.push_str(line),
            None => {}
        }
    }
    made
}

/// Text that YAML could take for a number, or with a colon, in quotes; words as they are. `plain` has kept quotes out.
fn quoted(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains(':');
    let keyword =
        matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if word && !keyword { text.to_owned() } else { format!("\"{text}\"") }
}

/// Replaces a line that is only `mark` by `block`, each of its lines indented as the mark was.
fn indented(text: &str, mark: &str, block: &str) -> String {
    let mut made = String::new();
    for line in text.split_inclusive('\n') {
        if line.trim() == mark {
            let indent = &line[..line.len() - line.trim_start().len()];
            for part in block.split_inclusive('\n') {
                made.push_str(indent);
                made.push_str(part);
            }
        } else {
            made.push_str(line);
        }
    }
    made
}

/// Writes the files that differ below `root`, and returns their paths.
///
/// # Errors
/// As [`generate`]; a file that cannot be read or written; one that somebody else wrote, or another workspace, unless `overwrite`.
pub fn write(root: &Path, options: &Options, overwrite: bool) -> Result<Vec<PathBuf>> {
    let drifted = check(root, options)?;
    if let Some(foreign) = drifted.iter().find(|drift| drift.foreign && !overwrite) {
        let path = root.join(&foreign.path);
        if std::fs::read_to_string(&path).is_ok_and(|text| is_ours(&text, "")) {
            let folder = &options.place.folder;
            return Err(Error::usage(format!("`{}` is the workflow of another folder than {folder}/", foreign.path)).hint(
                "its first line names that one: rename one of the two, whose names differ in nothing but `/`, `-` and the like",
            ));
        }
        return Err(Error::usage(format!("`{}` was not written by this command", foreign.path))
            .hint("give it another name, or pass --overwrite to have it replaced"));
    }
    let files = generate(options)?;
    let mut written = Vec::new();
    for file in files.iter().filter(|file| drifted.iter().any(|drift| drift.path == file.path)) {
        write_checked_in(&root.join(&file.path), &file.content)?;
        written.push(PathBuf::from(&file.path));
    }
    Ok(written)
}

/// The files below `root` that are not as they would be written.
///
/// # Errors
/// As [`generate`]; a file that is there and cannot be read.
pub fn check(root: &Path, options: &Options) -> Result<Vec<Drift>> {
    let mut drifted = Vec::new();
    for file in generate(options)? {
        let path = root.join(&file.path);
        match std::fs::read(&path) {
            Ok(bytes) if bytes == file.content.as_bytes() => {}
            Ok(bytes) => {
                let there = String::from_utf8_lossy(&bytes);
                let foreign = !is_ours(&there, &options.place.folder);
                drifted.push(Drift { path: file.path, diff: Some(diff(&there, &file.content)), foreign });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                drifted.push(Drift { path: file.path, diff: None, foreign: false });
            }
            Err(error) => return Err(Error::io("read", &path, error)),
        }
    }
    Ok(drifted)
}

/// What the workflow that is there was written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its layout.
    pub layout: Layout,
    /// The branch whose pushes it builds.
    pub branch: String,
    /// The image that the tool is taken from.
    pub prebuilt: Option<ImageRef>,
}

/// What the workflow that is there was written with, by its first line and its trigger; `None` where there is none of ours. `word` is that of
/// the workspace's folder, as in [`paths`].
///
/// # Errors
/// A file that is there and cannot be read.
pub fn written(root: &Path, word: &str) -> Result<Option<Written>> {
    let [path, job] = paths(word).map(|path| root.join(path));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", &path, error)),
    };
    let first = text.lines().next().unwrap_or_default();
    let layouts = [("--layout single`", Layout::Single), ("--layout matrix`", Layout::Matrix)];
    let layout = layouts.into_iter().find(|(mark, _)| first.contains(mark)).map(|(_, layout)| layout);
    let branch = text.lines().find_map(|line| line.trim().strip_prefix("branches: [")?.strip_suffix(']'));
    let job = std::fs::read_to_string(job).unwrap_or_default();
    let prebuilt = job.lines().find_map(|line| line.trim().strip_prefix("IMAGE: ")?.parse().ok());
    Ok(layout.zip(branch).map(|(layout, branch)| Written { layout, branch: branch.trim_matches('"').to_owned(), prebuilt }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(layout: Layout) -> Options {
        Options { layout, ..Options::default() }
    }

    fn texts(options: &Options) -> String {
        generate(options).unwrap().into_iter().map(|file| file.content).collect()
    }

    #[test]
    fn every_part_is_filled_in_and_every_action_pinned_by_commit() {
        for layout in [Layout::Single, Layout::Matrix] {
            for registry in ["ghcr.io", "127.0.0.1:5000"] {
                let text = texts(&Options { registry: registry.into(), ..options(layout) });
                assert!(!text.contains('%'), "{text}");
                let uses = text.lines().filter_map(|line| line.trim_start_matches(['-', ' ']).strip_prefix("uses: "));
                for used in uses.filter(|used| !used.starts_with("./")) {
                    let (_, pin) = used.split_once('@').unwrap();
                    let (commit, version) = pin.split_once(" # v").unwrap();
                    assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) && !version.is_empty(), "{used}");
                }
            }
        }
    }

    #[test]
    fn the_reference_s_concurrency_group_and_least_permissions_are_there() {
        for layout in [Layout::Single, Layout::Matrix] {
            let text = texts(&options(layout));
            assert!(text.contains("  group: ${{ github.workflow }}-${{ github.event.release.tag_name || "));
            assert!(text.contains("\npermissions: {}\n"));
            let check = text.split("\n  check:\n").nth(1).unwrap().split("\n  upkeep:\n").next().unwrap();
            assert!(!check.contains(": write"), "{check}");
        }
    }

    #[test]
    fn only_the_job_that_publishes_may_ask_for_a_token_and_only_to_sign_keyless() {
        for (layout, job) in [(Layout::Single, "images"), (Layout::Matrix, "update-release")] {
            let text = |signing| texts(&Options { signing, ..options(layout) });
            let asks = "id-token: write # signs what is published";
            let off = text(Signing::Off);
            assert!(!off.contains("id-token") && !off.contains("cosign"), "{off}");
            let key = text(Signing::Key);
            assert!(!key.contains("id-token") && key.matches("sigstore/cosign-installer@").count() == 1, "{key}");
            let keyless = text(Signing::Keyless);
            let publishes = keyless.split(&format!("\n  {job}:\n")).nth(1).unwrap();
            assert!(
                publishes.split("\n\n").next().unwrap().contains(asks) && keyless.matches("id-token").count() == 1,
                "{keyless}"
            );
            assert_eq!(keyless.matches("sigstore/cosign-installer@").count(), 1);
        }
    }

    #[test]
    fn a_release_starts_one_run_its_promotion_another_and_a_bot_s_one_by_a_call() {
        for (layout, first) in [(Layout::Single, "images"), (Layout::Matrix, "plan")] {
            let text = texts(&options(layout));
            assert!(text.contains("    types: [published, released]\n"));
            // The `published` that a `released` follows neither runs nor stops the other's run.
            assert!(
                text.contains(
                    "${{ github.event.action == 'published' && !github.event.release.prerelease && '-published' || '' }}"
                )
            );
            let job = text.split(&format!("\n  {first}:\n")).nth(1).unwrap().lines().next().unwrap();
            assert!(job.contains("github.event.action == 'released' || github.event.release.prerelease"), "{job}");
            assert!(job.contains("if: inputs.tag || "), "{job}");
            let called = text.split("\n  workflow_call:\n").nth(1).unwrap();
            assert!(called.contains("\n      tag:\n") && text.contains(r#"${TAG:+--tag "$TAG"}"#), "{text}");
        }
    }

    #[test]
    fn no_run_line_takes_an_expression_that_someone_else_could_have_written() {
        for layout in [Layout::Single, Layout::Matrix] {
            let text = texts(&options(layout));
            let runs: Vec<&str> = text.lines().filter(|line| line.contains("run: ")).collect();
            assert!(!runs.is_empty() && runs.iter().all(|run| !run.contains("${{")), "{runs:?}");
        }
    }

    #[test]
    fn what_is_written_is_not_drift_and_what_was_changed_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(written(dir.path(), "").unwrap(), None);
        let options = options(Layout::Matrix);
        assert!(check(dir.path(), &options).unwrap().iter().all(|drift| drift.diff.is_none()));
        assert_eq!(write(dir.path(), &options, false).unwrap().len(), 2);
        assert_eq!((write(dir.path(), &options, false).unwrap(), check(dir.path(), &options).unwrap()), (vec![], vec![]));
        assert_eq!(
            written(dir.path(), "").unwrap(),
            Some(Written { layout: Layout::Matrix, branch: "main".into(), prebuilt: None })
        );
        let [workflow, _] = paths("");
        let path = dir.path().join(&workflow);
        let changed = std::fs::read_to_string(&path).unwrap().replace("permissions: {}", "permissions: write-all");
        std::fs::write(&path, changed).unwrap();
        let drift = check(dir.path(), &options).unwrap();
        assert!(drift[0].diff.as_ref().unwrap().contains("- permissions: write-all\n+ permissions: {}\n"), "{drift:?}");
        assert_eq!(write(dir.path(), &options, false).unwrap(), [PathBuf::from(&workflow)]);
        std::fs::write(&path, "name: somebody's own\n").unwrap();
        let error = write(dir.path(), &options, false).unwrap_err();
        assert!(error.to_string().contains(&workflow) && error.hint_text().unwrap().contains("--overwrite"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "name: somebody's own\n");
        assert_eq!(write(dir.path(), &options, true).unwrap(), [PathBuf::from(&workflow)]);
    }

    #[test]
    fn a_branch_or_registry_that_would_change_the_yaml_is_refused() {
        for bad in ["", "a b", "a\n", "a]", "${{x}}", "'", "-x", "a:"] {
            let branch = Options { branch: bad.into(), ..options(Layout::Single) };
            let registry = Options { registry: bad.into(), ..options(Layout::Single) };
            assert!(generate(&branch).is_err() && generate(&registry).is_err(), "{bad}");
        }
        let text = texts(&Options { branch: "1.0".into(), ..options(Layout::Single) });
        assert!(text.contains("branches: [\"1.0\"]"));
    }

    #[test]
    fn a_prebuilt_tool_is_taken_by_its_digest_where_anything_may_be_written_and_kept_by_the_next_writing() {
        let image: ImageRef = format!("ghcr.io/acme/shop/tool@sha256:{}", "a".repeat(64)).parse().unwrap();
        for layout in [Layout::Single, Layout::Matrix] {
            let options = Options { prebuilt: Some(image.clone()), ..options(layout) };
            let files = generate(&options).unwrap();
            let job = &files[1].content;
            let steps: Vec<&str> = job.split("\n      - ").collect();
            let step = |part: &str| *steps.iter().find(|step| step.contains(part)).unwrap();
            let checks = "if: github.event_name == 'pull_request' || github.event_name == 'merge_group'\n";
            assert!(step("cargo build").contains(checks) && step("actions/cache@").contains(checks), "{job}");
            let takes = step("docker create");
            assert!(takes.contains(&format!("IMAGE: {image}")), "{takes}");
            assert!(takes.contains("if: github.event_name != 'pull_request' && github.event_name != 'merge_group'\n"), "{takes}");
            let runs = step("exec $PROGRAM ci");
            assert!(runs.contains("PROGRAM: ${{ steps.tool.outputs.program || 'cargo xtask' }}\n"), "{runs}");
            assert!(!job.contains('%') && !job.contains("exec cargo xtask"), "{job}");
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), &options, false).unwrap();
            assert_eq!(written(dir.path(), "").unwrap().unwrap().prebuilt, Some(image.clone()));
        }
        let tagged = Options { prebuilt: Some("ghcr.io/acme/shop/tool:1".parse().unwrap()), ..options(Layout::Single) };
        assert!(generate(&tagged).unwrap_err().to_string().contains("is not named by its digest"));
    }
}
