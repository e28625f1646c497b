//! Questions over real sockets on loopback, beside a bare echo: what the system alone costs.
//! `cargo bench --workspace --bench udp`.
//!
//! Each server has one thread; its own CPU time over the questions that were answered is printed.
//! 100 questions are on the way at any time, from one port (a forwarder asks so) or from 100.

#![expect(clippy::print_stdout, reason = "it is what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot begin has nothing to say")]

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use portolan_core::{
    live::live,
    snapshot::Snapshot,
    zone::{DnsConfig, Names, StaticRecord, ZoneConfig, ZoneInputs, ZoneOptions, Zones},
};
use portolan_net::dns::{DnsContext, DnsFigures, Forwardings, Sharing, bind_udp, serve_udp};
use tokio::{runtime::Builder, task::LocalSet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ON_THE_WAY: usize = 100;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

fn main() {
    println!("{:<34} {:>14} {:>14} {:>12}", "server", "ports", "us/question", "questions/s");
    let echo = Running::start(echo);
    measure("bare echo (recvfrom, sendto)", 1_000, &echo);
    for names in [1_000, 100_000] {
        let portolan = Running::start(move |socket, stop| portolan(socket, names, &stop));
        measure(&format!("portolan, {names} names"), names, &portolan);
    }
}

fn measure(name: &str, names: usize, server: &Running) {
    for ports in [1, ON_THE_WAY] {
        let mut best = f64::MAX;
        let mut most = 0.0_f64;
        for _ in 0..ROUNDS {
            let (before, begin) = (server.cpu(), Instant::now());
            let answered = load(server.address, names, ports) as f64;
            let used = (server.cpu() - before) as f64;
            best = best.min(used / 1e3 / answered);
            most = most.max(answered / begin.elapsed().as_secs_f64());
        }
        println!("{name:<34} {ports:>14} {best:>14.2} {most:>12.0}");
    }
}

/// A server on a thread of its own.
struct Running {
    address: SocketAddr,
    time: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Running {
    fn start(serve: impl FnOnce(UdpSocket, Arc<AtomicBool>) + Send + 'static) -> Self {
        let socket = bind_udp("127.0.0.1:0".parse().unwrap(), Sharing::WORKERS).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::<AtomicBool>::default();
        let (told, path) = mpsc::channel();
        let stopping = stop.clone();
        thread::spawn(move || {
            told.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
            serve(socket, stopping);
        });
        let thread = Path::new("/proc").join(path.recv().unwrap());
        Self { address, time: thread.join("schedstat"), stop }
    }

    /// The CPU time of the thread, in nanoseconds.
    fn cpu(&self) -> u64 {
        let text = fs::read_to_string(&self.time).unwrap();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn echo(socket: UdpSocket, stop: Arc<AtomicBool>) {
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut packet = [0; 2048];
    while !stop.load(Relaxed) {
        if let Ok((length, peer)) = socket.recv_from(&mut packet) {
            packet[2] |= 0x80;
            drop(socket.send_to(&packet[..length], peer));
        }
    }
}

fn portolan(socket: UdpSocket, names: usize, stop: &Arc<AtomicBool>) {
    let records = (0..names).map(|n| StaticRecord {
        name: format!("svc{n}"),
        rtype: "A".to_owned(),
        data: format!("127.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250),
        ttl: 60,
    });
    let names = Names::Static(records.collect());
    let zone = ZoneConfig {
        origin: "infra.local".to_owned(),
        names,
        ttl: 5,
        options: ZoneOptions::default(),
    };
    let config = DnsConfig { zones: vec![zone], ..DnsConfig::default() };
    let inputs = ZoneInputs {
        config: &config,
        nodes: &[],
        instances: &[],
        router_hosts: &[],
        synced: true,
        serial: 1,
    };
    let zones = Zones::build(&inputs).0;
    let (_publisher, live) = live(Snapshot { zones, ..Snapshot::default() });
    let forwarding = Arc::<Forwardings>::default();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let context =
            DnsContext::new(&live, forwarding, Arc::default(), Arc::<DnsFigures>::default());
        let stopped = async {
            while !stop.load(Relaxed) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        serve_udp(socket, Rc::clone(&context), stopped).await.unwrap();
    });
}

/// Asks for a while, from so many ports; tells how many answers there were.
fn load(server: SocketAddr, names: usize, ports: usize) -> u64 {
    let sockets: Vec<_> = (0..ports)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            socket
        })
        .collect();
    let questions: Vec<_> = (0..1000).map(|n| question(n * 7919 % names)).collect();
    let (mut turn, mut answered) = (0, 0);
    let mut ask = |socket: &UdpSocket| {
        turn = (turn + 1) % questions.len();
        drop(socket.send(&questions[turn]));
    };
    let each = ON_THE_WAY / ports;
    sockets.iter().for_each(|socket| (0..each).for_each(|_| ask(socket)));
    let begin = Instant::now();
    let mut packet = [0; 2048];
    while begin.elapsed() < ROUND {
        for socket in &sockets {
            for _ in 0..each {
                answered += u64::from(socket.recv(&mut packet).is_ok());
            }
            (0..each).for_each(|_| ask(socket));
        }
    }
    answered
}

fn question(number: usize) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in format!("svc{number}.infra.local").split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}
