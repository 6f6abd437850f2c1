"""A hub on this computer: a small server that speaks enough of the Hugging Face Hub's protocol for its real client.

The client (`huggingface_hub`, and so `from_pretrained`, `load_dataset` and `push_to_hub`) talks to whatever address
HF_ENDPOINT names when it is imported. `LocalHub` answers it from memory: repositories of models and data sets, each a
list of commits, each commit a set of files. It serves this computer alone, and forgets everything when it is closed.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

_KINDS = {"models": "model", "datasets": "dataset"}
_NAME = r"(?P<name>[\w.-]+(?:/[\w.-]+)?)"
_RESOLVE = re.compile(rf"/(?:(?P<kind>datasets)/)?{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_BATCH = re.compile(rf"/(?:datasets/)?{_NAME}\.git/info/lfs/objects/batch")
_LARGE = (".safetensors", ".parquet", ".arrow", ".bin", ".onnx")  # sent ahead of the commit that names them
_API = re.compile(
    rf"/api/(?P<kind>models|datasets)/{_NAME}"
    r"(?:/(?P<call>revision|tree|preupload|commit)/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?"
)


class Request(NamedTuple):
    """One request that the server answered; `path` without its query."""

    method: str
    path: str
    status: int


class _Refused(Exception):
    """An answer other than success: status, the protocol's error code, and a sentence."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Commit:
    """A set of files with a name that follows from them and from the commit before."""

    sha: str
    message: str
    files: Mapping[str, bytes]


