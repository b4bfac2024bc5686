"""Sampling from a Transfusion model as plain PyTorch does it best on a CPU; prints one JSON line.

    python sample.py --model 0.16b --dtype bf16 --compile

Text: one sequence, greedy, keys and values kept in a buffer of fixed size. Denoising: the keys and values of both prompts
are kept, both branches of guidance go through the layers as one batch, and each attends to its own prompt.
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F

from transfusion import Transfusion, add_common_arguments


class Cache:
    """Keys and values of one sequence, `[1, heads, capacity, head width]` for each layer."""

    def __init__(self, model, capacity, dtype):
        shape = (1, model.heads, capacity, model.width // model.heads)
        self.keys = [torch.zeros(shape, dtype=dtype) for _ in range(model.layers)]
        self.values = [torch.zeros(shape, dtype=dtype) for _ in range(model.layers)]


class TextPass(torch.nn.Module):
    """Tokens at the given positions; each sees those before it. Every shape is fixed, so it compiles once a shape."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens, positions, keys, values):
        model = self.model
        x = model.embedding(tokens)
        rotation = [part.to(x.dtype) for part in model.rotation(positions)]
        mask = torch.arange(keys[0].shape[2]) <= positions[:, None]
        for block, cached_keys, cached_values in zip(model.blocks, keys, values):

            def attend(query, key, value):
                cached_keys.index_copy_(2, positions, key)
                cached_values.index_copy_(2, positions, value)
                return F.scaled_dot_product_attention(query, cached_keys, cached_values, attn_mask=mask)

            x = block(x, rotation, attend)
        return model.head(model.norm(x[:, -1])).argmax(-1)


class DenoisingPass(torch.nn.Module):
    """The noise in one image for both branches: `[2, patches, patch width]`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, patches, timestep, positions, prompts):
        model = self.model
        x = model.encode(patches, timestep).expand(2, -1, -1)
        parts = [model.rotation(p) for p in positions]
        # [branch, head, row, column]
        rotation = [torch.stack(p)[:, None].to(x.dtype) for p in zip(*parts)]
        for layer, block in enumerate(model.blocks):

            def attend(query, key, value):
                seen = []
                for branch, (keys, values) in enumerate(prompts):
                    one = slice(branch, branch + 1)
                    seen.append(
                        F.scaled_dot_product_attention(
                            query[one],
                            torch.cat((keys[layer], key[one]), 2),
                            torch.cat((values[layer], value[one]), 2),
                        )
                    )
                return torch.cat(seen)

            x = block(x, rotation, attend)
        return model.patch_out(model.norm(x))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--prompt", type=int, default=64, help="tokens")
    parser.add_argument("--tokens", type=int, default=64, help="to write")
    parser.add_argument("--steps", type=int, default=5, help="of denoising")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.compile:
        # Weights are constants, and are brought into the order that the products like best.
        torch._inductor.config.freezing = True
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    model = Transfusion(options.model, options.vocabulary, options.patch_width).to(dtype).eval()
    compiled = torch.compile if options.compile else lambda module: module
    write, denoise = compiled(TextPass(model)), compiled(DenoisingPass(model))
    prefill = TextPass(model)
    prompt = torch.randint(3, options.vocabulary - 2, (1, options.prompt + 1))

    def text():
        cache = Cache(model, options.prompt + options.tokens + 2, dtype)
        token = prefill(prompt, torch.arange(options.prompt + 1), cache.keys, cache.values)
        ends = []
        for i in range(options.tokens + 1):
            position = torch.tensor([options.prompt + 1 + i])
            token = write(token.view(1, 1), position, cache.keys, cache.values)
            token.item()
            ends.append(time.perf_counter())
        return (ends[-1] - ends[0]) / options.tokens

    def image():
        rows = [options.prompt + 2, 2]
        caches = [Cache(model, count, dtype) for count in rows]
        for count, cache in zip(rows, caches):
            tokens = torch.randint(3, options.vocabulary, (1, count))
            prefill(tokens, torch.arange(count), cache.keys, cache.values)
        prompts = [(cache.keys, cache.values) for cache in caches]
        positions = [count + torch.arange(options.patches) for count in rows]
        x = torch.randn(1, options.patches, options.patch_width)
        ends = []
        for step in range(options.steps + 1):
            both = denoise(x.to(dtype), torch.tensor([[1000.0 - step]]), positions, prompts).float()
            noise = both[1] + 3 * (both[0] - both[1])
            # An update like that of DDIM in its cost; random weights have no better one.
            x = 0.99 * (x - 0.01 * noise)
            ends.append(time.perf_counter())
        return (ends[-1] - ends[0]) / options.steps

    with torch.no_grad():
        text(), image()
        seconds_per_token, seconds_per_step = text(), image()
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "model": options.model,
                "parameters": sum(p.numel() for p in model.parameters()),
                "dtype": options.dtype,
                "compile": options.compile,
                "threads": options.threads,
                "text_tokens_per_s": 1 / seconds_per_token,
                "seconds_per_denoising_step": seconds_per_step,
            }
        )
    )


if __name__ == "__main__":
    main()
