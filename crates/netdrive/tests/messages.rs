//! Single messages through the contract-checking net, in every version of the table.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests: a panic is the failure"
)]

mod strict;

use std::path::PathBuf;
use std::time::Duration;

use srv6_netdrive::{
    Driver, DriverOptions, Error, LogLevel, LogSettings, MessageReceiver, MessageSender, NetSource, Stock,
    Version, start_log,
};

fn source(path: PathBuf) -> NetSource {
    NetSource::Plugin { path, version: None, nccl: None }
}

fn load(path: PathBuf) -> Driver {
    Driver::load(&source(path), &DriverOptions::default()).unwrap()
}

/// The whole chain.
fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn connect(sender: &Driver, receiver: &Driver, dev: usize) -> (MessageSender, MessageReceiver) {
    let listener = receiver.listen(dev).unwrap();
    let handle = listener.handle().clone();
    let accept = listener.accept().unwrap();
    let send = sender.connect(dev, &handle).unwrap().wait().unwrap();
    (
        MessageSender::new(send, 100_000).unwrap(),
        MessageReceiver::new(accept.wait().unwrap(), 100_000).unwrap(),
    )
}

#[test]
fn every_version_carries_messages_of_every_size() {
    for version in Version::ALL {
        let path = strict::plugin(&[version.number()], &[]);
        let (left, right) = (load(path.clone()), load(path));
        assert_eq!(left.version(), version);
        assert_eq!((left.name(), left.devices().len()), ("Strict", 2));
        assert_eq!(left.devices()[1].name(), "strict1");
        let (mut sender, mut receiver) = connect(&left, &right, 1);
        // More than eight, so that slots are used again; empty ones among them.
        let messages: Vec<Vec<u8>> = [0, 1, 3, 4096, 100_000, 0]
            .into_iter()
            .cycle()
            .take(50)
            .enumerate()
            .map(|(index, size)| (0..size).map(|at: usize| (at * 7 + index) as u8).collect())
            .collect();
        for _ in 0..2 {
            let expected = messages.clone();
            std::thread::scope(|scope| {
                scope.spawn(|| sender.send(messages.clone()).unwrap());
                assert_eq!(receiver.receive(expected.len()).unwrap(), expected, "{version}");
            });
        }
        sender.close().unwrap();
        receiver.close().unwrap();
    }
}

#[test]
fn many_connects_are_under_way_at_once() {
    let path = strict::plugin(&[12], &[]);
    let (left, right) = (load(path.clone()), load(path));
    let listeners: Vec<_> = (0..20).map(|_| right.listen(0).unwrap()).collect();
    let connects: Vec<_> = listeners.iter().map(|l| left.connect(0, l.handle()).unwrap()).collect();
    let accepts: Vec<_> = listeners.into_iter().map(|listener| listener.accept().unwrap()).collect();
    for (index, (connect, accept)) in connects.into_iter().zip(accepts).enumerate() {
        let mut sender = MessageSender::new(connect.wait().unwrap(), 16).unwrap();
        let mut receiver = MessageReceiver::new(accept.wait().unwrap(), 16).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(vec![vec![index as u8]]).unwrap());
            assert_eq!(receiver.receive(1).unwrap(), [vec![index as u8]]);
        });
    }
}

#[test]
fn the_newest_table_is_taken_unless_another_is_asked_for() {
    let path = strict::plugin(&[6, 8, 12], &[]);
    assert_eq!(load(path.clone()).version(), Version::V12);
    let options = DriverOptions::default();
    let chosen = |version| {
        Driver::load(&NetSource::Plugin { path: path.clone(), version: Some(version), nccl: None }, &options)
    };
    assert_eq!(chosen(Version::V8).unwrap().version(), Version::V8);
    let error = chosen(Version::V9).unwrap_err().to_string();
    assert!(error.ends_with("has no symbol ncclNetPlugin_v9"), "{error}");
}

#[test]
fn a_net_that_nccl_would_not_use_is_refused() {
    for (macros, expected) in [
        ("DEVICES=0", "net Strict has 0 devices: it can't be used here (NCCL would go on with another net)"),
        ("INIT_RESULT=ncclSystemError", "init of net Strict failed: ncclSystemError (2)"),
        ("MAX_P2P=0", "device 0 of net Strict has maxP2pBytes 0: NCCL wants 1 byte to 1 TiB"),
    ] {
        let path = strict::plugin(&[12], &[macros]);
        let error = Driver::load(&source(path), &DriverOptions::default()).unwrap_err();
        assert_eq!(chain(&error), expected);
    }
    let error = Driver::load(&source("/bin/true".into()), &DriverOptions::default()).unwrap_err();
    assert!(chain(&error).starts_with("can't load /bin/true: "), "{}", chain(&error));
    let driver = load(strict::plugin(&[12], &[]));
    assert_eq!(driver.listen(2).unwrap_err().to_string(), "net Strict has no device 2: it has 0 to 1");
}

