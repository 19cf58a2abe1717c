//! The secrets, SSH agents and caches that RUN steps mount (BuildKit's `instructions/commands_runmount.go`).

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;

use super::slice::{Mounted, Slice};
use super::{Instruction, Stage};

/// What a `--mount=` says by any of these names, as BuildKit reads it: of several the last one counts, and a name alone has no value.
pub(super) fn field<'t>(mount: &'t str, names: &[&str]) -> Option<&'t str> {
    let fields = mount.split(',').rev().map(|field| field.trim_matches('"'));
    let mut pairs = fields.map(|field| field.split_once('=').unwrap_or((field, "")));
    pairs.find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name))).map(|(_, value)| value)
}

const TARGET: [&str; 3] = ["target", "dst", "destination"];
pub(super) const SOURCE: [&str; 2] = ["source", "src"];

/// Enters what a stage's `step` mounts.
pub(super) fn note(step: &Instruction, line: usize, stage: &Stage, slice: &mut Slice<'_>) {
    for mount in mounts_of(step) {
        if is_of_type(mount, "cache")
            && let Some(id) = cache(mount)
        {
            slice.caches.entry(id).or_insert(stage.index);
        }
        let Some((kind, id, required)) = handed_in(mount) else { continue };
        let all = if kind == Kind::Secret { &mut slice.secrets } else { &mut slice.agents };
        let known = all.entry(id.to_owned()).or_insert(Mounted { required, line });
        if required && !known.required {
            *known = Mounted { required, line };
        }
    }
}

/// The `--mount=` of a RUN.
pub(super) fn mounts_of(step: &Instruction) -> impl Iterator<Item = &str> {
    let flags = if step.keyword == "RUN" { &step.flags[..] } else { &[] };
    flags.iter().filter_map(|flag| flag.strip_prefix("--mount="))
}

/// What a step is handed that is in no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A secret.
    Secret,
    /// An SSH agent.
    Agent,
}

/// The secret or agent that a mount is of, by its id, and whether the step fails without it.
fn handed_in(mount: &str) -> Option<(Kind, &str, bool)> {
    let named = |names| field(mount, names);
    let (kind, id) = if is_of_type(mount, "secret") {
        let last = || named(&TARGET).and_then(|target| target.rsplit('/').next());
        (Kind::Secret, named(&SOURCE).or(named(&["id"])).or_else(last)?)
    } else if is_of_type(mount, "ssh") {
        (Kind::Agent, named(&["id"]).unwrap_or("default"))
    } else {
        return None;
    };
    // As Go's `strconv.ParseBool` reads it; the key alone means yes.
    let required = named(&["required"]).is_some_and(|value| ["", "1", "t", "T", "true", "True", "TRUE"].contains(&value));
    // What a variable names is not known here; BuildKit says what is wrong.
    (!id.is_empty() && !id.contains('$')).then_some((kind, id, required))
}

fn is_of_type(mount: &str, kind: &str) -> bool {
    field(mount, &["type"]).is_some_and(|there| there.eq_ignore_ascii_case(kind))
}

/// The secrets and agents that a step of any stage mounts and can do without.
pub(super) fn optional(stages: &[Stage], escape: char) -> SortedSet<(Kind, String)> {
    let mut found = SortedSet::new();
    for step in stages.iter().flat_map(Stage::instructions) {
        let Some(step) = step.inner(escape) else { continue };
        let optional = mounts_of(&step).filter_map(handed_in).filter(|(.., required)| !required);
        found.extend(optional.map(|(kind, id, _)| (kind, id.to_owned())));
    }
    found
}

