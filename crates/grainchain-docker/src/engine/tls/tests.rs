use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion};

use super::*;
use crate::engine::Surroundings;
use crate::engine::endpoint::Endpoint;
use crate::engine::wire::Wire;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `names` and its key, both as text.
fn certificate(by: &Authority, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> [String; 2] {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    [params.signed_by(&key, by).unwrap().pem(), key.serialize_pem()]
}

/// A folder as DOCKER_CERT_PATH names one.
fn folder(ca: &Authority, shown: Option<[String; 2]>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
    if let Some([chain, key]) = shown {
        fs::write(folder.path().join("cert.pem"), chain).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
    }
    folder
}

/// Everything that two who believe each other need, of one authority: what the engine shows, and the client's folder.
fn friends() -> (Authority, [String; 2], TempDir) {
    let ours = authority("ours");
    let shown = certificate(&ours, &["127.0.0.1"], |_| {});
    let folder = folder(&ours, Some(certificate(&ours, &["me"], |_| {})));
    (ours, shown, folder)
}

/// An engine that shows a certificate, wants one of `clients`, and knows `/_ping` or gives back what it heard. Its port.
async fn engine(
    shown: [String; 2],
    clients: &Authority,
    version: &'static SupportedProtocolVersion,
    echoes: bool,
) -> u16 {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.as_ref().der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(shown[0].as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(shown[1].as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut heard = Vec::new();
            if echoes {
                stream.read_to_end(&mut heard).await.unwrap();
            } else {
                while !heard.ends_with(b"\r\n\r\n") {
                    heard.push(stream.read_u8().await.unwrap());
                }
                assert!(heard.starts_with(b"GET /_ping "));
                heard = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK".to_vec();
            }
            stream.write_all(&heard).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    port
}

fn material(folder: &TempDir) -> Material {
    Material { folder: folder.path().to_owned(), verified: true }
}

async fn greet(port: u16, material: Material) -> Result<String> {
    let endpoint = Endpoint::parse(&format!("tcp://127.0.0.1:{port}"), Some(material))?;
    Ok(Wire::new(endpoint).negotiated().await?.version.to_string())
}

/// The error of a greeting, which must name `option`, a remedy, and say that nothing was done.
async fn refused(port: u16, folder: &TempDir, kind: ErrorKind, option: &str) -> String {
    let error = greet(port, material(folder)).await.unwrap_err();
    assert_eq!((error.kind(), error.failed_option()), (kind, Some(option)), "{error}");
    assert!(error.remedy().is_some() && error.what_happened() == Effect::None, "{error:?}");
    error.message().to_owned()
}

#[tokio::test]
async fn an_engine_and_a_client_that_prove_themselves_talk() {
    for version in [&TLS12, &TLS13] {
        let (ours, shown, folder) = friends();
        let port = engine(shown, &ours, version, false).await;
        assert_eq!(greet(port, material(&folder)).await.unwrap(), "1.41");
    }
}

#[tokio::test]
async fn an_engine_of_another_authority_is_not_believed() {
    let (ours, shown, _) = friends();
    let port = engine(shown, &ours, &TLS13, false).await;
    let folder = folder(&authority("others"), None);
    let message = refused(port, &folder, ErrorKind::Auth, "cert_path").await;
    assert!(message.contains(&folder.path().join("ca.pem").display().to_string()), "{message}");
}

#[tokio::test]
async fn an_engine_of_another_name_is_not_believed_and_both_names_are_told() {
    let (ours, _, folder) = friends();
    let port = engine(certificate(&ours, &["engine.example"], |_| {}), &ours, &TLS13, false).await;
    let message = refused(port, &folder, ErrorKind::Auth, "host").await;
    assert!(message.contains("`127.0.0.1`") && message.contains("engine.example"), "{message}");
}

#[tokio::test]
async fn an_engine_whose_certificate_has_expired_is_not_believed() {
    let (ours, _, folder) = friends();
    let old = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    };
    let port = engine(certificate(&ours, &["127.0.0.1"], old), &ours, &TLS13, false).await;
    assert!(refused(port, &folder, ErrorKind::Auth, "cert_path").await.ends_with("has expired"));
}

#[tokio::test]
async fn who_has_no_certificate_for_an_engine_that_wants_one_is_told_so() {
    for version in [&TLS12, &TLS13] {
        let (ours, shown, _) = friends();
        let port = engine(shown, &ours, version, false).await;
        let message = refused(port, &folder(&ours, None), ErrorKind::Auth, "cert_path").await;
        assert!(message.contains("was shown none"), "{message}");
    }
}

#[tokio::test]
async fn who_has_another_authoritys_certificate_is_told_which() {
    for version in [&TLS12, &TLS13] {
        let (ours, shown, _) = friends();
        let port = engine(shown, &ours, version, false).await;
        let folder = folder(&ours, Some(certificate(&authority("others"), &["me"], |_| {})));
        let message = refused(port, &folder, ErrorKind::Auth, "cert_path").await;
        assert!(message.contains("cert.pem"), "{message}");
    }
}

#[tokio::test]
async fn an_engine_without_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.unwrap();
        // Until the client leaves: an early end would take the words with it.
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let (_, _, folder) = friends();
    assert!(refused(port, &folder, ErrorKind::Config, "host").await.ends_with("does not speak TLS"));
}

#[tokio::test]
async fn an_end_within_the_handshake_is_a_broken_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let (_, _, folder) = friends();
    let error = greet(port, material(&folder)).await.unwrap_err();
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::Connection, Effect::None));
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("cert.pem")), "{error}");
}

