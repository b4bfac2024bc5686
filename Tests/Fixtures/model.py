"""Two small models with a batch each and everything they compute.

`model/` has the default options, `model_options/` has every option on.
"""

import json

import torch
from safetensors.torch import save_file

from fixture import FOLDER
from make_batch import make_batch, make_config, make_weights
from reference_model import evaluate

for name, layers, options in (
    ("model", 2, {}),
    ("model_options", 1, {
        "timestep_after_projection": True,
        "row_options": {"sharedImagePosition": True, "attendAcrossDocuments": True, "endOfImageIsTarget": True},
    }),
):
    config = make_config("fixture", **options) | {"num_hidden_layers": layers}
    weights = make_weights(config, seed=31)
    batch = make_batch(config, rows=90, images=3, documents=3, seed=33)
    batch["timesteps"] = torch.tensor([0, 431, 999], dtype=torch.int32)
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    save_file(batch, folder / "batch.safetensors")
    out = evaluate(config, weights, batch, torch.float64, gradients=True)
    save_file(out, folder / "reference.safetensors")
    print(name, *(f"{key} {out[key].item():.6f}" for key in ("loss_text", "loss_image", "loss")))
