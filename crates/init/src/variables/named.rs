//! The variables that a build reads by name: what sources take for browsers, what frameworks' settings ask for. No example need have them.

use super::{NEVER, PUBLIC};
use monoship_core::sorted::SortedSet;
use monoship_plan::config::argument;
use monoship_workspace::{Workspace, tools};

/// Settings of frameworks, by what their names begin with.
const SETTINGS: [&str; 9] = [
    "next.config.",
    "nuxt.config.",
    "vite.config.",
    "astro.config.",
    "svelte.config.",
    "app.config.",
    "react-router.config.",
    "remix.config.",
    "gatsby-config.",
];

/// What stands before the name of a variable: `process.env.NAME`, `import.meta.env.NAME`, `env["NAME"]`, `%NAME%` in a page.
const BEFORE: [&str; 4] = ["env.", "env['", "env[\"", "%"];

/// The endings of sources that may read one.
const SOURCES: [&str; 12] = ["ts", "tsx", "js", "jsx", "mts", "mjs", "cts", "cjs", "vue", "svelte", "astro", "html"];

/// The variables that are named in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Those that may be missing.
    pub(super) read: SortedSet<String>,
    /// Those without which SvelteKit does not build: imported of `$env/static`.
    pub(super) required: SortedSet<String>,
}

impl Named {
    /// Looks through the sources below a folder, and its own settings.
    pub(super) fn look(&mut self, workspace: &Workspace, folder: &str) {
        tools::files(workspace, folder, &is_source, &mut |path, text| {
            self.source(text);
            if SETTINGS.iter().any(|settings| path.starts_with(settings)) {
                self.settings(text);
            }
            true
        });
    }

    fn source(&mut self, text: &str) {
        let validates = text.contains("createEnv(");
        let is_public = |name: &str| PUBLIC.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
        let named = words(text).filter(|(before, name, after)| {
            is_public(name) && (BEFORE.iter().any(|start| before.ends_with(start)) || validates && after.starts_with(':'))
        });
        self.read.extend(named.map(|(_, name, _)| name.to_owned()));
        for (at, _) in text.match_indices("$env/static/") {
            let imported = text[..at].rsplit_once('{').and_then(|(_, after)| after.split_once('}'));
            let names = imported.map_or("", |(names, _)| names).split(',').filter_map(|name| name.split_whitespace().next());
            self.required.extend(names.filter(|name| is_argument(name)).map(str::to_owned));
        }
    }

    fn settings(&mut self, text: &str) {
        let named = words(text).filter(|(before, name, after)| {
            let is_read =
                BEFORE[..3].iter().any(|start| before.strip_suffix(start).is_some_and(|rest| rest.ends_with("process.")));
            is_argument(name) && (is_read || after.trim_start_matches(':').trim_start().starts_with("envField."))
        });
        self.read.extend(named.map(|(_, name, _)| name.to_owned()));
    }
}

/// The words of a text that may be a variable's name, each with what stands before and behind it.
fn words(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let is_inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].find(|c: char| c.is_ascii_uppercase())?;
        let start = at;
        at += text[at..].find(|c| !is_inner(c)).unwrap_or(text.len() - at);
        Some((&text[..start], &text[start..at], &text[at..]))
    })
}

/// True of a name that a build argument may have, and that neither machine nor image says by itself.
fn is_argument(name: &str) -> bool {
    let is_said = NEVER.iter().any(|no| name == *no || name.starts_with(&format!("{no}_")));
    name.len() > 1 && !is_said && argument(name, "0").is_ok()
}

/// True of a source, by its path below the package's folder. What lies in `public` is handed on as it is.
fn is_source(path: &str) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    SOURCES.contains(&ending) && !path.starts_with("public/") && !tools::is_test(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written::workspace;

    fn of(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let of_web = files.iter().map(|(file, text)| (format!("web/{file}"), *text));
        let root = [
            ("package.json", "{}"),
            ("pnpm-workspace.yaml", "packages: [web, web/inner]\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("web/package.json", "{}"),
        ];
        let all: Vec<(String, &str)> = root.map(|(file, text)| (file.to_owned(), text)).into_iter().chain(of_web).collect();
        let all: Vec<(&str, &str)> = all.iter().map(|(file, text)| (file.as_str(), *text)).collect();
        let (_dir, workspace) = workspace(&all);
        let mut named = Named::default();
        named.look(&workspace, "web");
        (named.read.into_iter().collect(), named.required.into_iter().collect())
    }

    #[test]
    fn sources_name_what_browsers_get_in_all_the_usual_ways() {
        let (read, required) = of(&[
            ("src/a.ts", "const a = process.env.NEXT_PUBLIC_A ?? import.meta.env.VITE_B; const text = 'VITE_NOT';\n"),
            ("src/b.vue", "<script>const { url } = process.env[\"NEXT_PUBLIC_C\"];</script>\n"),
            ("index.html", "<title>%VITE_TITLE%</title>\n"),
            ("env.ts", "export const env = createEnv({ client: { NEXT_PUBLIC_D: z.string() }, server: { KEY: z.string() } });\n"),
            ("src/private.ts", "process.env.DATABASE_URL; process.env.NEXT_PUBLIC_;\n"),
            ("src/a.test.ts", "process.env.NEXT_PUBLIC_TEST\n"),
            ("dist/a.js", "process.env.NEXT_PUBLIC_MADE\n"),
            ("inner/package.json", "{}"),
            ("inner/a.ts", "process.env.NEXT_PUBLIC_OTHERS\n"),
        ]);
        assert_eq!(read, ["NEXT_PUBLIC_A", "NEXT_PUBLIC_C", "NEXT_PUBLIC_D", "VITE_B", "VITE_TITLE"]);
        assert_eq!(required, [""; 0]);
    }

    #[test]
    fn settings_of_frameworks_name_any_but_secrets() {
        let (read, _) = of(&[
            (
                "next.config.ts",
                "const a = process.env.CDN_HOST; process.env['BASE_PATH']; process.env.NODE_ENV; process.env.API_TOKEN;\n",
            ),
            ("astro.config.mjs", "env: { schema: { API_URL: envField.string({ context: 'server' }) } }\n"),
            ("drizzle.config.ts", "process.env.DATABASE_URL\n"),
        ]);
        assert_eq!(read, ["API_URL", "BASE_PATH", "CDN_HOST"]);
    }

    #[test]
    fn what_sveltekit_imports_has_to_be_there() {
        let (_, required) = of(&[(
            "src/hooks.server.ts",
            "import { DB_HOST, PUBLIC_URL as url } from '$env/static/private';\nimport { env } from '$env/dynamic/private';\n",
        )]);
        assert_eq!(required, ["DB_HOST", "PUBLIC_URL"]);
    }
}
