"""Trains the built-in model's tokenizer and base weights from generated documents alone.

    python pretrain.py tokenizer --program target/release/trimkv-trace --out DIR
    python pretrain.py train --program target/release/trimkv-trace --out DIR --stages 128:500:0.1:0.3:0:0:muon/512:900:0.3:0:0.1:0:adamw
    python pretrain.py export --out DIR --to backend/model/builtin

`train` saves its whole state and goes on from it, so that stages can be added. Needs torch, tokenizers, safetensors
and numpy. Everything is seeded; sums over threads make runs on different machines differ in their last digits.
"""

import argparse
import json
import math
import os
import subprocess
import time

import numpy as np
import torch
import torch.nn.functional as F

# Documents of training use seeds from 0; held-out documents start at 10^12 (see `trimkv-trace evaluate`).
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin|>"]
BEGIN = 3
WORDS = r"\s+(?=\n)|\n| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"
TEMPLATE = (
    "<|begin|>{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 192, "num_hidden_layers": 6,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 512,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-06, "hidden_act": "silu", "tie_word_embeddings": True,
    "attention_bias": False, "attention_dropout": 0.0, "max_position_embeddings": 8192, "bos_token_id": BEGIN,
    "eos_token_id": [2, 0], "pad_token_id": 0, "initializer_range": 0.02, "use_cache": True,
    "use_sliding_window": False, "sliding_window": None, "rope_scaling": None,
}


def corpus(program, documents, seed, tokens, turns, facts):
    """Yields the message lists of generated documents."""
    command = [*program.split(), "corpus", "--documents", documents, "--seed", seed, "--tokens", tokens,
               "--turns", turns, "--fewest-facts", 1, "--facts", facts]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield json.loads(line)["messages"]


