"""The hub on this computer, asked by the real client in a process of its own: the client reads its address at "
"import."""

import json
import os
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request

import pytest

from course_lib.hub import LocalHub

MODEL = {"config.json": b'{"model_type": "bert"}', "README.md": b"# One", "onnx/model.onnx": b"\x08" * 1000}


@pytest.fixture
def hub():
    with LocalHub(token="secret") as hub:
        yield hub


def client(hub, tmp_path, code, **environment):
    """Run code that uses the Hub's client against `hub`; returns what it prints as JSON."""
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    code = "import json\nfrom huggingface_hub import *\nfrom huggingface_hub import errors\n" + textwrap.dedent(code)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own | environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def asked(hub):
    return [(request.method, request.path.rsplit("/", 1)[-1], request.status) for request in hub.requests]


def test_download_cache_revision_and_errors(hub, tmp_path):
    first = hub.add("ada/bert", MODEL)
    second = hub.add("ada/bert", {"README.md": b"# Two"}, message="Second")
    code = """
        read = lambda **k: open(hf_hub_download("ada/bert", "README.md", **k)).read()
        found = [read(), read(revision=FIRST), read()]
        for name, file, revision in (("ada/bert", "a", None), ("ada/none", "a", None), ("ada/bert", "a", "0" * 40)):
            try:
                hf_hub_download(name, file, revision=revision)
            except errors.HfHubHTTPError as error:
                found.append(type(error).__name__)
        print(json.dumps(found))
    """.replace("FIRST", repr(first))
    assert client(hub, tmp_path, code) == [
        "# Two",
        "# One",
        "# Two",
        "RemoteEntryNotFoundError",
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
    ]
    fetched = [one for one in asked(hub) if one[0] == "GET" and one[1] == "README.md"]
    assert len(fetched) == 2, "the third read must come from the cache: its ETag has not changed"
    assert [commit.sha for commit in hub.history("ada/bert")] == [first, second]


def test_a_cut_off_download_goes_on_where_it_ended(hub):
    hub.add("ada/bert", MODEL)
    address = f"{hub.url}/ada/bert/resolve/main/onnx/model.onnx"
    request = urllib.request.Request(address, headers={"Range": "bytes=990-"})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.headers["Content-Range"], len(answer.read())) == (206, "bytes 990-999/1000", 10)
    request = urllib.request.Request(address, headers={"Range": "bytes=1000-"})
    with pytest.raises(urllib.error.HTTPError, match="416"):
        urllib.request.urlopen(request)


def test_snapshot_and_listing(hub, tmp_path):
    hub.add("ada/bert", MODEL)
    code = """
        import pathlib
        folder = pathlib.Path(snapshot_download("ada/bert"))
        tree = [entry.path for entry in HfApi().list_repo_tree("ada/bert", recursive=True)]
        top = [entry.path for entry in HfApi().list_repo_tree("ada/bert")]
        here = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        print(json.dumps([here, tree, top, model_info("ada/bert").sha]))
    """
    here, tree, top, sha = client(hub, tmp_path, code)
    assert here == tree == sorted(MODEL) and top == ["README.md", "config.json", "onnx"]
    assert sha == hub.history("ada/bert")[0].sha


def test_push_needs_the_token_and_keeps_large_files_whole(hub, tmp_path):
    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "weights.safetensors").write_bytes(bytes(range(256)) * 500)
    (tmp_path / "upload" / "notes.txt").write_text("notes", encoding="utf-8")
    code = f"""
        api = HfApi()
        try:
            api.create_repo("learner/mine", token="wrong")
        except errors.HfHubHTTPError as error:
            refused = error.response.status_code
        api.create_repo("learner/mine", token="secret")
        api.create_repo("learner/mine", token="secret", exist_ok=True)
        api.upload_folder(repo_id="learner/mine", folder_path={str(tmp_path / "upload")!r}, token="secret")
        api.delete_file("notes.txt", "learner/mine", token="secret")
        print(json.dumps([refused, api.whoami(token="secret")["name"]]))
    """
    assert client(hub, tmp_path, code) == [401, "learner"]
    commits = hub.history("learner/mine")
    assert [sorted(commit.files) for commit in commits] == [
        [".gitattributes"],
        [".gitattributes", "notes.txt", "weights.safetensors"],
        [".gitattributes", "weights.safetensors"],
    ]
    assert commits[-1].files["weights.safetensors"] == bytes(range(256)) * 500
    assert len({commit.sha for commit in commits}) == 3


def test_a_large_file_must_have_the_hash_it_was_announced_with(hub):
    request = urllib.request.Request(f"{hub.url}/blobs/{'0' * 64}", data=b"something else", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


def test_data_set_round_trip(hub, tmp_path):
    code = """
        import datasets
        datasets.disable_progress_bars()
        datasets.utils.logging.set_verbosity_error()
        label = datasets.ClassLabel(names=["no", "yes"])
        features = datasets.Features({"text": datasets.Value("string"), "label": label})
        rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]}, features=features)
        rows.push_to_hub("learner/rows", token="secret")
        back = datasets.load_dataset("learner/rows", split="train")
        print(json.dumps([back.to_dict(), back.features["label"].names]))
    """
    assert client(hub, tmp_path, code) == [{"text": ["a", "b", "c"], "label": [0, 1, 0]}, ["no", "yes"]]


@pytest.mark.assets
def test_from_pretrained_by_name(hub, tmp_path):
    from course_lib import assets

    hub.add("sentence-transformers/all-MiniLM-L6-v2", assets.fetch("minilm-l6"))
    code = """
        import transformers
        transformers.utils.logging.disable_progress_bar()
        name = "sentence-transformers/all-MiniLM-L6-v2"
        model = transformers.AutoModel.from_pretrained(name)
        tokens = transformers.AutoTokenizer.from_pretrained(name)("BERT is a revolutionary model for NLP tasks.")
        print(json.dumps([sum(p.numel() for p in model.parameters()), tokens["input_ids"][:3]]))
    """
    parameters, ids = client(hub, tmp_path, code)
    assert parameters == 22_713_216 and ids[0] == 101


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("bert", MODEL), ValueError, "name='bert' is not of the form owner/name"),
        (("a/b", {}), ValueError, "no files"),
        (("a/b", MODEL, "space"), ValueError, "kind='space' is not one of model, dataset"),
        (("a/b", "no-such-directory"), FileNotFoundError, "no-such-directory"),
    ],
)
def test_add_says_what_is_wrong(hub, arguments, error, message):
    with pytest.raises(error, match=message):
        hub.add(*arguments)


def test_history_of_nothing(hub):
    with pytest.raises(KeyError, match="there is no model 'a/b'"):
        hub.history("a/b")
