"""Put all that a room without a network needs into one archive: `python course.py fetch --all --bundle FILE`.

The archive is a zip file: `course/` (the notebooks and everything they need), `wheels/` (every package, for computers
like this one), `assets/` (weights and texts), `site/` (the rendered course) and a manifest with the sha256 of each
file. `python course.py --from FILE` checks it and sets up from it.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import course
from course_lib import assets

EXTRAS = ["lab"]
# What is not the course, where git cannot say what is.
GENERATED = {".git", ".hypothesis", ".ipynb_checkpoints", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__"}
GENERATED |= {"build", "dist", "solved"}
BUNDLES = {".zip", ".partial"}  # a learner's folder may still hold the one it came from
PACKED = {".whl", ".safetensors", ".png", ".svg", ".woff2"}  # nothing is gained by compressing them


def course_files(root: Path) -> dict[str, Path]:
    """Member name -> file, for every file of the course as it is now in this folder."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True)
    if listed.returncode == 0 and listed.stdout:
        paths = [root / name for name in listed.stdout.decode("utf-8").split("\0") if name]
    else:
        paths = [path for path in root.rglob("*") if not GENERATED & set(path.relative_to(root).parts)]
        paths = [path for path in paths if path.suffix not in BUNDLES]
    return {f"course/{path.relative_to(root).as_posix()}": path for path in paths if path.is_file()}


def asset_files(names: list[str], cache: Path) -> dict[str, Path]:
    """Member name -> file, for every file of these assets; those that are missing are fetched."""
    directories = {name: assets.fetch(name, cache) for name in names}
    return {
        f"assets/{name}/{file}": directory / file
        for name, directory in directories.items()
        for file in assets.ASSETS[name].files
    }


def collect_wheels(folder: Path) -> dict[str, Path]:
    """Member name -> file, for every package at its tested version, and what builds the course's own."""
    build = tomllib.loads((course.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    where = ["--wheel-dir", str(folder), "-c", "constraints.txt"]
    if sys.platform == "linux":  # the build without CUDA: learners' computers have no GPU, or do not need it
        torch = f"torch=={course.pins()['torch']}"
        quick = ["--retries", "0", "--timeout", "15", "--no-deps", "--index-url", course.CPU_WHEELS]
        course.pip("wheel", torch, *where, *quick)
    # hatchling asks for `editables` when it installs a course that stays where it is.
    wanted = [f".[{','.join(EXTRAS)}]", *build, "editables"]
    worked, said = course.pip("wheel", *wanted, *where, "--find-links", str(folder))
    if not worked:
        raise course.Stop(f"the packages cannot be had ({said.strip().splitlines()[-1]}; pip's log: {course.LOG})")
    own = course.plain(tomllib.loads((course.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"])
    wheels = [path for path in sorted(folder.glob("*.whl")) if course.plain(path.name.split("-")[0]) != own]
    return {f"wheels/{path.name}": path for path in wheels}


def site_files(folder: Path) -> dict[str, Path]:
    """Member name -> file, for the rendered site, built now."""
    if course.run("-m", "tools.site", "--no-open", "--to", str(folder)):
        raise course.Stop("the site cannot be built: the lines above say why")
    return {f"site/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*")) if path.is_file()}


def write(file: Path, members: dict[str, Path], **facts) -> None:
    """Write the archive, which appears under its name when it is whole. `facts` go into the manifest."""
    listed = {}
    half = file.with_name(f"{file.name}.partial")
    try:
        with zipfile.ZipFile(half, "w", compresslevel=6, strict_timestamps=False) as archive:
            for name, path in members.items():
                method = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
                archive.write(path, name, compress_type=method)
                # Of what was written, not of what lies on the disk: a file that changed meanwhile is not passed off.
                with archive.open(name) as written:
                    listed[name] = [hashlib.file_digest(written, "sha256").hexdigest(), archive.getinfo(name).file_size]
            manifest = {"format": course.BUNDLE_FORMAT, **facts, "files": listed}
            archive.writestr(course.MANIFEST, json.dumps(manifest, indent=1))
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Gather everything and write the archive; say what is in it."""
    parser = argparse.ArgumentParser(prog="python course.py fetch --bundle FILE", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: those of the default set")
    parser.add_argument("--all", action="store_true", help="every asset there is")
    parser.add_argument("--dir", type=Path, help="take the assets from this cache, and fetch into it")
    options = parser.parse_args(arguments)
    names = options.names or [name for name, asset in assets.ASSETS.items() if options.all or asset.default]
    if not options.file.parent.is_dir():
        print(f"There is no folder {options.file.parent}: make it, or name another.", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="course-bundle-") as scratch:
            print("[1/4] Fetching weights and texts", flush=True)
            fetched = asset_files(names, options.dir or assets.cache_dir())
            print("[2/4] Collecting the packages (minutes)", flush=True)
            wheels = collect_wheels(Path(scratch) / "wheels")
            print("[3/4] Building the site", flush=True)
            site = site_files(Path(scratch) / "site")
            print("[4/4] Writing the archive", flush=True)
            kind = course.kind_of_computer(course.venv_version())
            members = course_files(course.ROOT) | wheels | fetched | site
            write(options.file, members, kind=kind, extras=EXTRAS, digest=course.fingerprint())
    except (course.Stop, assets.AssetError) as error:
        print(f"There is no bundle: {error}", file=sys.stderr)
        return 1
    with options.file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    print(f"{options.file}: {options.file.stat().st_size / 1e9:.2f} GB, {len(wheels)} packages for {kind},")
    print(f"{len(names)} sets of weights or texts, the notebooks and the site. Its sha256 is {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
