use std::fs;

use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A certificate for `name`, written with its key into `dir`.
fn write(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let Generated { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let (chain, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&chain, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    (chain, key)
}

fn host(name: &str) -> Host {
    Host::Dns(name.into())
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = write(dir.path(), "node.example");
    let other = tempfile::tempdir().unwrap();
    let (_, other_key) = write(other.path(), "node.example");
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let empty = file("empty", "");
    let cut = file("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let junk = file("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let huge = file("huge", &"#".repeat(FILE_BYTES_MAX + 1));
    let none = dir.path().join("none");
    let cases: [(&Path, &Path, &Path, &str); 8] = [
        (&none, &key, &none, "not found"),
        (&huge, &key, &huge, "more than"),
        (dir.path(), &key, dir.path(), "not a regular file"),
        (&empty, &key, &empty, "there is no certificate"),
        (&cut, &key, &cut, "no PEM"),
        (&junk, &key, &junk, "certificate"),
        (&chain, &chain, &chain, "there is no private key"),
        (&chain, &other_key, &other_key, "another certificate"),
    ];
    for (chain, key, named, what) in cases {
        let error = TlsCertificate::open(chain, key).unwrap_err();
        let text = error.to_string();
        assert!(error.path == named && text.contains(what), "{what}: {text}");
    }
    assert!(TlsRoots::open(&chain).is_ok());
    for bad in [&none, &empty, &cut, &junk, &key] {
        assert!(TlsRoots::open(bad).is_err(), "{}", bad.display());
    }
}

#[test]
fn a_certificate_knows_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = write(dir.path(), "node.example");
    let certificate = TlsCertificate::open(chain, key).unwrap();
    assert!(certificate.names(&host("node.example")));
    assert!(!certificate.names(&host("other.example")));
    assert!(!certificate.names(&Host::Ip4([127, 0, 0, 1].into())));
    let (chain, key) = write(dir.path(), "127.0.0.1");
    let certificate = TlsCertificate::open(chain, key).unwrap();
    assert!(certificate.names(&Host::Ip4([127, 0, 0, 1].into())));
}

/// What a server with this certificate is to a client that has `roots` and dials `name`: five bytes over and back.
async fn echoed(certificate: &TlsCertificate, roots: &TlsRoots, name: &str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let config = certificate.server_config().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = accept(&config, stream).await?;
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await?;
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    });
    let mut stream = roots.connect(&host(name), TcpStream::connect(address).await?).await?;
    stream.write_all(b"hello").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert_eq!(answer, b"hello");
    server.await.unwrap()
}

#[tokio::test]
async fn a_dial_holds_the_certificate_to_name_and_roots() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = write(dir.path(), "node.example");
    let certificate = TlsCertificate::open(&chain, key).unwrap();
    let roots = TlsRoots::open(&chain).unwrap();
    echoed(&certificate, &roots, "node.example").await.unwrap();
    assert!(echoed(&certificate, &roots, "other.example").await.is_err());
    assert!(echoed(&certificate, &TlsRoots::system(), "node.example").await.is_err());
}

#[tokio::test]
async fn a_reload_is_for_new_connections_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = write(dir.path(), "old.example");
    let old_roots = TlsRoots::open(&chain).unwrap();
    let certificate = TlsCertificate::open(&chain, &key).unwrap();
    assert!(certificate.reload_if_changed().is_none());

    // Half of a renewal: the new key is not there yet.
    let renewed = tempfile::tempdir().unwrap();
    let (new_chain, new_key) = write(renewed.path(), "renewed.example");
    fs::copy(&new_chain, &chain).unwrap();
    let error = certificate.reload_if_changed().expect("it changed").unwrap_err();
    assert!(matches!(error.problem, TlsProblem::Mismatch), "{error}");
    assert!(certificate.reload_if_changed().is_none(), "a failure is told once");
    echoed(&certificate, &old_roots, "old.example").await.unwrap();

    fs::remove_file(&key).unwrap();
    assert!(certificate.reload_if_changed().expect("it changed").is_err());
    fs::copy(&new_key, &key).unwrap();
    certificate.reload_if_changed().expect("it changed").unwrap();
    echoed(&certificate, &TlsRoots::open(&chain).unwrap(), "renewed.example").await.unwrap();
    assert!(echoed(&certificate, &old_roots, "old.example").await.is_err());
}
