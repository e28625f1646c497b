//! Another server decides who may pass, as the documentation of Authelia, Authentik and oauth2-proxy
//! has it configured.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use crate::support::{
    Answer, Authority, Backend, Config, Consul, Portolan, Registration, eventually, free_ports,
    request_with, run,
};

/// A server that knows Ada by her cookie, and sends others to its portal.
struct Portal {
    address: SocketAddr,
    /// The questions, in lower case.
    asked: mpsc::UnboundedReceiver<String>,
}

/// What it says of Ada, under the names of each product.
const ADA: &str = "HTTP/1.1 200 OK\r\nRemote-User: ada\r\nRemote-Groups: admins\r\nRemote-Email: a@b\r\n\
    X-Authentik-Username: ada\r\nX-Auth-Request-User: ada\r\nContent-Length: 0\r\n\r\n";
const STRANGER: &str = "HTTP/1.1 302 Found\r\nLocation: https://auth.local/?rd=x\r\n\
    Content-Length: 3\r\n\r\nwho";

impl Portal {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while let Ok(1..) = stream.read_buf(&mut head).await {
                        if !head.ends_with(b"\r\n\r\n") {
                            continue;
                        }
                        let text = String::from_utf8_lossy(&head).to_lowercase();
                        let is_ada = text.contains("cookie: session=ada");
                        told.send(text).ok();
                        let answer = if is_ada { ADA } else { STRANGER };
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                        head.clear();
                    }
                });
            }
        });
        Self { address, asked }
    }

    async fn question(&mut self) -> String {
        self.asked.recv().await.unwrap()
    }
}

/// What Ada gets, or somebody else, who says that they are somebody.
async fn ask(portolan: &Portolan, host: &str, session: &str) -> Answer {
    let mut request = request_with(host, "cookie", &format!("session={session}"));
    for name in ["remote-user", "x-authentik-username", "x-auth-request-user", "x-forwarded-uri"] {
        request.headers_mut().insert(name, "forged".parse().unwrap());
    }
    portolan.http().send(request).await.unwrap()
}

async fn is_guarded(portolan: &Portolan, host: &str, introduced: &str) {
    let answer = eventually(|| ask(portolan, host, "ada"), |answer| answer.status == 200).await;
    assert!(answer.body.contains(introduced), "{answer:?}");
    let name = introduced.split(':').next().unwrap();
    assert!(!answer.body.contains(&format!("{name}: forged")), "{answer:?}");
    let answer = ask(portolan, host, "eve").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (302, "who"));
    assert_eq!(answer.header("location"), "https://auth.local/?rd=x");
}

#[tokio::test]
async fn tags_as_authelia_has_them_guard_a_service() {
    let (consul, backend) = (Consul::start().await, Backend::start("shop").await);
    let mut portal = Portal::start().await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let middleware = "traefik.http.middlewares.authelia.forwardauth";
    let address = format!("{middleware}.address=http://{}/api/authz/forward-auth", portal.address);
    let tags = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.middlewares=authelia",
        &address,
        &format!("{middleware}.trustForwardHeader=true"),
        &format!(
            "{middleware}.authResponseHeaders=Remote-User,Remote-Groups,Remote-Email,Remote-Name"
        ),
    ];
    let registration =
        Registration { id: "shop-1", service: "shop", address: backend.address, tags: &tags };
    consul.register(&registration).await;
    is_guarded(&portolan, "shop.local", "remote-user: ada").await;
    let question = portal.question().await;
    assert!(question.starts_with("get /api/authz/forward-auth http/1.1"), "{question}");
    for line in [
        "x-forwarded-method: get",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.local",
        "x-forwarded-uri: /",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(question.contains(&format!("{line}\r\n")), "{line}: {question}");
    }
    let shown = portolan.api("/api/http/middlewares/authelia@consul").await;
    assert_eq!(shown["forwardauth"]["trustForwardHeader"], json!(true), "{shown}");
    assert_eq!(shown["forwardauth"]["authResponseHeaders"][3], json!("Remote-Name"), "{shown}");
    assert_eq!(shown["status"], json!("enabled"), "{shown}");
    let explained = portolan.api("/api/explain?method=GET&url=http%3A%2F%2Fshop.local%2F").await;
    let explained = explained.to_string();
    let asks = format!("asks http://{}/api/authz/forward-auth (GET), 4 headers", portal.address);
    assert!(explained.contains(&asks), "{explained}");
    assert!(explained.contains("if `authelia@consul` lets it through"), "{explained}");
}

