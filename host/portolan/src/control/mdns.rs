//! `.local` belongs to multicast DNS (RFC 6762): names there work for those who ask us, and some
//! systems ask others first.

use portolan_core::{problem::Problem, snapshot::Snapshot, zone::HostEntry};

use crate::config::model::Dns;

/// What to know about names in `.local`, if there are any and others than this machine can ask for
/// them. On loopback alone, as it is at first, nobody is led astray.
pub(super) fn problem(dns: &Dns, snapshot: &Snapshot, files: &[HostEntry]) -> Option<Problem> {
    let encrypted = dns.tls_addresses.iter().chain(&dns.https_addresses);
    if dns.addresses.iter().chain(encrypted).all(|address| address.ip().is_loopback()) {
        return None;
    }
    let is_local = |name: &&str| *name == "local" || name.ends_with(".local");
    let live = snapshot.routers.iter().filter(|router| router.live.is_some());
    let hosts = live.flat_map(|router| router.hosts.iter().map(String::as_str));
    let zones = dns.zones.iter().map(|zone| zone.origin.as_str());
    let own = files.iter().map(|entry| entry.name.to_string().trim_end_matches('.').to_owned());
    let name =
        hosts.chain(zones).map(str::to_owned).chain(own).find(|it| is_local(&it.as_str()))?;
    let message = format!(
        "`{name}` lies in `.local`, which belongs to multicast DNS: systemd-resolved and macOS may \
         not ask us for it"
    );
    let hint = "names in `home.arpa` or `internal` are asked everywhere; else give systemd-resolved \
                `Domains=~local` beside a `DNS=` that is Portolan, and `local` as a search domain to \
                those who have their servers by DHCP";
    Some(Problem::warning("dns", name, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use portolan_core::{
        snapshot::Snapshot,
        zone::{HostEntry, Name},
    };

    use super::problem;
    use crate::config::tests::config;

    fn told(toml: &str) -> Option<String> {
        told_with(toml, "box.lan")
    }

    /// The same with a name in a hosts file.
    fn told_with(toml: &str, host: &str) -> Option<String> {
        let config = config(&format!("data-dir = \"data\"\n[dns]\n{toml}"));
        let files =
            [HostEntry { name: Name::parse(host).unwrap(), address: IpAddr::from([10, 0, 0, 1]) }];
        let problem = problem(&config.dns.unwrap(), &Snapshot::default(), &files)?;
        Some(format!("{}: {}", problem.origin, problem.hint.unwrap()))
    }

    #[test]
    fn names_in_local_are_told_of_where_others_ask() {
        let zone = "[dns.zones.\"infra.local\"]\nnames = \"services\"\n";
        assert_eq!(told(&format!("address = \"127.0.0.1:53\"\n{zone}")), None);
        let whole = zone.replace("infra.local", "local");
        assert!(told(&format!("address = \"0.0.0.0:53\"\n{whole}")).is_some());
        let other = zone.replace("local", "internal");
        assert_eq!(told(&format!("address = \"0.0.0.0:53\"\n{other}")), None);
        let open = "address = \"0.0.0.0:53\"\n";
        assert!(told_with(open, "box.local").is_some_and(|told| told.starts_with("box.local: ")));
        assert_eq!(told_with(open, "box.locale"), None);
        let told = told(&format!("address = [\"127.0.0.1:53\", \"0.0.0.0:53\"]\n{zone}")).unwrap();
        assert!(told.starts_with("infra.local: names in `home.arpa`"), "{told}");
    }
}
