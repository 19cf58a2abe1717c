//! Generated workflow files: written once they stay, an edit to one is found, and they are as short as the documentation says.

use std::path::Path;

use monoship_github::workflow::{Layout, Options, check, generate, write, written as there};

#[test]
fn written_workflow_files_do_not_drift_and_an_edit_to_one_is_found() {
    for layout in [Layout::Single, Layout::Matrix] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { layout, ..Options::default() };
        let written = write(dir.path(), &options, false).unwrap();
        assert!(written.len() >= 2, "{written:?}");
        assert_eq!(there(dir.path(), "").unwrap().map(|there| there.layout), Some(layout));
        assert!(check(dir.path(), &options).unwrap().is_empty());
        assert!(write(dir.path(), &options, false).unwrap().is_empty(), "a second write writes nothing");
        let file = dir.path().join(&written[0]);
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "# edited\n").unwrap();
        let drifted = check(dir.path(), &options).unwrap();
        assert_eq!(drifted.iter().map(|drift| drift.path.as_str()).collect::<Vec<_>>(), [written[0].to_str().unwrap()]);
    }
}

#[test]
fn each_layout_is_shorter_than_the_references_approach_and_the_documentation_states_the_counts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (documentation, reference) = (read("docs/ci.md"), read("bench/reference-workflow.yml").lines().count());
    let states = |what: &str, lines: usize| {
        let row = format!("| {what} | {lines} |");
        assert!(documentation.contains(&row), "docs/ci.md has no row {row:?}");
    };
    states("the reference's approach written out (`bench/reference-workflow.yml`)", reference);
    for (layout, name) in [(Layout::Single, "single"), (Layout::Matrix, "matrix")] {
        let files = generate(&Options { layout, ..Options::default() }).unwrap();
        let lines = files.iter().map(|file| file.content.lines().count()).sum();
        states(&format!("layout `{name}`, both files"), lines);
        assert!(lines < reference, "{name}: {lines} lines, and the reference needs {reference}");
    }
}