#[tokio::test]
async fn files_as_authentik_and_oauth2_proxy_have_them_guard_services() {
    let (portal, backend) = (Portal::start().await, Backend::start("b").await);
    let config = Config::new(&format!(
        "[providers.static]\nplugin = \"file\"\nconfig = {{ directory = \"dynamic\" }}\n\
         grants = {{ files = [\"dynamic\"] }}\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [http.routers.own]\nrule = \"Host(`own.local`)\"\nservice = \"b\"\nmiddlewares = [\"own\"]\n\
         [http.middlewares.own.forward-auth]\naddress = \"http://{}\"\n\
         auth-response-headers-regex = \"^Remote-\"\n",
        backend.url(),
        portal.address
    ));
    let yaml = format!(
        "http:
  routers:
    authentik:
      rule: Host(`authentik.local`)
      service: b@config
      middlewares: [authentik]
  middlewares:
    authentik:
      forwardAuth:
        address: http://{}/outpost.goauthentik.io/auth/traefik
        trustForwardHeader: true
        maxResponseBodySize: 4194304
        authResponseHeaders:
          - X-authentik-username
          - X-authentik-groups
          - X-authentik-jwt
",
        portal.address
    );
    std::fs::write(config.path("dynamic/authentik.yaml"), yaml).unwrap();
    let toml = format!(
        "[http.routers.oauth]\nrule = \"Host(`oauth.local`)\"\nservice = \"b@config\"\n\
         middlewares = [\"oauth-auth-redirect\"]\n\
         [http.middlewares.oauth-auth-redirect.forwardAuth]\naddress = \"http://{}/\"\n\
         trustForwardHeader = true\nauthResponseHeaders = [\"X-Auth-Request-User\", \"Set-Cookie\"]\n",
        portal.address
    );
    std::fs::write(config.path("dynamic/oauth.toml"), toml).unwrap();
    let portolan = Portolan::start(&config);
    is_guarded(&portolan, "authentik.local", "x-authentik-username: ada").await;
    is_guarded(&portolan, "oauth.local", "x-auth-request-user: ada").await;
    is_guarded(&portolan, "own.local", "remote-user: ada").await;
}

#[tokio::test]
async fn an_authority_that_is_away_lets_nobody_pass_and_the_log_says_why() {
    let (backend, nobody) = (Backend::start("b").await, free_ports::<1>()[0]);
    let config = Config::new(&format!(
        "[access-log]\nfile = \"access.log\"\nformat = \"json\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [http.routers.r]\nrule = \"Host(`a`)\"\nservice = \"b\"\nmiddlewares = [\"auth\"]\n\
         [http.middlewares.auth.forward-auth]\naddress = \"http://127.0.0.1:{nobody}/\"\n",
        backend.url()
    ));
    let portolan = Portolan::start(&config);
    let answer = portolan.http().get("a", "/").await;
    assert_eq!((answer.status.as_u16(), backend.requests()), (503, 0), "{answer:?}");
    let log = portolan.log_until("the authority gave no answer");
    assert!(log.contains("no-authority") && log.contains("auth@config"), "{log}");
    let lines = || async { std::fs::read_to_string(config.path("access.log")).unwrap_or_default() };
    let line = eventually(lines, |lines| lines.ends_with('\n')).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["DownstreamStatus"], json!(503), "{line}");
}

#[tokio::test]
async fn the_user_whom_the_authority_names_is_in_the_access_log() {
    let (portal, backend) = (Portal::start().await, Backend::start("b").await);
    let config = Config::new(&format!(
        "[access-log]\nfile = \"access.log\"\nformat = \"json\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [http.routers.r]\nrule = \"Host(`a`)\"\nservice = \"b\"\nmiddlewares = [\"auth\"]\n\
         [http.middlewares.auth.forward-auth]\naddress = \"http://{}/\"\nheader-field = \"Remote-User\"\n",
        backend.url(),
        portal.address
    ));
    let portolan = Portolan::start(&config);
    assert_eq!(ask(&portolan, "a", "ada").await.status, 200);
    let lines = || async { std::fs::read_to_string(config.path("access.log")).unwrap_or_default() };
    let line = eventually(lines, |lines| lines.ends_with('\n')).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["ClientUsername"], json!("ada"), "{line}");
}

