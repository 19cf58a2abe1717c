//! `xtask.lock`: the digest of each image that a Dockerfile starts from, as `Cargo.lock` does for crates. It is committed; it holds nothing
//! that two machines could disagree on. Who asks a registry is the caller.
//!
//! ```toml
//! # Written by `cargo xtask update`. Commit it.
//! version = 1
//!
//! [images]
//! "docker.io/library/node:24-slim" = "sha256:…"
//!
//! [onbuild]
//! "docker.io/acme/runner:1" = ["COPY . /app"]
//! ```
//!
//! `onbuild` is there where a pinned image has triggers: a stage that starts from it executes them, so that a plan must know them, on a
//! machine that cannot ask as well.

use std::path::Path;

use serde::Deserialize;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::fault;
use monoship_core::name::{Digest, ImageRef, nearest};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::package::unfinished_merge;

/// The version this code reads and writes.
const VERSION: u32 = 1;

/// The pinned images. Keys are full references (registry, repository, tag) without a digest, and without `latest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    images: SortedMap<ImageRef, Digest>,
    onbuild: SortedMap<ImageRef, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    images: SortedMap<String, String>,
    #[serde(default)]
    onbuild: SortedMap<String, Vec<String>>,
}

/// A pin that was made or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The image.
    pub image: ImageRef,
    /// Its digest before; `None` where it was not pinned.
    pub before: Option<Digest>,
    /// Its digest now.
    pub after: Digest,
}

/// Finds the digest that an image's tag has at its registry.
pub type Resolve<'a> = &'a dyn Fn(&ImageRef) -> Result<Digest>;

