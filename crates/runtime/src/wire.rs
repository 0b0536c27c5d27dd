//! How plans and messages travel between the agent and the shims: fields in order, integers little-endian,
//! lengths before contents. Both ends may be different builds (a shim outlives an upgrade), so a struct
//! only ever grows at its end, and [`VERSION`] says when even that does not do.

use std::ffi::CString;

/// First byte of every request.
pub const VERSION: u8 = 1;

/// Something that can be written to and read from the wire.
pub trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    /// `None` when the bytes do not hold it.
    fn get(input: &mut &[u8]) -> Option<Self>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        Self::get(&mut bytes)
    }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Wire for $t {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(input: &mut &[u8]) -> Option<Self> {
                let (head, rest) = input.split_first_chunk()?;
                *input = rest;
                Some(Self::from_le_bytes(*head))
            }
        }
    )*};
}
integers!(u8, u32, u64, i32, i64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn get(input: &mut &[u8]) -> Option<Self> {
        Some(u8::get(input)? != 0)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for item in self {
            item.put(out);
        }
    }
    fn get(input: &mut &[u8]) -> Option<Self> {
        let len = u32::get(input)? as usize;
        // No item takes less than a byte, so a lying length cannot make this allocate much.
        let mut items = Vec::with_capacity(len.min(input.len()));
        for _ in 0..len {
            items.push(T::get(input)?);
        }
        Some(items)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut &[u8]) -> Option<Self> {
        Some(if bool::get(input)? { Some(T::get(input)?) } else { None })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut &[u8]) -> Option<Self> {
        Some((A::get(input)?, B::get(input)?))
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    (bytes.len() as u32).put(out);
    out.extend_from_slice(bytes);
}

fn get_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::get(input)? as usize;
    let (head, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(head)
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn get(input: &mut &[u8]) -> Option<Self> {
        Some(std::str::from_utf8(get_bytes(input)?).ok()?.to_owned())
    }
}

impl Wire for CString {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn get(input: &mut &[u8]) -> Option<Self> {
        CString::new(get_bytes(input)?).ok()
    }
}

/// Defines a struct whose fields travel in order.
macro_rules! wire_struct {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $t:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $t,)* }

        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, out);)*
            }
            fn get(input: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::wire::Wire::get(input)?,)* })
            }
        }
    };
}

/// Defines an enum whose variants travel as their number and their fields in order.
macro_rules! wire_enum {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident $({ $($field:ident: $t:ty),* $(,)? })? = $tag:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $($(#[$variant_meta])* $variant $({ $($field: $t),* })?,)* }

        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        out.push($tag);
                        $($($crate::wire::Wire::put($field, out);)*)?
                    })*
                }
            }
            fn get(input: &mut &[u8]) -> Option<Self> {
                match <u8 as $crate::wire::Wire>::get(input)? {
                    $($tag => Some(Self::$variant $({ $($field: $crate::wire::Wire::get(input)?),* })?),)*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {wire_enum, wire_struct};

#[cfg(test)]
mod tests {
    use super::*;

    wire_struct! {
        pub struct Sample { pub a: u32, pub b: Option<String>, pub c: Vec<(CString, bool)>, }
    }
    wire_enum! {
        pub enum Choice { One = 1, Two { x: i64, y: Vec<u8> } = 2, }
    }

    #[test]
    fn what_is_written_is_read() {
        let sample = Sample { a: 7, b: Some("ü".into()), c: vec![(c"x".into(), true), (c"".into(), false)] };
        assert_eq!(Sample::from_bytes(&sample.to_bytes()), Some(sample));
        for choice in [Choice::One, Choice::Two { x: -1, y: vec![1, 2] }] {
            assert_eq!(Choice::from_bytes(&choice.to_bytes()), Some(choice));
        }
    }

    wire_struct! {
        pub struct Grown { pub a: u32, pub b: Option<String>, pub c: Vec<(CString, bool)>, pub d: u64, }
    }

    /// A shim outlives the agent that started it: it is told by a newer one what it knows not.
    #[test]
    fn what_is_new_is_no_trouble_for_the_old() {
        let grown = Grown { a: 7, b: None, c: vec![], d: 9 };
        assert_eq!(Sample::from_bytes(&grown.to_bytes()), Some(Sample { a: 7, b: None, c: vec![] }));
        assert_eq!(Grown::from_bytes(&Sample { a: 7, b: None, c: vec![] }.to_bytes()), None);
    }

    #[test]
    fn no_bytes_make_it_panic_or_allocate_much() {
        let bytes = Sample { a: 7, b: Some("abc".into()), c: vec![(c"x".into(), true)] }.to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Sample::from_bytes(&bytes[..cut]), None);
        }
        assert_eq!(Vec::<u8>::from_bytes(&[0xff; 4]), None);
        assert_eq!(Choice::from_bytes(&[9]), None);
        assert_eq!(CString::from_bytes(&[1, 0, 0, 0, 0]), None);
    }
}
