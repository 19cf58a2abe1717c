//! The stages of the pipeline, each a function.

pub mod build;
pub mod checkout;
pub mod update_release;
