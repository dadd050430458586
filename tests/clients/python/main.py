"""Lists, watches and runs a command; lists again when the first token has expired."""

from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()

for pod in core.list_namespaced_pod("team").items:
    print(pod.metadata.name)

for event in watch.Watch().stream(core.list_namespaced_config_map, "team"):
    print(event["type"], event["object"].metadata.name)
    if event["type"] == "MODIFIED":
        break

output = stream(core.connect_get_namespaced_pod_exec, "web", "team", command=["echo", "hello"], stdout=True)
print(output)
assert output == "hello\n", output

print("wait", flush=True)
input()
assert [pod.metadata.name for pod in core.list_namespaced_pod("team").items] == ["web"]
assert stream(core.connect_get_namespaced_pod_exec, "web", "team", command=["echo", "again"], stdout=True) == "again\n"
