//! Loads any NCCL net plugin and drives it as NCCL's proxy does.
