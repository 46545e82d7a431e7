//! The data types and reductions by their names.

/// A type of elements: `ncclDataType_t` without its 8-bit floats, which no CPU adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `ncclInt8`
    Int8,
    /// `ncclUint8`
    Uint8,
    /// `ncclInt32`
    Int32,
    /// `ncclUint32`
    Uint32,
    /// `ncclInt64`
    Int64,
    /// `ncclUint64`
    Uint64,
    /// `ncclFloat16`
    Half,
    /// `ncclFloat32`
    Float,
    /// `ncclFloat64`
    Double,
    /// `ncclBfloat16`
    Bfloat16,
}

impl DataType {
    /// All of them, in NCCL's order.
    pub const ALL: [Self; 10] = [
        Self::Int8,
        Self::Uint8,
        Self::Int32,
        Self::Uint32,
        Self::Int64,
        Self::Uint64,
        Self::Half,
        Self::Float,
        Self::Double,
        Self::Bfloat16,
    ];

    /// The name that nccl-tests has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Half => "half",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bfloat16 => "bfloat16",
        }
    }

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Half | Self::Bfloat16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float => 4,
            Self::Int64 | Self::Uint64 | Self::Double => 8,
        }
    }

    /// Bits of a float's significand, with the one that isn't stored; `None` for integers.
    pub const fn significand(self) -> Option<u32> {
        match self {
            Self::Half => Some(11),
            Self::Float => Some(f32::MANTISSA_DIGITS),
            Self::Double => Some(f64::MANTISSA_DIGITS),
            Self::Bfloat16 => Some(8),
            _ => None,
        }
    }
}

/// What is done to the elements of all ranks: `ncclRedOp_t`.
///
/// Integers wrap, as on GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Added.
    Sum,
    /// Multiplied.
    Prod,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Added, and the sum divided by the number of ranks. NCCL divides floats before it adds: results differ in the
    /// last bit.
    Avg,
    /// Each rank's multiplied by a factor of its own, then added (`ncclRedOpCreatePreMulSum`).
    PreMulSum {
        /// This rank's factor.
        factor: u8,
    },
}
