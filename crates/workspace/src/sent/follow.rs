//! Where links in the path of a COPY lead. A builder is sent what a link in a pattern points to and takes that (`COPY link /x` copies
//! what it leads to); links below a folder that is copied stay links, and are not followed here.

use std::path::Path;

use crate::dockerignore::path_match;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;

/// The pattern itself, and each place that a link in it leads to.
pub fn links(root: &Path, pattern: &str) -> SortedSet<String> {
    let mut found = SortedSet::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        if found.insert(pattern.clone()) {
            step(root, &pattern, &mut found, &mut open);
        }
    }
    found
}

/// Notes the links on the way of one pattern in `found`, and what they make of it in `open`.
fn step(root: &Path, pattern: &str, found: &mut SortedSet<String>, open: &mut Vec<String>) {
    let parts: Vec<&str> = pattern.split('/').into_vec();
    // A wildcard in the middle can go several ways.
    let mut ways = vec![String::new()];
    for (at, part) in parts.iter().enumerate() {
        let mut next = Vec::new();
        for way in &ways {
            for name in names(root, way, part) {
                let path = if way.is_empty() { name } else { format!("{way}/{name}") };
                match target(root, &path) {
                    Some(target) => {
                        let rest = parts[at + 1..].iter().copied();
                        let led = target.split('/').chain(rest).filter(|part| !part.is_empty() && *part != ".");
                        let led: Vec<&str> = led.into_vec();
                        open.push(if led.is_empty() { ".".to_owned() } else { led.join("/") });
                        found.insert(path);
                    }
                    None => next.push(path),
                }
            }
        }
        ways = next;
    }
}

/// The names in a folder that one part of a pattern means.
fn names(root: &Path, folder: &str, part: &str) -> Vec<String> {
    if !part.contains(['*', '?', '[', '\\']) {
        return vec![part.to_owned()];
    }
    let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| path_match(part, name).unwrap_or(false)).into_vec()
}

/// Where a link leads, relative to the context, which it cannot leave; `None` for what is no link.
fn target(root: &Path, path: &str) -> Option<String> {
    let link = std::fs::read_link(root.join(path)).ok()?;
    let link = link.to_str()?;
    let mut parts: Vec<&str> = match path.rsplit_once('/') {
        Some((folder, _)) if !link.starts_with('/') => folder.split('/').into_vec(),
        _ => Vec::new(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
