"""Writes requests to ask kube-apiserver's resolver about, as JSON lines: every shape of a path with every method, and what people and attackers
write otherwise. The same list each time."""

import itertools
import json
import random

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "Get", "WATCH", "PROPFIND"]
PATHS = """
/
/version
/healthz
/healthz/etcd
/metrics
/openapi/v3/apis/apps/v1
/debug/pprof/profile
/api
/api/
/api/v1
/api/v1/
/apis
/apis/apps
/apis/apps/v1
/apis/apps/v1/
/api/v1/pods
/api/v1/pods/
/api/v1/pods/p
/api/v1/pods/p/log
/api/v1/nodes/n
/api/v1/nodes/n/proxy
/api/v1/nodes/n/proxy/metrics
/api/v1/namespaces
/api/v1/namespaces/
/api/v1/namespaces/ns
/api/v1/namespaces/ns/
/api/v1/namespaces/ns/status
/api/v1/namespaces/ns/finalize
/api/v1/namespaces/ns/finalize/x
/api/v1/namespaces/ns/status/x/y
/api/v1/namespaces/ns/pods
/api/v1/namespaces/ns/pods/
/api/v1/namespaces/ns/pods/p
/api/v1/namespaces/ns/pods/p/
/api/v1/namespaces/ns/pods/p/exec
/api/v1/namespaces/ns/pods/p/exec/x
/api/v1/namespaces/ns/pods/p/portforward
/api/v1/namespaces/ns/services/s:80/proxy/a/b
/api/v1/namespaces/ns/secrets
/api/v1/namespaces/ns/secrets/s
/api/v1/namespaces//pods
/api/v1/namespaces//pods/p
/api/v1/namespaces/ns//p
/api/v1//pods
/api//v1/pods
//api/v1/pods
///api/v1/pods
/api/v1/pods//
/api/v1/pods//log
/./api/v1/pods
/api/v1/../v1/pods
/api/v1/namespaces/ns/pods/../secrets
/api/v1/namespaces/./pods
/api/v1/watch
/api/v1/watch/
/api/v1/watch/pods
/api/v1/watch/pods/p
/api/v1/watch/namespaces
/api/v1/watch/namespaces/ns
/api/v1/watch/namespaces/ns/pods
/api/v1/watch/namespaces/ns/pods/p
/api/v1/watch/namespaces/ns/pods/p/log
/api/v1/proxy
/api/v1/proxy/nodes/n
/api/v1/proxy/namespaces/ns/services/s
/api/v1/proxy/namespaces/ns/services/s/a/b
/api/v1/watch/watch/pods
/api/v1/proxy/watch/pods
/API/v1/pods
/Api/v1/pods
/apis/apps/v1/deployments
/apis/apps/v1/deployments/d
/apis/apps/v1/namespaces/ns/deployments
/apis/apps/v1/namespaces/ns/deployments/d
/apis/apps/v1/namespaces/ns/deployments/d/scale
/apis/apps/v1/watch/deployments
/apis/apps/v1/watch
/apis/apps/v1/proxy/deployments/d/x
/apis/authentication.k8s.io/v1/selfsubjectreviews
/apis//v1/pods
/apis/apps//deployments
/apis/namespaces/v1/namespaces/ns/namespaces
/api/namespaces/namespaces/namespaces/namespaces
/api/v1/namespaces/namespaces
/api/v1/namespaces/ns/namespaces
/api/v1/namespaces/ns/namespaces/x
/api/v1/namespaces/ns/watch
/api/v1/namespaces/ns/watch/pods
/api/v1/namespaces/ns/proxy/x
/api/v1/Namespaces/ns/pods
/apiserver/v1/pods
/apix/v1/pods
""".split()
# Only what a path may have on the wire: no blank, no control byte.
ESCAPED = """
/api/v1/namespaces/ns%2Fpods/p
/api/v1/namespaces%2Fns/pods/p
/api/v1%2Fnamespaces/ns/pods
/%61pi/v1/pods
/api%2Fv1%2Fpods
/api/v1/namespaces/kube%2Dsystem/secrets/s
/api/v1/namespaces/kube-system%00/secrets
/api/v1/namespaces/%6b%75be-system/pods/p/exec
/api/v1/namespaces/ns/pods/p%2Fexec
/api/v1/namespaces/ns/pods/p%252Fexec
/api/v1/namespaces/ns/pods/%2e%2e/secrets
/api/v1/namespaces/ns/pods/p/ex%65c
/api/v1/namespaces/ns/pods/p%3Fwatch=1
/api/v1/namespaces/ns/pods/p%23x
/api/v1/namespaces/ns/pods#x
/api/v1/namespaces/ns/pods/p;x=1
/api/v1/namespaces/ns/pods/p+q
/api/v1/namespaces/ns/pods/p%20q
/api/v1/namespaces/ns/pods/%C3%A9
/api/v1/namespaces/ns/pods/%E2%80%AE
/api/v1/namespaces/ns/pods/%
/api/v1/namespaces/ns/pods/%2
/api/v1/namespaces/ns/pods/%zz
/api/v1/namespaces/ns/pods/%u0041
/api/v1/namespaces/ns/pods/*
/api/v1/namespaces/ns/pods/{p}
/api/v1/namespaces/ns/pods/"p"
/api/v1/namespaces/ns/pods/p:80
/api/v1/namespaces/ns/pods/@p
/api/v1/namespaces/ns/pods\\p
/api\\v1\\pods
/api/v1/namespaces/ns%5Cpods
*
api/v1/pods
http://host/api/v1/pods
https://user@host:443/api/v1/namespaces/ns/pods/p?watch=1
//host/api/v1/pods
/api/v1/pods?
/api/v1/pods??watch=1
/api/v1/pods?/api/v1/secrets
""".split()
QUERIES = """
watch=1
watch=0
watch=true
watch=True
watch=false
watch=FALSE
watch=False
watch=fal%C5%BFe
watch=no
watch=
watch
watch=%20false
watch=false%20
watch=+false
watch=00
watch=1&watch=0
watch=0&watch=1
Watch=1
WATCH=1
%77atch=1
watch%3D1
watch=1;x=2
x=1;watch=1
watch=%zz
%zz=1&watch=1
x&watch=1
&watch=1&
watch=1#x
limit=abc
limit=
limit=5
limit=+5
limit=-5
limit=5.0
limit=9223372036854775807
limit=9223372036854775808
limit=1_000
limit=abc&watch=1
limit=abc&watch=0
limit=abc&watch=fal%C5%BFe
limit=5&limit=abc
timeoutSeconds=abc
timeoutSeconds=30&watch=1
timeoutSeconds=abc&watch=true
timeoutSeconds=
resourceVersion=x&watch=1
sendInitialEvents=maybe&watch=1
allowWatchBookmarks=maybe
labelSelector=a=b&watch=1
pretty=true
continue=x
""".split()
FIELDS = [
    "", "metadata.name=p", "metadata.name==p", "metadata.name!=p", "metadata.name=", "metadata.name", "metadata.name=.", "metadata.name=..",
    "metadata.name=...", "metadata.name=a/b", "metadata.name=a%b", "metadata.name=a\\,b", "metadata.name=a\\=b", "metadata.name=a\\\\b",
    "metadata.name=a\\b", "metadata.name=a\\", "metadata.name=a=b", "metadata.name=a,metadata.name=b", "metadata.name=b,metadata.name=a",
    "metadata.name=b,metadata.name==a", "metadata.name==a,metadata.name=b", "metadata.name!=a,metadata.name=b", "spec.nodeName=n,metadata.name=p",
    "metadata.name=p,spec.nodeName=n", "metadata.name=p,", ",metadata.name=p", ",,metadata.name=p,,", "metadata.name=p,x", "x,metadata.name=p",
    " metadata.name=p", "metadata.name =p", "metadata.name= p", "Metadata.Name=p", "metadata.namespace=ns", "metadata.name=é", "=p", "=", "!=", "==",
    "metadata.name>p", "a\\,metadata.name=p", "a\\\\,metadata.name=p", "metadata.name=!=p", "metadata.name!==p", "metadata.name===p",
]
LABELS = [
    "", "a", "!a", "! a", "a=b", "a==b", "a!=b", "a = b", "a=", "a==", "a!=", "a,b", "a,!b", "a,", ",a", "a,,b", "a in (b)", "a in (b,c)", "a in ()", "a in (,)",
    "a in (,,)", "a in (b,)", "a in (b c)", "a in b", "a in", "a in (", "a in (b", "a notin (b)", "a notin(b)", "a in(b)", "ain(b)", "in", "in in (in)", "notin notin (in)",
    "a=in", "a=notin", "!in", "a>1", "a<1", "a>b", "a>", "a>-1", "a>=1", "a>1,b<2", "a=b=c", "a b", "a!b", "!!a", "!a=b", "(a)", "a)", "a(", "=b", "!=b", "==",
    "A/b", "a/b", "a/b/c", "/b", "a/", "a.b/c", "a..b/c", "-a", "a-", "a_b.c-d", "_a", "é", "a=é", "a=-b", "a=b-", "a=" + "x" * 63, "a=" + "x" * 64, "x" * 63, "x" * 64,
    "a\tin\n(b)", "a\0", "a\0b", "\0a", "a=\0b", "a=b\0", "a in (b\0,c)", "a & b", "a;b", "a=b,a=c", "a.io/" + "x" * 63, "b" * 253 + "/c", "b" * 254 + "/c", "a in (é)",
    "a in (b!)", "a in (=)", "a notin (b),c", "a in (b))", "a===b", "a=!b", "a=(b)",
]


