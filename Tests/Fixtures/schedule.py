"""The noise schedule and the steps of both samplers, from diffusers' schedulers run in double precision."""

import math

import diffusers.schedulers.scheduling_ddpm as ddpm_module
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from fixture import generator, normal, write

STEPS = 1000


def alpha_bar(x):
    return math.cos((x + 0.008) / 1.008 * math.pi / 2) ** 2


BETAS = torch.tensor(
    [min(1 - alpha_bar((i + 1) / STEPS) / alpha_bar(i / STEPS), 0.999) for i in range(STEPS)], dtype=torch.float64)
ALPHA_BARS = torch.cumprod(1 - BETAS, 0)


def scheduler(kind, **options):
    """A diffusers scheduler whose tables are in double precision; its own, in f32, agree to about 1e-5 relative."""
    made = kind(beta_schedule="squaredcos_cap_v2", num_train_timesteps=STEPS, prediction_type="epsilon", **options)
    assert torch.allclose(made.betas.double(), BETAS, rtol=1e-4, atol=1e-9)
    assert torch.allclose(made.alphas_cumprod.double(), ALPHA_BARS, rtol=1e-4, atol=1e-12)
    made.betas, made.alphas, made.alphas_cumprod = BETAS, 1 - BETAS, ALPHA_BARS
    made.final_alpha_cumprod = made.one = torch.tensor(1.0, dtype=torch.float64)
    return made


def add_noise(source):
    clean, noise = (normal(source, 6, 2, 4, 4) for _ in range(2))
    timesteps = torch.tensor([0, 1, 250, 499, 998, 999])
    noisy = scheduler(DDPMScheduler).add_noise(clean, noise, timesteps)
    return dict(clean=clean, noise=noise, timesteps=timesteps, noisy=noisy)


def trajectory(made, inference_steps, source, step):
    """Every state of one sampling run whose model predictions are fixed numbers."""
    made.set_timesteps(inference_steps)
    states = [normal(source, 2, 2, 3, 3)]
    predictions, noises = (normal(source, len(made.timesteps), 2, 2, 3, 3) for _ in range(2))
    for t, prediction, noise in zip(made.timesteps, predictions, noises):
        states.append(step(made, prediction, t, states[-1], noise))
    return dict(timesteps=made.timesteps, states=torch.stack(states), predictions=predictions, noises=noises)


def ddim_step(eta):
    # The noise goes with the clipped image, as in the ADM and DiT samplers.
    return lambda made, prediction, t, state, noise: made.step(
        prediction, t, state, eta=eta, variance_noise=noise if eta > 0 else None,
        use_clipped_model_output=made.config.clip_sample).prev_sample


def ddpm_step(made, prediction, t, state, noise):
    ddpm_module.randn_tensor = lambda *arguments, **options: noise
    return made.step(prediction, t, state).prev_sample


source = generator(11)
write("schedule", {"table": dict(betas=BETAS, alpha_bars=ALPHA_BARS), "add_noise": add_noise(source)})

ddim, ddpm = {}, {}
for case, (spacing, steps, eta, clip) in {
    "leading": ("leading", 10, 0.0, False),
    "trailing": ("trailing", 10, 0.0, False),
    "uneven": ("leading", 7, 0.0, False),
    "eta": ("leading", 10, 0.6, False),
    "eta_one_trailing": ("trailing", 8, 1.0, False),
    "uneven_trailing": ("trailing", 7, 0.3, False),
    "clip": ("trailing", 8, 0.0, True),
}.items():
    made = scheduler(DDIMScheduler, timestep_spacing=spacing, clip_sample=clip, steps_offset=0)
    ddim[case] = dict(eta=eta, clip=int(clip), trailing=int(spacing == "trailing"),
                      **trajectory(made, steps, source, ddim_step(eta)))
write("ddim", ddim)

for case, (spacing, steps, clip) in {
    "leading": ("leading", 10, False),
    "trailing": ("trailing", 10, False),
    "uneven": ("leading", 7, False),
    "uneven_trailing": ("trailing", 7, False),
    "clip": ("trailing", 8, True),
}.items():
    made = scheduler(
        DDPMScheduler, timestep_spacing=spacing, clip_sample=clip, variance_type="fixed_small", steps_offset=0)
    ddpm[case] = dict(
        clip=int(clip), trailing=int(spacing == "trailing"), **trajectory(made, steps, source, ddpm_step))
    ddpm[case]["variances"] = torch.stack([made._get_variance(t) for t in made.timesteps])
write("ddpm", ddpm)

spacings = {}
for spacing in ("leading", "trailing"):
    for steps in (1, 3, 7, 16, 50, 100, 250, 999, 1000):
        made = DDIMScheduler(num_train_timesteps=STEPS, timestep_spacing=spacing, steps_offset=0)
        made.set_timesteps(steps)
        spacings[f"{spacing}_{steps}"] = dict(timesteps=made.timesteps)
write("timestep_spacing", spacings)
