//! What certificate authorities ask to see before they certify a name (RFC 8555, 8; RFC 8737):
//! a file below a well-known path, or a certificate that nobody else would show.
//!
//! **Invariant:** only a question that an order of ours, or of a node that shares our storage, is
//! waiting for gets an answer; all others go their usual way.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use hashbrown::HashMap;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::TlsError;

/// Where HTTP-01 is answered (RFC 8555, 8.3).
pub(crate) const PATH: &str = "/.well-known/acme-challenge/";
/// The protocol by which TLS-ALPN-01 is known (RFC 8737, 4).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";
/// How long another node's answer is waited for. The authority waits about ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answers that are waiting to be asked for.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    /// Key authorizations: of HTTP-01 by token, of TLS-ALPN-01 by name.
    answers: ArcSwap<HashMap<Question, Arc<str>>>,
    /// Changes of `answers` come one after the other.
    changing: Mutex<()>,
    /// Who knows of what other nodes have ordered; `None`: there are none.
    others: ArcSwapOption<mpsc::Sender<Ask>>,
}

/// What an authority asks for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Question {
    /// HTTP-01, by its token.
    Token(String),
    /// TLS-ALPN-01, by its name.
    Name(String),
}

/// A question that another node may have the answer to.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) question: Question,
    pub(crate) answer: oneshot::Sender<Option<Arc<str>>>,
}

/// An answer that is given until this is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Posted {
    challenges: Arc<Challenges>,
    question: Question,
    answer: Arc<str>,
}

impl Drop for Posted {
    fn drop(&mut self) {
        // Another order may have put its own there since.
        self.challenges.change(|answers| {
            if answers.get(&self.question).is_some_and(|it| Arc::ptr_eq(it, &self.answer)) {
                answers.remove(&self.question);
            }
        });
    }
}

impl Challenges {
    /// This question has an answer as long as what is returned is held.
    pub(super) fn post(self: &Arc<Self>, question: Question, answer: &str) -> Posted {
        let answer: Arc<str> = answer.into();
        self.change(|answers| drop(answers.insert(question.clone(), answer.clone())));
        Posted { challenges: self.clone(), question, answer }
    }

    /// Who is asked for the answers of other nodes.
    pub(super) fn ask_others(&self, others: Option<mpsc::Sender<Ask>>) {
        self.others.store(others.map(Arc::new));
    }

    /// The answer to the question that a path asks: the body of the response.
    pub(crate) async fn of_path(&self, path: &str) -> Option<Arc<str>> {
        let token = path.strip_prefix(PATH)?;
        // Base64 for URLs (RFC 8555, 8.3): nothing else can be a token, nor leave the path.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if token.is_empty() || token.len() > 256 || !token.chars().all(plain) {
            return None;
        }
        self.answer(Question::Token(token.to_owned())).await
    }

    /// The configuration of the TLS library that proves that a name is ours.
    pub(super) async fn of_name(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let answer = self.answer(Question::Name(name.to_ascii_lowercase())).await?;
        match proof(name, &answer) {
            Ok(server) => Some(server),
            Err(error) => {
                tracing::warn!(name, %error, "no proof for a certificate authority");
                None
            }
        }
    }

    async fn answer(&self, question: Question) -> Option<Arc<str>> {
        if let Some(answer) = self.answers.load().get(&question) {
            return Some(answer.clone());
        }
        let others = self.others.load_full()?;
        let (answer, answered) = oneshot::channel();
        // Full: somebody asks for many tokens that are none.
        others.try_send(Ask { question, answer }).ok()?;
        timeout(PATIENCE, answered).await.ok()?.ok()?
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Question, Arc<str>>)) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = HashMap::clone(&self.answers.load());
        change(&mut answers);
        self.answers.store(Arc::new(answers));
    }
}

/// A certificate that proves a name (RFC 8737, 3): signed by itself, with the digest of the answer.
fn proof(name: &str, answer: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let refuse = |source| TlsError::Mint { name: name.to_owned(), source };
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, answer.as_bytes());
    let key = KeyPair::generate().map_err(refuse)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(refuse)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let cert = params.self_signed(&key).map_err(refuse)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(TlsError::Provider)?;
    let proof = Proof(Arc::new(CertifiedKey::new(vec![cert.der().clone()], key)));
    let mut server = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(proof));
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(server))
}

#[derive(Debug)]
struct Proof(Arc<CertifiedKey>);

impl ResolvesServerCert for Proof {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_while_an_order_waits_for_it() {
        let challenges = Arc::<Challenges>::default();
        let path = format!("{PATH}abc_-9");
        assert_eq!(challenges.of_path(&path).await, None);
        let question = Question::Token("abc_-9".to_owned());
        let posted = challenges.post(question.clone(), "abc_-9.thumb");
        assert_eq!(challenges.of_path(&path).await.as_deref(), Some("abc_-9.thumb"));
        for other in ["/abc_-9", PATH, &format!("{path}/"), &format!("{PATH}..%2Fabc_-9")] {
            assert_eq!(challenges.of_path(other).await, None, "{other}");
        }
        // One order does not take the answer of another with it.
        let other = challenges.post(question, "abc_-9.other");
        drop(posted);
        assert_eq!(challenges.of_path(&path).await.as_deref(), Some("abc_-9.other"));
        drop(other);
        assert_eq!(challenges.of_path(&path).await, None);
    }

    #[tokio::test]
    async fn a_name_is_proved_by_a_certificate_for_it() {
        let challenges = Arc::<Challenges>::default();
        let _posted = challenges.post(Question::Name("a.test".to_owned()), "token.thumb");
        let server = challenges.of_name("A.test").await.unwrap();
        assert_eq!(server.alpn_protocols, [PROTOCOL]);
        assert!(challenges.of_name("b.test").await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn another_node_is_asked_and_not_waited_for_for_ever() {
        let challenges = Challenges::default();
        let (others, mut asked) = mpsc::channel(1);
        challenges.ask_others(Some(others));
        let path = format!("{PATH}far");
        let answering = async {
            let Ask { question, answer } = asked.recv().await.unwrap();
            assert_eq!(question, Question::Token("far".to_owned()));
            answer.send(Some("far.thumb".into())).unwrap();
        };
        let (answer, ()) = tokio::join!(challenges.of_path(&path), answering);
        assert_eq!(answer.as_deref(), Some("far.thumb"));
        // Nobody takes the next question up.
        assert_eq!(challenges.of_path(&path).await, None);
    }
}
