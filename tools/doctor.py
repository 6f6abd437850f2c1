"""Say what is right and wrong with this set-up, and how to mend it: `python course.py doctor`.

It changes nothing, and needs nothing but Python: where .venv is there, it is asked, else it is the finding.
"""

import argparse
import json
import os
import platform
import shutil
import sys

import course

PACKAGES = """
import importlib.metadata, json, psutil
memory = psutil.virtual_memory()
packages = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
print(json.dumps([packages, memory.total / 1e9, memory.available / 1e9]))
"""
START_LAB = """
from jupyterlab.labapp import LabApp
LabApp.initialize_server(argv=["--no-browser", "--port=0", "--allow-root"]).http_server.stop()
"""


def findings_in_venv():
    """What `doctor` finds with .venv's help: (good, what, how to mend it)."""
    again = "delete the folder .venv, then run: python course.py"
    current = course.read_stamp()[0] == course.fingerprint()
    yield current, f".venv: {'complete' if current else 'not set up completely'}", "run: python course.py"
    worked, answer = course.ask(course.PYTHON, "-c", PACKAGES)
    if not worked:
        yield False, "Packages: incomplete", again
        return
    packages, memory, free = json.loads(answer)
    installed = {course.plain(name): version.split("+")[0] for name, version in packages.items()}
    tested = {name: version for name, version in course.pins().items() if name in installed}
    other = [f"{name} {installed[name]} (tested: {tested[name]})" for name in tested if installed[name] != tested[name]]
    yield not other, f"Packages: {', '.join(other) or f'{len(tested)} at the tested versions'}", again
    worked, said = course.ask(course.PYTHON, "-m", "pip", "check")
    yield worked, f"Dependencies: {'complete' if worked else said.splitlines()[0]}", again
    yield free > 1.5, f"Memory: {memory:.1f} GB, {free:.1f} GB of it free", "close programs: notebooks take 1.5 GB"
    worked, said = course.ask(course.PYTHON, "-m", "course_lib.assets", "verify")
    cache = course.ask(course.PYTHON, "-c", "from course_lib import assets; print(assets.cache_dir())")[1]
    yield worked, f"Assets in {cache}: {', '.join(said.splitlines())}", "run, with a network: python course.py fetch"
    worked, said = course.ask(course.PYTHON, "-c", START_LAB)
    yield worked, f"JupyterLab: {'starts' if worked else said.splitlines()[-1]}", again


def findings():
    """Everything that `doctor` looks at, cheap things first: (good, what, how to mend it)."""
    yield True, f"Python: {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores", ""
    yield True, f"GPU: {'NVIDIA' if course.has_gpu() else 'no NVIDIA GPU (none is needed)'}", ""
    free, needed = shutil.disk_usage(course.ROOT).free / 1e9, 1 if course.STAMP.exists() else course.NEEDED_GB
    yield free > needed, f"Disk: {free:.1f} GB free", f"free {needed} GB"
    writable = os.access(course.ROOT, os.W_OK)
    yield writable, f"Folder: {'writable' if writable else 'read-only'}", "copy the course to a folder of your own"
    why = course.why_make_venv()
    if why:
        yield False, f".venv: {why}", "run: python course.py"
    else:
        yield from findings_in_venv()


def main():
    """Print every finding; return 0 where all is well, else 1."""
    argparse.ArgumentParser(prog="python course.py doctor", description=__doc__.splitlines()[0]).parse_args()
    faults = 0
    for good, what, remedy in findings():
        print(f"ok   {what}" if good else f"FIX  {what}\n     -> {remedy}", flush=True)
        faults += not good
    print("\nMend what is marked FIX, from the top." if faults else "\nAll is well.")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
