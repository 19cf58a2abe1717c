//! The generated big workspace is what it says, and a plan's inputs on it are what they should be. How long it takes at full size is
//! `cargo bench --bench scale`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use monoship_core::execute::shutdown::Shutdown;
use monoship_core::name::{Fingerprint, ImageRef};
use monoship_core::sorted::SortedMap;
use monoship_plan::fingerprint::{Facts, Inputs, Parts};
use monoship_plan::part::{MainContext, Part};
use monoship_steps::configuration;
use monoship_workspace::dockerfile::{self, SliceRequest};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::Git;
use monoship_workspace::sent::Sent;
use support::generate::{self, Size};

const SIZE: Size = Size { packages: 20, services: 4, files: 200 };

#[test]
fn one_seed_gives_one_commit() {
    let made = |seed| {
        let dir = tempfile::tempdir().unwrap();
        generate::workspace(dir.path(), SIZE, seed);
        Git::at(dir.path(), &Shutdown::new()).resolve("HEAD").unwrap()
    };
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
}

#[test]
fn two_clones_in_different_folders_have_equal_fingerprints_and_an_edit_tells_them_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("deep/er/two"));
    generate::workspace(&one, SIZE, 1);
    generate::workspace(&two, SIZE, 1);
    let before = fingerprints(&one);
    assert_eq!(before.len(), SIZE.services);
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), SIZE.services, "no two services are the same");
    assert_eq!(before, fingerprints(&two));
    std::fs::write(two.join("apps/s2/src/new.ts"), "export {};\n").unwrap();
    let after = fingerprints(&two);
    let changed: Vec<_> = before.iter().filter(|(name, fingerprint)| after[*name] != **fingerprint).map(|(n, _)| n).collect();
    assert_eq!(changed, ["s2"]);
}

/// Fingerprints of all services, each given its own package as its sources.
fn fingerprints(root: &Path) -> BTreeMap<String, Fingerprint> {
    let tree = Git::at(root, &Shutdown::new()).worktree().unwrap();
    assert!(tree.outside_git().is_none());
    let path = root.join("Dockerfile.monorepo-optimized");
    let file = dockerfile::load(&path).unwrap();
    let ignore = dockerfile::ignore_file(&path, root).unwrap();
    let ignore = Ignore::parse(&std::fs::read_to_string(ignore).unwrap()).unwrap();
    let pins = configuration::pins(&root.join("xtask.lock")).unwrap();
    let sent = Sent::of_tree(&tree, &ignore);
    let main = MainContext::new(&sent);
    let services = file.targets().filter(|name| tree.get(&format!("apps/{name}/package.json")).is_some());
    let inputs = |name: &str| {
        let sources = || Parts::from([(name.to_owned(), Part::files(tree.under(&format!("apps/{name}"))))]);
        let contexts: SortedMap<String, Parts> =
            ["manifests", "production", "sources"].map(|context| (context.to_owned(), sources())).into();
        let (names, args) = (contexts.keys().cloned().collect(), SortedMap::new());
        let slice = file.slice(&SliceRequest { target: name, contexts: &names, args: &args, platforms: &[], own: None }).unwrap();
        let pin = |image: &ImageRef| pins.get(image).map(ToString::to_string);
        let facts = Facts {
            target: name,
            slice: &slice,
            contexts: &contexts,
            main: &main,
            args: &args,
            pin: &pin,
            syntax: None,
            addresses: &SortedMap::new(),
            platforms: &[],
            settings: &args,
        };
        let inputs = Inputs::new(&facts).unwrap();
        assert_eq!(inputs.contexts.len(), 3);
        assert_eq!(inputs.main, None, "every door is replaced");
        inputs.fingerprint()
    };
    services.map(|name| (name.to_owned(), inputs(name))).collect()
}
