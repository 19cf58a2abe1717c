//! The end of a run that pushes: every tag of every service or none, and the release's notes.

use std::sync::Arc;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::name::ImageRef;

use crate::context::Context;
use monoship_publish::{self as steps, Item};
use monoship_steps::publication::{self, Naming, Noted};
use monoship_steps::{Session, checkout, jobs, newest, signing};

use super::Images;
use super::build::Image as Built;
use super::checkout::Version;
use super::plan::{Planned, Work};

/// What a run published; empty where it publishes nothing.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// # let base = stages::build_base(cx, &plan)?;
/// # let images = stages::build_services(cx, &plan, &base)?;
/// let published = stages::publish(cx, images)?;
/// cx.stage("announce", &published, |cx, published| {
///     published.images().for_each(|image| cx.say(image.reference()));
///     Ok(())
/// })?;
/// # Ok(()) }
/// ```
pub struct Published {
    images: Vec<PublishedImage>,
    /// What the notes would name, in a look.
    foreseen: Vec<Noted>,
    /// The plan by which they were built; none of what a test made.
    plan: Option<Arc<Planned>>,
}

/// One service's image, published.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// # let base = stages::build_base(cx, &plan)?;
/// # let images = stages::build_services(cx, &plan, &base)?;
/// for image in stages::publish(cx, images)?.images() {
///     let tags: Vec<&str> = image.tags().collect();
///     cx.say(format!("{} is {} at {}", image.service(), tags.join(", "), image.reference()));
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct PublishedImage {
    published: steps::Published,
}

impl Published {
    /// These images, as if a run had published them: for tests of a stage.
    ///
    /// ```
    /// # fn main() -> monoship::Result<()> {
    /// use monoship::{Published, PublishedImage};
    ///
    /// let digest = "sha256:".to_owned() + &"8b1f".repeat(16);
    /// let api = PublishedImage::new("api", &format!("ghcr.io/acme/shop/api@{digest}"), &["v1.2.3", "latest"])?;
    /// assert!(!Published::new([api]).is_empty());
    /// # Ok(()) }
    /// ```
    pub fn new(images: impl IntoIterator<Item = PublishedImage>) -> Self {
        Self { images: images.into_iter().into_vec(), foreseen: Vec::new(), plan: None }
    }

    fn nothing(plan: Arc<Planned>) -> Self {
        Self { images: Vec::new(), foreseen: Vec::new(), plan: Some(plan) }
    }

    /// True where nothing was published: a build without `--push`, a job of a matrix before the last one, a look.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, published: &monoship::Published) {
    /// if published.is_empty() {
    ///     cx.say("no tag was put");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The images, one a service.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, published: &monoship::Published) {
    /// for image in published.images() {
    ///     cx.say(image.reference());
    /// }
    /// # }
    /// ```
    pub fn images(&self) -> impl Iterator<Item = &PublishedImage> {
        self.images.iter()
    }
}

impl PublishedImage {
    /// The image of a service that these tags point to, by its digest: for tests of a stage. [`Published::new`] shows it.
    ///
    /// ```
    /// # fn main() -> monoship::Result<()> {
    /// use monoship::PublishedImage;
    ///
    /// let reference = format!("ghcr.io/acme/shop/api@sha256:{}", "8b1f".repeat(16));
    /// let api = PublishedImage::new("api", &reference, &["v1.2.3"])?;
    /// assert_eq!((api.service(), api.reference()), ("api", reference));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What is no service's name, no image with a digest, or no tag.
    pub fn new(service: &str, reference: &str, tags: &[&str]) -> Result<Self> {
        let image: ImageRef = reference.parse()?;
        let digest = image.digest().cloned().ok_or_else(|| Error::usage(format!("`{reference}` has no digest")))?;
        let put = |tag: &&str| Ok(steps::TagPlan { tag: tag.parse()?, before: None, step: steps::Step::Create });
        let tags = tags.iter().map(put).collect::<Result<_>>()?;
        let repository = image.without_reference();
        Ok(Self { published: steps::Published { service: service.parse()?, repository, digest, tags } })
    }

    /// The service.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, published: &monoship::Published) {
    /// let services: Vec<&str> = published.images().map(|image| image.service()).collect();
    /// # }
    /// ```
    #[must_use]
    pub fn service(&self) -> &str {
        self.published.service.as_str()
    }

    /// The image by its digest: `ghcr.io/acme/shop/api@sha256:…`.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, published: &monoship::Published) {
    /// let references: Vec<String> = published.images().map(|image| image.reference()).collect();
    /// # }
    /// ```
    #[must_use]
    pub fn reference(&self) -> String {
        self.published.repository.with_digest(self.published.digest.clone()).to_string()
    }

    /// The image that its tags pointed to before this run moved them, by its digest: what to step back to. None where they are new, or already
    /// pointed to this one.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, published: &monoship::Published) {
    /// let before: Vec<String> = published.images().filter_map(|image| image.previous()).collect();
    /// # }
    /// ```
    #[must_use]
    pub fn previous(&self) -> Option<String> {
        let moved = self.published.tags.iter().find(|tag| tag.step == steps::Step::Move)?;
        Some(self.published.repository.with_digest(moved.before.clone()?).to_string())
    }

    /// The tags that point to it now.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, published: &monoship::Published) {
    /// for image in published.images() {
    ///     cx.say(image.tags().collect::<Vec<_>>().join(", "));
    /// }
    /// # }
    /// ```
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let here = self.published.tags.iter().filter(|tag| !matches!(tag.step, steps::Step::HeldBy(_)));
        here.map(|tag| tag.tag.as_str())
    }
}

