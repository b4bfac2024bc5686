"""AdamW trajectories, gradient clipping and learning rates, from torch and transformers."""

import torch
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from fixture import generator, normal, write

SHAPES = {"matrix": (7, 5), "scale": (5,), "bias": (7,), "wide": (3, 33)}


def adamw(source, steps, scale, decay):
    """Weight decay on matrices only; the rate changes every step."""
    parameters = {name: torch.nn.Parameter(normal(source, *shape)) for name, shape in SHAPES.items()}
    groups = [
        dict(params=[p for p in parameters.values() if p.ndim > 1], weight_decay=decay),
        dict(params=[p for p in parameters.values() if p.ndim == 1], weight_decay=0.0),
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    rates = 1e-2 / (1 + torch.arange(steps, dtype=torch.float64))
    rates = rates.float().double()
    case = {f"{name}.initial": p.detach().clone() for name, p in parameters.items()}
    history = {name: [] for name in parameters}
    gradients = {name: normal(source, steps, *shape, scale=scale) for name, shape in SHAPES.items()}
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rates[step].item()
        for name, p in parameters.items():
            p.grad = gradients[name][step].clone()
        optimizer.step()
        for name, p in parameters.items():
            history[name].append(p.detach().clone())
    for name, p in parameters.items():
        state = optimizer.state[p]
        case |= {
            f"{name}.gradients": gradients[name], f"{name}.values": torch.stack(history[name]),
            f"{name}.first_moment": state["exp_avg"], f"{name}.second_moment": state["exp_avg_sq"],
        }
    return dict(**case, rates=rates, weight_decay=decay)


def clip(source, scale, limit):
    gradients = {name: normal(source, *shape, scale=scale) for name, shape in SHAPES.items()}
    parameters = []
    for gradient in gradients.values():
        parameters.append(torch.nn.Parameter(torch.zeros_like(gradient)))
        parameters[-1].grad = gradient.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
    return dict(
        norm=norm, limit=limit, **gradients,
        **{f"{name}.clipped": p.grad for name, p in zip(gradients, parameters)})


def learning_rates(peak, minimum, warmup, total, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, total, min_lr=minimum)
    factor = schedule.lr_lambdas[0]
    return dict(
        peak=peak, minimum=minimum, warmup=warmup, total=total, steps=torch.tensor(steps),
        rates=torch.tensor([peak * factor(step) for step in steps], dtype=torch.float64))


source = generator(21)
write("adamw", {
    "plain": adamw(source, 6, 1.0, 0.1), "tiny": adamw(source, 4, 1e-9, 0.1), "large": adamw(source, 4, 1e6, 0.0),
})
write("clip", {
    "above": clip(source, 3.0, 1.0), "below": clip(source, 1e-3, 1.0), "other_limit": clip(source, 1.0, 0.25),
})
write("learning_rate", {
    "paper": learning_rates(3e-4, 1.5e-5, 4000, 250_000, [0, 1, 2000, 3999, 4000, 4001, 127_000, 249_999, 250_000]),
    "short": learning_rates(1e-2, 1e-3, 5, 20, list(range(21))),
    "no_warmup": learning_rates(1e-3, 0.0, 0, 10, list(range(11))),
})
