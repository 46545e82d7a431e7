//! What a device is, whatever the version that says it.

use std::ffi::{CStr, c_char, c_int};

use crate::bindings::{
    NCCL_NET_DEVICE_HOST, NCCL_NET_DEVICE_INVALID_VERSION, NCCL_NET_ID_UNDEF, NCCL_PTR_CUDA, NCCL_PTR_HOST,
    ncclNetProperties_v6_t, ncclNetProperties_v7_t, ncclNetProperties_v8_t, ncclNetProperties_v9_t,
    ncclNetProperties_v11_t, ncclNetProperties_v12_t, ncclNetVDeviceProps_v9_t, ncclNetVDeviceProps_v12_t,
};

/// The type of memory given to `regMr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryKind(pub c_int);

impl MemoryKind {
    /// Memory of the host.
    pub const HOST: Self = Self(NCCL_PTR_HOST.cast_signed());
    /// Memory of a GPU.
    pub const CUDA: Self = Self(NCCL_PTR_CUDA.cast_signed());
}

/// The physical devices behind a device: one, or the members of a virtual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VirtualDevice {
    /// How many; v9 to v11 hold up to four, v12 up to eight.
    pub count: c_int,
    /// Their indices.
    pub devs: [c_int; 8],
}

impl VirtualDevice {
    /// A device that is just itself.
    pub const fn single(dev: c_int) -> Self {
        Self { count: 1, devs: [dev, 0, 0, 0, 0, 0, 0, 0] }
    }
}

/// What a device is. Fields that an older version lacks hold what NCCL itself would assume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Properties {
    /// For logs, and for `NCCL_NET`-style selection. Lives as long as the process.
    pub name: Option<&'static CStr>,
    /// The device's directory under `/sys`; `None` for a device without one. Lives as long as the process.
    pub pci_path: Option<&'static CStr>,
    /// Tells devices of one card apart.
    pub guid: u64,
    /// Mask of memory kinds (`NCCL_PTR_*`).
    pub ptr_support: c_int,
    /// Whether one registration serves every comm (v8; else false).
    pub reg_is_global: bool,
    /// Whether received GPU data always needs a flush (v9; else false).
    pub force_flush: bool,
    /// Mbit/s.
    pub speed: c_int,
    /// Port of the card.
    pub port: c_int,
    /// Microseconds; 0 if unknown.
    pub latency: f32,
    /// How many comms it can hold.
    pub max_comms: c_int,
    /// How many receives one irecv may group.
    pub max_recvs: c_int,
    /// `NCCL_NET_DEVICE_*` (v7; else host).
    pub device_type: u32,
    /// Version of the device's interface (v7; else 0).
    pub device_version: c_int,
    /// Its members (v9; else itself).
    pub members: VirtualDevice,
    /// Longest point-to-point message, bytes (v9; else 1 GiB, where NCCL cuts anyway).
    pub max_p2p_bytes: usize,
    /// Longest collective message, bytes (v9; else 1 GiB).
    pub max_coll_bytes: usize,
    /// How many requests one call may carry (v11; else 1).
    pub max_multi_request_size: c_int,
    /// Rail (v12; else undefined, -1).
    pub rail_id: i16,
    /// Plane (v12; else undefined, -1).
    pub plane_id: i16,
}

/// Where NCCL cuts transfers, and what its adapters report for tables that state no limit.
const MAX_NET_SIZE: usize = 1 << 30;

const ID_UNDEFINED: i16 = {
    assert!(NCCL_NET_ID_UNDEF == -1);
    -1
};

impl Properties {
    /// A host device with the given index and every other field at its default.
    pub const fn new(dev: c_int) -> Self {
        Self {
            name: None,
            pci_path: None,
            guid: 0,
            ptr_support: MemoryKind::HOST.0,
            reg_is_global: false,
            force_flush: false,
            speed: 0,
            port: 0,
            latency: 0.0,
            max_comms: 0,
            max_recvs: 1,
            device_type: NCCL_NET_DEVICE_HOST,
            device_version: NCCL_NET_DEVICE_INVALID_VERSION.cast_signed(),
            members: VirtualDevice::single(dev),
            max_p2p_bytes: MAX_NET_SIZE,
            max_coll_bytes: MAX_NET_SIZE,
            max_multi_request_size: 1,
            rail_id: ID_UNDEFINED,
            plane_id: ID_UNDEFINED,
        }
    }
}

/// A string that a table points to.
///
/// # Safety
/// `pointer` is NULL or a C string that lives as long as the process: what NCCL asks of `name` and `pciPath`.
unsafe fn text(pointer: *const c_char) -> Option<&'static CStr> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: caller's contract, and not NULL.
    Some(unsafe { CStr::from_ptr(pointer) })
}

