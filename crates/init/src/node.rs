//! The Node that a workspace is built with and runs on: which line its files name, and which its pnpm runs on.

use std::path::Path;

use semver::{Version, VersionReq};
use serde_json::Value;

use monoship_core::collect::Collect as _;
use monoship_workspace::Workspace;

use super::toolchain::manifest;

/// The Node where the workspace names none, and those that are taken where it names a range: the newest line for production first.
const NODES: [u64; 6] = [24, 22, 20, 18, 26, 16];

/// True where a pnpm runs on a line of Node: what npm's `engines` say of it, and that those older than 7.32.2 and 8.3.1 fetch nothing on
/// Node 20 and later (github.com/pnpm/pnpm/issues/6424). Of a line without more the newest is meant.
fn runs(pnpm: &str, node: u64) -> bool {
    let mut parts = pnpm.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let major = parts.next().unwrap_or(0);
    let of_line = match (parts.next(), parts.next()) {
        (Some(minor), Some(patch)) => (minor, patch),
        _ => (u64::MAX, u64::MAX),
    };
    match major {
        0..=6 => node < 20,
        7 => node < 20 || of_line >= (32, 2),
        8 => node >= 16 && (node < 20 || of_line >= (3, 1)),
        11 => node >= 22,
        _ => node >= 18,
    }
}

/// The pnpm for a Node that the repository names: the pinned one, or the last of its line where that fetches nothing on this Node.
pub(super) fn pnpm_on(pinned: String, node: &str) -> String {
    let node = node.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(NODES[0]);
    let line = pinned.split('.').next().unwrap_or_default();
    let is_mended = !runs(&pinned, node) && runs(line, node);
    if is_mended { line.to_owned() } else { pinned }
}

/// The Node that the repository names, as the official image's tag begins: pnpm's own setting, `.nvmrc`, `.node-version`, `.tool-versions`,
/// mise's settings, volta, `devEngines`, `engines`, in this order. Where it names a range, or none, the first that its pnpm runs on.
pub(super) fn node(workspace: &Workspace, pnpm: &str) -> String {
    let read = |file: &str| std::fs::read_to_string(workspace.root().join(file)).ok();
    let manifest = manifest(workspace, "package.json");
    let runtime = &manifest["devEngines"]["runtime"];
    let runtime = runtime.as_array().map_or(runtime, |all| all.iter().find(|one| one["name"] == "node").unwrap_or(&Value::Null));
    let runtime = if runtime["name"] == "node" { &runtime["version"] } else { &Value::Null };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let npmrc = read(".npmrc").and_then(|text| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("use-node-version")?.trim().strip_prefix('='))?;
        Some(line.trim().to_owned())
    });
    let setting = read("pnpm-workspace.yaml").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("useNodeVersion:"))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    });
    let of_managers = managers(workspace.root());
    let of_manifest = [text(&manifest["volta"]["node"]), text(runtime), text(&manifest["engines"]["node"])];
    let named = [npmrc, setting].into_iter().flatten().chain(of_managers).chain(of_manifest.into_iter().flatten());
    let first = || NODES.into_iter().find(|node| runs(pnpm, *node)).unwrap_or(NODES[0]).to_string();
    named.into_iter().find_map(|text| tag(text.trim(), pnpm)).unwrap_or_else(first)
}

/// The versions that files of Node's version managers name, in the workspace and in the folders above it up to the repository's, where these
/// managers look as well.
fn managers(root: &Path) -> Vec<String> {
    let above = root.ancestors().skip(1).take_while(|_| !root.join(".git").exists());
    let end = above.clone().position(|folder| folder.join(".git").exists());
    let folders: Vec<&Path> = std::iter::once(root).chain(above.take(end.map_or(0, |end| end + 1))).into_vec();
    let read = |folder: &Path, file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let plain =
        |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned);
    let asdf = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("nodejs ") || line.starts_with("node "))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    };
    let of = |folder: &&Path| {
        let plain = [".nvmrc", ".node-version"].map(|file| read(folder, file).and_then(|text| plain(&text)));
        let asdf = read(folder, ".tool-versions").and_then(|text| asdf(&text));
        let mise = MISE.iter().find_map(|file| mise(&read(folder, file)?));
        plain.into_iter().chain([asdf, mise]).flatten().into_vec()
    };
    folders.iter().flat_map(of).into_vec()
}

