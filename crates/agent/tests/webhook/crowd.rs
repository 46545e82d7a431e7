//! Strangers who connect and bring nothing.

use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Asking, review};
use crate::serving::{PATIENCE, Serving, eventually};

/// A connection from this address of the loopback interface.
async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

#[test]
fn a_crowd_that_only_connects_keeps_nobody_out() {
    // Many systems give 1024 descriptors at first, and more to who asks.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let serving = Serving::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut crowd = Vec::new();
    eventually("places are needed for others", || {
        let strangers = [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4]];
        crowd = (0..1100)
            .map(|number| runtime.block_on(connect(strangers[number % 3], serving.address)))
            .collect();
        serving.logged("dismissed: its place is needed") > 0
    });
    assert_eq!(serving.ask(&review())["allowed"], true);
    assert_eq!(serving.curl("/readyz", None).0, 200);
    drop(crowd);
}

#[test]
fn who_asks_nothing_goes_and_who_has_asked_stays() {
    let serving = Serving::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tls = serving.tls();
        let mut asking = Asking::over(serving.connect(&tls).await).await;
        asking.ask(&review()).await;
        let mut silent = serving.connect(&tls).await;
        let mut rest = Vec::new();
        // The webhook ends it without a farewell, which TLS tells as an error.
        let _cut = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("an end");
        assert_eq!(asking.ask(&review()).await["allowed"], true);
        asking.end().await;
    });
}
