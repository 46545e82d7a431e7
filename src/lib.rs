//! NCCL net plugin that pins every connection to an SRv6 path.
