//! GitHub's services as our code sees them, against the fakes in `support`.

mod cache_service;
mod description;
mod packages;
mod releases;
mod upkeep;
mod workflow_files;
