//! Encodes [`orlop_network::nft`] for the kernel (`linux/netfilter/nf_tables.h`).
//!
//! The numbers below are the kernel's attribute numbers, named where they are used.

use std::io;

use orlop_network::nft::{
    Batch, CmpOp, CtKey, DataType, Element, ElementValue, Expr, Family, Hook, MapValue, MetaKey, Op, PayloadBase, Reg,
    Set, Verdict,
};

use crate::netlink::{Socket, Writer, flags};

const SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const NEW_TABLE: u16 = 0;
const DEL_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DEL_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DEL_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DEL_SET: u16 = 11;
const NEW_SETELEM: u16 = 12;
const DEL_SETELEM: u16 = 14;

/// A nested attribute's length is 16 bits; leave room for the largest element.
const ELEMENTS_BYTES_MAX: usize = 48 * 1024;

/// Sends a batch as one transaction.
pub fn apply(socket: &Socket, batch: &Batch) -> io::Result<()> {
    if batch.ops.is_empty() {
        return Ok(());
    }
    let mut encoder = Encoder { w: Writer::default(), family: family(batch.family), table: &batch.table, sets: 0 };
    encoder.frame(BATCH_BEGIN);
    for op in &batch.ops {
        encoder.op(op);
    }
    encoder.w.acknowledge_last();
    encoder.frame(BATCH_END);
    socket.exchange(&encoder.w).map(drop)
}

struct Encoder<'a> {
    w: Writer,
    family: u8,
    table: &'a str,
    /// Counts sets: each new set needs a number of its own inside the batch.
    sets: u32,
}

