//! Where in its repository a workspace lies, and what its workflow files have of that: names that no other workspace's files have, since both run
//! on the same events, and paths from the place where each of the runner's steps begins.

use monoship_core::collect::Collect as _;

/// Where a workspace and its crate lie, from the repository's root. Nothing of it is said of the root, for which each part is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The workspace's folder.
    pub folder: String,
    /// One word of it, of small letters, digits and `-`, for names.
    pub word: String,
    /// The folder of cargo's workspace: the root, where one crate is for several workspaces; `folder`, or one between the two.
    pub cargo: String,
    /// The folder, from there, in which cargo puts what it compiles; empty for `target`.
    pub target: String,
    /// True where cargo compiles for another machine than the one that it runs on, unless told otherwise.
    pub crosses: bool,
}

/// Where the command was called, in words: ` in backend/`; nothing for the root.
pub(super) fn within(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!(" in {folder}/") }
}

/// As the start of a path; nothing for the root.
fn start(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

impl Place {
    /// The sections of the files that are written for such a place only.
    pub(super) fn sections(&self) -> Vec<&'static str> {
        let all = [("below", &self.folder), ("nested", &self.cargo)];
        all.into_iter().filter(|(_, folder)| !folder.is_empty()).map(|(section, _)| section).into_vec()
    }

    /// What the checkout holds besides the root's `.cargo`. Of each folder above one that is named git has the files: so a `.cargo` that may be
    /// missing brings the files of the workspace, by which it is found, and nothing of its packages.
    ///
    /// Source: git-scm.com/docs/git-sparse-checkout "internals — cone pattern set".
    pub(super) fn checked_out(&self, sources: &[String]) -> Vec<String> {
        let mut folders = vec![&self.cargo, &self.folder];
        folders.dedup();
        let settings = folders.into_iter().filter(|folder| !folder.is_empty()).map(|folder| format!("{folder}/.cargo"));
        settings.chain(sources.iter().cloned()).into_vec()
    }

    /// Folders from the root as they are called where cargo is.
    pub(super) fn relative_to_cargo(&self, folders: &[String]) -> Vec<String> {
        let (below, up) = (start(&self.cargo), "../".repeat(self.cargo.split('/').filter(|part| !part.is_empty()).count()));
        folders.iter().map(|folder| folder.strip_prefix(&below).map_or_else(|| format!("{up}{folder}"), str::to_owned)).into_vec()
    }

    /// The patterns of what the compiled crate depends on. `hashFiles` begins at the root wherever a step runs.
    pub(super) fn hashed(&self, sources: &[String]) -> Vec<String> {
        let below = start(&self.cargo);
        let settings = if below.is_empty() { None } else { Some(format!("{below}.cargo/**")) };
        let own = [".cargo/**".to_owned()].into_iter().chain(settings).chain([format!("{below}Cargo.*")]);
        own.chain(sources.iter().map(|folder| format!("{folder}/**"))).map(|pattern| format!("'{pattern}'")).into_vec()
    }

    /// The folders that hold the compiled tool.
    pub(super) fn compiled(&self) -> String {
        let target = if self.target.is_empty() { "target" } else { &self.target };
        // What runs while it compiles, and what was told for which machine it is, lie apart.
        let folders = [Some("debug"), self.crosses.then_some("*/debug")].into_iter().flatten();
        folders.map(|folder| format!("{}{target}/{folder}\n", start(&self.cargo))).collect()
    }

    /// A file's text with its marks of the place filled in.
    pub(super) fn named(&self, text: &str) -> String {
        let or_nothing = |of: &str, filled: String| if of.is_empty() { String::new() } else { filled };
        let (folder, cargo) = (self.folder.as_str(), self.cargo.as_str());
        let inner = folder.strip_prefix(&start(cargo)).unwrap_or_default();
        let marks = [
            ("%within%", within(folder)),
            ("%of%", or_nothing(folder, format!(" of {folder}"))),
            // A colon stands in no tag's and no branch's name. A workflow that calls those of several workspaces has one name for all of them.
            ("%group%", or_nothing(folder, format!("{folder}:"))),
            // No word has a dot: neither this pattern nor the root's takes the artifact of another workspace.
            ("%artifact%", or_nothing(folder, format!("workspace.{}.", self.word))),
            ("%workspace%", or_nothing(inner, format!("--workspace {inner} "))),
            ("%state%", start(folder)),
            ("%here%", or_nothing(if self.crosses { "crosses" } else { "" }, "--target host-tuple ".to_owned())),
            // The workspaces that share a crate share what was compiled of it.
            ("%crate%", or_nothing(cargo, format!("{}-", cargo.replace('/', "-")))),
            ("%cargo%", super::quoted(cargo)),
            ("%folder%", start(folder)),
        ];
        marks.into_iter().fold(text.to_owned(), |text, (mark, filled)| text.replace(mark, &filled))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, Options, generate};
    use super::*;

    fn place(folder: &str, cargo: &str) -> Place {
        Place { folder: folder.into(), word: folder.replace('/', "-"), cargo: cargo.into(), ..Place::default() }
    }

    fn files(place: Place, sources: &[&str]) -> [String; 2] {
        let sources = sources.iter().map(|source| (*source).to_owned()).collect();
        let options = Options { layout: Layout::Matrix, place, sources, ..Options::default() };
        let files = generate(&options).unwrap();
        [&files[0], &files[1]].map(|file| file.content.clone())
    }

    #[test]
    fn one_crate_for_several_workspaces_is_called_at_the_root_and_one_in_the_folder_there() {
        let [workflow, job] = files(place("services/web", ""), &["xtask"]);
        assert!(workflow.contains("`cargo xtask ci workflow --layout matrix` in services/web/: "), "{workflow}");
        assert!(workflow.contains("\nname: Images of services/web\n"), "{workflow}");
        assert_eq!(workflow.matches("uses: ./.github/workflows/xtask-services-web.yml").count(), 6, "{workflow}");
        for part in [
            "sparse-checkout: |\n            .cargo\n            services/web/.cargo\n            xtask\n",
            "key: xtask-${{ runner.os }}-${{ runner.arch }}-${{ hashFiles('.cargo/**', 'Cargo.*', 'xtask/**') }}\n",
            "            target/debug\n",
            "-- .cargo 'Cargo.*' xtask | xargs",
            "exec cargo xtask --workspace services/web ci ",
            "path: services/web/target/xtask/ci\n",
        ] {
            assert!(job.contains(part), "no {part:?} in {job}");
        }
        assert!(!job.contains("working-directory"), "{job}");

        let prebuilt = format!("ghcr.io/acme/shop/tool@sha256:{}", "a".repeat(64)).parse().unwrap();
        let options = Options { place: place("services/web", ""), prebuilt: Some(prebuilt), ..Options::default() };
        let job = generate(&options).unwrap().remove(1).content;
        assert!(job.contains("exec $PROGRAM --workspace services/web ci "), "{job}");

        // A crate of a folder depends on what lies beside the folder.
        let [_, job] = files(place("services/web", "services/web"), &["libs", "services/web/xtask"]);
        for part in [
            "working-directory: services/web\n",
            "sparse-checkout: |\n            .cargo\n            services/web/.cargo\n            libs\n            services/web/xtask\n",
            "key: xtask-services-web-${{ runner.os }}-",
            "hashFiles('.cargo/**', 'services/web/.cargo/**', 'services/web/Cargo.*', 'libs/**', 'services/web/xtask/**')",
            "            services/web/target/debug\n",
            "-- .cargo 'Cargo.*' ../../libs xtask | xargs",
            "exec cargo xtask ci ",
            "path: services/web/target/xtask/ci\n",
        ] {
            assert!(job.contains(part), "no {part:?} in {job}");
        }

        // Cargo's settings of the repository say what is compiled for which machine, and where it lies.
        let [_, job] = files(Place { target: "out".into(), crosses: true, ..place("", "") }, &["xtask"]);
        for part in [
            "            out/debug\n            out/*/debug\n",
            "cargo build --quiet --locked --target host-tuple --package xtask\n",
        ] {
            assert!(job.contains(part), "no {part:?} in {job}");
        }

        // One for some of the folders.
        let [_, job] = files(place("services/web", "services"), &["services/xtask"]);
        for part in ["working-directory: services\n", "exec cargo xtask --workspace web ci ", "            services/.cargo\n"] {
            assert!(job.contains(part), "no {part:?} in {job}");
        }
    }

    #[test]
    fn in_one_run_no_workspace_takes_the_place_or_the_artifacts_of_another() {
        let after = |text: &str, start: &str| {
            let mut found = text.lines().filter_map(|line| line.trim().strip_prefix(start)).map(str::to_owned);
            found.next().unwrap_or_else(|| panic!("no {start} in {text}"))
        };
        let folders = ["", "back", "backend", "xtask", "xtask-plan", "workspace"];
        let all = folders.map(|folder| {
            let [workflow, job] = files(place(folder, ""), &["xtask"]);
            let (_, uploaded) = job.split_once("actions/upload-artifact@").unwrap();
            let artifact = after(uploaded, "name: ").replace("${{ steps.ci.outputs.artifact }}", "xtask-plan");
            (after(&workflow, "group: "), after(&job, "pattern: ").trim_end_matches('*').to_owned(), artifact)
        });
        for (at, (group, pattern, _)) in all.iter().enumerate() {
            for (other, (theirs, _, artifact)) in all.iter().enumerate() {
                assert_eq!((group == theirs, artifact.starts_with(pattern.as_str())), (at == other, at == other), "{artifact}");
            }
        }
    }
}
