"""Real parts that stand in for AWS, started on free loopback ports and stopped again.

Each part is a context manager: inside the `with` it answers, afterwards no process of it is left, also when
the interpreter ends without leaving the `with`, or is killed. Invariants:

- a part listens on loopback only (DynamoDB Local is the exception: it has no option for that),
- it keeps every file, logs included, below a temporary folder of its own, and sees no AWS setting of the caller,
- an absent part is `PartAbsent`, with the command that installs it; a part that does not come up is `PartFailed`,
  with the end of its log. Neither is ever silent.
"""

import contextlib
import functools
import http.client
import os
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from tests.system.process import (
    LOOPBACK,
    START_S,
    PartAbsent,
    Process,
    answers,
    find_program,
    finish,
    free_port,
    running_program,
    scratch_folder,
)
from tests.system.process import (
    PartFailed as PartFailed,
)

REPOSITORY = Path(__file__).resolve().parents[2]
REGION = "us-east-1"


@dataclass(frozen=True)
class AwsEndpoint:
    """Where an AWS API answers on loopback, and the credentials it takes."""

    url: str
    access_key: str = "test"
    secret_key: str = "test"

    def client(self, service: str, **config):
        """A boto3 client of `service`; `config` goes to `botocore.config.Config`. Close it, or the socket leaks."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, **config),
        )

    def environ(self) -> dict[str, str]:
        """The variables that point the AWS SDKs, and so a child process, at this endpoint."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True)
class Bucket:
    """A bucket of one test's own."""

    name: str
    server: AwsEndpoint

    @property
    def url(self) -> str:
        return f"s3://{self.name}"


# --- The parts ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def ministack() -> Iterator[str]:
    """MiniStack: DynamoDB with streams, S3, Lambda. Yields its endpoint URL; any credentials do. Up in about 1 s.

    Raises PartAbsent when `.emul` (or the folder that DDBTRAIL_EMULATORS names) has no `bin/ministack`.
    """
    folder = Path(os.environ.get("DDBTRAIL_EMULATORS") or REPOSITORY / ".emul")
    program = folder / "bin" / "ministack"
    if not program.exists():
        own = " (and unset DDBTRAIL_EMULATORS)" if "DDBTRAIL_EMULATORS" in os.environ else ""
        raise PartAbsent(f"MiniStack is not installed: no {program}; install it with: make emulators{own}")
    with scratch_folder("ministack") as scratch, contextlib.ExitStack() as running:
        port = free_port()
        settings = {
            "BIND_HOST": LOOPBACK,  # its default is every interface
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(scratch),
            "STATE_DIR": str(scratch / "state"),
            "S3_DATA_DIR": str(scratch / "s3"),
        }
        process = running.enter_context(running_program([str(program)], log=scratch / "log", environ=settings))
        process.wait_until(lambda: answers(port, "/_ministack/health"))
        yield f"http://{LOOPBACK}:{port}"


@contextlib.contextmanager
def dynamodb_local() -> Iterator[str]:
    """AWS's own DynamoDB Local, in memory. Yields its endpoint URL; any credentials do. Up in about 2 s.

    Its licence asks for an AWS account and forbids redistribution, so it is never fetched for you: raises PartAbsent
    unless DDBTRAIL_TEST_DYNAMODB_LOCAL names the folder that holds `DynamoDBLocal.jar`.
    """
    folder = os.environ.get("DDBTRAIL_TEST_DYNAMODB_LOCAL")
    if not folder:
        raise PartAbsent(
            "DynamoDB Local is optional (licence); unpack it yourself and set "
            "DDBTRAIL_TEST_DYNAMODB_LOCAL to the folder of DynamoDBLocal.jar"
        )
    jar = Path(folder).resolve() / "DynamoDBLocal.jar"
    if not jar.exists():
        raise PartAbsent(f"no {jar}; DDBTRAIL_TEST_DYNAMODB_LOCAL must name the folder of DynamoDBLocal.jar")
    java = find_program("java", install="apt-get install default-jre-headless")
    with scratch_folder("dynamodb-local") as scratch, contextlib.ExitStack() as running:
        port = free_port()
        options = ["-inMemory", "-port", str(port), "-disableTelemetry"]
        library = f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}"
        command = [java, "-Xmx1g", library, "-jar", str(jar), *options]
        process = running.enter_context(running_program(command, log=scratch / "log", cwd=jar.parent))
        process.wait_until(lambda: answers(port, "/"))
        yield f"http://{LOOPBACK}:{port}"


CEPH_PACKAGES = "radosgw ceph-mon ceph-osd ceph-common"
CEPH_USER = ("testing", "testing-secret")
CEPH_CONFIGURATION = """\
[global]
fsid={fsid}
mon_host=v2:127.0.0.1:{mon_port}
mon_initial_members=a
public_network=127.0.0.0/8
keyring={folder}/keyring
osd_pool_default_size=1
osd_pool_default_min_size=1
osd_crush_chooseleaf_type=0
osd_pool_default_pg_num=8
osd_pool_default_pgp_num=8
osd_pool_default_pg_autoscale_mode=off
mon_allow_pool_size_one=true
mon_max_pg_per_osd=1000
paxos_propose_interval=0.02
paxos_min_wait=0.01
run_dir={folder}
log_file={folder}/$name.log
admin_socket=
pid_file=
[mon.a]
mon_data={folder}/mon
public_addr=v2:127.0.0.1:{mon_port}
[osd.0]
osd_data={folder}/osd
osd_objectstore=memstore
memstore_device_bytes=3221225472
public_addr=127.0.0.1
cluster_addr=127.0.0.1
[client.rgw.a]
rgw_data={folder}/rgw
rgw_frontends=beast endpoint=127.0.0.1:{s3_port}
"""


