//! What is refused, with the way on: packages, folders and locks that are not there, are behind, were cut off or are half merged.

use super::*;

#[test]
fn a_workspace_package_that_is_not_there_is_refused_whoever_leads_to_it() {
    let root = workspace();
    std::fs::remove_dir_all(root.path().join("packages/lib")).unwrap();
    let refusal = |package: &str| {
        let (workspace, tree) = (Workspace::load(root.path()).unwrap(), tree(root.path()));
        let sources = Sources::new(&workspace, &tree, tree.files());
        let plan = PrunePlan::new(&workspace, &sources, workspace.find(package).unwrap(), false);
        plan.err().map(|error| (error.to_string(), error.hint_text().unwrap_or_default().to_owned()))
    };
    let (error, hint) = refusal("api").unwrap();
    assert!(error.contains("apps/api needs the workspace package `lib`, which is not there"), "{error}");
    assert!(hint.starts_with("pnpm-lock.yaml has it in `packages/lib`; bring that folder back"), "{hint}");
    assert!(refusal("web").is_some(), "a longer way");
    assert_eq!(refusal("copied"), None, "nothing leads there");
    // Also where only a manifest says so, and where another package's folder is around it.
    put(
        root.path(),
        "packages/copied/package.json",
        r#"{"name": "copied", "version": "1.0.0", "devDependencies": {"x": "workspace:other@^1"}}"#,
    );
    let (error, hint) = refusal("copied").unwrap();
    assert!(error.contains("packages/copied needs the workspace package `x`") && hint.contains("`packages:`"), "{error} {hint}");
}

#[test]
fn a_workspace_package_that_git_ignores_is_refused() {
    let root = workspace();
    let all = tree(root.path());
    let known = Tree::from_files(all.files().iter().filter(|file| !file.path.starts_with("packages/lib/")).cloned().collect());
    let workspace = Workspace::load(root.path()).unwrap();
    let sources = Sources::new(&workspace, &known, known.files());
    let error = PrunePlan::new(&workspace, &sources, workspace.find("web").unwrap(), false).err().unwrap();
    assert!(error.to_string().contains("packages/lib is a package of the workspace, and git does not have it"), "{error}");
    assert!(error.hint_text().unwrap().contains("git check-ignore --verbose packages/lib/package.json"));
    assert!(PrunePlan::new(&workspace, &sources, workspace.find("copied").unwrap(), false).is_ok());
}

#[test]
fn a_folder_that_the_install_copies_and_that_is_not_there_is_refused() {
    let root = workspace();
    std::fs::remove_dir_all(root.path().join("packages/copied")).unwrap();
    let (workspace, tree) = (Workspace::load(root.path()).unwrap(), tree(root.path()));
    let sources = Sources::new(&workspace, &tree, tree.files());
    let error = PrunePlan::new(&workspace, &sources, workspace.find("api").unwrap(), false).err().unwrap();
    assert!(error.to_string().contains("the install copies the folder `packages/copied`"), "{error}");
}

#[test]
fn a_file_that_is_half_merged_is_called_so() {
    for path in ["pnpm-lock.yaml", "package.json", "pnpm-workspace.yaml"] {
        let root = workspace();
        let text = std::fs::read_to_string(root.path().join(path)).unwrap();
        put(root.path(), path, &format!("{}\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> theirs\n", text.trim_end()));
        let error = Workspace::load(root.path()).unwrap_err();
        let line = text.trim_end().lines().count() + 1;
        assert!(error.to_string().contains(&format!("{path}:{line}: merge conflict markers")), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.starts_with("finish the merge")), "{error}");
    }
}

#[test]
fn manifests_that_are_ahead_of_the_lock_are_one_warning() {
    let root = workspace();
    let mut warned = Vec::new();
    for folder in ["apps/api", "packages/lib"] {
        let file = root.path().join(folder).join("package.json");
        let mut manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        manifest["dependencies"]["new"] = "^1.0.0".into();
        std::fs::write(&file, manifest.to_string()).unwrap();
        let all = plan(root.path(), "api").plan.warnings;
        warned.extend(all.into_iter().filter(|warning| warning.contains("pnpm refuses such an install")));
    }
    let start = "apps/api/package.json wants new `^1.0.0`, and pnpm-lock.yaml does not have it";
    assert!(warned.len() == 2 && warned[0].starts_with(&format!("{start}: pnpm")), "{warned:?}");
    assert!(warned[1].starts_with(&format!("{start} (and 1 more): pnpm")), "{warned:?}");
}

/// What refuses a package's plan: the text and the way on.
fn refused(root: &Path, package: &str) -> Option<(String, String)> {
    let (workspace, tree) = match Workspace::load(root) {
        Ok(workspace) => (workspace, tree(root)),
        Err(error) => return Some((error.to_string(), error.hint_text().unwrap_or_default().to_owned())),
    };
    let sources = Sources::new(&workspace, &tree, tree.files());
    let plan = PrunePlan::new(&workspace, &sources, workspace.find(package).unwrap(), false);
    plan.err().map(|error| (error.to_string(), error.hint_text().unwrap_or_default().to_owned()))
}

