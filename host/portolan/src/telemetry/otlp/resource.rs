//! Who we are, as attributes of a resource (OpenTelemetry's conventions, 1.37): what Traefik's SDK finds out
//! about its process, what the environment says, and what is configured.
//!
//! **Invariant:** a name is there once. What is configured wins over the environment, and that over what was
//! found; what cannot be found out is not told.

use std::{env, fs, process};

use portolan_net::http::Value;

use super::Collector;

/// Attributes by their names.
#[derive(Debug, Default)]
struct Attributes(Vec<(String, Value)>);

impl Attributes {
    /// Says this of us, whatever was said before.
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn put_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

/// Everything that is said about us. `variable` knows the environment.
pub(super) fn resource(
    collector: &Collector,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<(String, Value)> {
    let mut all = Attributes::default();
    all.put("service.name", "portolan");
    all.put("service.version", env!("CARGO_PKG_VERSION"));
    all.put("telemetry.sdk.name", "portolan");
    all.put("telemetry.sdk.language", "rust");
    all.put("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    find_host(&mut all);
    find_process(&mut all);
    for (name, value) in listed(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()) {
        all.put(&name, value);
    }
    let name = variable("OTEL_SERVICE_NAME").filter(|name| !name.trim().is_empty());
    all.put_some("service.name", collector.service.clone().or(name));
    for (name, value) in &collector.attributes {
        all.put(name, value.as_str());
    }
    all.0
}

fn find_host(all: &mut Attributes) {
    let kernel = |name: &str| line(&format!("/proc/sys/kernel/{name}"));
    let host = kernel("hostname");
    all.put_some("host.name", host.clone());
    all.put("os.type", env::consts::OS);
    // As `uname -snrvm` has it, behind the name of the distribution.
    let system = [kernel("ostype"), host, kernel("osrelease"), kernel("version")];
    let system = system.into_iter().flatten().chain([env::consts::ARCH.to_owned()]);
    let system = system.collect::<Vec<_>>().join(" ");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let description = match distribution(&release) {
        Some(name) => format!("{name} ({system})"),
        None => system,
    };
    all.put("os.description", description);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    all.put_some("container.id", container(&groups));
}

fn find_process(all: &mut Attributes) {
    all.put("process.pid", u64::from(process::id()));
    let arguments = env::args_os().map(|it| it.to_string_lossy().into_owned());
    all.put("process.command_args", Value::Texts(arguments.collect()));
    let path = env::current_exe().ok();
    let name = path.as_ref().and_then(|path| path.file_name());
    all.put_some("process.executable.name", name.map(|name| name.to_string_lossy().into_owned()));
    all.put_some("process.executable.path", path.map(|path| path.display().to_string()));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    all.put_some("process.owner", owner(&status, &users));
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `PRETTY_NAME` of os-release(5).
fn distribution(release: &str) -> Option<&str> {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim().trim_matches(['"', '\''])).filter(|name| !name.is_empty())
}

/// The last part of a control group's path, if it is the 64 digits by which runtimes name containers:
/// `/docker/<id>`, `/system.slice/docker-<id>.scope`, `/kubepods/…/cri-containerd:<id>`.
fn container(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (_, last) = line.rsplit_once('/')?;
        let (name, _) = last.split_once('.').unwrap_or((last, ""));
        let id = name.rsplit(['-', ':']).next()?;
        let is_id = id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_id.then_some(id)
    })
}

/// The name of the user that `/proc/self/status` names by number, or that number.
fn owner(status: &str, users: &str) -> Option<String> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let number = numbers.split_whitespace().next()?;
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, user) = (fields.next()?, fields.next()?, fields.next()?);
        (user == number).then_some(name)
    });
    Some(name.unwrap_or(number).to_owned())
}