fn one_message(driver: &Driver) {
    let (mut sender, mut receiver) = connect(driver, driver, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(vec![b"hello".to_vec()]).unwrap());
        assert_eq!(receiver.receive(1).unwrap(), [b"hello"]);
    });
}

#[test]
fn nccl_s_own_transport_is_driven_with_nccl_s_log() {
    let (libnccl, log) = strict::nccl("stock", &[]);
    let load = |stock| {
        let source = NetSource::Stock { libnccl: libnccl.clone(), stock };
        Driver::load(&source, &DriverOptions::default())
    };
    let driver = load(Stock::Socket).unwrap();
    assert_eq!((driver.name(), driver.version()), ("Socket", Version::V8));
    one_message(&driver);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "strict v8: init 1, text and 42\n");
    let error = load(Stock::Ib).unwrap_err().to_string();
    assert!(error.starts_with("no IB table of layout v8 in "), "{error}");
}

#[test]
fn a_plugin_can_be_given_the_log_of_a_real_nccl() {
    let (libnccl, log) = strict::nccl("beside", &[]);
    let path = strict::plugin(&[10], &[]);
    let with = |nccl| NetSource::Plugin { path: path.clone(), version: None, nccl: Some(nccl) };
    one_message(&Driver::load(&with(libnccl), &DriverOptions::default()).unwrap());
    assert_eq!(std::fs::read_to_string(log).unwrap(), "strict v10: init 1, text and 42\n");
    // A plugin is no NCCL.
    let error = Driver::load(&with(path.clone()), &DriverOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("has no ncclGetVersion of its own: its NCCL release can't be told"), "{error}");
}

#[test]
fn a_connect_that_never_ends_is_given_up() {
    let path = strict::plugin(&[12], &["NEVER=1"]);
    let options = DriverOptions { connect_timeout: Duration::from_millis(200), ..DriverOptions::default() };
    let driver = Driver::load(&source(path), &options).unwrap();
    let listener = driver.listen(0).unwrap();
    let pending = driver.connect(0, listener.handle()).unwrap();
    let error = pending.wait().unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { call: "connect", .. }), "{error}");
}

#[test]
fn what_nobody_waits_for_is_closed() {
    let path = strict::plugin(&[12], &[]);
    let driver = load(path);
    for patience in [0, 1, 20] {
        let listener = driver.listen(0).unwrap();
        let connect = driver.connect(0, listener.handle()).unwrap();
        let accept = listener.accept().unwrap();
        // Given up before, around and after the time when it's done.
        std::thread::sleep(Duration::from_millis(patience));
        drop(connect);
        drop(accept);
    }
    let never =
        Driver::load(&source(strict::plugin(&[12], &["NEVER=1"])), &DriverOptions::default()).unwrap();
    let listener = never.listen(0).unwrap();
    drop(never.connect(0, listener.handle()).unwrap());
    drop(listener.accept().unwrap());
    // The net ends the process if finalize finds a comm or a listener open.
    drop((driver, never));
}

#[test]
fn an_abort_ends_what_is_pending() {
    let options = DriverOptions::default();
    let driver = Driver::load(&source(strict::plugin(&[12], &[])), &options).unwrap();
    let (_sender, mut receiver) = connect(&driver, &driver, 0);
    let nobody_connects = driver.listen(0).unwrap().accept().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| options.abort.now("the test says so"));
        assert_eq!(nobody_connects.wait().unwrap_err().to_string(), "stopped: the test says so");
        assert_eq!(receiver.receive(1).unwrap_err().to_string(), "stopped: the test says so");
        assert!(matches!(receiver.receive(1), Err(Error::Broken)));
    });
}

#[test]
fn what_the_net_logs_is_formatted_by_nccl_s_rules() {
    let file = std::env::temp_dir().join(format!("netdrive-{}.log", std::process::id()));
    let settings = LogSettings {
        level: LogLevel::Info,
        file: file.to_str().map(str::to_owned),
        ..LogSettings::default()
    };
    start_log(&settings).unwrap();
    drop(load(strict::plugin(&[11], &["MAX_RECVS=2"])));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let line = text.lines().find(|line| line.contains("strict v11")).unwrap();
    assert!(line.ends_with(" [0] NCCL INFO strict v11: init 1, text and 42"), "{line}");
}
