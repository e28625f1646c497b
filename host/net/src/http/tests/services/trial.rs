//! Backends that were left alone and come back.

use super::*;

fn now() -> Moment {
    Moment::of(std::time::Instant::now())
}

#[tokio::test]
async fn one_request_tries_a_backend_that_was_left_alone_and_the_others_go_elsewhere() {
    let (slow, gate, mut asked) = held().await;
    let good = named(200, "good").await;
    let passive = Passive {
        on_status: true,
        max_failed_attempts: 1,
        ejection: Duration::from_millis(1),
        ..Passive::default()
    };
    let service = to(&[slow.address, good.address], |it| it.passive = passive.clone());
    let standing = |service: &Service| service.backends[0].figures.clone();
    let figures = standing(&service);
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    figures.standing.failed(now(), now(), &passive).unwrap();
    soon(async {
        while figures.standing.is_ejected(now()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for leaves in [true, false] {
        let mut client = portolan.connect().await;
        loop {
            client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
            tokio::select! {
                asked = asked.recv() => break asked.unwrap(),
                answer = client.response() => assert_eq!(answer.body, "good"),
            }
        }
        assert_eq!(answers(&portolan, 20).await, "good".repeat(20));
        if leaves {
            drop(client);
            soon(async {
                while figures.standing.is_on_trial(now()) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            continue;
        }
        // One is for the client that left.
        gate.add_permits(2);
        assert_eq!(client.response().await.body, "ok");
    }
    gate.add_permits(100);
    let names = answers(&portolan, 20).await;
    assert_eq!((names.matches("ok").count(), names.matches("good").count()), (10, 10));
}
