//! What a publication is about to change, written before it does: enough to finish it, or to take it back.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Plan, TagPlan, read};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_durably};
use monoship_core::name::{Digest, ImageRef, ServiceName};
use monoship_core::sorted::SortedMap;
use monoship_docker::registry::Registry;

/// The format's number; a file with another one is not ours to read.
const SCHEMA: u32 = 1;

/// The journal of one publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Journal {
    schema: u32,
    /// What is published.
    pub name: String,
    /// True once every tag was put and read back.
    pub complete: bool,
    /// By which name other runs knew this one, so that the one that carries it on is taken for it; empty in one of an older program.
    #[serde(default)]
    pub claim: String,
    /// By service.
    pub services: SortedMap<ServiceName, Entry>,
}

/// One service's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Where the image stands, content tag included: the same tag means the same inputs.
    pub source: ImageRef,
    /// What the tags shall point to.
    pub digest: Digest,
    /// The tags, and where they pointed.
    pub tags: Vec<TagPlan>,
}

impl Journal {
    pub(super) fn of(plan: &Plan, claim: &str) -> Self {
        let services = plan.services.iter().map(|service| {
            let entry =
                Entry { source: service.source.clone(), digest: service.manifest.digest().clone(), tags: service.tags.clone() };
            (service.service.clone(), entry)
        });
        let services = services.into_map();
        Self { schema: SCHEMA, name: plan.name.clone(), complete: false, claim: claim.to_owned(), services }
    }

    /// That of a run that put nothing and could not take its word away: by its name the next one takes the word for its own.
    pub(super) fn of_a_word(plan: &Plan, claim: &str) -> Self {
        Self { schema: SCHEMA, name: plan.name.clone(), complete: false, claim: claim.to_owned(), services: SortedMap::new() }
    }

    /// True where tags may have moved, and not all are where they should be.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        !self.complete && !self.services.is_empty()
    }

    /// The journal in `path`; `None` where there is none. One that cannot be read is an error: taking it for none could leave half a
    /// release behind.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let hint = "it says what an interrupted publication had begun; delete it to start over from what the registry holds";
        let journal: Self = serde_json::from_slice(&text).map_err(|error| {
            let line = error.line();
            Error::failed("the publication's journal is malformed").source(error).at(path, Some(line)).hint(hint)
        })?;
        if journal.schema != SCHEMA {
            return Err(Error::failed(format!("the journal has format {}, and this program knows {SCHEMA}", journal.schema))
                .at(path, None)
                .hint(hint));
        }
        Ok(Some(journal))
    }

    /// Takes down where the tags are by now. A run that others can see takes back to here: what one that had ended before put since the plan
    /// is its success.
    pub(super) fn look_again(&mut self, registry: &Registry) -> Result<()> {
        let services = self.services.values_mut();
        let all = services.flat_map(|entry| entry.tags.iter_mut().map(|tag| (&entry.source, tag)));
        let put = all.filter(|(_, tag)| tag.is_put()).map(|(source, tag)| (source.with_tag(tag.tag.clone()), tag));
        let (targets, put): (Vec<ImageRef>, Vec<&mut TagPlan>) = put.unzip();
        for (tag, now) in put.into_iter().zip(read::digests(registry, &targets)?) {
            tag.before = now;
        }
        Ok(())
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::failed("cannot write the journal").source(e))?;
        write_durably(path, &text)
    }

    pub(super) fn complete(&mut self, path: &Path) -> Result<()> {
        self.complete = true;
        self.save(path)
    }
}
