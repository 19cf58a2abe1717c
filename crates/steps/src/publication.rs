//! From a plan whose images stand to what is published: which content tag becomes which tags, and what the notes say of it.

use monoship_core::collect::Collect as _;
use monoship_core::execute::pool::in_parallel;
use monoship_core::sorted::{SortedMap, SortedSet};
use std::path::{Path, PathBuf};

use semver::Version;

use crate::checkout::At;
use crate::image::Image;
use crate::{Session, checkout, claims, configuration, gates, project, since, update_release};
use monoship_core::error::{Error, Result};
use monoship_core::event::{Level, Status, Task};
use monoship_core::execute::group::Group;
use monoship_core::name::{Digest, ImageRef, ReleaseTag, ServiceName, Tag};
use monoship_docker::manifest::{Document, Index, PlatformSpec};
use monoship_docker::registry::Registry;
use monoship_github::api::Api;
use monoship_github::notes::{self as body, Change, ImageNote, PlatformNote, ReleaseNotes};
use monoship_plan::request::{BuildRequest, Destination, ReleaseRequest};
use monoship_plan::{Decision, Plan, ServicePlan, explain};
use monoship_publish::{self as publish, Item, Order, Published};
use monoship_report::record::RunRecord;

/// How many reasons for a rebuild the notes name before they count the rest.
const NOTED_REASONS: usize = 3;

/// What a publication is called and which tags it puts.
pub struct Naming {
    /// A release's tag, or a branch's.
    pub name: String,
    /// The release, among others; none for a branch.
    pub order: Option<Order>,
    /// The tags.
    pub tags: Vec<Tag>,
    /// Let a version tag that exists with other content move.
    pub move_tags: bool,
    /// What is put on a new index over each image.
    pub annotations: Option<SortedMap<String, String>>,
}

impl Naming {
    /// A branch's; none where nothing is pushed, or no tag is to be put.
    pub fn of_branch(destination: &Destination) -> Option<Self> {
        let Destination::Registry(tags) = destination else { return None };
        let name = tags.first()?.to_string();
        Some(Self { name, order: None, tags: tags.clone(), move_tags: true, annotations: None })
    }

    /// A release's. GitHub is asked, where it can be, whether it marks this release, or another, as a pre-release.
    ///
    /// # Errors
    /// When a template makes no tag, git does not say when the commit was made, or GitHub does not answer and nobody else says what the
    /// release is.
    pub fn of_release(session: &Session, tag: &ReleaseTag, commit: &str, release: &ReleaseRequest) -> Result<Self> {
        let marks = Marks::ask(session, tag, release.prerelease)?;
        Ok(Self {
            name: tag.tag.to_string(),
            tags: session.release_tags(tag, !marks.prerelease)?,
            move_tags: release.move_tags,
            annotations: annotations(session, &tag.version, commit)?,
            order: Some(marks.order(session, tag)),
        })
    }
}

/// What GitHub marks as a pre-release, whatever its number.
pub struct Marks {
    /// This one.
    pub prerelease: bool,
    /// All of them.
    marked: SortedSet<Version>,
}

impl Marks {
    /// What GitHub says now, where it can be asked; `said` is what an event said a moment ago.
    ///
    /// # Errors
    /// When GitHub does not answer, and no event said anything.
    pub fn ask(session: &Session, tag: &ReleaseTag, said: Option<bool>) -> Result<Self> {
        let unknown = Self { prerelease: said.unwrap_or_default(), marked: SortedSet::new() };
        let Ok(api) = session.github()? else { return Ok(unknown) };
        let releases = match api.releases() {
            Ok(releases) => releases,
            Err(error) if error.is_cancelled() || said.is_none() => return Err(error),
            Err(error) => {
                let message = format!("GitHub was not asked which releases are pre-releases: {error}");
                session.events.notice(Level::Warning, Some(Task::Publish), message, None);
                return Ok(unknown);
            }
        };
        let own = releases.iter().find(|release| release.tag_name == tag.tag.as_str()).map(|release| release.prerelease);
        let marked = releases.iter().filter(|release| release.prerelease);
        let marked = marked.filter_map(|release| release.tag_name.parse::<ReleaseTag>().ok()).map(|tag| tag.version);
        Ok(Self { prerelease: own.unwrap_or(unknown.prerelease), marked: marked.into_set() })
    }

    /// The order of the version's tags.
    #[must_use]
    pub fn order(self, session: &Session, tag: &ReleaseTag) -> Order {
        Order { templates: session.templates(), version: tag.version.clone(), unreleased: self.marked }
    }
}

