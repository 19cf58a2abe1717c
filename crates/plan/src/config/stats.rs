//! `[stats]`: where the history of runs is shared.

use serde::Deserialize;

use monoship_core::error::{Error, Result};
use monoship_core::name::ImageRef;

/// The tag of the shared history, unless the configuration says otherwise. It is none that a release or a branch would put.
const TAG: &str = "xtask-history";

/// The section as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Written {
    pub repository: Option<ImageRef>,
}

impl Written {
    /// Where the history lies in the registry: by default under a tag of the images' own namespace, or of a repository beside them where
    /// that is none, so that two repositories of an organisation have one each and no cache's clean-up comes near it.
    pub(super) fn validate(self, default: Option<&ImageRef>) -> Result<Option<ImageRef>> {
        let Some(place) = self.repository.as_ref().or(default) else { return Ok(None) };
        if place.digest().is_some() {
            return Err(Error::usage(format!("[stats] repository `{place}` has a digest"))
                .hint("name a repository, with a tag if it should not be `xtask-history`"));
        }
        let tag = match place.tag() {
            Some(tag) => tag.clone(),
            None => TAG.parse()?,
        };
        Ok(Some(place.with_tag(tag)))
    }
}
