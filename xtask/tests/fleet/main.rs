//! A fleet of builders: what is promised of its assignment, on random fleets and a simulated clock, and real nodes.

mod connections;
mod elsewhere;
mod nodes;
mod room;
mod simulated;
