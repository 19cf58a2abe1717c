//! `[images] registry` and `namespace`: where images lie, and what lies beside them.

use crate::config::written;
use monoship_core::error::{Error, Result};
use monoship_core::name::{DOCKER_HUB, ImageRef};

/// `registry/namespace`, below which images lie; `remote` is what the git remote suggests of both.
///
/// # Errors
/// One without the other, and what no image's name can begin with.
pub(super) fn of_images(images: &written::Images, remote: Option<(String, String)>) -> Result<Option<ImageRef>> {
    let (remote_registry, remote_namespace) = remote.unzip();
    let registry = images.registry.clone().or(remote_registry);
    let namespace = images.namespace.clone().or(remote_namespace);
    if let Some((scheme, host)) = registry.as_ref().and_then(|registry| registry.split_once("://")) {
        let host = host.trim_end_matches('/');
        return Err(Error::usage(format!("[images] registry: `{scheme}://{host}` is a URL, not a host"))
            .hint(format!("leave `{scheme}://` out: `registry = \"{host}\"`")));
    }
    let (registry, namespace) = match (registry, namespace) {
        (Some(registry), Some(namespace)) => (registry, namespace),
        (None, None) => return Ok(None),
        // The value comes first: by it the place is found where it was set.
        (Some(registry), None) => {
            let error = Error::usage(format!("[images] registry is set to `{registry}`, but `namespace` is not set"));
            return Err(error.hint("add `namespace = \"org/repo\"`, or set XTASK_IMAGES_NAMESPACE"));
        }
        (None, Some(namespace)) => {
            let error = Error::usage(format!("[images] namespace is set to `{namespace}`, but `registry` is not set"));
            return Err(error.hint("add `registry = \"ghcr.io\"`, or set XTASK_IMAGES_REGISTRY"));
        }
    };
    let lower = namespace.to_ascii_lowercase();
    if lower != namespace {
        return Err(Error::usage(format!(
            "[images] namespace `{namespace}` has capital letters, which an image name must not have"
        ))
        .hint(format!("write `namespace = \"{lower}\"`")));
    }
    let Some(host) = host(&registry) else {
        return Err(Error::usage(format!("[images] registry: `{registry}` is not the host of a registry"))
            .hint("a host is such as `ghcr.io` or `127.0.0.1:5000`; what follows it belongs in `namespace`"));
    };
    if let (DOCKER_HUB, Some((owner, _))) = (host.as_str(), namespace.split_once('/')) {
        let said =
            format!("[images] namespace: `{namespace}` has several parts, and on Docker Hub one stands before an image's name");
        return Err(Error::usage(said).hint(format!("write `namespace = \"{owner}\"`")));
    }
    let prefix = ImageRef::place(&host, &namespace).map_err(|_| {
        Error::usage(format!("[images] namespace: `{namespace}` cannot stand in an image's name"))
            .hint("it is a path such as `org/repo`: lower-case letters, digits, and `.`, `_`, `-` between them")
    })?;
    Ok(Some(prefix))
}

/// The host that a registry's name is, as images have it; `None` where it is something else.
fn host(registry: &str) -> Option<String> {
    let image: ImageRef = format!("{}/org/image", registry.trim_end_matches('/')).parse().ok()?;
    Some(image.registry().to_owned()).filter(|_| image.repository() == "org/image")
}

/// Where this repository keeps what is no image of a service: `<registry>/<org>/<repo>/cache`. The reference has `<org>/cache`, where two
/// repositories of one organisation that have a `base` overwrite each other's. A namespace of one part says nothing of the repository (Docker
/// Hub has no other), so its own name is put before.
pub(super) fn beside(prefix: &ImageRef, repository: Option<&str>, what: &str) -> Option<ImageRef> {
    match repository {
        Some(name) if !prefix.repository().contains('/') => format!("{prefix}/{name}-{what}").parse().ok(),
        _ => format!("{prefix}/{what}").parse().ok(),
    }
}
