//! A Qwen3-shaped model with random weights and gates, and a context long enough to grow in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use trimkv_trace::engine::generation::{Generation, Request};
use trimkv_trace::engine::sampling::{Sampler, Sampling};
use trimkv_trace::model::attention::QUERY_BLOCK;
use trimkv_trace::model::load::{Checkpoint, Loaded, Wanted};
use trimkv_trace::policy::Policy;

pub const LAYERS: usize = 8;
const HIDDEN: usize = 512;
const INNER: usize = 1536;
const QUERY_HEADS: usize = 8;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 64;
const VOCAB: usize = 4096;
const GATE: usize = 128;

pub static NEVER: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Writes the model and its gates under cargo's directory for such things, once, and gives their place.
pub fn directory() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-model-{LAYERS}x{HIDDEN}"));
    if root.join("gates/trimkv_weights.safetensors").exists() {
        return root;
    }
    std::fs::create_dir_all(root.join("gates")).unwrap();
    let config = serde_json::json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": QUERY_HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM, "intermediate_size": INNER, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
        "hidden_act": "silu", "tie_word_embeddings": true, "attention_bias": false,
        "max_position_embeddings": 16384, "torch_dtype": "float32",
    });
    std::fs::write(root.join("config.json"), config.to_string()).unwrap();
    let mut gates = config.clone();
    gates["retention_gate"] = "rg".into();
    gates["retention_gate_intermediate_size"] = GATE.into();
    gates["memory_size"] = 256.into();
    gates["buffer_size"] = 32.into();
    std::fs::write(root.join("gates/config.json"), gates.to_string()).unwrap();
    let mut seed = 0;
    let mut random = |shape: &[usize]| {
        seed += 1;
        numbers(shape, seed)
    };
    let ones = |length: usize| Tensor::ones(length, DType::F32, &Device::Cpu).unwrap();
    let (mut base, mut gate) = (HashMap::new(), HashMap::new());
    base.insert("model.embed_tokens.weight".to_owned(), random(&[VOCAB, HIDDEN]));
    base.insert("model.norm.weight".to_owned(), ones(HIDDEN));
    for layer in 0..LAYERS {
        let mut put = |name: &str, tensor: Tensor| base.insert(format!("model.layers.{layer}.{name}.weight"), tensor);
        put("input_layernorm", ones(HIDDEN));
        put("post_attention_layernorm", ones(HIDDEN));
        put("self_attn.q_norm", ones(HEAD_DIM));
        put("self_attn.k_norm", ones(HEAD_DIM));
        put("self_attn.q_proj", random(&[QUERY_HEADS * HEAD_DIM, HIDDEN]));
        put("self_attn.k_proj", random(&[KV_HEADS * HEAD_DIM, HIDDEN]));
        put("self_attn.v_proj", random(&[KV_HEADS * HEAD_DIM, HIDDEN]));
        put("self_attn.o_proj", random(&[HIDDEN, QUERY_HEADS * HEAD_DIM]));
        put("mlp.gate_proj", random(&[INNER, HIDDEN]));
        put("mlp.up_proj", random(&[INNER, HIDDEN]));
        put("mlp.down_proj", random(&[HIDDEN, INNER]));
        let name = |part: &str| format!("model.layers.{layer}.self_attn.retention_gate.{part}");
        gate.insert(name("linear1.weight"), random(&[GATE, HIDDEN]));
        gate.insert(name("linear1.bias"), random(&[GATE]));
        gate.insert(name("linear2.weight"), random(&[KV_HEADS, GATE]));
        gate.insert(name("bias"), (random(&[KV_HEADS]) + 5.0).unwrap());
    }
    candle_core::safetensors::save(&base, root.join("model.safetensors")).unwrap();
    candle_core::safetensors::save(&gate, root.join("gates/trimkv_weights.safetensors")).unwrap();
    root
}

/// Roughly normal numbers of deviation 0.04 that follow from a seed.
fn numbers(shape: &[usize], seed: u64) -> Tensor {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| (0..4).map(|_| rng.random::<f32>() - 0.5).sum::<f32>() * 0.07).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub fn load() -> Loaded {
    let root = directory();
    let name = |path: PathBuf| Some(path.display().to_string());
    let wanted = Wanted { model: name(root.clone()), gates: name(root.join("gates")), ..Wanted::default() };
    Checkpoint::open(&wanted).unwrap().load(DType::F32, &Device::Cpu).unwrap()
}

pub fn request(prompt: Vec<u32>, tokens: usize, attention: bool, logits: bool) -> Request {
    Request {
        prompt,
        prefill_chunk: None,
        max_new_tokens: tokens,
        eos: Vec::new(),
        context: 1 << 20,
        record_attention: attention,
        record_logits: logits,
        query_block: QUERY_BLOCK,
    }
}

pub fn generation<'a>(loaded: &'a Loaded, policy: &'a Policy, request: Request) -> Generation<'a> {
    Generation::new(&loaded.model, policy, request, Sampler::new(Sampling::Greedy, 0), &NEVER).unwrap()
}
