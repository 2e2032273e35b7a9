//! Records: typed structs as positional arrays, strict in both directions.
//!
//! A record lists its fields once; from that list come the canonical encoding,
//! the strict decoding and the rendering for people. An absent optional field
//! is an empty array and a present one an array of one element, because the
//! subset has no null and zero is a value.

use thiserror::Error;

use crate::cbor::{CborError, Value};

/// Longest accepted text in a record, in bytes.
/// Chosen: names and reasons fit easily; a text can never fill an atom.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Why a canonical value does not match the schema that is expected of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The bytes are not canonical to begin with.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A value of another type or range stands where `expected` belongs.
    #[error("expected {expected}")]
    Expected {
        /// What the schema asks for.
        expected: &'static str,
    },
    /// A record has the wrong number of fields.
    #[error("{record} has {expected} fields, found {found}")]
    FieldCount {
        /// Name of the record.
        record: &'static str,
        /// Number of fields of the record.
        expected: usize,
        /// Number of elements found.
        found: usize,
    },
    /// A field of a record is wrong.
    #[error("{record}.{field}: {source}")]
    InField {
        /// Name of the record.
        record: &'static str,
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        source: Box<SchemaError>,
    },
    /// Every field is well formed, but together they break a rule.
    #[error("{rule}")]
    Rule {
        /// The broken rule as a sentence.
        rule: &'static str,
    },
}

/// A field for people: what a JSON or a table view prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// An absent value.
    Absent,
    /// An integer of at most 64 bits and a sign.
    Int(i128),
    /// A text; ids, keys and 128-bit amounts are texts too.
    Text(String),
    /// A list.
    List(Vec<Shown>),
    /// Named fields in their order on the wire.
    Record(Vec<(&'static str, Shown)>),
}

/// A type that can be a field of a record.
pub trait Field: Sized {
    /// The canonical value.
    fn to_value(&self) -> Value;
    /// The typed value, if `value` is exactly one.
    ///
    /// # Errors
    /// Says which type, range or rule was expected.
    fn from_value(value: Value) -> Result<Self, SchemaError>;
    /// The rendering for people.
    fn shown(&self) -> Shown;

    /// The canonical bytes.
    ///
    /// # Errors
    /// Over a limit of [`crate::cbor`].
    fn to_bytes(&self) -> Result<Vec<u8>, CborError> {
        self.to_value().encode()
    }

    /// Decodes canonical bytes; any other bytes are refused.
    ///
    /// # Errors
    /// Says what is not canonical or not in the schema.
    fn from_bytes(bytes: &[u8]) -> Result<Self, SchemaError> {
        Self::from_value(Value::decode(bytes)?)
    }
}

macro_rules! integer_fields {
    ($($int:ty => $expected:literal),*) => {$(
        impl Field for $int {
            fn to_value(&self) -> Value {
                Value::Int(i128::from(*self))
            }
            fn from_value(value: Value) -> Result<Self, SchemaError> {
                match value {
                    Value::Int(n) => <$int>::try_from(n).ok(),
                    _ => None,
                }
                .ok_or(SchemaError::Expected { expected: $expected })
            }
            fn shown(&self) -> Shown {
                Shown::Int(i128::from(*self))
            }
        }
    )*};
}
integer_fields!(
    u8 => "an integer of 8 bits",
    u32 => "an integer of 32 bits",
    u64 => "an unsigned integer of 64 bits",
    i64 => "a signed integer of 64 bits"
);

impl Field for bool {
    fn to_value(&self) -> Value {
        Value::Int(i128::from(*self))
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            _ => Err(SchemaError::Expected { expected: "0 or 1" }),
        }
    }
    fn shown(&self) -> Shown {
        Shown::Int(i128::from(*self))
    }
}

impl Field for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Text(text) if text.len() <= TEXT_BYTES_MAX => Ok(text),
            _ => Err(SchemaError::Expected {
                expected: "a text of at most 1024 bytes",
            }),
        }
    }
    fn shown(&self) -> Shown {
        Shown::Text(self.clone())
    }
}

