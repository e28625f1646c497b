//! An authority in memory: it answers at once, or as it is told.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use serde_json::{Value, json};

use super::DAY;
use crate::tls::acme::fetch::{Body, Fetch};

pub(super) const DIRECTORY: &str = "https://ca.test/directory";

/// An answer that is not the usual one: its status, headers and body.
pub(super) type Answer = (u16, Vec<(&'static str, String)>, String);

/// What it does next.
pub(super) struct Plan {
    /// How an order is when it was made, and after a request for a certificate.
    pub(super) made: &'static str,
    pub(super) asked: &'static str,
    /// What it says of an order that is not done: when to come back, in seconds.
    pub(super) retry: Option<u64>,
    /// How old certificates are when they come, and how old they become.
    pub(super) age: Duration,
    pub(super) life: Duration,
    /// How long it takes for each answer.
    pub(super) delay: Duration,
    /// What it answers at a path instead.
    pub(super) instead: Option<(&'static str, Answer)>,
    /// The path at which it does what is asked, and its answer is lost.
    pub(super) lost: Option<&'static str>,
    /// What it was asked for.
    pub(super) log: Vec<String>,
    orders: Vec<Order>,
}

struct Order {
    status: &'static str,
    identifiers: Value,
    /// Of its question.
    question: &'static str,
    chain: String,
}

#[derive(Clone)]
pub(super) struct Authority(Arc<Mutex<Plan>>);

impl Authority {
    pub(super) fn new() -> Self {
        let (retry, instead, lost, delay) = (None, None, None, Duration::ZERO);
        let (age, life) = (Duration::ZERO, 90 * DAY);
        let (made, asked, log, orders) = ("ready", "valid", Vec::new(), Vec::new());
        let plan = Plan { made, asked, retry, age, life, delay, instead, lost, log, orders };
        Self(Arc::new(Mutex::new(plan)))
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap()
    }

    /// How many orders were made.
    pub(super) fn orders(&self) -> usize {
        self.plan().orders.len()
    }

    /// How often it was asked for something at this path.
    pub(super) fn asked(&self, at: &str) -> usize {
        self.plan().log.iter().filter(|path| path.starts_with(at)).count()
    }

    /// How all orders are from now on.
    pub(super) fn decide(&self, status: &'static str) {
        self.plan().orders.iter_mut().for_each(|order| order.status = status);
    }

    pub(super) fn fetch(&self) -> Fetch {
        let plan = self.0.clone();
        Fetch::through(move |request: Request<Body>| {
            let plan = plan.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let delay = plan.lock().unwrap().delay;
                if !delay.is_zero() {
                    tokio::time::advance(delay).await;
                }
                let (status, lines, text) = plan.lock().unwrap().answer(&path, &body);
                let lost = plan.lock().unwrap().lost;
                if lost.is_some_and(|at| path.starts_with(at)) {
                    std::future::pending::<()>().await;
                }
                let mut headers = HeaderMap::new();
                headers.insert("replay-nonce", "n".parse().unwrap());
                for (name, value) in lines {
                    headers.insert(name, value.parse().unwrap());
                }
                Ok((StatusCode::from_u16(status).unwrap(), headers, text.into()))
            }
        })
    }
}

impl Plan {
    fn answer(&mut self, path: &str, body: &[u8]) -> Answer {
        self.log.push(path.to_owned());
        if let Some((_, answer)) = self.instead.as_ref().filter(|(at, _)| path.starts_with(at)) {
            return answer.clone();
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let payload = body["payload"].as_str().unwrap_or_default();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let (what, index) = path.trim_start_matches('/').split_once('/').unwrap_or((path, "0"));
        let index: usize = index.parse().unwrap();
        match what {
            "/directory" => {
                let url = |path: &str| format!("https://ca.test/{path}");
                let text = json!({
                    "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("new"),
                });
                (200, Vec::new(), text.to_string())
            }
            "/account" => {
                let line = ("location", "https://ca.test/account/1".to_owned());
                (201, vec![line], json!({ "status": "valid" }).to_string())
            }
            "/new" => {
                let identifiers = payload["identifiers"].clone();
                let (status, question, chain) = (self.made, "pending", String::new());
                self.orders.push(Order { status, identifiers, question, chain });
                let index = self.orders.len() - 1;
                let line = ("location", format!("https://ca.test/order/{index}"));
                (201, vec![line], self.order(index))
            }
            "order" => {
                let lines = self.retry.map(|seconds| ("retry-after", seconds.to_string()));
                (200, lines.into_iter().collect(), self.order(index))
            }
            "authorization" => {
                let text = json!({
                    "identifier": self.orders[index].identifiers[0], "status": "pending",
                    "challenges": [{
                        "type": "http-01", "url": format!("https://ca.test/challenge/{index}"),
                        "token": format!("token-{index}"), "status": self.orders[index].question,
                    }],
                });
                (200, Vec::new(), text.to_string())
            }
            "challenge" => {
                self.orders[index].question = "processing";
                let text = json!({
                    "type": "http-01", "url": "https://ca.test/challenge/0", "status": "processing",
                });
                (200, Vec::new(), text.to_string())
            }
            "finalize" => {
                self.orders[index].chain = self.sign(payload["csr"].as_str().unwrap());
                self.orders[index].status = self.asked;
                (200, Vec::new(), self.order(index))
            }
            "chain" => (200, Vec::new(), self.orders[index].chain.clone()),
            _ => (200, Vec::new(), String::new()),
        }
    }

    fn order(&self, index: usize) -> String {
        let url = |what| format!("https://ca.test/{what}/{index}");
        json!({
            "status": self.orders[index].status, "authorizations": [url("authorization")],
            "finalize": url("finalize"), "certificate": url("chain"),
        })
        .to_string()
    }

    fn sign(&self, request: &str) -> String {
        let request = BASE64_URL_SAFE_NO_PAD.decode(request).unwrap();
        let mut request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let from = SystemTime::now() - self.age;
        request.params.not_before = from.into();
        request.params.not_after = (from + self.life).into();
        let key = KeyPair::generate().unwrap();
        request.signed_by(&Issuer::new(CertificateParams::default(), key)).unwrap().pem()
    }
}
