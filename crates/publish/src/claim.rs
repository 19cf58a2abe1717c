//! That a run is publishing, told to runs on other machines. A registry has neither locks nor "put it only if": of two runs that put one tag,
//! neither can see the other by it. So each puts a tag of its own beside the first service's images before its first one, and looks then who
//! else has one there. Two rules follow:
//!
//! - Who has seen another run takes nothing back: what both put may be the other's success. A rerun completes the publication.
//! - Who has seen another run waits for its end, and reads every tag once more: what the other took back before it could see us is put again.
//!   Of two runs of a branch, whose tags belong to whom comes last, the one with the higher number then counts for every service.
//!
//! Each tells first and looks then, so of two that meet at least one sees the other. It leaves word until the other has ended, which therefore
//! sees it, too. A registry that deletes nothing, or does not say whether it does, could keep these tags for good: nothing is told there, and so
//! nothing is taken back. Who tells nothing looks all the same, and reads every tag once more: somebody else's word may be there. Who may not list
//! tags tells others, and goes on as if it had seen some.

use std::time::{Duration, Instant};

use super::Plan;
use super::put::Stop;
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Events, Level, Task};
use monoship_core::execute::retry::sleep;
use monoship_core::name::{Digest, ImageRef, Tag, sha256_hex};
use monoship_docker::manifest::Document;
use monoship_docker::registry::{Refusal, Registry, Verdict, note};

/// The tag of a run that may still put tags, or take some back.
const GOING: &str = "publishing-";
/// That of one which is done, and stays for those that are not.
const DONE: &str = "published-";
/// What both name. A manifest of another kind is nobody's word, whatever its tag.
const KIND: &str = "application/vnd.monoship.publication";
/// Its annotation.
const SAYS: &str = "vnd.monoship.publication";

/// How long the end of another run is waited for, where nobody says otherwise: longer than putting tags back may take. A run that is still
/// there after that was killed.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// How often it is looked for, at first.
const LOOK: Duration = Duration::from_millis(50);
/// And at last.
const SELDOM: Duration = Duration::from_secs(1);

/// A run's word that it is there.
pub(super) struct Claim {
    id: String,
    /// The first service's repository, where words are looked for; `None` where nothing is published.
    place: Option<ImageRef>,
    /// True where ours is there, too.
    told: bool,
    /// What was put there and has to go.
    put: Vec<Word>,
    /// Words of runs that have nobody left to tell.
    others_done: Vec<Word>,
    seen: bool,
    /// Others cannot be seen.
    blind: bool,
}

/// Another run's tag.
struct Other {
    id: String,
    going: bool,
    word: Word,
}

/// A tag that says something to other runs.
#[derive(Clone, PartialEq, Eq)]
struct Word {
    tag: Tag,
    digest: Digest,
}

impl Word {
    /// Takes it away. Some registries answer that they delete, and do not (read-only behind a proxy, a mirror, or at their next clean-up):
    /// then its tag is put on what is nobody's word, or every later run would wait for this one.
    fn take_away(&self, place: &ImageRef, registry: &Registry) -> Result<()> {
        registry.delete_manifest(place, &self.digest)?;
        let there = place.with_tag(self.tag.clone());
        let mut pause = LOOK;
        while registry.resolve(&there)?.is_some_and(|there| there.digest == self.digest) {
            if pause > LOOK * 4 {
                return match registry.put_note(&there, &note(KIND, SAYS, "nothing"))? {
                    None => Ok(()),
                    Some(refusal) => Err(refusal.to_write(&there)),
                };
            }
            sleep(pause, registry.shutdown())?;
            pause *= 2;
        }
        Ok(())
    }
}

/// Whom a run met.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Nobody,
    /// Others, all of which count less.
    Lesser,
    /// One that counts more is done, and still there.
    Greater,
}

