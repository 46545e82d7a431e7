//! Whole labs in the kernel, judged by ping, `ip`, `tc` and the links' own counters.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod life;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod shaping;
#[cfg(test)]
mod support;
