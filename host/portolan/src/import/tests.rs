//! What dnsmasq says, as we say it.

use expect_test::expect;
use portolan_core::zone::{Answer, DnsConfig, Name, RecordType, ZoneInputs, Zones, body_text};

use super::{lines, options, output, plan::Plan, settle};
use crate::config::{model::Dns, tests::config};

/// What is printed, as it is read: every name of it can be made.
fn read(toml: &str) -> (Dns, Zones) {
    let dns = config(&format!("data-dir = \"data\"\n{toml}")).dns.unwrap();
    let names = DnsConfig { zones: dns.zones.clone(), ..DnsConfig::default() };
    let inputs = ZoneInputs {
        config: &names,
        nodes: &[],
        instances: &[],
        router_hosts: &[],
        synced: true,
        serial: 1,
    };
    let (zones, problems) = Zones::build(&inputs);
    assert_eq!(problems, [], "{toml}");
    (dns, zones)
}

fn imported(text: &str) -> (String, Vec<String>) {
    let mut plan = Plan::default();
    for (line, number) in text.lines().zip(1..) {
        if let Some(line) = lines::parse(line, format!("d.conf:{number}")) {
            options::take(&line, &mut plan);
        }
    }
    settle::settle(&mut plan);
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
cname=files.example.net,nas.example.net,60
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
        # d.conf:26: addn-hosts=/etc/hosts.cluster
        hosts = ["/etc/hosts", "/etc/hosts.cluster"]
        # d.conf:28: domain=lan
        hosts-domain = "lan"
        # d.conf:16: all-servers
        upstream-mode = "parallel"

        [dns.rewrite]
        # d.conf:20: address=/ads.example/0.0.0.0
        "*.ads.example" = ["0.0.0.0"]
        # d.conf:20: address=/ads.example/0.0.0.0
        "ads.example" = ["0.0.0.0"]
        # d.conf:23: cname=files.example.net,nas.example.net,60
        "files.example.net" = ["nas.example.net"]

        [dns.forward]
        # d.conf:9: rev-server=10.1.0.0/16,10.0.0.1
        "1.10.in-addr.arpa" = ["10.0.0.1"]
        # d.conf:7: server=/corp.example/10.0.0.1
        # d.conf:8: server=/corp.example/10.0.0.2#5353
        "corp.example" = ["10.0.0.1", "10.0.0.2:5353"]

        [dns.cache]
        # d.conf:14: cache-size=10000
        size = "3MiB"

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
        # d.conf:29: log-queries
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
            # d.conf:24: txt-record=example.lan,"v=spf1 a, -all",two
            { name = "example", type = "TXT", data = '"v=spf1 a, -all" "two"' },
            # d.conf:25: srv-host=_ldap._tcp.example.lan,ldap.example.lan,389
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
        # d.conf:15: neg-ttl=60
        #   answers that say no are remembered for as long as their SOA says, and without one not at all (RFC 2308); `negative-ttl` of `[dns.cache]` only makes it shorter
        # d.conf:30: interface=docker0
        #   addresses are listened on, not interfaces: write those of the interface into `dns.address` (one that comes later, as that of a bridge, may be written too)
        # d.conf:31: dhcp-range=10.0.0.50,10.0.0.150,12h
        #   DHCP is not served: leave it to dnsmasq with `port=0` and `dhcp-option=option:dns-server,ADDRESS` (of this node), or to another
        # d.conf:32: user=dnsmasq
        #   the service manager's matter: see `config/systemd/portolan.service`
        # d.conf:33: catche-size=5
        #   dnsmasq has no such option; did you mean `cache-size`?
        # d.conf:34: server=/x/10.0.0.1@eth0
        #   the way out (`eth0`) cannot be chosen; 10.0.0.1 itself can be written
        # d.conf:23: cname=files.example.net,nas.example.net,60
        #   its TTL is that of all rules, `dns.ttl`
    "##]].assert_eq(&toml);
    expect![[r#"
        d.conf:6: not needed any more: names of Consul are answered from the catalog (`[dns.zones.consul]` and `[providers.consul]`)
        d.conf:15: answers that say no are remembered for as long as their SOA says, and without one not at all (RFC 2308); `negative-ttl` of `[dns.cache]` only makes it shorter
        d.conf:30: addresses are listened on, not interfaces: write those of the interface into `dns.address` (one that comes later, as that of a bridge, may be written too)
        d.conf:31: DHCP is not served: leave it to dnsmasq with `port=0` and `dhcp-option=option:dns-server,ADDRESS` (of this node), or to another
        d.conf:32: the service manager's matter: see `config/systemd/portolan.service`
        d.conf:33: dnsmasq has no such option; did you mean `cache-size`?
        d.conf:34: the way out (`eth0`) cannot be chosen; 10.0.0.1 itself can be written
        d.conf:23: its TTL is that of all rules, `dns.ttl`"#]].assert_eq(&left.join("\n"));
    // It is what it says: a configuration.
    let (read, _) = read(&toml);
    assert_eq!(read.addresses.len(), 2);
    assert_eq!(read.upstreams.unwrap().len(), 2);
    assert_eq!(read.suffixes.len(), 2);
    assert_eq!(read.hosts.len(), 2);
}

#[test]
fn an_empty_file_is_what_dnsmasq_does_by_itself() {
    let (toml, left) = imported("");
    assert!(left.is_empty());
    let (read, _) = read(&toml);
    assert_eq!(read.addresses.len(), 2);
    assert!(read.upstreams.is_none());
}

#[test]
fn aliases_are_rules_where_a_zone_could_not_have_them_or_would_hide_others() {
    let (toml, left) = imported(
        "local=/lan/\n\
         host-record=nas.lan,nas.example.net,10.0.0.5,300\n\
         cname=one.example.net,two.example.net\n\
         cname=two.example.net,nas.example.net\n\
         cname=lan,nas.lan\n\
         cname=in.lan,one.example.net,30\n\
         cname=*.wild.example,nas.lan\n\
         cname=*.example.net,nas.lan\n\
         cname=round.example,about.example\n\
         cname=about.example,round.example\n",
    );
    let rules = ["one.example.net", "two.example.net", "lan", "*.wild.example"];
    let targets = ["nas.example.net", "nas.example.net", "nas.lan", "nas.lan"];
    for (rule, target) in rules.iter().zip(targets) {
        assert!(toml.contains(&format!("\n\"{rule}\" = [\"{target}\"]\n")), "{rule}: {toml}");
    }
    let alias = "{ name = \"in\", type = \"CNAME\", data = \"nas.example.net.\", ttl = 30 }";
    assert!(toml.contains(alias), "{toml}");
    assert!(toml.contains("data = \"10.0.0.5\", ttl = 300 }"), "{toml}");
    expect![[r#"
        d.conf:8: it would hide the names below that have records
        d.conf:9: this alias leads back to itself
        d.conf:10: this alias leads back to itself"#]]
    .assert_eq(&left.join("\n"));
    read(&toml);
}

#[test]
fn names_that_are_answered_with_no_address_in_particular_are_rules() {
    let (toml, left) = imported(
        "address=/ads.example/#\n\
         address=/track.example/0.0.0.0\n\
         address=/gone.example/\n\
         address=/lan/::\n\
         host-record=nas.lan,10.0.0.5\n",
    );
    assert!(left.is_empty(), "{left:?}");
    for rule in [
        "\"ads.example\" = [\"0.0.0.0\", \"::\"]",
        "\"*.ads.example\" = [\"0.0.0.0\", \"::\"]",
        "\"*.track.example\" = [\"0.0.0.0\"]",
        "\"gone.example\" = []",
        "{ name = \"*\", type = \"AAAA\", data = \"::\" }",
    ] {
        assert!(toml.contains(rule), "{rule}: {toml}");
    }
    let (_, zones) = read(&toml);
    let answer = zones.answer(b"\x03nas\x03lan\0", RecordType::A);
    assert!(matches!(answer, Answer::Records(_)), "{answer:?}");
}

#[test]
fn a_name_that_answers_for_all_below_it_does_so_beside_and_below_others() {
    let (toml, left) = imported(
        "address=/lan.example/10.0.0.1\n\
         host-record=nas.deep.lan.example,10.0.0.5\n\
         txt-record=lan.example,hello\n\
         address=/own.lan.example/10.0.0.9\n\
         server=/corp.lan.example/10.0.0.2\n",
    );
    assert!(left.is_empty(), "{left:?}");
    let (_, zones) = read(&toml);
    for (name, expected) in [
        ("lan.example", "10.0.0.1"),
        ("any.lan.example", "10.0.0.1"),
        ("nas.deep.lan.example", "10.0.0.5"),
        ("deep.lan.example", "10.0.0.1"),
        ("other.deep.lan.example", "10.0.0.1"),
        ("below.nas.deep.lan.example", "10.0.0.1"),
        ("any.own.lan.example", "10.0.0.9"),
    ] {
        let name = Name::parse(name).unwrap();
        let answer = zones.answer(name.as_bytes(), RecordType::A);
        let Answer::Records(records) = answer else { panic!("{name}: {answer:?}") };
        let told: Vec<_> = records.in_order().map(|it| body_text(it.body)).collect();
        assert!(
            told.len() == 1 && told[0].ends_with(&format!(" A {expected}")),
            "{name}: {told:?}"
        );
    }
    // Those of a longer suffix are asked before what the wildcard says.
    assert!(toml.contains("\n\"corp.lan.example\" = [\"10.0.0.2\"]\n"), "{toml}");
}

#[test]
fn nothing_of_a_line_is_lost_without_a_word() {
    let (toml, left) = imported(
        "server=/consul/corp.example/10.0.0.1\n\
         txt-record=a.example,\"one, # two\",three # and a comment\n\
         naptr-record=sip.example,100,10,u,E2U+sip,!^.*$!sip:info@example.com!\n\
         localise-queries\n\
         no-round-robin\n\
         neg-ttl=60\n",
    );
    assert!(toml.contains("\n\"corp.example\" = [\"10.0.0.1\"]\n"), "{toml}");
    assert!(toml.contains("data = '\"one, # two\" \"three\"'"), "{toml}");
    let naptr = "data = '100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.com!\" .'";
    assert!(toml.contains(naptr), "{toml}");
    let places: Vec<_> = left.iter().map(|it| it.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["d.conf:1", "d.conf:4", "d.conf:5", "d.conf:6"]);
    read(&toml);
}
