//! Middlewares that are made of files: who may name which, and what becomes of them when one changes.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::support::{
    Backend, Config, Consul, Portolan, Registration, eventually, request_with, run,
};

/// `htpasswd -nbs` of `secret` and of `test`.
const SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
const TEST: &str = "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=";

const GRANT: &str = "[plugins.basic-auth]\ngrants = { files = [\"secrets\"] }\n";

/// As an editor writes it: another file takes its place.
fn write(path: &Path, content: &str) {
    let next = path.with_extension("next");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&next, content).unwrap();
    fs::rename(next, path).unwrap();
}

/// What Ada is answered.
async fn status(portolan: &Portolan, host: &str, password: &str) -> u16 {
    let credentials = match password {
        "secret" => "Basic YWRhOnNlY3JldA==",
        "test" => "Basic YWRhOnRlc3Q=",
        other => panic!("{other} is not encoded here"),
    };
    let request = request_with(host, "authorization", credentials);
    portolan.http().send(request).await.unwrap().status.as_u16()
}

async fn problems(portolan: &Portolan) -> String {
    portolan.api("/api/problems").await.to_string()
}

async fn register(consul: &Consul, backend: &Backend, users_file: &str) {
    let file = format!("traefik.http.middlewares.door.basicauth.usersfile={users_file}");
    let tags = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.middlewares=door",
        &file,
    ];
    let address = backend.address;
    let registration = Registration { id: "shop-1", service: "shop", address, tags: &tags };
    consul.register(&registration).await;
}

/// A router `<name>.local` behind users of a file, in a table.
fn guarded(name: &str, users_file: &Path) -> String {
    format!(
        "[http.routers.{name}]\nrule = \"Host(`{name}.local`)\"\n\
         middlewares = [\"{name}\", \"whoami\"]\n\
         [http.middlewares.{name}.basic-auth]\nusers-file = \"{}\"\n",
        users_file.display()
    )
}

const WHOAMI: &str = "[http.middlewares.whoami.whoami]\n";

#[tokio::test]
async fn users_of_a_file_that_a_tag_names_follow_it_and_outlive_it() {
    let (consul, backend) = (Consul::start().await, Backend::start("shop").await);
    let config = Config::with_consul(&consul.url(), GRANT);
    let file = config.path("secrets/users");
    write(&file, &format!("# who may pass\n\nada:{TEST}\n"));
    let portolan = Portolan::start(&config);
    register(&consul, &backend, "secrets/users").await;
    let status = async |password| status(&portolan, "shop.local", password).await;
    eventually(|| status("test"), |status| *status == 200).await;
    assert_eq!(status("secret").await, 401);

    write(&file, &format!("ada:{SECRET}\n"));
    eventually(|| status("secret"), |status| *status == 200).await;
    assert_eq!(status("test").await, 401);

    // A hash of no use is the matter of its user alone.
    write(&file, &format!("bob:{SECRET}x\nada:{TEST}\n"));
    eventually(|| status("test"), |status| *status == 200).await;
    write(&file, &format!("ada:{SECRET}\n"));
    eventually(|| status("secret"), |status| *status == 200).await;

    // A line that makes no sense, a file that is gone, and back again.
    write(&file, &format!("ada:{TEST}\nbob\n"));
    let told = eventually(|| problems(&portolan), |told| told.contains("line 2")).await;
    assert!(
        told.contains("middleware `door`: `secrets/users`: line 2: a user is written"),
        "{told}"
    );
    assert!(told.contains("what it held before goes on"), "{told}");
    assert_eq!((status("secret").await, status("test").await), (200, 401));
    fs::remove_file(&file).unwrap();
    eventually(|| problems(&portolan), |told| told.contains("`secrets/users` cannot be read"))
        .await;
    assert_eq!((status("secret").await, status("test").await), (200, 401));
    write(&file, &format!("ada:{TEST}\n"));
    eventually(|| problems(&portolan), |told| !told.contains("secrets/users")).await;
    assert_eq!((status("secret").await, status("test").await), (401, 200));

    let plugins = portolan.api("/api/plugins").await.to_string();
    assert!(plugins.contains(&format!("files: {}", config.path("secrets").display())), "{plugins}");
    // Its path is shown, what it holds is nowhere.
    let shown = portolan.api("/api/http/middlewares/door@consul").await.to_string();
    assert!(shown.contains("\"usersFile\":\"secrets/users\""), "{shown}");
    let raw = portolan.api("/api/rawdata").await.to_string();
    let kept = fs::read_dir(config.path("data/state")).unwrap();
    let kept = kept.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    for told in [shown, raw, portolan.log()].into_iter().chain(kept) {
        assert!(!told.contains(SECRET) && !told.contains(TEST), "{told}");
    }
}

