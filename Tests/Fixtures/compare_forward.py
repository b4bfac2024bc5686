"""Compares two outputs of one batch: relative error ‖out − reference‖ / ‖reference‖ of every tensor.

    python compare_forward.py out.safetensors reference.safetensors [--bf16]

Leaves with 1 when a tensor is missing, misshapen, not finite or beyond its tolerance. In f32: logits and noise
prediction 1e-4, losses 1e-5, gradients 1e-3. With --bf16 only the losses are bounded, by 1e-2.
"""

import argparse
import math

from safetensors.torch import load_file


def tolerance(name, bf16):
    if name.startswith("loss"):
        return 1e-2 if bf16 else 1e-5
    if bf16:
        return math.inf
    return 1e-3 if name.startswith("grad.") else 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("reference")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="print only failures and the worst of each kind")
    options = parser.parse_args()
    out, reference = load_file(options.out), load_file(options.reference)
    failures, worst = 0, {}
    for name in sorted(out.keys() | reference.keys()):
        if name not in out or name not in reference:
            found, detail = math.inf, "only in " + (options.reference if name in reference else options.out)
        elif out[name].numel() != reference[name].numel():
            found, detail = math.inf, f"shape {list(out[name].shape)}, reference {list(reference[name].shape)}"
        else:
            a, b = out[name].double().flatten(), reference[name].double().flatten()
            difference, scale = (a - b).norm().item(), b.norm().item()
            found, detail = (0.0 if difference == 0 else difference / scale if scale else math.inf), ""
        fails = not (math.isfinite(found) and found <= tolerance(name, options.bf16))
        failures += fails
        kind = name.split(".")[0]
        if kind not in worst or not found <= worst[kind][0]:
            worst[kind] = found, name
        if fails or not options.quiet:
            print(f"{found:9.2e}  {name} {detail}{'  FAILS' if fails else ''}")
    for kind, (found, name) in worst.items():
        print(f"worst {kind}: {found:.2e} ({name})")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
