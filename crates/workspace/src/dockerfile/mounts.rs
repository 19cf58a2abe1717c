//! The secrets and SSH agents that RUN steps mount (BuildKit's `instructions/commands_runmount.go`).

use monoship_core::collect::Sorted as _;
use std::collections::BTreeMap;

use super::Instruction;
use super::slice::{Mounted, Slice};

/// Enters what `step` mounts.
pub(super) fn note(step: &Instruction, line: usize, slice: &mut Slice<'_>) {
    if step.keyword != "RUN" {
        return;
    }
    for text in step.flags.iter().filter_map(|flag| flag.strip_prefix("--mount=")) {
        let fields = fields(text);
        let (all, unnamed) = match fields.get("type").map(|kind| kind.to_ascii_lowercase()).as_deref() {
            Some("secret") => (&mut slice.secrets, fields.get("target").or(fields.get("dst")).or(fields.get("destination"))),
            Some("ssh") => (&mut slice.agents, None),
            _ => continue,
        };
        let is_ssh = unnamed.is_none() && fields.get("type").is_some_and(|kind| kind.eq_ignore_ascii_case("ssh"));
        let last = unnamed.and_then(|target| target.rsplit('/').next()).map(str::to_owned);
        let id = fields.get("id").cloned().or(last).or_else(|| is_ssh.then(|| "default".to_owned()));
        // What a variable names is not known here; BuildKit says what is wrong.
        let Some(id) = id.filter(|id| !id.is_empty() && !id.contains('$')) else { continue };
        let required = fields.get("required").is_some_and(|value| value.is_empty() || value.eq_ignore_ascii_case("true"));
        let known = all.entry(id).or_insert(Mounted { required, line });
        if required && !known.required {
            *known = Mounted { required, line };
        }
    }
}

/// `type=secret,id=npm,required` by key.
fn fields(text: &str) -> BTreeMap<String, String> {
    let field = |field: &str| {
        let (key, value) = field.trim_matches('"').split_once('=').unwrap_or((field, ""));
        (key.trim_matches('"').to_ascii_lowercase(), value.to_owned())
    };
    text.split(',').map(field).into_map()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::dockerfile::{Dockerfile, SliceRequest};

    #[test]
    fn the_secrets_and_agents_of_reached_steps_are_known_with_what_needs_them() {
        let text = "FROM a AS other\nRUN --mount=type=secret,id=unreached x\nFROM a AS api\nRUN --mount=type=secret,id=npm x\n\
                    RUN --mount=type=secret,id=npm,required=true x\nRUN --mount=type=secret,target=/root/.netrc,required x\n\
                    RUN --mount=type=ssh --mount=type=ssh,id=hub,required=false --mount=type=cache,target=/c x\n";
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text).unwrap();
        let (contexts, args) = (BTreeSet::new(), BTreeMap::new());
        let slice = dockerfile
            .slice(&SliceRequest { target: "api", contexts: &contexts, args: &args, platforms: &[], own: None })
            .unwrap();
        let shown = |all: &BTreeMap<String, Mounted>| -> Vec<String> {
            all.iter().map(|(id, mounted)| format!("{id} {} {}", mounted.required, mounted.line)).collect()
        };
        assert_eq!(shown(slice.secrets()), [".netrc true 6", "npm true 5"]);
        assert_eq!(shown(slice.agents()), ["default false 7", "hub false 7"]);
    }
}
