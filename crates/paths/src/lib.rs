//! Where a path comes from: Jalapeno API, topology file, cache.
