//! Handshakes of one entrypoint: its options are chosen by the name that the client asks for, then
//! its certificate.
//!
//! **Invariant:** a name whose options are missing or broken is refused, not served with others:
//! they might be the ones that ask clients who they are.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hashbrown::HashMap;
use portolan_core::live::Live;
use rustls::{ServerConfig, sign::SingleCertAndKey};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{StartHandshake, server::TlsStream};

use super::{
    Authority, TlsError,
    challenge::{Challenges, PROTOCOL},
    choose::Chooser,
    hello::{Hello, hello},
    options::{ClientCertificate, Options},
    shown::{Shown, is_enough},
};

/// What an entrypoint needs to answer handshakes. It outlives changes of configuration, so that
/// sessions can be resumed over them.
#[derive(Debug)]
pub struct TlsContext {
    pub(super) chooser: Arc<Chooser>,
    challenges: Arc<Challenges>,
    desk: ArcSwap<Desk>,
    /// What is spoken behind the handshake, whatever the options say; `None`: they say it.
    protocols: Option<Vec<Vec<u8>>>,
}

/// The options that there are, ready for this entrypoint.
#[derive(Debug, Default)]
struct Desk {
    /// Those of names that want no others.
    default: Arc<str>,
    ready: HashMap<Arc<str>, Ready>,
}

/// Options, ready for this entrypoint.
#[derive(Clone, Debug)]
struct Ready {
    options: Arc<Options>,
    server: Arc<ServerConfig>,
}

/// What comes of the first words of a client.
pub(crate) enum Greeting {
    /// A handshake that was seen through, and what the client showed of itself, if it was asked.
    Encrypted(Box<TlsStream<TcpStream>>, Option<Box<Shown>>),
    /// A certificate authority looked at its challenge, and that was all.
    Challenge,
    /// HTTP in clear, where TLS is spoken; with what was read of it.
    Plain(TcpStream, Bytes),
}

/// Why a handshake is refused, as the protocol has it (RFC 8446, 6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alert {
    /// The options of the name are missing, or not in working order.
    AccessDenied = 49,
    /// The options are strict about names, and this one is not served.
    UnrecognizedName = 112,
}

/// What a handshake would be, for people who ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handshake {
    /// The name of its options.
    pub options: Arc<str>,
    /// Whether the client shows a certificate too.
    pub client: ClientCertificate,
    /// Why it would be refused.
    pub refusal: Option<Alert>,
}

impl TlsContext {
    /// Answers handshakes of an entrypoint, once it has [options](Self::equip).
    pub(super) fn new(
        entrypoint: Arc<str>,
        authority: Arc<Authority>,
        challenges: Arc<Challenges>,
        live: Live,
        protocols: Option<Vec<Vec<u8>>>,
    ) -> Self {
        let chooser = Arc::new(Chooser::new(entrypoint, protocols.is_some(), authority, live));
        Self { chooser, challenges, desk: ArcSwap::default(), protocols }
    }

    /// Whether it belongs to no entrypoint.
    pub(super) fn is_beside(&self) -> bool {
        self.protocols.is_some()
    }

    /// From now on there are these options; `default` is the name of those that a name gets if it
    /// wants no others. What did not change goes on as it is.
    pub(super) fn equip(
        &self,
        default: &Arc<str>,
        all: &HashMap<Arc<str>, Arc<Options>>,
    ) -> Result<(), TlsError> {
        let before = self.desk.load();
        let mut ready = HashMap::with_capacity(all.len());
        for (name, options) in all {
            let known = before.ready.get(name).filter(|it| Arc::ptr_eq(&it.options, options));
            let one = match known {
                Some(known) => known.clone(),
                None => {
                    let mut server = options.server(self.chooser.clone())?;
                    if let Some(protocols) = &self.protocols {
                        server.alpn_protocols.clone_from(protocols);
                    }
                    Ready { options: options.clone(), server: Arc::new(server) }
                }
            };
            ready.insert(name.clone(), one);
        }
        self.desk.store(Arc::new(Desk { default: default.clone(), ready }));
        Ok(())
    }

