//! Small tokenizers of the three families that language models use.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::spelling::byte_level_alphabet;
use super::tokenizer::TextTokenizer;

fn load(json: &Value) -> TextTokenizer {
    TextTokenizer::from_bytes(json.to_string().as_bytes()).expect("the sample is a tokenizer")
}

/// The `tokenizer.json` of the tiny model: byte-level BPE.
pub(super) fn tiny_json() -> Value {
    let json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/tokenizer.json"));
    serde_json::from_str(json).expect("the fixture is JSON")
}

pub(super) fn tiny() -> &'static TextTokenizer {
    static TINY: LazyLock<TextTokenizer> = LazyLock::new(|| load(&tiny_json()));
    &TINY
}

fn added(id: usize, content: &str, special: bool, rstrip: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": rstrip, "normalized": false, "special": special})
}

fn bpe(tokens: &[String], merges: &[[&str; 2]], byte_fallback: bool) -> Value {
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": true, "byte_fallback": byte_fallback, "ignore_merges": false, "vocab": vocab, "merges": merges,
    })
}

/// Llama 2 and Phi-3: `▁` for spaces, unknown characters as byte tokens, added tokens that swallow the space after them.
pub(super) fn sentencepiece() -> &'static TextTokenizer {
    static SAMPLE: LazyLock<TextTokenizer> = LazyLock::new(|| load(&sentencepiece_json()));
    &SAMPLE
}

fn sentencepiece_json() -> Value {
    let merges =
        [["H", "e"], ["l", "l"], ["He", "ll"], ["Hell", "o"], ["▁", "Hello"], ["▁", "▁"], ["a", "n"], ["▁", "an"]];
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend("▁Helowrdanus.,!é".chars().map(String::from));
    tokens.extend(merges.iter().map(|pair| pair.concat()));
    let first_added = tokens.len();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [
            added(0, "<unk>", true, false), added(1, "<s>", true, false), added(2, "</s>", true, false),
            added(first_added, "<|user|>", true, true), added(first_added + 1, "<|end|>", true, true),
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        ]},
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": bpe(&tokens, &merges, true),
    })
}

/// Llama 3, Qwen and DeepSeek: a splitting pattern, then bytes; added tokens need not be ASCII.
pub(super) fn byte_level() -> &'static TextTokenizer {
    static SAMPLE: LazyLock<TextTokenizer> = LazyLock::new(|| load(&byte_level_json()));
    &SAMPLE
}

fn byte_level_json() -> Value {
    // The merges of `ä`+`½` and `ð`+`Ł` end inside a character, as merges of large vocabularies do.
    let merges = [["Ġ", "t"], ["h", "e"], ["Ġt", "he"], ["ä", "½"], ["ð", "Ł"], ["ðŁ", "Ļ"], ["Ċ", "Ċ"], ["â", "Ģ"]];
    let mut tokens: Vec<String> = byte_level_alphabet().map(|(c, _)| c.to_string()).collect();
    tokens.extend(merges.iter().map(|pair| pair.concat()));
    let first_added = tokens.len();
    let names = [
        ("<|begin_of_text|>", true),
        ("<|eot_id|>", true),
        ("<｜User｜>", true),
        ("<think>", false),
        ("</think>", false),
    ];
    let added_tokens: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(index, &(name, special))| added(first_added + index, name, special, false))
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
                "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": bpe(&tokens, &merges, false),
    })
}

/// A few words and any decoder.
pub(super) fn with_decoder(decoder: Value) -> TextTokenizer {
    let tokens = ["un", "##known", "!", "▁Hello"].map(str::to_owned);
    load(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": decoder, "model": bpe(&tokens, &[], false),
    }))
}
