//! NCCL's net plugin ABI, v6 to v12: bindings, one face over all versions, and where NCCL keeps its own tables.
