//! Generated workflow files: written once they stay, and an edit to one is found.

use xtask::github::workflow::{Layout, Options, check, write, written as there};

#[test]
fn written_workflow_files_do_not_drift_and_an_edit_to_one_is_found() {
    for layout in [Layout::Single, Layout::Matrix] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { layout, branch: "main".into(), registry: "ghcr.io".into() };
        let written = write(dir.path(), &options).unwrap();
        assert!(written.len() >= 2, "{written:?}");
        assert_eq!(there(dir.path()).unwrap().map(|there| there.layout), Some(layout));
        assert!(check(dir.path(), &options).unwrap().is_empty());
        assert!(write(dir.path(), &options).unwrap().is_empty(), "a second write writes nothing");
        let file = dir.path().join(&written[0]);
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "# edited\n").unwrap();
        let drifted = check(dir.path(), &options).unwrap();
        assert_eq!(drifted.iter().map(|drift| drift.path).collect::<Vec<_>>(), [written[0].to_str().unwrap()]);
    }
}