@contextlib.contextmanager
def ceph_rgw() -> Iterator[AwsEndpoint]:
    """Ceph RADOS Gateway: a real object store, in memory. Yields its S3 endpoint. Up in about 2 s, 1 GB of memory.

    Raises PartAbsent when the Ceph programs are not installed. Authentication stays on: radosgw refuses to run without.
    """
    install = f"apt-get install --no-install-recommends {CEPH_PACKAGES}"
    program = functools.partial(find_program, install=install)
    mon, osd, rgw = program("ceph-mon"), program("ceph-osd"), program("radosgw")
    with scratch_folder("rgw") as folder, contextlib.ExitStack() as running:
        s3_port, fsid, osd_uuid = free_port(), str(uuid.uuid4()), str(uuid.uuid4())
        configuration = CEPH_CONFIGURATION.format(fsid=fsid, folder=folder, mon_port=free_port(), s3_port=s3_port)
        (folder / "ceph.conf").write_text(configuration)
        for data in ("mon", "osd", "rgw"):
            (folder / data).mkdir()
        environ = {"CEPH_CONF": str(folder / "ceph.conf")}
        ask = functools.partial(finish, log=folder / "setup.log", environ=environ)

        def start(command: list[str]) -> Process:
            log = folder / f"{Path(command[0]).name}.out"
            return running.enter_context(running_program(command, log=log, environ=environ))

        keyring, monmap = str(folder / "keyring"), str(folder / "monmap")
        ask([program("ceph-authtool"), "-C", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"])
        may_do_all = [word for part in ("mon", "osd", "mgr") for word in ("--cap", part, "allow *")]
        for name in ("client.admin", "osd.0", "client.rgw.a"):
            ask([program("ceph-authtool"), keyring, "--gen-key", "-n", name, *may_do_all])
        address = configuration.split("mon_host=")[1].split()[0]
        ask([program("monmaptool"), "--create", "--addv", "a", f"[{address}]", "--fsid", fsid, monmap])
        ask([mon, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring])
        start([mon, "-f", "-i", "a"])
        ask([program("ceph"), "--connect-timeout", str(int(START_S)), "osd", "new", osd_uuid])
        ask([osd, "-i", "0", "--mkfs", "--osd-uuid", osd_uuid])
        start([osd, "-f", "-i", "0"])
        access_key, secret_key = CEPH_USER
        user = ["--uid=test", "--display-name=test", f"--access-key={access_key}", f"--secret={secret_key}"]
        ask([program("radosgw-admin"), "user", "create", *user])
        gateway = start([rgw, "-f", "-n", "client.rgw.a"])
        gateway.wait_until(lambda: answers(s3_port, "/"))
        yield AwsEndpoint(f"http://{LOOPBACK}:{s3_port}", access_key, secret_key)


# --- Lambda's runtime -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LambdaRuntime:
    """Python 3.13 with what Lambda's runtime brings: boto3 and the runtime client; and the emulator of its front."""

    python: Path
    emulator: Path


def lambda_runtime() -> LambdaRuntime:
    """Where `make runtime` has put Lambda's runtime client. Raises PartAbsent where it has not."""
    folder = REPOSITORY / ".lambda"
    machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
    emulator = folder / f"lib/python3.13/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"
    if not emulator.exists():
        raise PartAbsent("Lambda's runtime is not installed: it needs Python 3.13; install it with: make runtime")
    return LambdaRuntime(folder / "bin" / "python", emulator)


@dataclass(frozen=True)
class LambdaFunction:
    """One container of a function; `invoke` is synchronous, one at a time."""

    port: int
    process: Process

    def invoke(self, event: bytes) -> bytes:
        """What the function answers; where it raised, the JSON object with `errorType` that Lambda makes of it."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=START_S)
        with contextlib.closing(connection):
            connection.request("POST", "/2015-03-31/functions/function/invocations", event)
            return connection.getresponse().read()

    @property
    def log(self) -> str:
        return self.process.log.read_text(errors="replace")

    def peak_memory_bytes(self) -> int:
        """The most that the function's process has had resident, since it was started (Linux: VmHWM)."""
        children = (
            int(pid)
            for thread in Path(f"/proc/{self.process.pid}/task").iterdir()
            for pid in (thread / "children").read_text().split()
        )
        status = Path(f"/proc/{next(children)}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@contextlib.contextmanager
def lambda_function(package: Path, handler: str, environ: Mapping[str, str]) -> Iterator[LambdaFunction]:
    """The unpacked `package` in Lambda's own runtime client (awslambdaric) behind the Runtime Interface Emulator.

    Memory and package size are not limited, and the disk is writable: none of this is Lambda's doing here. Raises
    PartAbsent where `lambda_runtime` does.
    """
    runtime = lambda_runtime()
    with scratch_folder("lambda") as scratch, contextlib.ExitStack() as running:
        temporary = scratch / "tmp"  # each container has one of its own
        temporary.mkdir()
        port, runtime_api_port = free_port(), free_port()
        addresses = ["--runtime-interface-emulator-address", f"{LOOPBACK}:{port}"]
        addresses += ["--runtime-api-address", f"{LOOPBACK}:{runtime_api_port}"]
        settings = {
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(START_S)),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_REGION": REGION,
            "LAMBDA_TASK_ROOT": str(package),
            "PYTHONPATH": str(package),
            "PYTHONDONTWRITEBYTECODE": "1",  # a function's folder is read-only
            "TMPDIR": str(temporary),
        }
        command = [str(runtime.emulator), *addresses, str(runtime.python), "-m", "awslambdaric", handler]
        process = running.enter_context(running_program(command, log=scratch / "log", environ={**settings, **environ}))
        process.wait_until(lambda: answers(port, "/"))
        yield LambdaFunction(port, process)