def train_tokenizer(args):
    """A byte-level BPE in which every word of the corpus is one token, and every byte has one."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # A word of the lists is far more frequent than any invented one, which must stay made of pieces.
    trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=300, special_tokens=SPECIAL, initial_alphabet=alphabet,
                                  show_progress=False)
    documents = corpus(args.program, 30000, 0, 512, 12, 6)
    texts = (text for messages in documents for text in
             ["user\n", "assistant\n", "system\n", *(message["content"] for message in messages)])
    tokenizer.train_from_iterator(texts, trainer)
    os.makedirs(args.out, exist_ok=True)
    tokenizer.save(f"{args.out}/tokenizer.json")
    size = tokenizer.get_vocab_size()
    write_json(f"{args.out}/config.json", {**CONFIG, "vocab_size": size})
    write_json(f"{args.out}/generation_config.json", {"eos_token_id": [2, 0], "pad_token_id": 0})
    write_json(f"{args.out}/tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "model_max_length": CONFIG["max_position_embeddings"],
        "chat_template": TEMPLATE, "clean_up_tokenization_spaces": False})
    print(f"{size} tokens")


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)


class Rows:
    """An endless stream of rows of token ids and loss weights, one document a row."""

    def __init__(self, program, tokenizer, length, story, seed):
        self.program, self.tokenizer, self.length, self.story, self.seed = program, tokenizer, length, story, seed

    def __iter__(self):
        seed, round_ = self.seed, 0
        while True:
            # From few facts in much filler to as many facts as fit.
            for facts in [2, 3, 4, 6, 8, 12]:
                if facts * 40 > self.length:
                    continue
                documents = list(corpus(self.program, 256, seed, self.length, 24, facts))
                seed += 256
                round_ += 1
                yield from self.encode(documents, round_)

    def encode(self, documents, round_):
        texts, owners = [], []
        for index, messages in enumerate(documents):
            for message in messages:
                texts.append(f"<|im_start|>{message['role']}\n")
                texts.append(f"{message['content']}<|im_end|>")
                owners.append((index, message["role"]))
        encoded = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        newline = self.tokenizer.encode("\n", add_special_tokens=False).ids
        rows = [([BEGIN], [0.0]) for _ in documents]
        for position, (index, role) in enumerate(owners):
            ids, weights = rows[index]
            start, content = encoded[2 * position].ids, encoded[2 * position + 1].ids
            ids += start + content + newline
            weight = 1.0 if role == "assistant" else self.story
            weights += [0.0] * len(start) + [weight] * len(content) + [0.0] * len(newline)
        order = np.random.default_rng(round_ + self.seed).permutation(len(rows))
        for index in order:
            length = self.length + 1
            yield tuple(np.pad(row[:length], (0, max(0, length - len(row)))) for row in rows[index])


def subjects(tokenizer):
    """Per token the number of its word among capitalised words, -1 for other tokens; whether it ends a sentence; whether it is a digit."""
    texts = [tokenizer.decode([id], skip_special_tokens=False) for id in range(tokenizer.get_vocab_size())]
    words = [text.strip() for text in texts]
    capitalised = sorted({word for word in words if word.isalpha() and word[0].isupper()})
    numbers = {word: number for number, word in enumerate(capitalised)}
    ends = [text in SPECIAL or any(end in text for end in ".?\n") for text in texts]
    return torch.tensor([numbers.get(word, -1) for word in words]), torch.tensor(ends), torch.tensor([word.isdigit() for word in words])


class Block(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        hidden, dim = c["hidden_size"], c["head_dim"]
        queries, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
        self.input_layernorm = torch.nn.RMSNorm(hidden, c["rms_norm_eps"])
        self.post_attention_layernorm = torch.nn.RMSNorm(hidden, c["rms_norm_eps"])
        self.q_norm, self.k_norm = torch.nn.RMSNorm(dim, c["rms_norm_eps"]), torch.nn.RMSNorm(dim, c["rms_norm_eps"])
        self.q_proj, self.k_proj, self.v_proj = linear(hidden, queries), linear(hidden, kv), linear(hidden, kv)
        self.o_proj = linear(queries, hidden)
        inner = c["intermediate_size"]
        self.gate_proj, self.up_proj, self.down_proj = linear(hidden, inner), linear(hidden, inner), linear(inner, hidden)

    def forward(self, x, cos, sin, priced, seen):
        batch, length, _ = x.shape
        dim, groups = self.c["head_dim"], self.c["num_attention_heads"] // self.c["num_key_value_heads"]
        h = self.input_layernorm(x)
        heads = lambda y: y.view(batch, length, -1, dim).transpose(1, 2)
        q = rotate(self.q_norm(heads(self.q_proj(h))), cos, sin)
        k = rotate(self.k_norm(heads(self.k_proj(h))), cos, sin)
        v = heads(self.v_proj(h))
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        read = torch.full((), math.nan)
        if priced:
            # One more channel, 1 at the first token and 0 elsewhere, comes out as the attention that the first token gets.
            first = (torch.arange(length) == 0).to(v.dtype)[None, None, :, None].expand(*v.shape[:3], 1)
            q, k, v = F.pad(q, (0, 8)), F.pad(k, (0, 8)), F.pad(torch.cat([v, first], -1), (0, 7))
        y = F.scaled_dot_product_attention(q, k, v, seen, is_causal=seen is None, scale=dim**-0.5)
        if priced:
            read = 1 - y[..., dim].float().mean()
        x = x + self.o_proj(y[..., :dim].transpose(1, 2).reshape(batch, length, -1))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h)), read


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Model(torch.nn.Module):
    """Qwen3, as in the transformers library; tied embedding."""

    # Layers below the probes; words of a sentence that its end must tell; tokens that are seen whole where older sentences
    # are seen by their ends.
    PROBED, WORDS, NEAR = 3, 3, 48

    def __init__(self, c, subject, ends, digits):
        super().__init__()
        self.c, self.subject, self.ends, self.digits = c, subject, ends, digits
        self.embed_tokens = torch.nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = torch.nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.norm = torch.nn.RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.probe = torch.nn.Linear(c["hidden_size"], int(subject.max()) + 1, bias=False)
        self.summary = torch.nn.Linear(c["hidden_size"], self.WORDS * c["vocab_size"], bias=False)
        # Embeddings start as large as what the layers will add to them, or words drown and are not copied; the last norm starts
        # small, or the logit of a token itself would begin near 200. Larger norms of queries and keys let attention be sharp from the start.
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                small = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = 1.0 if "embed" in name else 0.5 / math.sqrt(weight.shape[1])
                torch.nn.init.normal_(weight, std=scale / math.sqrt(2 * len(self.layers)) if small else scale)
            elif name.endswith(("q_norm.weight", "k_norm.weight")):
                torch.nn.init.constant_(weight, 1.4)
        torch.nn.init.constant_(self.norm.weight, c["hidden_size"] ** -0.5)

    def forward(self, ids, priced, gisted):
        half = self.c["head_dim"] // 2
        frequencies = self.c["rope_theta"] ** (-torch.arange(half) / half)
        angles = torch.arange(ids.shape[1])[:, None] * frequencies
        cos, sin = angles.cos(), angles.sin()
        seen = None if gisted is None else self.seen_by_ends(ids, gisted)
        x, reads, middle = self.embed_tokens(ids), [], None
        for index, layer in enumerate(self.layers):
            if index == self.PROBED:
                middle = x
            x, read = layer(x, cos, sin, priced, seen)
            reads.append(read)
        return self.norm(x), torch.stack(reads).mean(), middle

    def seen_by_ends(self, ids, gisted):
        """What a query sees: in the rows `gisted`, of all that is not near, only the first token, digits and the ends of sentences."""
        age = torch.arange(ids.shape[1])[:, None] - torch.arange(ids.shape[1])
        lasting = (self.ends | self.digits)[ids].index_fill(1, torch.tensor([0]), True)
        return ((age >= 0) & ((age < self.NEAR) | lasting[:, None] | ~gisted[:, None, None]))[:, None]

    def unnamed(self, ids, middle, with_ends):
        """The loss of naming, halfway up, the last capitalised word of a token's sentence: nearly always whom it is about.

        `with_ends` asks the ends of sentences for it too, and also for the last words of the sentence, if they are no digits.
        """
        number, places, ends = self.subject[ids], torch.arange(ids.shape[1]).expand_as(ids), self.ends[ids]
        last = torch.where(number >= 0, places, -1).cummax(1).values
        end = torch.where(ends, places, -1).cummax(1).values
        before = F.pad(end[:, :-1], (1, 0), value=-1)
        wanted = torch.where((last > (before if with_ends else end)) & (number < 0), number.gather(1, last.clamp(min=0)), -100)
        middle = F.rms_norm(middle, middle.shape[-1:])
        loss = F.cross_entropy(self.probe(middle).flatten(0, 1), wanted.flatten(), ignore_index=-100)
        if with_ends:
            told = self.summary(middle).unflatten(-1, (self.WORDS, -1))
            for back in range(1, self.WORDS + 1):
                word = F.pad(ids[:, :-back], (back, 0))
                word = torch.where(ends & (places - back > before) & ~self.digits[word], word, -100)
                told_back = told[:, :, back - 1].flatten(0, 1)
                loss = loss + F.cross_entropy(told_back, word.flatten(), ignore_index=-100) / self.WORDS
        return loss

    def loss(self, ids, weights, naming, price, gisted):
        """Weighted mean over the counted tokens, and the plain mean over answers.

        `naming` weighs the loss of `unnamed`: without it a value is not found by the name of its sentence for thousands of
        steps. `price` is put on reading: on the attention, mean over heads, that does not rest on the first token. A head
        with nothing to look for then rests there, as the heads of large models do untold. In the rows `gisted` (a mask, or
        None) old sentences are seen by their ends and digits alone, so that ends come to tell what was said in words.
        """
        hidden, read, middle = self(ids[:, :-1], price > 0, gisted)
        logits = hidden @ self.embed_tokens.weight.T
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        wanted = weights[:, 1:].flatten()
        answers = wanted == 1.0
        right = (logits.detach().flatten(0, 1).argmax(-1) == ids[:, 1:].flatten()) & answers
        loss = (losses * wanted).sum() / wanted.sum()
        if price > 0:
            loss = loss + price * read
        if naming > 0:
            loss = loss + naming * self.unnamed(ids[:, :-1], middle, gisted is not None)
        return (loss, (losses * answers).sum() / answers.sum().clamp(min=1),
                right.sum() / answers.sum().clamp(min=1), read.detach())


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are orthogonalised before they are applied (Jordan et al. 2024)."""

    def __init__(self, matrices, lr, momentum=0.95, decay=0.01):
        super().__init__(matrices, dict(lr=lr, momentum=momentum, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(state["momentum"], group["momentum"]))
                scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["decay"])
                weight.add_(update, alpha=-group["lr"] * scale)


