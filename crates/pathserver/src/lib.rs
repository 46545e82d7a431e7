//! A Jalapeno-compatible path API over a topology file.
