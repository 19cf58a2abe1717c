//! The variables that a build reads: what a repository's example of its environment gives them, so that a first build has them; and those
//! that its sources name.

mod named;

use std::path::Path;

use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::Workspace;
use named::Named;

/// What a build is told by the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Variables {
    /// Those that end up in what browsers get: arguments of the Dockerfile, to be given for each installation.
    pub public: SortedMap<String, String>,
    /// Those that a build only has to find.
    pub private: SortedMap<String, String>,
    /// Those that sources and settings name beside them: arguments without a value.
    pub named: SortedSet<String>,
}

/// Examples of an environment, in the order in which they count.
const EXAMPLES: [&str; 8] = [
    ".env.example",
    ".env.local.example",
    ".env.sample",
    ".env.template",
    ".env.dist",
    ".env.production.example",
    "env.example",
    ".example.env",
];

/// What frameworks put into what browsers get.
const PUBLIC: [&str; 7] = ["NEXT_PUBLIC_", "VITE_", "PUBLIC_", "REACT_APP_", "NUXT_PUBLIC_", "GATSBY_", "VUE_APP_"];

/// What the image or the machine says, and what turns on a service of somebody else's.
const NEVER: [&str; 12] =
    ["NODE_ENV", "CI", "PATH", "HOME", "PORT", "HOST", "HOSTNAME", "SENTRY", "TURBO", "VERCEL", "NODE_OPTIONS", "NPM_TOKEN"];

/// What the examples at the root and in these folders give to variables; the later folder counts. `${NAME}` in a value is the value of that.
#[must_use]
pub fn examples(root: &Path, folders: &[&str]) -> SortedMap<String, String> {
    let mut all = SortedMap::new();
    for folder in std::iter::once(".").chain(folders.iter().copied()) {
        let texts = EXAMPLES.iter().filter_map(|name| std::fs::read_to_string(root.join(folder).join(name)).ok());
        for text in texts.take(1) {
            all.extend(text.lines().filter_map(assignment));
        }
    }
    let whole =
        |value: &String| all.iter().fold(value.clone(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
    all.iter().map(|(name, value)| (name.clone(), whole(value))).collect()
}

/// True of a file of the environment that says nothing but what browsers get anyway.
pub(super) fn is_public(text: &str) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut names = lines.map(|line| line.strip_prefix("export ").unwrap_or(line)).peekable();
    names.peek().is_some() && names.all(|line| PUBLIC.iter().any(|prefix| line.starts_with(prefix)))
}

/// The variables of a service whose closure has these folders, the root's first and the service's own last.
pub(super) fn of(workspace: &Workspace, folders: &[&str], uses_prisma: bool) -> Variables {
    let root = workspace.root();
    let mut all = examples(root, folders);
    all.retain(|_, value| is_plain(value));
    // A schema's settings read it (`env("DATABASE_URL")`); nothing is connected to while a client is generated.
    if uses_prisma {
        all.entry("DATABASE_URL".to_owned()).or_insert_with(|| "postgresql://user:password@localhost:5432/db".to_owned());
    }
    let (mut public, mut private): (SortedMap<_, _>, SortedMap<_, _>) =
        all.into_iter().partition(|(name, _)| PUBLIC.iter().any(|prefix| name.starts_with(prefix)));
    if skips_validation(root, folders) {
        private.insert("SKIP_ENV_VALIDATION".to_owned(), "1".to_owned());
    }
    let mut found = Named::default();
    folders.iter().for_each(|folder| found.look(workspace, folder));
    let is_new = |name: &String| !public.contains_key(name) && !private.contains_key(name);
    let required: Vec<String> = found.required.into_iter().filter(is_new).into_vec();
    let named = found.read.into_iter().filter(|name| is_new(name) && !required.contains(name)).into_set();
    public.extend(required.into_iter().map(|name| (name, String::new())));
    Variables { public, private, named }
}

/// True of a value that may stand in a Dockerfile.
fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_graphic() && !"'\"`\\$<>{}#".contains(c))
}

/// `NAME=value`.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim().strip_prefix("export ").unwrap_or(line.trim());
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let value = value.trim();
    let value =
        match value.strip_prefix('"').map(|rest| (rest, '"')).or_else(|| value.strip_prefix('\'').map(|rest| (rest, '\''))) {
            Some((rest, quote)) => rest.split(quote).next()?,
            None => value.split(" #").next()?.trim(),
        };
    let never = NEVER.iter().any(|no| name == *no || name.starts_with(&format!("{no}_")));
    (is_name && !value.is_empty() && !never).then(|| (name.to_owned(), value.to_owned()))
}

/// True where a file directly in one of these folders, or in its `src`, knows the variable by which the usual validators are told to wait.
fn skips_validation(root: &Path, folders: &[&str]) -> bool {
    let places =
        folders.iter().flat_map(|folder| ["", "src", "src/lib", "lib", "env"].map(|below| root.join(folder).join(below)));
    let mut files = places.filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten().map(|entry| entry.path());
    files.any(|path| {
        let is_script =
            path.extension().is_some_and(|ending| ["ts", "js", "mjs", "mts", "cjs"].iter().any(|known| ending == *known));
        is_script && path.is_file() && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("SKIP_ENV_VALIDATION"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written::workspace;

    #[test]
    fn an_environment_is_public_where_browsers_get_all_of_it() {
        assert!(is_public("# for all\nVITE_API=/api\n\nexport NEXT_PUBLIC_A='b'\n"));
        assert!(!is_public("VITE_API=/api\nDATABASE_URL=x\n") && !is_public("# nothing\n"));
    }

    #[test]
    fn examples_give_the_variables_and_browsers_get_theirs_as_arguments() {
        let text = "# all of it\nDATABASE_URL=\"postgres://u:p@localhost/x\" # local\nexport NEXT_PUBLIC_URL=http://localhost:3000\nEMPTY=\nSENTRY_DSN=x\nODD=$(id)\nLIST=[\"a\", \"b\"]\nAPI_PORT=81\nAPI_URL=http://a:${API_PORT}/\n";
        let source =
            "process.env.NEXT_PUBLIC_URL ?? process.env.NEXT_PUBLIC_OTHER;\nimport { PUBLIC_A } from '$env/static/public';\n";
        let (dir, workspace) = workspace(&[
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: [web]\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("web/package.json", "{}"),
            ("web/.env.example", text),
            ("web/main.ts", source),
        ]);
        let found = of(&workspace, &["web"], false);
        assert_eq!(
            found.public.into_iter().collect::<Vec<_>>(),
            [("NEXT_PUBLIC_URL", "http://localhost:3000"), ("PUBLIC_A", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(
            found.private.into_iter().collect::<Vec<_>>(),
            [("API_PORT", "81"), ("API_URL", "http://a:81/"), ("DATABASE_URL", "postgres://u:p@localhost/x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(found.named.into_iter().collect::<Vec<_>>(), ["NEXT_PUBLIC_OTHER"]);
        // A container takes any value.
        assert_eq!(examples(dir.path(), &["web"])["LIST"], "[\"a\", \"b\"]");
    }
}