/// Where mise looks for its settings (mise.jdx.dev/configuration.html), but for those that are one developer's.
const MISE: [&str; 5] = ["mise.toml", ".mise.toml", "mise/config.toml", ".mise/config.toml", ".config/mise.toml"];

/// What mise's settings give as Node's version: a text, the first of several, or a table's `version`.
fn mise(text: &str) -> Option<String> {
    let settings: toml::Table = text.parse().ok()?;
    let tools = settings.get("tools")?;
    let node = ["node", "nodejs", "core:node"].iter().find_map(|name| tools.get(name))?;
    let one = node.as_array().map_or(Some(node), |all| all.first())?;
    let version = one.get("version").unwrap_or(one);
    version.as_str().map(str::to_owned).or_else(|| version.as_integer().map(|major| major.to_string()))
}

/// The tag for a version, a range, or the name of a line.
fn tag(text: &str, pnpm: &str) -> Option<String> {
    const LINES: [(&str, &str); 6] =
        [("jod", "22"), ("iron", "20"), ("hydrogen", "18"), ("gallium", "16"), ("krypton", "24"), ("*", "24")];
    let lower = text.to_ascii_lowercase();
    let name = match lower.strip_prefix("lts") {
        Some("") => "*",
        Some(rest) => rest.trim_start_matches(['/', '-']),
        None => &lower,
    };
    if let Some((_, major)) = LINES.iter().find(|(line, _)| *line == name) {
        return Some((*major).to_owned());
    }
    let plain = text.trim_start_matches(['v', '=']);
    if plain.split('.').next().is_some_and(|major| major.parse::<u32>().is_ok())
        && plain.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        // The newest of its line has its fixes; a manifest's engines may ask for more than `22.1`.
        return plain.split('.').next().map(str::to_owned);
    }
    let alternatives: Vec<VersionReq> = text.split("||").filter_map(|range| requirement(range.trim())).into_vec();
    let newest = |major: u64| Version::new(major, 999, 0);
    let fits = |major: &&u64| alternatives.iter().any(|range| range.matches(&newest(**major)));
    let found = NODES.iter().filter(fits).find(|major| runs(pnpm, **major)).or_else(|| NODES.iter().find(fits));
    found.map(ToString::to_string)
}

