#!/usr/bin/env python3
"""Runs the clients that people use, each from its own package, against a sandbox through the gateway; `make clients` runs it.

    tests/clients/run.py [CLIENT...]         all of them, or these; prints a table
    tests/clients/run.py --write [CLIENT...] the same, and writes their rows into docs/clients/README.md
    tests/clients/run.py check               whether what the pages of docs/clients show is what is run; starts nothing

A client lists, watches and runs a command in a pod, says `wait`, and goes on when the tokens it had until then have expired and the
gateway refuses them. What it did is read from kube-apiserver's audit log, where each client is a user of its own and each token has
its identifier. A client is one folder here and one page in docs/clients. The kubeconfig is that of docs/clients/README.md, with the
sandbox's names in the place of the examples'. Packages are installed in target/clients.
"""

import base64
import datetime
import fcntl
import json
import os
import pathlib
import pty
import queue
import re
import select
import shutil
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/clients"
PAGES = ROOT / "docs/clients"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
WORK = TARGET / "clients"
PROGRAMS = TARGET / "debug"

ISSUER = "kubernetes-sandbox"
AUDIENCE = "kubernetes-sandbox"
NAMESPACE, POD = "team", "web"
# Long enough for what a client does before it waits, short enough to be waited for.
LIFETIME = 20
LIMIT = 120

GATEWAY_USER = "system:serviceaccount:kube-oidc-gateway:gateway"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"

# What stands in the pages for the reader's own.
EXAMPLES = {
    "server": "https://gateway.example.com",
    "ca": "gateway.crt",
    "issuer": "https://login.example.com/realms/staff",
    "client": "--oidc-client-id=kubernetes",
    "token": "/var/run/secrets/tokens/gateway",
    "ca-data": "LS0tLS1CRUdJTi...",
}


class Failure(Exception):
    """A client that does not do as its page says."""


