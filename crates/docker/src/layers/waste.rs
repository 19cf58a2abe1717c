//! What an image's files come to: bytes that nobody can see any more, contents that lie in it twice, npm packages, and what differs
//! from another image. Pure.

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde::Serialize;

use super::{File, Image};

/// Copies of smaller files are not worth a line: licences and the like are in every package.
const MIN_COPY: u64 = 16 << 10;

/// Why bytes are wasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waste {
    /// A later layer puts the file again, with the same content.
    Repeated,
    /// A later layer puts another file in its place.
    Replaced,
    /// A later layer deletes it.
    Deleted,
}

/// A file that is in the image and cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wasted {
    /// Its path.
    pub path: String,
    /// Its bytes, unpacked.
    pub bytes: u64,
    /// Why.
    pub why: Waste,
    /// The layer that holds it, counted from 0.
    pub layer: usize,
    /// The layer that hides it.
    pub by: usize,
}

/// One content that can be seen under several names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Copies {
    /// What all but one take, unpacked.
    pub bytes: u64,
    /// The names, each with its layer.
    pub places: Vec<(String, usize)>,
}

/// Everything an image holds of one version of an npm package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// Its name, scope included.
    pub name: String,
    /// Its version; empty where its manifest is not there.
    pub version: String,
    /// Its bytes, unpacked, all its places together.
    pub bytes: u64,
    /// In how many places it is installed.
    pub places: usize,
}

/// What changed from one image to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// How many layers both have.
    pub shared_layers: usize,
    /// Files that differ, with the bytes they had and have; null where one is not there. Largest change first.
    pub files: Vec<(String, Option<u64>, Option<u64>)>,
    /// npm packages that differ, with the versions there were and are.
    pub packages: Vec<(String, Vec<String>, Vec<String>)>,
}

/// Files by path, each with its layer.
type Seen<'a> = BTreeMap<&'a str, (usize, &'a File)>;

/// The files that can be seen, and those that cannot.
fn settled(image: &Image) -> (Seen<'_>, Vec<Wasted>) {
    let (mut there, mut lost) = (Seen::new(), Vec::new());
    let mut hide = |(layer, file): (usize, &File), why, by| {
        if file.size > 0 {
            lost.push(Wasted { path: file.path.clone(), bytes: file.size, why, layer, by });
        }
    };
    for (by, layer) in image.layers.iter().enumerate() {
        let listing = &layer.listing;
        // What a layer takes away lies in the layers below it, wherever in the archive it says so.
        let gone = listing.removed.iter().filter_map(|path| there.get_key_value(path.as_str()).map(|(path, _)| *path));
        let mut gone: BTreeSet<&str> = gone.collect();
        gone.extend(listing.removed.iter().chain(&listing.emptied).flat_map(|folder| below(&there, folder)));
        for path in gone {
            there.remove(path).into_iter().for_each(|file| hide(file, Waste::Deleted, by));
        }
        for file in &listing.files {
            if let Some(before) = there.insert(&file.path, (by, file)) {
                let same = before.1.content == file.content;
                hide(before, if same { Waste::Repeated } else { Waste::Replaced }, by);
            }
        }
        for path in &listing.others {
            there.remove(path.as_str()).into_iter().for_each(|file| hide(file, Waste::Replaced, by));
        }
    }
    (there, lost)
}

fn below<'a>(there: &Seen<'a>, folder: &str) -> Vec<&'a str> {
    let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let from = (Bound::Included(start.as_str()), Bound::Unbounded);
    there.range::<str, _>(from).map(|(path, _)| *path).take_while(|path| path.starts_with(&start)).into_vec()
}

/// The files that a container sees, each with its layer (counted from 0), largest first.
#[must_use]
pub fn visible(image: &Image) -> Vec<(usize, &File)> {
    let mut files: Vec<_> = settled(image).0.into_values().into_vec();
    files.sort_by(|a, b| b.1.size.cmp(&a.1.size).then_with(|| a.1.path.cmp(&b.1.path)));
    files
}

/// The files that are in the image and cannot be seen, largest first.
#[must_use]
pub fn wasted(image: &Image) -> Vec<Wasted> {
    let mut lost = settled(image).1;
    lost.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    lost
}

/// Contents of 16 KiB and more that can be seen under several names, costliest first. Hard links cost nothing and are not among them.
#[must_use]
pub fn copies(image: &Image) -> Vec<Copies> {
    let mut by_content: HashMap<[u8; 32], Vec<(usize, &File)>> = HashMap::new();
    for (layer, file) in visible(image).into_iter().filter(|(_, file)| file.size >= MIN_COPY) {
        by_content.entry(file.content).or_default().push((layer, file));
    }
    let copied = by_content.into_values().filter(|files| files.len() > 1);
    let mut found: Vec<Copies> = copied
        .map(|files| Copies {
            bytes: files[1..].iter().map(|(_, file)| file.size).sum(),
            places: files.into_iter().map(|(layer, file)| (file.path.clone(), layer)).into_vec(),
        })
        .into_vec();
    found.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.places.cmp(&b.places)));
    found
}

