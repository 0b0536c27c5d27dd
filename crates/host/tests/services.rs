//! Services, end to end through a real kernel: packets from pods, from the node and from outside,
//! in network namespaces that each test makes for its own thread.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use orlop_api::typed::Typed;
use orlop_api::typed::kinds::{EndpointSlice, Service};
use orlop_host::linux::Linux;
use orlop_network::dataplane::Dataplane;
use orlop_network::node::{FamilyConfig, NodeConfig, NodeNetworking, reset};
use orlop_network::service::decide;
use orlop_runtime::{PodNetwork, PortMapping, Sandbox};
use serde_json::{Value, json};

/// A node in a network namespace of its own, with an "outside" machine linked to it.
struct Node {
    networking: NodeNetworking,
    runtime: tokio::runtime::Runtime,
    outside: Netns,
    _state: tempfile::TempDir,
}

const NODE_IP: &str = "192.168.77.1";

/// A network namespace held by an open file.
struct Netns(File);

impl Netns {
    fn new() -> Self {
        std::thread::spawn(|| {
            // SAFETY: the thread ends right after, so nothing else runs in the new namespace.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            sh("ip link set lo up");
            Self(File::open("/proc/thread-self/ns/net").unwrap())
        })
        .join()
        .unwrap()
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Runs `work` inside.
    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    // SAFETY: moves only this short-lived thread.
                    assert_eq!(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
                    work()
                })
                .join()
                .unwrap()
        })
    }
}

/// What a shell says when it finds no such program.
const NOT_FOUND: Option<i32> = Some(127);
const NEEDED: &str = "install the packages busybox-static, iproute2, nftables and util-linux";

fn sh(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert_ne!(output.status.code(), NOT_FOUND, "{command}: {NEEDED}");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn on_a_node(test: impl FnOnce(&Node) + Send + 'static) {
    std::thread::spawn(|| {
        // SAFETY: moves only this thread and those it starts.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        sh("ip link set lo up");
        let outside = Netns::new();
        sh(&format!(
            "ip link add up0 type veth peer name eth0 && ip link set eth0 netns /proc/{}/fd/{} \
             && ip addr add {NODE_IP}/24 dev up0 && ip link set up0 up",
            std::process::id(),
            outside.0.as_raw_fd()
        ));
        outside.within(|| {
            sh(&format!(
                "ip addr add 192.168.77.9/24 dev eth0 && ip link set eth0 up && ip route add default via {NODE_IP}"
            ));
        });
        let state = tempfile::tempdir().unwrap();
        let family = FamilyConfig {
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            node_cidr: "10.244.0.0/24".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
        };
        let config = NodeConfig {
            node_name: "n1".into(),
            owner: "/data/n1".into(),
            state_dir: state.path().into(),
            bridge: "orlop0".into(),
            mtu: 1500,
            families: vec![family],
        };
        let linux = Arc::new(Linux::new().unwrap());
        let networking = NodeNetworking::start(config.clone(), linux.clone()).unwrap();
        networking.go_live().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        test(&Node { networking, runtime, outside, _state: state });
        let other = NodeConfig { owner: "/data/n2".into(), ..config };
        let refused = NodeNetworking::start(other, linux.clone()).err().unwrap();
        assert!(refused.source.to_string().contains("orlop0 belongs to the node of /data/n1"), "{}", refused.source);
        let links = linux.links("orlop").unwrap();
        reset(&*linux, "orlop0", "/data/n2").unwrap();
        assert_eq!(linux.links("orlop").unwrap(), links, "what is another's stays");
        reset(&*linux, "orlop0", "/data/n1").unwrap();
        assert_eq!(linux.links("orlop").unwrap(), Vec::<String>::new());
        let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&tables.stdout), "");
    })
    .join()
    .unwrap();
}

/// A pod whose TCP and UDP servers on 8080 answer with its name and the client's address.
struct Pod {
    name: &'static str,
    netns: Netns,
    ip: IpAddr,
}

impl Node {
    fn pod(&self, name: &'static str, ports: &[PortMapping]) -> Pod {
        let netns = Netns::new();
        let sandbox = Sandbox {
            id: format!("{name}0000000000"),
            pod_uid: name.into(),
            pod_name: name.into(),
            pod_namespace: "default".into(),
            attempt: 0,
            ready: true,
            created_unix_nanos: 0,
            netns: Some(netns.path()),
            labels: Default::default(),
            annotations: Default::default(),
        };
        let addresses = self.runtime.block_on(self.networking.attach(&sandbox, ports)).unwrap();
        assert_eq!(self.networking.addresses(&sandbox.id), addresses);
        netns.within(move || {
            let tcp = TcpListener::bind("0.0.0.0:8080").unwrap();
            let udp = UdpSocket::bind("0.0.0.0:8080").unwrap();
            std::thread::spawn(move || {
                for stream in tcp.incoming() {
                    let mut stream = stream.unwrap();
                    let from = stream.peer_addr().unwrap().ip();
                    let _ = write!(stream, "{name} {from}");
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(format!("{name} {}", from.ip()).as_bytes(), from);
                }
            });
        });
        Pod { name, netns, ip: addresses[0] }
    }