def run(*command, **options):
    """A command that must succeed; its output if it does not."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


# == The pages


def blocks(page):
    """The fenced blocks of a page: language and lines."""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        yield language, text


def plain(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def has(lines, part):
    return any(lines[i : i + len(part)] == part for i in range(len(lines) - len(part) + 1))


def check_page(name):
    """Every block of a client's page must stand in one of the client's files, but for indentation and blank lines."""
    page = (PAGES / f"{name}.md").read_text()
    files = [path for path in sorted((HERE / CLIENTS[name].folder).rglob("*")) if path.is_file()]
    texts = [plain(path.read_text()) for path in files]
    shown = [text for language, text in blocks(page) if language != "console"]
    if not shown:
        raise Failure(f"docs/clients/{name}.md shows nothing that is run")
    for text in shown:
        if not any(has(lines, plain(text)) for lines in texts):
            raise Failure(f"docs/clients/{name}.md: this stands in no file of tests/clients/{CLIENTS[name].folder}:\n{text}")


def check():
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    if pages != set(CLIENTS):
        raise Failure(f"pages and clients differ: {', '.join(sorted(pages ^ set(CLIENTS)))}")
    for name in CLIENTS:
        check_page(name)


# == The sandbox


class Sandbox:
    """A sandbox of its own, with tokens that soon expire."""

    def __init__(self):
        self.folder = WORK / "sandbox"
        self.told = run(PROGRAMS / "sandbox", "up", "--detach", f"--folder={self.folder}", "--provider-admin=0")
        address = lambda name: re.search(rf"^{name} +(\S+)$", self.told, re.MULTILINE).group(1)
        self.gateway, self.issuer, self.admin = address("gateway"), address("issuer"), address("its admin API")
        self.kubectl = re.search(r"kubectl of the same version: (\S+)", self.told).group(1)
        self.ca = (self.folder / "gateway.crt").read_text()
        self.audit = next(self.folder.glob("cluster/**/audit.log"))
        self.stopped = threading.Event()

    def __enter__(self):
        self.ask("PATCH", f"/issuers/{ISSUER}/settings", {"token_lifetime_seconds": LIFETIME})
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": NAMESPACE},
               "spec": {"nodeName": "sandbox", "containers": [{"name": "main", "image": "none"}]}}  # fmt: skip
        ticks = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ticks", "namespace": NAMESPACE}}
        for made in (pod, ticks):
            run(*self.as_admin("apply", "-f", "-"), input=json.dumps(made))
        run(*self.as_admin("wait", "--for=condition=Ready", "--timeout=30s", f"--namespace={NAMESPACE}", "pod", POD))
        threading.Thread(target=self.tick, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        run(PROGRAMS / "sandbox", "down", f"--folder={self.folder}")

    def as_admin(self, *words):
        return [self.kubectl, f"--kubeconfig={self.folder / 'admin.kubeconfig'}", *words]

    def tick(self):
        """Something to watch: a change every second, made straight at kube-apiserver."""
        config = json.loads((self.folder / "admin.kubeconfig").read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        text = lambda value: base64.b64decode(value).decode()
        context = ssl.create_default_context(cadata=text(cluster["certificate-authority-data"]))
        pem = WORK / "admin.pem"
        with open(pem, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text(user["client-certificate-data"]) + text(user["client-key-data"]))
        context.load_cert_chain(pem)
        url = f"{cluster['server']}/api/v1/namespaces/{NAMESPACE}/configmaps/ticks"
        for count in range(1 << 30):
            if self.stopped.wait(1):
                return
            data = json.dumps({"data": {"count": str(count)}}).encode()
            request = urllib.request.Request(url, data, {"content-type": "application/merge-patch+json"}, method="PATCH")
            urllib.request.urlopen(request, context=context, timeout=LIMIT).read()

    def ask(self, method, path, body=None):
        """An order to the OpenID provider."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin + path, data, {"content-type": "application/json"}, method=method)
        answer = urllib.request.urlopen(request, timeout=LIMIT).read()
        return json.loads(answer) if answer else None

    def person(self, name):
        """A user for a client: may look at everything, and rules one namespace."""
        groups = ["system:viewers", "namespace-admin"]
        self.ask("POST", f"/issuers/{ISSUER}/users", {"name": name, "password": f"{name}-password", "groups": groups})

    def token(self, name):
        answer = self.ask("POST", f"/issuers/{ISSUER}/tokens", {"user": name, "client": AUDIENCE, "expires_in": LIFETIME})
        return answer if isinstance(answer, str) else answer["token"]

    def wait_until_tokens_expire(self, name):
        """Every token that was issued until now has expired, when the gateway refuses one that was issued last."""
        token = self.token(name)
        context = ssl.create_default_context(cadata=self.ca)
        # Reading `/api` needs a user, and no right.
        request = urllib.request.Request(f"{self.gateway}/api", headers={"authorization": f"Bearer {token}"})
        taken, start = False, time.monotonic()
        while time.monotonic() - start < LIMIT:
            try:
                urllib.request.urlopen(request, context=context, timeout=LIMIT).read()
                taken = True
            except urllib.error.HTTPError as error:
                if error.code != 401 or not taken:
                    raise
                return
            time.sleep(0.5)
        raise Failure("a token does not expire")

    def events(self, name):
        """What the user did, in the order in which it was answered."""
        user = f"{self.issuer}#{name}"
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            if event.get("impersonatedUser", {}).get("username") == user and event["stage"] in ("ResponseStarted", "ResponseComplete"):
                yield event

    def done_as_the_gateway(self):
        """What the gateway did as itself alone: nothing but to ask."""
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            if event["user"].get("username") == GATEWAY_USER and event["stage"] != "RequestReceived":
                if not event.get("impersonatedUser", {}).get("username") and "reviews" not in event["requestURI"]:
                    yield event["requestURI"]

    def kubeconfig(self, name):
        """The kubeconfig of docs/clients/README.md, for here."""
        page = (PAGES / "README.md").read_text()
        text = next(text for language, text in blocks(page) if language == "yaml")
        for example, own in [
            (EXAMPLES["server"], self.gateway),
            (EXAMPLES["ca"], str(self.folder / "gateway.crt")),
            (EXAMPLES["issuer"], self.issuer),
            (EXAMPLES["client"], f"--oidc-client-id={AUDIENCE}"),
        ]:
            if example not in text:
                raise Failure(f"docs/clients/README.md has a kubeconfig without {example}")
            text = text.replace(example, own)
        other = HERE / CLIENTS[name].folder / "stanza.yaml"
        if other.exists():
            version = re.search(r"apiVersion: (\S+)", other.read_text()).group(1)
            text = text.replace("apiVersion: client.authentication.k8s.io/v1\n", f"apiVersion: {version}\n")
        path = WORK / f"{name}.kubeconfig"
        path.write_text(text)
        return path

    def environment(self, name):
        """The environment of a client whose user logs in with a password, which no page shows: it is for tests."""
        home = WORK / "homes" / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        environment = dict(
            os.environ,
            HOME=str(home),
            PATH=f"{PROGRAMS}:{pathlib.Path(self.kubectl).parent}:{os.environ['PATH']}",
            KUBECONFIG=str(self.kubeconfig(name)),
            KUBECTL_OIDC_GRANT_TYPE="password",
            KUBECTL_OIDC_USERNAME=name,
            KUBECTL_OIDC_PASSWORD=f"{name}-password",
            KUBECTL_OIDC_CERTIFICATE_AUTHORITY=str(self.folder / "issuer.crt"),
            KUBECTL_OIDC_TOKEN_STORE="file",
            KUBECTL_OIDC_TOKEN_STORE_DIR=str(home / "tokens"),
            ISSUER=self.issuer,
            CLIENT_ID=AUDIENCE,
        )
        for variable in [variable for variable in environment if variable.lower().endswith("_proxy")]:
            del environment[variable]
        return environment


