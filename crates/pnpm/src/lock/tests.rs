//! The line scanner on small locks.

use std::collections::BTreeMap;

use super::read::without_suffix;
use super::*;
use monoship_workspace::yaml::{self, Yaml};

/// Two documents, every section, every kind of reference, a key too long for one line, a text block.
fn sample() -> String {
    let long = "x".repeat(1100);
    include_str!("sample.yaml").replace("LONG", &long)
}

fn scan(text: &str) -> Lock {
    Lock::scan(text.to_owned()).unwrap()
}

/// The cut of the lock that all packages share.
fn text_of(lock: &Lock, cut: &Cut) -> String {
    lock.cut(".", cut).unwrap()
}

fn everything(lock: &Lock) -> Cut {
    Cut {
        parts: BTreeMap::new(),
        importers: (0..).take(lock.importer_count()).map(|importer| (importer, Some(KeepFields::All))).collect(),
        snapshots: vec![true; lock.snapshot_count()],
        catalogs: lock.catalog_entries().collect(),
        overrides: (0..lock.overrides().count()).collect(),
        patches: (0..lock.patches().count()).collect(),
    }
}

/// What a YAML parser says of a lock, in the scanner's words.
fn oracle(text: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let tree = yaml::parse(text).unwrap().pop().unwrap();
    let section = |name: &str| tree.get(name).map_or(&[][..], Yaml::entries).to_vec();
    let mut all = BTreeMap::new();
    for (dir, importer) in section("importers") {
        let fields = importer.entries().iter().filter(|(field, _)| field.ends_with("ependencies"));
        let versions = fields
            .flat_map(|(_, dependencies)| dependencies.entries())
            .map(|(alias, dependency)| (alias.clone(), dependency.get("version").unwrap().as_str().unwrap().to_owned()));
        all.insert(format!("importer {dir}"), versions.collect());
    }
    for (key, snapshot) in section("snapshots") {
        let fields = ["dependencies", "optionalDependencies"].into_iter().filter_map(|field| snapshot.get(field));
        let references =
            fields.flat_map(Yaml::entries).map(|(alias, version)| (alias.clone(), version.as_str().unwrap().to_owned()));
        all.insert(key.clone(), references.collect());
    }
    all
}

/// The same from the scanner, references taken back to how they are written.
fn scanned(lock: &Lock) -> BTreeMap<String, Vec<(String, String)>> {
    let written = |alias: &str, target: &Target, from: &str| match target {
        Target::Snapshot(index) => {
            let key = lock.snapshot_key(*index);
            key.strip_prefix(&format!("{alias}@")).unwrap_or(key).to_owned()
        }
        Target::Link(dir) => format!("link:{}{dir}", "../".repeat(from.split('/').filter(|part| *part != ".").count())),
        Target::Outside(path) => format!("link:{path}"),
        Target::Missing(Missing { key, .. }) => key.strip_prefix(&format!("{alias}@")).unwrap_or(key).to_owned(),
    };
    let mut all = BTreeMap::new();
    for importer in (0..).take(lock.importer_count()) {
        let dir = lock.importer_dir(importer);
        let dependencies = lock.dependencies(importer).map(|(_, d)| (d.alias.clone(), written(&d.alias, &d.target, dir)));
        all.insert(format!("importer {dir}"), dependencies.collect());
    }
    for snapshot in (0..).take(lock.snapshot_count()) {
        let references = lock.targets(snapshot).map(|(alias, target)| (alias.to_owned(), written(alias, target, ".")));
        all.insert(lock.snapshot_key(snapshot).to_owned(), references.collect());
    }
    all
}

#[test]
fn the_scanner_reads_what_a_yaml_parser_reads() {
    let text = sample();
    assert_eq!(scanned(&scan(&text)), oracle(&text));
}

#[test]
fn a_cut_that_keeps_everything_is_the_file_byte_for_byte() {
    let text = sample();
    let lock = scan(&text);
    assert_eq!(text_of(&lock, &everything(&lock)), text);
}

