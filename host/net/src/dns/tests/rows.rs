//! UDP in numbers: replies in rows, and from the address that was asked.

use std::time::Duration;

use hickory_proto::{op::Message, rr::RecordType};
use tokio::{net::UdpSocket, sync::oneshot, task::LocalSet, time::timeout};

use super::{
    super::{Policy, Sharing, bind_udp, serve_udp},
    World, question,
};

/// Runs a test beside a server that listens on an address.
async fn serving<F: Future<Output = ()>>(address: &str, test: impl FnOnce(u16) -> F) {
    serving_under(address, Policy::default(), test).await;
}

async fn serving_under<F: Future<Output = ()>>(
    address: &str,
    policy: Policy,
    test: impl FnOnce(u16) -> F,
) {
    LocalSet::new()
        .run_until(async {
            let world = World::new(&[]);
            world.policies.set(policy);
            let socket = bind_udp(address.parse().unwrap(), Sharing::WORKERS).unwrap();
            let port = socket.local_addr().unwrap().port();
            let (stop, stopping) = oneshot::channel::<()>();
            let served =
                tokio::task::spawn_local(serve_udp(socket, world.context.clone(), async {
                    drop(stopping.await)
                }));
            test(port).await;
            drop(stop);
            served.await.unwrap().unwrap();
        })
        .await;
}

async fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let received = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await;
    Message::from_vec(&buffer[..received.expect("an answer in time").unwrap()]).unwrap()
}

/// All of these are in the socket before the server looks: it answers in batches, and replies of
/// one size leave as a row.
#[tokio::test]
async fn each_question_of_a_burst_from_one_port_has_its_own_answer() {
    serving("127.0.0.1:0", |port| async move {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(("127.0.0.1", port)).await.unwrap();
        let names = ["one.service.consul.", "some.service.consul.", "absent.consul."];
        for id in 0..300_u16 {
            let mut asked = question(names[usize::from(id) % 3], RecordType::A, None);
            asked.metadata.id = id;
            client.send(&asked.to_vec().unwrap()).await.unwrap();
        }
        let mut seen = [false; 300];
        for _ in 0..300 {
            let reply = receive(&client).await;
            let id = usize::from(reply.metadata.id);
            let expected = [1, 14, 0][id % 3];
            assert_eq!((reply.answers.len(), seen[id]), (expected, false), "{id}");
            assert_eq!(reply.queries[0].name().to_ascii(), names[id % 3]);
            seen[id] = true;
        }
    })
    .await;
}

/// Longer than what every network carries, to who asks for it and may have it.
#[tokio::test]
async fn a_long_reply_is_sent_whole() {
    serving_under(
        "127.0.0.1:0",
        Policy { udp_size: 4096, ..Policy::default() },
        |port| async move {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(("127.0.0.1", port)).await.unwrap();
            for _ in 0..20 {
                let asked = question("many.service.consul.", RecordType::A, Some(4096));
                client.send(&asked.to_vec().unwrap()).await.unwrap();
            }
            for _ in 0..20 {
                assert_eq!(receive(&client).await.answers.len(), 200);
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_reply_comes_from_the_address_that_was_asked() {
    for (listens, asked) in
        [("0.0.0.0:0", "127.0.0.3"), ("0.0.0.0:0", "127.0.0.4"), ("[::]:0", "::1")]
    {
        serving(listens, |port| async move {
            let own = if asked == "::1" { "[::1]:0" } else { "127.0.0.1:0" };
            let client = UdpSocket::bind(own).await.unwrap();
            // Connected: the system drops what comes from elsewhere.
            client.connect((asked, port)).await.unwrap();
            // Both ways of sending: alone and in a row.
            for count in [1, 5] {
                for _ in 0..count {
                    let asked = question("one.service.consul.", RecordType::A, None);
                    client.send(&asked.to_vec().unwrap()).await.unwrap();
                }
                for _ in 0..count {
                    assert_eq!(receive(&client).await.answers.len(), 1);
                }
            }
        })
        .await;
    }
}
