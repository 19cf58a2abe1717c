//! Running things: processes, shutdown, retries. Nothing here prints or knows what a service is.

pub mod cores;
pub mod group;
pub mod http;
pub mod lock;
pub mod pool;
pub mod process;
pub mod retry;
pub mod shutdown;
pub mod started;
