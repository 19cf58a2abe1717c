//! Which Dockerfile steps take in something else than at the last build, and what: of the first one that is not in a cache, that is the
//! cause. No I/O.

use super::explain::{Reason, explain};
use super::fingerprint::{Inputs, StageInput};
use super::part::Part;
use monoship_core::collect::Collect as _;
use monoship_core::name::ImageRef;
use monoship_core::sorted::SortedMap;
use monoship_workspace::dockerfile::{Slice, StepInputs};

/// A step and what of its own inputs differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepChange {
    /// BuildKit's name for its stage.
    pub stage: Option<String>,
    /// BuildKit's number of it within its stage, from 1.
    pub number: usize,
    /// What differs; never empty.
    pub reasons: Vec<Reason>,
}

/// The steps of `slice`, from which `after` was made, that take in something else than they did in `before`.
#[must_use]
pub fn changes(slice: &Slice<'_>, before: &Inputs, after: &Inputs) -> Vec<StepChange> {
    let changed = slice.steps().into_iter().map(|step| {
        let reasons = explain(&taken_in(&step, before), &taken_in(&step, after));
        StepChange { stage: step.stage, number: step.number, reasons }
    });
    changed.filter(|step| !step.reasons.is_empty()).into_vec()
}

/// What of a target's inputs one step takes in itself.
fn taken_in(step: &StepInputs, inputs: &Inputs) -> Inputs {
    let stages = step.texts.iter().filter_map(|(name, count)| {
        let stage = inputs.stages.get(name)?;
        let first = |list: &[String]| list.iter().take(*count).cloned().into_vec();
        Some((name.clone(), StageInput { steps: first(&stage.steps), lines: stage.lines.clone() }))
    });
    let contexts = inputs.contexts.iter().filter(|(name, _)| step.named.contains(*name));
    let sees = |path: &str| step.sources.iter().any(|source| source.sees(path));
    let main = inputs.main.as_ref().filter(|_| !step.sources.is_empty());
    let names = |image: &ImageRef| step.named.iter().any(|name| name.parse::<ImageRef>().is_ok_and(|named| named == *image));
    let bases = inputs.bases.iter().filter(|(image, _)| names(image));
    let fetched = inputs.addresses.iter().filter(|(address, _)| step.addresses.contains(*address));
    let arguments = inputs.arguments.iter().filter(|(name, _)| step.args.contains(*name));
    Inputs {
        schema: inputs.schema,
        target: String::new(),
        syntax: inputs.syntax.clone(),
        stages: stages.into_map(),
        contexts: contexts.map(|(name, parts)| (name.clone(), parts.clone())).into_map(),
        main: main.map(|part| Part::new(part.kind(), part.entries().iter().filter(|(path, _)| sees(path)).cloned())),
        bases: bases.map(|(image, pin)| (image.clone(), pin.clone())).into_map(),
        addresses: fetched.map(|(address, held)| (address.clone(), held.clone())).into_map(),
        arguments: arguments.map(|(name, hash)| (name.clone(), hash.clone())).into_map(),
        platforms: inputs.platforms.clone(),
        settings: SortedMap::new(),
    }
}

#[cfg(test)]
mod tests;