impl Pins {
    /// Reads a text; `path` is for errors only.
    ///
    /// # Errors
    /// When it is malformed, or of a newer version.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let hint = "undo the edit, or delete the file and run `cargo xtask update`";
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let written: Written = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(span.start));
            unfinished_merge(text, path).unwrap_or_else(|| Error::usage(fault::words(error.message())).at(path, line).hint(hint))
        })?;
        if written.version != VERSION {
            let error = Error::usage(format!(
                "the file has format version {}, and this program reads version {VERSION}",
                written.version
            ));
            return Err(error.at(path, None).hint("update the `xtask` crate of this repository"));
        }
        let mut pins = Self::default();
        for (image, digest) in written.images {
            let line = text.find(&format!("\"{image}\"")).map(line_of);
            let wrong = |error: Error| Error::usage(error.to_string()).at(path, line).hint(hint);
            let parsed: ImageRef = image.parse().map_err(wrong)?;
            if parsed.digest().is_some() {
                return Err(wrong(Error::usage(format!("`{image}` has a digest in its name"))));
            }
            pins.images.insert(parsed.without_latest(), digest.parse().map_err(wrong)?);
        }
        for (image, triggers) in written.onbuild {
            let line = text.rfind(&format!("\"{image}\"")).map(line_of);
            let parsed: ImageRef =
                image.parse().map_err(|error: Error| Error::usage(error.to_string()).at(path, line).hint(hint))?;
            pins.onbuild.insert(parsed.without_latest(), triggers);
        }
        Ok(pins)
    }

    /// The file's text: sorted, one image a line, so that two branches seldom conflict.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("# Written by `cargo xtask update`. Commit it.\nversion = {VERSION}\n\n[images]\n");
        for (image, digest) in &self.images {
            // A reference holds no character that TOML would escape: `ImageRef` saw to that.
            text.extend(["\"", &image.to_string(), "\" = \"", digest.as_str(), "\"\n"]);
        }
        let triggers = self.onbuild.iter().filter(|(_, triggers)| !triggers.is_empty());
        for (at, (image, triggers)) in triggers.enumerate() {
            let list = toml::Value::from(triggers.clone()).to_string();
            text.extend([if at == 0 { "\n[onbuild]\n\"" } else { "\"" }, &image.to_string(), "\" = ", &list, "\n"]);
        }
        text
    }

    /// The digest an image is pinned to: its own, where it is written with one.
    #[must_use]
    pub fn get<'p>(&'p self, image: &'p ImageRef) -> Option<&'p Digest> {
        image.digest().or_else(|| self.images.get(&image.clone().without_latest()))
    }

    /// The image at its pinned digest, as a build takes it.
    #[must_use]
    pub fn pinned(&self, image: &ImageRef) -> Option<ImageRef> {
        self.get(image).map(|digest| image.with_digest(digest.clone()))
    }

    /// Notes the triggers of an image at its pinned digest.
    pub fn note_triggers(&mut self, image: &ImageRef, triggers: Vec<String>) {
        self.onbuild.insert(image.clone().without_latest(), triggers);
    }

    /// True where a stage that starts from this image takes files of the main context without saying so.
    #[must_use]
    pub fn takes_files(&self, image: &ImageRef) -> bool {
        let takes = |trigger: &String| {
            let words: Vec<String> = trigger.split_whitespace().take(2).map(str::to_ascii_uppercase).into_vec();
            let first = words.first().map_or("", String::as_str);
            matches!(first, "COPY" | "ADD") || first == "RUN" && words.get(1).is_some_and(|flag| flag.starts_with("--MOUNT"))
        };
        self.onbuild.get(&image.clone().without_latest()).is_some_and(|triggers| triggers.iter().any(takes))
    }

    /// Every pin.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageRef, &Digest)> {
        self.images.iter()
    }

    /// Pins those of `images` that are not pinned; images written with a digest need none. With `locked` nothing is resolved, and
    /// one that is missing is an error.
    ///
    /// # Errors
    /// Under `locked`, when a pin is missing; otherwise when one cannot be resolved. Pins made before that stay.
    pub fn ensure<'i>(
        &mut self,
        images: impl IntoIterator<Item = &'i ImageRef>,
        locked: bool,
        resolve: Resolve<'_>,
    ) -> Result<Vec<Moved>> {
        let wanted: SortedSet<&ImageRef> = images.into_iter().collect();
        let missing: Vec<&ImageRef> = wanted.into_iter().filter(|image| self.get(image).is_none()).into_vec();
        if locked && let Some(first) = missing.first() {
            let more = if missing.len() > 1 { format!(" (and {} more)", missing.len() - 1) } else { String::new() };
            return Err(Error::usage(format!(
                "`{first}`{more} is not pinned in xtask.lock, and cannot be added because `--locked` was given"
            ))
            .hint("run `cargo xtask update` on your machine and commit xtask.lock"));
        }
        missing.into_iter().map(|image| self.pin(image, resolve)).collect()
    }

    /// Resolves every image of `images` again, or the one of them that `only` names; pins of images that are no longer used go.
    /// Returns what moved.
    ///
    /// # Errors
    /// When `only` is none of them, or one cannot be resolved.
    pub fn update(&mut self, images: &SortedSet<ImageRef>, only: Option<&ImageRef>, resolve: Resolve<'_>) -> Result<Vec<Moved>> {
        let images: SortedSet<ImageRef> = images.iter().map(|image| image.clone().without_latest()).into_set();
        let only = only.map(|only| only.clone().without_latest());
        if let Some(only) = only.as_ref().filter(|only| !images.contains(only)) {
            let names: Vec<String> = images.iter().map(ImageRef::familiar).into_vec();
            let error = Error::usage(format!("no `FROM` names `{}`", only.familiar()));
            return Err(match nearest(&only.familiar(), names.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if names.is_empty() => error.hint("the Dockerfile starts from no image"),
                None => error.hint(format!("the Dockerfile starts from {}", names.join(", "))),
            });
        }
        self.images.retain(|image, _| images.contains(image));
        self.onbuild.retain(|image, _| images.contains(image));
        let chosen = images.iter().filter(|image| image.digest().is_none() && only.as_ref().is_none_or(|only| only == *image));
        let mut moved = Vec::new();
        for image in chosen {
            let pin = self.pin(image, resolve)?;
            if pin.before.as_ref() != Some(&pin.after) {
                moved.push(pin);
            }
        }
        Ok(moved)
    }

    fn pin(&mut self, image: &ImageRef, resolve: Resolve<'_>) -> Result<Moved> {
        let after = resolve(image)?;
        let before = self.images.insert(image.clone().without_latest(), after.clone());
        Ok(Moved { image: image.clone(), before, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    fn resolved(image: &ImageRef) -> Result<Digest> {
        if image.repository() == "library/gone" { Err(Error::failed("no such image")) } else { Ok(Digest::of(b"now")) }
    }

    #[test]
    fn pins_are_written_sorted_and_understood_again() {
        let mut pins = Pins::default();
        pins.ensure([&image("node:24"), &image("alpine"), &image("node:24")], false, &resolved).unwrap();
        let text = pins.to_text();
        let digest = Digest::of(b"now");
        let lines =
            format!("[images]\n\"docker.io/library/alpine\" = \"{digest}\"\n\"docker.io/library/node:24\" = \"{digest}\"\n");
        assert!(text.ends_with(&lines), "{text}");
        assert_eq!(Pins::parse(&text, Path::new("xtask.lock")).unwrap(), pins);
        assert_eq!(pins.pinned(&image("node:24")).unwrap().to_string(), format!("docker.io/library/node:24@{digest}"));
    }

    #[test]
    fn an_image_that_is_named_with_latest_and_without_is_pinned_once() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        // As builders took them, the longer name's pin counted for both.
        let text = format!("version = 1\n[images]\nnode = \"{old}\"\n\"node:latest\" = \"{new}\"\n");
        let mut pins = Pins::parse(&text, Path::new("xtask.lock")).unwrap();
        assert_eq!([image("node"), image("node:latest")].map(|image| pins.get(&image).cloned()), [Some(new.clone()), Some(new)]);
        assert_eq!(pins.iter().count(), 1);
        pins.update(&SortedSet::from([image("node"), image("node:24")]), Some(&image("node:latest")), &resolved).unwrap();
        assert_eq!(pins.get(&image("node")), Some(&Digest::of(b"now")));
        assert!(pins.to_text().contains("library/node\" = "), "{}", pins.to_text());
    }

    #[test]
    fn triggers_of_an_image_are_written_read_back_and_known_for_what_they_take() {
        let path = Path::new("xtask.lock");
        let mut pins = Pins::default();
        let lists: [(&str, &[&str], bool); 4] = [
            ("a", &["RUN npm ci", "COPY . \"/app\""], true),
            ("b", &["RUN --mount=type=bind,target=/x make"], true),
            ("c", &["RUN make", "ENV A=copy"], false),
            ("d", &[], false),
        ];
        for (name, triggers, takes) in lists {
            pins.ensure([&image(name)], false, &resolved).unwrap();
            pins.note_triggers(&image(name), triggers.iter().map(ToString::to_string).collect());
            assert_eq!(pins.takes_files(&image(name)), takes, "{name}");
        }
        let text = pins.to_text();
        assert!(text.contains("\n[onbuild]\n\"docker.io/library/a\" = ["), "{text}");
        assert_eq!(Pins::parse(&text, path).unwrap().to_text(), text);
        pins.update(&SortedSet::from([image("d")]), None, &resolved).unwrap();
        assert!(!pins.to_text().contains("onbuild"), "{}", pins.to_text());
    }

    #[test]
    fn locked_refuses_to_pin_and_says_how_to() {
        let mut pins = Pins::default();
        let own = image("node:24").with_digest(Digest::of(b"own"));
        assert_eq!(pins.ensure([&own], true, &resolved).unwrap(), []);
        let error = pins.ensure([&image("node:24"), &image("alpine")], true, &resolved).unwrap_err();
        assert!(error.to_string().starts_with("`docker.io/library/alpine` (and 1 more) is not pinned"), "{error}");
        assert!(error.hint_text().unwrap().contains("cargo xtask update"));
        assert_eq!(pins, Pins::default());
    }

    #[test]
    fn an_update_moves_what_moved_and_drops_what_is_no_longer_used() {
        let old = Digest::of(b"then");
        let mut pins = Pins {
            onbuild: SortedMap::new(),
            images: ["node:24", "alpine", "unused"].map(|name| (image(name), old.clone())).into(),
        };
        let used = SortedSet::from([image("node:24"), image("alpine")]);
        let moved = pins.update(&used, Some(&image("alpine")), &resolved).unwrap();
        assert_eq!(moved, [Moved { image: image("alpine"), before: Some(old.clone()), after: Digest::of(b"now") }]);
        assert_eq!(pins.get(&image("node:24")), Some(&old));
        assert_eq!(pins.iter().count(), 2);
        assert_eq!(pins.update(&used, None, &resolved).unwrap().len(), 1, "only node moved this time");
        let error = pins.update(&used, Some(&image("node:22")), &resolved).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `node:24`?"));
        assert!(pins.update(&SortedSet::from([image("gone")]), None, &resolved).is_err());
    }

    #[test]
    fn a_damaged_file_is_refused_at_its_line() {
        let good = format!("version = 1\n[images]\n\"node\" = \"{}\"\n", Digest::of(b""));
        let path = Path::new("xtask.lock");
        assert!(Pins::parse(&good, path).is_ok());
        let cases = [
            (good.replace("sha256:", "sha256:x"), Some(3)),
            (good.replace("\"node\"", "\"No De\""), Some(3)),
            (good.replace("[images]", "[image]"), Some(2)),
            (good.replace("version = 1", "version = 2"), None),
            (good.replace("version = 1\n", ""), Some(1)),
            ("<<<<<<< HEAD\n".to_owned() + &good, Some(1)),
        ];
        for (text, line) in cases {
            let error = Pins::parse(&text, path).unwrap_err();
            assert_eq!(error.place(), Some((path, line)), "{text}: {error}");
            assert!(error.hint_text().is_some());
        }
    }
}
