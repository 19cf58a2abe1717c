//! What every part of monoship stands on: errors with hints, validated names, the environment as a value, events, and running things.
//!
//! Nothing here prints, and nothing knows what a service is. Processes are started in one place, [`execute::process`].

pub mod collect;
pub mod env;
pub mod error;
pub mod event;
pub mod execute;
pub mod fault;
pub mod name;
pub mod secret;
pub mod sorted;
pub mod stamp;
pub mod text;
pub mod time;
pub mod tool;
