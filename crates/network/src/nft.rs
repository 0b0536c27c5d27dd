//! nftables as data: what a change to the kernel's ruleset is made of.
//!
//! The service ruleset is decided here as a [`Batch`]; `orlop-host` encodes it for netlink, the
//! simulation keeps it in a map. Values are bytes as the kernel compares them: network order,
//! every field of a concatenation padded to four bytes.

/// A group of operations that the kernel carries out together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub family: Family,
    pub table: String,
    pub ops: Vec<Op>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    #[default]
    Ipv4,
    Ipv6,
    Bridge,
    Inet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes the table; no error when it stands.
    AddTable,
    /// Deletes the table and all in it. Put `AddTable` first to make it succeed always.
    DeleteTable,
    AddChain {
        name: String,
        base: Option<BaseChain>,
    },
    FlushChain {
        name: String,
    },
    DeleteChain {
        name: String,
    },
    AddSet(Set),
    DeleteSet {
        name: String,
    },
    FlushSet {
        name: String,
    },
    AddRule {
        chain: String,
        exprs: Vec<Expr>,
    },
    AddElements {
        set: String,
        elements: Vec<Element>,
    },
    DeleteElements {
        set: String,
        keys: Vec<Vec<u8>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// `filter`, `nat`, `route`.
    pub kind: &'static str,
    pub hook: Hook,
    pub priority: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// A set, or a map when `value` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    /// Types of the concatenated key fields.
    pub key: Vec<DataType>,
    pub value: Option<MapValue>,
    /// Seconds an element lives; makes the set dynamic (filled by packets).
    pub timeout_seconds: Option<u64>,
    /// Bound of a dynamic set.
    pub size: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapValue {
    Verdict,
    Data(Vec<DataType>),
}

/// A field's type; the numbers let `nft list ruleset` print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    Ipv4Address,
    Ipv6Address,
    Protocol,
    Port,
    /// A number in host order, four bytes (`numgen`, marks).
    Mark,
}

impl DataType {
    /// Bytes before padding.
    pub fn size(self) -> usize {
        match self {
            Self::Ipv4Address | Self::Mark => 4,
            Self::Ipv6Address => 16,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }

    /// Bytes in a concatenation or a register row.
    pub fn padded(self) -> usize {
        self.size().next_multiple_of(4)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Vec<u8>,
    pub value: Option<ElementValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementValue {
    Verdict(Verdict),
    Data(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Continue,
    Return,
    Jump(String),
    Goto(String),
}

/// A four-byte register, 0 to 15. Wider values take as many in a row.
pub type Reg = u8;

/// One instruction of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Loads header bytes.
    Payload {
        base: PayloadBase,
        offset: u32,
        len: u32,
        to: Reg,
    },
    Meta {
        key: MetaKey,
        to: Reg,
    },
    MarkSet {
        from: Reg,
    },
    Ct {
        key: CtKey,
        to: Reg,
    },
    CtMarkSet {
        from: Reg,
    },
    /// Stops the rule unless `reg` compares so.
    Cmp {
        op: CmpOp,
        reg: Reg,
        value: Vec<u8>,
    },
    /// `to = (from & mask) ^ xor`.
    Bitwise {
        from: Reg,
        to: Reg,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Immediate {
        to: Reg,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    /// Stops the rule unless the key in `key` and following registers is in the set.
    Lookup {
        set: String,
        key: Reg,
        inverted: bool,
    },
    /// Loads the map's value; stops the rule when there is none.
    LookupMap {
        map: String,
        key: Reg,
        to: Reg,
    },
    /// Acts on the map's verdict; goes on when there is none.
    LookupVerdict {
        map: String,
        key: Reg,
    },
    /// A random number below `modulus`, host order.
    Random {
        to: Reg,
        modulus: u32,
    },
    /// Loads the type (RTN_LOCAL = 2, ...) of the destination address.
    FibDestinationType {
        to: Reg,
    },
    /// Adds or refreshes an element of a dynamic set or map.
    Update {
        set: String,
        key: Reg,
        value: Option<Reg>,
    },
    Dnat {
        family: Family,
        address: Reg,
        port: Option<Reg>,
    },
    Masquerade {
        random_fully: bool,
    },
    RejectTcpReset,
    RejectPortUnreachable,
    Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    Network,
    Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    L4Protocol,
    /// Interface name, 16 bytes zero-padded.
    InputName,
    OutputName,
    Mark,
    NfProtocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKey {
    Mark,
    /// `IPS_DST_NAT` is `0x20`.
    Status,
    State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmpOp {
    Eq,
    Ne,
}
