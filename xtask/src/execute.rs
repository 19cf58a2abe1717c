//! Running things: processes, shutdown, retries. Nothing here prints or knows what a service is.

pub mod group;
pub mod process;
pub mod shutdown;