/// Puts every tag of every service, or none: a release's version tags, or a branch's with `build --push`. Images were pushed under content
/// tags before; here they get their names, as byte-identical manifests of the digests that this run has built or has proof of. Where
/// nothing is pushed it passes on an empty value.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// # let base = stages::build_base(cx, &plan)?;
/// # let images = stages::build_services(cx, &plan, &base)?;
/// let published = stages::publish(cx, images)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Where an image is missing, because a build, a gate or a stage failed; a tag that is refused. Then no tag has moved, or each is put back.
pub fn publish(cx: &Context, images: Images) -> Result<Published> {
    let Images { images, plan: Some(plan) } = images else { return Ok(Published::new([])) };
    cx.progress().came_to_publish = true;
    let (job, session) = (cx.job(), plan.session());
    let version = plan.ready.tree.version.as_ref();
    let branch = Naming::of_branch(&job.request.destination);
    let naming = version.map(|version| &version.naming).or(branch.as_ref());
    if job.only_looks() {
        let (Some(made), Some(version)) = (plan.here(), version) else { return Ok(Published::nothing(plan)) };
        let (publication, foreseen) = publication::preview(session, made, &version.naming)?;
        cx.progress().publication = Some(publication);
        return Ok(Published { foreseen, ..Published::nothing(plan) });
    }
    if !job.ends_run() {
        return Ok(Published::nothing(plan));
    }
    let stands = cx.progress().record.as_ref().is_some_and(publication::all_stand);
    if !stands {
        cx.progress().told = true;
        return Err(Error::failed("nothing is published: not every service has an image"));
    }
    let Some(naming) = naming else { return Ok(Published::nothing(plan)) };
    let mut items = items(session, &plan, &images, naming)?;
    items = match (&job.branch, &plan.ready.tree.commit) {
        (Some(branch), Some(commit)) => newest::only(session, branch, commit, items)?,
        (Some(branch), None) => newest::of_working_tree(session, branch, items)?,
        (None, _) => items,
    };
    if let (Some(version), Some(commit)) = (version, plan.ready.tree.commit.as_deref())
        && !version.release.local_tag
    {
        checkout::check_still(session, &version.release.tag, commit)?;
    }
    let published = put(session, items, naming, version)?;
    cx.progress().published.clone_from(&published);
    let images = published.into_iter().map(|published| PublishedImage { published }).into_vec();
    Ok(Published { images, ..Published::nothing(plan) })
}

/// What is to be published: of each image the digest that was built or found, under which its content tag was seen.
fn items(session: &Session, plan: &Planned, images: &[Built], naming: &Naming) -> Result<Vec<Item>> {
    match &plan.work {
        Work::Here(made) => Ok(publication::items(made, images, naming)),
        Work::Elsewhere(file) => jobs::items(session, file, images, &naming.tags),
    }
}

/// What is to be signed is signed before the first tag is put.
fn put(session: &Session, items: Vec<Item>, naming: &Naming, version: Option<&Version>) -> Result<Vec<steps::Published>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let publication = steps::plan(&publication::request(session, items, naming), &session.registry)?;
    // A branch's images are what the next release carries forward: only what is signed is taken then.
    let of_branch = if version.is_none() { signing::for_branch(session) } else { None };
    if let Some(signing) = version.and_then(|version| version.signing.as_ref()).or(of_branch.as_ref()) {
        signing.sign(session, &publication)?;
    }
    steps::run(&publication, &session.registry, &session.events)
}

/// Writes the notes of a release: what was published, with tags and digests, between two marker comments. Where nothing is released it
/// does nothing; a look makes them and writes none.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// # let base = stages::build_base(cx, &plan)?;
/// # let images = stages::build_services(cx, &plan, &base)?;
/// # let published = stages::publish(cx, images)?;
/// stages::update_release(cx, &published)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When an image cannot be read back, or GitHub does not answer. The images and their tags stand.
pub fn update_release(cx: &Context, published: &Published) -> Result<()> {
    let Some(plan) = &published.plan else { return Ok(()) };
    let look = cx.only_looks();
    let Some(version) = plan.ready.tree.version.as_ref().filter(|_| look || !published.is_empty()) else { return Ok(()) };
    let put: Vec<Noted> = published.images.iter().map(|image| Noted::from(&image.published)).into_vec();
    let images = if look { &published.foreseen } else { &put };
    let notes = publication::write_notes(plan.session(), &version.release.tag, &version.release, images, look)?;
    cx.progress().notes = Some(notes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_release_holds_is_nothing_to_step_back_to() {
        let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
        let mut image = PublishedImage::new("api", &format!("shop/api@{}", digest("8b")), &["v1.2.3", "latest", "1.2"]).unwrap();
        assert_eq!(image.previous(), None);
        let tags = &mut image.published.tags;
        (tags[1].step, tags[1].before) = (steps::Step::HeldBy("1.3.0".parse().unwrap()), Some(digest("1f").parse().unwrap()));
        (tags[2].step, tags[2].before) = (steps::Step::Move, Some(digest("0c").parse().unwrap()));
        assert_eq!(image.previous(), Some(format!("docker.io/shop/api@{}", digest("0c"))));
        assert_eq!(image.tags().collect::<Vec<_>>(), ["v1.2.3", "1.2"]);
    }
}