#[test]
fn a_cut_is_what_filtering_the_parsed_file_gives() {
    let text = sample();
    let lock = scan(&text);
    // Every subset that leaves out one snapshot, one importer, or the development dependencies of one.
    for left_out in (0..).take(lock.snapshot_count()) {
        let mut cut = everything(&lock);
        cut.snapshots[left_out as usize] = false;
        let cut = scan(&text_of(&lock, &cut));
        let mut expected = oracle(&text);
        expected.remove(lock.snapshot_key(left_out));
        assert_eq!(scanned(&cut), expected);
        assert_eq!(text_of(&lock, &everything(&lock)).len(), text.len());
    }
    for importer in (0..).take(lock.importer_count()) {
        let mut cut = everything(&lock);
        cut.importers.insert(importer, None);
        let bare = text_of(&lock, &cut);
        let key = format!("importer {}", lock.importer_dir(importer));
        assert_eq!(scanned(&scan(&bare))[&key], []);
        cut.importers.remove(&importer);
        assert!(!oracle(&text_of(&lock, &cut)).contains_key(&key));
    }
}

#[test]
fn a_section_of_which_nothing_is_kept_goes_with_its_key() {
    let lock = scan(&sample());
    let text = text_of(
        &lock,
        &Cut { importers: BTreeMap::from([(0, None)]), snapshots: vec![false; lock.snapshot_count()], ..Cut::default() },
    );
    let tree = yaml::parse(&text).unwrap().pop().unwrap();
    let keys: Vec<&str> = tree.entries().iter().map(|(key, _)| key.as_str()).collect();
    let expected = [
        "lockfileVersion",
        "settings",
        "packageExtensionsChecksum",
        "pnpmfileChecksum",
        "ignoredOptionalDependencies",
        "importers",
    ];
    assert_eq!(keys, expected);
    assert!(text.ends_with("\nimporters:\n\n  .: {}\n"), "{text}");
}

#[test]
fn what_the_scanner_does_not_know_is_refused_with_its_line() {
    let base = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      a:\n        specifier: ^1\n        version: 1.0.0\n\n\
                packages:\n\n  a@1.0.0:\n    resolution: {}\n\nsnapshots:\n\n  a@1.0.0: {}\n";
    scan(base);
    for (from, to, line, reason) in [
        ("'9.0'", "'10.0'", 1, "lockfileVersion `10.0`, of a pnpm that is not known here"),
        ("'9.0'", "5.4", 1, "lockfileVersion `5.4`, of pnpm 7 or older"),
        ("'9.0'", "'6.0'", 16, "a key of a newer format"),
        ("importers:", "novelty:", 3, "unknown key `novelty`"),
        ("    dependencies:", "    newDependencies:", 6, "unknown key `newDependencies` in an importer"),
        ("        specifier:", "        spec:", 8, "unknown key `spec` in a dependency"),
        ("  a@1.0.0: {}", "  a@1.0.0:\n    odd: 1", 19, "unknown key `odd` in a snapshot"),
        ("  a@1.0.0: {}", "  b@1.0.0: {}", 18, "snapshot `b@1.0.0` has no package"),
        ("  a@1.0.0: {}", "  'a''b@1': {}", 18, "a key with an escape in it"),
        ("      a:\n", "      a: &x\n", 7, "an anchor, alias, tag or text block"),
        ("importers:\n\n  .:", "importers:\n\n .:", 5, "a line that is indented too little"),
        ("version: 1.0.0\n", "version: 1.0\r.0\n", 9, "a carriage return within a line"),
        ("lockfileVersion", "--- {}\nlockfileVersion", 1, "a document that begins beside its mark"),
        ("snapshots:", "packages:", 16, "a key that stands twice"),
        ("  a@1.0.0:\n", "  a@1.0.0: {}\n\n  a@1.0.0:\n", 15, "a key that stands twice"),
        ("      a:\n", "      a: {}\n      b: {}\n      a:\n", 9, "a key that stands twice"),
        ("lockfileVersion", "---\na: 1\n---\nb: 1\n---\nlockfileVersion", 5, "a third document"),
    ] {
        let refusal = Lock::scan(base.replacen(from, to, 1)).unwrap_err();
        assert_eq!((refusal.line, refusal.reason.as_str()), (line, reason), "{to}");
    }
}

#[test]
fn a_lock_that_was_cut_off_is_broken_wherever_it_shows() {
    let text = sample();
    let whole = scan(&text);
    let lacks = |lock: &Lock| {
        let named = (0..).take(lock.importer_count()).flat_map(|at| lock.dependencies(at)).map(|(_, one)| &one.target);
        let further = (0..).take(lock.snapshot_count()).flat_map(|at| lock.targets(at)).map(|(_, target)| target);
        named.chain(further).filter(|target| matches!(target, Target::Missing(_))).count()
    };
    // It has one of its own.
    let own = lacks(&whole);
    let last = text.rfind("\n  ").unwrap();
    for end in (0..last).filter(|end| text.is_char_boundary(*end)).step_by(5) {
        match Lock::scan(text[..end].to_owned()) {
            // Importers are missing, which who asks for a package finds.
            Ok(lock) => assert!(lacks(&lock) > own || lock.importer_count() < whole.importer_count(), "{end}: {}", &text[..end]),
            Err(refusal) => assert!(refusal.broken || refusal.reason == "a line without a key", "{end}: {refusal:?}"),
        }
    }
    for (end, reason) in [("    resolution: {integrity: sha", "it ends within a line"), ("  'a@1", "it ends within a line")] {
        let refusal = Lock::scan(format!("lockfileVersion: '9.0'\n\npackages:\n\n  a@1.0.0:\n{end}")).unwrap_err();
        assert_eq!((refusal.line, refusal.reason.as_str(), refusal.broken), (6, reason, true));
    }
}