def escape(text):
    return "".join(c if c.isascii() and c.isalnum() or c in "-_." else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


def requests():
    yield from itertools.product(METHODS, PATHS)
    yield from itertools.product(["GET", "POST", "DELETE"], ESCAPED)
    for method, path in [("GET", "/api/v1/pods"), ("GET", "/api/v1/namespaces/ns/pods/p"), ("DELETE", "/api/v1/pods"), ("GET", "/version"),
                         ("HEAD", "/apis/apps/v1/deployments"), ("GET", "/api/v1/watch/pods")]:
        for query in QUERIES:
            yield method, f"{path}?{query}"
    for fields in FIELDS:
        yield "GET", f"/api/v1/namespaces/ns/pods?fieldSelector={escape(fields)}"
        yield "GET", f"/api/v1/namespaces/ns/pods?watch=1&fieldSelector={escape(fields)}"
        yield "DELETE", f"/api/v1/namespaces/ns/pods?fieldSelector={escape(fields)}"
        yield "GET", f"/api/v1/namespaces/ns/pods?limit=x&fieldSelector={escape(fields)}"
    for labels in LABELS:
        yield "GET", f"/api/v1/namespaces/ns/pods?fieldSelector=metadata.name%3Dp&labelSelector={escape(labels)}"
    dice = random.Random(20261129)
    parts = ["api", "apis", "v1", "apps", "namespaces", "ns", "pods", "p", "watch", "proxy", "status", "finalize", "log", "", ".", "..", "%2F", "%25", "a%2Fb"]
    for _ in range(600):
        path = "/" + "/".join(dice.choice(parts) for _ in range(dice.randint(1, 8)))
        if dice.random() < 0.7:
            path = dice.choice(["/api/v1", "/apis/apps/v1"]) + path
        query = dice.choice(["", "", "?watch=1", "?" + dice.choice(QUERIES), "?fieldSelector=" + escape(dice.choice(FIELDS))])
        yield dice.choice(METHODS), path + query


seen = set()
for method, target in requests():
    if (method, target) not in seen:
        seen.add((method, target))
        print(json.dumps({"method": method, "target": target}))