impl Encoder<'_> {
    fn frame(&mut self, kind: u16) {
        let resource = SUBSYS_NFTABLES.to_be_bytes();
        self.w.begin(kind, 0, &[0, 0, resource[0], resource[1]]);
        self.w.finish();
    }

    fn begin(&mut self, kind: u16, flags: u16) {
        self.w.begin(SUBSYS_NFTABLES << 8 | kind, flags, &[self.family, 0, 0, 0]);
    }

    fn op(&mut self, op: &Op) {
        const TABLE: u16 = 1;
        const NAME_OF_CHAIN: u16 = 3;
        const CHAIN_OF_RULE: u16 = 2;
        const NAME_OF_SET: u16 = 2;
        match op {
            Op::AddTable | Op::DeleteTable => {
                self.begin(if *op == Op::AddTable { NEW_TABLE } else { DEL_TABLE }, flags::CREATE);
                self.w.text(TABLE, self.table);
                self.w.finish();
            }
            Op::AddChain { name, base } => {
                self.begin(NEW_CHAIN, flags::CREATE);
                self.w.text(TABLE, self.table);
                self.w.text(NAME_OF_CHAIN, name);
                if let Some(base) = base {
                    const HOOK: u16 = 4;
                    const POLICY: u16 = 5;
                    const TYPE: u16 = 7;
                    let hook = self.w.nest(HOOK);
                    self.w.be32(1, hook_number(base.hook));
                    self.w.attr(2, &base.priority.to_be_bytes());
                    self.w.end(hook);
                    self.w.be32(POLICY, NF_ACCEPT);
                    self.w.text(TYPE, base.kind);
                }
                self.w.finish();
            }
            Op::FlushChain { name } => {
                self.begin(DEL_RULE, 0);
                self.w.text(TABLE, self.table);
                self.w.text(CHAIN_OF_RULE, name);
                self.w.finish();
            }
            Op::DeleteChain { name } => {
                self.begin(DEL_CHAIN, 0);
                self.w.text(TABLE, self.table);
                self.w.text(NAME_OF_CHAIN, name);
                self.w.finish();
            }
            Op::AddSet(set) => self.add_set(set),
            Op::DeleteSet { name } => {
                self.begin(DEL_SET, 0);
                self.w.text(TABLE, self.table);
                self.w.text(NAME_OF_SET, name);
                self.w.finish();
            }
            Op::FlushSet { name } => {
                self.begin(DEL_SETELEM, 0);
                self.w.text(TABLE, self.table);
                self.w.text(NAME_OF_SET, name);
                self.w.finish();
            }
            Op::AddRule { chain, exprs } => {
                const EXPRESSIONS: u16 = 4;
                self.begin(NEW_RULE, flags::CREATE | flags::APPEND);
                self.w.text(TABLE, self.table);
                self.w.text(CHAIN_OF_RULE, chain);
                let list = self.w.nest(EXPRESSIONS);
                for expr in exprs {
                    self.expr(expr);
                }
                self.w.end(list);
                self.w.finish();
            }
            Op::AddElements { set, elements } => self.elements(NEW_SETELEM, flags::CREATE, set, elements),
            Op::DeleteElements { set, keys } => {
                let elements: Vec<Element> = keys.iter().map(|key| Element { key: key.clone(), value: None }).collect();
                self.elements(DEL_SETELEM, 0, set, &elements);
            }
        }
    }

    fn add_set(&mut self, set: &Set) {
        const FLAG_MAP: u32 = 0x8;
        const FLAG_TIMEOUT: u32 = 0x10;
        const FLAG_EVAL: u32 = 0x20;
        const DATA_VERDICT: u32 = 0xffff_ff00;
        self.sets += 1;
        let mut set_flags = 0;
        if set.value.is_some() {
            set_flags |= FLAG_MAP;
        }
        if set.timeout_seconds.is_some() {
            set_flags |= FLAG_TIMEOUT | FLAG_EVAL;
        }
        self.begin(NEW_SET, flags::CREATE);
        self.w.text(1, self.table);
        self.w.text(2, &set.name);
        self.w.be32(3, set_flags);
        self.w.be32(4, type_number(&set.key));
        self.w.be32(5, byte_length(&set.key));
        match &set.value {
            None => {}
            Some(MapValue::Verdict) => {
                self.w.be32(6, DATA_VERDICT);
                self.w.be32(7, 0);
            }
            Some(MapValue::Data(types)) => {
                self.w.be32(6, type_number(types));
                self.w.be32(7, byte_length(types));
            }
        }
        if let Some(size) = set.size {
            const DESC: u16 = 9;
            let desc = self.w.nest(DESC);
            self.w.be32(1, size);
            self.w.end(desc);
        }
        self.w.be32(10, self.sets);
        if let Some(seconds) = set.timeout_seconds {
            self.w.be64(11, seconds * 1000);
        }
        self.w.finish();
    }

    /// Splits long lists over several messages of the same transaction.
    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest
                .iter()
                .take_while(|e| {
                    bytes += e.key.len() + 96;
                    bytes <= ELEMENTS_BYTES_MAX
                })
                .count()
                .max(1);
            let (now, later) = rest.split_at(count);
            self.begin(kind, flags);
            self.w.text(1, self.table);
            self.w.text(2, set);
            let list = self.w.nest(3);
            for element in now {
                let item = self.w.nest(1);
                self.data(1, &element.key);
                match &element.value {
                    None => {}
                    Some(ElementValue::Data(bytes)) => self.data(2, bytes),
                    Some(ElementValue::Verdict(verdict)) => self.verdict(2, verdict),
                }
                self.w.end(item);
            }
            self.w.end(list);
            self.w.finish();
            rest = later;
        }
    }

    /// `nft_data` with plain bytes.
    fn data(&mut self, kind: u16, bytes: &[u8]) {
        let data = self.w.nest(kind);
        self.w.attr(1, bytes);
        self.w.end(data);
    }

    /// `nft_data` with a verdict.
    fn verdict(&mut self, kind: u16, verdict: &Verdict) {
        let (code, chain): (i32, Option<&str>) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Continue => (-1, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Goto(chain) => (-4, Some(chain)),
            Verdict::Return => (-5, None),
        };
        let data = self.w.nest(kind);
        let inner = self.w.nest(2);
        self.w.attr(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            self.w.text(2, chain);
        }
        self.w.end(inner);
        self.w.end(data);
    }

    /// One expression: `{name, data{...}}` in a list element.
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        let element = self.w.nest(1);
        self.w.text(1, name);
        let data = self.w.nest(2);
        fill(self);
        self.w.end(data);
        self.w.end(element);
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Payload { base, offset, len, to } => self.expression("payload", |e| {
                e.w.be32(1, reg(*to));
                e.w.be32(2, if *base == PayloadBase::Network { 1 } else { 2 });
                e.w.be32(3, *offset);
                e.w.be32(4, *len);
            }),
            Expr::Meta { key, to } => self.expression("meta", |e| {
                e.w.be32(1, reg(*to));
                e.w.be32(2, meta_number(*key));
            }),
            Expr::MarkSet { from } => self.expression("meta", |e| {
                e.w.be32(2, meta_number(MetaKey::Mark));
                e.w.be32(3, reg(*from));
            }),
            Expr::Ct { key, to } => self.expression("ct", |e| {
                e.w.be32(1, reg(*to));
                e.w.be32(2, ct_number(*key));
            }),
            Expr::CtMarkSet { from } => self.expression("ct", |e| {
                e.w.be32(2, ct_number(CtKey::Mark));
                e.w.be32(4, reg(*from));
            }),
            Expr::Cmp { op, reg: from, value } => self.expression("cmp", |e| {
                e.w.be32(1, reg(*from));
                e.w.be32(2, if *op == CmpOp::Eq { 0 } else { 1 });
                e.data(3, value);
            }),
            Expr::Bitwise { from, to, mask, xor } => self.expression("bitwise", |e| {
                e.w.be32(1, reg(*from));
                e.w.be32(2, reg(*to));
                e.w.be32(3, u32::try_from(mask.len()).expect("a register row"));
                e.data(4, mask);
                e.data(5, xor);
            }),
            Expr::Immediate { to, value } => self.expression("immediate", |e| {
                e.w.be32(1, reg(*to));
                e.data(2, value);
            }),
            Expr::Verdict(verdict) => self.expression("immediate", |e| {
                e.w.be32(1, REG_VERDICT);
                e.verdict(2, verdict);
            }),
            Expr::Lookup { set, key, inverted } => self.expression("lookup", |e| {
                e.w.text(1, set);
                e.w.be32(2, reg(*key));
                e.w.be32(5, u32::from(*inverted));
            }),
            Expr::LookupMap { map, key, to } => self.expression("lookup", |e| {
                e.w.text(1, map);
                e.w.be32(2, reg(*key));
                e.w.be32(3, reg(*to));
            }),
            Expr::LookupVerdict { map, key } => self.expression("lookup", |e| {
                e.w.text(1, map);
                e.w.be32(2, reg(*key));
                e.w.be32(3, REG_VERDICT);
            }),
            Expr::Random { to, modulus } => self.expression("numgen", |e| {
                e.w.be32(1, reg(*to));
                e.w.be32(2, *modulus);
                e.w.be32(3, 1);
                e.w.be32(4, 0);
            }),
            Expr::FibDestinationType { to } => self.expression("fib", |e| {
                e.w.be32(1, reg(*to));
                e.w.be32(2, 3);
                e.w.be32(3, 0x2);
            }),
            Expr::Update { set, key, value } => self.expression("dynset", |e| {
                e.w.text(1, set);
                e.w.be32(3, 1);
                e.w.be32(4, reg(*key));
                if let Some(value) = value {
                    e.w.be32(5, reg(*value));
                }
            }),
            Expr::Dnat { family: nat_family, address, port } => self.expression("nat", |e| {
                e.w.be32(1, 1);
                e.w.be32(2, u32::from(family(*nat_family)));
                e.w.be32(3, reg(*address));
                if let Some(port) = port {
                    e.w.be32(5, reg(*port));
                }
            }),
            Expr::Masquerade { random_fully } => self.expression("masq", |e| {
                if *random_fully {
                    e.w.be32(1, 0x10);
                }
            }),
            Expr::RejectTcpReset => self.expression("reject", |e| {
                e.w.be32(1, 1);
                e.w.attr(2, &[0]);
            }),
            Expr::RejectPortUnreachable => {
                const ICMP_PORT_UNREACHABLE: u8 = 3;
                const ICMPV6_PORT_UNREACHABLE: u8 = 4;
                let code =
                    if self.family == family(Family::Ipv6) { ICMPV6_PORT_UNREACHABLE } else { ICMP_PORT_UNREACHABLE };
                self.expression("reject", |e| {
                    e.w.be32(1, 0);
                    e.w.attr(2, &[code]);
                });
            }
            Expr::Counter => self.expression("counter", |_| {}),
        }
    }
}

