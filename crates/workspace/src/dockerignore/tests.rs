//! The cases are those of moby/patternmatcher's own tests (patternmatcher_test.go, ignorefile_test.go), as parsed through
//! an ignore file.

use super::*;

fn ignore(patterns: &[&str]) -> Ignore {
    Ignore::parse(&patterns.join("\n")).unwrap()
}

#[test]
fn one_pattern_matches_what_mobys_table_says() {
    let cases = [
        ("*", "fileutils.go", true),
        ("*.go", "fileutils.go", true),
        ("**", "file", true),
        ("**/", "file", true),
        ("**", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir3/file", true),
        ("**file", "file", true),
        ("**file", "dir/dir/file", true),
        ("**/file", "dir/dir/file", true),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("**/**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        // Folders of Next.js are called so.
        ("app/[[]slug]/*", "app/[slug]/page.tsx", true),
        ("app/[[]slug]/*", "app/s/page.tsx", false),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcdef", false),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abcdef", false),
        ("a\\\\", "a\\", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/dir2/foo/bar", true),
        ("abc/**", "abc", false),
        ("abc/**", "abc/def/ghi", true),
        ("**/.foo", ".foo", true),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a(b)c/def", "a(b)c/xyz", false),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
        ("a*", "ab/c", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("a?b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("a[^a]b", "a☺b", true),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-x]", "-", true),
        ("[x\\-]", "z", false),
        ("*x", "xxx", true),
        ("/a/b", "a/b", true),
        ("./a//b/", "a/b/c", true),
        ("a/../b", "b", true),
        ("^foo*", "foobar", true),
        ("^foo", "^foo", true),
    ];
    for (pattern, path, wanted) in cases {
        assert_eq!(ignore(&[pattern]).excludes(path), wanted, "{pattern} on {path}");
    }
}

#[test]
fn later_patterns_put_back_what_earlier_ones_took() {
    let cases: [(&[&str], &str, bool); 13] = [
        (&["!fileutils.go", "*.go"], "fileutils.go", true),
        (&["*.go", "!fileutils.go"], "fileutils.go", false),
        (&["docs", "!docs/README.md"], "docs/README.md", false),
        (&["docs/", "!docs/README.md"], "docs/README.md", false),
        (&["docs/*", "!docs/README.md"], "docs/README.md", false),
        (&["docs", "! /docs/README.md"], "docs/README.md", false),
        (&["**", "!util/docker/web"], "util/docker/web/foo", false),
        (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
        (&["**", "!dist/*.whl"], "dist/a-2.4.whl", false),
        (&["**/node_modules", "!packages"], "packages/a/node_modules/x.js", true),
        (&["# comment", " # a name", "!x"], "# a name", true),
        // The walk does not look at an exception for a folder that nothing had taken out, so it does not reach below it.
        (&["a/b", "!a"], "a/b", true),
        (&["a", "a/b", "!a"], "a/b", false),
    ];
    for (patterns, path, wanted) in cases {
        assert_eq!(ignore(patterns).excludes(path), wanted, "{patterns:?} on {path}");
    }
}

#[test]
fn a_malformed_pattern_is_refused_with_its_line() {
    for bad in [
        "[",
        "[^",
        "[^bc",
        "a[",
        "[]a]",
        "[-]",
        "[x-]",
        "[-x]",
        "[a-b-c]",
        "\\",
        "!",
        "! ",
        "[Local-Only]/",
        "\\d",
        "[a*]",
        "[[:alpha:]]",
        "[[:alpha:]]",
    ] {
        let error = Ignore::parse(&format!("ok\n{bad}")).unwrap_err();
        assert_eq!(error.place().unwrap().1, Some(2), "{bad}");
    }
}

#[test]
fn a_file_is_named_in_the_error_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Dockerfile.dockerignore");
    std::fs::write(&path, "a\n\n[\n").unwrap();
    assert_eq!(Ignore::load(&path).unwrap_err().place(), Some((path.as_path(), Some(3))));
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_not_part_of_a_pattern() {
    assert!(Ignore::parse("\u{feff}a\r\nb\r\n").unwrap().excludes("a"));
    assert!(Ignore::parse("\u{feff}#a\r\nb\r\n").unwrap().excludes("b"));
    assert!(!ignore(&["*"]).excludes("."));
}

#[test]
fn a_walk_over_sorted_paths_says_the_same_as_each_path_alone() {
    let ignore = ignore(&["**", "!apps/*/src", "**/*.test.ts", "apps/b", "!apps/b/src/keep.test.ts"]);
    let mut walker = ignore.walker();
    let paths = ["a", "apps/a/src/x.test.ts", "apps/a/src/x.ts", "apps/a/y", "apps/b/src/keep.test.ts", "apps/b/src/x.ts", "z/z"];
    let in_turn: Vec<bool> = paths.iter().map(|path| walker.excludes(path)).collect();
    let alone: Vec<bool> = paths.iter().map(|path| ignore.excludes(path)).collect();
    assert_eq!(in_turn, alone);
    // `apps/b` came too late to be looked at for the folder (it was out already), so its sources stay in.
    assert_eq!(in_turn, [true, true, false, true, false, false, true]);
}
