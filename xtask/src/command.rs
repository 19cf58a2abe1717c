//! One file a verb: each reads its flags, composes stages, and prints what was asked for.
