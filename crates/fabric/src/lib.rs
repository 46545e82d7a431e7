//! Flows, carriers, topologies and path choice: pure, no I/O.
