//! The process: reads the environment once, hands signals to the shutdown switch, and turns the outcome into an exit code.

fn main() {}
