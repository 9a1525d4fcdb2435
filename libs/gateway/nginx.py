"""nginx as the gateway: its configuration, made from the table, and the server process."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from libs.embedded import processes
from libs.gateway.answers import PROBLEMS, RETRY_AFTER_S, problem_text
from libs.gateway.proxy import ANSWER_S, BODY_MAX_BYTES, CONNECT_S, IDLE_S
from libs.gateway.table import Table
from libs.gateway.upstreams import Upstreams

PROGRAM = "nginx"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
STOP_S = 15.0

FRAME = """\
# Made by `python -m services gateway`, which makes its own again whenever other processes take requests.
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;  # a process that is away is tried with each request; the gateway says so once
events {{ worker_connections 4096; }}
http {{
  access_log off;  # the services log each request
  server_tokens off;
{temporary}
  map $http_x_request_id $id {{ default $request_id; "~^[A-Za-z0-9._-]{{1,100}}$" $http_x_request_id; }}
  map $upstream_bytes_sent $nothing_sent {{ default 0; "~^[-0, :]*$" 1; }}
{upstreams}
  server {{
    listen {listen} backlog=1024;
    merge_slashes off;
    client_max_body_size {body_max};
    client_body_buffer_size 64k;
    client_header_timeout 15s;
    client_body_timeout 60s;
    large_client_header_buffers 4 32k;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header TE "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Request-ID $id;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout {connect_s:g}s;
    proxy_read_timeout {answer_s:g}s;
    proxy_send_timeout {answer_s:g}s;
    proxy_next_upstream error timeout;  # POST and PATCH: only when nothing was sent
    proxy_next_upstream_timeout {answer_s:g}s;
    proxy_buffering off;
    default_type application/problem+json;
{locations}
{problems}
  }}
}}
"""


def find_program() -> str | None:
    """Return where nginx is installed, or None."""
    return shutil.which(PROGRAM, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def configuration(table: Table, upstreams: Upstreams, directory: Path, front: str | None) -> str:
    """Write the configuration. `front` (host:port) answers what is about all processes, without one each by itself."""
    return FRAME.format(
        directory=directory,
        listen=f"{f'[{table.host}]' if ':' in table.host else table.host}:{table.port}",
        temporary="\n".join(f"  {name}_temp_path {directory}/{name};" for name in TEMPORARY),
        body_max=BODY_MAX_BYTES,
        connect_s=CONNECT_S,
        answer_s=ANSWER_S,
        upstreams="\n".join(_upstream(service, upstreams) for service in upstreams.services),
        locations="\n".join([*_locations(table, front), *(_front(front) if front else _without_front(upstreams))]),
        problems="\n".join(_problem(status) for status in PROBLEMS),
    )


def _upstream(service: str, upstreams: Upstreams) -> str:
    """Name a service's processes. None is left out for an error: one that is back takes the place of one that goes.

    (With `max_fails=1` it was left out for up to 2 s after it was back, and there was none when the other one ended.)
    """
    servers = " ".join(f"server {each.address} max_fails=0;" for each in upstreams.of(service))
    servers = servers or "server 127.0.0.1:1 down;"
    return f"  upstream {service} {{ {servers} keepalive 64; keepalive_timeout {IDLE_S:g}s; }}"


def _locations(table: Table, front: str | None) -> list[str]:
    """Send each path to its service. PUT and DELETE by way of the front: nginx would send one that broke off again.

    Done a second time it may be refused (nothing there, another version), though it was done.
    """
    others = f" limit_except GET POST PATCH OPTIONS {{ proxy_pass http://{front}; }}" if front else ""
    found = []
    for service, prefixes in table.prefixes.items():
        for prefix in sorted(prefixes):
            found += [
                f"    location {each} {{ proxy_pass http://{service};{others} }}"
                for each in (f"= {prefix}", f"{prefix}/")
            ]
    return found


def _front(address: str) -> list[str]:
    return [f"    location / {{ proxy_pass http://{address}; }}"]


def _without_front(upstreams: Upstreams) -> list[str]:
    found = ["    location = /livez { default_type application/json; return 200 '{\"alive\":true}'; }"]
    for service in upstreams.services:
        found += [
            f"    location = /healthz/{service} {{ proxy_pass http://{service}; }}",
            f"    location = /metrics/{service} {{ proxy_pass http://{service}/metrics; }}",
        ]
    return [*found, "    location / { return 404; }"]


def _problem(status: int) -> str:
    """Answer a status of nginx's own as a problem. What was never sent may be sent again: 503 instead of 502.

    Not by a named location: a request whose target cannot be read has no URI to take there, and would be answered 500.
    """
    also = " 494" if status == 431 else ""
    instead = f"if ($nothing_sent) {{ {_told(503)} }} " if status == 502 else ""
    return (
        f"    error_page {status}{also} = /problem/{status};\n"
        f"    location = /problem/{status} {{ internal; {instead}{_told(status)} }}"
    )


def _told(status: int) -> str:
    text = problem_text(status, "$id").replace("'", "\\'")
    retry = f"add_header Retry-After {RETRY_AFTER_S} always; " if status == 503 else ""
    return f"{retry}add_header X-Request-ID $id always; return {status} '{text}';"


class Nginx:
    """An nginx that owns `directory`."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._account = processes.server_account()
        self._path = directory / "nginx.conf"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, configuration_text: str) -> None:
        """Start it with a configuration; what one that was killed left behind ends first. Raises ServerFailed."""
        processes.make_reachable(self._directory.parent, self._account)
        processes.make_owned(self._directory, self._account)
        for left in reversed(processes.find_in(self._directory, PROGRAM)):
            processes.end(left, [(signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)])
        self._path.write_text(configuration_text)
        self._path.chmod(0o644)
        words = [self._program, "-p", str(self._directory), "-e", "stderr", "-c", str(self._path)]
        processes.run([*words, "-q", "-t"], 10.0, self._account)
        account = self._account
        self._child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words],
            cwd=self._directory, stdin=subprocess.DEVNULL, process_group=0,
            user=account.uid if account else None, group=account.gid if account else None,
            extra_groups=[] if account else None,
        )  # fmt: skip

    def reload(self, configuration_text: str) -> None:
        """Take another configuration; requests in hand end under the one before."""
        if self._child is not None and self._path.read_text() != configuration_text:
            self._path.write_text(configuration_text)
            self._child.send_signal(signal.SIGHUP)

    def ended(self) -> int | None:
        """Return its exit code when it has ended."""
        return self._child.poll() if self._child is not None else None

    def stop(self) -> None:
        """Finish the requests in hand, then end."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGQUIT)
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.terminate()
            self._child.wait()
