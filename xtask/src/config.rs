//! `xtask.toml`: the layer as written, and the configuration as validated. Nothing here looks at packages or images.