#[test]
fn a_lock_that_no_install_can_use_is_refused_with_file_line_and_way_on() {
    let cut_at = |text: &str, at: &str| text[..text.find(at).unwrap()].to_owned();
    let last = LOCK_TEXT.rfind("snapshots:").unwrap();
    for (what, text, told) in [
        ("empty", String::new(), "pnpm-lock.yaml:1: this lock cannot be used: there is no lockfileVersion in it"),
        ("without snapshots", LOCK_TEXT[..last].to_owned(), "and has no entry for it"),
        ("without packages", cut_at(LOCK_TEXT, "\npackages:"), "and has no entry for it"),
        ("without importers", cut_at(LOCK_TEXT, "\nimporters:"), "has dependencies, and the lock has no entry for it"),
        ("ended in a line", LOCK_TEXT.trim_end().rsplit_once(':').unwrap().0.to_owned(), "it ends within a line"),
        ("no YAML", LOCK_TEXT.replacen("importers:\n", "importers:\n\tx: 1\n", 1), "pnpm-lock.yaml:"),
    ] {
        let root = workspace();
        put(root.path(), "pnpm-lock.yaml", &text);
        let (error, hint) = refused(root.path(), "api").unwrap_or_else(|| panic!("{what} is used"));
        assert!(error.contains("pnpm-lock.yaml") && error.contains(told), "{what}: {error}");
        assert!(hint.contains("pnpm install"), "{what}: {hint}");
    }
}

#[test]
fn with_locks_of_their_own_packages_are_stopped_by_theirs_alone() {
    let root = tempfile::tempdir().unwrap();
    let lock = |name: &str| {
        format!(
            "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      {name}:\n        specifier: 1.0.0\n        version: 1.0.0\n\n\
             packages:\n\n  {name}@1.0.0:\n    resolution: {{integrity: sha512-x}}\n\nsnapshots:\n\n  {name}@1.0.0: {{}}\n"
        )
    };
    let manifest = |name: &str, needs: &str| format!(r#"{{"name": "{name}", "dependencies": {{"{needs}": "1.0.0"}}}}"#);
    put(root.path(), "package.json", r#"{"name": "root"}"#);
    put(root.path(), "pnpm-workspace.yaml", "packages:\n  - apps/*\nsharedWorkspaceLockfile: false\n");
    for name in ["a", "b", "c"] {
        put(root.path(), &format!("apps/{name}/package.json"), &manifest(name, "x"));
        put(root.path(), &format!("apps/{name}/pnpm-lock.yaml"), &lock("x"));
    }
    let hash = |package: &str| {
        let Planned { plan, workspace, .. } = plan(root.path(), package);
        plan.manifests.lock_slice(&workspace)
    };
    let before = hash("a");
    assert!(before.iter().any(|(name, _)| &**name == "x@1.0.0 of apps/a"), "{before:?}");
    let text = plan(root.path(), "a");
    assert_eq!(text.plan.manifests.lock_text(&text.workspace, "apps/a/pnpm-lock.yaml"), lock("x"));
    // The others' locks: changed, broken, gone.
    put(root.path(), "apps/b/pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      x:\n");
    std::fs::remove_file(root.path().join("apps/c/pnpm-lock.yaml")).unwrap();
    assert_eq!(hash("a"), before, "its own lock is as it was");
    let (error, _) = refused(root.path(), "b").unwrap();
    assert!(error.contains("apps/b/pnpm-lock.yaml:7: this lock cannot be used: dependency `x` has no specifier"), "{error}");
    let (error, hint) = refused(root.path(), "c").unwrap();
    assert!(error.contains("apps/c/pnpm-lock.yaml: apps/c has dependencies and no lock of its own"), "{error}");
    assert!(hint.contains("pnpm install"), "{hint}");
}

#[test]
fn a_manifest_that_is_ahead_of_the_lock_is_named() {
    let root = workspace();
    let path = root.path().join("apps/api/package.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"dependencies\": {", "\"dependencies\": {\"left-pad\": \"1.3.0\", ", 1)).unwrap();
    let Planned { plan, .. } = plan(root.path(), "api");
    let told = "apps/api/package.json wants left-pad `1.3.0`, and pnpm-lock.yaml does not have it";
    assert!(plan.warnings.iter().any(|warning| warning.starts_with(told)), "{:?}", plan.warnings);
}

#[test]
fn a_lock_with_what_no_manifest_wants_is_named_and_peers_are_wanted() {
    let root = workspace();
    let path = root.path().join("apps/api/package.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = manifest["dependencies"].as_object_mut().unwrap();
    let (name, version) = fields.iter().next().map(|(name, version)| (name.clone(), version.clone())).unwrap();
    fields.remove(&name);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let told =
        format!("pnpm-lock.yaml has {name} `{}` for apps/api/package.json, which does not want it", version.as_str().unwrap());
    let Planned { plan: without, .. } = plan(root.path(), "api");
    assert!(without.warnings.iter().any(|warning| warning.starts_with(&told)), "{told}: {:?}", without.warnings);
    manifest["peerDependencies"] = serde_json::json!({ (name.as_str()): version });
    std::fs::write(&path, manifest.to_string()).unwrap();
    let Planned { plan: peer, .. } = plan(root.path(), "api");
    assert!(!peer.warnings.iter().any(|warning| warning.contains("does not want it")), "{:?}", peer.warnings);
}
