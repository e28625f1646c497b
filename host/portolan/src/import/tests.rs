//! What dnsmasq says, as we say it.

use expect_test::expect;

use super::{lines, options, output, plan::Plan};
use crate::config::tests::config;

fn imported(text: &str) -> (String, Vec<String>) {
    let mut plan = Plan::default();
    for (line, number) in text.lines().zip(1..) {
        if let Some(line) = lines::parse(line, format!("d.conf:{number}")) {
            options::take(&line, &mut plan);
        }
    }
    options::complete(&mut plan);
    let left = plan.left.iter().map(|left| format!("{}: {}", left.place, left.why)).collect();
    (output::toml(&plan), left)
}

const REAL: &str = r#"
# /etc/dnsmasq.conf of a node of a cluster
domain-needed
bogus-priv
no-resolv
server=/consul/127.0.0.1#8600
server=/corp.example/10.0.0.1
server=/corp.example/10.0.0.2#5353
rev-server=10.1.0.0/16,10.0.0.1
local=/lan/
server=1.1.1.1
server=2606:4700::1111#53   # with a comment
listen-address=127.0.0.1,172.17.0.1
cache-size=10000
neg-ttl=60
all-servers
stop-dns-rebind
rebind-domain-ok=/consul/plex.direct/
address=/apps.lan/10.0.0.80
address=/ads.example/0.0.0.0
host-record=nas.lan,nas,10.0.0.5,fd00::5
cname=files.lan,nas.lan
txt-record=example.lan,"v=spf1 a, -all",two
srv-host=_ldap._tcp.example.lan,ldap.example.lan,389
addn-hosts=/etc/hosts.cluster
expand-hosts
domain=lan
log-queries
interface=docker0
dhcp-range=10.0.0.50,10.0.0.150,12h
user=dnsmasq
catche-size=5
server=/x/10.0.0.1@eth0
"#;