/// Version, revision and time of a release, where `[release] annotate` asks for them. The time is the commit's, so that a rerun makes
/// the same index.
fn annotations(session: &Session, version: &Version, commit: &str) -> Result<Option<SortedMap<String, String>>> {
    if !session.config.release.annotate {
        return Ok(None);
    }
    let created = checkout::committed(&session.git(), commit)?;
    let all = [("version", version.to_string()), ("revision", commit.to_owned()), ("created", created)];
    Ok(Some(all.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).into()))
}

/// Where the journal of a publication lies.
pub fn journal(session: &Session, name: &str) -> PathBuf {
    session.state_dir().join("publish").join(format!("{name}.json"))
}

/// Every service of a plan, under its content tag, as the digest that was built or found: whatever the tag points to meanwhile.
pub fn items(plan: &Plan, images: &[Image], naming: &Naming) -> Vec<Item> {
    let with_digest = |service: &ServicePlan| {
        let image = images.iter().find(|image| image.service == service.service.name);
        Some(Item { digest: image.and_then(|image| image.digest.clone()), ..item(service, naming)? })
    };
    plan.services.iter().filter_map(with_digest).into_vec()
}

/// The request to the publish stage.
pub fn request(session: &Session, items: Vec<Item>, naming: &Naming) -> publish::PublishRequest {
    publish::PublishRequest {
        name: naming.name.clone(),
        order: naming.order.clone(),
        items,
        journal: journal(session, &naming.name),
        move_tags: naming.move_tags,
        annotations: naming.annotations.clone(),
        patience: publish::PATIENCE,
    }
}

fn item(service: &ServicePlan, naming: &Naming) -> Option<Item> {
    let source = service.target.spec.output.names().first()?.clone();
    Some(Item { service: service.service.name.clone(), source, digest: None, tags: naming.tags.clone() })
}

/// Asks for the right to push where something is to be built for a registry. What stands is asked about once it gets its tags.
///
/// # Errors
/// As [`publish::may_push`].
pub fn may_push(session: &Session, request: &BuildRequest, plan: &Plan) -> Result<()> {
    if !request.pushes() {
        return Ok(());
    }
    let names = plan.to_build().filter_map(|service| service.target.spec.output.names().first());
    publish::may_push(names.map(ImageRef::without_reference), &session.registry, "built")
}

/// Asks a repository for its tags where something is to be built for a release, which leaves floating tags to newer ones: whoever may not list
/// them would be told when all is built. Of a repository that need not be there yet nobody can tell, for some registries hide both alike.
///
/// # Errors
/// When the registry does not list them.
pub fn may_order(session: &Session, plan: &Plan, naming: &Naming) -> Result<()> {
    let repository = |service: &ServicePlan| Some(service.target.spec.output.names().first()?.without_reference());
    if naming.order.is_none() || plan.to_build().next().is_none() {
        return Ok(());
    }
    let standing = plan.services.iter().find(|service| !service.is_built()).and_then(repository);
    let released = || {
        let repository = plan.services.first().and_then(repository)?;
        let targets: Vec<ImageRef> = naming.tags.iter().map(|tag| repository.with_tag(tag.clone())).into_vec();
        session.registry.resolve_all(&targets).iter().any(|found| matches!(found, Ok(Some(_)))).then_some(repository)
    };
    standing.or_else(released).map_or(Ok(()), |repository| session.registry.tags(&repository).map(drop))
}

/// What a release would publish of the images that stand already, and what the notes would name: those, and the ones still to be built.
///
/// # Errors
/// As [`publish::plan`], but for the right to push, which is not asked for.
pub fn preview(session: &Session, plan: &Plan, naming: &Naming) -> Result<(publish::Plan, Vec<Noted>)> {
    let stands = |service: &&ServicePlan| matches!(service.decision, Decision::Skip { .. });
    let standing = plan.services.iter().filter(stands).filter_map(|service| item(service, naming)).into_vec();
    let publication = publish::preview(&request(session, standing, naming), &session.registry)?;
    let noted = plan.services.iter().filter_map(|service| {
        let name = &service.service.name;
        let published = publication.services.iter().find(|published| published.service == *name);
        Some(Noted {
            service: name.clone(),
            repository: service.target.spec.output.names().first()?.without_reference(),
            digest: published.map(|published| published.manifest.digest().clone()),
        })
    });
    let noted = noted.into_vec();
    Ok((publication, noted))
}

/// Writes the notes of a release whose images stand, and touches nothing else.
///
/// # Errors
/// A service without an image of that version; as [`write_notes`].
pub fn notes_alone(session: &Session, release: &ReleaseRequest, dry_run: bool) -> Result<update_release::Report> {
    let (tag, commit) = checkout::released(session, &release.tag, release.local_tag)?;
    let session = &configuration::at_commit(session, &commit)?;
    let at = At { purpose: "notes", name: tag.tag.as_str(), commit: &commit, keep: false };
    let noted = checkout::within(session, &at, |root| standing(session, &tag, root))?;
    write_notes(session, &tag, release, &noted, dry_run)
}

