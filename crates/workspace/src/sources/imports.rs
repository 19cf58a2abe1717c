//! Relative imports of JavaScript and TypeScript: which of them leave a package. Texts are searched, not parsed: a path that leads to no file
//! of the repository is nothing.

use std::borrow::Cow;

use super::super::git::{Mode, Tree};
use super::super::load::{PackageId, Workspace};
use super::super::tools::is_test;
use super::{Sources, parent};
use monoship_core::collect::Collect as _;
use monoship_core::execute::cores;
use pnpm::join;

/// An import that leaves its package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The file that imports.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The path as it is written.
    pub named: String,
    /// The file that it leads to.
    pub to: String,
}

/// The endings that resolvers try, in their order.
const ENDINGS: [&str; 19] = [
    "",
    ".ts",
    ".tsx",
    ".mts",
    ".cts",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".json",
    ".d.ts",
    ".css",
    ".scss",
    "/index.ts",
    "/index.tsx",
    "/index.mts",
    "/index.js",
    "/index.mjs",
    "/index.cjs",
];

/// What TypeScript writes for a file that is compiled to it.
const COMPILED: [(&str, &str); 5] = [(".js", ".ts"), (".js", ".tsx"), (".mjs", ".mts"), (".cjs", ".cts"), (".jsx", ".tsx")];

/// True where a file is JavaScript or TypeScript, by its name.
pub(crate) fn is_script(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    matches!(ending, "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts")
}

/// True where a file may import others, by its name: scripts, what holds scripts, and styles.
pub(crate) fn may_import(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    is_script(name) || matches!(ending, "vue" | "svelte" | "astro" | "mdx" | "css" | "pcss" | "scss" | "sass" | "less")
}

/// Every `'./…'` literal of a text, a path beside it.
pub(super) fn beside(text: &str) -> impl Iterator<Item = &str> {
    memchr::memmem::find_iter(text.as_bytes(), "./").filter_map(|at| literal(text, at))
}

/// Every `'../…'` literal of a text, and every path that is put together from a folder by several.
pub(super) fn literals(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    placed(text).map(|(_, literal)| literal)
}

/// The same with the place of each one's quote.
fn placed(text: &str) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    // Every script of a closure is searched: the standard library's search is not optimised where this crate is not.
    memchr::memmem::find_iter(text.as_bytes(), "..").filter_map(|at| {
        // Only the first `../` of a literal follows its quote; `./../` is one, too.
        let start = if text[..at].ends_with("./") { at - 2 } else { at };
        let first = literal(text, start)?;
        let before = text[..start - 1].trim_end();
        let is_begun = FOLDERS.iter().any(|folder| before.ends_with(folder));
        let path = if is_begun { joined(first, &text[start + first.len() + 1..]) } else { Cow::Borrowed(first) };
        path[at - start..].starts_with("../").then_some((start - 1, path))
    })
}

/// What stands before a path that begins at a folder and may be put together: `join(__dirname, '..', '..', 'locales')`.
const FOLDERS: [&str; 4] = ["__dirname,", "import.meta.dirname,", "import.meta.url)),", "process.cwd(),"];

/// A path with the literals behind it that belong to it, as far as these say where it leads.
fn joined<'a>(first: &'a str, mut rest: &str) -> Cow<'a, str> {
    let mut path = Cow::Borrowed(first);
    while let Some(next) =
        rest.trim_start().strip_prefix(',').map(str::trim_start).filter(|next| next.starts_with(['\'', '"', '`']))
    {
        let Some(part) = literal(next, 1).filter(|part| !part.contains("${")) else { break };
        path = Cow::Owned(format!("{path}/{part}"));
        rest = &next[part.len() + 2..];
    }
    path
}

/// The literal that begins here: a quote stands before it, and the same one behind it on the same line.
fn literal(text: &str, start: usize) -> Option<&str> {
    let quote = text[..start].chars().next_back().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let rest = &text[start..];
    let literal = &rest[..rest.find([quote, '\n'])?];
    Some(literal).filter(|_| rest[literal.len()..].starts_with(quote))
}

/// The file that a relative path leads to from a folder, by the endings that resolvers try.
pub(super) fn resolve(tree: &Tree, dir: &str, named: &str) -> Option<String> {
    // Bundlers have their own words behind it: `../shared/logo.svg?url`.
    let named = named.split(['?', '#']).next().unwrap_or(named);
    let is_file = |path: &String| tree.get(path).is_some_and(|file| file.mode != Mode::Submodule);
    let by_ending = ENDINGS.iter().filter_map(|ending| join(dir, &format!("{named}{ending}"))).find(is_file);
    by_ending.or_else(|| {
        let sources = COMPILED.iter().filter_map(|(made, source)| Some(format!("{}{source}", named.strip_suffix(made)?)));
        sources.filter_map(|source| join(dir, &source)).find(is_file)
    })
}