/// A name that no other run has, on this machine or another.
pub(super) fn new_id(plan: &Plan) -> String {
    let unique = format!("{:?} {} {}", std::time::SystemTime::now(), std::process::id(), plan.journal.display());
    sha256_hex(unique.as_bytes())[..16].to_owned()
}

impl Claim {
    /// Of a run that nobody knows of yet.
    pub(super) fn new(id: String, plan: &Plan) -> Self {
        let place = plan.services.first().map(|first| first.source.without_reference());
        Self { id, place, told: false, put: Vec::new(), others_done: Vec::new(), seen: false, blind: false }
    }

    /// Tells others, and looks who is there; `known` where an earlier run had this name. `registry` is under a switch that lets what has begun come to its end.
    ///
    /// # Errors
    /// When the registry cannot be reached or does not let us write: nothing has been put then, and the word may stand.
    pub(super) fn tell(&mut self, known: bool, registry: &Registry) -> Result<(), Stop> {
        let Some(place) = self.place.clone() else { return Ok(()) };
        if !registry.deletes(&place)? {
            return Ok(());
        }
        match self.say(&place, GOING, registry)? {
            None => self.told = true,
            Some(refusal) if matches!(refusal.verdict, Verdict::Denied | Verdict::AbsentOrDenied | Verdict::ReadOnly) => {
                return Err(Stop { error: refusal.to_write(&place), for_good: true });
            }
            // It takes no such tag.
            Some(_) => return Ok(()),
        }
        let others = self.others(registry)?;
        self.blind = others.is_none();
        self.seen = others.is_none_or(|others| !others.is_empty());
        if known {
            // The run that died may have come to its last word.
            let tag = self.tag(DONE)?;
            let left = registry.resolve(&place.with_tag(tag.clone()))?;
            self.put.extend(left.map(|left| Word { tag, digest: left.digest }));
        }
        Ok(())
    }

    /// Puts a word of ours, noted down before: an answer can be lost.
    fn say(&mut self, place: &ImageRef, kind: &str, registry: &Registry) -> Result<Option<Refusal>> {
        let tag = self.tag(kind)?;
        let word = note(KIND, SAYS, tag.as_str());
        self.put.push(Word { tag: tag.clone(), digest: word.digest().clone() });
        let refusal = registry.put_note(&place.with_tag(tag), &word)?;
        if refusal.is_some() {
            self.put.pop();
        }
        Ok(refusal)
    }

    fn tag(&self, kind: &str) -> Result<Tag> {
        format!("{kind}{}", self.id).parse()
    }

    /// The other runs that are there; `None` where we may not look: not everybody who may push may list. A tag without a manifest is the rest of
    /// one that is being deleted.
    fn others(&self, registry: &Registry) -> Result<Option<Vec<Other>>> {
        let Some(place) = &self.place else { return Ok(Some(Vec::new())) };
        let tags = match registry.try_tags(place) {
            Err(error) if !self.told && !error.is_cancelled() => return Ok(Some(Vec::new())),
            tags => tags?,
        };
        let Ok(tags) = tags else { return Ok(None) };
        let mut others = Vec::new();
        for tag in tags {
            let (going, done) = (tag.as_str().strip_prefix(GOING), tag.as_str().strip_prefix(DONE));
            let Some(id) = going.or(done).filter(|id| *id != self.id) else { continue };
            let Some(raw) = registry.manifest(&place.with_tag(tag.clone()))? else { continue };
            let says = match raw.document()? {
                Document::Manifest(manifest) => manifest.annotations.get(SAYS).is_some_and(|says| says == tag.as_str()),
                Document::Index(_) => false,
            };
            if says {
                let (id, going) = (id.to_owned(), going.is_some());
                others.push(Other { id, going, word: Word { tag, digest: raw.digest().clone() } });
            }
        }
        Ok(Some(others))
    }

