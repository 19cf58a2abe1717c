//! Each service's own build contexts, cut to its closure: their content for the fingerprint, their folders for the builder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
use crate::name::ServiceName;
use crate::plan::ServicePlan;
use crate::plan::fingerprint::Parts;
use crate::plan::services::Service;
use crate::stage::Session;
use crate::stage::project::Project;

/// The contexts of every service.
#[derive(Default)]
pub struct Cut {
    services: BTreeMap<ServiceName, BTreeMap<String, Parts>>,
}

impl Cut {
    /// What goes into a service's contexts, by context and part.
    pub fn parts(&self, service: &ServiceName) -> BTreeMap<String, Parts> {
        self.services.get(service).cloned().unwrap_or_default()
    }

    /// The folders to hand to the builder, by context.
    pub fn folders(&self, session: &Session, service: &ServiceName) -> BTreeMap<String, String> {
        let root: PathBuf = session.state_dir().join("context").join(service.as_str());
        let names = self.services.get(service).into_iter().flat_map(BTreeMap::keys);
        names.map(|name| (name.clone(), root.join(name).to_string_lossy().into_owned())).collect()
    }
}

/// Cuts the contexts of `services`; nothing is written yet.
///
/// # Errors
/// When a closure cannot be cut.
pub fn plan(_project: &Project, _services: &[Service]) -> Result<Cut> {
    Ok(Cut::default())
}

/// Writes a service's contexts, touching only what differs from what is there.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(_session: &Session, _project: &Project, _service: &ServicePlan) -> Result<()> {
    Ok(())
}
