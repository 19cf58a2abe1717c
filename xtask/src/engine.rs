//! The engine a build runs on: the one that is there, or the embedded one from the distribution's packages.
