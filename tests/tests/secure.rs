//! `wss`: behind nginx and Caddy as `deploy/` sets them up, and by the program itself.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use unamed_tests::{Member, Proxy, Scratch, Service, Value, certificate, own_address, port, unamed};

/// A service node behind a proxy, one member through the proxy and one behind it: they meet, talk, and the node knows of whom
/// the proxy speaks.
fn members_on_both_sides(start: fn(&Scratch, SocketAddr, SocketAddr, &Path, &Path) -> Proxy) {
    let scratch = Scratch::new().expect("a folder");
    let (at, behind) = (own_address(), own_address());
    let (cert, key) = certificate(&scratch, "proxy", &at.ip().to_string());
    let outside = format!("/ip4/{}/tcp/{}/wss", at.ip(), at.port());
    let listen = behind.to_string();
    let mut service = Service::start_with(
        &scratch,
        "service",
        &["--listen", &listen, "--trusted-proxy", "127.0.0.0/8", "--address", &outside],
    );
    assert_eq!(service.address, format!("{outside}/p2p/{}", service.peer));
    let proxy = start(&scratch, at, behind, &cert, &key);

    let roots = cert.to_string_lossy();
    let inside = format!("/ip4/{}/tcp/{}/ws", behind.ip(), behind.port());
    let mut anna = Member::start(
        &scratch,
        "anna",
        "proxied",
        &service.address,
        &["--tls-roots", &roots, "--no-webrtc", "--stay"],
    );
    let mut ben = Member::start(&scratch, "ben", "proxied", &inside, &["--no-webrtc", "--stay"]);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);
    anna.process.say("from outside");
    ben.wait_hears(&anna.peer, "from outside");
    ben.process.say("from behind");
    anna.wait_hears(&ben.peer, "from behind");
    // Ben speaks for himself: he names nobody.
    assert!(service.process.counter("driver_forwarded") >= 1);
    assert_eq!(service.process.counter("driver_refused_forwarded"), 0);

    // Without its root, the certificate is nobody's.
    let stranger = unamed(["find", "proxied", "--bootstrap", &service.address]).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&stranger.stderr);
    assert_eq!(stranger.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("TLS failed"), "{stderr}");
    drop(proxy);
}

#[test]
fn through_nginx() {
    members_on_both_sides(Proxy::nginx);
}

#[test]
fn through_caddy() {
    members_on_both_sides(Proxy::caddy);
}

#[test]
fn the_program_speaks_tls_and_a_renewed_certificate_leaves_links_alone() {
    let scratch = Scratch::new().expect("a folder");
    let (cert, key) = certificate(&scratch, "node", "127.0.0.1");
    let (cert_text, key_text) = (cert.to_string_lossy(), key.to_string_lossy());
    let service = Service::start_with(
        &scratch,
        "service",
        &["--listen", "127.0.0.1:0", "--tls-cert", &cert_text, "--tls-key", &key_text],
    );
    let at = format!("/ip4/127.0.0.1/tcp/{}/wss/p2p/{}", port(&service.address), service.peer);
    assert_eq!(service.address, at);
    let old_roots = scratch.file("old.pem");
    fs::copy(&cert, &old_roots).expect("a copy");
    let join = |name: &str, roots: &str| {
        let args = ["--tls-roots", roots, "--no-webrtc", "--stay"];
        Member::start(&scratch, name, "renewed", &at, &args)
    };
    let mut anna = join("anna", &old_roots);
    anna.process.wait("her joining", |event| event["event"] == "joined");

    // A renewal that is not one: the old certificate stays in use.
    let (new_cert, new_key) = certificate(&scratch, "new", "127.0.0.1");
    fs::write(&key, "no key").expect("it is written");
    service.process.reload();
    service.process.wait_says("the certificate of before stays in use");
    let mut ben = join("ben", &old_roots);
    ben.wait_sees(&anna.peer);

    fs::copy(&new_cert, &cert).expect("a copy");
    fs::copy(&new_key, &key).expect("a copy");
    service.process.reload();
    service.process.wait_says("the certificate was read again");
    let mut carl = join("carl", &new_cert.to_string_lossy());
    carl.wait_sees(&anna.peer);
    carl.process.say("hello");
    for member in [&mut anna, &mut ben] {
        member.wait_hears(&carl.peer, "hello");
        let gone = |event: &&Value| event["event"] == "member_left";
        assert_eq!(member.process.history().iter().find(gone), None, "links that stood have gone on");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let scratch = Scratch::new().expect("a folder");
    let (cert, key) = certificate(&scratch, "node", "node.example");
    let (cert, key) = (cert.to_string_lossy().into_owned(), key.to_string_lossy().into_owned());
    let missing = scratch.file("missing.pem");
    let serve = |args: &[&str]| {
        let fixed = ["serve", "--listen", "127.0.0.1:0"];
        let output = unamed(fixed.iter().chain(args)).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let named = "/ip4/127.0.0.1/tcp/";
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&["--tls-cert", &cert], 2, &["--tls-key is missing"]),
        (&["--tls-key", &key], 2, &["--tls-cert is missing"]),
        (&["--tls-cert", &missing, "--tls-key", &key], 3, &["--tls-cert", &missing]),
        (&["--tls-cert", &cert, "--tls-key", &cert], 3, &[&cert, "no private key"]),
        (&["--tls-roots", &key], 3, &["--tls-roots", &key]),
        // It is for another host than would be announced.
        (&["--tls-cert", &cert, "--tls-key", &key], 2, &["--address", named]),
    ];
    for (args, code, named) in cases {
        let (status, stderr) = serve(args);
        assert_eq!(status, Some(code), "{args:?}: {stderr}");
        assert!(named.iter().all(|name| stderr.contains(name)), "{args:?}: {stderr}");
    }
}
