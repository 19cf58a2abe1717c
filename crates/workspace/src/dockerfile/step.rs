//! The steps of a slice as BuildKit counts them, each with what it takes in itself. What it gets from the steps before it is theirs:
//! of the first step that is not in a cache, only its own inputs can be the cause.

use super::slice::{ContextSource, Slice};
use super::walk::{Origin, origins};
use super::{Instruction, Stage};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::{SortedMap, SortedSet};

/// What a step takes in itself.
#[derive(Debug, Clone, Default)]
pub struct StepInputs {
    /// BuildKit's name for its stage: `stage-2` for the third of a file where it has none; `None` in a file of one stage without a name.
    pub stage: Option<String>,
    /// BuildKit's number of it within its stage, from 1; a FROM of an image is counted.
    pub number: usize,
    /// Its own stage and those it goes back to, as [`Slice::texts`] names them, with the number of leading steps that are in force.
    pub texts: SortedMap<String, usize>,
    /// The contexts, images and stages that it names, or that its stages start from.
    pub named: SortedSet<String>,
    /// The paths of the main context that it sees.
    pub sources: SortedSet<ContextSource>,
    /// The addresses that it fetches.
    pub addresses: SortedSet<String>,
    /// The build arguments that are declared for it.
    pub args: SortedSet<String>,
}

impl<'d> Slice<'d> {
    /// Every step that BuildKit counts, but FROM.
    #[must_use]
    pub fn steps(&self) -> Vec<StepInputs> {
        let names = self.names();
        self.stages.values().flat_map(|stage| self.steps_of(stage, &names)).into_vec()
    }

    fn steps_of(&self, stage: &Stage, names: &SortedMap<usize, String>) -> Vec<StepInputs> {
        let froms = &self.froms[&stage.index];
        let mut inputs = StepInputs::default();
        self.inherit(stage, names, &mut inputs);
        let label = (stage.name.is_some() || self.file.stages.len() > 1).then(|| stage.label());
        // `dispatchState.cmdTotal` in `dockerfile2llb`: neither `scratch` nor another stage is a step.
        let from_image = froms.iter().any(|from| from != "scratch") && self.parents(stage).next().is_none();
        let mut number = usize::from(from_image);
        let mut steps = Vec::new();
        for (at, instruction) in stage.instructions.iter().enumerate() {
            let Some(inner) = instruction.inner(self.file.escape) else { continue };
            self.declare(&inner, &mut inputs.args);
            inputs.texts.insert(names[&stage.index].clone(), froms.len() + at + 1);
            if !matches!(instruction.keyword.as_str(), "ADD" | "COPY" | "RUN" | "WORKDIR") {
                continue;
            }
            number += 1;
            let mut step = StepInputs { stage: label.clone(), number, ..inputs.clone() };
            let fetched = self.addresses.iter().filter(|address| address.line == instruction.line);
            step.addresses.extend(fetched.map(|address| address.address.clone()));
            for origin in origins(&inner) {
                match origin {
                    Origin::Named(name) => step.named.extend([name.to_ascii_lowercase(), name]),
                    Origin::Main(_) => step.sources.extend(self.sources.iter().filter(|s| s.line == instruction.line).cloned()),
                }
            }
            steps.push(step);
        }
        steps
    }

    /// What a stage has before its first instruction.
    fn inherit(&self, stage: &Stage, names: &SortedMap<usize, String>, inputs: &mut StepInputs) {
        inputs.texts.insert(names[&stage.index].clone(), self.froms[&stage.index].len());
        inputs.named.extend(self.froms[&stage.index].iter().cloned());
        for parent in self.parents(stage) {
            self.inherit(parent, names, inputs);
            inputs.texts.insert(names[&parent.index].clone(), usize::MAX);
            parent.instructions.iter().for_each(|instruction| self.declare(instruction, &mut inputs.args));
        }
    }

    /// The stages that a stage starts from: more than one where platforms differ.
    pub(super) fn parents<'s>(&'s self, stage: &'s Stage) -> impl Iterator<Item = &'d Stage> + use<'s, 'd> {
        let before = |from: &'s String| {
            self.stages.iter().rev().find(|(index, s)| **index < stage.index && s.name.as_deref() == Some(from))
        };
        self.froms[&stage.index].iter().filter_map(before).map(|(_, stage)| *stage)
    }

    /// A stage and those it starts from, one after the other.
    pub(super) fn line<'s>(&'s self, stage: &'d Stage) -> impl Iterator<Item = &'d Stage> + use<'s, 'd> {
        std::iter::successors(Some(stage), |stage| self.parents(stage).next())
    }

    fn declare(&self, instruction: &Instruction, args: &mut SortedSet<String>) {
        if instruction.keyword == "ARG" {
            args.extend(instruction.declared(self.file.escape).into_iter().map(|(name, _)| name));
        }
    }
}
