//! Who asks too much: `rate-limit` and `in-flight-req`, as Traefik's users write it, and over reloads.

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Answer, Backend, Config, Consul, Portolan, Registration, eventually, request_with, run,
};

/// Routers on these hosts that use the middleware `m`, and their service.
fn routers(hosts: &[&str], backend: &Backend) -> String {
    let router = |host: &&str| {
        format!(
            "[http.routers.{host}]\nrule = \"Host(`{host}`)\"\nservice = \"b\"\n\
             middlewares = [\"m\"]\n"
        )
    };
    let routers: String = hosts.iter().map(router).collect();
    let url = backend.url();
    format!("{routers}[http.services.b.load-balancer]\nservers = [{{ url = \"{url}\" }}]\n")
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status.as_u16()).collect()
}

#[tokio::test]
async fn a_limit_from_tags_of_traefik_holds_and_is_seen_everywhere() {
    let (consul, backend) = (Consul::start().await, Backend::start("b").await);
    let config = Config::with_consul(&consul.url(), "[access-log]\nfile = \"access.log\"\n");
    let portolan = Portolan::start(&config);
    let tags = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.middlewares=slow",
        "traefik.http.middlewares.slow.ratelimit.average=2",
        "traefik.http.middlewares.slow.ratelimit.period=1h",
        "traefik.http.middlewares.slow.rateLimit.burst=3",
        "traefik.http.middlewares.slow.ratelimit.sourcecriterion.ipstrategy.ipv6subnet=64",
    ];
    let address = backend.address;
    let registration = Registration { id: "shop-1", service: "shop", address, tags: &tags };
    consul.register(&registration).await;
    let known = || async { portolan.api("/api/http/routers").await.to_string() };
    eventually(known, |routers| routers.contains("shop@consul")).await;

    // To explain is not to ask.
    for _ in 0..5 {
        let told = portolan.api("/api/explain?method=GET&url=http://shop.local/").await;
        let says = told.to_string();
        assert!(says.contains("if `slow@consul` lets it through"), "{says}");
        assert!(says.contains("lets each client address make 2 requests in 3600s"), "{says}");
    }
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(portolan.http().get("shop.local", "/").await);
    }
    assert_eq!(statuses(&answers), [200, 200, 200, 429, 429]);
    let refused = &answers[4];
    assert_eq!(refused.body, "Too Many Requests");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1700, "{refused:?}");
    assert!(refused.header("x-retry-in").starts_with("29m"), "{refused:?}");
    assert_eq!(backend.requests(), 3);

    let middlewares = portolan.api("/api/http/middlewares").await;
    let shown = &middlewares[0];
    assert_eq!((&shown["type"], &shown["status"]), (&"ratelimit".into(), &"enabled".into()));
    assert_eq!(shown["ratelimit"]["average"], 2, "{shown}");
    assert_eq!(shown["portolan"]["refused"], 2, "{shown}");
    let page = portolan.admin().get("localhost", "/metrics").await.body;
    let line = "portolan_middleware_refused_total{middleware=\"slow@consul\"} 2";
    assert!(page.contains(line), "{page}");
    let log = || async { std::fs::read_to_string(config.path("access.log")).unwrap_or_default() };
    let log = eventually(log, |log| log.lines().count() == 5).await;
    let line = log.lines().find(|line| line.contains(" 429 ")).unwrap();
    assert!(line.contains("\"shop@consul\" \"-\""), "no service: {line}");
}

#[tokio::test]
async fn what_a_source_has_used_outlives_reloads_and_is_shared_by_all_threads() {
    let backend = Backend::start("b").await;
    let limit = "[http.middlewares.m.rate-limit]\naverage = 1\nperiod = \"1h\"\nburst = 40\n";
    let config = Config::new(&format!("{}{limit}", routers(&["a"], &backend)));
    let portolan = Portolan::start(&config);
    let http = portolan.http();
    // Each asks on connections of its own, so that every thread gets some.
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let mut passed = 0;
                for _ in 0..50 {
                    passed += usize::from(http.get("a", "/").await.status == 200);
                }
                passed
            })
        })
        .collect();
    for other in ["b", "c", "d", "e"] {
        config.change(&format!("{}{limit}", routers(&["a", other], &backend)));
        let known = || async { portolan.api("/api/http/routers").await.to_string() };
        eventually(known, |routers| routers.contains(&format!("{other}@config"))).await;
    }
    let mut passed = 0;
    for one in crowd {
        passed += one.await.unwrap();
    }
    assert_eq!((passed, backend.requests()), (40, 40));
    // Each router has its own.
    assert_eq!(http.get("e", "/").await.status, 200);
    // What is refused changes nothing; another limit begins anew.
    let broken = limit.replace("average = 1", "average = -1");
    config.change(&format!("{}{broken}", routers(&["a"], &backend)));
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |told| told.contains("must be at least 0")).await;
    assert_eq!(http.get("a", "/").await.status, 429);
    config.change(&format!("{}{}", routers(&["a"], &backend), limit.replace("40", "1")));
    eventually(|| http.get("a", "/"), |answer| answer.status == 200).await;
    assert_eq!(http.get("a", "/").await.status, 429);
}

