//! What is said of instances that HTTP leaves out.

use super::{Question, ask, serve};
use crate::admin::explain::print::print;

#[tokio::test]
async fn what_is_left_out_is_told_with_its_reason() {
    let server = serve(0, "127.0.0.1:0").await;
    let service = server.get("/api/http/services/grafana@consul").await.json();
    let reason = "`strict-checks` does not have `warning`";
    assert_eq!(service["portolan"]["leftOut"][0]["reason"], reason);
    assert_eq!(service["portolan"]["leftOut"][0]["instances"][0], "grafana-2");
    let missing = server.get("/api/http/services/ledger@consul").await;
    assert_eq!(missing.status, 404);
    let expected = "service not found: ledger@consul; 2 instances of `ledger@consul` left out: \
        `constraints` does not match its tags; 1 instance of `ledger@consul` left out: its tag \
        `traefik.enable` says so";
    assert_eq!(missing.json()["message"], expected);
    let list = server.get("/api/left-out?search=LEDGER-1").await;
    assert_eq!((list.header("x-total-count"), list.json()[0]["count"].as_u64()), ("1", Some(2)));
    let question = Question { url: "ledger.local".to_owned(), ..Question::default() };
    let question = Question { method: "GET".to_owned(), ..question };
    let explanation = ask::ask(server.address, &question).await.unwrap();
    assert_eq!(explanation.verdict, "404: no router takes it");
    assert_eq!(explanation.left_out.len(), 2);
    let text = print(&explanation);
    let expected =
        "left out     2 instances of ledger@consul: `constraints` does not match its tags";
    assert!(text.contains(expected), "{text}");
}