/// What stands before the path of an import.
const IMPORTS: [&str; 16] = [
    "from",
    "import",
    "import(",
    "require(",
    "resolve(",
    "URL(",
    "import type",
    "readFileSync(",
    // What `createRequire` makes.
    "import.meta.url)(",
    "__filename)(",
    // Styles.
    "@use",
    "@forward",
    "@import url(",
    "@reference",
    "@config",
    "@plugin",
];

/// What stands before the path of a file or a folder that is read as the script runs, from where this lies or from where it is started.
const READS: [&str; 16] = [
    "readFile(",
    "readFileSync(",
    "readdirSync(",
    "createReadStream(",
    "loadSync(",
    "URL(",
    "__dirname,",
    "import.meta.dirname,",
    "import.meta.url)),",
    "process.cwd(),",
    "resolve(",
    // By a pattern, as a bundler or the script itself finds them.
    "glob(",
    "glob([",
    "globSync(",
    "context(",
    "@source",
];

/// What is read so: a file, what no package has of a folder, or what another package's build makes. What tests read is in no image.
fn read(sources: &Sources<'_>, workspace: &Workspace, id: PackageId, file: &str, before: &str, named: &str) -> Option<String> {
    let before = before.trim_end();
    if is_test(file) || is_in_comment(before) || !READS.iter().any(|word| before.ends_with(word)) {
        return None;
    }
    let is_shared = |path: &str| path != "." && workspace.owner(path) == sources.root_package;
    let is_there = |path: &&String| sources.tree.get(path).is_some() || (is_shared(path) && !sources.tree.under(path).is_empty());
    let is_made = |path: &&String| {
        let owner = workspace.owner(path);
        owner != id && owner != sources.root_package && !path.contains("node_modules") && !sources.has(path)
    };
    let package = &workspace.package(id).dir;
    let plain = named.split('/').take_while(|part| !part.contains(['*', '{', '[', '('])).into_vec().join("/");
    let found = [parent(file), package].into_iter().filter_map(|dir| join(dir, plain.trim_end_matches('/'))).into_vec();
    found.iter().find(is_there).or_else(|| found.iter().find(is_made)).cloned()
}

/// The imports of a package's scripts that lead to a file outside of it, and what these read there.
pub(super) fn imports(sources: &Sources<'_>, workspace: &Workspace, id: PackageId) -> Vec<Import> {
    let scripts = sources.of(id).iter().filter(|file| file.mode != Mode::Symlink && may_import(&file.path));
    let found = cores::map(&scripts.into_vec(), |file| {
        let Some(text) = workspace.contents().text(&file.path) else { return Vec::new() };
        let leaves = placed(&text).filter_map(|(at, named)| {
            let before = &text[..at];
            let imported = || resolve(sources.tree, parent(&file.path), &named).filter(|_| is_import(before));
            let to = imported().or_else(|| read(sources, workspace, id, &file.path, before, &named))?;
            (workspace.owner(&to) != id).then(|| Import {
                file: file.path.to_string(),
                line: text[..at].matches('\n').count() + 1,
                named: named.into_owned(),
                to,
            })
        });
        leaves.into_vec()
    });
    found.into_iter().flatten().into_vec()
}

/// True of what stands between `import` and a path, where none of it is left when types are gone: ` type A from `, ` { type A } from `.
fn is_for_types(named: &str) -> bool {
    let named = named.trim_start();
    let listed = named.strip_prefix('{').and_then(|rest| Some(rest.split_once('}')?.0));
    let all = |list: &str| list.split(',').map(str::trim).filter(|one| !one.is_empty()).all(|one| one.starts_with("type "));
    (named.starts_with("type ") && !named.starts_with("type from"))
        || listed.is_some_and(|list| !list.trim().is_empty() && all(list))
}

/// The literals of a text that stand right behind a word, with where each one's quote is.
fn behind<'a>(text: &'a str, words: &'static [&'static str]) -> impl Iterator<Item = (usize, &'a str)> {
    words.iter().flat_map(move |word| {
        let quotes = memchr::memmem::find_iter(text.as_bytes(), *word).map(move |at| at + word.len());
        let quotes = quotes.filter(|at| text.as_bytes().get(*at).is_some_and(|c| matches!(c, b'\'' | b'"')));
        quotes.filter_map(|at| literal(text, at + 1).map(|literal| (at, literal)))
    })
}

/// What a text imports for more than its types, as it is written: `'./a.js'`, `'zod'`.
pub(crate) fn written(text: &str) -> impl Iterator<Item = &str> {
    behind(text, &["from ", "from", "import ", "import("]).filter_map(|(quote, literal)| {
        let before = Some(&text[..quote]).filter(|before| is_import(before))?;
        let statement = ["import ", "export ", "import{"].iter().filter_map(|word| before.rfind(word)).max();
        let is_type = statement.is_some_and(|from| is_for_types(&before[from + "import".len()..]));
        (!is_type).then_some(literal)
    })
}

