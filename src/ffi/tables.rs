//! The tables that NCCL finds by `dlsym`, and what init puts into them.
//!
//! NCCL reads the name before init, and every member anew at each call. Until init each member is ours. Then, if the
//! inner transport has a table of the same version, its own functions take the place of ours wherever we add nothing, NULL
//! where it has NULL: a message costs nothing extra, and what the inner transport doesn't support
//! shows as unsupported.

use std::sync::atomic::{AtomicPtr, Ordering};

use nccl_net_abi::bindings::{
    ncclNet_v6_t, ncclNet_v7_t, ncclNet_v8_t, ncclNet_v9_t, ncclNet_v10_t, ncclNet_v11_t, ncclNet_v12_t,
};
use nccl_net_abi::{Capabilities, Table, Version};

use super::{v6, v7, v8, v9, v10, v11, v12};
use crate::inner::NAME;
use crate::plugin::Plugin;

/// Defines one table and how it is filled.
macro_rules! tables {
    ($(
        $symbol:ident: $type:ident ($version:ident) = {
            control: { $($control:ident: $control_fn:expr),* $(,)? }
            forwarded: { $($forwarded:ident: $forwarded_fn:expr),* $(,)? }
            optional: { $($optional:ident ($capability:ident): $optional_fn:expr),* $(,)? }
        }
    )*) => {
        $(
            #[doc = concat!("What NCCL looks up as `", stringify!($symbol), "`.")]
            #[unsafe(no_mangle)]
            pub static mut $symbol: $type = $type {
                name: NAME.as_ptr(),
                $($control: Some($control_fn),)*
                $($forwarded: Some($forwarded_fn),)*
                $($optional: Some($optional_fn),)*
            };
        )*

        /// Fills the table of this version, the first time that `plugin` is initialised through it.
        ///
        /// Called by init, under its lock; NCCL calls no other member before its first init returns. Later
        /// inits find the work done and leave the table alone, because other communicators are using it.
        pub(crate) fn install(version: Version, plugin: &'static Plugin) {
            match version {
                $(Version::$version => {
                    static INSTALLED: AtomicPtr<Plugin> = AtomicPtr::new(std::ptr::null_mut());
                    let us = std::ptr::from_ref(plugin).cast_mut();
                    if INSTALLED.swap(us, Ordering::AcqRel) == us {
                        return;
                    }
                    let table = &raw mut $symbol;
                    let filled = match plugin.table().map(|inner| inner.table()) {
                        Some(Table::$version(inner)) => {
                            // SAFETY: `AnyNet`'s contract: a table of this version that lives as long as the process.
                            let inner = unsafe { inner.read() };
                            $type {
                                name: NAME.as_ptr(),
                                $($control: Some($control_fn),)*
                                $($forwarded: inner.$forwarded,)*
                                $($optional: inner.$optional,)*
                            }
                        }
                        _ => {
                            let has: Capabilities = plugin.net().capabilities();
                            $type {
                                name: NAME.as_ptr(),
                                $($control: Some($control_fn),)*
                                $($forwarded: Some($forwarded_fn),)*
                                $($optional: has.$capability.then_some($optional_fn as _),)*
                            }
                        }
                    };
                    // SAFETY: the table is ours; nobody else is in it, as said above.
                    unsafe { table.write(filled) };
                })*
            }
        }
    };
}

