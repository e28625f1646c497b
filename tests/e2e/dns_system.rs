//! Who is asked where the configuration does not say: those whom the system asks, also when that
//! changes.
//!
//! Portolan sees an /etc and a /run of its own, and upstreams answer on port 53 of addresses of
//! loopback, so it wants root.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record, rdata},
};
use tokio::net::UdpSocket;

use crate::support::{Config, Portolan, Reply, eventually};

const CONFIG: &str = r#"
data-dir = "data"
threads = 1
[admin]
address = "127.0.0.1:0"
[dns]
address = "127.0.0.1:0"
"#;

/// Answers with its own address, whatever it is asked.
struct Upstream {
    address: Ipv4Addr,
    asked: Arc<AtomicUsize>,
}

/// `None`: this machine does not let us.
async fn upstream(last: u8) -> Option<Upstream> {
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let address = Ipv4Addr::new(127, high | 1, low, last);
    let socket = UdpSocket::bind((address, 53)).await.ok()?;
    let asked = Arc::<AtomicUsize>::default();
    let counter = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Relaxed);
            let Ok(asked) = Message::from_vec(&buffer[..length]) else { continue };
            let mut reply = Message::response(asked.metadata.id, OpCode::Query);
            let query = asked.queries[0].clone();
            let data = RData::A(rdata::A(address));
            reply.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            reply.add_query(query);
            drop(socket.send_to(&reply.to_vec().unwrap(), peer).await);
        }
    });
    Some(Upstream { address, asked })
}

/// Two upstreams; says so where the test cannot be tried.
async fn upstreams(numbers: [u8; 2]) -> Option<[Upstream; 2]> {
    let script = "mount --bind /tmp /tmp";
    let made = Command::new("unshare").args(["-m", "sh", "-c", script]).output();
    let may_mount = made.is_ok_and(|output| output.status.success());
    let upstreams = (upstream(numbers[0]).await, upstream(numbers[1]).await);
    match upstreams {
        (Some(one), Some(two)) if may_mount => Some([one, two]),
        _ => {
            eprintln!("not tried: port 53 and `unshare -m` need root");
            None
        }
    }
}

/// What the process sees as /etc and /run.
struct System {
    folder: tempfile::TempDir,
}

impl System {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "run/systemd/resolve"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes into a file.
    fn write(&self, name: &str, server: &Upstream) {
        let text = format!("# by hand\nnameserver {}\n", server.address);
        fs::write(self.path(name), text).unwrap();
    }

    /// Puts another file into its place.
    fn replace(&self, name: &str, server: &Upstream) {
        self.write("new", server);
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Makes it a link, or another one.
    fn link(&self, name: &str, to: &str) {
        symlink(to, self.path("new")).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn start(&self, config: &Config) -> Portolan {
        let script = "mount --bind \"$0/etc\" /etc && mount --bind \"$0/run\" /run && exec \"$@\"";
        let folder = self.folder.path().to_str().unwrap();
        Portolan::start_by(config, &["unshare", "-m", "sh", "-c", script, folder])
    }
}

/// Asks for a name that was not asked for before.
async fn ask(portolan: &Portolan) -> Reply {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    portolan.dns().a(&format!("n{}.example.org.", NUMBER.fetch_add(1, Relaxed))).await
}

async fn asks(portolan: &Portolan, server: &Upstream) {
    eventually(|| ask(portolan), |reply| reply.is(&[&server.address.to_string()])).await;
}

#[tokio::test]
async fn whom_the_system_asks_is_asked_however_that_changes() {
    let Some([one, two]) = &upstreams([1, 2]).await else { return };
    let (system, config) = (System::new(), Config::exactly(CONFIG));
    let here = "etc/resolv.conf";
    system.write(here, one);
    let portolan = system.start(&config);
    assert!(ask(&portolan).await.is(&[&one.address.to_string()]));

    system.write(here, two);
    asks(&portolan, two).await;
    system.replace(here, one);
    asks(&portolan, one).await;

    // As where a network manager owns it: a link into /run.
    system.write("run/manager.conf", two);
    system.link(here, "../run/manager.conf");
    asks(&portolan, two).await;
    system.write("run/manager.conf", one);
    asks(&portolan, one).await;
    system.replace("run/manager.conf", two);
    asks(&portolan, two).await;
    system.write("run/other.conf", one);
    system.link(here, "/run/other.conf");
    asks(&portolan, one).await;

    // What systemd-resolved itself asks is better than its stub.
    system.write("run/systemd/resolve/resolv.conf", two);
    asks(&portolan, two).await;
    fs::remove_file(system.path("run/systemd/resolve/resolv.conf")).unwrap();
    asks(&portolan, one).await;

    // A link that leads nowhere: nobody can be asked, until it leads somewhere again.
    system.link(here, "nothing.conf");
    eventually(|| ask(&portolan), |reply| reply.code == ResponseCode::Refused).await;
    system.write("etc/nothing.conf", two);
    asks(&portolan, two).await;
}

#[tokio::test]
async fn the_system_is_asked_where_upstreams_are_that_have_a_name() {
    let Some([one, two]) = &upstreams([3, 4]).await else { return };
    // Nobody answers there over TLS: it is about who is asked where it is.
    let named = format!("{CONFIG}upstreams = [\"tls://resolver.example.org\"]\n");
    let (system, config) = (System::new(), Config::exactly(&named));
    system.write("etc/resolv.conf", one);
    let portolan = system.start(&config);
    assert_eq!(ask(&portolan).await.code, ResponseCode::ServFail);
    assert!(one.asked.load(Relaxed) > 0);
    assert_eq!(two.asked.load(Relaxed), 0);
    // All is looked at once at the beginning, so one change would say little.
    for server in [two, one, two] {
        let before = server.asked.load(Relaxed);
        system.replace("etc/resolv.conf", server);
        eventually(|| ask(&portolan), |_| server.asked.load(Relaxed) > before).await;
    }
}