/// An opaque byte string, shown as hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opaque(
    /// The bytes.
    pub Vec<u8>,
);

impl Field for Opaque {
    fn to_value(&self) -> Value {
        Value::Bytes(self.0.clone())
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Bytes(bytes) => Ok(Opaque(bytes)),
            _ => Err(SchemaError::Expected {
                expected: "a byte string",
            }),
        }
    }
    fn shown(&self) -> Shown {
        Shown::Text(crate::hash::hex(&self.0))
    }
}

/// A signed amount of money or of an asset in its smallest unit.
///
/// On the wire it is 16 bytes, two's complement, big-endian: always the same
/// length, and no bignum tag is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(
    /// The amount in the smallest unit of its asset.
    pub i128,
);

impl Field for Amount {
    fn to_value(&self) -> Value {
        Value::Bytes(self.0.to_be_bytes().to_vec())
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Bytes(bytes) => bytes
                .try_into()
                .ok()
                .map(|b| Amount(i128::from_be_bytes(b))),
            _ => None,
        }
        .ok_or(SchemaError::Expected {
            expected: "16 bytes, an amount",
        })
    }
    fn shown(&self) -> Shown {
        Shown::Text(self.0.to_string())
    }
}

impl<T: Field> Field for Option<T> {
    fn to_value(&self) -> Value {
        Value::Array(self.iter().map(Field::to_value).collect())
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let expected = SchemaError::Expected {
            expected: "an array of no or one element",
        };
        let Value::Array(mut items) = value else {
            return Err(expected);
        };
        match (items.pop(), items.is_empty()) {
            (None, _) => Ok(None),
            (Some(item), true) => T::from_value(item).map(Some),
            (Some(_), false) => Err(expected),
        }
    }
    fn shown(&self) -> Shown {
        self.as_ref().map_or(Shown::Absent, Field::shown)
    }
}

impl<T: Field> Field for Vec<T> {
    fn to_value(&self) -> Value {
        Value::Array(self.iter().map(Field::to_value).collect())
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Array(items) => items.into_iter().map(T::from_value).collect(),
            _ => Err(SchemaError::Expected {
                expected: "an array",
            }),
        }
    }
    fn shown(&self) -> Shown {
        Shown::List(self.iter().map(Field::shown).collect())
    }
}

/// Takes the fields of a record apart, or says how many there should be.
pub(crate) fn open_record(
    value: Value,
    record: &'static str,
    expected: usize,
) -> Result<std::vec::IntoIter<Value>, SchemaError> {
    match value {
        Value::Array(items) if items.len() == expected => Ok(items.into_iter()),
        Value::Array(items) => Err(SchemaError::FieldCount {
            record,
            expected,
            found: items.len(),
        }),
        _ => Err(SchemaError::FieldCount {
            record,
            expected,
            found: 0,
        }),
    }
}

/// Reads the next field of an opened record.
pub(crate) fn next_field<T: Field>(
    items: &mut std::vec::IntoIter<Value>,
    record: &'static str,
    field: &'static str,
) -> Result<T, SchemaError> {
    let value = items.next().ok_or(SchemaError::Expected {
        expected: "one more field",
    })?;
    T::from_value(value).map_err(|e| SchemaError::InField {
        record,
        field,
        source: Box::new(e),
    })
}

