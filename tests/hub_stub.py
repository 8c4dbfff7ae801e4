"""The part of the Hugging Face hub's HTTP that sharing needs, on this machine, as huggingface_hub 2.4 asks for it.

Large files come from another host than the hub, which must not see the token. Uploads have one part, or several if a
file is larger than `PART`.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

TOKEN = "hf_right"
PART = 5_000  # bytes of a part of an upload
LARGE = (".safetensors", ".png")  # what goes into the large file storage


@dataclass
class Hub:
    """What the hub holds, what it was asked, and what goes wrong."""

    address: str = ""
    storage: str = ""  # the address of large files
    repositories: dict[str, list[tuple[str, dict[str, str]]]] = field(
        default_factory=dict
    )  # commits: names to contents
    contents: dict[str, bytes] = field(default_factory=dict)  # by what the hub calls them
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # "METHOD path" of each request
    ranges: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)  # tokens that the storage saw
    failing: Counter[str] = field(default_factory=Counter)  # how often requests that match fail with 500
    cut: int = 0  # bytes of the next large file after which the connection breaks; 0 if it does not

    def environment(self, home: Path) -> dict[str, str]:
        """What tells a process that this is the hub, who it is there, and where its cache is."""
        return {
            "HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip

    def put(self, repository: str, changes: dict[str, bytes | None]) -> str:
        """Commit changes, None for a deletion, and return the commit."""
        before = self.repositories.setdefault(repository, [])
        names = dict(before[-1][1]) if before else {}
        for name, data in changes.items():
            if data is None:
                del names[name]
            else:
                known = name_of(name, data)
                self.contents[known] = data
                names[name] = known
        commit = hashlib.sha1(f"{repository} {len(before)} {names}".encode()).hexdigest()
        before.append((commit, names))
        return commit

    def read(self, repository: str, name: str) -> bytes:
        """A file of the newest commit."""
        return self.contents[self.repositories[repository][-1][1][name]]


def name_of(name: str, data: bytes) -> str:
    """What the hub calls the content of a file: SHA-256 of a large one, git's name of another."""
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub while the context lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Bound", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address, hub.storage = (f"http://{host}:{server.server_address[1]}" for host in ("127.0.0.1", "localhost"))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the other side would wait before it acknowledges the first

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, value: object = {}, body: bytes | None = None, **headers: str) -> None:
        data = json.dumps(value).encode() if body is None else body
        self.send_response(code)
        for name, text in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        request = f"{self.command} {path}"
        hub.asked.append(request)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            sent = self._read_chunks()
        token = self.headers.get("Authorization")
        for pattern in [each for each, count in hub.failing.items() if count and re.search(each, request)]:
            hub.failing[pattern] -= 1
            return self.answer(500, {"error": "out of order"})
        if path.startswith("/storage/"):
            hub.leaked += [token] if token else []
            return self._storage(path.split("/")[2:], sent)
        if token is not None and token != f"Bearer {TOKEN}":
            return self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        if self.command in ("GET", "HEAD") and (match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)):
            return self._resolve(*match.groups())
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", path):
            names = hub.repositories[match[1]][-1][1] if hub.repositories.get(match[1]) else {}
            sizes = {name: len(hub.contents[known]) for name, known in names.items()}
            return self.answer(
                200, [{"type": "file", "path": name, "size": size, "oid": names[name]} for name, size in sizes.items()]
            )
        if path == "/api/validate-yaml":
            import yaml

            head = yaml.safe_load(json.loads(sent)["content"].split("---\n")[1])
            if head["license"] == "nonsense":
                return self.answer(400, {"errors": [{"message": '"license" must be one of [mit, ...]'}]})
            return self.answer(200, {"warnings": [], "errors": []})
        if token is None:
            return self.answer(401, {"error": "Invalid username or password."})
        return self._write(path, sent)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        commits = self.hub.repositories.get(repository)
        if not commits:
            return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        found = dict(commits).get(commits[-1][0] if revision == "main" else revision)
        if found is None:
            return self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        commit = commits[-1][0] if revision == "main" else revision
        if name not in found:
            return self.answer(
                404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found", X_Repo_Commit=commit
            )
        known, data = found[name], self.hub.contents[found[name]]
        if not name.endswith(LARGE):
            return self.answer(200, body=data, X_Repo_Commit=commit, ETag=f'"{known}"')
        return self.answer(
            302, body=b"", X_Repo_Commit=commit, X_Linked_Size=str(len(data)), X_Linked_ETag=f'"{known}"',
            Location=f"{self.hub.storage}/storage/{known}",
        )  # fmt: skip

    def _storage(self, words: list[str], sent: bytes) -> None:
        hub, known = self.hub, words[0]
        if self.command == "PUT":
            hub.parts.setdefault(known, {})[int(words[1])] = sent
            return self.answer(200, ETag=f'"{hashlib.md5(sent).hexdigest()}"')
        if self.command == "POST":  # all parts are there
            hub.contents[known] = b"".join(data for _, data in sorted(hub.parts[known].items()))
            return self.answer(200, {})
        data, given = hub.contents[known], self.headers.get("Range", "")
        hub.ranges += [given] if given else []
        start = int(re.findall(r"\d+", given)[0]) if given else 0
        if hub.cut:
            end, hub.cut = start + hub.cut, 0
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:end])
            self.close_connection = True
            return None
        extra = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if given else {}
        return self.answer(206 if given else 200, body=data[start:], **extra)

    def _write(self, path: str, sent: bytes) -> None:
        hub = self.hub
        if path == "/api/repos/create":
            told = json.loads(sent)
            repository = f"{told['organization']}/{told['name']}"
            if told["organization"] == "other":
                return self.answer(403, {"error": "You don't have the rights to create a model under this namespace"})
            is_new = repository not in hub.repositories
            hub.repositories.setdefault(repository, [])
            return self.answer(200 if is_new else 409, {"url": f"{hub.address}/{repository}"})
        if "/preupload/" in path:
            files = json.loads(sent)["files"]
            return self.answer(200, {"files": [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False} for each in files
            ]})  # fmt: skip
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.answer(200, {"objects": [self._action(**each) for each in json.loads(sent)["objects"]]})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            changes = dict[str, bytes | None]()
            for line in map(json.loads, sent.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    changes[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    changes[value["path"]] = hub.contents[value["oid"]]
                elif line["key"] == "deletedFile":
                    changes[value["path"]] = None
            commit = hub.put(match[1], changes)
            return self.answer(200, {"commitUrl": f"{hub.address}/{match[1]}/commit/{commit}", "commitOid": commit})
        return self.answer(404, {"error": f"the stub does not know {path}"})

    def _action(self, oid: str, size: int) -> dict[str, Any]:
        """How to upload a large file, or nothing if it is there."""
        if oid in self.hub.contents:
            return {"oid": oid, "size": size}
        place = f"{self.hub.address}/storage/{oid}"
        count = -(-size // PART)
        header = {"chunk_size": str(PART)} | {str(number): f"{place}/{number}" for number in range(1, count + 1)}
        return {"oid": oid, "size": size, "actions": {"upload": {"href": place, "header": header}}}
