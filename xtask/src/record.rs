//! What happened, kept: run records and history.
