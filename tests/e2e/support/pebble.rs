//! A real ACME authority for tests: Pebble, by the makers of Let's Encrypt, on ports of its own.
//!
//! It is taken from `PEBBLE`, else from `PATH`, else from Debian bookworm.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use serde_json::json;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Client, Config, eventually, free_ports, program};

/// Where a Portolan will be: Pebble must know it before there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Harbour {
    pub(crate) web: u16,
    pub(crate) websecure: u16,
    pub(crate) dns: u16,
}

impl Harbour {
    /// On ports that nobody uses now.
    pub(crate) fn new() -> Self {
        let [web, websecure, dns] = free_ports();
        Self { web, websecure, dns }
    }

    /// A configuration for it: hosts of routers resolve to it, so that Pebble finds them.
    pub(crate) fn config(self, toml: &str) -> Config {
        Config::exactly(&self.toml(toml))
    }

    /// The same, as text.
    pub(crate) fn toml(self, toml: &str) -> String {
        let Self { web, websecure, dns } = self;
        format!(
            "data-dir = \"data\"\nthreads = 2\n\
             [entrypoints.web]\naddress = \"127.0.0.1:{web}\"\n\
             [entrypoints.websecure]\naddress = \"127.0.0.1:{websecure}\"\ntls = true\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [dns]\naddress = \"127.0.0.1:{dns}\"\nupstreams = []\n\
             edge-addresses = [\"127.0.0.1\"]\n\
             [plugins]\ndirectory = \"plugins\"\n{toml}"
        )
    }
}

/// A running Pebble; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Pebble {
    process: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
    management: SocketAddr,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Pebble {
    /// Certifies names that lead to the harbour, for so many seconds; `blocked.test` never.
    pub(crate) async fn start(harbour: Harbour, validity: u32) -> Self {
        Self::start_with(harbour, validity, None).await
    }

    /// The same, for those who have an account elsewhere: its name and secret.
    pub(crate) async fn start_with(
        harbour: Harbour,
        validity: u32,
        account: Option<(&str, &str)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, management] = free_ports();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("root.pem"), made.cert.pem()).unwrap();
        fs::write(path("root.key"), made.signing_key.serialize_pem()).unwrap();
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("root.pem"), "privateKey": path("root.key"),
            "httpPort": harbour.web, "tlsPort": harbour.websecure,
            "ocspResponderURL": "", "externalAccountBindingRequired": account.is_some(),
            "externalAccountMACKeys": account.into_iter().collect::<BTreeMap<_, _>>(),
            "domainBlocklist": ["blocked.test"], "certificateValidityPeriod": validity,
        }});
        fs::write(path("pebble.json"), config.to_string()).unwrap();
        let process = Command::new(binary())
            .arg("-config")
            .arg(path("pebble.json"))
            .args(["-dnsserver", &format!("127.0.0.1:{}", harbour.dns)])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(fs::File::create(path("log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (address, management) = (address(port), address(management));
        let pebble = Self { process, folder, address, management };
        eventually(
            || async { pebble.ask(pebble.address, "/dir").await },
            |answer| answer.as_ref().is_some_and(|it| it.contains("newOrder")),
        )
        .await;
        pebble
    }

    /// `[acme.<name>]` for it, with these lines more.
    pub(crate) fn resolver(&self, name: &str, toml: &str) -> String {
        let root = self.folder.path().join("root.pem");
        format!(
            "[acme.{name}]\nemail = \"ops@harbour.test\"\n\
             directory = \"https://localhost:{}/dir\"\nroot-certificates = \"{}\"\n{toml}\n",
            self.address.port(),
            root.display()
        )
    }

    /// The root of what it issues.
    pub(crate) async fn root(&self) -> Vec<CertificateDer<'static>> {
        let pem = self.ask(self.management, "/roots/0").await.unwrap();
        vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]
    }

    /// How many certificates it has issued.
    pub(crate) fn issued(&self) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.matches("Issued certificate serial").count()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn ask(&self, address: SocketAddr, path: &str) -> Option<String> {
        let own = CertificateDer::from_pem_file(self.folder.path().join("root.pem")).unwrap();
        let answer = Client(address).get_tls(&[own], "localhost", path).await;
        answer.ok().map(|answer| answer.body)
    }
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::find("pebble", "PEBBLE", "bookworm", "-help"))
}