    /// Why what this run has put may be another's by now; `None` where it was alone from its beginning until now.
    pub(super) fn why_not_alone(&self, registry: &Registry) -> Option<String> {
        if !self.told {
            return Some("the registry takes no tags away, so other runs cannot be told apart from this one".to_owned());
        }
        if self.blind {
            return Some("we may not list this registry's tags, and so not see other runs".to_owned());
        }
        let others = || self.others(registry).map(|others| others.is_none_or(|others| !others.is_empty()));
        match if self.seen { Ok(true) } else { others() } {
            Ok(false) => None,
            Ok(true) => Some("another run publishes here at the same time, and what both put is its, too".to_owned()),
            Err(error) => Some(format!("nobody can say whether another run publishes here at the same time ({error})")),
        }
    }

    /// Waits until no other run that was begun meanwhile can take anything back. `None` where this run was alone; else tags have to be read again.
    ///
    /// # Errors
    /// When the registry cannot be asked, or the run is stopped.
    pub(super) fn wait_for_others(
        &mut self,
        registry: &Registry,
        patience: Duration,
        events: &Events,
    ) -> Result<Option<Met>, Stop> {
        let mut others = self.others(registry)?.unwrap_or_default();
        self.seen |= !others.is_empty();
        if !self.seen {
            // Whom nobody sees, another run may have come upon and gone.
            return Ok((!self.told).then_some(Met::Nobody));
        }
        if !others.iter().any(|other| other.going) {
            return Ok(Some(self.rank(&others)));
        }
        self.say_done(registry)?;
        events.doing(&Task::Publish, "waiting for another run that publishes here");
        let (since, mut pause) = (Instant::now(), LOOK);
        while others.iter().any(|other| other.going) {
            if since.elapsed() > patience {
                self.forget(registry, &others, events);
                break;
            }
            sleep(pause, registry.shutdown())?;
            pause = (pause * 2).min(SELDOM);
            others = self.others(registry)?.unwrap_or_default();
        }
        Ok(Some(self.rank(&others)))
    }

    /// One that is gone, or never came to its end, counts no more.
    fn rank(&mut self, others: &[Other]) -> Met {
        if others.iter().all(|other| !other.going) {
            self.others_done = others.iter().map(|other| other.word.clone()).into_vec();
        }
        let greater = others.iter().any(|other| !other.going && other.id > self.id);
        if greater { Met::Greater } else { Met::Lesser }
    }

    /// From "I may take something back" to "I was here".
    fn say_done(&mut self, registry: &Registry) -> Result<()> {
        let Some(place) = self.place.clone().filter(|_| self.told) else { return Ok(()) };
        let going = self.put.clone();
        // Refused, the others wait for us a little longer.
        if self.say(&place, DONE, registry)?.is_none() {
            for word in going {
                word.take_away(&place, registry)?;
                self.put.retain(|put| *put != word);
            }
        }
        Ok(())
    }

    /// The words of runs that never ended go, or every later run would wait for them again.
    fn forget(&self, registry: &Registry, others: &[Other], events: &Events) {
        let Some(place) = &self.place else { return };
        let message = format!("another run that publishes to {place} never ended; it is taken for killed");
        let hint = "run it again to complete what it had begun".to_owned();
        events.notice(Level::Warning, Some(Task::Publish), message, Some(hint));
        for other in others {
            // Who comes next tries again.
            let _ = other.word.take_away(place, registry);
        }
    }

    /// Takes the word away, and with it what others left that are done, where nobody is left whom it tells anything. One that cannot be taken
    /// away is waited for once by the next run, or taken for its own by one of the returned name.
    pub(super) fn end(&mut self, registry: &Registry) -> Option<&str> {
        let place = self.place.as_ref()?;
        let mut stays = false;
        for word in std::mem::take(&mut self.put) {
            stays |= word.take_away(place, registry).is_err();
        }
        for word in std::mem::take(&mut self.others_done) {
            let _ = word.take_away(place, registry);
        }
        stays.then_some(&self.id)
    }
}