@dataclass
class LocalHub:
    """A server for models and data sets, used as `with LocalHub() as hub:`.

    Reading needs no token, as on the Hub; writing needs `token`.
    """

    token: str = "local-token"
    requests: list[Request] = field(default_factory=list)
    _repositories: dict[tuple[str, str], list[Commit]] = field(default_factory=dict)
    _blobs: dict[str, bytes] = field(default_factory=dict)  # large files on their way into a commit, by sha256

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            local = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The address to give HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(
        self, name: str, files: str | Path | Mapping[str, bytes], kind: str = "model", message: str = "Upload"
    ) -> str:
        """Commit a directory, or files by name, to a repository, made where there is none; returns the commit's sha.

        Files of earlier commits stay. Raises FileNotFoundError for a directory that is not there, ValueError for no
        files, a kind other than "model" and "dataset", or a name that is not `owner/name`.
        """
        if kind not in _KINDS.values():
            raise ValueError(f"kind={kind!r} is not one of {', '.join(_KINDS.values())}")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise ValueError(f"name={name!r} is not of the form owner/name")
        if not isinstance(files, Mapping):
            directory = Path(files)
            if not directory.is_dir():
                raise FileNotFoundError(f"there is no directory {directory}")
            paths = sorted(path for path in directory.rglob("*") if path.is_file())
            files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
        if not files:
            raise ValueError(f"nothing to commit to {name}: no files")
        return self._commit(name, kind, files, (), message).sha

    def history(self, name: str, kind: str = "model") -> list[Commit]:
        """The commits of a repository, oldest first. Raises KeyError for one that is not there."""
        if (kind, name) not in self._repositories:
            raise KeyError(f"there is no {kind} {name!r}")
        return list(self._repositories[kind, name])

    def _commit(self, name: str, kind: str, added: Mapping[str, bytes], deleted: tuple, message: str) -> Commit:
        commits = self._repositories.setdefault((kind, name), [])
        parent = commits[-1] if commits else None
        files = {path: data for path, data in (parent.files if parent else {}).items() if path not in deleted}
        files |= added
        digest = hashlib.sha1(f"{parent.sha if parent else ''}\n{message}\n".encode())
        for path in sorted(files):
            digest.update(f"{path} {_etag(files[path])}\n".encode())
        commits.append(Commit(digest.hexdigest(), message, files))
        return commits[-1]

    def _find(self, kind: str, name: str, revision: str | None) -> Commit:
        commits = self._repositories.get((kind, name))
        if commits is None:
            raise _Refused(404, "RepoNotFound", f"there is no {kind} {name}")
        if revision in (None, "main"):
            return commits[-1]
        found = [commit for commit in commits if commit.sha == revision]
        if not found:
            raise _Refused(404, "RevisionNotFound", f"{name} has no revision {revision}")
        return found[0]


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """The protocol: which address means what, and the headers that the client wants to see."""

    protocol_version = "HTTP/1.1"
    local: LocalHub

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def log_message(self, *_) -> None:
        """Say nothing: `LocalHub.requests` keeps what was asked."""

    def _answer(self, handle) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        try:
            status, headers, body = handle(path, query)
        except _Refused as refusal:
            status, body = refusal.status, json.dumps({"error": refusal.message}).encode()
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        self.local.requests.append(Request(self.command, path, status))
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # --- reading ------------------------------------------------------------------------------------------------

    def _get(self, path: str, query: dict) -> tuple[int, dict, bytes]:
        if path == "/api/whoami-v2":
            self._require_token()
            return _json({"name": "learner", "type": "user", "orgs": [], "auth": {"type": "access_token"}})
        if found := _RESOLVE.fullmatch(path):
            kind = _KINDS[found["kind"] or "models"]
            return self._file(self.local._find(kind, found["name"], found["revision"]), found["path"])
        found = _API.fullmatch(path)
        if not found or found["call"] in ("preupload", "commit"):
            raise _Refused(404, "EntryNotFound", f"this hub does not know {path}")
        commit = self.local._find(_KINDS[found["kind"]], found["name"], found["revision"])
        if found["call"] == "tree":
            return _json(_tree(commit, found["path"] or "", "true" in query.get("recursive", [""])[0].lower()))
        siblings = [{"rfilename": name} for name in sorted(commit.files)]
        about = {"id": found["name"], "sha": commit.sha, "siblings": siblings, "tags": [], "private": False}
        return _json({**about, "downloads": 0, "likes": 0, "gated": False, "disabled": False})

    def _file(self, commit: Commit, path: str) -> tuple[int, dict, bytes]:
        """One file, or its end where the client asks to go on with a download that was cut off."""
        headers = {"X-Repo-Commit": commit.sha}
        if path not in commit.files:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": f"there is no file {path}"}
            return 404, headers, b""
        data = commit.files[path]
        headers |= {"ETag": f'"{_etag(data)}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return 200, headers, data
        start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
        if start >= len(data):
            raise _Refused(416, "RangeNotSatisfiable", f"{path} has only {len(data)} bytes")
        headers["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
        return 206, headers, data[start : end + 1]

    # --- writing ------------------------------------------------------------------------------------------------

    def _post(self, path: str, query: dict) -> tuple[int, dict, bytes]:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        self._require_token()
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if _BATCH.fullmatch(path):
            return _json({"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]})
        found = _API.fullmatch(path)
        if not found or found["call"] not in ("preupload", "commit"):
            raise _Refused(404, "EntryNotFound", f"this hub does not know {path}")
        kind, name = _KINDS[found["kind"]], found["name"]
        if (kind, name) not in self.local._repositories:
            raise _Refused(404, "RepoNotFound", f"there is no {kind} {name}")
        if found["call"] == "preupload":
            names = [one["path"] for one in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(_LARGE) else "regular" for name in names}
            return _json({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        added, deleted, message = self._operations(body)
        commit = self.local._commit(name, kind, added, deleted, message)
        address = f"{self.local.url}/{'datasets/' if kind == 'dataset' else ''}{name}/commit/{commit.sha}"
        return _json({"commitUrl": address, "commitOid": commit.sha, "success": True})

    def _create(self, wanted: dict) -> tuple[int, dict, bytes]:
        kind = wanted.get("type") or "model"
        name = f"{wanted.get('organization') or 'learner'}/{wanted['name']}"
        address = f"{self.local.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.local._repositories:
            return 409, {"X-Error-Message": "the repository is there already"}, json.dumps({"url": address}).encode()
        self.local._commit(name, kind, {".gitattributes": b""}, (), "initial commit")  # as the Hub does
        return _json({"url": address, "name": name})

    def _place(self, wanted: dict) -> dict:
        """Where to send a large file; nowhere, if it is here already."""
        known = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] in self.local._blobs:
            return known
        return {**known, "actions": {"upload": {"href": f"{self.local.url}/blobs/{wanted['oid']}"}}}

    def _put(self, path: str, query: dict) -> tuple[int, dict, bytes]:
        """Take a large file; its address is the hash of what must be in it."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path != f"/blobs/{_etag(data)}":
            raise _Refused(400, "BadRequest", "the bytes do not have the hash they were announced with")
        self.local._blobs[_etag(data)] = data
        return 200, {}, b""

    def _operations(self, body: bytes) -> tuple[dict[str, bytes], tuple[str, ...], str]:
        """(added files, deleted files, message) of a commit: one JSON value a line."""
        added, deleted, message = {}, [], ""
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                added[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile" and value["oid"] in self.local._blobs:
                added[value["path"]] = self.local._blobs[value["oid"]]
            elif item["key"] == "deletedFile":
                deleted.append(value["path"])
            else:
                raise _Refused(400, "BadRequest", f"this hub cannot take {item['key']} {value.get('path', '')}")
        return added, tuple(deleted), message

    def _require_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.local.token}":
            raise _Refused(401, "Unauthorized", "Invalid credentials in Authorization header")


def _json(value) -> tuple[int, dict, bytes]:
    return 200, {}, json.dumps(value).encode()


def _tree(commit: Commit, folder: str, recursive: bool) -> list[dict]:
    """The entries of a folder, as the client lists them; the folders in between only where it is not recursive."""
    start = f"{folder}/" if folder else ""
    inside = {name: data for name, data in commit.files.items() if name.startswith(start)}
    if not inside:
        raise _Refused(404, "EntryNotFound", f"there is no folder {folder}")
    entries, folders = [], set()
    for name, data in sorted(inside.items()):
        below = name.removeprefix(start).split("/")
        if len(below) == 1 or recursive:
            entries.append({"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()})
        elif below[0] not in folders:
            folders.add(below[0])
            oid = hashlib.sha1(below[0].encode()).hexdigest()
            entries.append({"type": "directory", "path": start + below[0], "size": 0, "oid": oid})
    return entries
