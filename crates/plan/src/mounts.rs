//! Cache mounts that outlive a machine. What `RUN --mount=type=cache` keeps is in no cache that BuildKit exports (moby/buildkit#1512): on a
//! builder that starts empty it is restored from an image in the registry, and goes there again. Whether that pays is decided by what it
//! was measured to take and to spare. No I/O.

use serde::{Deserialize, Serialize};

use crate::cache::{Facts, Probe, Tier, Verdict, verdict};
use monoship_core::name::{ImageRef, ServiceName};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_core::text;

/// Their tag among the registry's caches: no stage of a Dockerfile can be called so.
pub const MOUNTS: &str = "_mounts";

/// Mounts that spare less than this are not kept for a first time: to move them takes two calls of the builder, a pull and a push.
const WORTH: u64 = 5_000;

/// The most keys that a note keeps.
const MOST_KEYS: usize = 500;

/// The cache mounts of a run.
#[derive(Debug, Clone)]
pub struct Mounts {
    /// The mounts of what is to be built, as flags name them: `id=store,uid=1000`.
    pub caches: SortedSet<String>,
    /// The image that a step with such a mount runs on, as the builder is told it: it has a shell.
    pub image: String,
    /// Where they are kept; none without a registry.
    pub place: Option<ImageRef>,
    /// What is kept there.
    pub kept: Option<Kept>,
    /// For each service that is to be built, a hash of all that its install and the builds of what it needs go by.
    pub keys: SortedMap<ServiceName, String>,
    /// The verdict, as other tiers have it.
    pub tier: Tier,
}

/// An image of kept mounts.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The image, by its digest.
    pub image: ImageRef,
    /// How many layers it has: one for each time that something was added.
    pub layers: usize,
    /// What its manifest says of it.
    pub note: Note,
}

/// What an image of kept mounts says of itself, as JSON in an annotation of its manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Note {
    /// The keys of what was built with what lies here: its steps are in the other tiers.
    pub made: SortedSet<String>,
    /// How long the steps with such mounts took for each service on a builder that had nothing in them, in milliseconds.
    pub bare_ms: SortedMap<ServiceName, u64>,
    /// How often it was restored and kept again.
    pub restored: u32,
    /// What that gained, all in all, in milliseconds: less than nothing where it took longer than it spared.
    pub gained_ms: i64,
}

/// What a run that keeps its mounts came to.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// How long the steps with cache mounts took for each service that was built, in milliseconds.
    pub work_ms: SortedMap<ServiceName, u64>,
    /// How long it took to restore the mounts and to keep them again, in milliseconds; none where nothing was restored.
    pub moved_ms: Option<u64>,
}

impl Used {
    /// False where nothing is kept yet and the steps with mounts took so little that nothing could be spared.
    #[must_use]
    pub fn is_worth_keeping(&self, kept: Option<&Kept>) -> bool {
        kept.is_some() || self.work_ms.values().any(|took| *took >= WORTH)
    }
}

impl Note {
    /// The annotation's name.
    pub const ANNOTATION: &str = "vnd.monoship.mounts";

    /// True where it has not been tried yet, or was worth it.
    fn pays(&self) -> bool {
        self.restored == 0 || self.gained_ms > 0
    }

    /// The note after another run, which made what has these keys.
    ///
    /// Services are built side by side, so that of the time which each would have taken without the mounts the longest counts.
    #[must_use]
    pub fn after(mut self, made: impl IntoIterator<Item = String>, used: &Used) -> Self {
        if let Some(moved) = used.moved_ms {
            let without = used.work_ms.iter().map(|(service, took)| *self.bare_ms.get(service).unwrap_or(took)).max();
            let with = used.work_ms.values().copied().max().unwrap_or(0).saturating_add(moved);
            self.restored = self.restored.saturating_add(1);
            self.gained_ms = self.gained_ms.saturating_add(without.unwrap_or(0).cast_signed().saturating_sub(with.cast_signed()));
        } else {
            self.bare_ms.extend(used.work_ms.clone());
        }
        if self.made.len() > MOST_KEYS {
            self.made = SortedSet::new();
        }
        self.made.extend(made);
        self
    }
}