    fn set(&self, name: &str, service: Option<&Value>, endpoints: &[(&Pod, Value)]) {
        let slice = json!({
            "metadata": {"name": name}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints.iter().map(|(pod, conditions)| json!({
                "addresses": [pod.ip], "conditions": conditions, "nodeName": "n1",
            })).collect::<Vec<_>>(),
        });
        let slice = EndpointSlice::decode(slice.to_string().as_bytes()).unwrap();
        let service = service.map(|s| Service::decode(s.to_string().as_bytes()).unwrap());
        let views = self.networking.views();
        let contributions = views.iter().map(|(layout, view)| {
            service.as_ref().map(|s| decide(s, &[&slice], view, *layout, name)).unwrap_or_default()
        });
        self.networking.set_service(name, contributions.collect());
    }
}

fn ready() -> Value {
    json!({"ready": true})
}

fn service(extra: Value) -> Value {
    let mut service = json!({"spec": {
        "type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "ports": [{"port": 80, "protocol": "TCP"}],
    }});
    for (key, value) in extra.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

/// Long enough for a loaded machine; reached only by a bug.
const PATIENCE: Duration = Duration::from_secs(30);

/// "pod client-address" as answered, or why not.
fn ask(to: &str) -> Result<(String, String), std::io::ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(|e| e.kind())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|e| e.kind())?;
    let (pod, from) = text.split_once(' ').unwrap();
    Ok((pod.to_owned(), from.to_owned()))
}

fn who(to: &str) -> String {
    ask(to).unwrap_or_else(|e| panic!("{to}: {e:?}")).0
}

fn ask_udp(socket: &UdpSocket, to: &str) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"?", to).unwrap();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).split(' ').next().unwrap().to_owned()
}

#[test]
fn cluster_ip_spreads_from_pods_and_node_and_reaches_itself() {
    on_a_node(|node| {
        let (a, b, client) = (node.pod("a", &[]), node.pod("b", &[]), node.pod("client", &[]));
        node.set("web", Some(&service(json!({}))), &[(&a, ready()), (&b, ready())]);
        let seen: BTreeSet<String> = client.netns.within(|| (0..40).map(|_| who("10.96.0.9:80")).collect());
        assert_eq!(seen, BTreeSet::from(["a".into(), "b".into()]));
        let from = client.netns.within(|| ask("10.96.0.9:80").unwrap().1);
        assert_eq!(from, client.ip.to_string(), "a pod's address is kept");
        let seen: BTreeSet<String> = (0..40).map(|_| who("10.96.0.9:80")).collect();
        assert_eq!(seen.len(), 2, "from the node");
        // Alone behind the Service, a pod reaches itself.
        node.set("web", Some(&service(json!({}))), &[(&a, ready())]);
        assert_eq!(a.netns.within(|| who("10.96.0.9:80")), "a");
        assert_eq!(client.netns.within(|| (0..20).map(|_| who("10.96.0.9:80")).collect::<BTreeSet<_>>()).len(), 1);
        assert_eq!(client.netns.within(|| who(&format!("{}:8080", b.ip))), b.name);
    });
}

#[test]
fn without_endpoints_connections_are_refused_at_once() {
    on_a_node(|node| {
        let (a, client) = (node.pod("a", &[]), node.pod("client", &[]));
        let node_port = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}));
        node.set("web", Some(&node_port), &[]);
        for to in ["10.96.0.9:80", "10.96.0.9:81", "192.168.77.1:30080"] {
            assert_eq!(client.netns.within(|| ask(to)), Err(std::io::ErrorKind::ConnectionRefused), "{to} from a pod");
            assert_eq!(ask(to), Err(std::io::ErrorKind::ConnectionRefused), "{to} from the node");
        }
        assert_eq!(node.outside.within(|| ask("192.168.77.1:30080")), Err(std::io::ErrorKind::ConnectionRefused));
        node.set("web", Some(&node_port), &[(&a, ready())]);
        assert_eq!(client.netns.within(|| who("10.96.0.9:80")), "a");
        assert_eq!(client.netns.within(|| ask("10.96.0.9:81")), Err(std::io::ErrorKind::ConnectionRefused));
        node.set("web", None, &[]);
        assert!(client.netns.within(|| ask("10.96.0.9:80")).is_err());
    });
}