def seen(events):
    """What a user's events show."""
    tokens, kinds, agents = [], set(), []
    for event in events:
        code, ref = event.get("responseStatus", {}).get("code", 0), event.get("objectRef", {})
        if code >= 400:
            continue
        for value in event["impersonatedUser"].get("extra", {}).get(CREDENTIAL_ID, []):
            if value not in tokens:
                tokens.append(value)
        if event["verb"] in ("list", "watch"):
            kinds.add(event["verb"])
        elif ref.get("subresource") == "exec" and code == 101:
            kinds.add("exec by WebSocket" if event["verb"] == "get" else "exec by SPDY")
        if (agent := event.get("userAgent", "")) and agent not in agents:
            agents.append(agent)
    return tokens, kinds, agents


# == The clients


class Client:
    """How a client is installed and run. `wants` is what its events have to show."""

    def __init__(self, folder, title, wants, prepare, start, version):
        self.folder, self.title, self.wants = folder, title, wants
        self.prepare, self.start, self.version = prepare, start, version


class Program:
    """A client's process: lines of its output, and the line that lets it go on."""

    def __init__(self, command, environment, cwd):
        self.process = subprocess.Popen(
            [str(word) for word in command], env=environment, cwd=cwd, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines, self.output = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def until(self, wanted):
        """The first line that fits; all others are kept for a failure's message."""
        start = time.monotonic()
        while (left := LIMIT - (time.monotonic() - start)) > 0:
            try:
                line = self.lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            self.output.append(line)
            if wanted(line):
                return line
        self.process.kill()
        raise Failure("it did not come so far; its output:\n" + "\n".join(self.output[:40] + self.output[40:][-40:]))

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
        while (line := self.lines.get(timeout=LIMIT)) is not None:
            self.output.append(line)
        if self.process.returncode:
            raise Failure(f"exit {self.process.returncode}; its output:\n" + "\n".join(self.output[:40] + self.output[40:][-40:]))


def copied(folder):
    """The client's folder where packages may be installed beside it."""
    to = WORK / folder
    shutil.copytree(HERE / folder, to, dirs_exist_ok=True)
    return to


def plain_program(command):
    """For programs that say `wait` and go on with the next line."""

    def start(sandbox, name, folder, expired):
        program = Program(command(folder), sandbox.environment(name), folder)
        program.until(lambda line: line == "wait")
        expired()
        program.say("")
        program.end()

    return start


def python_environment(folder):
    to = copied(folder)
    if not (to / "venv/bin/pip").exists():
        run(sys.executable, "-m", "venv", to / "venv")
    run(to / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", to / "requirements.txt")
    return to


def npm_environment(folder):
    # A Node that is new enough, where the folder says which.
    to = python_environment(folder) if (HERE / folder / "requirements.txt").exists() else copied(folder)
    # Not `npm ci`: it wants the packages of other systems in the lock file, which not every mirror has.
    run("npm", "install", "--no-audit", "--no-fund", cwd=to)
    return to


def go_environment(package):
    def prepare(folder):
        to = copied(folder)
        (to / "bin").mkdir(exist_ok=True)
        run("nice", "go", "build", "-o", to / "bin/", package, cwd=to, env=dict(os.environ, CGO_ENABLED="0"))
        return to

    return prepare


def cargo_environment(folder):
    to = copied(folder)
    run("nice", "cargo", "build", "--locked", cwd=to, env=dict(os.environ, CARGO_TARGET_DIR=str(to / "target")))
    return to


def maven_environment(folder):
    to = copied(folder)
    run("mvn", "--batch-mode", "--quiet", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath", cwd=to)
    return to


def helm_environment(folder):
    to = copied(folder)
    helm = run(PROGRAMS / "sandbox", "assets", "--helm").splitlines()
    (to / "bin").mkdir(exist_ok=True)
    link = to / "bin/helm"
    link.unlink(missing_ok=True)
    link.symlink_to(next(line for line in helm if line.endswith("/helm")))
    return to


def pinned(folder, file, pattern):
    """The version that a client's file pins."""
    return re.search(pattern, (HERE / folder / file).read_text()).group(1)


def commands(sandbox, name, folder, expired):
    """For helm: commands, of which each is a process that asks for a token."""
    environment = sandbox.environment(name)
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    run("bash", "-eux", "before.sh", cwd=folder, env=environment)
    expired()
    run("bash", "-eux", "after.sh", cwd=folder, env=environment)


def mcp(sandbox, name, folder, expired):
    """The calls of an agent: JSON-RPC by standard input, as the Model Context Protocol has it."""
    environment = sandbox.environment(name)
    settings = json.loads((HERE / "kubernetes-mcp-server/mcp.json").read_text())["mcpServers"]["kubernetes"]
    program = Program(["npx", "--no-install", settings["command"], *settings["args"]], environment, folder)
    numbers = iter(range(1, 100))

    def call(method, parameters):
        number = next(numbers)
        program.say(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}))
        line = program.until(lambda line: line.startswith("{") and json.loads(line).get("id") == number)
        answer = json.loads(line)
        if "error" in answer or answer["result"].get("isError"):
            raise Failure(line)
        return json.dumps(answer["result"])

    call("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
    program.say(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    tool = lambda tool, **arguments: call("tools/call", {"name": tool, "arguments": arguments})
    if POD not in tool("pods_list_in_namespace", namespace=NAMESPACE):
        raise Failure("the pod is not in the list")
    if "hello" not in tool("pods_exec", namespace=NAMESPACE, name=POD, command=["echo", "hello"]):
        raise Failure("the command's output did not come")
    expired()
    if POD not in tool("pods_list_in_namespace", namespace=NAMESPACE):
        raise Failure("the pod is not in the list")
    program.process.terminate()


class Terminal:
    """A program on a terminal, and what it has drawn."""

    def __init__(self, command, environment, cwd):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        environment = dict(environment, TERM="xterm-256color")
        # It opens /dev/tty, so the terminal must be its session's.
        own = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=own,
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def until(self, wanted, what):
        start = time.monotonic()
        while time.monotonic() - start < LIMIT:
            if wanted():
                return
            if select.select([self.master], [], [], 0.5)[0]:
                try:
                    self.text += os.read(self.master, 1 << 16).decode(errors="replace")
                except OSError:
                    break
        drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]", "", self.text)
        raise Failure(f"{what}: not seen; on the terminal:\n{drawn[-3000:]}")

    def type(self, keys):
        os.write(self.master, keys.encode())


def k9s(sandbox, name, folder, expired):
    """A person at k9s: the pods of a namespace, a shell in one, and the pods again when the token is gone."""
    environment = sandbox.environment(name)
    words = (HERE / "k9s/command").read_text().split()
    terminal = Terminal([str(folder / "bin" / words[0]), *words[1:]], environment, folder)
    did = lambda what: lambda: what in seen(sandbox.events(name))[1]
    try:
        terminal.until(lambda: POD in terminal.text, "the pod")
        terminal.until(did("watch"), "a watch")
        terminal.type("s")
        terminal.until(did("exec by WebSocket"), "a shell")
        terminal.type("exit\r")
        before = expired()
        # Another view asks again.
        terminal.type(":configmaps\r")
        terminal.until(lambda: "ticks" in terminal.text, "the ConfigMap")
        terminal.until(lambda: set(seen(sandbox.events(name))[0]) - before, "a new token")
    finally:
        # It did not end within two minutes of SIGTERM.
        terminal.process.kill()
        terminal.process.wait(LIMIT)


def argo_cd(sandbox, name, folder, expired):
    """Argo CD has its cluster's credentials in a Secret. The token comes from a file, which somebody renews."""
    file = WORK / "argo-cd.token"
    file.write_text(sandbox.token(name))
    secret = (HERE / "client-go/argo-cd.yaml").read_text()
    for example, own in [
        (EXAMPLES["server"], sandbox.gateway),
        (EXAMPLES["token"], str(file)),
        (EXAMPLES["ca-data"], base64.b64encode(sandbox.ca.encode()).decode()),
    ]:
        if example not in secret:
            raise Failure(f"tests/clients/client-go/argo-cd.yaml has no {example}")
        secret = secret.replace(example, own)
    path = WORK / "argo-cd.yaml"
    path.write_text(secret)
    environment = {key: value for key, value in sandbox.environment(name).items() if not key.startswith("KUBECTL_OIDC")}
    program = Program([folder / "bin/client-go", "argo-cd", path], environment, folder)
    program.until(lambda line: line == "wait")
    expired()
    file.write_text(sandbox.token(name))
    program.say("")
    program.end()


def headlamp(sandbox, name, folder, expired):
    """Headlamp's server holds the user's token and renews it; here the plugin does that for the replay."""
    program = Program([folder / "bin/client-go", "headlamp", sandbox.gateway, sandbox.folder / "gateway.crt"], sandbox.environment(name), folder)
    program.until(lambda line: line == "wait")
    expired()
    program.say("")
    program.end()


WS, SPDY = "exec by WebSocket", "exec by SPDY"
GO = go_environment(".")
CLIENTS = {
    "helm": Client("helm", "Helm", {"list"}, helm_environment, commands,
                   lambda: re.search(r'\[helm\]\nversion = "(.*)"', (ROOT / "sandbox/assets/versions.toml").read_text()).group(1)),
    "python": Client("python", "Python `kubernetes`", {"list", "watch", WS}, python_environment,
                     plain_program(lambda folder: [folder / "venv/bin/python", "main.py"]), lambda: pinned("python", "requirements.txt", r"kubernetes==(\S+)")),
    "python-asyncio": Client("python-asyncio", "Python `kubernetes_asyncio`", {"list", "watch", WS}, python_environment,
                             plain_program(lambda folder: [folder / "venv/bin/python", "main.py"]),
                             lambda: pinned("python-asyncio", "requirements.txt", r"kubernetes_asyncio==(\S+)")),
    "javascript": Client("javascript", "JavaScript `@kubernetes/client-node`", {"list", "watch", WS}, npm_environment,
                         plain_program(lambda folder: [folder / "venv/bin/node", "main.mjs"]), lambda: pinned("javascript", "package.json", r'client-node": "(.*)"')),
    "kube-rs": Client("kube-rs", "Rust `kube`", {"list", "watch", WS}, cargo_environment,
                      plain_program(lambda folder: [folder / "target/debug/kube-rs"]), lambda: pinned("kube-rs", "Cargo.toml", r'kube = \{ version = "=(.*?)"')),
    "client-go": Client("client-go", "Go `client-go`", {"list", "watch", WS, SPDY}, GO,
                        plain_program(lambda folder: [folder / "bin/client-go"]), lambda: pinned("client-go", "go.mod", r"client-go v(\S+)")),
    "fabric8": Client("fabric8", "Java `io.fabric8:kubernetes-client`", {"list", "watch", WS}, maven_environment,
                      plain_program(lambda folder: ["java", "-cp", f"target/classes:{(folder / 'classpath').read_text().strip()}", "Main"]),
                      lambda: pinned("fabric8", "pom.xml", r"kubernetes-client</artifactId>\s*<version>(.*)</version>")),
    "kubernetes-mcp-server": Client("kubernetes-mcp-server", "kubernetes-mcp-server", {"list", WS}, npm_environment, mcp,
                                    lambda: pinned("kubernetes-mcp-server", "package.json", r'kubernetes-mcp-server": "(.*)"')),
    "k9s": Client("k9s", "k9s", {"list", "watch", WS}, go_environment("github.com/derailed/k9s"), k9s, lambda: pinned("k9s", "go.mod", r"derailed/k9s v(\S+)")),
    "headlamp": Client("client-go", "Headlamp, replayed", {"list", "watch", WS}, GO, headlamp, lambda: "its requests, by client-go"),
    "argo-cd": Client("client-go", "Argo CD, replayed", {"list", "watch", SPDY}, GO, argo_cd, lambda: "its requests, by client-go"),
}  # fmt: skip


def try_client(sandbox, name):
    """The row of one client."""
    client = CLIENTS[name]
    folder = client.prepare(client.folder)
    sandbox.person(name)
    before = set()

    def expired():
        before.update(seen(sandbox.events(name))[0])
        if not before:
            raise Failure("nothing of it reached kube-apiserver")
        sandbox.wait_until_tokens_expire(name)
        return before

    client.start(sandbox, name, folder, expired)
    tokens, kinds, agents = seen(sandbox.events(name))
    # The token of wait_until_tokens_expire is one of them, and none of the client's.
    if missing := client.wants - kinds:
        raise Failure(f"kube-apiserver's audit log has no {', '.join(sorted(missing))} of it")
    if not set(tokens) - before:
        raise Failure("after the token had expired it came with no other")
    agent = next((f"`{agent[:60]}`" for agent in agents if "Python-urllib" not in agent), "none")
    execs = " and ".join(sorted(kind.removeprefix("exec by ") for kind in kinds if kind.startswith("exec")))
    mark = lambda kind: "yes" if kind in kinds else "–"
    return [mark("list"), mark("watch"), execs or "–", "yes", agent, datetime.date.today().isoformat()]


HEAD = ["client", "version", "list", "watch", "command in a pod", "a new token when the first expired", "its `User-Agent`", "seen on"]
BEGIN, END = "<!-- written by: make clients CLIENTS=write -->\n", "<!-- end -->\n"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def title(name):
    return f"[{CLIENTS[name].title}]({name}.md)"


def write(rows):
    """Puts the rows of this run into the page; others stay as they are."""
    path = PAGES / "README.md"
    head, _, rest = path.read_text().partition(BEGIN)
    table, _, tail = rest.partition(END)
    known = {match.group(1): text for text in table.splitlines() if (match := re.search(r"\]\((\S+)\.md\)", text))}
    known |= {name: line(cells) for name, cells in rows.items()}
    never = lambda name: line([title(name), CLIENTS[name].version(), *["not run"] * 4, "", ""])
    lines = [line(HEAD), "|" + "---|" * len(HEAD), *(known.get(name) or never(name) for name in CLIENTS)]
    path.write_text(head + BEGIN + "\n".join(lines) + "\n" + END + tail)


def main():
    words = sys.argv[1:]
    check()
    if words == ["check"]:
        if missing := [name for name in CLIENTS if f"]({name}.md)" not in (PAGES / "README.md").read_text()]:
            raise Failure(f"docs/clients/README.md has no row of {', '.join(missing)}")
        return 0
    writes = "--write" in words
    names = [word for word in words if word != "--write"] or list(CLIENTS)
    if unknown := set(names) - set(CLIENTS):
        sys.exit(f"clients: no such client: {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    rows, failed = {}, {}
    with Sandbox() as sandbox:
        for name in names:
            print(f"{name} ...", flush=True, file=sys.stderr)
            start = [title(name), CLIENTS[name].version()]
            try:
                rows[name] = [*start, *try_client(sandbox, name)]
            except Failure as failure:
                failed[name] = str(failure)
                cause = str(failure).splitlines()[0].replace("|", "/")
                rows[name] = [*start, *["**no**"] * 4, cause[:120], datetime.date.today().isoformat()]
            except Exception:  # A client that cannot be tried must not keep the others from it.
                failed[name] = traceback.format_exc()
                rows[name] = [*start, *["**no**"] * 4, "see the run's output", datetime.date.today().isoformat()]
        alone = list(sandbox.done_as_the_gateway())
    print("\n".join(line(cells) for cells in [HEAD, *rows.values()]))
    for name, why in failed.items():
        print(f"\n== {name}\n{why}", file=sys.stderr)
    if alone:
        print(f"done as the gateway itself: {alone}", file=sys.stderr)
    if writes:
        write(rows)
    return 1 if failed or alone else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"clients: {failure}")
