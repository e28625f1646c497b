//! Connections to a collector.
//!
//! **Invariant:** files are looked at again when they may have changed, so a certificate that lives for a day
//! is no reason to start anew. One that cannot be used any more keeps what it held before.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use portolan_core::policy::Transport;
use portolan_net::transport::{Trust, Way};
use rustls::{
    ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::ServerName,
};

pub(super) type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The way to a collector.
pub(super) struct Wire {
    trust: Trust,
    way: Way,
    name: Option<ServerName<'static>>,
    /// With what they were set up.
    config: Arc<ClientConfig>,
    connections: Connections,
    is_encrypted: bool,
}

impl Wire {
    /// # Errors
    ///
    /// When files cannot be used, or a name is none.
    pub(super) async fn new(endpoint: &Uri, transport: &Transport) -> io::Result<Self> {
        let is_encrypted = endpoint.scheme_str() == Some("https");
        let name = transport.server_name.clone().map(ServerName::try_from);
        let name = name.transpose().map_err(io::Error::other)?;
        let (trust, way) = (Trust::default(), Some((0, Arc::new(transport.clone()))));
        // Reading the trust store for nothing would take its time.
        let config = if is_encrypted { trust.config(&way).await? } else { unused()? };
        let connections = connections(&config, name.clone(), is_encrypted);
        Ok(Self { trust, way, name, config, connections, is_encrypted })
    }

    /// Connections with what files hold now.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    pub(super) async fn connections(&mut self) -> io::Result<Connections> {
        if self.is_encrypted {
            let config = self.trust.config(&self.way).await?;
            if !Arc::ptr_eq(&config, &self.config) {
                self.connections = connections(&config, self.name.clone(), true);
                self.config = config;
            }
        }
        Ok(self.connections.clone())
    }
}

fn connections(
    config: &ClientConfig,
    name: Option<ServerName<'static>>,
    is_encrypted: bool,
) -> Connections {
    // The builder says itself what is spoken.
    let mut config = config.clone();
    config.alpn_protocols.clear();
    let builder = HttpsConnectorBuilder::new().with_tls_config(config);
    let builder = if is_encrypted { builder.https_only() } else { builder.https_or_http() };
    let builder = match name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => builder,
    };
    Client::builder(TokioExecutor::new()).build(builder.enable_http1().build())
}

fn unused() -> io::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
}