#[test]
fn node_port_answers_everywhere_and_local_policy_keeps_the_client() {
    on_a_node(|node| {
        let (a, client) = (node.pod("a", &[]), node.pod("client", &[]));
        let port = json!([{"port": 80, "nodePort": 30080}]);
        node.set("web", Some(&service(json!({"type": "NodePort", "ports": port}))), &[(&a, ready())]);
        assert_eq!(node.outside.within(|| ask("192.168.77.1:30080")), Ok(("a".into(), "10.244.0.1".into())));
        assert_eq!(who("192.168.77.1:30080"), "a");
        assert_eq!(who("127.0.0.1:30080"), "a");
        assert_eq!(client.netns.within(|| who("192.168.77.1:30080")), "a");
        assert_eq!(a.netns.within(|| who("192.168.77.1:30080")), "a");
        let local = service(json!({"type": "NodePort", "ports": port, "externalTrafficPolicy": "Local"}));
        node.set("web", Some(&local), &[(&a, ready())]);
        assert_eq!(node.outside.within(|| ask("192.168.77.1:30080")), Ok(("a".into(), "192.168.77.9".into())));
        assert_eq!(client.netns.within(|| who("192.168.77.1:30080")), "a");
    });
}

#[test]
fn external_ips_and_load_balancer_addresses_lead_in() {
    on_a_node(|node| {
        let a = node.pod("a", &[]);
        let mut balanced = service(json!({"externalIPs": ["192.168.77.50"]}));
        balanced["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.168.77.51", "ipMode": "VIP"}]}});
        node.set("web", Some(&balanced), &[(&a, ready())]);
        node.outside.within(|| {
            sh(&format!("ip route add 192.168.77.50 via {NODE_IP}; ip route add 192.168.77.51 via {NODE_IP}"))
        });
        for to in ["192.168.77.50:80", "192.168.77.51:80"] {
            assert_eq!(node.outside.within(|| who(to)), "a", "{to}");
        }
    });
}

#[test]
fn affinity_keeps_a_client_while_its_endpoint_lives() {
    on_a_node(|node| {
        let pods = [node.pod("a", &[]), node.pod("b", &[]), node.pod("c", &[])];
        let (one, two) = (node.pod("one", &[]), node.pod("two", &[]));
        let sticky = service(json!({"sessionAffinity": "ClientIP", "type": "NodePort",
            "ports": [{"port": 80, "nodePort": 30080}],
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 100}}}));
        let all: Vec<(&Pod, Value)> = pods.iter().map(|p| (p, ready())).collect();
        node.set("web", Some(&sticky), &all);
        let ask_many = |from: &Pod| from.netns.within(|| (0..20).map(|_| who("10.96.0.9:80")).collect::<BTreeSet<_>>());
        let (first, second) = (ask_many(&one), ask_many(&two));
        assert_eq!((first.len(), second.len()), (1, 1));
        let through_port = node.outside.within(|| (0..20).map(|_| who("192.168.77.1:30080")).collect::<BTreeSet<_>>());
        assert_eq!(through_port.len(), 1);
        // Another endpoint goes: the client stays. Its own goes: it moves, once.
        let gone = pods.iter().find(|p| !first.contains(p.name)).unwrap();
        let rest: Vec<(&Pod, Value)> = pods.iter().filter(|p| p.name != gone.name).map(|p| (p, ready())).collect();
        node.set("web", Some(&sticky), &rest);
        assert_eq!(ask_many(&one), first);
        let rest: Vec<(&Pod, Value)> = rest.into_iter().filter(|(p, _)| !first.contains(p.name)).collect();
        node.set("web", Some(&sticky), &rest);
        assert_eq!(ask_many(&one), BTreeSet::from([rest[0].0.name.to_owned()]));
    });
}

