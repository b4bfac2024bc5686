"""What the baselines that train have in common: how steps are timed, and how that is told."""
import json
import resource
import time

import torch


def median_step(step, options):
    """Seconds of the median of `--steps` steps after `--warmup` that do not count."""
    for _ in range(options.warmup):
        step()
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def report(name, model, options, seconds, **rates):
    """Prints the line of JSON that `tf-bench --against` reads."""
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "model": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "dtype": options.dtype,
                "compile": options.compile,
                "threads": options.threads,
                "seconds_per_step": seconds,
                **rates,
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )
