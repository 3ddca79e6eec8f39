"""The peer of `trimkv-trace bench --budget full`: the same shape with random weights in plain transformers, everything kept.

    python gpu_peer.py SHAPE CONTEXT BATCH STEPS DEVICE DTYPE

Prints one JSON object. Needs PyTorch and transformers; greedy, one token of every sequence a step, no compilation.
"""

import json
import sys
import time

import torch
import transformers
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

# As `trimkv-trace bench --model` knows them.
SHAPES = {
    "qwen3-4b": dict(hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32),
    "tiny": dict(
        hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        vocab_size=521,
    ),
}

shape, context, batch, steps, device, dtype = sys.argv[1:]
context, batch, steps = int(context), int(batch), int(steps)
common = dict(
    num_key_value_heads=8, head_dim=128, vocab_size=151936, tie_word_embeddings=True, rope_theta=1_000_000.0,
    max_position_embeddings=max(40960, context + steps + 1),
)
config = Qwen3Config(**{**common, **SHAPES[shape]}, dtype=getattr(torch, dtype))


def settle():
    if device.startswith("cuda"):
        torch.cuda.synchronize()


with torch.inference_mode():
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device(device):
        model = Qwen3ForCausalLM._from_config(config, attn_implementation="sdpa").eval()
        prompt = torch.randint(0, config.vocab_size, (batch, context))

    def run(steps):
        cache = DynamicCache(config=config)
        settle()
        start = time.perf_counter()
        # A sequence at a time would need caches that are put together afterwards: the prompts are read side by side.
        token = model(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1, keepdim=True)
        settle()
        read = time.perf_counter()
        for _ in range(steps):
            token = model(token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)
        settle()
        return read - start, time.perf_counter() - read

    run(2)
    prefill, decode = run(steps)

peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else None
print(
    json.dumps(
        dict(
            tool=f"transformers {transformers.__version__}, torch {torch.__version__}", model=shape, context=context, batch=batch,
            steps=steps, dtype=dtype, device=device, tokens_per_second=batch * steps / decode, ms_per_step=1e3 * decode / steps,
            prefill_seconds=prefill, peak_bytes=peak,
        )
    )
)