/// What a builder knows a cache by: its id, else the folder it is mounted at, and the owner and mode that it begins with. One that begins with
/// another image's files is known by that image too, and is nobody else's.
fn cache(mount: &str) -> Option<String> {
    let begins_with = field(mount, &["from"]).or(field(mount, &SOURCE)).is_some();
    let target = || field(mount, &TARGET).filter(|target| target.starts_with('/'));
    let id = field(mount, &["id"]).filter(|id| !id.is_empty()).or_else(target)?;
    let others = ["uid", "gid", "mode"].iter().filter_map(|key| Some((*key, field(mount, &[key])?)));
    let all: Vec<String> = [("id", id)].into_iter().chain(others).map(|(key, value)| format!("{key}={value}")).into_vec();
    // What would have to be quoted, or depends on a variable, is left out.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@:+=".contains(c);
    (!begins_with && all.iter().all(|one| one.chars().all(is_plain))).then(|| all.join(","))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use monoship_core::sorted::SortedMap;

    use super::*;
    use crate::dockerfile::{Dockerfile, SliceRequest};

    #[test]
    fn the_secrets_and_agents_of_reached_steps_are_known_with_what_needs_them() {
        let text = "FROM a AS other\nRUN --mount=type=secret,id=unreached x\nFROM a AS api\nRUN --mount=type=secret,id=npm x\n\
                    RUN --mount=type=secret,id=npm,required=true x\nRUN --mount=type=secret,target=/root/.netrc,required x\n\
                    RUN --mount=type=secret,source=token,dst=/t,required=1 x\n\
                    RUN --mount=type=ssh --mount=type=ssh,id=hub,required=false --mount=type=cache,target=/c x\n";
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
        let (contexts, args) = (SortedSet::new(), SortedMap::new());
        let slice = dockerfile
            .slice(&SliceRequest { target: "api", contexts: &contexts, args: &args, platforms: &[], own: None })
            .unwrap();
        let shown = |all: &SortedMap<String, Mounted>| -> Vec<String> {
            all.iter().map(|(id, mounted)| format!("{id} {} {}", mounted.required, mounted.line)).collect()
        };
        assert_eq!(shown(slice.secrets()), [".netrc true 6", "npm true 5", "token true 7"]);
        assert_eq!(shown(slice.agents()), ["default false 8", "hub false 8"]);
        let optional: Vec<String> = slice.optional_mounts().iter().map(|(kind, id)| format!("{kind:?} {id}")).collect();
        assert_eq!(optional, ["Secret npm", "Secret unreached", "Agent default", "Agent hub"], "those of the whole file");
    }

    #[test]
    fn the_caches_of_reached_steps_are_known_with_the_image_below_them() {
        let text = "ARG NODE=node:24\nFROM $NODE AS base\nFROM alpine AS other\nRUN --mount=type=cache,target=/unreached x\n\
                    FROM base AS api\nRUN --mount=type=cache,id=store,target=/s,uid=1000 --mount=type=cache,dst=/root/.npm,sharing=locked x\n\
                    RUN --mount=type=cache,id=$ID,target=/v --mount=type=cache,id=a%b,target=/q --mount=type=cache,target=relative x\n\
                    RUN --mount=type=cache,id=seeded,target=/w,from=base x\n\
                    FROM scratch AS own\nRUN --mount=type=cache,id=nowhere,target=/s x\nFROM api\nCOPY --from=own / /\n";
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
        let (contexts, args) = (SortedSet::new(), SortedMap::new());
        let slice =
            dockerfile.slice(&SliceRequest { target: "", contexts: &contexts, args: &args, platforms: &[], own: None }).unwrap();
        let found: Vec<String> =
            slice.caches().into_iter().map(|(cache, image)| format!("{cache} on {}", image.familiar())).collect();
        assert_eq!(found, ["id=/root/.npm on node:24", "id=store,uid=1000 on node:24"]);
        // A stage that a context takes the place of is made from no image that is known here.
        let contexts = SortedSet::from(["base".to_owned()]);
        let slice =
            dockerfile.slice(&SliceRequest { target: "", contexts: &contexts, args: &args, platforms: &[], own: None }).unwrap();
        assert!(slice.caches().is_empty());
    }
}
