"""Lists, watches and runs a command; lists again when the first token has expired."""

import asyncio
import sys

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.config.kube_config import refresh_token
from kubernetes_asyncio.stream import WsApiClient


async def main():
    configuration = client.Configuration()
    loader = await config.load_kube_config(client_configuration=configuration)
    # Without this the first token is used for ever.
    refresh = asyncio.create_task(refresh_token(loader, configuration, interval=5))

    async with client.ApiClient(configuration) as api, WsApiClient(configuration) as ws:
        core = client.CoreV1Api(api)
        for pod in (await core.list_namespaced_pod("team")).items:
            print(pod.metadata.name)

        async for event in watch.Watch().stream(core.list_namespaced_config_map, "team"):
            print(event["type"], event["object"].metadata.name)
            if event["type"] == "MODIFIED":
                break

        streams = client.CoreV1Api(ws)
        output = await streams.connect_get_namespaced_pod_exec("web", "team", command=["echo", "hello"], stdout=True)
        print(output)
        assert output == "hello\n", output

        print("wait", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        assert [pod.metadata.name for pod in (await core.list_namespaced_pod("team")).items] == ["web"]
        output = await streams.connect_get_namespaced_pod_exec("web", "team", command=["echo", "again"], stdout=True)
        assert output == "again\n", output
    refresh.cancel()


asyncio.run(main())