/// The packages that a text imports, by name.
pub(crate) fn named(text: &str) -> impl Iterator<Item = &str> {
    let quoted = behind(text, &["from ", "from", "import ", "import(", "require("]).map(|(_, literal)| literal);
    quoted.filter(|name| !name.starts_with(['.', '/', '#', '~']) && !name.contains(':')).map(|name| {
        let parts = if name.starts_with('@') { 2 } else { 1 };
        name.match_indices('/').nth(parts - 1).map_or(name, |(end, _)| &name[..end])
    })
}

/// True where what stands before a literal makes an import of it, and no comment.
pub(crate) fn is_import(before: &str) -> bool {
    let comment = is_in_comment(before);
    let before = before.trim_end();
    // A comment that compilers read.
    if before.ends_with("<reference path=") {
        return true;
    }
    !comment && IMPORTS.iter().any(|word| before.ends_with(word))
}

/// True where what stands before a literal on its line begins a comment that is not ended.
fn is_in_comment(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or(before).trim_start();
    let ended = line.rsplit("*/").next() != Some(line);
    line.starts_with("//") || ((line.starts_with('*') || line.starts_with("/*")) && !ended)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::git::File;

    #[test]
    fn the_paths_of_imports_are_found_and_those_of_comments_and_other_texts_are_not() {
        let text = "import a from '../../a.mjs';\nexport * from \"../b\"\nconst c = require(`./../c`)\n// import d from '../d'\n\
                    const e = '../e';\nimport '../f'; import('../g').then(() => '../h')\nimport { i } from 'x/../i'\n\
                    /* eslint */ import '../j'\n/* import '../k'\n * import '../l'\n */ import '../m'\n\
                    /// <reference path=\"../n.d.ts\" />\ncreateRequire(import.meta.url)('../o')\n@use \"../p\";\n";
        let found: Vec<_> = placed(text).filter(|(at, _)| is_import(&text[..*at])).map(|(_, named)| named).collect();
        let imported = ["../../a.mjs", "../b", "./../c", "../f", "../g", "../j", "../m", "../n.d.ts", "../o", "../p"];
        assert_eq!(found, imported);
        assert_eq!(literals(text).count(), 15);
        assert_eq!(
            beside("import './a'; import \"../b\"; import x from \"./c.mjs\"; import './d").collect::<Vec<_>>(),
            ["./a", "./c.mjs"]
        );
        // A literal that is cut off by the end of its line, or of the text, is none; nor is a file of a path alone, as git leaves a link.
        assert_eq!(literals("import '../a\n'; import \"../b").count(), 0);
        assert_eq!(literals("../shared/a.ts").count(), 0);
    }

    #[test]
    fn a_path_is_put_together_from_a_folder_and_the_texts_behind_it() {
        let text = "join(__dirname, '..', \"..\", 'locales', `${a}.json`); resolve(import.meta.dirname, '../..', 'data',\n  'a.csv')\n\
                    join(dirname(fileURLToPath(import.meta.url)), './..', 'b'); x(process.cwd(), '..', name); all(...a, '..', 'b', ['../c', '../d'])\n";
        assert_eq!(literals(text).collect::<Vec<_>>(), ["../../locales", "../../data/a.csv", "./../b", "../c", "../d"]);
    }

    #[test]
    fn what_a_text_imports_is_told_from_its_words_in_every_language() {
        let text =
            "// Copied from — see below\nimport a from './a';\nimport type { B } from './b'\n/* import € */ export * from \"c\"";
        assert_eq!(written(text).collect::<Vec<_>>(), ["./a", "c"]);
        assert_eq!(named(text).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn packages_are_named_without_what_leads_into_them() {
        let text = "import a from 'zod/v4'; import '@s/b/c.css'\nrequire(\"d\"), import('e'), './f', import \"node:fs\"\nfrom'g'";
        assert_eq!(named(text).collect::<BTreeSet<_>>(), ["zod", "@s/b", "d", "e", "g"].into());
    }

    #[test]
    fn a_path_leads_to_the_file_that_resolvers_find() {
        let paths = ["a.mjs", "b/index.ts", "c.ts", "d.json", "packages/e.tsx"];
        let tree = Tree::from_files(paths.iter().filter_map(|path| File::new(path, false, &"0".repeat(40))).collect());
        let find = |named| resolve(&tree, "packages/x", named);
        assert_eq!(find("../../a.mjs").as_deref(), Some("a.mjs"));
        assert_eq!(find("../../b").as_deref(), Some("b/index.ts"));
        assert_eq!(find("../../c.js").as_deref(), Some("c.ts"));
        assert_eq!(find("../../d.json?raw").as_deref(), Some("d.json"));
        assert_eq!(find("../e").as_deref(), Some("packages/e.tsx"));
        assert_eq!((find("../.."), find("../../../a.mjs"), find("../f")), (None, None, None));
    }
}
