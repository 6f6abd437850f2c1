"""What the course runs on: versions, memory, processor, device, and the weights and texts in the cache."""

import importlib.metadata
import os
import platform

import psutil

PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "numpy", "matplotlib", "ipywidgets")
NEEDED_GIB = 2.0


def report() -> dict[str, str]:
    """Python, packages, memory, cores and device of this session, as text by name. Imports torch."""
    import torch

    total, free = (psutil.virtual_memory().total / 2**30, psutil.virtual_memory().available / 2**30)
    rows = {"Python": platform.python_version()}
    rows |= {name: importlib.metadata.version(name) for name in PACKAGES}
    rows["memory"] = f"{total:.0f} GiB, {free:.0f} GiB of it free"
    if free < NEEDED_GIB:
        rows["memory"] += f"; a notebook may need {NEEDED_GIB:.0f} GiB, so close other kernels"
    rows["cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    rows["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, which is all you need"
    return rows
