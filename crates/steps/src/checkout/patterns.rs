//! What a checkout selects, as the patterns of a sparse checkout.

use std::cell::RefCell;

use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_plan::config::given::ContextSource;
use monoship_plan::config::{Config, DEFAULT_PATTERNS};
use monoship_workspace::dockerfile::place;
use monoship_workspace::git::Git;
use monoship_workspace::glob::Patterns;
use monoship_workspace::load::SETTINGS;
use monoship_workspace::sources::parent;
use monoship_workspace::yaml::{self, Yaml};
use pnpm::join;

/// Files at the root that a build reads beside its packages, and git beside those: selected whatever the configuration says.
const ROOT_FILES: [&str; 11] = [
    ".dockerignore",
    ".gitattributes",
    ".gitmodules",
    ".npmrc",
    ".pnpmfile.cjs",
    ".pnpmfile.mjs",
    "package.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "xtask.lock",
    "xtask.toml",
];

/// True where the configuration leaves it to us what is selected: then what the build turns out to need is added.
pub(super) fn are_default(config: &Config) -> bool {
    config.checkout_patterns == DEFAULT_PATTERNS
}

/// The patterns for a commit: those of the configuration, the Dockerfile and the ignore files that go with it, what services include, and
/// folders that are named contexts. By default also the folders where the commit's workspace has its packages.
///
/// # Errors
/// When git cannot be run.
pub(super) fn selected(config: &Config, git: &Git, commit: &str) -> Result<Vec<String>> {
    let mut all = config.checkout_patterns.clone();
    let mut add = |pattern: String| {
        if !all.contains(&pattern) {
            all.push(pattern);
        }
    };
    ROOT_FILES.iter().for_each(|file| add(exact(file)));
    let dockerfile = join(".", &config.images.dockerfile).unwrap_or_default();
    [exact(&dockerfile), exact(&format!("{dockerfile}.dockerignore"))].into_iter().for_each(&mut add);
    let mut links: Vec<_> = ROOT_FILES.iter().map(|file| (".".to_owned(), (*file).to_owned())).into_vec();
    let mut read = |dockerfile: &str| {
        let (dir, name) = (parent(dockerfile), dockerfile.rsplit('/').next().unwrap_or_default());
        links.extend([name.to_owned(), format!("{name}.dockerignore")].map(|name| (dir.to_owned(), name)));
    };
    read(&dockerfile);
    for own in config.services.iter().filter_map(|service| service.own.as_ref()) {
        read(&own.dockerfile);
        let ignore = join(&own.context, ".dockerignore").unwrap_or_default();
        [own.dockerfile.clone(), format!("{}.dockerignore", own.dockerfile), ignore].iter().for_each(|path| add(exact(path)));
    }
    let given = config.services.iter().map(|service| &service.given).chain([&config.images.given]);
    for source in given.flat_map(|given| given.contexts.values()) {
        if let ContextSource::Folder(path) = source
            && let Some(path) = join(".", path)
        {
            add(exact(&path));
        }
    }
    let own = config.services.iter().filter_map(|service| service.own.as_ref());
    links.extend(own.map(|own| (own.context.clone(), ".dockerignore".to_owned())));
    for path in led_to(git, commit, &links)? {
        add(exact(&path));
    }
    let included = Patterns::new(config.services.iter().flat_map(|service| &service.include).map(String::as_str));
    included.written().for_each(&mut add);
    if are_default(config) {
        let text = git.text_at(commit, SETTINGS)?.unwrap_or_default();
        let settings = yaml::parse(&text).ok().and_then(|mut documents| documents.pop());
        let listed = settings.as_ref().and_then(|tree| tree.get("packages")).map_or(&[][..], Yaml::items);
        let packages = Patterns::new(listed.iter().filter_map(Yaml::as_str));
        packages.written().for_each(&mut add);
    }
    Ok(all)
}

/// Where links lead that the commit has in place of these files, each in the folder that a builder is sent for it.
fn led_to(git: &Git, commit: &str, files: &[(String, String)]) -> Result<Vec<String>> {
    let mut paths: Vec<String> = files.iter().filter_map(|(dir, name)| join(dir, name)).into_vec();
    paths.sort_unstable();
    paths.dedup();
    let list = ["ls-tree", "-z", commit, "--"].into_iter().chain(paths.iter().map(String::as_str));
    let listed = git.ask(&list.into_vec())?.unwrap_or_default();
    let is_link = |path: &str| {
        let mut entries = listed.split('\0').filter_map(|entry| entry.split_once('\t'));
        entries.any(|(mode, name)| name == path && mode.starts_with("120000 "))
    };
    let passed = RefCell::new(Vec::new());
    // They are few, so git is asked for each.
    let link = |path: &str| {
        passed.borrow_mut().push(path.to_owned());
        git.link_at(commit, path).ok()?
    };
    let led = files.iter().filter(|(dir, name)| join(dir, name).is_some_and(|path| is_link(&path)));
    let led: Vec<String> = led.filter_map(|(dir, name)| place::below(dir, name, &link)).into_vec();
    Ok(led.into_iter().chain(passed.into_inner()).into_vec())
}

/// The pattern that a path alone matches, or a path with other characters in the place of its line ends, which no line can have. A file and a
/// folder of one name are told apart by nothing, as in git's own list.
pub(super) fn exact(path: &str) -> String {
    let mut out = String::new();
    for (at, c) in path.chars().enumerate() {
        if matches!(c, '\\' | '*' | '?' | '[') || at == 0 && c == '!' {
            out.push('\\');
        }
        out.push(if matches!(c, '\n' | '\r') { '?' } else { c });
    }
    // Git drops blanks at the end of a pattern.
    if out.ends_with(' ') {
        out.insert(out.len() - 1, '\\');
    }
    out
}

/// The patterns as git's file has them. They are of the workspace's folder in the repository, `prefix` (with a slash at its end, or empty):
/// `apps` must not select every folder of that name.
pub(super) fn anchored(prefix: &str, patterns: &[String]) -> String {
    let prefix = exact(prefix);
    let lines = patterns.iter().map(|p| match p.strip_prefix('!') {
        Some(rest) => format!("!/{prefix}{}\n", rest.trim_start_matches('/')),
        None => format!("/{prefix}{}\n", p.trim_start_matches('/')),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_the_workspaces_folder_and_odd_names_match_themselves() {
        let patterns =
            ["apps", "!apps/old", "/tsconfig*.json", &exact("a [1]*.ts "), &exact("!a\n!b.ts"), &exact("plain/file.ts")]
                .map(str::to_owned);
        let expected = "/ws/apps\n!/ws/apps/old\n/ws/tsconfig*.json\n/ws/a \\[1]\\*.ts\\ \n/ws/\\!a?!b.ts\n/ws/plain/file.ts\n";
        assert_eq!(anchored("ws/", &patterns), expected);
        assert_eq!(anchored("", &patterns[..1]), "/apps\n");
    }
}
