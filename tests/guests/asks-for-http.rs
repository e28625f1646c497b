//! A middleware that imports `http-client`, which middleware does not get: a request would wait.

use portolan_plugin::http_client::{Outgoing, send};

guests::on_misbehave!(AsksForHttp, "asks-for-http", "Wants to go outside.", |request: &Request| {
    let outgoing = Outgoing {
        method: "GET".to_owned(),
        url: format!("http://127.0.0.1{}", request.target()),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 1000,
        max_body: 1024,
    };
    match send(&outgoing) {
        Ok(_) => Verdict::proceed(),
        Err(error) => Verdict::Fail(error.to_string()),
    }
});
