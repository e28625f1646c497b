//! Names as a container sees them: a network of its own, a resolv.conf that names the bridge, and
//! the resolvers of glibc and of musl (Alpine), which asks for both families at once and takes the
//! first answer of any server.
//!
//! Both ends live in network namespaces that the test makes, so it wants root, and `ip`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::support::{Config, Portolan, eventually, package, store};

const BRIDGE: &str = "10.213.7.1";
/// Where the Portolan of the next node answers.
const OTHER: &str = "10.213.7.3";

/// Two namespaces, a node and a container in it; gone when it is dropped.
struct Node {
    node: String,
    container: String,
}

impl Node {
    /// `None`: this machine does not let us.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let (node, container) = (format!("portolan-n{id}"), format!("portolan-c{id}"));
        if !ip(&format!("netns add {node}")).is_some_and(|it| it.status.success()) {
            return None;
        }
        let made = Self { node, container };
        let Self { node, container } = &made;
        for line in [
            format!("netns add {container}"),
            format!("-n {node} link set lo up"),
            format!("-n {container} link set lo up"),
        ] {
            must(&line);
        }
        let folder = made.resolv_conf();
        fs::create_dir_all(&folder).unwrap();
        let servers = format!("nameserver {BRIDGE}\nnameserver {OTHER}\n");
        let text = servers + "options timeout:1 attempts:2\n";
        fs::write(folder.join("resolv.conf"), text).unwrap();
        Some(made)
    }

    /// `ip netns exec` puts what is in here in the place of the files of /etc.
    fn resolv_conf(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.container)
    }

    /// What happens when Docker starts: the bridge gets its address, the container a link to it.
    fn add_bridge(&self) {
        let Self { node, container } = self;
        for line in [
            format!("-n {node} link add bridge0 type veth peer name eth0 netns {container}"),
            format!("-n {node} addr add {BRIDGE}/24 dev bridge0"),
            format!("-n {node} addr add {OTHER}/24 dev bridge0"),
            format!("-n {node} link set bridge0 up"),
            // Others reach us elsewhere: containers are told the bridge all the same.
            format!("-n {node} link add lan0 type veth peer name lan1"),
            format!("-n {node} addr add 10.213.8.1/24 dev lan0"),
            format!("-n {node} link set lan0 up"),
            format!("-n {node} link set lan1 up"),
            format!("-n {node} route add default via 10.213.8.2"),
            format!("-n {container} addr add 10.213.7.2/24 dev eth0"),
            format!("-n {container} link set eth0 up"),
        ] {
            must(&line);
        }
    }

    fn lookup(&self, program: &Path, names: &[&str]) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.container]).arg(program).args(names);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for name in [&self.container, &self.node] {
            drop(ip(&format!("netns del {name}")));
        }
        drop(fs::remove_dir_all(self.resolv_conf()));
    }
}

fn ip(line: &str) -> Option<Output> {
    Command::new("ip").args(line.split(' ')).output().ok()
}