/// True where every service has an image, built now or before, that no gate stops.
pub fn all_stand(record: &RunRecord) -> bool {
    gates::pass(record) && record.tasks.iter().all(|task| matches!(task.status, Status::Built | Status::Unchanged | Status::Done))
}

/// An image as the notes name it.
pub struct Noted {
    /// Whose it is.
    pub service: ServiceName,
    /// Its repository, without tag.
    pub repository: ImageRef,
    /// What its tags point to; `None` in a dry run, for one that has still to be built.
    pub digest: Option<Digest>,
}

impl From<&Published> for Noted {
    fn from(published: &Published) -> Self {
        let (service, repository) = (published.service.clone(), published.repository.clone());
        Self { service, repository, digest: Some(published.digest.clone()) }
    }
}

/// The images that a release published, by its version tag in the registry.
///
/// # Errors
/// A service whose image is not there; what keeps the commit from being read.
pub fn standing(session: &Session, tag: &ReleaseTag, root: &Path) -> Result<Vec<Noted>> {
    let tags = session.release_tags(tag, true)?;
    let name = tags.first().unwrap_or(&tag.tag);
    let services = claims::services(&session.config, &project::load(session, root)?)?;
    let targets: Vec<ImageRef> = services.iter().map(|(_, repository)| repository.with_tag(name.clone())).into_vec();
    let found = session.registry.resolve_all(&targets).into_iter().collect::<Result<Vec<_>>>()?;
    let missing: Vec<String> =
        targets.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(t, _)| t.to_string()).into_vec();
    if !missing.is_empty() {
        return Err(Error::failed(format!("{} is not published: there is no {}", tag.tag, missing.join(" and no ")))
            .hint(format!("`cargo xtask release {}` publishes it", tag.tag)));
    }
    let noted = services.into_iter().zip(found).map(|((service, repository), found)| Noted {
        service: service.name,
        repository,
        digest: found.map(|found| found.digest),
    });
    Ok(noted.into_vec())
}

/// What the notes say: digests, platforms and sizes as the registry has them, changes since the release before.
fn notes(
    session: &Session,
    tag: &ReleaseTag,
    release: &ReleaseRequest,
    images: &[Noted],
    api: Option<&Api>,
) -> Result<ReleaseNotes> {
    let registry = &session.registry;
    let tags = session.release_tags(tag, true)?;
    let before = api.map(|api| api.release_before(&tag.tag)).transpose()?.flatten();
    let previous = before.as_ref().and_then(|release| release.tag_name.parse::<Tag>().ok());
    let digests = before.map(|release| body::digests(release.body.as_deref().unwrap_or_default(), &session.markers()));
    let images = in_parallel(images, |image| {
        let place = image.digest.clone().map(|digest| image.repository.with_digest(digest));
        Ok(ImageNote {
            service: image.service.clone(),
            image: image.repository.clone(),
            digest: image.digest.clone(),
            platforms: place.map_or(Ok(Vec::new()), |place| platforms(&place, registry))?,
            change: digests.as_ref().map(|before| change(registry, image, before)).transpose()?,
        })
    });
    let mut images = images.into_iter().collect::<Result<Vec<_>>>()?;
    if let Some(previous) = &previous {
        say_why(session, release, previous, &tag.tag, &mut images)?;
    }
    Ok(ReleaseNotes {
        tag: tag.tag.clone(),
        folder: session.config.folder.as_ref().map(ToString::to_string),
        // The templates need not make the release's own tag.
        image_tag: if tags.contains(&tag.tag) { &tag.tag } else { tags.first().unwrap_or(&tag.tag) }.clone(),
        images,
        previous,
        details: None,
    })
}

/// Another index over the same platform manifests is the same image: its attestations or annotations are another build's or release's.
fn change(registry: &Registry, image: &Noted, before: &SortedMap<ServiceName, Digest>) -> Result<Change> {
    let change = body::change_since(before, &image.service, image.digest.as_ref());
    let (Change::Rebuilt(_), Some(new), Some(old)) = (&change, &image.digest, before.get(&image.service)) else {
        return Ok(change);
    };
    let of = |digest: &Digest| registry.manifest(&image.repository.with_digest(digest.clone()));
    let (Some(new), Some(old)) = (of(new)?, of(old)?) else { return Ok(change) };
    Ok(if publish::images(&new)? == publish::images(&old)? { Change::Unchanged } else { change })
}

