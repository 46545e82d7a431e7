//! The life of a steered flow: ask for a path, plan the route, ready.
