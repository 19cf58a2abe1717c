//! The Dockerfile: does it parse, does every service have its target, is every image pinned, and what of it defeats caches?

use super::{Checkup, Finding, Monorepo, Severity, advice};
use monoship_core::collect::Collect as _;
use monoship_core::name::ImageRef;
use monoship_core::text::counted;
use monoship_plan::services::{Service, no_target};
use monoship_steps::bases::PINS;
use monoship_steps::configuration;
use monoship_steps::inputs;
use monoship_steps::outside;
use monoship_workspace::dockerfile::{Dockerfile, Stage};

/// What tells BuildKit to put cache metadata into an image.
const INLINE: &str = "BUILDKIT_INLINE_CACHE";

pub(super) fn check(checkup: &Checkup) -> Vec<Finding> {
    let Some(monorepo) = &checkup.monorepo else { return Vec::new() };
    let dockerfile = match &monorepo.dockerfile {
        Ok(dockerfile) => dockerfile,
        Err(error) => return vec![Finding::error(Severity::Problem, "dockerfile-unreadable", error, "fix that line")],
    };
    let (config, file) = (&checkup.config, &checkup.config.images.dockerfile);
    let targets: Vec<&str> = dockerfile.targets().into_vec();
    let mut found = Vec::new();
    if !targets.contains(&config.base_target.as_str()) {
        let error = no_target(&config.base_target, file, &targets);
        found.push(Finding::error(Severity::Problem, "no-base-target", &error, "set `[base] target`, or add the stage"));
    }
    match &monorepo.services {
        Some(Err(error)) => found.push(Finding::error(
            Severity::Problem,
            "service-without-target",
            error,
            "docs/configuration.md says what a service is",
        )),
        Some(Ok(_)) => found.extend(left_out(checkup, monorepo, &targets)),
        None => {}
    }
    found.extend(inline_argument(checkup, dockerfile));
    found.extend(unpinned(checkup, monorepo, dockerfile));
    if monorepo.tree.as_ref().is_ok_and(|tree| tree.dirty().contains(file.as_str())) {
        let what = format!("{file} has changes that are not committed: steps from the first changed line on are built anew");
        found.push(Finding::note("dockerfile-changed", what, "`cargo xtask plan --explain` names the steps"));
    }
    found.extend(advice::check(monorepo));
    if found.is_empty() {
        found.push(Finding::good(format!(
            "{}, {}",
            counted(targets.len(), "target"),
            counted(checkup.services().len(), "service")
        )));
    }
    found
}

/// Folders of apps that nothing builds.
fn left_out(checkup: &Checkup, monorepo: &Monorepo, targets: &[&str]) -> Option<Finding> {
    let workspace = monorepo.workspace.as_ref().ok()?;
    let built = |dir: &str| checkup.services().iter().any(|service| service.package == dir);
    let apps = workspace.packages().iter().map(|package| package.dir.as_str()).filter(|dir| dir.starts_with("apps/"));
    let meant = |dir: &str| checkup.config.images.not_services.iter().any(|known| known.trim_end_matches('/') == dir);
    let idle: Vec<&str> = apps.filter(|dir| !built(dir) && !meant(dir)).into_vec();
    // Where services are configured, a folder without one is meant so.
    let first = idle.first().filter(|_| checkup.config.services.is_empty())?;
    let near = monoship_core::name::nearest(first.trim_start_matches("apps/"), targets.iter().copied());
    let hint = near.map(|near| format!(" (or is `{near}` its target? then say so in a [[service]])")).unwrap_or_default();
    let what = format!("no Dockerfile target builds {}", idle.join(", "));
    Some(Finding::warning("app-without-target", what, format!("add a stage of the folder's name to the Dockerfile{hint}")))
}

fn inline_argument(checkup: &Checkup, dockerfile: &Dockerfile) -> Option<Finding> {
    let config = &checkup.config;
    let in_config = config.images.build_args.contains_key(INLINE)
        || config.services.iter().any(|service| service.build_args.contains_key(INLINE));
    let mut steps = dockerfile.stages().iter().flat_map(Stage::instructions);
    let in_file = steps.find(|step| step.keyword == "ARG" && step.args.starts_with(INLINE)).map(|step| step.line);
    let place = match (in_config, in_file) {
        (true, _) => "xtask.toml sets".to_owned(),
        (false, Some(line)) => format!("{}:{line} declares", config.images.dockerfile),
        (false, None) => return None,
    };
    let what = format!("{place} {INLINE}: beside a mode=max cache it loses hits, and the inline tier is written where it helps");
    Some(Finding::warning("inline-cache-argument", what, "take it out; `[cache] inline` turns the tier on and off"))
}

impl Monorepo {
    /// What a service is built by.
    fn of<'d>(&'d self, service: Option<&Service>, shared: &'d Dockerfile) -> &'d Dockerfile {
        service.and_then(|service| self.own.get(&service.own.as_ref()?.dockerfile)).unwrap_or(shared)
    }
}

fn unpinned(checkup: &Checkup, monorepo: &Monorepo, dockerfile: &Dockerfile) -> Option<Finding> {
    let pins = match configuration::pins(&monorepo.root.join(PINS)) {
        Ok(pins) => pins,
        Err(error) => {
            return Some(Finding::error(
                Severity::Problem,
                "pins-unreadable",
                &error,
                "take it from git: `git checkout xtask.lock`",
            ));
        }
    };
    let config = &checkup.config;
    // What cannot be cut out of the Dockerfile is another finding.
    let mut images =
        inputs::images_of(config, checkup.services(), |service| monorepo.of(service, dockerfile)).unwrap_or_default();
    images.extend(outside::scanner(&config.attest.sbom).unwrap_or_default());
    let open: Vec<String> = images.iter().filter(|image| pins.get(image).is_none()).map(ImageRef::familiar).into_vec();
    let what = format!("{PINS} does not pin {}, with which images are built: a release refuses it", open.join(", "));
    let fix = format!("`cargo xtask update` where the registry answers, and commit {PINS}");
    (!open.is_empty()).then(|| Finding::note("base-not-pinned", what, fix))
}
