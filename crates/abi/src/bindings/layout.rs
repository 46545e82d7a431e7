//! Sizes and offsets that NCCL relies on, LP64.
//!
//! A table only ever grows at its end, so one list of member offsets serves all versions.

use super::*;

/// Asserts a struct's size and the offsets of its fields.
macro_rules! layout {
    ($type:ty, $size:literal $(, $field:ident = $offset:literal)* $(,)?) => {
        const _: () = assert!(size_of::<$type>() == $size);
        $(const _: () = assert!(core::mem::offset_of!($type, $field) == $offset);)*
    };
}

macro_rules! table {
    ($type:ty, $size:literal $(, $field:ident = $offset:literal)* $(,)?) => {
        layout!($type, $size, name = 0, init = 8, devices = 16, getProperties = 24, listen = 32, connect = 40,
            accept = 48, regMr = 56, regMrDmaBuf = 64, deregMr = 72, isend = 80, irecv = 88, iflush = 96, test = 104,
            closeSend = 112, closeRecv = 120, closeListen = 128 $(, $field = $offset)*);
    };
}

table!(ncclNet_v6_t, 136);
table!(ncclNet_v7_t, 152, getDeviceMr = 136, irecvConsumed = 144);
table!(ncclNet_v8_t, 152, getDeviceMr = 136, irecvConsumed = 144);
table!(ncclNet_v9_t, 160, getDeviceMr = 136, irecvConsumed = 144, makeVDevice = 152);
table!(ncclNet_v10_t, 160, getDeviceMr = 136, irecvConsumed = 144, makeVDevice = 152);
table!(
    ncclNet_v11_t,
    176,
    getDeviceMr = 136,
    irecvConsumed = 144,
    makeVDevice = 152,
    finalize = 160,
    setNetAttr = 168
);
table!(
    ncclNet_v12_t,
    176,
    getDeviceMr = 136,
    irecvConsumed = 144,
    makeVDevice = 152,
    finalize = 160,
    setNetAttr = 168
);

layout!(
    ncclNetProperties_v6_t,
    48,
    name = 0,
    pciPath = 8,
    guid = 16,
    ptrSupport = 24,
    speed = 28,
    port = 32,
    latency = 36,
    maxComms = 40,
    maxRecvs = 44
);
layout!(
    ncclNetProperties_v7_t,
    56,
    name = 0,
    pciPath = 8,
    guid = 16,
    ptrSupport = 24,
    speed = 28,
    port = 32,
    latency = 36,
    maxComms = 40,
    maxRecvs = 44,
    netDeviceType = 48,
    netDeviceVersion = 52
);
layout!(
    ncclNetProperties_v8_t,
    64,
    name = 0,
    pciPath = 8,
    guid = 16,
    ptrSupport = 24,
    regIsGlobal = 28,
    speed = 32,
    port = 36,
    latency = 40,
    maxComms = 44,
    maxRecvs = 48,
    netDeviceType = 52,
    netDeviceVersion = 56
);
layout!(
    ncclNetProperties_v9_t,
    104,
    name = 0,
    pciPath = 8,
    guid = 16,
    ptrSupport = 24,
    regIsGlobal = 28,
    forceFlush = 32,
    speed = 36,
    port = 40,
    latency = 44,
    maxComms = 48,
    maxRecvs = 52,
    netDeviceType = 56,
    netDeviceVersion = 60,
    vProps = 64,
    maxP2pBytes = 88,
    maxCollBytes = 96
);
layout!(ncclNetProperties_v10_t, 104, maxCollBytes = 96);
layout!(
    ncclNetProperties_v11_t,
    112,
    name = 0,
    pciPath = 8,
    guid = 16,
    ptrSupport = 24,
    regIsGlobal = 28,
    forceFlush = 32,
    speed = 36,
    port = 40,
    latency = 44,
    maxComms = 48,
    maxRecvs = 52,
    netDeviceType = 56,
    netDeviceVersion = 60,
    vProps = 64,
    maxP2pBytes = 88,
    maxCollBytes = 96,
    maxMultiRequestSize = 104
);
layout!(
    ncclNetProperties_v12_t,
    128,
    name = 0,
    pciPath = 8,
    guid = 16,
    ptrSupport = 24,
    regIsGlobal = 28,
    forceFlush = 32,
    speed = 36,
    port = 40,
    latency = 44,
    maxComms = 48,
    maxRecvs = 52,
    netDeviceType = 56,
    netDeviceVersion = 60,
    vProps = 64,
    maxP2pBytes = 104,
    maxCollBytes = 112,
    maxMultiRequestSize = 120,
    railId = 124,
    planeId = 126
);

layout!(ncclNetVDeviceProps_v9_t, 20, ndevs = 0, devs = 4);
layout!(ncclNetVDeviceProps_v12_t, 36, ndevs = 0, devs = 4);
layout!(
    ncclNetDeviceHandle_v7_t,
    32,
    netDeviceType = 0,
    netDeviceVersion = 4,
    handle = 8,
    size = 16,
    needsProxyProgress = 24
);
layout!(ncclNetCommConfig_v10_t, 4, trafficClass = 0);
layout!(
    ncclNetCommAttr_v11_t,
    16,
    maxConcurrentPeers = 0,
    minConcurrentPeers = 4,
    maxFlowsPerPeer = 8,
    minFlowsPerPeer = 12
);
layout!(ncclNetAttr_v11_t, 44, sendCommAttr = 0, recvCommAttr = 16, op = 32, algo = 36, proto = 40);
