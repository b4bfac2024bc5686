"""A discriminator of taming-transformers with random weights, and a step in which it plays against a small autoencoder.

Needs `autoencoder/kl`, which autoencoder.py writes. Everything is computed in double precision on the whole batch at once, by the
formulas of taming-transformers' `VQLPIPSWithDiscriminator` without LPIPS.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from fixture import FOLDER, generator, normal, write


class NLayerDiscriminator(nn.Module):
    """`taming/modules/discriminator/model.py`: Isola et al.'s, with batch normalisation."""

    def __init__(self, width, layers):
        super().__init__()
        sequence = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        factor = 1
        for n in range(1, layers):
            before, factor = factor, min(2**n, 8)
            sequence += [
                nn.Conv2d(width * before, width * factor, 4, 2, 1, bias=False), nn.BatchNorm2d(width * factor),
                nn.LeakyReLU(0.2, True),
            ]
        before, factor = factor, min(2**layers, 8)
        sequence += [
            nn.Conv2d(width * before, width * factor, 4, 1, 1, bias=False), nn.BatchNorm2d(width * factor),
            nn.LeakyReLU(0.2, True), nn.Conv2d(width * factor, 1, 4, 1, 1),
        ]
        self.main = nn.Sequential(*sequence)

    def forward(self, x):
        return self.main(x)


def randomise(model, source):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = normal(source, *parameter.shape, scale=parameter[0].numel() ** -0.5)
        else:
            parameter.data = normal(source, *parameter.shape, scale=0.3) + (1 if len(parameter) > 1 else 0)


def stored(parameters, prefix):
    return {f"{prefix}{name}": value for name, value in parameters.items()}


def discriminator_loss(real, reconstructed):
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + reconstructed).mean())


def play(case, seed, width, layers, pictures, reconstructions):
    source = generator(seed)
    model = NLayerDiscriminator(width, layers).double().train()
    randomise(model, source)
    reconstructions = reconstructions.detach().requires_grad_()
    real, reconstructed = model(pictures), model(reconstructions)
    loss = discriminator_loss(real, reconstructed)
    gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    (dpictures,) = torch.autograd.grad(-reconstructed.mean(), reconstructions)
    names = [name for name, _ in model.named_parameters()]
    return model, dict(
        stored(dict(model.named_parameters()), "weight."), **stored(dict(zip(names, gradients)), "grad."),
        width=width, layers=layers, pictures=pictures, reconstructions=reconstructions, real=real.movedim(1, -1),
        reconstructed=reconstructed.movedim(1, -1), loss=loss, gradient=dpictures)


def patches():
    source = generator(41)
    pictures, made = normal(source, 4, 3, 33, 26), normal(source, 4, 3, 33, 26, scale=0.7)
    return play("patches", 42, 4, 3, pictures, made)[1]


def step():
    """The autoencoder's gradients of L1 + 1e-6 · KL + 0.5 · adaptive weight · verdict."""
    autoencoder = AutoencoderKL.from_pretrained(FOLDER / "autoencoder" / "kl").double()
    batch = load_file(FOLDER / "autoencoder" / "kl" / "batch.safetensors")
    images, noise = batch["images"].double(), batch["noise"].double()
    posterior = autoencoder.encode(images).latent_dist
    made = autoencoder.decode(posterior.mean + posterior.std * noise).sample
    model, values = play("step", 43, 8, 1, images, made)
    others, verdict = (made - images).abs().mean(), -model(made).mean()
    last = autoencoder.decoder.conv_out.weight
    norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (others, verdict)]
    weight = torch.clamp(norms[0] / (norms[1] + 1e-4), 0, 1e4).detach()
    (others + 1e-6 * posterior.kl().mean() + 0.5 * weight * verdict).backward()
    shown = (
        "decoder.conv_out.weight", "decoder.conv_in.weight", "encoder.conv_in.weight", "quant_conv.weight",
        "encoder.conv_in.bias",
    )
    named = dict(autoencoder.named_parameters())
    values |= {f"autoencoder.{name}": named[name].grad for name in shown}
    return dict(values, images=images, noise=noise, others=others, verdict=verdict, adaptive_weight=weight)


write("adversarial", dict(patches=patches(), step=step()))
