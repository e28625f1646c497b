//! The real binary, on ports of its own, in a folder of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::Instant,
};

use serde_json::Value;

use super::{Client, PATIENCE, Resolver, store};

/// A configuration in a folder of its own.
#[derive(Debug)]
pub(crate) struct Config {
    folder: tempfile::TempDir,
}

/// What every test wants: free ports, no upstreams, and whatever the test adds.
const PREAMBLE: &str = r#"
data-dir = "data"
threads = 2

[entrypoints.web]
address = "127.0.0.1:0"

[entrypoints.websecure]
address = "127.0.0.1:0"
tls = true

[admin]
address = "127.0.0.1:0"

[dns]
address = "127.0.0.1:0"
upstreams = []
edge-addresses = ["127.0.0.9"]
[dns.zones.consul]
names = "consul"
[dns.zones."infra.local"]
names = "services"

[plugins]
directory = "plugins"
"#;

impl Config {
    /// The usual entrypoints and zones, and these lines of TOML.
    pub(crate) fn new(toml: &str) -> Self {
        Self::exactly(&format!("{PREAMBLE}\n{toml}"))
    }

    /// These lines of TOML and nothing else.
    pub(crate) fn exactly(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Self { folder };
        config.write(toml);
        fs::create_dir(config.path("plugins")).unwrap();
        fs::create_dir(config.path("dynamic")).unwrap();
        config
    }

    /// The usual, with a Consul provider.
    pub(crate) fn with_consul(url: &str, toml: &str) -> Self {
        Self::new(&format!(
            "[providers.consul]\nplugin = \"consul\"\n\
             config = {{ address = \"{url}\", prefix = \"traefik\" }}\n\
             grants = {{ http-client = [\"{url}\"] }}\n{toml}"
        ))
    }

    /// Replaces the configuration by the usual and these lines.
    pub(crate) fn change(&self, toml: &str) {
        self.write(&format!("{PREAMBLE}\n{toml}"));
    }

    /// Replaces the configuration by these lines.
    pub(crate) fn replace(&self, toml: &str) {
        self.write(toml);
    }

    /// Replaces the configuration as an editor does: a new file under the old name.
    fn write(&self, toml: &str) {
        fs::write(self.path("config.toml.new"), toml).unwrap();
        fs::rename(self.path("config.toml.new"), self.path("config.toml")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Drops a plugin into the plugins folder, or replaces it.
    pub(crate) fn install(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(&format!("{name}.tmp")), bytes).unwrap();
        let place = self.path("plugins").join(format!("{name}.wasm"));
        fs::rename(self.path(&format!("{name}.tmp")), place).unwrap();
    }

    pub(crate) fn uninstall(&self, name: &str) {
        fs::remove_file(self.path("plugins").join(format!("{name}.wasm"))).unwrap();
    }
}

/// A running Portolan; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Portolan {
    process: Child,
    log: Arc<Log>,
    addresses: BTreeMap<String, SocketAddr>,
}

/// Its log, line by line.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Drop for Portolan {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
        if std::thread::panicking() {
            eprintln!("--- log of portolan ---\n{}", self.log.text());
        }
    }
}

impl Portolan {
    /// Starts it and waits until everything listens.
    pub(crate) fn start(config: &Config) -> Self {
        Self::start_with(config, &[])
    }

    /// The same, with these paths in its environment.
    pub(crate) fn start_with(config: &Config, environment: &[(&str, &Path)]) -> Self {
        warm(&config.path("data"));
        let mut command = command(config, &["run"]);
        command.envs(environment.iter().copied());
        Self::spawn(command)
    }