/// Declares a struct whose encoding is the array of its fields in this order.
///
/// `where |x| rule` names a function that is run on every decoded value, so
/// that bytes which break a rule never become a value.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $name:ident $(where $rule:path)? {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )+
        }

        impl $crate::record::Field for $name {
            fn to_value(&self) -> $crate::cbor::Value {
                $crate::cbor::Value::Array(vec![
                    $( $crate::record::Field::to_value(&self.$field), )+
                ])
            }
            fn from_value(
                value: $crate::cbor::Value,
            ) -> Result<Self, $crate::record::SchemaError> {
                const RECORD: &str = stringify!($name);
                const COUNT: usize = [$( stringify!($field) ),+].len();
                let mut items = $crate::record::open_record(value, RECORD, COUNT)?;
                let record = $name {
                    $( $field: $crate::record::next_field(&mut items, RECORD, stringify!($field))?, )+
                };
                $( $rule(&record)?; )?
                Ok(record)
            }
            fn shown(&self) -> $crate::record::Shown {
                $crate::record::Shown::Record(vec![
                    $( (stringify!($field), $crate::record::Field::shown(&self.$field)), )+
                ])
            }
        }
    };
}

/// Declares an enum without data whose encoding is a small fixed number.
macro_rules! coded {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $code:literal $text:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $name {
            /// Every variant, in the order of the codes.
            pub const ALL: &'static [$name] = &[$( $name::$variant ),+];

            /// The number on the wire; it never changes its meaning.
            pub fn code(self) -> u8 {
                match self { $( $name::$variant => $code, )+ }
            }

            /// The name in renderings.
            pub fn name(self) -> &'static str {
                match self { $( $name::$variant => $text, )+ }
            }
        }

        impl $crate::record::Field for $name {
            fn to_value(&self) -> $crate::cbor::Value {
                $crate::cbor::Value::Int(i128::from(self.code()))
            }
            fn from_value(
                value: $crate::cbor::Value,
            ) -> Result<Self, $crate::record::SchemaError> {
                match value {
                    $( $crate::cbor::Value::Int($code) => Ok($name::$variant), )+
                    _ => Err($crate::record::SchemaError::Expected {
                        expected: concat!("a code of ", stringify!($name)),
                    }),
                }
            }
            fn shown(&self) -> $crate::record::Shown {
                $crate::record::Shown::Text(self.name().to_owned())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    record! {
        /// A record for these tests.
        Breaker where has_name {
            /// Name.
            name: String,
            /// Open or closed, if known.
            closed: Option<bool>,
        }
    }

    fn has_name(b: &Breaker) -> Result<(), SchemaError> {
        if b.name.is_empty() {
            Err(SchemaError::Rule {
                rule: "A breaker has a name.",
            })
        } else {
            Ok(())
        }
    }

    fn check(value: Value, expected: &str) {
        let found = Breaker::from_value(value).map_or_else(|e| e.to_string(), |b| format!("{b:?}"));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_record_is_refused_with_the_name_of_the_field_that_is_wrong() {
        let text = |t: &str| Value::Text(t.to_owned());
        let none = Value::Array(vec![]);
        let some = |n| Value::Array(vec![Value::Int(n)]);
        check(
            Value::Array(vec![text("a"), none.clone()]),
            r#"Breaker { name: "a", closed: None }"#,
        );
        check(
            Value::Array(vec![text("a"), some(1)]),
            r#"Breaker { name: "a", closed: Some(true) }"#,
        );
        check(
            Value::Array(vec![text("a"), some(2)]),
            "Breaker.closed: expected 0 or 1",
        );
        check(
            Value::Array(vec![text("a")]),
            "Breaker has 2 fields, found 1",
        );
        check(
            Value::Array(vec![text("a"), none.clone(), none.clone()]),
            "Breaker has 2 fields, found 3",
        );
        check(
            Value::Array(vec![
                text("a"),
                Value::Array(vec![Value::Int(1), Value::Int(1)]),
            ]),
            "Breaker.closed: expected an array of no or one element",
        );
        check(Value::Array(vec![text(""), none]), "A breaker has a name.");
        check(Value::Int(1), "Breaker has 2 fields, found 0");
    }

    #[test]
    fn an_amount_keeps_every_bit_of_its_128() {
        for n in [0, 1, -1, i128::MAX, i128::MIN] {
            assert_eq!(Amount::from_value(Amount(n).to_value()), Ok(Amount(n)));
        }
        assert!(Amount::from_value(Value::Bytes(vec![0; 15])).is_err());
    }
}
