//! What collectives work on: NCCL's data types and reductions, over host memory.

mod kind;
mod reduce;

pub use kind::{DataType, Reduction};
pub(crate) use reduce::{accumulate, combine, divide, scale};
