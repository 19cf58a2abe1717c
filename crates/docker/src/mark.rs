//! What says on a manifest who put it: annotations with the repository whose images these are, and with the inputs that one was made
//! from. A mark tells our own from what others keep beside it; it is no signature, and whoever may push can copy one.

use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::name::Fingerprint;
use monoship_core::sorted::SortedMap;

use super::manifest::{Document, Raw};

/// The repository: `github.com/org/shop`.
pub const REPOSITORY: &str = "vnd.monoship.repository";
/// The fingerprint of an image's inputs, 64 digits.
pub const FINGERPRINT: &str = "vnd.monoship.fingerprint";

/// Who put a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The repository that it belongs to.
    pub repository: String,
    /// The inputs; none on what is no image, as a cache.
    pub fingerprint: Option<Fingerprint>,
}

impl Mark {
    /// As annotations of a manifest or an index.
    #[must_use]
    pub fn annotations(&self) -> SortedMap<String, String> {
        let mut all = [(REPOSITORY.to_owned(), self.repository.clone())].into_iter().into_map();
        all.extend(self.fingerprint.as_ref().map(|inputs| (FINGERPRINT.to_owned(), inputs.to_string())));
        all
    }

    /// The mark on a manifest; `None` where nobody marked it.
    #[must_use]
    pub fn of(document: &Document) -> Option<Self> {
        let annotations = match document {
            Document::Index(index) => &index.annotations,
            Document::Manifest(manifest) => &manifest.annotations,
        };
        let repository = annotations.get(REPOSITORY)?.clone();
        Some(Self { repository, fingerprint: annotations.get(FINGERPRINT).and_then(|text| text.parse().ok()) })
    }

    /// The same manifest with this mark on it; nothing else of it changes. Equal input gives equal bytes.
    ///
    /// # Errors
    /// When the manifest is malformed.
    pub fn put_on(&self, raw: &Raw) -> Result<Raw> {
        raw.annotated(&self.annotations())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::{OCI_INDEX, OCI_MANIFEST};

    #[test]
    fn a_mark_is_read_back_from_a_manifest_and_from_an_index_and_changes_nothing_else() {
        let mark = Mark { repository: "github.com/org/shop".into(), fingerprint: Some(Fingerprint::of(b"x")) };
        let config =
            r#"{"mediaType":"a","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}"#;
        let texts = [
            (OCI_INDEX, r#"{"manifests":[],"annotations":{"a":"1"},"future":[1]}"#.to_owned()),
            (OCI_MANIFEST, format!(r#"{{"config":{config},"layers":[],"future":[1]}}"#)),
        ];
        for (kind, text) in texts {
            let raw = Raw::new(kind, text);
            assert_eq!(Mark::of(&raw.document().unwrap()), None);
            let marked = mark.put_on(&raw).unwrap();
            assert_eq!(Mark::of(&marked.document().unwrap()), Some(mark.clone()));
            let mut back: Value = serde_json::from_slice(marked.bytes()).unwrap();
            assert_eq!(back["future"], json!([1]));
            back["annotations"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("vnd.monoship"));
            assert_eq!(back["annotations"].as_object().unwrap().len(), usize::from(kind == OCI_INDEX));
        }
    }
}
