//! What services take of each other where one is built from another's image: what counts of it, and what it sees of the context.

use crate::inputs::Target;
use crate::verify;
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::name::{Digest, ImageRef};
use monoship_docker::mark::Mark;
use monoship_docker::registry::Registry;
use monoship_plan::built_from;
use monoship_plan::fingerprint::Inputs;
use monoship_plan::services::Service;
use monoship_publish as publish;
use monoship_workspace::dockerfile::Slice;

/// Enters into the inputs of each target the images that its steps use.
pub fn enter(targets: &[Target<'_>], slices: &[Slice<'_>], inputs: &mut [Inputs]) {
    let used = targets.iter().zip(slices).map(|(target, slice)| {
        let used = target.given.services().filter(|(name, _)| slice.contexts().contains(*name));
        (target.service, used.map(|(name, service)| (name.clone(), service.clone())).into_map())
    });
    built_from::enter(&used.into_vec(), inputs);
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

/// Why an image of `service` that another was built from is not the one that its release has; `None` where it is: the same platform manifests, or
/// both marked as made from the same inputs.
///
/// # Errors
/// When the registry does not answer.
pub fn unlike_released(registry: &Registry, service: &verify::Service, used: Option<&Digest>) -> Result<Option<String>> {
    let Some(used) = used else { return Ok(Some("was taken without a digest".to_owned())) };
    let image = |reference: ImageRef| registry.manifest(&reference);
    let Some(taken) = image(service.repository.with_digest(used.clone()))? else {
        return Ok(Some(format!("was {used}, which is not there any more")));
    };
    let of_taken = Mark::of(&taken.document()?).filter(|mark| mark.fingerprint.is_some());
    for tag in &service.tags {
        let Some(released) = image(service.repository.with_tag(tag.clone()))? else { continue };
        let is_marked = of_taken.is_some() && of_taken == Mark::of(&released.document()?);
        if is_marked || publish::images(&released)? == publish::images(&taken)? {
            return Ok(None);
        }
    }
    Ok(Some(format!("was {used}, and no tag of the release is that image")))
}
