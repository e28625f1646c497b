//! What the TLS library has for the versions and cipher suites that are asked for, of clients and
//! of backends alike.

use std::ops::RangeInclusive;

use portolan_core::policy::{Curve, Suite, TlsVersion};
use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    version::{TLS12, TLS13},
};

/// The library with the suites and the groups that are wanted, in their order. A version of TLS to
/// which none of the suites belongs keeps all of its own; no groups are all.
pub(crate) fn provider(wanted: &[Suite], curves: &[Curve]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let named = wanted.iter().filter_map(|suite| find(*suite));
    let named: Vec<SupportedCipherSuite> = named.collect();
    let is_named = |suite: &SupportedCipherSuite| {
        named.iter().any(|one| one.version().version == suite.version().version)
    };
    let rest: Vec<_> =
        provider.cipher_suites.iter().copied().filter(|suite| !is_named(suite)).collect();
    provider.cipher_suites = named.into_iter().chain(rest).collect();
    if !curves.is_empty() {
        provider.kx_groups = curves.iter().filter_map(|curve| group(*curve)).collect();
    }
    provider
}

/// The versions within a range, the best first.
pub(crate) fn versions(
    range: RangeInclusive<TlsVersion>,
) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V13, &TLS13), (TlsVersion::V12, &TLS12)];
    all.into_iter().filter(|(version, _)| range.contains(version)).map(|(_, it)| it).collect()
}

fn find(suite: Suite) -> Option<SupportedCipherSuite> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().find(|one| name(*one) == suite.name())
}

fn group(curve: Curve) -> Option<&'static dyn SupportedKxGroup> {
    aws_lc_rs::ALL_KX_GROUPS.iter().copied().find(|one| format!("{:?}", one.name()) == curve.name())
}

/// Its name at IANA.
fn name(suite: SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    // The library marks those of TLS 1.3; IANA does not.
    name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_the_names_that_traefik_has_for_them() {
        let ours: Vec<_> = Suite::all().map(Suite::name).collect();
        let all: Vec<_> = aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().map(name).collect();
        assert_eq!(ours, all, "what has a name is there, in that order");
        assert!(ours.contains(&"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        assert!(Suite::parse("TLS_RSA_WITH_RC4_128_SHA").is_none());
    }

    #[test]
    fn groups_are_those_that_are_named_in_their_order() {
        let curves = |names: &[&str]| {
            let wanted: Vec<_> = names.iter().map(|name| Curve::parse(name).unwrap()).collect();
            let provider = provider(&[], &wanted);
            provider.kx_groups.iter().map(|it| format!("{:?}", it.name())).collect::<Vec<_>>()
        };
        let ours: Vec<_> = Curve::all().map(Curve::name).collect();
        assert_eq!(curves(&ours), ours, "what has a name is there");
        assert_eq!(curves(&[]), ours, "and that is all");
        assert_eq!(curves(&["CurveP384", "X25519"]), ["secp384r1", "X25519"]);
        assert!(Curve::parse("CurveP521").is_none());
    }

    #[test]
    fn what_is_named_comes_first_and_other_versions_keep_theirs() {
        let names = ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];
        let suites = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|name| Suite::parse(name).unwrap()).collect();
            let provider = provider(&wanted, &[]);
            provider.cipher_suites.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(suites(&names), names);
        let [old, new] = names;
        assert_eq!(suites(&[new]).iter().filter(|name| !name.contains("_WITH_")).count(), 1);
        assert_eq!(suites(&[old]).iter().filter(|name| name.contains("_WITH_")).count(), 1);
    }
}