/// `name=value,name=value`, with `%` before what could not stand there (W3C Baggage). What is none is left
/// out, and said.
fn listed(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.filter_map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Some((name.trim().to_owned(), decoded(value.trim())))
        }
        Some(_) | None => {
            tracing::warn!(pair, "OTEL_RESOURCE_ATTRIBUTES: this is not `name=value`");
            None
        }
    });
    pairs.collect()
}

/// What makes no sense is as it stands.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == b'%' => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        bytes.push(byte.map_or(*first, |(high, low)| high << 4 | low));
        rest = byte.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hexadecimal(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn told(collector: &Collector, name: &str, variables: &[(&str, &str)]) -> Option<Value> {
        let variable = |asked: &str| {
            let found = variables.iter().find(|(name, _)| *name == asked);
            found.map(|(_, value)| (*value).to_owned())
        };
        let all = resource(collector, variable);
        let mut found = all.into_iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value);
        assert_eq!(found.next(), None, "{name} is there twice");
        value
    }

    fn collector(service: Option<&str>, attributes: &[(&str, &str)]) -> Collector {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Collector {
            endpoint: http::Uri::from_static("http://a/"),
            headers: Vec::new(),
            transport: portolan_core::policy::Transport::default(),
            service: service.map(str::to_owned),
            attributes: attributes.iter().map(text).collect(),
        }
    }

    #[test]
    fn what_is_configured_wins_over_the_environment_and_that_over_what_is_found() {
        let silent = collector(None, &[]);
        assert_eq!(told(&silent, "service.name", &[]), Some("portolan".into()));
        let listed =
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a, host.name = b%20c,x,os.type=%4z");
        assert_eq!(told(&silent, "service.name", &[listed]), Some("a".into()));
        assert_eq!(told(&silent, "host.name", &[listed]), Some("b c".into()));
        assert_eq!(told(&silent, "os.type", &[listed]), Some("%4z".into()));
        let named = ("OTEL_SERVICE_NAME", "d");
        assert_eq!(told(&silent, "service.name", &[listed, named]), Some("d".into()));
        let told_all = collector(Some("e"), &[("host.name", "f")]);
        assert_eq!(told(&told_all, "service.name", &[listed, named]), Some("e".into()));
        assert_eq!(told(&told_all, "host.name", &[listed, named]), Some("f".into()));
        let last = collector(Some("e"), &[("service.name", "g")]);
        assert_eq!(told(&last, "service.name", &[named]), Some("g".into()));
    }

    #[test]
    fn a_process_and_its_host_are_known_by_themselves() {
        let silent = collector(None, &[]);
        let pid = Value::Number(process::id().into());
        assert_eq!(told(&silent, "process.pid", &[]), Some(pid));
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(told(&silent, "host.name", &[]), Some(host.trim().into()));
        assert_eq!(told(&silent, "os.type", &[]), Some(env::consts::OS.into()));
        for name in ["os.description", "process.executable.name", "process.owner"] {
            assert!(told(&silent, name, &[]).is_some(), "{name}");
        }
    }

    #[test]
    fn a_container_is_known_by_the_path_of_its_control_group() {
        for path in ["/docker/=", "/system.slice/docker-=.scope", "/kubepods/b/cri-containerd:="] {
            let groups = format!("12:pids:/\n1:name=systemd:{}\n", path.replace('=', ID));
            assert_eq!(container(&groups), Some(ID), "{path}");
        }
        assert_eq!(container("0::/init.scope\n0::/\n0::/user.slice/user-1000.slice\n"), None);
    }

    #[test]
    fn an_owner_without_a_name_is_a_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nedge:x:998:998::/:/bin/false\n";
        assert_eq!(owner("Name:\tportolan\nUid:\t998\t998\t998\t998\n", users).unwrap(), "edge");
        assert_eq!(owner("Uid:\t7\t7\t7\t7\n", users).unwrap(), "7");
        assert_eq!(distribution("ID=a\nPRETTY_NAME=\"A 1 (b)\"\n"), Some("A 1 (b)"));
    }
}