#[tokio::test]
async fn sources_are_told_apart_as_the_criterion_says() {
    let backend = Backend::start("b").await;
    let once = "average = 1\nperiod = 3600\n";
    let of = |more: &str| format!("[http.middlewares.m.rateLimit]\n{once}{more}");
    let header = "sourceCriterion = { requestHeaderName = \"X-Key\" }\n";
    let host = "sourceCriterion = { requestHost = true }\nscope = \"middleware\"\n";
    let depth = "sourceCriterion = { ipStrategy = { depth = 1 } }\n\
        [entrypoints.web.forwarded-headers]\ntrusted-ips = [\"127.0.0.1\"]\n";
    for (more, asked) in [
        ("", [("a", "x-key", "1", 200), ("a", "x-key", "2", 429), ("b", "x-key", "1", 200)]),
        (header, [("a", "x-key", "1", 200), ("a", "x-key", "2", 200), ("a", "x-key", "1", 429)]),
        (host, [("a", "x-key", "1", 200), ("A:80", "x-key", "2", 429), ("b", "x-key", "1", 200)]),
        (
            "scope = \"middleware\"\n",
            [("a", "x-key", "1", 200), ("b", "x-key", "1", 429), ("b", "x-key", "2", 429)],
        ),
        (
            depth,
            [
                ("a", "x-forwarded-for", "6.6.6.6, 10.0.0.1", 200),
                ("a", "x-forwarded-for", "7.7.7.7, 10.0.0.1", 429),
                ("a", "x-forwarded-for", "10.0.0.1, 10.0.0.2", 200),
            ],
        ),
    ] {
        let config = Config::new(&format!("{}{}", routers(&["a", "b"], &backend), of(more)));
        let portolan = Portolan::start(&config);
        for (host, name, value, expected) in asked {
            let answer = portolan.http().send(request_with(host, name, value)).await.unwrap();
            assert_eq!(answer.status, expected, "{more}: {host} {value}");
        }
    }
}

#[tokio::test]
async fn files_of_traefik_have_limits_and_bad_ones_cost_their_routers_alone() {
    let backend = Backend::start("b").await;
    let config = Config::new(
        "[providers.static]\nplugin = \"file\"\nconfig = { directory = \"dynamic\" }\n\
         grants = { files = [\"dynamic\"] }\n",
    );
    let yaml = format!(
        "http:
  routers:
    good:
      rule: Host(`good`)
      service: web
      middlewares: [good]
    bad:
      rule: Host(`bad`)
      service: web
      middlewares: [bad]
  middlewares:
    good:
      rateLimit:
        average: 1
        period: 1h
        redis:
          endpoints: [\"127.0.0.1:6379\"]
    bad:
      rateLimit:
        average: 1
        period: soon
        sourceCriterion:
          requestHost: true
          ipStrategy:
            depth: 1
  services:
    web:
      loadBalancer:
        servers:
          - url: {}
",
        backend.url()
    );
    std::fs::write(config.path("dynamic/limits.yaml"), yaml).unwrap();
    let toml = routers(&["toml"], &backend)
        + "[http.middlewares.m.rateLimit]\naverage = 1\nperiod = \"100m\"\n";
    std::fs::write(config.path("dynamic/more.toml"), toml).unwrap();
    let (code, _, told) = run(&config, &["check"]);
    assert_eq!(code, 2, "{told}");
    for says in [
        "limits.yaml",
        "expected a duration such as `1m30s`",
        "requests are counted by one thing, and there is `ip-strategy` already",
    ] {
        assert!(told.contains(says), "it does not say {says}:\n{told}");
    }
    let portolan = Portolan::start(&config);
    for host in ["good", "toml"] {
        eventually(|| portolan.http().get(host, "/"), |answer| answer.status == 200).await;
        assert_eq!(portolan.http().get(host, "/").await.status, 429, "{host}");
    }
    assert_eq!(portolan.http().get("bad", "/").await.status, 503);
    portolan.log_until("each node counts by itself");
}

#[tokio::test]
async fn what_is_under_way_counts_over_a_change_of_the_limit() {
    let consul = Consul::start().await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    // Accepts, and answers when it is told to.
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = backend.local_addr().unwrap();
    let register = async |amount: &str| {
        let amount = format!("traefik.http.middlewares.few.inflightreq.amount={amount}");
        let tags = [
            "traefik.http.routers.shop.rule=Host(`shop.local`)",
            "traefik.http.routers.shop.middlewares=few",
            &amount,
        ];
        let registration = Registration { id: "shop-1", service: "shop", address, tags: &tags };
        consul.register(&registration).await;
    };
    let shown = |words: &'static str| {
        let middlewares = || async { portolan.api("/api/http/middlewares").await.to_string() };
        eventually(middlewares, move |shown| shown.contains(words))
    };
    let http = portolan.http();
    let ask = || tokio::spawn(http.get("shop.local", "/"));
    register("1").await;
    shown("lets each host have 1 request under way at each router").await;
    let one = ask();
    let (first, _) = backend.accept().await.unwrap();
    assert_eq!(http.get("shop.local", "/").await.status, 429);
    register("2").await;
    shown("2 requests under way").await;
    let two = ask();
    let (second, _) = backend.accept().await.unwrap();
    assert_eq!(http.get("shop.local", "/").await.status, 429);
    // Nor does it let go of one who is above a lower limit.
    register("1").await;
    shown("1 request under way").await;
    let answer = async |mut stream: TcpStream| {
        let text = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(text).await.unwrap();
    };
    answer(first).await;
    assert_eq!(one.await.unwrap().status, 200);
    assert_eq!(http.get("shop.local", "/").await.status, 429);
    answer(second).await;
    assert_eq!(two.await.unwrap().status, 200);
    let three = ask();
    answer(backend.accept().await.unwrap().0).await;
    assert_eq!(three.await.unwrap().status, 200);
    let shown = shown("refused").await;
    assert!(shown.contains("\"refused\":3"), "{shown}");
}