#[tokio::test]
async fn what_is_not_granted_closes_its_routers_and_says_what_to_write() {
    let (consul, backend) = (Consul::start().await, Backend::start("shop").await);
    let config = Config::with_consul(&consul.url(), "");
    write(&config.path("secrets/users"), &format!("ada:{SECRET}\n"));
    write(&config.path("elsewhere/users"), &format!("ada:{SECRET}\n"));
    let portolan = Portolan::start(&config);
    register(&consul, &backend, "secrets/users").await;
    let status = async || status(&portolan, "shop.local", "secret").await;
    eventually(status, |status| *status == 503).await;
    let told = problems(&portolan).await;
    assert!(told.contains("`secrets/users` is not granted to `basic-auth`"), "{told}");
    let line = r#"write `grants = { files = [\"secrets/users\"] }` under `[plugins.basic-auth]`"#;
    assert!(told.contains(line), "{told}");

    // Another file, and way out of the folder, whoever laid it.
    let text = fs::read_to_string(config.path("config.toml")).unwrap();
    config.replace(&format!("{text}{GRANT}"));
    eventually(status, |status| *status == 200).await;
    for path in ["elsewhere/users", "secrets/../elsewhere/users"] {
        register(&consul, &backend, path).await;
        let told = format!("`{path}` is not granted");
        eventually(|| problems(&portolan), |problems| problems.contains(&told)).await;
        assert_eq!(status().await, 503, "{path}");
    }
    symlink(config.path("elsewhere/users"), config.path("secrets/leaves")).unwrap();
    register(&consul, &backend, "secrets/leaves").await;
    let told = "`secrets/leaves` leads out of what is granted to `basic-auth`";
    eventually(|| problems(&portolan), |problems| problems.contains(told)).await;
    assert_eq!(status().await, 503);
    // A link within the folder is as good as a file, and one that is turned is a change.
    write(&config.path("secrets/other"), &format!("ada:{TEST}\n"));
    let turn = |to: &str| {
        symlink(to, config.path("secrets/next")).unwrap();
        fs::rename(config.path("secrets/next"), config.path("secrets/leaves")).unwrap();
    };
    turn("users");
    eventually(status, |status| *status == 200).await;
    turn("other");
    eventually(status, |status| *status == 401).await;
    assert_eq!(problems(&portolan).await, "[]");

    // What is taken back is so at once.
    turn("users");
    eventually(status, |status| *status == 200).await;
    config.replace(&text);
    eventually(status, |status| *status == 503).await;
}

#[tokio::test]
async fn config_toml_may_name_any_file_and_one_that_comes_opens_the_door() {
    let elsewhere = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| elsewhere.path().join(name));
    write(&one, &format!("ada:{SECRET}\n"));
    let tables = format!("{}{}{WHOAMI}", guarded("one", &one), guarded("two", &two));
    let config = Config::new(&tables);
    let portolan = Portolan::start(&config);
    assert_eq!(status(&portolan, "one.local", "secret").await, 200);
    assert_eq!(status(&portolan, "two.local", "secret").await, 503);
    let told = problems(&portolan).await;
    assert!(told.contains("cannot be read: No such file"), "{told}");
    write(&two, &format!("ada:{TEST}\n"));
    eventually(|| status(&portolan, "two.local", "test"), |status| *status == 200).await;
    assert_eq!(problems(&portolan).await, "[]");

    // A file that is away is no reason to refuse a configuration, nor to close when one is refused.
    fs::remove_file(&two).unwrap();
    eventually(|| problems(&portolan), |told| told.contains("goes on")).await;
    let broken = tables.replace("Host(`one.local`)", "Hots(`one.local`)");
    config.change(&broken.replace(&two.display().to_string(), "another"));
    eventually(|| problems(&portolan), |told| told.contains("did you mean `Host`?")).await;
    assert_eq!(status(&portolan, "two.local", "test").await, 200);
    config.change(&tables.replace("one.local", "uno.local"));
    eventually(|| status(&portolan, "uno.local", "secret"), |status| *status == 200).await;
    assert_eq!(status(&portolan, "two.local", "test").await, 200);
}

#[tokio::test]
async fn a_change_of_a_file_costs_no_request() {
    let config = Config::new("");
    let [one, two] = ["one", "two"].map(|name| config.path(name));
    write(&one, &format!("ada:{SECRET}\n"));
    write(&two, &format!("ada:{SECRET}\n"));
    config.change(&format!("{}{}{WHOAMI}", guarded("one", &one), guarded("two", &two)));
    let portolan = Portolan::start(&config);
    for hash in [TEST, SECRET, TEST] {
        write(&two, &format!("ada:{hash}\n"));
        let wanted = if hash == SECRET { 200 } else { 401 };
        loop {
            assert_eq!(status(&portolan, "one.local", "secret").await, 200);
            let status = status(&portolan, "two.local", "secret").await;
            if status == wanted {
                break;
            }
            assert_eq!(status, 601 - wanted);
        }
    }
}

#[tokio::test]
async fn check_reads_the_files_and_tells_of_their_lines() {
    let config = Config::new(&format!(
        "[plugins.basic-aut]\ngrants = {{ files = [\"users\"] }}\n{}{}{WHOAMI}",
        guarded("bad", Path::new("users")),
        guarded("absent", Path::new("nobody"))
    ));
    write(&config.path("users"), &format!("ada:{SECRET}\nbob\n"));
    let (code, out, err) = run(&config, &["check"]);
    let told = format!("{out}{err}");
    assert_eq!(code, 2, "{told}");
    for part in [
        "middleware `bad`: `users`: line 2: a user is written as",
        "users-file = \"users\"",
        "middleware `absent`: `nobody` cannot be read: No such file",
        "there is no plugin `basic-aut` to grant files to",
        "did you mean `basic-auth`?",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains(SECRET), "{told}");
    write(&config.path("users"), &format!("ada:{SECRET}\n"));
    write(&config.path("nobody"), &format!("ada:{SECRET}\n"));
    let (code, out, err) = run(&config, &["check"]);
    assert_eq!(code, 0, "{out}{err}");
}
