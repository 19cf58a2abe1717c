//! The workflow files in this repository are what `cargo xtask ci workflow` would write.

use std::path::Path;

use xtask::github::workflow::{Options, check, written_layout};

#[test]
fn the_repository_s_own_workflow_files_have_not_drifted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let layout = written_layout(root).unwrap().expect("the repository has its workflow");
    let options = Options { layout, branch: "main".into(), registry: "ghcr.io".into() };
    let drift = check(root, &options).unwrap();
    assert!(drift.is_empty(), "run `cargo xtask ci workflow`: {drift:#?}");
}