    /// The same, where the process may have so many files and sockets.
    pub(crate) fn start_with_files(config: &Config, files: u32) -> Self {
        warm(&config.path("data"));
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\""));
        let real = command(config, &["run"]);
        shell.arg(real.get_program()).args(real.get_args());
        shell.stdin(Stdio::null()).env_remove("PORTOLAN_LOG");
        Self::spawn(shell)
    }

    /// The same, within a network namespace.
    pub(crate) fn start_in(config: &Config, namespace: &str) -> Self {
        Self::start_by(config, &["ip", "netns", "exec", namespace])
    }

    /// The same, by a command that becomes it: what is run is behind its arguments.
    pub(crate) fn start_by(config: &Config, arguments: &[&str]) -> Self {
        warm(&config.path("data"));
        let (program, arguments) = arguments.split_first().unwrap();
        let real = command(config, &["run"]);
        let mut by = Command::new(program);
        by.args(arguments).arg(real.get_program()).args(real.get_args());
        by.stdin(Stdio::null()).env_remove("PORTOLAN_LOG");
        Self::spawn(by)
    }

    /// The same, with nothing compiled beforehand.
    pub(crate) fn start_cold(config: &Config) -> Self {
        Self::spawn(command(config, &["run"]))
    }

    /// Starts a copy of the program.
    pub(crate) fn start_copy(config: &Config, program: &Path) -> Self {
        warm(&config.path("data"));
        let original = env!("CARGO_BIN_EXE_portolan");
        // A second name for it, where the disk has such.
        if fs::hard_link(original, program).is_err() {
            fs::copy(original, program).unwrap();
        }
        Self::spawn(command_of(program, config, &["run"]))
    }

    /// The same, with a log of everything that nobody reads any more once it is ready.
    pub(crate) fn start_unread(config: &Config) -> Self {
        warm(&config.path("data"));
        let mut command = command(config, &["run"]);
        command.env("PORTOLAN_LOG", "debug");
        Self::spawn_with(command, Log::follow_until_ready)
    }

    fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Log::follow)
    }

    fn spawn_with(mut command: Command, follow: fn(ChildStderr) -> Arc<Log>) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = follow(process.stderr.take().unwrap());
        let addresses = log.until(is_ready).iter().filter_map(|line| listening(line)).collect();
        Self { process, log, addresses }
    }

    pub(crate) fn http(&self) -> Client {
        Client(self.address("web"))
    }

    pub(crate) fn https(&self) -> Client {
        Client(self.address("websecure"))
    }

    pub(crate) fn dns(&self) -> Resolver {
        Resolver(self.address("dns"))
    }

    pub(crate) fn dns_over_https(&self) -> Client {
        Client(self.address("dns-over-https"))
    }

    pub(crate) fn admin(&self) -> Client {
        Client(self.address("admin"))
    }

    /// The address that was bound for an entrypoint.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let address = self.addresses.get(name);
        *address.unwrap_or_else(|| panic!("nothing listens as {name}: {:?}", self.addresses))
    }

    /// A path of the admin API, as JSON.
    pub(crate) async fn api(&self, path: &str) -> Value {
        self.admin().get("localhost", path).await.json()
    }

    /// Every line of the log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// The same, once it holds a text.
    pub(crate) fn log_until(&self, text: &str) -> String {
        self.log.until(|line| line.contains(text)).join("\n")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.process.wait().unwrap();
        (status, self.log.text())
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.signal("-TERM");
        self.wait()
    }
}

/// Runs a subcommand to its end: exit code, standard output, standard error.
pub(crate) fn run(config: &Config, args: &[&str]) -> (i32, String, String) {
    let output = command(config, args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn command(config: &Config, args: &[&str]) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_portolan")), config, args)
}

fn command_of(program: &Path, config: &Config, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    let (subcommand, rest) = args.split_first().unwrap();
    command.arg(subcommand).arg("--config").arg(config.path("config.toml")).args(rest);
    command.stdin(Stdio::null()).env_remove("PORTOLAN_LOG");
    command
}

/// Whether this is the line that says that everything listens.
fn is_ready(line: &str) -> bool {
    line.split([' ', '"']).any(|word| word == "ready")
}

impl Log {
    /// Reads no further than that everything listens, and keeps the pipe open.
    fn follow_until_ready(from: ChildStderr) -> Arc<Self> {
        let log = Self::default();
        let mut reader = BufReader::new(from);
        let mut line = String::new();
        while !is_ready(line.trim_end()) {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "it ended: {}", log.text());
            log.lines.lock().unwrap().push(line.trim_end().to_owned());
        }
        std::mem::forget(reader);
        Arc::new(log)
    }

    fn follow(from: ChildStderr) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                writer.lines.lock().unwrap().push(line);
                writer.more.notify_all();
            }
            writer.lines.lock().unwrap().push("(end of log)".to_owned());
            writer.more.notify_all();
        });
        log
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Every line so far, once one of them is as wanted.
    fn until(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let begun = Instant::now();
        let mut lines = self.lines.lock().unwrap();
        loop {
            let ended = lines.iter().any(|line| line == "(end of log)");
            if lines.iter().any(|line| wanted(line)) {
                return lines.clone();
            }
            // Compiling every guest anew takes its time on a small machine.
            assert!(!ended && begun.elapsed() < 6 * PATIENCE, "it was never said: {lines:#?}");
            lines = self.more.wait_timeout(lines, PATIENCE).unwrap().0;
        }
    }
}

/// The name and address of a log line `listening`.
fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let json: Option<Value> = serde_json::from_str(line).ok();
    let field = |name: &str| match &json {
        Some(json) => json[name].as_str().map(str::to_owned),
        None => {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        }
    };
    if !line.contains("listening") {
        return None;
    }
    Some((field("entrypoint")?, field("address")?.parse().ok()?))
}

/// Gives a new data folder the compiled code of an earlier run: what is cached is known by its
/// content, so it is good for as long as guests and host are what they were.
fn warm(data: &Path) {
    static WARM: OnceLock<PathBuf> = OnceLock::new();
    let store = WARM.get_or_init(|| {
        let store = store("warm");
        let config = Config::new("");
        copy(&store, &config.path("data"));
        let (status, log) = Portolan::start_cold(&config).stop();
        assert!(status.success(), "{log}");
        copy(&config.path("data"), &store);
        store
    });
    if !data.exists() {
        copy(store, data);
    }
}

/// Copies a folder and all that is in it, permissions included.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "state" => (),
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}
