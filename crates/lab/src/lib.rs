//! A fabric of network namespaces with real kernel SRv6.