#[test]
fn a_real_file_is_taken_and_what_cannot_be_is_told() {
    let (toml, left) = imported(REAL);
    expect![[r##"
        # What dnsmasq did, for Portolan: put this in place of [dns] in config.toml, and look at it
        # with `portolan check` before dnsmasq is stopped. Behind each # is the line it comes from.

        [dns]
        # d.conf:13: listen-address=127.0.0.1,172.17.0.1
        address = ["127.0.0.1:53", "172.17.0.1:53"]
        # d.conf:5: no-resolv
        # d.conf:11: server=1.1.1.1
        # d.conf:12: server=2606:4700::1111#53   # with a comment
        upstreams = ["1.1.1.1", "2606:4700::1111"]
        # read unless `no-hosts`
        # d.conf:25: addn-hosts=/etc/hosts.cluster
        hosts = ["/etc/hosts", "/etc/hosts.cluster"]
        # d.conf:27: domain=lan
        hosts-domain = "lan"
        # d.conf:16: all-servers
        upstream-mode = "parallel"

        [dns.forward]
        # d.conf:9: rev-server=10.1.0.0/16,10.0.0.1
        "1.10.in-addr.arpa" = ["10.0.0.1"]
        # d.conf:20: address=/ads.example/0.0.0.0
        "ads.example" = []
        # d.conf:7: server=/corp.example/10.0.0.1
        # d.conf:8: server=/corp.example/10.0.0.2#5353
        "corp.example" = ["10.0.0.1", "10.0.0.2:5353"]

        [dns.cache]
        # d.conf:14: cache-size=10000
        size = "3MiB"
        # d.conf:15: neg-ttl=60
        negative-ttl = 60

        [dns.filter]
        # d.conf:3: domain-needed
        domain-needed = true
        # d.conf:4: bogus-priv
        bogus-priv = true
        # d.conf:17: stop-dns-rebind
        rebind-protection = "all"
        # d.conf:18: rebind-domain-ok=/consul/plex.direct/
        rebind-exempt = ["plex.direct"]

        [dns.query-log]
        # d.conf:28: log-queries
        sample = 1

        # Names of the catalog: what `server=/consul/…` asked Consul for.
        [dns.zones.consul]
        names = "consul"

        [dns.zones."apps.lan"]
        names = "static"
        records = [
            # d.conf:19: address=/apps.lan/10.0.0.80
            { name = "@", type = "A", data = "10.0.0.80" },
            { name = "*", type = "A", data = "10.0.0.80" },
        ]

        [dns.zones."lan"]
        names = "static"
        records = [
            # d.conf:21: host-record=nas.lan,nas,10.0.0.5,fd00::5
            { name = "nas", type = "A", data = "10.0.0.5" },
            # d.conf:21: host-record=nas.lan,nas,10.0.0.5,fd00::5
            { name = "nas", type = "AAAA", data = "fd00::5" },
            # d.conf:22: cname=files.lan,nas.lan
            { name = "files", type = "CNAME", data = "nas.lan." },
            # d.conf:23: txt-record=example.lan,"v=spf1 a, -all",two
            { name = "example", type = "TXT", data = '"v=spf1 a, -all" "two"' },
            # d.conf:24: srv-host=_ldap._tcp.example.lan,ldap.example.lan,389
            { name = "_ldap._tcp.example", type = "SRV", data = "0 0 389 ldap.example.lan." },
        ]

        [dns.zones."nas"]
        names = "static"
        records = [
            # d.conf:21: host-record=nas.lan,nas,10.0.0.5,fd00::5
            { name = "@", type = "A", data = "10.0.0.5" },
            # d.conf:21: host-record=nas.lan,nas,10.0.0.5,fd00::5
            { name = "@", type = "AAAA", data = "fd00::5" },
        ]

        # Not taken as they are:
        # d.conf:6: server=/consul/127.0.0.1#8600
        #   not needed any more: names of Consul are answered from the catalog (`[dns.zones.consul]` and `[providers.consul]`)
        # d.conf:29: interface=docker0
        #   addresses are listened on, not interfaces: write those of the interface into `dns.address` (one that comes later, as that of a bridge, may be written too)
        # d.conf:30: dhcp-range=10.0.0.50,10.0.0.150,12h
        #   DHCP is not served: leave it to dnsmasq with `port=0` and `dhcp-option=option:dns-server,ADDRESS` (of this node), or to another
        # d.conf:31: user=dnsmasq
        #   the service manager's matter: see `config/systemd/portolan.service`
        # d.conf:32: catche-size=5
        #   dnsmasq has no such option; did you mean `cache-size`?
        # d.conf:33: server=/x/10.0.0.1@eth0
        #   the way out (`eth0`) cannot be chosen; 10.0.0.1 itself can be written
    "##]].assert_eq(&toml);
    expect![[r#"
        d.conf:6: not needed any more: names of Consul are answered from the catalog (`[dns.zones.consul]` and `[providers.consul]`)
        d.conf:29: addresses are listened on, not interfaces: write those of the interface into `dns.address` (one that comes later, as that of a bridge, may be written too)
        d.conf:30: DHCP is not served: leave it to dnsmasq with `port=0` and `dhcp-option=option:dns-server,ADDRESS` (of this node), or to another
        d.conf:31: the service manager's matter: see `config/systemd/portolan.service`
        d.conf:32: dnsmasq has no such option; did you mean `cache-size`?
        d.conf:33: the way out (`eth0`) cannot be chosen; 10.0.0.1 itself can be written"#]].assert_eq(&left.join("\n"));
    // It is what it says: a configuration.
    let read = config(&format!("data-dir = \"data\"\n{toml}")).dns.unwrap();
    assert_eq!(read.addresses.len(), 2);
    assert_eq!(read.upstreams.unwrap().len(), 2);
    assert_eq!(read.suffixes.len(), 3);
    assert_eq!(read.hosts.len(), 2);
}

#[test]
fn an_empty_file_is_what_dnsmasq_does_by_itself() {
    let (toml, left) = imported("");
    assert!(left.is_empty());
    let read = config(&format!("data-dir = \"data\"\n{toml}")).dns.unwrap();
    assert_eq!(read.addresses.len(), 2);
    assert!(read.upstreams.is_none());
}