/// The verdict over the mounts. `off` is why they are not asked for; `kept` is what asking came to, `note` what was found; `keys` as in
/// [`Mounts::keys`].
#[must_use]
pub fn decide(
    facts: &Facts,
    off: Option<String>,
    kept: &Probe,
    note: Option<&Note>,
    keys: &SortedMap<ServiceName, String>,
) -> Verdict {
    if let Some(why) = off {
        return Verdict::LeftOut(why);
    }
    match note {
        Some(note) if keys.values().all(|key| note.made.contains(key)) => {
            Verdict::LeftOut("the steps that would use them lie in the other tiers".to_owned())
        }
        Some(note) if !note.pays() => {
            let lost = std::time::Duration::from_millis(note.gained_ms.unsigned_abs());
            Verdict::LeftOut(format!("moving them took {} longer than what they spared", text::duration(lost)))
        }
        _ => verdict(kept, &facts.registry_writable, facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::facts;

    fn times(all: &[(&str, u64)]) -> SortedMap<ServiceName, u64> {
        all.iter().map(|(service, ms)| (service.parse().unwrap(), *ms)).collect()
    }

    fn keys(all: &[(&str, &str)]) -> SortedMap<ServiceName, String> {
        all.iter().map(|(service, key)| (service.parse().unwrap(), (*key).to_owned())).collect()
    }

    #[test]
    fn they_are_restored_as_long_as_that_spares_more_than_it_takes() {
        let bare = Used { work_ms: times(&[("api", 20_000), ("web", 30_000)]), moved_ms: None };
        let first = Note::default().after(["a".to_owned(), "w".to_owned()], &bare);
        let new = keys(&[("api", "b"), ("web", "w")]);
        let of = |note: &Note| decide(&facts(), None, &Probe::Found, Some(note), &new);
        assert_eq!(of(&first), Verdict::Used, "it has not been tried");
        // Only api is built: what web would have taken does not count.
        let good = first.clone().after(["b".to_owned()], &Used { work_ms: times(&[("api", 3_000)]), moved_ms: Some(5_000) });
        assert_eq!((good.restored, good.gained_ms), (1, 12_000));
        let other = keys(&[("api", "c")]);
        assert_eq!(decide(&facts(), None, &Probe::Found, Some(&good), &other), Verdict::Used);
        let bad = first.after(["b".to_owned()], &Used { work_ms: times(&[("api", 15_000)]), moved_ms: Some(25_500) });
        let why = "moving them took 20.5s longer than what they spared";
        assert_eq!(decide(&facts(), None, &Probe::Found, Some(&bad), &other), Verdict::LeftOut(why.to_owned()));
        // One that has paid is not given up for one bad day.
        let both = good.after([], &Used { work_ms: times(&[("api", 3_000)]), moved_ms: Some(25_000) });
        assert_eq!((both.restored, both.gained_ms), (2, 4_000));
        // Of a service that was never built without them nothing is known: nothing is claimed.
        let unknown = Note::default().after([], &Used { work_ms: times(&[("new", 9_000)]), moved_ms: Some(1_000) });
        assert_eq!(unknown.gained_ms, -1_000);
    }

    #[test]
    fn what_takes_a_moment_is_not_kept_for_a_first_time() {
        let of = |took| Used { work_ms: times(&[("api", took), ("web", 10)]), moved_ms: None };
        let kept = Kept { image: "ghcr.io/o/r/cache:_mounts".parse().unwrap(), layers: 1, note: Note::default() };
        assert!(of(WORTH).is_worth_keeping(None) && !of(WORTH - 1).is_worth_keeping(None));
        assert!(of(10).is_worth_keeping(Some(&kept)), "what was restored made it short");
    }

    #[test]
    fn what_lies_in_the_other_tiers_needs_none_and_a_run_without_a_place_says_why() {
        let note = Note { made: ["a".to_owned(), "w".to_owned()].into(), ..Note::default() };
        let known = keys(&[("api", "a"), ("web", "w")]);
        let why = "the steps that would use them lie in the other tiers";
        assert_eq!(decide(&facts(), None, &Probe::Found, Some(&note), &known), Verdict::LeftOut(why.to_owned()));
        let off = Some("turned off".to_owned());
        assert_eq!(decide(&facts(), off, &Probe::Found, None, &known), Verdict::LeftOut("turned off".to_owned()));
        let first = decide(&facts(), None, &Probe::Missing, None, &known);
        assert_eq!(first, Verdict::WriteOnly("nothing is there yet".to_owned()));
        let pull_request = Facts { registry_writable: Err("only a run that pushes writes it".to_owned()), ..facts() };
        let note = Note::default();
        let read = decide(&pull_request, None, &Probe::Found, Some(&note), &known);
        assert_eq!(read, Verdict::ReadOnly("only a run that pushes writes it".to_owned()));
    }

    #[test]
    fn a_note_is_read_back_and_does_not_grow_without_end() {
        let mut note = Note::default();
        for at in 0..2 * MOST_KEYS {
            note = note.after([format!("{at:016x}")], &Used::default());
        }
        assert!(note.made.len() <= MOST_KEYS + 1 && note.made.contains(&format!("{:016x}", 2 * MOST_KEYS - 1)));
        let written = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<Note>(&written).unwrap(), note);
        // A later version may say more, an earlier one less.
        assert_eq!(serde_json::from_str::<Note>(r#"{"restored": 1, "more": []}"#).unwrap().restored, 1);
    }
}
