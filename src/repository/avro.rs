//! Makes an Avro file a function of what it says.
//!
//! Rule: the same content gives the same bytes, and so the same digest and name. The table format's own writer draws a
//! random block marker and keeps header entries and the per-column figures of a file in hash maps; here the marker becomes a
//! digest, and what is a map is put in order. Nothing else is touched: no value, no type, no record's place.
//! A crash leaves nothing here: this file is pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Hash;

const MAGIC: &[u8] = b"Obj\x01";
const MARKER_BYTES: usize = 16;

/// The same records under the same schema, in one block.
pub(super) fn canonical(file: &[u8]) -> Result<Bytes> {
    rewrite(file).ok_or_else(|| Error::new(ErrorKind::Bug, "an Avro file is not what its schema says"))
}

fn rewrite(file: &[u8]) -> Option<Bytes> {
    let mut input = file.strip_prefix(MAGIC)?;
    let header = read_header(&mut input)?;
    let schema: Value = serde_json::from_slice(header.get(b"avro.schema".as_slice())?).ok()?;
    if header.get(b"avro.codec".as_slice()).is_some_and(|codec| *codec != b"null") {
        return None;
    }
    take(&mut input, MARKER_BYTES)?;

    let (mut count, mut records) = (0, Vec::new());
    while !input.is_empty() {
        let in_block = read_long(&mut input)?;
        let length = read_long(&mut input)?;
        let mut block = take(&mut input, usize::try_from(length).ok()?)?;
        for _ in 0..in_block {
            copy(&schema, &mut block, &mut records)?;
        }
        count += in_block;
        take(&mut input, MARKER_BYTES)?;
    }

    let mut output = MAGIC.to_vec();
    write_long(i64::try_from(header.len()).ok()?, &mut output);
    for (key, value) in header {
        write_bytes(key, &mut output)?;
        write_bytes(value, &mut output)?;
    }
    write_long(0, &mut output);
    let digest = Hash::of(&[output.as_slice(), records.as_slice()].concat());
    let marker = &digest.bytes()[..MARKER_BYTES];
    output.extend(marker);
    if count > 0 {
        write_long(count, &mut output);
        write_bytes(&records, &mut output)?;
        output.extend(marker);
    }
    Some(output.into())
}

/// The entries of the file's header.
fn read_header<'a>(input: &mut &'a [u8]) -> Option<BTreeMap<&'a [u8], &'a [u8]>> {
    let mut header = BTreeMap::new();
    loop {
        match read_block(input)? {
            0 => return Some(header),
            entries => {
                for _ in 0..entries {
                    let key = read_bytes(input)?;
                    header.insert(key, read_bytes(input)?);
                }
            }
        }
    }
}

/// Copies one value of the type `schema`, its maps in order.
fn copy(schema: &Value, input: &mut &[u8], output: &mut Vec<u8>) -> Option<()> {
    match schema {
        Value::String(primitive) => copy_primitive(primitive, input, output),
        Value::Array(branches) => {
            let branch = read_long(input)?;
            write_long(branch, output);
            copy(branches.get(usize::try_from(branch).ok()?)?, input, output)
        }
        Value::Object(named) => match named.get("type")?.as_str() {
            Some("record") => named
                .get("fields")?
                .as_array()?
                .iter()
                .try_for_each(|field| copy(field.get("type")?, input, output)),
            Some("array") => copy_array(named.get("items")?, input, output),
            Some("fixed") => {
                output.extend(take(input, usize::try_from(named.get("size")?.as_u64()?).ok()?)?);
                Some(())
            }
            _ => copy(named.get("type")?, input, output),
        },
        _ => None,
    }
}

fn copy_primitive(primitive: &str, input: &mut &[u8], output: &mut Vec<u8>) -> Option<()> {
    match primitive {
        "null" => {}
        "boolean" => output.extend(take(input, 1)?),
        "int" | "long" => write_long(read_long(input)?, output),
        "float" => output.extend(take(input, 4)?),
        "double" => output.extend(take(input, 8)?),
        "bytes" | "string" => write_bytes(read_bytes(input)?, output)?,
        _ => return None,
    }
    Some(())
}

