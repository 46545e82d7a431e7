//! Certificates: changed under load, refused when they can't be used.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Barrier, Semaphore};

use crate::client::{Asking, review, shown};
use crate::reviews::patched;
use crate::secret::{Pair, Secret};
use crate::serving::{PATIENCE, Serving, command, eventually};

/// Reviews at the same time, each over a connection of its own.
const PARALLEL: usize = 500;
/// Handshakes at the same time. They take far longer than reviews, and a server that is slow gives up those that take too long.
const HANDSHAKES: usize = 16;

#[test]
fn five_hundred_reviews_at_once_while_the_certificate_changes() {
    let serving = Arc::new(Serving::start(&[]));
    let (tls, next) = (serving.tls(), serving.secret.issue());
    let (doors, together) = (Arc::new(Semaphore::new(HANDSHAKES)), Arc::new(Barrier::new(PARALLEL)));
    let connected = Arc::new(AtomicUsize::new(0));
    let ask = |number: usize| {
        let (serving, connected, tls) = (Arc::clone(&serving), Arc::clone(&connected), tls.clone());
        let (doors, together) = (Arc::clone(&doors), Arc::clone(&together));
        async move {
            let place = doors.acquire().await.unwrap();
            let stream = serving.connect(&tls).await;
            let shown = shown(&stream);
            // Who doesn't ask soon is taken for a stranger, and the others' handshakes take a while.
            let mut asking = Asking::over(stream).await;
            asking.ask(&review()).await;
            drop(place);
            connected.fetch_add(1, Ordering::Relaxed);
            if number < PARALLEL {
                together.wait().await;
            }
            let mut review = review();
            review["request"]["uid"] = json!(format!("review-{number}"));
            review["request"]["object"]["metadata"]["name"] = json!(format!("rank-{number}"));
            let pod = patched(&review, &asking.ask(&review).await);
            asking.end().await;
            assert_eq!(pod["metadata"]["name"], format!("rank-{number}"));
            assert_eq!(pod["spec"]["initContainers"][0]["name"], "srv6-install");
            shown
        }
    };
    let swapped = async {
        let asking: Vec<_> = (0..PARALLEL).map(|number| tokio::spawn(ask(number))).collect();
        while connected.load(Ordering::Relaxed) < PARALLEL / 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        serving.secret.swap(&next);
        let mut shown = HashSet::new();
        for one in asking {
            shown.insert(one.await.unwrap());
        }
        // The change is seen within seconds, which may be after all of these: reviews go on until it is.
        let mut number = PARALLEL;
        while shown.len() < 2 {
            shown.insert(ask(number).await);
            number += 1;
        }
        shown
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shown = runtime.block_on(async { tokio::time::timeout(4 * PATIENCE, swapped).await });
    assert_eq!(shown.expect("answers in time").len(), 2);
    assert_eq!(serving.logged(" taken over"), 1);
    assert_eq!(serving.metric("srv6_webhook_certificates_total{result=\"taken\"}"), 2);
}

#[test]
fn a_new_pair_that_can_not_be_used_leaves_the_old_one() {
    let serving = Serving::start(&[]);
    let (one, other) = (serving.secret.issue(), serving.secret.issue());
    let refused = || serving.logged("the new certificate is not used, the old one goes on");
    serving.secret.swap(&Pair { certificate: one.certificate.clone(), key: other.key });
    eventually("another's key is refused", || refused() == 1);
    assert_eq!(serving.ask(&review())["allowed"], true);
    serving.secret.swap(&Pair { certificate: "no certificate".to_owned(), key: one.key.clone() });
    eventually("what is no certificate is refused", || refused() == 2);
    assert_eq!(serving.logged("tls.crt: want one or more certificates in PEM"), 1);
    std::fs::remove_file(serving.secret.path("..data")).unwrap();
    eventually("a secret that is gone is told", || refused() == 3);
    assert_eq!(serving.ask(&review())["allowed"], true);
    serving.secret.swap(&one);
    eventually("a good one is taken over", || serving.logged(" taken over") == 1);
    assert_eq!(serving.ask(&review())["allowed"], true);
    assert_eq!(serving.metric("srv6_webhook_certificates_total{result=\"refused\"}"), 3);
}

#[test]
fn without_a_usable_pair_it_does_not_start() {
    let secret = Secret::new();
    let refusal = |secret: &Secret| {
        let output = command(secret).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    secret.swap(&Pair { key: secret.issue().key, ..secret.issue() });
    let said = refusal(&secret);
    assert!(said.contains("can't be served with the key of"), "{said}");
    secret.swap(&Pair { certificate: secret.issue().certificate, key: "none".to_owned() });
    let said = refusal(&secret);
    assert!(said.contains("tls.key: want a private key in PEM"), "{said}");
    std::fs::remove_file(secret.path("tls.crt")).unwrap();
    let said = refusal(&secret);
    assert!(said.contains("--cert") && said.contains("No such file"), "{said}");
}
