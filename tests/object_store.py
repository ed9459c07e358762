"""A store that speaks S3, at a free port of this machine, for tests: moto's, with requests that can be made to fail."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from s3fs import S3FileSystem
from werkzeug.serving import make_server

Fault = Callable[[str, str], int | None]  # method and path of a request to the status it is answered with, None for what is right
CODES = {403: "AccessDenied", 404: "NoSuchBucket", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}
_numbers = count()


class ObjectStore:
    """See the head of this file. `fault`: asked about each request; `asked`: all of them, as "METHOD /bucket/key"."""

    def __init__(self) -> None:
        self.fault: Fault = lambda method, path: None
        self.asked: list[str] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ObjectStore":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def new_bucket(self) -> str:
        """The name of an empty bucket."""
        name = f"bucket-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> object:
        """Another way in than the one that is tested."""
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")

    def content(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """All objects of a bucket, by what follows the prefix in their names."""
        client = self.client()
        names = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {name.removeprefix(prefix): client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}

    def failing(self, status: int, method: str, pattern: str, *, times: int = 10**9) -> None:
        """From now on, so many requests of a method to paths with a pattern in them fail."""
        left = count(times, -1)
        self.fault = lambda asked, path: status if asked == method and re.search(pattern, path) and next(left) > 0 else None

    def _answer(self, environ: dict, start_response: Callable) -> Iterator[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.asked.append(f"{method} {path}")
        status = self.fault(method, path)
        if status is None:
            return self._app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(f"{status} no", [("Content-Type", "application/xml")])
        return [b"" if method == "HEAD" else f"<Error><Code>{CODES[status]}</Code><Message>made to fail: {CODES[status]}</Message></Error>".encode()]


@contextmanager
def store_in_use() -> Iterator[ObjectStore]:
    """A store, and an environment in which drivers of S3 talk to it and try but twice; child processes inherit it."""
    with ObjectStore() as store, pytest.MonkeyPatch.context() as patch:
        settings = {"AWS_ENDPOINT_URL": store.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**settings, "AWS_MAX_ATTEMPTS": "2", "AWS_RETRY_MODE": "standard", "AWS_EC2_METADATA_DISABLED": "true"}.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.delenv(name, raising=False)
        S3FileSystem.clear_instance_cache()  # those of this process that talk to another one
        yield store
