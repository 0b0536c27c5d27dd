//! How a data item begins: its major type and a number (RFC 8949, section 3).

/// The three high bits of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    Positive = 0,
    Negative = 1,
    Bytes = 2,
    Text = 3,
    Array = 4,
    Map = 5,
    Tag = 6,
    Primitive = 7,
}

impl Major {
    pub fn of(first: u8) -> Self {
        match first >> 5 {
            0 => Self::Positive,
            1 => Self::Negative,
            2 => Self::Bytes,
            3 => Self::Text,
            4 => Self::Array,
            5 => Self::Map,
            6 => Self::Tag,
            _ => Self::Primitive,
        }
    }

    /// How errors call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive integer",
            Self::Negative => "negative integer",
            Self::Bytes => "byte string",
            Self::Text => "UTF-8 text string",
            Self::Array => "array",
            Self::Map => "map",
            Self::Tag => "tag",
            Self::Primitive => "primitives",
        }
    }
}

/// The five low bits of a first byte: up to 23 a number, else how many bytes of it follow.
pub const ONE_BYTE: u8 = 24;
pub const TWO_BYTES: u8 = 25;
pub const FOUR_BYTES: u8 = 26;
pub const EIGHT_BYTES: u8 = 27;
/// The length comes with the end.
pub const INDEFINITE: u8 = 31;

/// Ends what is of indefinite length.
pub const BREAK: u8 = 0xff;

pub const FALSE: u8 = 20;
pub const TRUE: u8 = 21;
pub const NULL: u8 = 22;

/// Text that stands for an instant; seconds since 1970; big numbers; how bytes are to be written as text.
pub const TIME: u64 = 0;
pub const EPOCH: u64 = 1;
pub const BIGNUMS: [u64; 2] = [2, 3];
pub const BASE64_URL: u64 = 21;
pub const BASE64: u64 = 22;
pub const BASE16: u64 = 23;

#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub major: Major,
    pub info: u8,
    /// A value, a length, a tag's number, or a float's bits.
    pub argument: u64,
}

impl Head {
    pub fn is_null(&self) -> bool {
        (self.major, self.info) == (Major::Primitive, NULL)
    }

    /// The number, of a float.
    pub fn float(&self) -> Option<f64> {
        match (self.major, self.info) {
            (Major::Primitive, TWO_BYTES) => Some(from_half(self.argument as u16)),
            (Major::Primitive, FOUR_BYTES) => Some(f32::from_bits(self.argument as u32).into()),
            (Major::Primitive, EIGHT_BYTES) => Some(f64::from_bits(self.argument)),
            _ => None,
        }
    }
}

/// IEEE 754's 16 bits: a sign, five of the exponent, ten of the fraction.
pub fn from_half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// The same number in 16 bits, if they can hold it.
pub fn to_half(number: f32) -> Option<u16> {
    let bits = number.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let (exponent, fraction) = ((bits >> 23 & 0xff) as i32 - 127, bits & 0x7f_ffff);
    let (half, lost) = match exponent {
        -127 if fraction == 0 => (0, 0),
        -14..=15 => ((exponent + 15) as u32 * 1024 + (fraction >> 13), fraction & 0x1fff),
        -24..=-15 => {
            let (whole, shift) = (fraction | 0x80_0000, (-1 - exponent) as u32);
            (whole >> shift, whole & ((1 << shift) - 1))
        }
        _ => return None,
    };
    (lost == 0).then_some(sign | half as u16)
}
