//! Where a path goes: SRv6 routes in the kernel, and who holds them.