    /// Sees a handshake through, if the client means one.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> io::Result<Greeting> {
        let start = match hello(&mut stream).await? {
            Hello::Tls(accepted) => StartHandshake::from_parts(*accepted, stream),
            Hello::Plain(said) => return Ok(Greeting::Plain(stream, said)),
        };
        let address = start.io.local_addr().map(|address| address.ip());
        let hello = start.client_hello();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let is_challenge = hello.alpn().is_some_and(|mut all| all.any(|one| one == PROTOCOL));
        if is_challenge
            && let Some(name) = &name
            && let Some(server) = self.challenges.of_name(name).await
        {
            // The authority has seen the certificate: nothing is spoken behind it (RFC 8737, 3).
            start.into_stream(server).await?.shutdown().await?;
            return Ok(Greeting::Challenge);
        }
        match self.find(name.as_deref()) {
            Ok(Ready { options, mut server }) => {
                if name.is_none()
                    && let Some(key) = address.ok().and_then(|ip| self.chooser.of_address(ip))
                {
                    let mut own = ServerConfig::clone(&server);
                    own.cert_resolver = Arc::new(SingleCertAndKey::from(key));
                    server = Arc::new(own);
                }
                let stream = Box::new(start.into_stream(server).await?);
                let shown = Shown::new(&options, stream.get_ref().1.peer_certificates());
                Ok(Greeting::Encrypted(stream, shown))
            }
            Err(alert) => Err(refuse(start.io, alert).await),
        }
    }

    /// Whether a request for `host` must not go on over a connection whose handshake was for another
    /// name, or before the options were what they are: then the client must begin anew (RFC 9110,
    /// 15.5.20), since it may have shown no certificate.
    pub(crate) fn turns_away(&self, sni: Option<&str>, shown: Option<&Shown>, host: &str) -> bool {
        let (hosts, desk) = (self.chooser.hosts(), self.desk.load());
        let wanted = hosts.options(host).unwrap_or(&desk.default);
        // Where they are missing, the next handshake says so.
        let is_enough = desk.ready.get(wanted).is_some_and(|it| is_enough(shown, &it.options));
        !is_enough || self.is_misdirected(sni, host)
    }

    /// Whether a connection may carry requests for a router with these options; `None`: with those of
    /// the entrypoint.
    pub(crate) fn lets_pass(&self, shown: Option<&Shown>, options: Option<&str>) -> bool {
        let desk = self.desk.load();
        let ready = desk.ready.get(options.unwrap_or(&desk.default));
        ready.is_some_and(|ready| is_enough(shown, &ready.options))
    }

    /// Whether a request for `host` would come over a handshake for a name whose options are others.
    pub fn is_misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        if sni == Some(host) {
            return false;
        }
        let hosts = self.chooser.hosts();
        if !hosts.differ() {
            return false;
        }
        let desk = self.desk.load();
        let options = |name: &str| hosts.options(name).unwrap_or(&desk.default).clone();
        options(sni.unwrap_or_default()) != options(host)
    }

    /// Whether a handshake for this name would be as good as one with these options, or with those of the
    /// entrypoint: it has them, or they are there and do not ask clients who they are.
    pub fn satisfies(&self, sni: Option<&str>, options: Option<&str>) -> bool {
        let (hosts, desk) = (self.chooser.hosts(), self.desk.load());
        let options = options.unwrap_or(&desk.default);
        let had = hosts.options(sni.unwrap_or_default()).unwrap_or(&desk.default);
        let is_harmless = |ready: &Ready| !ready.options.asks_clients();
        **had == *options || desk.ready.get(options).is_some_and(is_harmless)
    }

    /// What a handshake for this name would be.
    pub fn foresee(&self, sni: Option<&str>) -> Handshake {
        let (hosts, desk) = (self.chooser.hosts(), self.desk.load());
        let options = hosts.options(sni.unwrap_or_default()).unwrap_or(&desk.default).clone();
        let ready = desk.ready.get(&options);
        let client = ready.map(|ready| ready.options.client_certificate()).unwrap_or_default();
        Handshake { options, client, refusal: self.find(sni).err() }
    }

    fn find(&self, name: Option<&str>) -> Result<Ready, Alert> {
        let name = name.unwrap_or_default();
        let (hosts, desk) = (self.chooser.hosts(), self.desk.load());
        let options = hosts.options(name).unwrap_or(&desk.default);
        let ready = desk.ready.get(options).ok_or(Alert::AccessDenied)?;
        if ready.options.is_strict() && !self.chooser.knows(name) {
            return Err(Alert::UnrecognizedName);
        }
        Ok(ready.clone())
    }
}

impl Greeting {
    /// The connection, where nothing but TLS is known.
    pub(crate) fn encrypted(self) -> Option<Box<TlsStream<TcpStream>>> {
        match self {
            Self::Encrypted(stream, _) => Some(stream),
            Self::Challenge | Self::Plain(..) => None,
        }
    }
}

/// Tells the client why, and lets it go.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, alert: Alert) -> io::Error {
    // An alert in clear (RFC 8446, 5.1 and 6): content type, version, length, fatal, which.
    let record = [21, 3, 3, 0, 2, 2, alert as u8];
    // It may be gone already, which is the same to us.
    drop(stream.write_all(&record).await);
    drop(stream.shutdown().await);
    io::Error::other(match alert {
        Alert::AccessDenied => "the options of the name are not in working order",
        Alert::UnrecognizedName => "the client asks for a name that is not served",
    })
}
