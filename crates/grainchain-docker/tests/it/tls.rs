//! The engine behind TLS, as it is reached on another machine.

use std::fs;
use std::sync::Arc;

use grainchain_core::Command;
use libtest_mimic::Failed;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::world::{Outcome, Test, World, sh, socket, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test(
        "tls::a_sandbox_lives_behind_tls_and_inputs_have_an_end",
        a_sandbox_lives_behind_tls_and_inputs_have_an_end,
    )]
}

async fn a_sandbox_lives_behind_tls_and_inputs_have_an_end(_: World) -> Outcome {
    let Some(socket) = socket().await? else {
        return Err("the engine that answers is behind no socket".into());
    };
    let folder = tempfile::tempdir()?;
    let port = terminate(&folder, socket).await?;
    let world = World::new(|config| {
        let mut config = config.cert_path(folder.path());
        config.host = Some(format!("tcp://localhost:{port}"));
        config
    })?;
    let sandbox = world.sandbox().await?;
    assert_eq!(sh(&sandbox, "id -u").await?, "1000\n");
    // The end of an input is the end of what we send: the output comes after it.
    let counted = sandbox.execute(Command::shell("wc -c").stdin(vec![b'x'; 300_000])).await?;
    assert_eq!(counted.stdout().trim(), "300000");
    sandbox.close().await?;
    Ok(())
}

/// Speaks TLS in front of `socket` with whoever shows a certificate of the authority in `folder`. The port.
async fn terminate(folder: &TempDir, socket: String) -> Result<u16, Failed> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let (own, clients) = (KeyPair::generate()?, KeyPair::generate()?);
    let shown = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&own, &authority)?;
    let mine = CertificateParams::new(vec!["me".to_owned()])?.signed_by(&clients, &authority)?;
    fs::write(folder.path().join("ca.pem"), authority.pem())?;
    fs::write(folder.path().join("cert.pem"), mine.pem())?;
    fs::write(folder.path().join("key.pem"), clients.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.as_ref().der().clone())?;
    let config = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?)
        .with_single_cert(
            vec![shown.der().clone()],
            PrivateKeyDer::from_pem_slice(own.serialize_pem().as_bytes())?,
        )?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let mut near = acceptor.accept(stream).await?;
                let mut engine = UnixStream::connect(socket).await?;
                // Each side's end is passed on alone.
                copy_bidirectional(&mut near, &mut engine).await
            });
        }
    });
    Ok(port)
}
