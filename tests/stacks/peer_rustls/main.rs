//! An MSE or a WLC of rustls': shakes hands, says how that went, and leaves.
//!   peer client|server KEY CERTIFICATE VERSION any|none [PORT]
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::{ServerCertVerified, ServerCertVerifier, WebPkiVerifier};
use rustls::server::{AllowAnyAuthenticatedClient, ClientCertVerified, ClientCertVerifier};
use rustls::{version, Certificate, DistinguishedNames, Error, PrivateKey, RootCertStore, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self, _: &Certificate, _: &[Certificate], _: &ServerName, _: &mut dyn Iterator<Item = &[u8]>, _: &[u8],
        _: SystemTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
}

impl ClientCertVerifier for Anybody {
    fn client_auth_root_subjects(&self) -> Option<DistinguishedNames> {
        Some(DistinguishedNames::new())
    }
    fn verify_client_cert(
        &self, _: &Certificate, _: &[Certificate], _: SystemTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let open = |at: usize| BufReader::new(File::open(&arguments[at]).unwrap());
    let key = PrivateKey(rustls_pemfile::pkcs8_private_keys(&mut open(2)).unwrap().remove(0));
    let chain: Vec<_> = rustls_pemfile::certs(&mut open(3)).unwrap().into_iter().map(Certificate).collect();
    let only: &[&'static SupportedProtocolVersion] =
        if arguments[4] == "1.3" { &[&version::TLS13] } else { &[&version::TLS12] };
    let (mut socket, mut peer): (TcpStream, rustls::Connection) = if arguments[1] == "server" {
        let judge: Arc<dyn ClientCertVerifier> = if arguments[5] == "any" {
            Arc::new(Anybody)
        } else {
            AllowAnyAuthenticatedClient::new(RootCertStore::empty())
        };
        let config = ServerConfig::builder().with_safe_default_cipher_suites().with_safe_default_kx_groups()
            .with_protocol_versions(only).unwrap().with_client_cert_verifier(judge)
            .with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("port {}", listener.local_addr().unwrap().port());
        (listener.accept().unwrap().0, ServerConnection::new(Arc::new(config)).unwrap().into())
    } else {
        let judge: Arc<dyn ServerCertVerifier> = if arguments[5] == "any" {
            Arc::new(Anybody)
        } else {
            Arc::new(WebPkiVerifier::new(RootCertStore::empty(), None))
        };
        let config = ClientConfig::builder().with_safe_default_cipher_suites().with_safe_default_kx_groups()
            .with_protocol_versions(only).unwrap().with_custom_certificate_verifier(judge)
            .with_single_cert(chain, key).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(format!("127.0.0.1:{}", arguments[6])).unwrap();
        (socket, ClientConnection::new(Arc::new(config), name).unwrap().into())
    };
    while peer.is_handshaking() {
        if let Err(fault) = peer.complete_io(&mut socket) {
            println!("{fault}");
            return;
        }
    }
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap(); // TLS 1.3: a refusal comes here
    let end = loop {
        if let Err(fault) = peer.complete_io(&mut socket) {
            break fault.to_string();
        }
        match peer.reader().read(&mut [0]) {
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => continue, // what came was a ticket
            other => break format!("{other:?}"),
        }
    };
    println!("up, {end}");
    peer.send_close_notify();
    let _ = peer.complete_io(&mut socket);
}
