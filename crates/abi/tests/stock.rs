//! NCCL's own tables, found among everything that resembles them.

#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure")]

mod compile;

use std::ffi::c_void;
use std::path::Path;

use libloading::os::unix;
use nccl_net_abi::{AnyNet, Error, Image, Net, Stock, Version, find_stock};

/// A release of each layout.
const RELEASES: [(i32, Version); 7] = [
    (21803, Version::V6),
    (21903, Version::V7),
    (22105, Version::V8),
    (22403, Version::V9),
    (22705, Version::V10),
    (22809, Version::V11),
    (23203, Version::V12),
];

fn library(name: &str, code: i32, version: Version, options: &[&str]) -> std::path::PathBuf {
    let code = format!("-DCODE={code}");
    let number = format!("-DV={}", version.number());
    let mut all = vec!["-shared", "-fPIC", &code, &number];
    all.extend(options);
    compile::compile("image.c", &format!("libimage_{name}_{version}.so"), &all)
}

fn image(name: &str, version: Version, options: &[&str]) -> Image {
    Image::open(&library(name, 22705, version, options)).unwrap()
}

/// Where `symbol` is in the (already loaded) library.
fn symbol(image: &Image, symbol: &[u8]) -> *const c_void {
    // SAFETY: already loaded.
    let library = unsafe { unix::Library::open(Some(image.path()), unix::RTLD_NOW) }.unwrap();
    // SAFETY: only the address is used.
    let address = unsafe { library.get::<*mut c_void>(symbol) }.unwrap().as_raw_ptr();
    std::mem::forget(library);
    address
}

#[test]
fn both_tables_of_every_layout() {
    for (code, version) in RELEASES {
        let image = Image::open(&library("plain", code, version, &[])).unwrap();
        assert_eq!(image.nccl_version().unwrap(), code);
        assert_eq!(Version::internal_layout(code), Some(version));
        for (stock, name) in [(Stock::Socket, &b"image_socket\0"[..]), (Stock::Ib, b"image_ib\0")] {
            let net = find_stock(&image, stock, version).unwrap();
            assert_eq!(net.address(), symbol(&image, name), "{stock} {version}");
            assert_eq!(Net::name(&net).to_str().unwrap(), stock.name());
            assert_eq!(AnyNet::version(&net), version);
        }
    }
}

#[test]
fn lookalikes_are_passed_over() {
    for (_, version) in RELEASES {
        let image = image("lookalikes", version, &["-DLOOKALIKES"]);
        for (stock, name) in [(Stock::Socket, &b"image_socket\0"[..]), (Stock::Ib, b"image_ib\0")] {
            assert_eq!(
                find_stock(&image, stock, version).unwrap().address(),
                symbol(&image, name),
                "{stock} {version}"
            );
        }
    }
}

#[test]
fn lookalikes_alone_are_no_table() {
    let image = image("lookalikes_alone", Version::V10, &["-DLOOKALIKES", "-DNO_IB", "-DNO_SOCKET"]);
    match find_stock(&image, Stock::Ib, Version::V10).unwrap_err() {
        // Three words of the list of strings, and the tail of "GIN_IB".
        Error::NoTable { stock: Stock::Ib, named: 4, version: Version::V10, .. } => {}
        other => panic!("{other}"),
    }
    match find_stock(&image, Stock::Socket, Version::V10).unwrap_err() {
        Error::NoTable { stock: Stock::Socket, named: 0, .. } => {}
        other => panic!("{other}"),
    }
}

#[test]
fn two_that_fit_are_refused() {
    let image = image("duplicate", Version::V11, &["-DDUPLICATE"]);
    let error = find_stock(&image, Stock::Socket, Version::V11).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { count: 2, stock: Stock::Socket, .. }), "{error}");
    assert!(error.to_string().contains("2 Socket tables of layout v11"), "{error}");
    find_stock(&image, Stock::Ib, Version::V11).unwrap();
}

#[test]
fn one_member_too_many_or_another_layout_is_refused() {
    let image = image("extra", Version::V9, &["-DEXTRA_MEMBER"]);
    let error = find_stock(&image, Stock::Socket, Version::V9).unwrap_err();
    assert!(matches!(error, Error::NoTable { named: 1, .. }), "{error}");
    // IB of v9 ends in makeVDevice, where v12 goes on with finalize.
    let error = find_stock(&image, Stock::Ib, Version::V12).unwrap_err();
    assert!(matches!(error, Error::NoTable { .. }), "{error}");
}

#[test]
fn an_image_is_found_by_a_function_in_it() {
    let opened = image("containing", Version::V8, &[]);
    let found = Image::containing(symbol(&opened, b"ncclDebugLog\0")).unwrap();
    assert_eq!((found.path(), found.base()), (opened.path(), opened.base()));
}

#[test]
fn two_nccls_in_one_process_stay_apart() {
    let old = Image::open(&library("two_old", 22005, Version::V8, &[])).unwrap();
    let new = Image::open(&library("two_new", 23007, Version::V12, &[])).unwrap();
    for (image, code) in [(&old, 22005), (&new, 23007)] {
        let found = Image::containing(symbol(image, b"ncclDebugLog\0")).unwrap();
        assert_eq!(found.nccl_version().unwrap(), code);
    }
    assert_ne!(old.base(), new.base());
}

#[test]
fn a_version_of_another_image_does_not_count() {
    // Another NCCL, visible to all: dlsym would find its ncclGetVersion for an image that has none of its own.
    let other = library("global", 22005, Version::V8, &[]);
    // SAFETY: our own test library.
    let global = unsafe { unix::Library::open(Some(&other), unix::RTLD_NOW | unix::RTLD_GLOBAL) }.unwrap();
    let hidden = library("hidden", 22705, Version::V10, &["-DHIDDEN_VERSION", other.to_str().unwrap()]);
    assert!(matches!(Image::open(Path::new("libm.so.6")), Err(Error::NoVersion { .. })));
    // SAFETY: our own test library.
    let library = unsafe { unix::Library::open(Some(&hidden), unix::RTLD_NOW) }.unwrap();
    // SAFETY: only the address is used.
    let inside = unsafe { library.get::<*mut c_void>(b"image_version\0") }.unwrap().as_raw_ptr();
    let error = Image::containing(inside).unwrap().nccl_version().unwrap_err();
    assert!(matches!(error, Error::NoVersion { .. }), "{error}");
    std::mem::forget((global, library));
}