#[tokio::test]
async fn an_authority_is_trusted_as_its_tls_says_and_no_key_is_shown() {
    let (own, clients) = (Authority::new("own"), Authority::new("clients"));
    let acceptor = own.leaf("127.0.0.1").acceptor_of(&clients);
    let authority = Backend::start_tls("auth", acceptor).await;
    let backend = Backend::start("b").await;
    let router = |name: &str, tls: &str| {
        format!(
            "[http.routers.{name}]\nrule = \"Host(`{name}`)\"\nservice = \"b\"\n\
             middlewares = [\"{name}\"]\n\
             [http.middlewares.{name}.forwardAuth]\naddress = \"https://{}\"\n\
             authResponseHeaders = [\"X-Backend\"]\n[http.middlewares.{name}.forwardAuth.tls]\n{tls}\n",
            authority.address
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    std::fs::write(&ca, own.pem()).unwrap();
    clients.leaf("me").write(cert.as_ref(), key.as_ref());
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let shows = format!("cert = \"{cert}\"\nkey = \"{key}\"");
    let config = Config::new(&format!(
        "[http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n{}{}{}{}{}",
        backend.url(),
        router("files", &format!("ca = \"{ca}\"\n{shows}")),
        router(
            "texts",
            &format!(
                "ca = \"\"\"{}\"\"\"\ncert = \"\"\"{}\"\"\"\nkey = \"\"\"{}\"\"\"",
                own.pem(),
                read(&cert),
                read(&key)
            )
        ),
        router("any", &format!("insecureSkipVerify = true\n{shows}")),
        router("stranger", &shows),
        router("nameless", &format!("ca = \"{ca}\"\ncaOptional = true")),
    ));
    let portolan = Portolan::start(&config);
    for host in ["files", "texts", "any"] {
        let answer = portolan.http().get(host, "/").await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
        assert!(answer.body.contains("x-backend: auth"), "{answer:?}");
    }
    for host in ["stranger", "nameless"] {
        assert_eq!(portolan.http().get(host, "/").await.status, 503, "{host}");
    }
    for path in ["/api/http/middlewares", "/api/rawdata"] {
        let shown = portolan.api(path).await.to_string();
        assert!(shown.contains(&key) && !shown.contains("PRIVATE KEY"), "{shown}");
    }
    // Another authority in the same file is trusted from then on, and this one not any more.
    std::fs::write(&ca, clients.pem()).unwrap();
    let files = || async { portolan.http().get("files", "/").await.status.as_u16() };
    eventually(files, |status| *status == 503).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_at_its_line_and_costs_that_middleware() {
    let backend = Backend::start("b").await;
    let text = |middleware: &str| {
        format!(
            "[http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
             [http.routers.r]\nrule = \"Host(`a`)\"\nservice = \"b\"\nmiddlewares = [\"auth\"]\n\
             [http.routers.free]\nrule = \"Host(`free`)\"\nservice = \"b\"\n\
             [http.middlewares.auth.forward-auth]\n{middleware}\n",
            backend.url()
        )
    };
    let good = "address = \"http://127.0.0.1:1\"\n";
    for (line, told) in [
        ("address = \"authelia:9091\"", "`authelia:9091` is no URL"),
        ("trust-forward-header = true", "the URL of the server that is asked is missing"),
        (&format!("{good}auth-respons-headers = []"), "did you mean `auth-response-headers`?"),
        (&format!("{good}auth-response-headers-regex = \"a(\""), "open group"),
        (&format!("{good}max-body-size = \"much\""), "max-body-size"),
        (&format!("{good}tls = {{ ca = \"nowhere.pem\" }}"), "nowhere.pem"),
    ] {
        let config = Config::new(&text(line));
        let (code, out, error) = run(&config, &["check"]);
        assert!(code != 0 && format!("{out}{error}").contains(told), "{told}: {out}{error}");
    }
    let config = Config::new(&text("address = \"authelia:9091\""));
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/").await.status, 503);
    assert_eq!(portolan.http().get("free", "/").await.status, 200);
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("`authelia:9091` is no URL"), "{problems}");
}