/// What pnpm 8 writes: keys with a slash, of a registry or not, peers, a folder, an alias, a text that looks like a field.
const SIX: &str = "lockfileVersion: '6.0'

settings:
  autoInstallPeers: true

importers:

  .: {}

  apps/a:
    dependencies:
      '@s/x':
        specifier: ^1.0.0
        version: 1.0.0(p@2.0.0)
      git:
        specifier: github:o/r
        version: github.com/o/r/abc
      lib:
        specifier: workspace:*
        version: link:../../packages/lib
      local:
        specifier: file:../../vendor/local
        version: file:vendor/local(p@2.0.0)
      other:
        specifier: npm:p@2.0.0
        version: /p@2.0.0
    devDependencies:
      d:
        specifier: 1.0.0
        version: 1.0.0

packages:

  /@s/x@1.0.0(p@2.0.0):
    resolution: {integrity: sha512-x}
    deprecated: |-
      dependencies:
        none of these
    peerDependencies:
      p: ^2.0.0
    dependencies:
      p: 2.0.0
    dev: false

  /d@1.0.0:
    resolution: {integrity: sha512-d}
    optionalDependencies:
      q: /p@2.0.0
    dev: true

  /p@2.0.0:
    resolution: {integrity: sha512-p}

  file:vendor/local(p@2.0.0):
    resolution: {directory: vendor/local, type: directory}
    id: file:vendor/local
    name: local
    dependencies:
      p: 2.0.0
    dev: false

  github.com/o/r/abc:
    resolution: {tarball: https://codeload.github.com/o/r/tar.gz/abc}
    name: git
    version: 1.0.0
    dev: false
";

#[test]
fn a_lock_of_pnpm_8_is_read_and_cut() {
    let lock = scan(SIX);
    assert_eq!(text_of(&lock, &everything(&lock)), SIX);
    let of = |name: &str| {
        let importer = lock.importer("apps/a").unwrap();
        let (_, found) = lock.dependencies(importer).find(|(_, one)| one.alias == name).unwrap();
        match &found.target {
            Target::Snapshot(at) => lock.snapshot_key(*at).to_owned(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(of("@s/x"), "@s/x@1.0.0(p@2.0.0)");
    assert_eq!((of("git"), of("other")), ("github.com/o/r/abc".to_owned(), "p@2.0.0".to_owned()));
    assert_eq!(of("lib"), r#"Link("packages/lib")"#);
    assert_eq!(of("local"), "file:vendor/local(p@2.0.0)");
    let at = |key: &str| (0..).take(lock.snapshot_count()).find(|at| lock.snapshot_key(*at) == key).unwrap();
    assert_eq!(lock.local(at("file:vendor/local(p@2.0.0)")), Some(&Local::Folder("vendor/local".to_owned())));
    let leads = |key: &str| lock.targets(at(key)).map(|(alias, _)| alias.to_owned()).collect::<Vec<_>>();
    assert_eq!((leads("@s/x@1.0.0(p@2.0.0)"), leads("d@1.0.0")), (vec!["p".to_owned()], vec!["q".to_owned()]));
    let mut cut = everything(&lock);
    cut.snapshots[at("d@1.0.0") as usize] = false;
    cut.importers.insert(lock.importer("apps/a").unwrap(), Some(KeepFields::Production));
    let expected = SIX.replace("    devDependencies:\n      d:\n        specifier: 1.0.0\n        version: 1.0.0\n", "").replace(
        "  /d@1.0.0:\n    resolution: {integrity: sha512-d}\n    optionalDependencies:\n      q: /p@2.0.0\n    dev: true\n\n",
        "",
    );
    assert_eq!(text_of(&lock, &cut), expected);
}

#[test]
fn locks_of_packages_that_have_one_each_are_cut_one_by_one() {
    let nine = |version: &str, link: &str| {
        format!(
            "lockfileVersion: '9.0'\n\noverrides:\n  a: {version}\n\nimporters:\n\n  .:\n    dependencies:\n{link}      a:\n        specifier: {version}\n        \
             version: {version}\n    devDependencies:\n      b:\n        specifier: 1.0.0\n        version: 1.0.0\n\npackages:\n\n  a@{version}:\n    \
             resolution: {{integrity: sha512-a}}\n\n  b@1.0.0:\n    resolution: {{integrity: sha512-b}}\n\nsnapshots:\n\n  a@{version}: {{}}\n\n  b@1.0.0: {{}}\n"
        )
    };
    let link = "      lib:\n        specifier: workspace:*\n        version: link:../../packages/lib\n";
    // pnpm 8 writes the one importer's fields at the top.
    let six = "lockfileVersion: '6.0'\n\ndependencies:\n  a:\n    specifier: 3.0.0\n    version: 3.0.0\n\ndevDependencies:\n  b:\n    specifier: 1.0.0\n    \
               version: 1.0.0\n\npackages:\n\n  /a@3.0.0:\n    resolution: {integrity: sha512-a}\n    dev: false\n\n  /b@1.0.0:\n    resolution: {integrity: sha512-b}\n    dev: true\n";
    let files = [("apps/web", nine("1.0.0", link)), ("packages/lib", nine("2.0.0", "")), ("packages/old", six.to_owned())];
    let lock = Lock::scan_each(files.iter().map(|(dir, text)| ((*dir).to_owned(), text.clone())).collect()).unwrap();
    assert!(lock.is_split());
    let all = everything(&lock);
    for (dir, text) in &files {
        assert_eq!(lock.cut(dir, &all).as_deref(), Some(text.as_str()), "{dir}");
    }
    assert_eq!(lock.cut("packages/none", &all), None);
    let web = lock.importer("apps/web").unwrap();
    let targets: Vec<String> = lock.dependencies(web).map(|(_, one)| format!("{:?}", one.target)).collect();
    assert_eq!(targets, [r#"Link("packages/lib")"#, "Snapshot(0)", "Snapshot(1)"]);
    let own = lock.importer("packages/lib").unwrap();
    assert!(
        lock.dependencies(own).all(|(_, one)| matches!(one.target, Target::Snapshot(2 | 3))),
        "each file has its own entries"
    );
    let mut cut = all;
    for importer in (0..).take(lock.importer_count()) {
        cut.importers.insert(importer, Some(KeepFields::Production));
    }
    for at in (0..).take(lock.snapshot_count()) {
        cut.snapshots[at as usize] = !lock.snapshot_key(at).starts_with("b@");
    }
    for dir in ["apps/web", "packages/lib", "packages/old"] {
        let text = lock.cut(dir, &cut).unwrap();
        assert!(!text.contains("b@1.0.0") && !text.contains("devDependencies") && text.contains("\n  a:"), "{text}");
    }
    let names: Vec<_> = (0..).take(lock.snapshot_count()).map(|at| lock.snapshot_entry(at).0).collect();
    assert_eq!(&*names[0], "a@1.0.0 of apps/web");
    // A refusal has the line of its own file.
    let bad = vec![("a".to_owned(), nine("1.0.0", "")), ("b".to_owned(), nine("1.0.0", "").replace("importers:", "novelty:"))];
    let (dir, refusal) = Lock::scan_each(bad).unwrap_err();
    assert_eq!((dir.as_str(), refusal.line, refusal.reason.as_str()), ("b", 6, "unknown key `novelty`"));
}

#[test]
fn a_lock_beside_other_documents_is_cut_and_these_are_kept_byte_for_byte() {
    let main = "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/a: {}\n\n  apps/b: {}\n";
    let own = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    configDependencies:\n      p:\n        specifier: 1.0.0\n";
    let forms = [
        ("alone", String::new(), ""),
        ("marked", "---\n".into(), ""),
        ("two, both marked", format!("---\n{own}\n---\n"), ""),
        ("the first unmarked", "pnpmfileChecksum: sha256-x\n---\n".into(), ""),
        ("ended by dots", format!("---\n{own}...\n---\n"), ""),
        ("marks with a comment", format!("--- # theirs\n{own}--- # ours\n"), ""),
        ("comments before", "# by hand\n\n# twice\n".into(), ""),
        ("a directive", "%YAML 1.2\n---\n".into(), ""),
        ("a byte order mark", "\u{feff}".into(), ""),
        ("a byte order mark and two", format!("\u{feff}---\n{own}\n---\n"), ""),
        ("nothing in the first", "---\n# nothing\n---\n".into(), ""),
        ("nothing behind", format!("---\n{own}\n---\n"), "---\n"),
        ("dots behind", String::new(), "...\n"),
    ];
    for (name, before, behind) in forms {
        for ends in ["\n", "\r\n"] {
            let file = |main: &str| format!("{before}{main}{behind}").replace('\n', ends);
            let lock = scan(&file(main));
            assert_eq!(text_of(&lock, &everything(&lock)), file(main), "{name} {ends:?}");
            let mut cut = everything(&lock);
            cut.importers.remove(&lock.importer("apps/a").unwrap());
            assert_eq!(text_of(&lock, &cut), file(&main.replace("  apps/a: {}\n\n", "")), "{name} {ends:?}");
        }
    }
    // A few lines with a carriage return are no other content; what is handed on is then one.
    let mixed = scan(&main.replacen('\n', "\r\n", 2));
    assert_eq!(text_of(&mixed, &everything(&mixed)), main);
    let (feeds, returns) = (scan(main), scan(&main.replace('\n', "\r\n")));
    assert_ne!(feeds.cut_settings(&everything(&feeds)), returns.cut_settings(&everything(&returns)), "other bytes hash alike");
}

#[test]
fn the_marks_of_an_unfinished_merge_are_known_by_their_line() {
    assert_eq!(conflict("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n"), Some(2));
    assert_eq!(conflict("a: 1\n=======\n>>>>>>> other\n"), Some(3));
    assert_eq!(conflict("a: '<<<<<<< HEAD'\nb: <<<<<<<<\n"), None);
}

#[test]
fn a_truncated_or_mangled_lock_never_panics() {
    let text = sample();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(7) {
        let _outcome = Lock::scan(text[..end].to_owned());
        let mangled = format!("{}:  '(\n{}", &text[..end], &text[end..]);
        let _outcome = Lock::scan(mangled);
    }
}

#[test]
fn a_suffix_is_taken_off_whole() {
    for (key, package) in [
        ("a@1.0.0", "a@1.0.0"),
        ("a@1.0.0(b@1(c@2))(patch_hash=x)", "a@1.0.0"),
        ("@s/a@file:dir/(group)/x", "@s/a@file:dir/(group)/x"),
        ("a@file:x(y)", "a@file:x"),
        (")", ")"),
    ] {
        assert_eq!(without_suffix(key), package);
    }
}

#[test]
fn a_hash_follows_the_entry_and_its_package_only() {
    let text = sample();
    let (before, after) = (scan(&text), scan(&text.replace("integrity: sha512-debug", "integrity: sha512-other")));
    let changed: Vec<&str> = (0..)
        .take(before.snapshot_count())
        .filter(|index| before.snapshot_entry(*index) != after.snapshot_entry(*index))
        .map(|index| before.snapshot_key(index))
        .collect();
    assert_eq!(changed, ["debug@4.4.3", "debug@4.4.3(supports-color@8.1.1)"]);
}

#[test]
fn an_importer_may_keep_some_of_its_dependencies() {
    let text = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      a:\n        specifier: 1.0.0\n        version: 1.0.0\n    \
                devDependencies:\n      '@s/b':\n        specifier: 1.0.0\n        version: 1.0.0\n      c:\n        specifier: 1.0.0\n        version: 1.0.0\n\n\
                packages:\n\n  '@s/b@1.0.0':\n    resolution: {integrity: sha512-b}\n\n  a@1.0.0:\n    resolution: {integrity: sha512-a}\n\n  \
                c@1.0.0:\n    resolution: {integrity: sha512-c}\n\nsnapshots:\n\n  '@s/b@1.0.0': {}\n\n  a@1.0.0: {}\n\n  c@1.0.0: {}\n";
    let lock = scan(text);
    let root = lock.importer(".").unwrap();
    let parts = |names: &[&str]| BTreeMap::from([(root, names.iter().map(|name| (*name).to_owned()).collect())]);
    let of = |names: &[&str]| lock.importer_of(root, None, &Cut { parts: parts(names), ..Cut::default() });
    assert_eq!(of(&["@s/b"]), "  .:\n    devDependencies:\n      '@s/b':\n        specifier: 1.0.0\n        version: 1.0.0\n");
    assert_eq!(of(&[]), "  .: {}\n");
    assert_eq!(of(&["a", "@s/b", "c"]), lock.cut_importer(root, Some(KeepFields::All)));
}
