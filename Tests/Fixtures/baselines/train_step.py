"""One training step of a Transfusion model as plain PyTorch does it best on a CPU; prints one JSON line.

    python train_step.py --model 0.16b --dtype bf16 --compile --accumulate 4

f32 weights, bf16 by autocast; scaled_dot_product_attention with the causal mask opened inside each image; next-token loss
plus 5 times the noise loss; fused AdamW after clipping to norm 1.
"""
import argparse

import torch
import torch.nn.functional as F

from measure import median_step, report
from transfusion import Transfusion, add_common_arguments


class Pass(torch.nn.Module):
    """Everything between the inputs and the rows that the losses need, so that it is compiled as one."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens, patches, timesteps, image_rows, mask):
        model = self.model
        x = model.embedding(tokens)
        if len(image_rows):
            encoded = model.encode(patches, timesteps).flatten(1, 2)
            x = x.index_copy(1, image_rows, encoded.to(x.dtype))
        rotation = model.rotation(torch.arange(tokens.shape[1]))
        for block in model.blocks:
            x = block(x, rotation, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        return model.norm(x)


def layout(rows, images, patches):
    """Images evenly between text: which rows are patches, and which rows each row sees."""
    image = torch.zeros(rows, dtype=torch.long)
    gap = (rows - images * patches) // (images + 1)
    for i in range(images):
        start = gap + i * (gap + patches)
        image[start : start + patches] = i + 1
    together = (image[:, None] == image[None, :]) & (image > 0)
    return image > 0, torch.ones(rows, rows, dtype=torch.bool).tril() | together


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--sequence", type=int, default=1024)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--accumulate", type=int, default=4, help="sequences of a step, one after the other")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    model = Transfusion(options.model, options.vocabulary, options.patch_width)
    forward = torch.compile(Pass(model)) if options.compile else Pass(model)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    is_patch, mask = layout(options.sequence, options.images, options.patches)
    image_rows = is_patch.nonzero()[:, 0]
    # A row predicts the next one; what comes next must be text.
    text_rows = (~is_patch[1:]).nonzero()[:, 0]

    def micro_batch():
        tokens = torch.randint(0, options.vocabulary, (1, options.sequence))
        shape = (1, options.images, options.patches, options.patch_width)
        latents, noise = torch.randn(shape), torch.randn(shape)
        timesteps = torch.randint(0, 1000, (1, options.images, 1))
        signal = torch.cos(timesteps / 1000 * torch.pi / 2)[..., None]
        patches = signal * latents + (1 - signal**2).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16"):
            hidden = forward(tokens, patches, timesteps, image_rows, mask)[0]
            logits = model.head(hidden[text_rows])
            loss = F.cross_entropy(logits.float(), tokens[0, text_rows + 1])
            if options.images:
                loss = loss + 5 * F.mse_loss(model.patch_out(hidden[image_rows]).float(), noise.flatten(0, 2))
        (loss / options.accumulate).backward()

    def step():
        for _ in range(options.accumulate):
            micro_batch()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = median_step(step, options)
    report(options.model, model, options, seconds, tokens_per_s=options.accumulate * options.sequence / seconds)


if __name__ == "__main__":
    main()