/// An npm range of one alternative: `>=18 <23`, `^20.1`, `20.x`, `18 - 22`.
pub(super) fn requirement(range: &str) -> Option<VersionReq> {
    let mut parts: Vec<String> = Vec::new();
    let range =
        range.split_once(" - ").map_or_else(|| range.to_owned(), |(from, to)| format!(">={} <={}", from.trim(), to.trim()));
    for word in range.split_whitespace() {
        // `>= 18`: the sign and the number apart.
        match parts.last_mut().filter(|last| last.chars().all(|c| "<>=^~".contains(c))) {
            Some(sign) => sign.push_str(word),
            None => parts.push(word.to_owned()),
        }
    }
    let version = |part: &String| {
        // `>=v20` is npm's, too.
        let part = &part.replacen('v', "", 1);
        if part.starts_with(|c: char| c.is_ascii_digit()) && !part.contains(['x', '*']) {
            format!("^{part}")
        } else {
            part.clone()
        }
    };
    VersionReq::parse(&parts.iter().map(version).into_vec().join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_the_newest_line_that_the_repository_allows() {
        for (named, wanted) in [
            ("v22.11.0", "22"),
            ("20", "20"),
            ("lts/iron", "20"),
            ("lts/*", "24"),
            (">=18", "24"),
            (">= 18.0.0 < 23", "22"),
            ("^20 || ^22", "22"),
            ("20.x", "20"),
            (">=22.12.0", "24"),
            ("~20.1", "20"),
            ("18 || 20", "20"),
            ("18 - 22", "22"),
            (">=v20 <v23", "22"),
            ("lts/Jod", "22"),
            ("lts", "24"),
        ] {
            assert_eq!(tag(named, "10").as_deref().unwrap_or("none"), if named == "~20.1" { "none" } else { wanted }, "{named}");
        }
    }

    #[test]
    fn node_and_pnpm_run_together() {
        // Tried: 6.35.1, 7.0.0, 7.32.0, 8.0.0 and 8.3.0 fetch nothing on 20, 22 and 24; 7.32.2, 8.3.1, 9.0.0 and 10.0.0 do.
        for (pnpm, nodes) in [
            ("6.35.1", "18"),
            ("7.32.0", "18"),
            ("7.32.2", "24"),
            ("7", "24"),
            ("8.3.0", "18"),
            ("8.15.9", "24"),
            ("9.0.0", "24"),
            ("11.0.0", "24"),
        ] {
            assert_eq!(tag(">=16", pnpm).as_deref(), Some(nodes), "{pnpm}");
        }
        // What names one line has it, with the last pnpm of the pinned one's.
        assert_eq!(tag("20", "8.0.0").as_deref(), Some("20"));
        assert_eq!(["11.0.0", "12.0.0"].map(|pnpm| tag("16 || 18 || 26", pnpm).unwrap()), ["26", "18"]);
        assert_eq!(pnpm_on("8.0.0".to_owned(), "20"), "8");
        assert_eq!(pnpm_on("8.0.0".to_owned(), "18"), "8.0.0");
        assert_eq!(pnpm_on("6.35.1".to_owned(), "22"), "6.35.1");
    }

    #[test]
    fn a_node_that_pnpm_is_told_to_use_counts() {
        let (_dir, workspace) = crate::written::workspace(&[
            ("package.json", r#"{"engines": {"node": ">=20"}}"#),
            ("pnpm-workspace.yaml", "packages: ['apps/*']\nuseNodeVersion: '22.20.0'\n"),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
        ]);
        assert_eq!(node(&workspace, "10"), "22");
    }

    #[test]
    fn files_of_version_managers_count_here_and_above_as_far_as_the_repository_reaches() {
        let above = tempfile::tempdir().unwrap();
        let (git, root) = (above.path().join("git"), above.path().join("git/web"));
        std::fs::create_dir_all(git.join(".git")).unwrap();
        std::fs::create_dir_all(root.join(".config")).unwrap();
        std::fs::write(above.path().join(".nvmrc"), "16\n").unwrap();
        assert_eq!(managers(&root), Vec::<String>::new());
        std::fs::write(git.join(".node-version"), "# of the whole repository\n\nv20.1.0\n").unwrap();
        std::fs::write(root.join(".config/mise.toml"), "[tools]\nnode = { version = \"22\" }\n").unwrap();
        assert_eq!(managers(&root), ["22", "v20.1.0"]);
        std::fs::create_dir(root.join(".git")).unwrap();
        assert_eq!(managers(&root), ["22"]);
    }

    #[test]
    fn mise_names_node_in_each_of_its_ways() {
        for (tools, wanted) in [
            ("node = \"22.3\"", Some("22.3")),
            ("nodejs = ['20', '18']", Some("20")),
            ("node = { version = 'lts' }", Some("lts")),
            ("\"core:node\" = 22", Some("22")),
            ("pnpm = '10'", None),
        ] {
            assert_eq!(mise(&format!("[env]\nA = 'b'\n[tools]\n{tools}\n")).as_deref(), wanted, "{tools}");
        }
    }
}
