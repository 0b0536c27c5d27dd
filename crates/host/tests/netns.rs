//! The real kernel, in network namespaces that each test makes for its own thread.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use orlop_api::cidr::Cidr;
use orlop_host::linux::Linux;
use orlop_network::dataplane::{Dataplane, InterfaceAddress, PodLink, Route};
use orlop_network::nft::{
    BaseChain, Batch, CmpOp, CtKey, DataType, Element, ElementValue, Expr, Family, Hook, MapValue, MetaKey, Op,
    PayloadBase, Set, Verdict,
};

/// Runs a test in a fresh network namespace; the thread ends with the test.
fn in_new_netns(test: impl FnOnce(&Linux) + Send + 'static) {
    std::thread::spawn(|| {
        // SAFETY: a new network namespace changes nothing that other threads share.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        test(&Linux::new().unwrap());
    })
    .join()
    .unwrap();
}

/// What a shell says when it finds no such program.
const NOT_FOUND: Option<i32> = Some(127);
const NEEDED: &str = "install the packages busybox-static, iproute2, nftables and util-linux";

fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert_ne!(output.status.code(), NOT_FOUND, "{command}: {NEEDED}");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A process that holds a network namespace open, ended on drop.
struct Pod(Child);

impl Pod {
    fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["-n", "sh", "-c", "ip link set lo up; echo ready; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn netns(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    fn run(&self, command: &str) -> String {
        run(&format!("nsenter --net={} sh -c '{command}'", self.netns().display()))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

fn attach(linux: &Linux, pod: &Pod, host_name: &str, last: u8) {
    let link = PodLink {
        host_name: host_name.into(),
        pod_name: "eth0".into(),
        bridge: "orlop0".into(),
        mtu: 1450,
        addresses: vec![InterfaceAddress { address: v4(10, 244, 0, last), prefix: 24 }],
        routes: vec![Route { destination: Cidr::of(v4(0, 0, 0, 0), 0), via: Some(v4(10, 244, 0, 1)), source: None }],
        mac: [0x0a, 0x58, 10, 244, 0, last],
    };
    linux.attach_pod(&pod.netns(), &link).unwrap();
}

#[test]
fn two_pods_reach_each_other_and_the_node() {
    in_new_netns(|linux| {
        run("ip link set lo up");
        linux.ensure_bridge("orlop0", 1450, &[InterfaceAddress { address: v4(10, 244, 0, 1), prefix: 24 }]).unwrap();
        linux.ensure_bridge("orlop0", 1450, &[InterfaceAddress { address: v4(10, 244, 0, 1), prefix: 24 }]).unwrap();
        let (one, two) = (Pod::new(), Pod::new());
        attach(linux, &one, "orlopa", 2);
        attach(linux, &two, "orlopb", 3);
        assert_eq!(linux.links("orlop").unwrap(), ["orlop0", "orlopa", "orlopb"]);
        one.run("busybox ping -c1 -W30 10.244.0.3");
        two.run("busybox ping -c1 -W30 10.244.0.1");
        run("busybox ping -c1 -W30 10.244.0.2");
        assert!(one.run("ip -br link show eth0").contains("0a:58:0a:f4:00:02"));
        linux.delete_link("orlopa").unwrap();
        linux.delete_link("orlopa").unwrap();
        assert_eq!(linux.links("orlop").unwrap(), ["orlop0", "orlopb"]);
        assert_eq!(linux.node_addresses().unwrap(), [v4(10, 244, 0, 1)]);
    });
}

/// Every expression and object kind once; the kernel accepts them and nft reads them back.
#[test]
fn the_kernel_takes_every_expression_and_nft_prints_it() {
    in_new_netns(|linux| {
        linux.apply(&ruleset()).unwrap();
        let listed = run("nft list table ip orlop-test");
        for expected in [
            "type nat hook prerouting priority dstnat",
            "ip daddr . meta l4proto . th dport vmap @services",
            "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @ep2",
            "10.96.0.9 . tcp . 80 : goto n2",
            "reject with tcp reset",
            "counter packets 0 bytes 0 reject",
            "ct mark set",
            "masquerade",
            "update @aff { ip saddr : 10.244.0.2 . 8080 }",
            "fib daddr type local",
            "oifname != \"orlop0\"",
        ] {
            assert!(listed.contains(expected), "missing {expected:?} in\n{listed}");
        }
        let gone = Op::DeleteElements { set: "services".into(), keys: vec![key(&[&[10, 96, 0, 9], &[6], &[0, 80]])] };
        linux.apply(&Batch { ops: vec![gone.clone()], ..ruleset() }).unwrap();
        assert!(!run("nft list map ip orlop-test services").contains("10.96.0.9"));
        let again = linux.apply(&Batch { ops: vec![gone], ..ruleset() }).unwrap_err();
        assert_eq!(again.source.raw_os_error(), Some(libc::ENOENT), "{again}");
        linux.delete_table(Family::Ipv4, "orlop-test").unwrap();
        linux.delete_table(Family::Ipv4, "orlop-test").unwrap();
        assert_eq!(run("nft list tables"), "");
    });
}

#[test]
fn a_large_map_goes_in_as_one_transaction() {
    in_new_netns(|linux| {
        let elements: Vec<Element> = (0..20_000u32)
            .map(|n| Element {
                key: key(&[&(0x0a60_0000 + n).to_be_bytes(), &[6], &[0, 80]]),
                value: Some(ElementValue::Verdict(Verdict::Drop)),
            })
            .collect();
        let services = Set {
            name: "services".into(),
            key: vec![DataType::Ipv4Address, DataType::Protocol, DataType::Port],
            value: Some(MapValue::Verdict),
            timeout_seconds: None,
            size: None,
        };
        let ops = vec![Op::AddTable, Op::AddSet(services), Op::AddElements { set: "services".into(), elements }];
        linux.apply(&Batch { family: Family::Ipv4, table: "orlop-test".into(), ops }).unwrap();
        let count = run("nft list map ip orlop-test services | grep -o ': drop' | wc -l");
        assert_eq!(count.trim(), "20000");
    });
}

fn key(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(field);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn ruleset() -> Batch {
    let service_key = vec![DataType::Ipv4Address, DataType::Protocol, DataType::Port];
    let endpoint = MapValue::Data(vec![DataType::Ipv4Address, DataType::Port]);
    let set = |name: &str, key, value, timeout_seconds, size| {
        Op::AddSet(Set { name: name.into(), key, value, timeout_seconds, size })
    };
    let chain = |name: &str, base| Op::AddChain { name: name.into(), base };
    let rule = |chain: &str, exprs| Op::AddRule { chain: chain.into(), exprs };
    let load_key = || {
        vec![
            Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, to: 0 },
            Expr::Meta { key: MetaKey::L4Protocol, to: 1 },
            Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, to: 2 },
        ]
    };
    let with = |mut head: Vec<Expr>, tail: Vec<Expr>| {
        head.extend(tail);
        head
    };
    let nat = |hook, priority| Some(BaseChain { kind: "nat", hook, priority });
    let ops = vec![
        Op::AddTable,
        chain("n2", None),
        set("services", service_key.clone(), Some(MapValue::Verdict), None, None),
        set("ep2", [service_key, vec![DataType::Mark]].concat(), Some(endpoint.clone()), None, None),
        set("aff", vec![DataType::Ipv4Address], Some(endpoint), Some(10_800), Some(65_536)),
        set("hairpin", vec![DataType::Ipv4Address, DataType::Ipv4Address], None, None, None),
        chain("pre", nat(Hook::Prerouting, -100)),
        chain("post", nat(Hook::Postrouting, 100)),
        chain("reject", None),
        chain("mark", None),
        chain("e1", None),
        rule("pre", with(load_key(), vec![Expr::LookupVerdict { map: "services".into(), key: 0 }])),
        rule(
            "pre",
            vec![
                Expr::FibDestinationType { to: 0 },
                Expr::Cmp { op: CmpOp::Eq, reg: 0, value: 2u32.to_ne_bytes().to_vec() },
                Expr::Verdict(Verdict::Goto("mark".into())),
            ],
        ),
        rule(
            "n2",
            with(
                load_key(),
                vec![
                    Expr::Random { to: 3, modulus: 2 },
                    Expr::LookupMap { map: "ep2".into(), key: 0, to: 0 },
                    Expr::Dnat { family: Family::Ipv4, address: 0, port: Some(1) },
                ],
            ),
        ),
        rule(
            "mark",
            vec![
                Expr::Ct { key: CtKey::Mark, to: 0 },
                Expr::Bitwise {
                    from: 0,
                    to: 0,
                    mask: (!0x4000u32).to_ne_bytes().to_vec(),
                    xor: 0x4000u32.to_ne_bytes().to_vec(),
                },
                Expr::CtMarkSet { from: 0 },
                Expr::Verdict(Verdict::Return),
            ],
        ),
        rule(
            "e1",
            vec![
                Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, to: 0 },
                Expr::Immediate { to: 1, value: vec![10, 244, 0, 2] },
                Expr::Immediate { to: 2, value: vec![0x1f, 0x90] },
                Expr::Update { set: "aff".into(), key: 0, value: Some(1) },
            ],
        ),
        rule(
            "reject",
            vec![
                Expr::Meta { key: MetaKey::L4Protocol, to: 0 },
                Expr::Cmp { op: CmpOp::Eq, reg: 0, value: vec![6] },
                Expr::RejectTcpReset,
            ],
        ),
        rule("reject", vec![Expr::Counter, Expr::RejectPortUnreachable]),
        rule(
            "post",
            vec![
                Expr::Ct { key: CtKey::Status, to: 0 },
                Expr::Bitwise { from: 0, to: 0, mask: 0x20u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
                Expr::Cmp { op: CmpOp::Ne, reg: 0, value: vec![0; 4] },
                Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, to: 0 },
                Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, to: 1 },
                Expr::Lookup { set: "hairpin".into(), key: 0, inverted: false },
                Expr::Masquerade { random_fully: false },
            ],
        ),
        rule(
            "post",
            vec![
                Expr::Meta { key: MetaKey::OutputName, to: 0 },
                Expr::Cmp { op: CmpOp::Ne, reg: 0, value: b"orlop0\0\0\0\0\0\0\0\0\0\0".to_vec() },
                Expr::Masquerade { random_fully: true },
            ],
        ),
        Op::AddElements {
            set: "services".into(),
            elements: vec![Element {
                key: key(&[&[10, 96, 0, 9], &[6], &[0, 80]]),
                value: Some(ElementValue::Verdict(Verdict::Goto("n2".into()))),
            }],
        },
        Op::AddElements {
            set: "ep2".into(),
            elements: (0..2u32)
                .map(|n| Element {
                    key: key(&[&[10, 96, 0, 9], &[6], &[0, 80], &n.to_ne_bytes()]),
                    value: Some(ElementValue::Data(key(&[&[10, 244, 0, 2 + n as u8], &[0x1f, 0x90]]))),
                })
                .collect(),
        },
    ];
    Batch { family: Family::Ipv4, table: "orlop-test".into(), ops }
}
