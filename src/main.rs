//! The `announced` program.
fn main() {}
