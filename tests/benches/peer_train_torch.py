"""The peer of `cargo bench -- training`: the same gate-training step in PyTorch on the CPU.

    python3 -m venv peer && peer/bin/pip install torch safetensors
    peer/bin/python tests/benches/peer_train_torch.py backend/model/builtin --threads 2

Frozen Qwen3 base, a gate (width 64) per layer, retention-gated attention in the additive form, KL to the frozen model plus
next-token loss plus the capacity loss of the authors' code, backward by autograd, AdamW. Rows of a step are one batch, the
teacher's pass runs without a graph: what a straightforward implementation does.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

SIZES = [(512, 1), (512, 4), (1024, 2), (2048, 1)]
STEPS = 7
WIDTH = 64


class Model:
    def __init__(self, directory):
        self.c = json.loads((directory / "config.json").read_text())
        self.w = load_file(directory / "model.safetensors")

    def norm(self, x, weight):
        return F.rms_norm(x, (x.shape[-1],), weight, self.c["rms_norm_eps"])

    def forward(self, ids, gates):
        """Final logits, and log_beta of every layer, `(batch, kv_heads, tokens)`."""
        c, w = self.c, self.w
        heads, kv, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        batch, tokens = ids.shape
        freq = 1.0 / c["rope_theta"] ** (torch.arange(0, dim, 2).float() / dim)
        angle = torch.outer(torch.arange(tokens).float(), freq).repeat(1, 2)
        cos, sin = angle.cos(), angle.sin()
        turn = lambda x: x * cos + torch.cat((-x[..., dim // 2 :], x[..., : dim // 2]), -1) * sin
        ages = (torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]).float()
        mask = torch.where(ages < 0, float("-inf"), 0.0)
        hidden, log_betas = w["model.embed_tokens.weight"][ids], []
        for layer in range(c["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            x = self.norm(hidden, w[p + "input_layernorm.weight"])
            part = lambda name, n: F.linear(x, w[p + f"self_attn.{name}.weight"]).view(batch, tokens, n, dim)
            q = turn(self.norm(part("q_proj", heads), w[p + "self_attn.q_norm.weight"]).transpose(1, 2))
            k = turn(self.norm(part("k_proj", kv), w[p + "self_attn.k_norm.weight"]).transpose(1, 2))
            v = part("v_proj", kv).transpose(1, 2)
            bias = mask
            if gates is not None:
                up, down, start = gates[layer]
                log_beta = F.logsigmoid(down(F.silu(up(x))) + start).transpose(1, 2)
                log_betas.append(log_beta)
                bias = (mask + ages.clamp(min=0) * log_beta[:, :, None, :]).repeat_interleave(heads // kv, 1)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)
            hidden = hidden + F.linear(out.transpose(1, 2).flatten(2), w[p + "self_attn.o_proj.weight"])
            x = self.norm(hidden, w[p + "post_attention_layernorm.weight"])
            inner = F.silu(F.linear(x, w[p + "mlp.gate_proj.weight"])) * F.linear(x, w[p + "mlp.up_proj.weight"])
            hidden = hidden + F.linear(inner, w[p + "mlp.down_proj.weight"])
        return F.linear(self.norm(hidden, w["model.norm.weight"]), w["model.embed_tokens.weight"]), log_betas


def capacity(log_betas, budget):
    tokens = log_betas[0].shape[-1]
    ages = (torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]).float()
    seen = torch.arange(1, tokens + 1).float()
    excess = []
    for log_beta in log_betas:
        weights = torch.where(ages >= 0, (ages.clamp(min=0) * log_beta[:, :, None, :]).exp(), 0.0)
        excess.append(F.relu((weights.sum(-1) - budget) / (seen - budget).clamp(min=1)))
    excess = torch.stack(excess)
    return excess.sum() / (excess > 0).sum().clamp(min=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = Model(args.model)
    hidden, kv, vocab = (model.c[name] for name in ("hidden_size", "num_key_value_heads", "vocab_size"))
    for context, rows in SIZES:
        torch.manual_seed(0)
        gates = [
            (torch.nn.Linear(hidden, WIDTH), torch.nn.Linear(WIDTH, kv, bias=False), torch.nn.Parameter(torch.full((kv,), 6.0)))
            for _ in range(model.c["num_hidden_layers"])
        ]
        parameters = [p for up, down, bias in gates for p in (*up.parameters(), *down.parameters(), bias)]
        optimiser = torch.optim.AdamW(parameters, lr=5e-3, weight_decay=0.01)
        ids = torch.stack([(torch.arange(context) * 7919 + row * 31) % vocab for row in range(rows)])
        times = []
        for _ in range(STEPS + 1):
            start = time.perf_counter()
            with torch.no_grad():
                teacher = model.forward(ids, None)[0][:, :-1].log_softmax(-1)
            logits, log_betas = model.forward(ids, gates)
            student = logits[:, :-1].log_softmax(-1)
            kl = F.kl_div(student, teacher, log_target=True, reduction="none").sum(-1).mean()
            ntp = F.nll_loss(student.flatten(0, 1), ids[:, 1:].flatten())
            loss = 0.5 * kl + 0.5 * ntp + capacity(log_betas, context // 8)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            times.append(time.perf_counter() - start)
        times = sorted(times[1:])
        median = times[len(times) // 2]
        print(f"{context:>7} {rows:>5} {context * rows / median:>10.0f}   {median:.3f} ({times[0]:.3f} to {times[-1]:.3f})")


if __name__ == "__main__":
    main()