#[tokio::test]
async fn after_our_end_the_other_side_is_still_heard() {
    for version in [&TLS12, &TLS13] {
        let (ours, shown, folder) = friends();
        let port = engine(shown, &ours, version, true).await;
        let endpoint = Endpoint::parse(&format!("tcp://127.0.0.1:{port}"), Some(material(&folder))).unwrap();
        let (mut pipe, _) = endpoint.dial().await.unwrap();
        pipe.write_all(&[7; 100_000]).await.unwrap();
        pipe.shutdown().await.unwrap();
        let mut heard = Vec::new();
        pipe.read_to_end(&mut heard).await.unwrap();
        assert!(heard == [7; 100_000], "{} bytes", heard.len());
    }
}

#[tokio::test]
async fn a_context_that_skips_the_verification_believes_everybody() {
    let (ours, shown, _) = friends();
    let port = engine(shown, &ours, &TLS13, false).await;
    let folder = folder(&authority("others"), Some(certificate(&ours, &["me"], |_| {})));
    let material = Material { verified: false, ..material(&folder) };
    assert_eq!(greet(port, material).await.unwrap(), "1.41");
}

#[test]
fn files_that_are_missing_or_hold_something_else_are_named() {
    let break_it = |change: &dyn Fn(&Path)| {
        let (_, _, folder) = friends();
        change(folder.path());
        let error = Tls::new("h", material(&folder)).unwrap_err();
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::Config, Some("cert_path")), "{error}");
        assert!(error.remedy().is_some());
        error.message().split_once(&format!("{}/", folder.path().display())).unwrap().1.to_owned()
    };
    let remove = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    let write =
        |name: &'static str, text: String| move |folder: &Path| fs::write(folder.join(name), &text).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let foreign = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(break_it(&remove("ca.pem")), "ca.pem: there is no such file");
    assert_eq!(break_it(&remove("cert.pem")), "cert.pem: there is no such file");
    assert_eq!(break_it(&remove("key.pem")), "key.pem: there is no such file");
    assert_eq!(break_it(&write("ca.pem", String::new())), "ca.pem: it holds no certificate");
    assert_eq!(break_it(&write("ca.pem", broken.to_owned())), "ca.pem: it is not in the PEM format");
    assert_eq!(
        break_it(&write("key.pem", encrypted.to_owned())),
        "key.pem: it holds no private key, or an encrypted one"
    );
    assert_eq!(break_it(&write("key.pem", foreign)), "key.pem: it is not the key of cert.pem beside it");
}

#[test]
fn the_environment_asks_for_tls_and_for_its_own_port() {
    let (_, _, folder) = friends();
    let mut surroundings = Surroundings {
        docker_host: Some("tcp://engine".to_owned()),
        tls_verify: true,
        config_folder: Some(folder.path().to_owned()),
        ..Surroundings::default()
    };
    let (endpoint, chosen_by) = surroundings.endpoint().unwrap();
    assert_eq!(
        (endpoint.to_string().as_str(), chosen_by.as_str()),
        ("tcp://engine:2376", "by TLS; DOCKER_HOST")
    );
    // What it names wins over the docker command's own folder, and is not passed over.
    surroundings.docker_cert_path = Some("/nowhere".into());
    assert_eq!(surroundings.endpoint().unwrap_err().failed_option(), Some("cert_path"));
    surroundings.cert_path = Some(folder.path().to_owned());
    surroundings.tls_verify = false;
    assert!(surroundings.endpoint().unwrap().1.starts_with("by TLS;"));
}

#[test]
fn tls_that_was_asked_for_is_never_replaced_by_something_less() {
    let surroundings = || Surroundings { docker_host: Some("tcp://h".to_owned()), ..Surroundings::default() };
    let refused = |surroundings: Surroundings, option| {
        let error = surroundings.endpoint().unwrap_err();
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::Config, Some(option)), "{error}");
    };
    refused(Surroundings { tls: true, ..surroundings() }, "host");
    refused(Surroundings { tls_verify: true, ..surroundings() }, "cert_path");
    let socket = Some("unix:///s".to_owned());
    refused(
        Surroundings { configured: socket, cert_path: Some("/certs".into()), ..Surroundings::default() },
        "cert_path",
    );
}

#[test]
fn a_context_brings_its_own_certificates() {
    let (ours, _, config) = friends();
    let hash = crate::hash::hex(b"far");
    let meta = config.path().join("contexts/meta").join(&hash);
    fs::create_dir_all(&meta).unwrap();
    let write = |skips: bool| {
        let endpoint = serde_json::json!({ "Host": "tcp://far", "SkipTLSVerify": skips });
        let text = serde_json::json!({ "Name": "far", "Endpoints": { "docker": endpoint } }).to_string();
        fs::write(meta.join("meta.json"), text).unwrap();
    };
    let surroundings = Surroundings {
        docker_context: Some("far".to_owned()),
        config_folder: Some(config.path().to_owned()),
        ..Surroundings::default()
    };
    let chosen = || surroundings.endpoint().map(|(endpoint, by)| (endpoint.to_string(), by));
    write(false);
    assert_eq!(chosen().unwrap().0, "tcp://far:2375");
    write(true);
    let (place, by) = chosen().unwrap();
    assert_eq!(place, "tcp://far:2376");
    assert!(by.contains("does not verify"), "{by}");
    let own = config.path().join("contexts/tls").join(&hash).join("docker");
    fs::create_dir_all(&own).unwrap();
    write(false);
    let error = chosen().unwrap_err();
    assert!(error.message().contains(&own.join("ca.pem").display().to_string()), "{error}");
    fs::write(own.join("ca.pem"), ours.pem()).unwrap();
    assert_eq!(chosen().unwrap().0, "tcp://far:2376");
}
