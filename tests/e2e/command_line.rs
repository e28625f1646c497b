//! `check`, `plugins`, `explain`: what an operator types.

use crate::support::{Config, Portolan, run};

const GOOD: &str = "[http.routers.r]\nrule = \"Host(`a.local`)\"\nmiddlewares = [\"whoami\"]\n\
    [http.middlewares.whoami.whoami]\n";

#[tokio::test]
async fn check_finds_every_problem_at_its_line() {
    let good = Config::new(GOOD);
    let (code, out, err) = run(&good, &["check"]);
    assert_eq!(code, 0, "{out}{err}");
    let bad = Config::new(&format!(
        "{}\n[http.routers.s]\nrule = \"Hots(`a`)\"\nruel = \"x\"\n\
         [http.middlewares.m.strip-prefix]\nprefixs = [\"/a\"]\n[dns2]\n",
        GOOD.replace("Host(`a.local`)", "Host(`a.local`")
    ));
    let (code, out, err) = run(&bad, &["check"]);
    let said = format!("{out}{err}");
    assert_eq!(code, 2, "{said}");
    for word in
        ["did you mean `Host`?", "did you mean `rule`?", "did you mean `dns`?", "config.toml:"]
    {
        assert!(said.contains(word), "it does not say {word}:\n{said}");
    }
}

#[tokio::test]
async fn plugins_and_explain_answer_in_plain_lines() {
    let config = Config::new(GOOD);
    let portolan = Portolan::start(&config);
    let (code, out, err) = run(&config, &["plugins"]);
    assert_eq!(code, 0, "{err}");
    for plugin in ["consul", "file", "headers", "request-id", "whoami", "http-client"] {
        assert!(out.contains(plugin), "no {plugin} in\n{out}");
    }
    let (code, out, err) = run(&config, &["explain", "GET", "http://a.local/"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("r@config") && out.contains("127.0.0.9"), "{out}");
    drop(portolan);
    let (code, _, err) = run(&config, &["explain", "GET", "http://a.local/"]);
    assert_ne!(code, 0);
    assert!(err.contains("no Portolan answers"), "{err}");
}
