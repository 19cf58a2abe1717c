//! What GitHub's workflows say of a repository's builds: steps of `docker/build-push-action`, and commands, in each row of their job's matrix.

use super::given;
use super::said::{Said, image, tree};
use super::shell::{self, Variables};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::yaml::Yaml;
use pnpm::join;

/// The steps of a workflow that use `docker/build-push-action` or call Docker, one for each row of their job's matrix. Paths are relative to the
/// repository.
pub(super) fn read(path: &str, _: &str, text: &str) -> Result<Vec<Said>, String> {
    let tree = tree(text)?;
    let mut found = Vec::new();
    for (_, job) in tree.get("jobs").map_or(&[][..], Yaml::entries) {
        let steps = job.get("steps").map_or(&[][..], Yaml::items);
        found.extend(rows(job).iter().flat_map(|row| called(path, &tree, job, row)));
        let builds = |step: &&Yaml| {
            step.get("uses").and_then(Yaml::as_str).is_some_and(|uses| uses.starts_with("docker/build-push-action@"))
        };
        for step in steps.iter().filter(builds).filter_map(|step| step.get("with")) {
            for row in rows(job) {
                let value = |name: &str| value(name, &row, &[job, &tree]);
                let given = |key: &str| match step.get(key).and_then(Yaml::as_str) {
                    Some(text) => expanded(text, &value).map(Some),
                    None => Some(None),
                };
                let (Some(context), Some(file), Some(target)) = (given("context"), given("file"), given("target")) else {
                    continue;
                };
                let context =
                    context.filter(|context| !context.contains("://") && !context.is_empty()).unwrap_or_else(|| ".".to_owned());
                let Some(context) = join(".", context.trim_end_matches('/')) else { continue };
                let file = file
                    .filter(|file| !file.is_empty())
                    .and_then(|file| join(".", &file))
                    .or_else(|| join(&context, "Dockerfile"));
                let Some(dockerfile) = file else { continue };
                let named = ["service", "app", "name", "image", "package", "service.name", "app.name"];
                let name = named.iter().find_map(|key| row.get(*key)).cloned().unwrap_or_default();
                let target = target.filter(|target| !target.is_empty());
                let filled_in = filled(step.get("build-args").and_then(Yaml::as_str).unwrap_or_default(), &value);
                let given = given::of_workflow(step, &|text| expanded(text, &value));
                let tags = named_by(steps, step, "tags").map(|line| filled(line, &value));
                // What a workflow pushes without a host goes to Docker Hub.
                let tags = tags.map(|tags| match tags.split_once('/') {
                    Some((host, _)) if !host.contains(['.', ':']) => format!("docker.io/{tags}"),
                    _ => tags,
                });
                let image = tags.as_deref().and_then(image);
                let (args, varied) = (SortedMap::new(), SortedSet::new());
                let said = Said { name, dockerfile, context, target, args, varied, given, image, by: path.to_owned() };
                let lines = filled_in.lines().filter_map(|line| line.trim().split_once('='));
                found.push(said.with(lines.map(|(name, value)| (name, Some(value)))));
            }
        }
    }
    Ok(found)
}

/// What an expression of a job stands for, as far as its matrix's row and the `env` of `places` say it.
fn value(name: &str, row: &SortedMap<String, String>, places: &[&Yaml]) -> Option<String> {
    match name.split_once('.')? {
        ("matrix", name) => row.get(name).cloned(),
        ("env", name) => places.iter().find_map(|place| place.get("env")?.get(name)?.as_str()).map(str::to_owned),
        ("github", "workspace") => Some(".".to_owned()),
        _ => None,
    }
}

/// What the commands of a job's steps call, in one row of its matrix.
fn called(path: &str, tree: &Yaml, job: &Yaml, row: &SortedMap<String, String>) -> Vec<Said> {
    let mut found = Vec::new();
    for step in job.get("steps").map_or(&[][..], Yaml::items) {
        let Some(text) = step.get("run").and_then(Yaml::as_str) else { continue };
        let value = |name: &str| value(name, row, &[step, job, tree]);
        let filled = |text: &str| filled(text, &value);
        let default = |place: &Yaml| place.get("defaults")?.get("run")?.get("working-directory")?.as_str().map(str::to_owned);
        let own = step.get("working-directory").and_then(Yaml::as_str).map(str::to_owned);
        let folder = own.or_else(|| default(job)).or_else(|| default(tree)).unwrap_or_default();
        let set = [tree, job, step].into_iter().filter_map(|place| place.get("env"));
        let set = set.flat_map(Yaml::entries).filter_map(|(name, value)| Some((name.clone(), vec![filled(value.as_str()?)])));
        let known: Variables = set.into_map();
        found.extend(
            join(".", &filled(&folder)).into_iter().flat_map(|folder| shell::builds(path, &folder, &filled(text), &known)),
        );
    }
    found
}