def orthogonal(matrix, steps=5):
    """Nearly the orthogonal factor, by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = ((matrix.T if tall else matrix) / (matrix.norm() + 1e-7)).bfloat16()
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


def train(args):
    from tokenizers import Tokenizer

    torch.manual_seed(args.seed)
    with open(f"{args.out}/config.json") as file:
        config = json.load(file)
    tokenizer = Tokenizer.from_file(f"{args.out}/tokenizer.json")
    model = Model(config, *subjects(tokenizer))
    matrices = [w for n, w in model.named_parameters() if w.dim() == 2 and n.startswith("layers.")]
    others = [w for n, w in model.named_parameters() if w.dim() != 2 or not n.startswith("layers.")]
    adamw = lambda weights, decay: torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=decay)
    # Each optimiser with its rate: matrices under Muon or AdamW, as a stage says, and the rest under AdamW.
    optimisers = {
        "muon": [(Muon(matrices, args.lr), args.lr), (adamw(others, 0.0), args.lr / 5)],
        "adamw": [(adamw(matrices, 0.1), args.lr / 20), (adamw(others, 0.0), args.lr / 20)],
    }
    stages, pieces, total = [], [], 0
    for piece in args.stages.split("/"):
        piece = [stage.split(":") for stage in piece.split(",")]
        piece = [(int(length), int(steps), *map(float, weights), optimiser) for length, steps, *weights, optimiser in piece]
        begin, total = total, total + sum(stage[1] for stage in piece)
        stages += piece
        pieces += [(begin, total)] * len(piece)
    step, state = 0, f"{args.out}/state.pt"
    if os.path.exists(state):
        saved = torch.load(state, weights_only=False)
        model.load_state_dict(saved["model"])
        for name, states in saved["optimisers"].items():
            for (optimiser, _), its in zip(optimisers[name], states):
                optimiser.load_state_dict(its)
        step = saved["step"]
    print(f"{sum(w.numel() for w in model.parameters()):,} parameters, from step {step} to {total}", flush=True)
    # Every kind of stage is compiled once.
    torch._dynamo.config.cache_size_limit = len(stages)
    loss_of = torch.compile(model.loss, dynamic=False) if args.compile else model.loss

    def save():
        states = {name: [optimiser.state_dict() for optimiser, _ in pair] for name, pair in optimisers.items()}
        torch.save({"model": model.state_dict(), "optimisers": states, "step": step}, state + ".tmp")
        os.replace(state + ".tmp", state)

    first = 0
    for index, (length, steps, story, naming, price, gist, name) in enumerate(stages):
        last = first + steps
        begin, end = pieces[index]
        if step < last:
            rows = iter(Rows(args.program, tokenizer, length, story, 10_000_000_000 * index + 1000 * 256 * (step - first)))
            count = max(1, args.step_tokens // length)
            gisted = torch.arange(count) < round(gist * count) if gist > 0 else None
            tokens, since, means = 0, time.time(), []
            while step < last:
                batch = [next(rows) for _ in range(count)]
                ids, weights = (torch.from_numpy(np.stack(column)) for column in zip(*batch))
                # Constant after a warm-up, and down to nothing over the last part of the piece.
                rate = min(1.0, (step - begin + 1) / 50, (end - step) / (args.decay * (end - begin)))
                for optimiser, highest in optimisers[name]:
                    optimiser.param_groups[0]["lr"] = highest * rate
                with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                    loss, answer, right, read = loss_of(ids.long(), weights.float(), naming, price, gisted)
                if not math.isfinite(loss.item()):
                    raise SystemExit(f"the loss is not finite at step {step}; the state saved before it is good")
                model.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(others, 1.0)
                for optimiser, _ in optimisers[name]:
                    optimiser.step()
                step += 1
                tokens += count * length
                means.append((loss.item(), answer.item(), right.item(), read.item()))
                if step % 20 == 0:
                    seconds = time.time() - since
                    shown = np.mean(means, 0)
                    print(f"step {step} length {length} loss {shown[0]:.4f} answers {shown[1]:.4f} "
                          f"right {shown[2]:.4f} read {shown[3]:.4f} rate {rate:.2f} {tokens / seconds:.0f} tokens/s", flush=True)
                    tokens, since, means = 0, time.time(), []
                if step % 100 == 0:
                    save()
        first = last
    save()


def export(args):
    """Writes the weights in bfloat16 under the names of the Hugging Face format."""
    from safetensors.torch import save_file

    saved = torch.load(f"{args.out}/state.pt", weights_only=False)["model"]
    tensors = {}
    for name, tensor in saved.items():
        if name.startswith(("probe.", "summary.")):
            continue
        parts = name.split(".")
        if parts[0] == "layers":
            block = "mlp." if parts[2] in ("gate_proj", "up_proj", "down_proj") else "self_attn."
            parts[2] = parts[2] if parts[2].endswith("layernorm") else block + parts[2]
        tensors["model." + ".".join(parts)] = tensor.to(torch.bfloat16).contiguous()
    os.makedirs(args.to, exist_ok=True)
    save_file(tensors, f"{args.to}/model.safetensors", metadata={"format": "pt"})
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        with open(f"{args.out}/{name}") as source, open(f"{args.to}/{name}", "w") as target:
            target.write(source.read())
    with open(f"{args.out}/config.json") as file:
        write_json(f"{args.to}/config.json", {**json.load(file), "torch_dtype": "bfloat16"})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tokenizer", "train", "export"])
    parser.add_argument("--program", default="target/release/trimkv-trace", help="command that generates documents")
    parser.add_argument("--out", required=True, help="folder of the tokenizer and the training state")
    parser.add_argument("--to", help="folder that export writes")
    parser.add_argument("--stages", default="128:500:0.1:0.3:0:0:muon",
                        help="LENGTH:STEPS:STORY:NAMING:PRICE:GIST:OPTIMISER,... with the weight of the stories' tokens (those of "
                        "answers weigh 1), the weight of naming whom a token's sentence is about, the price of reading, the share "
                        "of rows whose old sentences are seen by their ends, and muon or adamw for the matrices; / instead of , "
                        "begins a new rise and fall of the rate")
    parser.add_argument("--step-tokens", type=int, default=4096)
    parser.add_argument("--lr", type=float, default=0.015, help="of Muon; a fifth of it for what AdamW trains beside it, a twentieth for AdamW alone")
    parser.add_argument("--decay", type=float, default=0.25, help="share of a piece's steps over which the rate falls to zero")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    {"tokenizer": train_tokenizer, "train": train, "export": export}[args.what](args)


if __name__ == "__main__":
    main()
