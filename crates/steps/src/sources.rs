//! What services take of each other where one is built from another's image: what counts of it, and what it sees of the context.

use crate::inputs::Target;
use monoship_core::collect::Sorted as _;
use monoship_plan::built_from;
use monoship_plan::fingerprint::Inputs;
use monoship_plan::services::Service;
use monoship_workspace::dockerfile::Slice;

/// Enters into the inputs of each target the images that its steps use.
pub fn enter(targets: &[Target<'_>], slices: &[Slice<'_>], inputs: &mut [Inputs]) {
    let used = targets.iter().zip(slices).map(|(target, slice)| {
        let used = target.given.services().filter(|(name, _)| slice.contexts().contains(*name));
        (target.service, used.map(|(name, service)| (name.clone(), service.clone())).into_map())
    });
    built_from::enter(&used.collect::<Vec<_>>(), inputs);
}

/// Lets what starts from the image of another service see what that one's ONBUILD steps take, as with images from outside.
pub fn see_triggers(services: &[Service], slices: &mut [Slice<'_>]) {
    let has_triggers =
        |slice: &Slice<'_>| slice.texts().iter().any(|stage| stage.steps.iter().any(|(text, _)| text.starts_with("ONBUILD")));
    for (at, service) in services.iter().enumerate() {
        let mut from = service.given.services().filter(|(name, _)| slices[at].contexts().contains(*name));
        if from.any(|(_, from)| services.iter().position(|other| other.name == *from).is_some_and(|of| has_triggers(&slices[of])))
        {
            slices[at].see_everything();
        }
    }
}