fn pointer(text: Option<&'static CStr>) -> *mut c_char {
    text.map_or(std::ptr::null_mut(), |text| text.as_ptr().cast_mut())
}

/// Conversions of one version's structure: the fields it has besides those that all have.
macro_rules! convert {
    ($read:ident, $write:ident, $type:ident, { $($theirs:ident: $ours:ident),* $(,)? }) => {
        impl Properties {
            /// Reads what a table of this version wrote about device `dev`.
            ///
            /// # Safety
            /// The strings are NULL or live as long as the process.
            pub(crate) unsafe fn $read(dev: c_int, raw: &$type) -> Self {
                let mut properties = Self::new(dev);
                // SAFETY: caller's contract.
                properties.name = unsafe { text(raw.name) };
                // SAFETY: caller's contract.
                properties.pci_path = unsafe { text(raw.pciPath) };
                properties.guid = raw.guid;
                properties.ptr_support = raw.ptrSupport;
                properties.speed = raw.speed;
                properties.port = raw.port;
                properties.latency = raw.latency;
                properties.max_comms = raw.maxComms;
                properties.max_recvs = raw.maxRecvs;
                $(properties.$ours = raw.$theirs.into_ours();)*
                properties
            }

            /// As this version's structure.
            pub fn $write(&self) -> $type {
                $type {
                    name: pointer(self.name),
                    pciPath: pointer(self.pci_path),
                    guid: self.guid,
                    ptrSupport: self.ptr_support,
                    speed: self.speed,
                    port: self.port,
                    latency: self.latency,
                    maxComms: self.max_comms,
                    maxRecvs: self.max_recvs,
                    $($theirs: IntoTheirs::into_theirs(self.$ours),)*
                }
            }
        }
    };
}

convert!(from_v6, to_v6, ncclNetProperties_v6_t, {});
convert!(from_v7, to_v7, ncclNetProperties_v7_t, {
    netDeviceType: device_type,
    netDeviceVersion: device_version,
});
convert!(from_v8, to_v8, ncclNetProperties_v8_t, {
    regIsGlobal: reg_is_global,
    netDeviceType: device_type,
    netDeviceVersion: device_version,
});
convert!(from_v9, to_v9, ncclNetProperties_v9_t, {
    regIsGlobal: reg_is_global,
    forceFlush: force_flush,
    netDeviceType: device_type,
    netDeviceVersion: device_version,
    vProps: members,
    maxP2pBytes: max_p2p_bytes,
    maxCollBytes: max_coll_bytes,
});
convert!(from_v11, to_v11, ncclNetProperties_v11_t, {
    regIsGlobal: reg_is_global,
    forceFlush: force_flush,
    netDeviceType: device_type,
    netDeviceVersion: device_version,
    vProps: members,
    maxP2pBytes: max_p2p_bytes,
    maxCollBytes: max_coll_bytes,
    maxMultiRequestSize: max_multi_request_size,
});
convert!(from_v12, to_v12, ncclNetProperties_v12_t, {
    regIsGlobal: reg_is_global,
    forceFlush: force_flush,
    netDeviceType: device_type,
    netDeviceVersion: device_version,
    vProps: members,
    maxP2pBytes: max_p2p_bytes,
    maxCollBytes: max_coll_bytes,
    maxMultiRequestSize: max_multi_request_size,
    railId: rail_id,
    planeId: plane_id,
});

/// From a C field's type to ours.
trait IntoOurs<T> {
    fn into_ours(self) -> T;
}

/// From our field's type to C's.
trait IntoTheirs<T> {
    fn into_theirs(self) -> T;
}

macro_rules! same {
    ($($type:ty),*) => {$(
        impl IntoOurs<$type> for $type {
            fn into_ours(self) -> $type {
                self
            }
        }
        impl IntoTheirs<$type> for $type {
            fn into_theirs(self) -> $type {
                self
            }
        }
    )*};
}
same!(c_int, u32, usize, i16);

impl IntoOurs<bool> for c_int {
    fn into_ours(self) -> bool {
        self != 0
    }
}

impl IntoTheirs<c_int> for bool {
    fn into_theirs(self) -> c_int {
        c_int::from(self)
    }
}

impl IntoOurs<VirtualDevice> for ncclNetVDeviceProps_v9_t {
    fn into_ours(self) -> VirtualDevice {
        let [a, b, c, d] = self.devs;
        VirtualDevice { count: self.ndevs, devs: [a, b, c, d, 0, 0, 0, 0] }
    }
}

