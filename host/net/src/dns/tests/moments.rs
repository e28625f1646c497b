//! What changes while questions are under way.

use std::net::SocketAddr;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use tokio::{net::UdpSocket, sync::oneshot, task::spawn_local};

use super::{
    super::{Forwarding, asker::Transport},
    fake::{FakeUpstream, HERE, Listening, Mood, answer, asking, locally, outcome},
    name, packet,
};

/// An upstream that keeps its first question until it is told to answer: with one address. What comes
/// later is answered with two.
async fn hesitant() -> (SocketAddr, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let socket = UdpSocket::bind(HERE).await.unwrap();
    let address = socket.local_addr().unwrap();
    let (met, is_met) = oneshot::channel();
    let (go, goes) = oneshot::channel();
    spawn_local(async move {
        let mut buffer = [0; 4096];
        let (length, first) = socket.recv_from(&mut buffer).await.unwrap();
        let asked = Message::from_vec(&buffer[..length]).unwrap();
        met.send(()).unwrap();
        goes.await.unwrap();
        socket.send_to(&answer(&asked, 1).to_vec().unwrap(), first).await.unwrap();
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            socket.send_to(&answer(&asked, 2).to_vec().unwrap(), peer).await.unwrap();
        }
    });
    (address, is_met, go)
}

#[tokio::test]
async fn what_upstreams_of_before_say_is_told_to_who_waits_and_not_remembered() {
    locally(Box::pin(async {
        let (address, is_met, go) = hesitant().await;
        let now = FakeUpstream::start(Mood::SaysNo).await;
        let listening = Listening::with(Forwarding {
            upstreams: vec![address.into()],
            ..Forwarding::default()
        });
        let others = async {
            is_met.await.unwrap();
            listening.world.forwarding.set(asking(&[&now]));
            let other = listening.ask("a.example.").await;
            go.send(()).unwrap();
            other
        };
        let (first, other) = tokio::join!(listening.ask("a.example."), others);
        assert_eq!(outcome(&first), (ResponseCode::NoError, 1));
        assert_eq!(outcome(&other), (ResponseCode::NXDomain, 0));
        let later = listening.ask("a.example.").await;
        assert_eq!((outcome(&later), now.asked.get()), ((ResponseCode::NXDomain, 0), 1));
    }))
    .await;
}

#[tokio::test]
async fn what_is_forgotten_while_it_is_asked_for_is_asked_anew() {
    locally(async {
        for flushed in [None, Some(name("example"))] {
            let (address, is_met, go) = hesitant().await;
            let listening = Listening::with(Forwarding {
                upstreams: vec![address.into()],
                ..Forwarding::default()
            });
            let flush = async {
                is_met.await.unwrap();
                listening.world.forwarding.flush(flushed);
                // Workers look when they have something to do.
                let ours = packet("box.home.arpa.", RecordType::A, None);
                listening.world.ask(&ours, Transport::Udp);
                go.send(()).unwrap();
            };
            let (first, ()) = tokio::join!(listening.ask("a.example."), flush);
            assert_eq!(outcome(&first), (ResponseCode::NoError, 1));
            assert_eq!(outcome(&listening.ask("a.example.").await), (ResponseCode::NoError, 2));
        }
    })
    .await;
}