#[test]
fn udp_flows_move_with_the_endpoints() {
    on_a_node(|node| {
        let (a, b, client) = (node.pod("a", &[]), node.pod("b", &[]), node.pod("client", &[]));
        let udp = service(json!({"ports": [{"port": 53, "protocol": "UDP"}]}));
        node.set("dns", Some(&udp), &[(&a, ready())]);
        let socket = client.netns.within(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        assert_eq!(ask_udp(&socket, "10.96.0.9:53"), "a");
        node.set("dns", Some(&udp), &[(&b, ready())]);
        assert_eq!(ask_udp(&socket, "10.96.0.9:53"), "b", "the same socket, so the same flow but for conntrack");
    });
}

#[test]
fn terminating_endpoints_serve_when_no_other_does() {
    on_a_node(|node| {
        let (a, b, client) = (node.pod("a", &[]), node.pod("b", &[]), node.pod("client", &[]));
        let ending = json!({"ready": false, "serving": true, "terminating": true});
        node.set("web", Some(&service(json!({}))), &[(&a, ending.clone()), (&b, ready())]);
        assert_eq!(
            client.netns.within(|| (0..20).map(|_| who("10.96.0.9:80")).collect::<BTreeSet<_>>()),
            ["b".into()].into()
        );
        node.set("web", Some(&service(json!({}))), &[(&a, ending), (&b, json!({"ready": false}))]);
        assert_eq!(
            client.netns.within(|| (0..20).map(|_| who("10.96.0.9:80")).collect::<BTreeSet<_>>()),
            ["a".into()].into()
        );
    });
}

#[test]
fn host_ports_lead_to_the_pod_and_go_with_it() {
    on_a_node(|node| {
        let port = |host_ip: Option<&str>, host_port| PortMapping {
            protocol: "TCP".into(),
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port: 8080,
        };
        let a = node.pod("a", &[port(None, 9001), port(Some(NODE_IP), 9002)]);
        assert_eq!(node.outside.within(|| ask("192.168.77.1:9001")), Ok(("a".into(), "192.168.77.9".into())));
        assert_eq!(node.outside.within(|| who("192.168.77.1:9002")), "a");
        assert_eq!(who("127.0.0.1:9001"), "a");
        assert!(ask("127.0.0.1:9002").is_err());
        assert_eq!(a.netns.within(|| who("192.168.77.1:9001")), "a");
        node.runtime.block_on(node.networking.detach("a0000000000")).unwrap();
        assert!(node.outside.within(|| ask("192.168.77.1:9001")).is_err());
        assert!(node.networking.addresses("a0000000000").is_empty());
    });
}

#[test]
fn pods_reach_the_world_under_the_nodes_address() {
    on_a_node(|node| {
        let (a, _path) = (node.pod("a", &[]), Path::new("/"));
        let listener = node.outside.within(|| TcpListener::bind("192.168.77.9:7777").unwrap());
        let server = std::thread::spawn(move || listener.accept().unwrap().1.ip().to_string());
        a.netns.within(|| TcpStream::connect("192.168.77.9:7777").unwrap());
        assert_eq!(server.join().unwrap(), NODE_IP);
    });
}

#[test]
fn a_table_changed_by_others_is_put_right() {
    on_a_node(|node| {
        let (a, client) = (node.pod("a", &[]), node.pod("client", &[]));
        node.set("web", Some(&service(json!({}))), &[(&a, ready())]);
        sh("nft delete table ip orlop");
        node.set(
            "other",
            Some(&service(json!({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]}))),
            &[(&a, ready())],
        );
        assert_eq!(client.netns.within(|| who("10.96.0.9:80")), "a");
        assert_eq!(client.netns.within(|| who("10.96.0.10:80")), "a");
        assert_eq!(node.networking.service_keys(), ["other", "web"]);
    });
}

/// A ServiceCIDR of its own (KEP-1880): from pods, from outside, and from the node, which has no default route.
#[test]
fn a_cluster_ip_of_another_range_is_reached_while_the_range_is_there() {
    on_a_node(|node| {
        let (a, client) = (node.pod("a", &[]), node.pod("client", &[]));
        let range = ["172.30.5.0/24".parse().unwrap(), "fd00::/112".parse().unwrap()];
        node.networking.set_service_ranges(&range).unwrap();
        let elsewhere = service(json!({"clusterIP": "172.30.5.9", "clusterIPs": ["172.30.5.9"]}));
        node.set("web", Some(&elsewhere), &[(&a, ready())]);
        assert_eq!(client.netns.within(|| who("172.30.5.9:80")), "a");
        assert_eq!(client.netns.within(|| ask("172.30.5.9:81")), Err(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(who("172.30.5.9:80"), "a", "from the node");
        assert_eq!(node.outside.within(|| ask("172.30.5.9:80")), Ok(("a".into(), "10.244.0.1".into())));
        let linux = Linux::new().unwrap();
        let routed =
            || linux.routed("orlop0").unwrap().iter().map(|cidr| cidr.network().to_string()).collect::<Vec<_>>();
        assert_eq!(routed(), ["10.96.0.0", "172.30.5.0"]);
        let around_the_node = ["10.0.0.0/8".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
        node.networking.set_service_ranges(&around_the_node).unwrap();
        assert_eq!(routed(), ["10.96.0.0"], "what is configured stays, and nothing cuts the node off");
    });
}
