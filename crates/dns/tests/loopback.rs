//! Real sockets on loopback: UDP, TCP, truncation, forwarding, aliases out of the cluster.

#![cfg(test)]

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{EndpointSlice, Service};
use orlop_dns::forward::{Forwarder, read_message, write_message};
use orlop_dns::serve::{Nameserver, Sockets};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// A running name server, and the address it answers at.
async fn serve(services: &[(Value, Value)]) -> (SocketAddr, CancellationToken) {
    let nowhere = Forwarder::new("/nonexistent/resolv.conf".into(), vec![]);
    let server = Nameserver::new("cluster.local", nowhere);
    for (service, slice) in services {
        let service = Service::decode(service.to_string().as_bytes()).unwrap();
        let slice = EndpointSlice::decode(slice.to_string().as_bytes()).unwrap();
        server.zone.write().unwrap().set(service.namespace(), service.name(), Some(&service), &[&slice]);
    }
    // No client's socket is at this address, so what is free for TCP is free for UDP, too.
    let sockets = Sockets::bind("127.0.0.2:0".parse().unwrap()).await.unwrap();
    let (address, stop) = (sockets.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(server.run(sockets, stop.clone()));
    (address, stop)
}

fn question(name: &str, kind: RecordType, edns: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(size) = edns {
        let mut options = Edns::new();
        options.set_max_payload(size);
        message.edns = Some(options);
    }
    message
}

async fn ask(server: SocketAddr, question: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn ask_tcp(server: SocketAddr, question: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    write_message(&mut stream, &question.to_vec().unwrap()).await.unwrap();
    Message::from_vec(&read_message(&mut stream).await.unwrap()).unwrap()
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn big_headless() -> (Value, Value) {
    let endpoints: Vec<Value> = (0..200).map(|n| json!({"addresses": [format!("10.244.1.{n}")]})).collect();
    let service = json!({"metadata": {"name": "many", "namespace": "shop"}, "spec": {"clusterIP": "None"}});
    (
        service,
        json!({"metadata": {}, "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}),
    )
}

fn web() -> (Value, Value) {
    let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"name": "http", "port": 80}]}});
    (service, json!({"metadata": {}, "addressType": "IPv4", "endpoints": []}))
}

#[tokio::test]
async fn answers_names_of_the_cluster() {
    let (server, _stop) = serve(&[web(), big_headless()]).await;
    let reply = ask(server, &question("WEB.shop.svc.cluster.local.", RecordType::A, None)).await;
    assert_eq!(addresses(&reply), ["10.96.0.9".parse::<IpAddr>().unwrap()]);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
    assert_eq!(reply.answers[0].name.to_ascii(), "WEB.shop.svc.cluster.local.", "the asker's spelling is kept");

    let none = ask(server, &question("web.shop.svc.cluster.local.", RecordType::AAAA, None)).await;
    assert_eq!(
        (none.metadata.response_code, none.answers.len(), none.authorities.len()),
        (ResponseCode::NoError, 0, 1)
    );
    let no_name = ask(server, &question("nothing.shop.svc.cluster.local.", RecordType::A, None)).await;
    assert_eq!((no_name.metadata.response_code, no_name.authorities.len()), (ResponseCode::NXDomain, 1));

    let srv = ask(server, &question("_http._tcp.web.shop.svc.cluster.local.", RecordType::SRV, None)).await;
    let RData::SRV(data) = &srv.answers[0].data else { panic!("{srv:?}") };
    assert_eq!((data.port, data.target.to_ascii().as_str()), (80, "web.shop.svc.cluster.local."));
    assert_eq!(srv.additionals[0].data.ip_addr(), Some("10.96.0.9".parse().unwrap()));

    let back = ask(server, &question("9.0.96.10.in-addr.arpa.", RecordType::PTR, None)).await;
    let RData::PTR(owner) = &back.answers[0].data else { panic!("{back:?}") };
    assert_eq!(owner.0.to_ascii(), "web.shop.svc.cluster.local.");
}

#[tokio::test]
async fn long_answers_are_truncated_over_udp_and_whole_over_tcp() {
    let (server, _stop) = serve(&[big_headless()]).await;
    let asked = question("many.shop.svc.cluster.local.", RecordType::A, Some(4096));
    let short = ask(server, &asked).await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = ask_tcp(server, &asked).await;
    assert_eq!((whole.metadata.truncation, addresses(&whole).len()), (false, 200));
}

#[tokio::test]
async fn what_nobody_can_answer_is_a_server_failure() {
    let (server, _stop) = serve(&[web()]).await;
    for name in ["example.com.", "1.2.3.4.in-addr.arpa."] {
        let kind = if name.starts_with('1') { RecordType::PTR } else { RecordType::A };
        let reply = ask(server, &question(name, kind, None)).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail, "{name}");
    }
}

#[tokio::test]
async fn garbage_gets_no_answer_and_does_no_harm() {
    let (server, _stop) = serve(&[web()]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for garbage in [&b""[..], b"\0", &[0xff; 600], b"GET / HTTP/1.1\r\n\r\n"] {
        socket.send_to(garbage, server).await.unwrap();
    }
    let reply = ask(server, &question("web.shop.svc.cluster.local.", RecordType::A, None)).await;
    assert_eq!(addresses(&reply).len(), 1);
    let mut buffer = [0; 16];
    assert!(socket.try_recv(&mut buffer).is_err());
}