/// The rows of a job's matrix; what an item of a list holds is `key.field`. One without anything, where there is no matrix.
fn rows(job: &Yaml) -> Vec<SortedMap<String, String>> {
    const MOST: usize = 100;
    let matrix = job.get("strategy").and_then(|strategy| strategy.get("matrix"));
    let mut rows = vec![SortedMap::new()];
    for (key, list) in matrix.map_or(&[][..], Yaml::entries).iter().filter(|(key, _)| key != "include" && key != "exclude") {
        let items: Vec<SortedMap<String, String>> = list.items().iter().map(|item| fields(key, item)).into_vec();
        if items.is_empty() || rows.len() * items.len() > MOST {
            continue;
        }
        rows =
            rows.iter().flat_map(|row| items.iter().map(|item| row.clone().into_iter().chain(item.clone()).collect())).collect();
    }
    for item in matrix.and_then(|matrix| matrix.get("include")).map_or(&[][..], Yaml::items) {
        let new: SortedMap<String, String> = item.entries().iter().flat_map(|(key, value)| fields(key, value)).collect();
        let fits = |row: &SortedMap<String, String>| {
            !row.is_empty() && new.iter().all(|(key, value)| row.get(key).is_none_or(|there| there == value))
        };
        let shares = |row: &SortedMap<String, String>| new.keys().any(|key| row.contains_key(key));
        match rows.iter_mut().find(|row| fits(row) && shares(row)) {
            Some(row) => row.extend(new),
            None => rows.push(new),
        }
    }
    if rows.len() > 1 {
        rows.retain(|row| !row.is_empty());
    }
    rows
}

fn fields(key: &str, value: &Yaml) -> SortedMap<String, String> {
    let own = value.as_str().map(|text| (key.to_owned(), text.to_owned()));
    let below = value.entries().iter().filter_map(|(field, value)| Some((format!("{key}.{field}"), value.as_str()?.to_owned())));
    own.into_iter().chain(below).into_map()
}

/// A text with the values of its `${{ … }}`; `None` where one is not known.
fn expanded(text: &str, value: &impl Fn(&str) -> Option<String>) -> Option<String> {
    Some(filled(text, value)).filter(|text| !text.contains("${{"))
}

/// A text with the values of those `${{ … }}` that are known.
fn filled(text: &str, value: &impl Fn(&str) -> Option<String>) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${{") {
        let Some((name, after)) = behind.split_once("}}") else { break };
        whole += before;
        whole += &value(name.trim()).unwrap_or_else(|| format!("${{{{{name}}}}}"));
        rest = after;
    }
    whole + rest
}

/// The first line of what a step is given under a key, or of the `images` of the step that makes it (`docker/metadata-action`).
fn named_by<'y>(steps: &'y [Yaml], with: &'y Yaml, key: &str) -> Option<&'y str> {
    let text = with.get(key).and_then(|value| value.as_str().or_else(|| value.items().first()?.as_str()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let made = line.strip_prefix("${{").and_then(|name| name.trim().strip_prefix("steps."));
    let Some((id, _)) = made.and_then(|made| made.split_once('.')) else { return Some(line) };
    let step = steps.iter().find(|step| step.get("id").and_then(Yaml::as_str) == Some(id))?;
    step.get("with")?.get("images")?.as_str()?.lines().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_says_what_its_matrix_builds() {
        let text = "env:\n  ROOT: .\njobs:\n  images:\n    strategy:\n      matrix:\n        app: [web, api]\n        include:\n          - {app: api, target: server}\n          - {app: docs, target: docs}\n    \
                    steps:\n      - uses: actions/checkout@v4\n      - uses: docker/build-push-action@v6\n        with:\n          context: ${{ env.ROOT }}\n          file: ./apps/${{ matrix.app }}/Dockerfile\n          target: ${{ matrix.target }}\n  \
                    one:\n    steps:\n      - uses: docker/build-push-action@v6\n        with: {context: tools, push: true}\n      - uses: docker/build-push-action@v6\n        with: {context: '${{ inputs.context }}'}\n";
        let shown: Vec<String> = read(".github/workflows/a.yml", "", text)
            .unwrap()
            .iter()
            .map(|s| format!("{} {} {} {:?}", s.name, s.dockerfile, s.context, s.target))
            .collect();
        // `web` has no target: an expression without a value is not known here.
        assert_eq!(
            shown,
            [
                "api apps/api/Dockerfile . Some(\"server\")",
                "docs apps/docs/Dockerfile . Some(\"docs\")",
                " tools/Dockerfile tools None"
            ]
        );
    }

    #[test]
    fn a_matrix_of_maps_has_their_fields() {
        let job = monoship_workspace::yaml::parse(
            "strategy:\n  matrix:\n    service:\n      - {name: a, path: apps/a}\n      - {name: b, path: apps/b}\n    os: [x]\n",
        )
        .unwrap();
        let rows = rows(&job[0]);
        assert_eq!((rows.len(), rows[1]["service.path"].as_str(), rows[1]["os"].as_str()), (2, "apps/b", "x"));
    }
}
