"""One training step of an autoencoder of pictures as plain PyTorch does it best on a CPU; prints one JSON line.

    python autoencoder_step.py --preset small --size 64 --batch 16 --dtype bf16 --channels-last --compile

diffusers' AutoencoderKL with f32 weights, bf16 by autocast; mean absolute error plus 1e-6 times the divergence, fused AdamW
after clipping to norm 1. `--encode` times the encoder alone, without gradients.
"""
import argparse

import torch
from diffusers import AutoencoderKL

from measure import median_step, report

PRESETS = {
    "small": dict(block_out_channels=(32, 64, 64), latent_channels=4),
    "sd": dict(block_out_channels=(128, 256, 512, 512), latent_channels=4),
    "paper": dict(block_out_channels=(128, 256, 512, 512), latent_channels=8),
}


def make(preset):
    sizes = PRESETS[preset]
    levels = len(sizes["block_out_channels"])
    return AutoencoderKL(
        in_channels=3, out_channels=3, layers_per_block=2, norm_num_groups=32, act_fn="silu", sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, **sizes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--size", type=int, default=64, help="pixels along a side")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="bf16")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    model = make(options.preset)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.0, fused=True)
    pictures = torch.rand(options.batch, 3, options.size, options.size).mul(2).sub(1).to(memory_format=layout)

    def losses(pictures):
        posterior = model.encode(pictures).latent_dist
        restored = model.decode(posterior.sample()).sample
        return (restored.float() - pictures).abs().mean() + 1e-6 * posterior.kl().mean()

    def encoded(pictures):
        return model.encode(pictures).latent_dist.mean

    function = encoded if options.encode else losses
    if options.compile:
        function = torch.compile(function)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16"):
            if options.encode:
                with torch.no_grad():
                    return function(pictures)
            loss = function(pictures)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = median_step(step, options)
    report(options.preset, model, options, seconds, images_per_s=options.batch / seconds)


if __name__ == "__main__":
    main()
