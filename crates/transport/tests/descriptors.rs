//! Connections leave no file descriptor behind. Alone in its process, which has one descriptor table.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use srv6_transport::{Config, Connector, Listener, RawBuf};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_connections_leave_no_descriptor_open() {
    let config = Config { paths: 4, ..Config::default() };
    let before = open_descriptors();
    let mut memory = vec![0_u8; 1 << 20];
    for round in 0..1000 {
        let mut listener = Listener::bind("127.0.0.1".parse().unwrap(), None, &config).unwrap();
        let mut connector = Connector::new(listener.address(), None, &config).unwrap();
        let mut send = loop {
            if let Some(comm) = connector.poll().unwrap() {
                break comm;
            }
        };
        // SAFETY: the comm is dropped before the memory, which nobody else uses.
        let buffer = unsafe { RawBuf::new(memory.as_mut_ptr(), memory.len()) };
        // By turns: never accepted; accepted and idle; requests outstanding on both sides.
        if round % 3 > 0 {
            let mut receive = loop {
                if let Some(comm) = listener.accept().unwrap() {
                    break comm;
                }
            };
            assert_eq!(open_descriptors() - before, 9);
            if round % 3 > 1 {
                let sent = send.post(buffer).unwrap().unwrap();
                send.test(sent).unwrap();
                let other = &mut vec![0_u8; 1 << 20];
                // SAFETY: the comm is dropped at the end of this block, before the memory.
                let other = unsafe { RawBuf::new(other.as_mut_ptr(), other.len()) };
                receive.post(other).unwrap().unwrap();
            }
            drop(receive);
        }
    }
    assert_eq!(open_descriptors(), before);
    drop(memory);
}