#[track_caller]
fn must(line: &str) {
    let output = ip(line).unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The same program with the resolver of glibc, and with that of musl.
fn programs() -> [(&'static str, PathBuf); 2] {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/resolve.c");
    let folder = store("resolve");
    let build = |name: &str, arguments: &[&str]| {
        let program = folder.join(name);
        let mut command = Command::new("cc");
        command.arg("-o").arg(&program).arg(&source).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    };
    let musl = package("musl-dev", "bookworm").join("usr");
    let triple = format!("{}-linux-musl", std::env::consts::ARCH);
    let (headers, libraries) = (musl.join("include").join(&triple), musl.join("lib").join(&triple));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let object = |name: &str| text(&libraries.join(name));
    let arguments = [
        "-static",
        "-nostdinc",
        "-isystem",
        &text(&headers),
        "-nostdlib",
        "-nostartfiles",
        &object("crt1.o"),
        &object("crti.o"),
        &object("libc.a"),
        "-lgcc",
        "-lgcc_eh",
        &object("libc.a"),
        &object("crtn.o"),
    ];
    [("glibc", build("with-glibc", &[])), ("musl", build("with-musl", &arguments))]
}

const UPSTREAM: &str = "data-dir = \"data\"\nadmin = false\n\
    [dns]\naddress = \"127.0.0.1:5301\"\nupstreams = []\n\
    [dns.zones.\"example.org\"]\nnames = \"static\"\n\
    records = [{ name = \"www\", type = \"A\", data = \"203.0.113.80\" }]\n";

const NODE: &str = r#"
data-dir = "data"
admin = false
[entrypoints.web]
address = "0.0.0.0:0"
[dns]
address = ["127.0.0.1:53", "10.213.7.1:53"]
upstreams = ["127.0.0.1:5301"]
[dns.zones."infra.internal"]
names = "static"
records = [
    { name = "db", type = "A", data = "10.213.9.5" },
    { name = "both", type = "A", data = "10.213.9.6" },
    { name = "both", type = "AAAA", data = "fd00::6" },
]
[http.routers.r]
rule = "Host(`grafana.internal`)"
middlewares = ["whoami"]
[http.middlewares.whoami.whoami]
"#;

#[tokio::test]
async fn a_container_resolves_with_glibc_and_with_musl_by_a_bridge_that_comes_later() {
    let Some(node) = Node::new() else {
        // No claim is made where namespaces cannot be made; CI runs as root.
        eprintln!("not tried: `ip netns add` needs root");
        return;
    };
    let (first, second) = (Config::exactly(UPSTREAM), Config::exactly(NODE));
    let addresses = format!("address = [\"{OTHER}:53\"]");
    let third = NODE.replace("address = [\"127.0.0.1:53\", \"10.213.7.1:53\"]", &addresses);
    // This one is told where the edge is; the other one knows it by the question.
    let told = format!("edge-addresses = [\"{BRIDGE}\"]\n[dns.zones");
    let third = Config::exactly(&third.replace("[dns.zones", &told));
    let _upstream = Portolan::start_in(&first, &node.node);
    // Port 53 of an address that nobody has yet.
    let portolan = Portolan::start_in(&second, &node.node);
    let _other = Portolan::start_in(&third, &node.node);
    node.add_bridge();
    let programs = programs();
    for (resolver, program) in &programs {
        let answered = eventually(
            || async { node.lookup(program, &["grafana.internal"]) },
            |told| told.trim_end() == "grafana.internal 10.213.7.1",
        );
        answered.await;
        let begin = Instant::now();
        let told = node.lookup(
            program,
            &[
                "db.infra.internal",
                "both.infra.internal",
                "grafana.internal",
                "www.example.org",
                "absent.infra.internal",
                "absent.example.org",
                "localhost",
            ],
        );
        // A resolver that is not answered waits 5 seconds.
        assert!(begin.elapsed() < Duration::from_secs(4), "{resolver}: {:?}", begin.elapsed());
        let lines: Vec<&str> = told.lines().collect();
        let [db, both, grafana, www, absent, outside, localhost] = lines[..] else {
            panic!("{resolver}: {told}");
        };
        assert_eq!(db, "db.infra.internal 10.213.9.5", "{resolver}");
        let mut both: Vec<_> = both.split(' ').skip(1).collect();
        both.sort_unstable();
        assert_eq!(both, ["10.213.9.6", "fd00::6"], "{resolver}");
        assert_eq!(grafana, "grafana.internal 10.213.7.1", "{resolver}");
        assert_eq!(www, "www.example.org 203.0.113.80", "{resolver}");
        assert_eq!(absent, "absent.infra.internal no such name", "{resolver}");
        assert_eq!(outside, "absent.example.org no such name", "{resolver}");
        assert!(localhost.contains("127.0.0.1") || localhost.contains("::1"), "{resolver}");
    }
    // One dies: the other one is asked at once, since the system says that nobody listens.
    portolan.stop();
    for (resolver, program) in &programs {
        let begin = Instant::now();
        let told =
            node.lookup(program, &["grafana.internal", "www.example.org", "absent.infra.internal"]);
        assert!(begin.elapsed() < Duration::from_secs(4), "{resolver}: {:?}", begin.elapsed());
        let lines: Vec<&str> = told.lines().collect();
        let ["grafana.internal 10.213.7.1", "www.example.org 203.0.113.80", absent] = lines[..]
        else {
            panic!("{resolver}: {told}");
        };
        assert_eq!(absent, "absent.infra.internal no such name", "{resolver}");
    }
}