const NF_ACCEPT: u32 = 1;
const REG_VERDICT: u32 = 0;

/// Four-byte register `n` (`NFT_REG32_00` is 8).
fn reg(n: Reg) -> u32 {
    8 + u32::from(n)
}

fn family(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ipv4 => 2,
        Family::Bridge => 7,
        Family::Ipv6 => 10,
    }
}

fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

fn meta_number(key: MetaKey) -> u32 {
    match key {
        MetaKey::Mark => 3,
        MetaKey::InputName => 6,
        MetaKey::OutputName => 7,
        MetaKey::NfProtocol => 15,
        MetaKey::L4Protocol => 16,
    }
}

fn ct_number(key: CtKey) -> u32 {
    match key {
        CtKey::State => 0,
        CtKey::Status => 2,
        CtKey::Mark => 3,
    }
}

/// nft's own type numbers, six bits each in a concatenation: only for its listing.
fn type_number(types: &[DataType]) -> u32 {
    types.iter().fold(0, |number, ty| {
        let one = match ty {
            DataType::Ipv4Address => 7,
            DataType::Ipv6Address => 8,
            DataType::Protocol => 12,
            DataType::Port => 13,
            DataType::Mark => 19,
        };
        number << 6 | one
    })
}

/// A lone field keeps its own length, fields of a concatenation are padded.
fn byte_length(types: &[DataType]) -> u32 {
    let length = match types {
        [one] => one.size(),
        many => many.iter().map(|ty| ty.padded()).sum(),
    };
    u32::try_from(length).expect("a register row")
}
