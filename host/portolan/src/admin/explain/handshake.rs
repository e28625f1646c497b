//! The handshake before a request: what it asks of the client, and which requests it is not good for.

use std::sync::Arc;

use portolan_core::{exchange::Exchange, reason::Reason, router::Router};
use portolan_net::tls::{Alert, ClientCertificate, TlsContext};

use super::{Handshake, verdict::Verdict};

/// The handshake of a client that asks for the host of its request, as clients do.
pub(super) struct Foreseen {
    context: Arc<TlsContext>,
    sni: Option<Arc<str>>,
    pub(super) told: Handshake,
}

impl Foreseen {
    pub(super) fn of(context: Arc<TlsContext>, exchange: &Exchange) -> Self {
        let sni = exchange.peer.sni.clone();
        let it = context.foresee(sni.as_deref());
        let client_certificate = match it.client {
            ClientCertificate::Unasked => "unasked",
            ClientCertificate::Optional => "optional",
            ClientCertificate::Required => "required",
        };
        let refused = it.refusal.map(|alert| match (alert, &sni) {
            (Alert::AccessDenied, _) => {
                format!("its TLS options `{}` are missing or not in working order", it.options)
            }
            (Alert::UnrecognizedName, Some(name)) => {
                format!("`{name}` is not served, and the TLS options `{}` are strict", it.options)
            }
            (Alert::UnrecognizedName, None) => {
                format!("it asks for no name, and the TLS options `{}` are strict", it.options)
            }
        });
        let options = (*it.options).to_owned();
        let told =
            Handshake { options, client_certificate: client_certificate.to_owned(), refused };
        Self { context, sni, told }
    }

    /// What becomes of a request that never comes.
    pub(super) fn refused(&self) -> Option<Verdict> {
        let why = self.told.refused.as_ref()?;
        Some(Verdict::of(format!("no request comes: the handshake is refused, {why}")))
    }

    /// What becomes of a request whose host takes other options than the handshake has.
    pub(super) fn of_other_host(&self, host: &str) -> Option<Verdict> {
        let is_other = self.context.is_misdirected(self.sni.as_deref(), host);
        let sentence = || {
            let had = &self.told.options;
            format!("421: `{host}` takes other TLS options than `{had}`, which its handshake has")
        };
        is_other.then(|| Verdict::because(Reason::Misdirected, sentence()))
    }

    /// What becomes of a request whose router cannot be had over the handshake.
    pub(super) fn of_other_options(&self, router: &Router) -> Option<Verdict> {
        let wanted = router.tls_options.as_deref();
        let is_had = self.context.satisfies(self.sni.as_deref(), wanted);
        let sentence = || {
            let wanted = match wanted {
                Some(options) => format!("TLS options `{options}`"),
                None => "the TLS options of the entrypoint".to_owned(),
            };
            format!(
                "421: router `{}` takes it, but wants {wanted}, and the handshake has `{}`",
                router.name, self.told.options
            )
        };
        (!is_had).then(|| Verdict::because(Reason::Misdirected, sentence()))
    }

    /// The verdict, with what the client needs for it.
    pub(super) fn before(&self, verdict: Verdict) -> Verdict {
        match self.told.client_certificate.as_str() {
            "required" if self.told.refused.is_none() => Verdict {
                sentence: verdict.sentence
                    + "; a client without a certificate does not get through the handshake",
                ..verdict
            },
            _ => verdict,
        }
    }
}
