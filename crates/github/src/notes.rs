//! The images' section in a release's body: how it reads, and how it is put into a body that people write too. Pure text;
//! who fetches and stores bodies lives in `stage/update_release.rs`.
//!
//! The section is what stands between two [`Markers`], each alone on a line, outside code fences. All else is somebody's
//! own text and survives byte for byte. Where the markers are broken we would rather leave stale text standing, and say so,
//! than delete a line a person wrote.

use std::fmt::Write as _;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::{Digest, ImageRef, Platform, ServiceName, Tag};
use monoship_core::secret::mask;
use monoship_core::sorted::SortedMap;

mod merge;

pub use merge::{Merged, diff, merge};

/// The lines around a section: each workspace of a repository has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// The line that opens it.
    pub begin: String,
    /// The line that closes it.
    pub end: String,
}

impl Markers {
    /// Those of the workspace in a folder; `None` at the repository's root.
    #[must_use]
    pub fn of(folder: Option<&str>) -> Self {
        // What ends the comment would end the marker.
        let folder =
            folder.map(|folder| format!(" {}", folder.replace("--", "- -").replace('>', "\u{203a}"))).unwrap_or_default();
        Self { begin: format!("<!-- xtask:images:begin{folder} -->"), end: format!("<!-- xtask:images:end{folder} -->") }
    }
}

/// The most characters GitHub takes in a release's body; more is refused with 422.
pub const BODY_LIMIT: usize = 125_000;

const TITLE: &str = "## 🐳 Docker Images";
const SERVICE: &str = "### 📦 ";
const PULL: &str = "docker pull ";
const DIGEST: &str = "**Image Digest:** `";

/// What a release's notes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseNotes {
    /// The release's tag.
    pub tag: Tag,
    /// The folder of the workspace whose images these are; `None` at the repository's root.
    pub folder: Option<String>,
    /// The tag that the images are pulled by.
    pub image_tag: Tag,
    /// The images, in the order they are listed.
    pub images: Vec<ImageNote>,
    /// The release that changes are counted from, where there is one.
    pub previous: Option<Tag>,
    /// Where the whole list is when it does not fit, for example the run's page.
    pub details: Option<String>,
}

/// One service's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNote {
    /// The service.
    pub service: ServiceName,
    /// The repository; a tag or digest in it is not used.
    pub image: ImageRef,
    /// What the tag points to: an index's or a manifest's digest. `None` in a dry run, for an image that has still to be built.
    pub digest: Option<Digest>,
    /// Its platforms, where known.
    pub platforms: Vec<PlatformNote>,
    /// What became of it since the previous release, where known.
    pub change: Option<Change>,
}

/// One platform of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformNote {
    /// Which.
    pub platform: Platform,
    /// The platform manifest's digest; shown where there is more than one platform.
    pub digest: Option<Digest>,
    /// Bytes to pull: the compressed layers and the configuration.
    pub bytes: Option<u64>,
}

/// What became of an image since the previous release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The previous release did not have this service.
    New,
    /// The very same image.
    Unchanged,
    /// Another image; the text says why, where that is known.
    Rebuilt(Option<String>),
}

/// How much of the section there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Everything.
    Full,
    /// Without platforms, sizes and changes.
    Short,
    /// One line a service: image and digest.
    List,
    /// Only where to look.
    Pointer,
}

impl Form {
    /// All forms, longest first.
    pub const ALL: [Self; 4] = [Self::Full, Self::Short, Self::List, Self::Pointer];
}

impl ReleaseNotes {
    /// The lines around its section.
    #[must_use]
    pub fn markers(&self) -> Markers {
        Markers::of(self.folder.as_deref())
    }

    /// The section from marker to marker, with LF line ends and none after the last line. Equal notes make equal bytes.
    #[must_use]
    pub fn section(&self, form: Form) -> String {
        let Markers { begin, end } = self.markers();
        let of = self.folder.as_ref().map(|folder| format!(" of {}", inline(folder))).unwrap_or_default();
        let mut text = format!("{begin}\n{TITLE}{of}\n\n");
        match form {
            Form::Full | Form::Short => {
                for image in &self.images {
                    self.image(&mut text, image, form);
                }
                self.verify(&mut text);
            }
            Form::List => {
                for image in &self.images {
                    let name = image.image.without_reference();
                    put(&mut text, format_args!("- **{}** `{name}@{}`\n", image.service, image.digest_text()));
                }
                text.push('\n');
                self.verify(&mut text);
            }
            Form::Pointer => {
                text.push_str("The list of images does not fit into these notes.");
                if let Some(details) = &self.details {
                    put(&mut text, format_args!(" It is at <{}>.", link(details)));
                }
                put(&mut text, format_args!(" `cargo xtask verify {}` reads it from the registry.\n\n", self.tag));
            }
        }
        text.push_str(&end);
        mask(&text).into_owned()
    }

    fn image(&self, text: &mut String, image: &ImageNote, form: Form) {
        let name = image.image.without_reference();
        put(text, format_args!("{SERVICE}{}\n```bash\n# Pull by version tag\n", image.service));
        put(text, format_args!("{PULL}{name}:{}\n\n# Pull by digest (immutable)\n", self.image_tag));
        let digest = image.digest_text();
        put(text, format_args!("{PULL}{name}@{digest}\n```\n\n{DIGEST}{digest}`\n\n"));
        if form == Form::Short {
            return;
        }
        let one = image.platforms.len() == 1;
        let platforms: Vec<String> = image.platforms.iter().map(|platform| platform.text(one)).into_vec();
        match platforms.as_slice() {
            [] => {}
            [one] => put(text, format_args!("**Platform:** {one}\n\n")),
            many => put(text, format_args!("**Platforms:**\n- {}\n\n", many.join("\n- "))),
        }
        if let Some(change) = &image.change {
            let since = self.previous.as_ref().map(|tag| format!(" since {tag}")).unwrap_or_default();
            put(text, format_args!("**Change{since}:** {}\n\n", change.text()));
        }
    }

