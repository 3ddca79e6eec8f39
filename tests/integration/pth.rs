//! Reading torch checkpoints: the real ones, the odd ones, the broken ones and the hostile ones.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use proptest::prelude::*;
use trimkv_trace::model::pth;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> PathBuf {
    fixtures().join("pth").join(format!("{name}.pth"))
}

fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    pth::read_from(Cursor::new(bytes), "trimkv_weights.pth").map_err(|error| error.to_string())
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err()
}

/// A checkpoint around any pickle, with storages by their key.
fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![("a/data.pkl".to_owned(), pickle)];
    entries.extend(storages.iter().map(|(key, bytes)| (format!("a/data/{key}"), *bytes)));
    archive(&entries)
}

fn archive(entries: &[(String, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Writes pickles instruction by instruction.
#[derive(Default)]
struct Pickle(Vec<u8>);

impl Pickle {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&u32::try_from(text.len()).unwrap().to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, number: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    fn ints(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickle, &number| pickle.int(number)).raw(b"t")
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// The tensor `name` of f32 over the storage `0`.
    fn tensor(self, name: &str, length: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Self {
        self.text(name)
            .global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .text("storage")
            .global("torch", "FloatStorage")
            .text("0")
            .text("cpu")
            .int(length)
            .raw(b"tQ")
            .int(offset)
            .ints(shape)
            .ints(stride)
            .raw(b"\x89}tRs")
    }

    fn in_checkpoint(self, storage: &[f32]) -> Vec<u8> {
        let bytes: Vec<u8> = storage.iter().flat_map(|value| value.to_le_bytes()).collect();
        checkpoint(&self.raw(b".").0, &[("0", &bytes)])
    }
}

fn dictionary() -> Pickle {
    Pickle::default().raw(b"\x80\x02}")
}

fn one_tensor(length: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    dictionary().tensor("w", length, offset, shape, stride).in_checkpoint(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().and_then(|flat| flat.to_dtype(DType::F64)).unwrap();
    flat.to_vec1().unwrap()
}

#[test]
fn recorded_checkpoints_have_their_gates_and_nothing_else() -> anyhow::Result<()> {
    let checkpoints = fixtures().join("golden/checkpoints");
    let mut seen = 0;
    for entry in std::fs::read_dir(checkpoints)? {
        let dir = entry?.path();
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
        let count = |key: &str| config[key].as_u64().map(|count| usize::try_from(count).unwrap());
        let [layers, hidden, heads, width] =
            ["num_hidden_layers", "hidden_size", "num_key_value_heads", "retention_gate_intermediate_size"]
                .map(|key| count(key).unwrap());
        let head_dim = count("head_dim").unwrap_or_else(|| hidden / count("num_attention_heads").unwrap());
        let input = if config["retention_gate"] == "rg" { hidden } else { 2 * head_dim * heads };
        let gate: &[(&str, &[usize])] = match config["retention_gate"].as_str() {
            Some("rg3") => &[
                ("bias", &[heads]),
                ("gate_proj.weight", &[width, input]),
                ("up_proj.weight", &[width, input]),
                ("down_proj.weight", &[heads, width]),
            ],
            _ => &[
                ("bias", &[heads]),
                ("linear1.bias", &[width]),
                ("linear1.weight", &[width, input]),
                ("linear2.weight", &[heads, width]),
            ],
        };
        let expected: BTreeMap<String, Vec<usize>> = (0..layers)
            .flat_map(|layer| gate.iter().map(move |(name, shape)| (layer, name, shape)))
            .map(|(layer, name, shape)| {
                (format!("model.layers.{layer}.self_attn.retention_gate.{name}"), shape.to_vec())
            })
            .collect();
        let tensors = pth::read(&dir.join("trimkv_weights.pth"))?;
        let found: BTreeMap<String, Vec<usize>> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
        assert_eq!(found, expected, "{}", dir.display());
        for (name, tensor) in &tensors {
            let values = floats(tensor);
            assert!(values.iter().all(|value| value.is_finite()), "{name}");
            assert!(values.iter().any(|value| *value != 0.0), "{name}");
        }
        seen += 1;
    }
    assert_eq!(seen, 7);
    Ok(())
}

#[test]
fn every_type_stride_offset_and_wrapper_is_read() -> anyhow::Result<()> {
    for name in ["every_layout", "protocol4"] {
        let tensors = pth::read(&fixture(name))?;
        assert_eq!(tensors.len(), 18);
        let expect = |name: &str, dtype: DType, shape: &[usize], values: &[f64]| {
            let tensor = &tensors[name];
            assert_eq!((tensor.dtype(), tensor.dims(), floats(tensor)), (dtype, shape, values.to_vec()), "{name}");
        };
        expect("f32", DType::F32, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        expect("transposed", DType::F32, &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        expect("column", DType::F32, &[2], &[1.0, 4.0]);
        expect("tail", DType::F32, &[2, 2], &[2.0, 3.0, 4.0, 5.0]);
        expect("scalar", DType::F32, &[], &[5.0]);
        expect("empty", DType::F32, &[0, 4], &[]);
        expect("f64", DType::F32, &[2], &[0.5, -2.0]);
        expect("f16", DType::F16, &[2], &[0.5, -2.0]);
        expect("bf16", DType::BF16, &[2], &[0.5, -2.0]);
        expect("i64", DType::I64, &[2], &[f64::from(1u32 << 20) * f64::from(1u32 << 20), -3.0]);
        expect("i32", DType::I32, &[2], &[f64::from(1 << 20), -3.0]);
        expect("i16", DType::I16, &[2], &[1024.0, -3.0]);
        expect("u8", DType::U8, &[2], &[250.0, 3.0]);
        expect("bool", DType::U8, &[2], &[1.0, 0.0]);
        for name in ["parameter", "stateful"] {
            expect(name, DType::F32, &[6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        }
        expect("subclass", DType::F32, &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let cube: Vec<f64> = (0..4)
            .flat_map(|i| (0..2).flat_map(move |j| (0..3).map(move |k| i + 12 * j + 4 * k)))
            .map(f64::from)
            .collect();
        expect("cube", DType::I16, &[4, 2, 3], &cube);
    }
    Ok(())
}

#[test]
fn newer_protocols_wrapped_dictionaries_and_untyped_storages_are_read() -> anyhow::Result<()> {
    for name in ["protocol5", "wrapped"] {
        let tensors = pth::read(&fixture(name))?;
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["gate.bias", "gate.weight"]);
        assert_eq!(floats(&tensors["gate.bias"]), [3.0, 4.0]);
    }
    assert_eq!(floats(&pth::read(&fixture("untyped"))?["a"]), [1.0, 2.0, 3.0]);
    Ok(())
}

#[test]
fn what_the_pickler_wrote_and_is_no_tensor_is_refused_by_name() {
    let said = |name: &str| pth::read(&fixture(name)).unwrap_err().to_string();
    insta::assert_snapshot!(said("code"), @"code.pth refers to os.run_anything, which is code and not a tensor; refused without running it");
    insta::assert_snapshot!(said("code4"), @"code4.pth refers to builtins.eval, which is code and not a tensor; refused without running it");
    insta::assert_snapshot!(said("int8"), @r#"int8.pth holds "a", whose element type is not one that this program reads"#);
    insta::assert_snapshot!(said("beyond"), @r#"beyond.pth holds "a", which reaches beyond its storage of 3 elements"#);
}

#[test]
fn code_is_refused_whichever_instruction_names_it() {
    let global = dictionary().text("w").global("os", "system").raw(b"(").text("true").raw(b"tRs");
    let stack_global = dictionary().text("w").text("os").text("system").raw(b"\x93");
    let instance = dictionary().raw(b"(").text("true").raw(b"ios\nsystem\n");
    let unused = dictionary().global("os", "system").raw(b"0");
    for pickle in [global, stack_global, instance, unused] {
        assert_eq!(
            refusal(&pickle.in_checkpoint(&[])),
            "trimkv_weights.pth refers to os.system, which is code and not a tensor; refused without running it"
        );
    }
}

#[test]
fn files_that_are_no_checkpoint_are_told_apart() {
    let old = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    insta::assert_snapshot!(refusal(&old), @"trimkv_weights.pth is in torch's old format: load it with torch and save it again to get the zip format");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    insta::assert_snapshot!(refusal(pointer), @r#"trimkv_weights.pth is a Git LFS pointer and not the weights: fetch them with "git lfs pull""#);
    for text in ["", "<html>", "PK"] {
        let said = refusal(text.as_bytes());
        assert_eq!(said, "trimkv_weights.pth is not a torch checkpoint: it does not begin like a zip archive");
    }
    let whole = std::fs::read(fixture("every_layout")).unwrap();
    let truncated = refusal(&whole[..whole.len() / 2]);
    assert!(truncated.starts_with("trimkv_weights.pth is a damaged or truncated zip archive ("), "{truncated}");
    let empty = archive(&[("readme.txt".to_owned(), b"hello")]);
    insta::assert_snapshot!(refusal(&empty), @"trimkv_weights.pth has 0 entries data.pkl where a torch checkpoint has one");
    let twice = archive(&[("a/data.pkl".to_owned(), b"."), ("b/data.pkl".to_owned(), b".")]);
    insta::assert_snapshot!(refusal(&twice), @"trimkv_weights.pth has 2 entries data.pkl where a torch checkpoint has one");
    let big = archive(&[("a/data.pkl".to_owned(), b"}."), ("a/byteorder".to_owned(), b"big")]);
    insta::assert_snapshot!(refusal(&big), @r#"trimkv_weights.pth was saved with byte order "big": only "little" is supported"#);
    insta::assert_snapshot!(refusal(&checkpoint(b"\x80\x02K\x07.", &[])), @"trimkv_weights.pth holds one value where a dictionary of tensors is expected");
    let missing = pth::read(Path::new("no/such/trimkv_weights.pth")).unwrap_err().to_string();
    assert!(missing.starts_with("no/such/trimkv_weights.pth cannot be read ("), "{missing}");
}

#[test]
fn an_empty_dictionary_has_no_tensors() {
    assert!(read(&dictionary().in_checkpoint(&[])).unwrap().is_empty());
}

#[test]
fn a_value_that_is_no_tensor_is_named() {
    let number = dictionary().text("epoch").int(3).raw(b"s").in_checkpoint(&[]);
    insta::assert_snapshot!(refusal(&number), @r#"trimkv_weights.pth holds "epoch", which is not a tensor"#);
    let numbered = dictionary().int(3).int(3).raw(b"s").in_checkpoint(&[]);
    insta::assert_snapshot!(refusal(&numbered), @"trimkv_weights.pth holds a key that is no name where a dictionary of tensors is expected");
}

#[test]
fn views_that_reach_beyond_their_storage_are_refused() {
    let beyond: [(i64, &[i64], &[i64]); 8] = [
        (0, &[7], &[1]),
        (6, &[1], &[1]),
        (5, &[2], &[1]),
        (0, &[2, 3], &[4, 1]),
        (0, &[2], &[i64::MAX]),
        (i64::MAX, &[2], &[1]),
        (0, &[1 << 40, 1 << 40], &[0, 0]),
        // Every element is the first one: 28 billion bytes out of 4.
        (0, &[7 << 30], &[0]),
    ];
    for (offset, shape, stride) in beyond {
        let said = refusal(&one_tensor(6, offset, shape, stride));
        assert_eq!(said, "trimkv_weights.pth holds \"w\", which reaches beyond its storage of 6 elements", "{shape:?}");
    }
    for (length, offset, shape, stride) in [(-6, 0, [6], [1]), (6, -1, [6], [1]), (6, 0, [-6], [1]), (6, 0, [6], [-1])]
    {
        let said = refusal(&one_tensor(length, offset, &shape, &stride));
        assert!(said.ends_with("not a count") || said.ends_with("not counts"), "{said}");
    }
    insta::assert_snapshot!(refusal(&one_tensor(6, 0, &[6], &[1, 1])), @r#"trimkv_weights.pth holds "w", which has 1 axes and 2 strides"#);
    assert!(refusal(&one_tensor(0, 0, &[1 << 40, 0, 1 << 40], &[1, 1, 1])).contains("beyond its storage"));
}

#[test]
fn a_storage_that_is_shorter_than_it_says_or_missing_is_named() {
    let short = dictionary().tensor("w", 8, 0, &[8], &[1]).in_checkpoint(&[0.0; 6]);
    insta::assert_snapshot!(refusal(&short), @r#"trimkv_weights.pth holds "w", whose storage has 24 bytes instead of 32"#);
    let missing = checkpoint(&dictionary().tensor("w", 8, 0, &[8], &[1]).raw(b".").0, &[]);
    insta::assert_snapshot!(refusal(&missing), @r#"trimkv_weights.pth holds "w", whose storage is missing"#);
    let endless = dictionary().tensor("w", i64::MAX, 0, &[1], &[1]).in_checkpoint(&[0.0; 6]);
    insta::assert_snapshot!(refusal(&endless), @r#"trimkv_weights.pth holds "w", whose storage is impossibly long"#);
}

#[test]
fn tied_weights_are_one_tensor_and_overlapping_ones_do_not_fill_the_memory() {
    let storage: Vec<f32> = (0..5000u16).map(f32::from).collect();
    let tied = (0..500).fold(dictionary(), |pickle, i| pickle.tensor(&format!("{i}"), 5000, 0, &[5000], &[1]));
    assert_eq!(read(&tied.in_checkpoint(&storage)).unwrap().len(), 500);
    let shifted = (0..500).fold(dictionary(), |pickle, i| pickle.tensor(&format!("{i}"), 5000, i, &[4500], &[1]));
    let said = refusal(&shifted.in_checkpoint(&storage));
    assert!(said.ends_with("with which its tensors are far larger than the file"), "{said}");
}

/// Copying a value where it is mentioned again would make 2^200 values here.
#[test]
fn values_that_mention_one_another_again_and_again_cost_nothing() {
    let nested = (0..200).fold(dictionary().text("w").raw(b")"), |pickle, _| pickle.raw(b"q\x00h\x00\x86"));
    let said = refusal(&nested.raw(b"s").in_checkpoint(&[]));
    assert!(said.ends_with("holds \"w\", which is not a tensor"), "{said}");
    // A dictionary in itself, and a nesting so deep that walking it would end the stack.
    let itself = dictionary().raw(b"q\x00").text("state_dict").raw(b"h\x00s");
    assert!(refusal(&itself.in_checkpoint(&[])).contains("not a tensor"));
    let deep = dictionary().text("w").raw(b")").raw(&vec![0x85; 1 << 20]).raw(b"s");
    assert!(refusal(&deep.in_checkpoint(&[])).contains("not a tensor"));
}

#[test]
fn lengths_beyond_the_file_are_refused_before_memory_is_asked_for() {
    for text in
        [&b"X\xff\xff\xff\xff"[..], b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", b"\x8b\xff\xff\xff\xff", b"\x8a\xff"]
    {
        assert!(refusal(&dictionary().raw(text).in_checkpoint(&[])).contains("damaged list of tensors"));
    }
    let wide = dictionary().raw(&[0x8a, 9]).raw(&[1; 9]);
    insta::assert_snapshot!(refusal(&wide.in_checkpoint(&[])), @"trimkv_weights.pth has a damaged list of tensors: an integer has more than 64 bits at byte 3 of data.pkl");
    let long = checkpoint(&vec![b'N'; 9 << 20], &[]);
    insta::assert_snapshot!(refusal(&long), @"trimkv_weights.pth has a list of tensors of 9437184 bytes, more than the 8388608 that are read");
}

/// The same bytes as a second entry: a small file could else be read as one of any size.
#[test]
fn entries_that_share_their_bytes_are_refused() {
    let bytes = one_tensor(1000, 0, &[1000], &[1]);
    let [directory, end] =
        [b"PK\x01\x02", b"PK\x05\x06"].map(|mark| bytes.windows(4).position(|at| at == mark).unwrap());
    let mut shared = bytes[..end].to_vec();
    for index in 0..9u8 {
        let mut again = bytes[directory..end].to_vec();
        // Under other names: "a/data.pkl" becomes "0/data.pkl".
        for at in 0..again.len() - 2 {
            if &again[at..at + 2] == b"a/" {
                again[at] = b'0' + index;
            }
        }
        shared.extend(again);
    }
    let mut tail = bytes[end..].to_vec();
    let length = u32::try_from(shared.len() - directory).unwrap();
    tail[8..10].copy_from_slice(&20u16.to_le_bytes());
    tail[10..12].copy_from_slice(&20u16.to_le_bytes());
    tail[12..16].copy_from_slice(&length.to_le_bytes());
    shared.extend(tail);
    let said = refusal(&shared);
    assert!(said.contains("is not to be trusted: its entries claim"), "{said}");
}

#[test]
fn a_changed_byte_of_a_storage_is_noticed() {
    let mut bytes = one_tensor(6, 0, &[6], &[1]);
    let value = bytes.windows(4).position(|window| window == 4f32.to_le_bytes()).unwrap();
    bytes[value] ^= 1;
    assert!(refusal(&bytes).contains("damaged"));
}

#[test]
fn a_checkpoint_that_stops_anywhere_is_refused_and_never_panics() {
    for name in ["every_layout", "protocol5"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn a_pickle_that_stops_anywhere_is_refused_and_never_panics() {
    let whole = dictionary().tensor("w", 6, 0, &[2, 3], &[3, 1]).raw(b".").0;
    for length in 0..whole.len() {
        assert!(read(&checkpoint(&whole[..length], &[("0", &[0; 24])])).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn no_flipped_bit_panics() {
    for name in ["every_layout", "protocol4", "wrapped"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in 0..whole.len() {
            for bit in [0x01, 0x20, 0x80, 0xff] {
                let mut flipped = whole.clone();
                flipped[at] ^= bit;
                drop(read(&flipped));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Past the archive's checksums, straight into the parser.
    #[test]
    fn no_pickle_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&checkpoint(&noise, &[("0", &[0; 24])])));
    }

    #[test]
    fn no_changed_pickle_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut pickle = dictionary().tensor("w", 6, 0, &[2, 3], &[3, 1]).tensor("v", 6, 1, &[3], &[2]).raw(b".").0;
        for (at, byte) in changes {
            let at = at.index(pickle.len());
            pickle[at] = byte;
        }
        drop(read(&checkpoint(&pickle, &[("0", &[0; 24])])));
    }

    /// Numbers of any size in a tensor's description: it is made exactly when it lies inside its storage.
    #[test]
    fn a_view_is_made_exactly_when_it_fits(
        offset in 0..9usize, shape in prop::collection::vec(0..5usize, 0..4), strides in prop::collection::vec(0..7usize, 3),
    ) {
        let strides = &strides[..shape.len()];
        let signed = |numbers: &[usize]| numbers.iter().map(|&number| i64::try_from(number).unwrap()).collect::<Vec<_>>();
        let bytes = one_tensor(6, i64::try_from(offset).unwrap(), &signed(&shape), &signed(strides));
        let elements: usize = shape.iter().product();
        let last = offset + shape.iter().zip(strides).map(|(&size, &stride)| size.saturating_sub(1) * stride).sum::<usize>();
        let fits = elements == 0 || (last < 6 && elements <= 6);
        let read = read(&bytes);
        prop_assert_eq!(read.is_ok(), fits);
        if let Ok(tensors) = read {
            prop_assert_eq!(tensors["w"].dims(), &shape[..]);
            let mut expected = vec![offset];
            for (&size, &stride) in shape.iter().zip(strides) {
                expected = expected.iter().flat_map(|&at| (0..size).map(move |index| at + index * stride)).collect();
            }
            let expected: Vec<f64> = expected.into_iter().map(|at| f64::from(u32::try_from(at).unwrap())).collect();
            prop_assert_eq!(floats(&tensors["w"]), expected);
        }
    }
}
