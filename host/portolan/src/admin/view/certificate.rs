//! Certificates in the shape of Traefik's API.

use portolan_net::tls::Validity;
use serde::Serialize;

use super::stamp;
use crate::telemetry::metrics::CertificateReading;

/// A certificate; an item of `/api/certificates`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CertificateView {
    /// The fingerprint: what a certificate is asked for by.
    pub(crate) name: String,
    sans: Vec<String>,
    not_after: String,
    not_before: String,
    serial_number: String,
    common_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_org: Option<String>,
    #[serde(rename = "issuerCN", skip_serializing_if = "String::is_empty")]
    issuer_cn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    version: String,
    key_type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    key_size: usize,
    signature_algorithm: String,
    cert_fingerprint: String,
    public_key_fingerprint: String,
    /// `enabled`, `warning` or `disabled`.
    pub(crate) status: &'static str,
    portolan: Ours,
}

/// What we add.
#[derive(Debug, Serialize)]
struct Ours {
    /// `file`, `acme` or `local`.
    source: &'static str,
    /// The file, or the resolver.
    origin: String,
    /// `valid`, `ends soon`, `not yet valid` or `expired`.
    state: &'static str,
}

impl CertificateView {
    /// All of them, by their names.
    pub(crate) fn all(readings: &[CertificateReading]) -> Vec<Self> {
        let mut all: Vec<_> = readings.iter().map(Self::of).collect();
        all.sort_by(|one, other| (&one.sans, &one.name).cmp(&(&other.sans, &other.name)));
        // Two files may hold one certificate.
        all.dedup_by(|one, other| one.name == other.name);
        all
    }

    fn of(reading: &CertificateReading) -> Self {
        let facts = reading.facts.clone();
        let (status, state) = match reading.validity {
            Validity::Valid => ("enabled", "valid"),
            Validity::EndsSoon => ("warning", "ends soon"),
            Validity::NotYet => ("disabled", "not yet valid"),
            Validity::Expired => ("disabled", "expired"),
        };
        Self {
            name: facts.fingerprint.clone(),
            sans: facts.sans,
            not_after: stamp(facts.not_after),
            not_before: stamp(facts.not_before),
            serial_number: facts.serial,
            common_name: facts.common_name,
            issuer_org: facts.issuer_organization,
            issuer_cn: facts.issuer,
            issuer_country: facts.issuer_country,
            organization: facts.organization,
            country: facts.country,
            version: format!("v{}", facts.version),
            key_type: facts.key_type,
            key_size: facts.key_size,
            signature_algorithm: facts.signature,
            cert_fingerprint: facts.fingerprint,
            public_key_fingerprint: facts.key_fingerprint,
            status,
            portolan: Ours { source: reading.source, origin: reading.origin.clone(), state },
        }
    }

    /// What is searched.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let issuers = [Some(self.issuer_cn.as_str()), self.issuer_org.as_deref()];
        let own = [self.common_name.as_str(), self.portolan.origin.as_str()];
        let sans = self.sans.iter().map(String::as_str);
        sans.chain(own).chain(issuers.into_iter().flatten())
    }

    /// What it is sorted by.
    pub(crate) fn key(&self, by: &str) -> String {
        match by {
            "name" => self.sans.join(","),
            "commonName" => self.common_name.clone(),
            "status" => self.status.to_owned(),
            "issuer" => self.issuer_org.clone().unwrap_or_else(|| self.issuer_cn.clone()),
            "validUntil" | "notAfter" => self.not_after.clone(),
            "source" => self.portolan.source.to_owned(),
            // What is wrong comes first.
            "trouble" => match self.status {
                "disabled" => "0".to_owned(),
                "warning" => "1".to_owned(),
                _ => "2".to_owned(),
            },
            _ => String::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(size: &usize) -> bool {
    *size == 0
}