    fn verify(&self, text: &mut String) {
        put(text, format_args!("### 🔏 Verify\n```bash\ncargo xtask verify {}\n```\n\n", self.tag));
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

impl ImageNote {
    fn digest_text(&self) -> &str {
        self.digest.as_ref().map_or("sha256:…", Digest::as_str)
    }
}

impl PlatformNote {
    fn text(&self, only_one: bool) -> String {
        let mut text = format!("`{}`", self.platform);
        if let Some(digest) = self.digest.as_ref().filter(|_| !only_one) {
            put(&mut text, format_args!(" `{digest}`"));
        }
        if let Some(bytes) = self.bytes {
            put(&mut text, format_args!(" ({})", monoship_core::text::bytes(bytes)));
        }
        text
    }
}

impl Change {
    fn text(&self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Unchanged => "unchanged".to_owned(),
            Self::Rebuilt(None) => "rebuilt".to_owned(),
            Self::Rebuilt(Some(why)) => format!("rebuilt: {}", inline(why)),
        }
    }
}

/// Free text for one line of Markdown: no markup, no mention of a person, no line end, cut after 200 characters.
#[must_use]
pub fn inline(text: &str) -> String {
    let mut safe = String::new();
    let mut characters = text.trim().chars();
    for c in characters.by_ref().take(200) {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            // GitHub would notify whoever has the name of an npm scope, and link an issue. It looks for both in what was rendered, where an
            // escape and an entity are undone (github/cmark-gfm#181); what divides the text there and is not seen stops it.
            '@' | '#' => {
                safe.push(c);
                safe.push_str("<!-- -->");
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe.extend(characters.next().map(|_| '…'));
    safe
}

/// A URL inside `<…>`: what would end it is encoded.
fn link(url: &str) -> String {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '<' || c == '>';
    url.chars().map(|c| if bad(c) { "%20".to_owned() } else { c.to_string() }).collect()
}

/// What a body's section says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The image's digest.
    pub digest: Digest,
    /// The images that it tells people to pull, as they stand there.
    pub pulls: Vec<String>,
}

/// The services that a body's section lists, in whichever form it was written; empty where there is none. Lines that are not ours are
/// passed over.
#[must_use]
pub fn listed(body: &str, markers: &Markers) -> SortedMap<ServiceName, Listed> {
    let mut found = SortedMap::new();
    let (mut service, mut pulls) = (None, Vec::new());
    for line in merge::section_of(body, markers).unwrap_or_default().lines() {
        if let Some(name) = line.strip_prefix(SERVICE) {
            (service, pulls) = (name.trim().parse::<ServiceName>().ok(), Vec::new());
        } else if let Some(image) = line.strip_prefix(PULL) {
            pulls.push(image.trim_end().to_owned());
        } else if let Some(digest) = line.strip_prefix(DIGEST) {
            let digest = digest.trim_end().trim_end_matches('`').parse().ok();
            let listed = digest.map(|digest| Listed { digest, pulls: std::mem::take(&mut pulls) });
            found.extend(service.take().zip(listed));
        } else if let Some((name, image)) = line.strip_prefix("- **").and_then(|rest| rest.split_once("** `")) {
            let image = image.trim_end().trim_end_matches('`');
            let digest = image.split_once('@').and_then(|(_, digest)| digest.parse().ok());
            let listed = digest.map(|digest| Listed { digest, pulls: vec![image.to_owned()] });
            found.extend(name.parse().ok().zip(listed));
        }
    }
    found
}

/// The digests of [`listed`].
#[must_use]
pub fn digests(body: &str, markers: &Markers) -> SortedMap<ServiceName, Digest> {
    listed(body, markers).into_iter().map(|(service, listed)| (service, listed.digest)).into_map()
}

/// What became of each image since a release whose body is `previous`: by digest, which is all that its notes tell.
#[must_use]
pub fn change_since(previous: &SortedMap<ServiceName, Digest>, service: &ServiceName, digest: Option<&Digest>) -> Change {
    match previous.get(service) {
        None => Change::New,
        Some(old) if Some(old) == digest => Change::Unchanged,
        Some(_) => Change::Rebuilt(None),
    }
}

/// The longest form of the section that leaves `body` within [`BODY_LIMIT`], given how the body would look with each.
///
/// # Errors
/// When not even the shortest fits.
pub fn longest_fit<T>(mut attempt: impl FnMut(Form) -> T, characters: impl Fn(&T) -> usize) -> Result<(Form, T)> {
    let mut least = 0;
    for form in Form::ALL {
        let made = attempt(form);
        least = characters(&made);
        if least <= BODY_LIMIT {
            return Ok((form, made));
        }
    }
    let over = least - BODY_LIMIT;
    Err(Error::failed(format!("the release's own text leaves no room for the images: {over} characters over {BODY_LIMIT}"))
        .hint("shorten the release's text by hand and run `cargo xtask release <tag>` again"))
}

#[cfg(test)]
mod tests;