/// The folder of the installed package that a path is part of, or is: `…/node_modules/<name>`, `…/node_modules/@scope/<name>`.
pub(super) fn package_folder(path: &str) -> Option<&str> {
    const MODULES: &str = "node_modules/";
    let at = path.rmatch_indices(MODULES).map(|(at, _)| at).find(|at| *at == 0 || path.as_bytes()[at - 1] == b'/')?;
    let start = at + MODULES.len();
    let rest = &path[start..];
    let parts = if rest.starts_with('@') { 2 } else { 1 };
    let end = rest.match_indices('/').nth(parts - 1).map_or(rest.len(), |(end, _)| end);
    let whole = rest[..end].split('/').filter(|part| !part.is_empty()).count() == parts;
    (whole && !rest.starts_with('.')).then(|| &path[..start + end])
}

/// The npm packages that can be seen, largest first.
#[must_use]
pub fn packages(image: &Image) -> Vec<Package> {
    let versions = image.layers.iter().flat_map(|layer| &layer.listing.versions);
    let versions: HashMap<&str, &str> = versions.map(|(folder, version)| (folder.as_str(), version.as_str())).collect();
    let mut folders: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, file) in settled(image).0.into_values() {
        if let Some(folder) = package_folder(&file.path) {
            *folders.entry(folder).or_default() += file.size;
        }
    }
    let mut found: SortedMap<(&str, &str), (u64, usize)> = SortedMap::new();
    for (folder, bytes) in folders {
        let name = folder.rsplit_once("node_modules/").map_or(folder, |(_, name)| name);
        let entry = found.entry((name, versions.get(folder).copied().unwrap_or_default())).or_default();
        *entry = (entry.0 + bytes, entry.1 + 1);
    }
    let found = found.into_iter();
    let mut packages: Vec<Package> = found
        .map(|((name, version), (bytes, places))| Package { name: name.to_owned(), version: version.to_owned(), bytes, places })
        .into_vec();
    packages.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (&a.name, &a.version).cmp(&(&b.name, &b.version))));
    packages
}

/// What changed from `before` to `after`: layers, files that can be seen, npm packages.
#[must_use]
pub fn difference(before: &Image, after: &Image) -> Difference {
    let known = before.layers.iter().map(|layer| &layer.diff_id).into_set();
    let (old, new) = (settled(before).0, settled(after).0);
    let mut files = Vec::new();
    for path in old.keys().chain(new.keys()).copied().collect::<BTreeSet<_>>() {
        let (was, is) = (old.get(path).map(|(_, file)| *file), new.get(path).map(|(_, file)| *file));
        if was.map(|file| file.content) != is.map(|file| file.content) {
            files.push((path.to_owned(), was.map(|file| file.size), is.map(|file| file.size)));
        }
    }
    let change = |file: &(String, Option<u64>, Option<u64>)| file.1.unwrap_or(0).abs_diff(file.2.unwrap_or(0));
    files.sort_by(|a, b| change(b).cmp(&change(a)).then_with(|| a.0.cmp(&b.0)));
    let (mut old, mut new) = (versions(before), versions(after));
    let names = old.keys().chain(new.keys()).cloned().into_set();
    let packages = names.into_iter().map(|name| {
        let (was, is) = (old.remove(&name).unwrap_or_default(), new.remove(&name).unwrap_or_default());
        (name, was, is)
    });
    Difference {
        shared_layers: after.layers.iter().filter(|layer| known.contains(&layer.diff_id)).count(),
        packages: packages.filter(|(_, was, is)| was != is).into_vec(),
        files,
    }
}

