//! A C table of any version, seen as one [`Net`](crate::Net).

mod call;
mod sizes;

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use crate::bindings::{
    ncclNet_v6_t, ncclNet_v7_t, ncclNet_v8_t, ncclNet_v9_t, ncclNet_v10_t, ncclNet_v11_t, ncclNet_v12_t,
};
use crate::{Capabilities, Error, Version};

/// A net table of any version.
///
/// Small and free to copy; reads the members anew at every call, as NCCL does, because a plugin may replace them
/// during init. Allocates nothing, in no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyNet {
    table: Table,
}

// SAFETY: the pointer is to a table that lives as long as the process; C5 lets any thread call through it.
unsafe impl Send for AnyNet {}
// SAFETY: as above.
unsafe impl Sync for AnyNet {}

/// Where a table is and which version it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the version numbers")]
pub enum Table {
    V6(NonNull<ncclNet_v6_t>),
    V7(NonNull<ncclNet_v7_t>),
    V8(NonNull<ncclNet_v8_t>),
    V9(NonNull<ncclNet_v9_t>),
    V10(NonNull<ncclNet_v10_t>),
    V11(NonNull<ncclNet_v11_t>),
    V12(NonNull<ncclNet_v12_t>),
}

/// A member of the table, for versions in which it has one type; `None` where NULL or absent.
macro_rules! member {
    ($table:expr, $field:ident, $($version:ident)|+) => {
        match $table {
            $(Table::$version(table) => {
                // SAFETY: `AnyNet::from_raw`'s contract: the table lives as long as the process.
                unsafe { (*table.as_ptr()).$field }
            })+
            #[allow(unreachable_patterns, reason = "some members are in all versions")]
            _ => None,
        }
    };
}
pub(crate) use member;

impl AnyNet {
    /// Takes `table` for a net table of this version.
    ///
    /// # Safety
    /// `table` points to an `ncclNet_vN_t` of this version that lives as long as the process, whose functions keep
    /// NCCL's contract.
    ///
    /// # Errors
    /// If the name or a member that every net must have is NULL.
    pub unsafe fn from_raw(version: Version, table: NonNull<c_void>) -> Result<Self, Error> {
        let table = match version {
            Version::V6 => Table::V6(table.cast()),
            Version::V7 => Table::V7(table.cast()),
            Version::V8 => Table::V8(table.cast()),
            Version::V9 => Table::V9(table.cast()),
            Version::V10 => Table::V10(table.cast()),
            Version::V11 => Table::V11(table.cast()),
            Version::V12 => Table::V12(table.cast()),
        };
        let net = Self { table };
        if net.name_pointer().is_null() {
            return Err(Error::NoName { version });
        }
        match net.missing() {
            Some(member) => Err(Error::MissingMember { version, member }),
            None => Ok(net),
        }
    }

    /// Where the table is: for those who take over its members as they are.
    pub const fn table(&self) -> Table {
        self.table
    }

    /// The table's version.
    pub const fn version(&self) -> Version {
        match self.table {
            Table::V6(_) => Version::V6,
            Table::V7(_) => Version::V7,
            Table::V8(_) => Version::V8,
            Table::V9(_) => Version::V9,
            Table::V10(_) => Version::V10,
            Table::V11(_) => Version::V11,
            Table::V12(_) => Version::V12,
        }
    }

    /// The table's address.
    pub const fn address(&self) -> *const c_void {
        match self.table {
            Table::V6(table) => table.as_ptr().cast(),
            Table::V7(table) => table.as_ptr().cast(),
            Table::V8(table) => table.as_ptr().cast(),
            Table::V9(table) => table.as_ptr().cast(),
            Table::V10(table) => table.as_ptr().cast(),
            Table::V11(table) => table.as_ptr().cast(),
            Table::V12(table) => table.as_ptr().cast(),
        }
    }

    fn name(&self) -> &CStr {
        // SAFETY: `from_raw`'s contract, and it refused a table without name.
        unsafe { CStr::from_ptr(self.name_pointer()) }
    }

    fn name_pointer(&self) -> *const std::ffi::c_char {
        // SAFETY: `from_raw`'s contract; the name comes first in every version.
        unsafe { self.address().cast::<*const std::ffi::c_char>().read() }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            reg_mr_dmabuf: member!(self.table, regMrDmaBuf, V6 | V7 | V8 | V9 | V10 | V11 | V12).is_some(),
            get_device_mr: member!(self.table, getDeviceMr, V7 | V8 | V9 | V10 | V11 | V12).is_some(),
            irecv_consumed: member!(self.table, irecvConsumed, V7 | V8 | V9 | V10 | V11 | V12).is_some(),
            make_vdevice: member!(self.table, makeVDevice, V9 | V10 | V11).is_some()
                || member!(self.table, makeVDevice, V12).is_some(),
            finalize: member!(self.table, finalize, V11 | V12).is_some(),
            set_net_attr: member!(self.table, setNetAttr, V11 | V12).is_some(),
        }
    }

    /// The first mandatory member that is NULL.
    fn missing(&self) -> Option<&'static str> {
        macro_rules! first_null {
            ($table:ident: $($field:ident)+) => {{
                $(
                    // SAFETY: `from_raw`'s contract.
                    if unsafe { (*$table.as_ptr()).$field }.is_none() {
                        return Some(stringify!($field));
                    }
                )+
                None
            }};
        }
        macro_rules! each {
            ($($version:ident)+) => {
                match self.table {
                    $(Table::$version(table) => first_null!(table: init devices getProperties listen connect accept
                        regMr deregMr isend irecv iflush test closeSend closeRecv closeListen),)+
                }
            };
        }
        each!(V6 V7 V8 V9 V10 V11 V12)
    }
}
