//! One service's image, as stages hand it on.

use monoship_core::error::Result;
use monoship_core::event::Status;
use monoship_core::name::{Digest, ImageRef, ServiceName};

/// One service's image.
///
/// ```no_run
/// # use monoship_steps as monoship;
/// /// What a scanner is given, where there is something to scan.
/// fn to_scan(image: &monoship::Image) -> Option<String> {
///     image.name().filter(|_| image.is_new())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Image {
    #[doc(hidden)]
    pub service: ServiceName,
    #[doc(hidden)]
    pub name: Option<ImageRef>,
    #[doc(hidden)]
    pub digest: Option<Digest>,
    #[doc(hidden)]
    pub status: Status,
}

impl Image {
    /// The image of a service that stands under this name: for tests of a stage.
    ///
    /// ```
    /// # use monoship_steps as monoship;
    /// # fn main() -> monoship_core::error::Result<()> {
    /// let image = monoship::Image::new("api", "node:24-bookworm-slim")?;
    /// assert!(image.stands() && image.service() == "api");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What is no service's name, or no image's.
    pub fn new(service: &str, name: &str) -> Result<Self> {
        Ok(Self { service: service.parse()?, name: Some(name.parse()?), digest: None, status: Status::Built })
    }

    /// The service.
    ///
    /// ```
    /// # fn stage(image: &monoship_steps::Image) {
    /// println!("{}", image.service());
    /// # }
    /// ```
    #[must_use]
    pub fn service(&self) -> &str {
        self.service.as_str()
    }

    /// Under which name it can be had: by its digest in the registry, or by its tag in the engine. None for an image that was not kept, as
    /// in a check build.
    ///
    /// ```
    /// # fn stage(image: &monoship_steps::Image) {
    /// let name = image.name().unwrap_or_default();
    /// # }
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        let by_digest = self.digest.as_ref().filter(|_| self.is_in_registry());
        Some(by_digest.map_or_else(|| name.to_string(), |digest| name.with_digest(digest.clone()).to_string()))
    }

    /// Its digest, `sha256:…`, where it is known: the manifest's in a registry, the image's id in an engine.
    ///
    /// ```
    /// # fn stage(image: &monoship_steps::Image) {
    /// let digest = image.digest().unwrap_or("unknown");
    /// # }
    /// ```
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_ref().map(Digest::as_str)
    }

    /// True where it was built in this run.
    ///
    /// ```
    /// # fn stage(image: &monoship_steps::Image) {
    /// let to_test = image.is_new();
    /// # }
    /// ```
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.status == Status::Built
    }

    /// True where it stands and nothing has refused it.
    ///
    /// ```
    /// # fn stage(image: &monoship_steps::Image) {
    /// assert!(image.stands() || image.digest().is_none());
    /// # }
    /// ```
    #[must_use]
    pub fn stands(&self) -> bool {
        matches!(self.status, Status::Built | Status::Unchanged)
    }

    fn is_in_registry(&self) -> bool {
        self.name.as_ref().and_then(ImageRef::tag).is_some_and(|tag| tag.as_str().starts_with("in-"))
    }
}