fn versions(image: &Image) -> SortedMap<String, Vec<String>> {
    let mut versions: SortedMap<String, Vec<String>> = SortedMap::new();
    for package in packages(image) {
        versions.entry(package.name).or_default().push(package.version);
    }
    for versions in versions.values_mut() {
        versions.sort();
    }
    versions
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Layer, Listing};
    use super::*;
    use monoship_core::name::Digest;

    fn file(path: &str, size: u64, content: u8) -> File {
        File { path: path.to_owned(), size, content: [content; 32] }
    }

    fn image(listings: Vec<Listing>) -> Image {
        let layers = listings.into_iter().enumerate().map(|(at, listing)| Layer {
            diff_id: Digest::of(format!("{at} {listing:?}").as_bytes()),
            packed: listing.bytes() / 2,
            step: None,
            listing: Arc::new(listing),
        });
        Image { history: Vec::new(), platform: "linux/amd64".to_owned(), layers: layers.collect(), built_from: None }
    }

    fn layer(files: Vec<File>) -> Listing {
        Listing { files, ..Listing::default() }
    }

    #[test]
    fn what_a_later_layer_hides_is_wasted_and_both_layers_are_named() {
        let above = Listing {
            files: vec![file("a/same", 10, 1), file("a/other", 7, 9), file("new/in-emptied", 1, 1)],
            removed: vec!["gone".to_owned(), "dir".to_owned(), "never-there".to_owned()],
            emptied: vec!["new".to_owned()],
            others: vec!["now-a-link".to_owned()],
            ..Listing::default()
        };
        let below = ["a/same", "a/other", "gone", "dir/x", "dir/y/z", "directory", "new/old", "now-a-link", "kept"];
        let below = below.iter().map(|path| file(path, 10, 1)).chain([file("dir/empty", 0, 0)]);
        let image = image(vec![layer(below.collect()), layer(Vec::new()), above]);
        let found = wasted(&image);
        let of = |why: Waste| found.iter().filter(|w| w.why == why).map(|w| w.path.as_str()).collect::<Vec<_>>();
        assert_eq!(of(Waste::Repeated), ["a/same"]);
        assert_eq!(of(Waste::Replaced), ["a/other", "now-a-link"]);
        assert_eq!(of(Waste::Deleted), ["dir/x", "dir/y/z", "gone", "new/old"]);
        assert!(found.iter().all(|w| (w.layer, w.by) == (0, 2)), "{found:?}");
        assert_eq!(found.iter().map(|w| w.bytes).sum::<u64>(), 70);
        let seen: Vec<&str> = visible(&image).iter().map(|(_, file)| file.path.as_str()).collect();
        assert_eq!(seen, ["a/same", "directory", "kept", "a/other", "new/in-emptied"]);
    }

    #[test]
    fn large_contents_under_two_names_are_copies_and_not_waste() {
        let big = MIN_COPY;
        let first = layer(vec![file("a", big, 1), file("small", 9, 2), file("small2", 9, 2), file("hidden", big, 1)]);
        let image = image(vec![first, layer(vec![file("b", big, 1), file("hidden", big, 3)])]);
        let found = copies(&image);
        assert_eq!((found.len(), found[0].bytes), (1, big));
        assert_eq!(found[0].places, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
        assert_eq!(wasted(&image).iter().map(|w| w.bytes).sum::<u64>(), big);
    }

    #[test]
    fn files_belong_to_the_innermost_installed_package() {
        let cases = [
            ("app/node_modules/zod/index.js", Some("app/node_modules/zod")),
            ("node_modules/@scope/name/dist/a.js", Some("node_modules/@scope/name")),
            ("node_modules/.pnpm/a@1/node_modules/a/package.json", Some("node_modules/.pnpm/a@1/node_modules/a")),
            ("node_modules/a/node_modules/b", Some("node_modules/a/node_modules/b")),
            ("node_modules/.bin/tsc", None),
            ("node_modules/@scope", None),
            ("my_node_modules/a/b", None),
            ("src/main.js", None),
        ];
        for (path, folder) in cases {
            assert_eq!(package_folder(path), folder, "{path}");
        }
    }

    fn with_package(version: &str, size: u64) -> Listing {
        let folder = "node_modules/zod";
        let mut listing = layer(vec![file(&format!("{folder}/index.js"), size, 5), file("main.js", size, 6)]);
        listing.versions.insert(folder.to_owned(), version.to_owned());
        listing
    }

    #[test]
    fn a_difference_names_layers_files_and_versions() {
        let base = layer(vec![file("base", 100, 1)]);
        let before = image(vec![base.clone(), with_package("1.0.0", 10)]);
        let mut changed = with_package("1.1.0", 10);
        changed.files[0] = file("node_modules/zod/index.js", 30, 7);
        changed.files[1] = file("added.js", 2, 8);
        let after = image(vec![base, changed]);
        let difference = difference(&before, &after);
        assert_eq!(difference.shared_layers, 1);
        let files: Vec<_> = difference.files.iter().map(|(path, was, is)| (path.as_str(), *was, *is)).collect();
        assert_eq!(
            files,
            [("node_modules/zod/index.js", Some(10), Some(30)), ("main.js", Some(10), None), ("added.js", None, Some(2))]
        );
        assert_eq!(difference.packages, [("zod".to_owned(), vec!["1.0.0".to_owned()], vec!["1.1.0".to_owned()])]);
        assert_eq!(packages(&after)[0].bytes, 30);
    }
}