tables! {
    ncclNetPlugin_v6: ncclNet_v6_t (V6) = {
        control: {
            init: v6::init::<6>, listen: v6::listen, connect: v6::connect, closeSend: v6::closeSend,
        }
        forwarded: {
            devices: v6::devices, getProperties: v6::getProperties, accept: v6::accept, regMr: v6::regMr,
            deregMr: v6::deregMr, isend: v6::isend, irecv: v6::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf,
        }
    }
    ncclNetPlugin_v7: ncclNet_v7_t (V7) = {
        control: {
            init: v6::init::<7>, listen: v6::listen, connect: v7::connect, closeSend: v6::closeSend,
        }
        forwarded: {
            devices: v6::devices, getProperties: v7::getProperties, accept: v7::accept, regMr: v6::regMr,
            deregMr: v6::deregMr, isend: v6::isend, irecv: v6::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf, getDeviceMr (get_device_mr): v7::getDeviceMr,
            irecvConsumed (irecv_consumed): v7::irecvConsumed,
        }
    }
    ncclNetPlugin_v8: ncclNet_v8_t (V8) = {
        control: {
            init: v6::init::<8>, listen: v6::listen, connect: v7::connect, closeSend: v6::closeSend,
        }
        forwarded: {
            devices: v6::devices, getProperties: v8::getProperties, accept: v7::accept, regMr: v8::regMr,
            deregMr: v6::deregMr, isend: v6::isend, irecv: v6::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf, getDeviceMr (get_device_mr): v7::getDeviceMr,
            irecvConsumed (irecv_consumed): v7::irecvConsumed,
        }
    }
    ncclNetPlugin_v9: ncclNet_v9_t (V9) = {
        control: {
            init: v6::init::<9>, listen: v6::listen, connect: v7::connect, closeSend: v6::closeSend,
        }
        forwarded: {
            devices: v6::devices, getProperties: v9::getProperties, accept: v7::accept, regMr: v8::regMr,
            deregMr: v6::deregMr, isend: v9::isend, irecv: v9::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf, getDeviceMr (get_device_mr): v7::getDeviceMr,
            irecvConsumed (irecv_consumed): v7::irecvConsumed, makeVDevice (make_vdevice): v9::makeVDevice,
        }
    }
    ncclNetPlugin_v10: ncclNet_v10_t (V10) = {
        control: {
            init: v10::init::<10>, listen: v6::listen, connect: v10::connect, closeSend: v6::closeSend,
        }
        forwarded: {
            devices: v6::devices, getProperties: v9::getProperties, accept: v7::accept, regMr: v8::regMr,
            deregMr: v6::deregMr, isend: v10::isend, irecv: v10::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf, getDeviceMr (get_device_mr): v7::getDeviceMr,
            irecvConsumed (irecv_consumed): v7::irecvConsumed, makeVDevice (make_vdevice): v9::makeVDevice,
        }
    }
    ncclNetPlugin_v11: ncclNet_v11_t (V11) = {
        control: {
            init: v11::init::<11>, listen: v11::listen, connect: v11::connect, closeSend: v6::closeSend,
            finalize: v11::finalize,
        }
        forwarded: {
            devices: v6::devices, getProperties: v11::getProperties, accept: v7::accept, regMr: v8::regMr,
            deregMr: v6::deregMr, isend: v10::isend, irecv: v10::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf, getDeviceMr (get_device_mr): v7::getDeviceMr,
            irecvConsumed (irecv_consumed): v7::irecvConsumed, makeVDevice (make_vdevice): v9::makeVDevice,
            setNetAttr (set_net_attr): v11::setNetAttr,
        }
    }
    ncclNetPlugin_v12: ncclNet_v12_t (V12) = {
        control: {
            init: v11::init::<12>, listen: v11::listen, connect: v11::connect, closeSend: v6::closeSend,
            finalize: v11::finalize,
        }
        forwarded: {
            devices: v6::devices, getProperties: v12::getProperties, accept: v7::accept, regMr: v8::regMr,
            deregMr: v6::deregMr, isend: v10::isend, irecv: v10::irecv, iflush: v6::iflush, test: v6::test,
            closeRecv: v6::closeRecv, closeListen: v6::closeListen,
        }
        optional: {
            regMrDmaBuf (reg_mr_dmabuf): v6::regMrDmaBuf, getDeviceMr (get_device_mr): v7::getDeviceMr,
            irecvConsumed (irecv_consumed): v7::irecvConsumed,
            makeVDevice (make_vdevice): v12::makeVDevice, setNetAttr (set_net_attr): v11::setNetAttr,
        }
    }
}