impl IntoOurs<VirtualDevice> for ncclNetVDeviceProps_v12_t {
    fn into_ours(self) -> VirtualDevice {
        VirtualDevice { count: self.ndevs, devs: self.devs }
    }
}

impl IntoTheirs<ncclNetVDeviceProps_v9_t> for VirtualDevice {
    /// Members beyond the fourth don't fit and are cut off.
    fn into_theirs(self) -> ncclNetVDeviceProps_v9_t {
        let [a, b, c, d, ..] = self.devs;
        ncclNetVDeviceProps_v9_t { ndevs: self.count.min(4), devs: [a, b, c, d] }
    }
}

impl IntoTheirs<ncclNetVDeviceProps_v12_t> for VirtualDevice {
    fn into_theirs(self) -> ncclNetVDeviceProps_v12_t {
        ncclNetVDeviceProps_v12_t { ndevs: self.count, devs: self.devs }
    }
}

impl VirtualDevice {
    /// What makeVDevice of v9 to v11 was given.
    pub fn from_v9(raw: &ncclNetVDeviceProps_v9_t) -> Self {
        raw.into_ours()
    }

    /// What makeVDevice of v12 was given.
    pub fn from_v12(raw: &ncclNetVDeviceProps_v12_t) -> Self {
        raw.into_ours()
    }

    /// For makeVDevice of v9 to v11; `None` if there are more than four members.
    pub fn to_v9(self) -> Option<ncclNetVDeviceProps_v9_t> {
        (self.count <= 4).then(|| self.into_theirs())
    }

    /// For makeVDevice of v12.
    pub fn to_v12(self) -> ncclNetVDeviceProps_v12_t {
        self.into_theirs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Properties {
        Properties {
            name: Some(c"nic3"),
            pci_path: Some(c"/sys/devices/x"),
            guid: u64::MAX,
            ptr_support: 7,
            reg_is_global: true,
            force_flush: true,
            speed: 400_000,
            port: 2,
            latency: 1.5,
            max_comms: 65_536,
            max_recvs: 8,
            device_type: 1,
            device_version: 7,
            members: VirtualDevice { count: 3, devs: [5, 6, 7, 0, 0, 0, 0, 0] },
            max_p2p_bytes: 1 << 40,
            max_coll_bytes: 1 << 29,
            max_multi_request_size: 4,
            rail_id: 3,
            plane_id: 1,
        }
    }

    #[test]
    fn v12_loses_nothing() {
        // SAFETY: the strings are static.
        assert_eq!(unsafe { Properties::from_v12(9, &full().to_v12()) }, full());
    }

    #[test]
    fn older_versions_fill_in_defaults() {
        let defaults = Properties::new(9);
        let v11 = Properties { rail_id: -1, plane_id: -1, ..full() };
        // SAFETY: the strings are static.
        assert_eq!(unsafe { Properties::from_v11(9, &full().to_v11()) }, v11);
        let v9 = Properties { max_multi_request_size: 1, ..v11 };
        // SAFETY: the strings are static.
        assert_eq!(unsafe { Properties::from_v9(9, &full().to_v9()) }, v9);
        let v8 = Properties {
            force_flush: false,
            members: VirtualDevice::single(9),
            max_p2p_bytes: 1 << 30,
            max_coll_bytes: 1 << 30,
            ..v9
        };
        // SAFETY: the strings are static.
        assert_eq!(unsafe { Properties::from_v8(9, &full().to_v8()) }, v8);
        let v7 = Properties { reg_is_global: false, ..v8 };
        // SAFETY: the strings are static.
        assert_eq!(unsafe { Properties::from_v7(9, &full().to_v7()) }, v7);
        let v6 =
            Properties { device_type: defaults.device_type, device_version: defaults.device_version, ..v7 };
        // SAFETY: the strings are static.
        assert_eq!(unsafe { Properties::from_v6(9, &full().to_v6()) }, v6);
    }

    #[test]
    fn a_missing_path_stays_null() {
        let raw = Properties { pci_path: None, ..full() }.to_v12();
        assert!(raw.pciPath.is_null());
        // SAFETY: the strings are static or NULL.
        assert_eq!(unsafe { Properties::from_v12(0, &raw) }.pci_path, None);
    }

    #[test]
    fn eight_members_need_v12() {
        let members = VirtualDevice { count: 8, devs: [0, 1, 2, 3, 4, 5, 6, 7] };
        assert!(members.to_v9().is_none());
        assert_eq!(VirtualDevice::from_v12(&members.to_v12()), members);
    }
}