/// Adds to each image that was rebuilt what changed between the two tags' commits. It is read from git alone, so that a rerun on any machine
/// says the same.
fn say_why(session: &Session, release: &ReleaseRequest, before: &Tag, tag: &Tag, images: &mut [ImageNote]) -> Result<()> {
    let rebuilt = images.iter_mut().filter(|image| matches!(image.change, Some(Change::Rebuilt(_))));
    let rebuilt: Vec<&mut ImageNote> = rebuilt.into_vec();
    if rebuilt.is_empty() {
        return Ok(());
    }
    let git = session.git();
    let both = checkout::commit_of(&git, before).and_then(|old| Ok((old, checkout::commit_of(&git, tag)?)));
    let affected = match both.and_then(|(old, new)| since::between(session, release, &old, &new)) {
        Ok(affected) => affected,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            let message = format!("the notes do not say why images were rebuilt: {error}");
            session.events.notice(Level::Warning, Some(Task::Notes), message, None);
            return Ok(());
        }
    };
    for image in rebuilt {
        let why = affected.reasons(&image.service).map(|reasons| explain::summary(&reasons, NOTED_REASONS));
        image.change = Some(Change::Rebuilt(why));
    }
    Ok(())
}

/// Each published image's bytes to pull, and those of the image that its tags pointed to before, where they are known.
pub type Sizes = SortedMap<ServiceName, (Option<u64>, Option<u64>)>;

/// Asks the registry how large what was published is. An image whose size cannot be had has none: nothing depends on it.
pub fn sizes(published: &[Published], registry: &Registry) -> Sizes {
    let of_one = |one: &Published| {
        let before = one.tags.iter().find_map(|tag| tag.before.clone());
        let by_digest = |digest| registry.image_size(&one.repository.with_digest(digest));
        (one.service.clone(), (by_digest(one.digest.clone()), before.and_then(by_digest)))
    };
    in_parallel(published, of_one).into_iter().into_map()
}

/// Writes the release's notes, to GitHub or, where it cannot be told, to a file; a dry run only shows them.
///
/// # Errors
/// When an image cannot be read back, or GitHub does not answer; and as [`update_release::update_release`].
pub fn write_notes(
    session: &Session,
    tag: &ReleaseTag,
    release: &ReleaseRequest,
    images: &[Noted],
    dry_run: bool,
) -> Result<update_release::Report> {
    let api = session.github()?;
    let notes = notes(session, tag, release, images, api.as_ref().ok())?;
    let fallback = session.state_dir().join("release").join(format!("{}.md", tag.tag));
    let request = update_release::NotesRequest {
        notes: &notes,
        missing: release.missing,
        prerelease: !tag.version.pre.is_empty(),
        dry_run,
        file: release.notes_file.as_deref(),
        fallback: &fallback,
    };
    let written = session.events.during(&Task::Notes, format!("notes of {}", tag.tag), || {
        update_release::update_release(api.as_ref().map_err(|why| *why), &request, &session.events)
    });
    written.map_err(|e: Error| {
        if e.hint_text().is_some() { e } else { e.hint("the images and their tags stand; run this again for the notes") }
    })
}

/// Makes this run the only one that releases the tag: an earlier one is stopped and taken over from.
///
/// # Errors
/// When it does not end in time, or is not to be stopped.
pub fn enter(session: &Session, release: &ReleaseRequest) -> Result<Group> {
    let tag = &release.tag;
    let lock = session.state_dir().join("release").join(format!("{}.lock", tag.tag));
    let group = Group::enter(&lock, release.cancel_earlier, &session.shutdown)?;
    if let Some(earlier) = group.stopped() {
        let message = format!("stopped the earlier release of {} (process {earlier}) and took over", tag.tag);
        session.events.notice(Level::Info, None, message, None);
    }
    Ok(group)
}

fn platforms(image: &ImageRef, registry: &Registry) -> Result<Vec<PlatformNote>> {
    match registry.need_manifest(image)?.document()? {
        Document::Manifest(_) => Ok(Vec::new()),
        Document::Index(index) => index_platforms(image, &index, registry),
    }
}

fn index_platforms(image: &ImageRef, index: &Index, registry: &Registry) -> Result<Vec<PlatformNote>> {
    let mut platforms = Vec::new();
    for entry in index.images() {
        let Some(platform) = entry.platform.as_ref().and_then(PlatformSpec::name) else { continue };
        let bytes = match registry.need_manifest(&image.with_digest(entry.digest.clone()))?.document()? {
            Document::Manifest(manifest) => Some(manifest.size()),
            Document::Index(_) => None,
        };
        platforms.push(PlatformNote { platform, digest: Some(entry.digest.clone()), bytes });
    }
    Ok(platforms)
}