fn copy_array(item: &Value, input: &mut &[u8], output: &mut Vec<u8>) -> Option<()> {
    let mut items = Vec::new();
    loop {
        let in_block = read_block(input)?;
        if in_block == 0 {
            break;
        }
        for _ in 0..in_block {
            let mut copied = Vec::new();
            copy(item, input, &mut copied)?;
            items.push(copied);
        }
    }
    if is_entry(item) {
        items.sort_by_cached_key(|entry| read_long(&mut entry.as_slice()));
    }
    if !items.is_empty() {
        write_long(i64::try_from(items.len()).ok()?, output);
        output.extend(items.into_iter().flatten());
    }
    write_long(0, output);
    Some(())
}

/// Whether an array of `item` is Iceberg's way to write a map whose keys are numbers.
fn is_entry(item: &Value) -> bool {
    let Some(fields) = item.get("fields").and_then(Value::as_array) else { return false };
    let names: Vec<_> = fields.iter().filter_map(|field| field.get("name")?.as_str()).collect();
    names == ["key", "value"] && fields[0].get("type").is_some_and(|kind| kind == "int")
}

/// How many items follow in this block of an array or map; 0 at its end.
fn read_block(input: &mut &[u8]) -> Option<i64> {
    let count = read_long(input)?;
    if count < 0 {
        // The length of the block, for those who skip it.
        read_long(input)?;
    }
    count.checked_abs()
}

fn read_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_long(input)?;
    take(input, usize::try_from(length).ok()?)
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(length)?;
    *input = tail;
    Some(head)
}

/// Reads a number in Avro's way: seven bits a byte, the sign in the lowest.
fn read_long(input: &mut &[u8]) -> Option<i64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let byte = take(input, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
        }
        shift += 7;
    }
}

fn write_long(value: i64, output: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest > 0x7f {
        output.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    output.push(rest as u8);
}

fn write_bytes(bytes: &[u8], output: &mut Vec<u8>) -> Option<()> {
    write_long(i64::try_from(bytes.len()).ok()?, output);
    output.extend(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `records`, with a header and entries in the given order, and a marker of sevens.
    fn file(header: &[(&str, &str)], blocks: &[&[&[(i64, i64)]]], marker: u8) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        write_long(header.len() as i64, &mut file);
        for (key, value) in header {
            write_bytes(key.as_bytes(), &mut file).expect("short");
            write_bytes(value.as_bytes(), &mut file).expect("short");
        }
        write_long(0, &mut file);
        file.extend([marker; MARKER_BYTES]);
        for block in blocks {
            let mut data = Vec::new();
            for entries in *block {
                write_bytes(b"name", &mut data).expect("short");
                write_long(1, &mut data);
                write_long(entries.len() as i64, &mut data);
                for (key, value) in *entries {
                    write_long(*key, &mut data);
                    write_long(*value, &mut data);
                }
                write_long(0, &mut data);
            }
            write_long(block.len() as i64, &mut file);
            write_bytes(&data, &mut file).expect("short");
            file.extend([marker; MARKER_BYTES]);
        }
        file
    }

    const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"string"},
        {"name":"m","type":["null",{"type":"array","items":{"type":"record","name":"e","fields":[
        {"name":"key","type":"int"},{"name":"value","type":"long"}]}}]}]}"#;

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let one = file(
            &[("avro.schema", SCHEMA), ("a", "b")],
            &[&[&[(2, -3), (70_000, 1)]], &[&[(1, i64::MIN)]]],
            7,
        );
        let other =
            file(&[("a", "b"), ("avro.schema", SCHEMA)], &[&[&[(70_000, 1), (2, -3)], &[(1, i64::MIN)]]], 8);
        let canonical = |file: &[u8]| super::canonical(file).expect("an Avro file");
        assert_eq!(canonical(&one), canonical(&other));
        assert_eq!(canonical(&canonical(&one)), canonical(&one));
        let third =
            file(&[("a", "b"), ("avro.schema", SCHEMA)], &[&[&[(70_000, 1), (2, -4)], &[(1, i64::MIN)]]], 8);
        assert_ne!(canonical(&one), canonical(&third));
    }

    #[test]
    fn what_contradicts_its_schema_is_refused() {
        let whole = file(&[("avro.schema", SCHEMA)], &[&[&[(2, -3)]]], 7);
        for length in 0..whole.len() - MARKER_BYTES - 1 {
            // Right behind its header a file may end.
            if let Ok(bytes) = canonical(&whole[..length]) {
                assert!(canonical(&bytes).is_ok(), "{length}");
            }
        }
        assert!(canonical(b"Obj\x01").is_err());
        assert!(canonical(&whole[..whole.len() - 1]).is_err());
    }
}
