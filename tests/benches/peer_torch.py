"""The peer of `cargo bench -- decode`: the same model, decoded in PyTorch on the CPU.

    python3 -m venv peer && peer/bin/pip install torch transformers safetensors
    peer/bin/python tests/benches/peer_torch.py target/tmp/bench-model-8x512 --threads 2

Runs three decoders over the same weights, greedily, and prints tokens/s over the 256 tokens before each mark:
transformers' Qwen3ForCausalLM with its DynamicCache; an eager loop with a full cache; the same loop with the TRIM-KV rule
(budget 256, buffer 32), as the method describes it. Then it checks that the two full-cache decoders write the same tokens.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

MARKS = [512, 1024, 2048, 4096, 8192]
WINDOW = 256


class Eager:
    """Qwen3 with retention gates, one token at a time, a list of tensors for a cache."""

    def __init__(self, directory, budget=None, buffer=0):
        self.config = json.loads((directory / "config.json").read_text())
        self.base = load_file(directory / "model.safetensors")
        self.gates = load_file(directory / "gates" / "trimkv_weights.safetensors")
        self.budget, self.buffer, self.seen = budget, buffer, 0
        self.layers = self.config["num_hidden_layers"]
        self.cache = [None] * self.layers
        dim = self.config["head_dim"]
        self.inv_freq = 1.0 / self.config["rope_theta"] ** (torch.arange(0, dim, 2).float() / dim)

    def norm(self, x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"]) * weight

    def rotate(self, x, cos, sin):
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat((-second, first), -1) * sin

    def step(self, token):
        c, w = self.config, self.base
        heads, kv_heads, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        angle = torch.cat([self.seen * self.inv_freq] * 2)
        cos, sin = angle.cos(), angle.sin()
        hidden = w["model.embed_tokens.weight"][token]
        for layer in range(self.layers):
            p = f"model.layers.{layer}."
            normed = self.norm(hidden, w[p + "input_layernorm.weight"])
            q = F.linear(normed, w[p + "self_attn.q_proj.weight"]).view(heads, dim)
            k = F.linear(normed, w[p + "self_attn.k_proj.weight"]).view(kv_heads, dim)
            v = F.linear(normed, w[p + "self_attn.v_proj.weight"]).view(kv_heads, 1, dim)
            q = self.rotate(self.norm(q, w[p + "self_attn.q_norm.weight"]), cos, sin)
            k = self.rotate(self.norm(k, w[p + "self_attn.k_norm.weight"]), cos, sin).unsqueeze(1)
            g = p + "self_attn.retention_gate."
            inner = F.silu(F.linear(normed, self.gates[g + "linear1.weight"], self.gates[g + "linear1.bias"]))
            beta = F.logsigmoid(F.linear(inner, self.gates[g + "linear2.weight"]) + self.gates[g + "bias"])
            born = torch.full((kv_heads, 1), self.seen)
            new = (k, v, beta.unsqueeze(1), born)
            if self.cache[layer] is not None:
                new = tuple(torch.cat((old, n), 1) for old, n in zip(self.cache[layer], new))
            self.cache[layer] = new
            k, v = new[0], new[1]
            grouped = q.view(kv_heads, heads // kv_heads, dim)
            out = torch.softmax(grouped @ k.transpose(1, 2) * dim**-0.5, -1) @ v
            hidden = hidden + F.linear(out.reshape(-1), w[p + "self_attn.o_proj.weight"])
            normed = self.norm(hidden, w[p + "post_attention_layernorm.weight"])
            inner = F.silu(F.linear(normed, w[p + "mlp.gate_proj.weight"])) * F.linear(normed, w[p + "mlp.up_proj.weight"])
            hidden = hidden + F.linear(inner, w[p + "mlp.down_proj.weight"])
        self.seen += 1
        if self.budget is not None:
            self.cut()
        return F.linear(self.norm(hidden, w["model.norm.weight"]), w["model.embed_tokens.weight"])

    def cut(self):
        for layer, (k, v, beta, born) in enumerate(self.cache):
            if k.shape[1] < self.budget + self.buffer:
                continue
            kept = ((self.seen + 1 - born) * beta).topk(self.budget, 1).indices.sort(1).values
            wide = kept.unsqueeze(-1).expand(-1, -1, k.shape[2])
            self.cache[layer] = (k.gather(1, wide), v.gather(1, wide), beta.gather(1, kept), born.gather(1, kept))


def transformers_step(directory):
    from transformers import AutoConfig, Qwen3ForCausalLM
    from transformers.cache_utils import DynamicCache

    config = AutoConfig.from_pretrained(directory)
    model = Qwen3ForCausalLM.from_pretrained(directory, config=config, dtype=torch.float32)
    cache = DynamicCache()

    def step(token):
        return model(torch.tensor([[token]]), past_key_values=cache, use_cache=True).logits[0, -1]

    return step


def run(title, step, longest):
    print(f"\n{title}\n{'tokens':>10} {'tokens/s':>12}")
    written, token, start = [], None, time.perf_counter()
    for seen in range(1, longest + 1):
        logits = step(seen - 1 if seen <= 64 else token)
        token = int(logits.argmax())
        if seen >= 64:
            written.append(token)
        if seen + WINDOW in MARKS:
            start = time.perf_counter()
        if seen in MARKS:
            print(f"{seen:>10} {WINDOW / (time.perf_counter() - start):>12.0f}", flush=True)
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=8192, choices=MARKS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        trimkv = Eager(arguments.directory, budget=256, buffer=32)
        run("PyTorch eager, TRIM-KV, M = 256, buffer 32", trimkv.step, arguments.longest)
        full = run("PyTorch eager, full cache", Eager(arguments.directory).step, arguments.longest)
        theirs = run("transformers, full cache", transformers_step(arguments.directory), arguments.longest)
    same = next((i for i, (a, b) in enumerate(zip(full, theirs)) if a != b), len(full))
    print(f"\nthe full caches write the same first {same} of {len(full)} tokens")
    print(f"torch {torch.__version__}, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
