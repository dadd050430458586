"""Writes AuthenticationConfiguration files as questions of the reference program, one JSON line each.

Each is a valid file with something changed: every field by every rule that kube-apiserver has for it, then seeded mixtures
of those changes, so that errors meet and their order shows. Files about the text itself (strict decoding, YAML) come last.
"""

import copy
import json
import random
import sys

SEED = 20260801
MIXTURES = 150

CA = """-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUMqOkL0nOLBmqPVIeGZzPFBMYXDowCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2MDEwMTAwMDAw
MFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOBq
-----END CERTIFICATE-----
"""


def base(version="v1"):
    return {
        "apiVersion": f"apiserver.config.k8s.io/{version}",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {"url": "https://issuer.example", "audiences": ["kubernetes"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }
        ],
    }


def at(config, path):
    """The container of the last step of a path, and that step."""
    for step in path[:-1]:
        config = config.setdefault(step, {}) if isinstance(config, dict) else config[step]
    return config, path[-1]


def put(*path):
    """A change that sets a field to the value that ends the path."""
    *steps, value = path

    def change(config):
        where, step = at(config, steps)
        where[step] = copy.deepcopy(value)

    return change


def drop(*path):
    def change(config):
        where, step = at(config, path)
        if step in where:
            del where[step]

    return change


def jwt(*path):
    return put("jwt", 0, *path)


def both(*changes):
    def change(config):
        for each in changes:
            each(config)

    return change


def second(**issuer):
    """A second authenticator, with an issuer of its own unless said otherwise."""
    entry = base()["jwt"][0]
    entry["issuer"] = {"url": "https://second.example", "audiences": ["kubernetes"]} | issuer

    def change(config):
        config.setdefault("jwt", []).append(copy.deepcopy(entry))

    return change


URLS = [
    "", "https://issuer.example/", "http://issuer.example", "issuer.example", "https://", "https://u:p@issuer.example",
    "https://u@issuer.example", "https://issuer.example?", "https://issuer.example?q=1", "https://issuer.example#",
    "https://issuer.example#f", "http://u@issuer.example?q#f", "https://issuer.example:bad", "https://issuer.example:99999",
    "https://[::1]", "https://[::1", "https://%zz", "https://issuer.example/%zz", "https://issuer example", "://issuer",
    "https:issuer", "https:///path", "HTTPS://issuer.example", "ftp://issuer.example", "https://issuer.example/a b",
    "https://issuer.example/\u00e9", "https://issuer.example/\n", "*", "https://a.example:1:2", "https://[1.2.3.4]/",
]
EXPRESSIONS = [
    "claims.sub", "claims.sub + ':x'", "claims.missing", "claims.", "claims.sub ==", "user.username", "nope", "1", "true",
    "claims.groups", "claims.sub == 'a'", "claims.email", "claims.?email.orValue('x')", "claims['email']", "has(claims.email)",
    "claims.email_verified ? claims.email : claims.sub", "claims.groups.map(g, g)", "int('x') == 1 ? 'a' : 'b'",
    "'a'.matches('(')", "claims.sub.find('(')", "duration('x')", "[1, 'a']", "", " ", "dyn(claims.groups).map(g, 'x:' + g)",
    "string(claims.email_verified) + claims.email", "[claims.email, claims.sub].join('/')", "{'e': claims.email}.e",
    "timestamp('x') == timestamp(0) ? 'a' : 'b'", "quantity('x') == quantity('1') ? 'a' : 'b'",
]
RULES = [
    "true", "claims.sub == 'a'", "claims.sub", "claims.is_admin", "claims.is_admin == true", "claims.?x.orValue(true)",
    "claims.?x.orValue(true) == true", "claims.groups.exists(g, g == 'a')", "'a'", "1 / 0 == 1", "claims.email_verified == true",
    "user.username == 'a'", "claims ==", "has(claims.email_verified)", "dyn(true)",
]
USER_RULES = [
    "true", "user.username == 'a'", "user.username", "user.groups.all(g, g != '')", "!user.username.startsWith('system:')",
    "user.nope == 'a'", "claims.sub == 'a'", "user.extra", "", "dyn(true)", "user.username.matches('(')",
]
KEYS = [
    "", "example.org/foo", "example.org", "example.org/", "/foo", "Example.org/foo", "example.org/Foo", "example.org/f oo",
    "example.org/foo/bar", "exa_mple.org/foo", "k8s.io/foo", "a.k8s.io/foo", "kubernetes.io/foo", "a.kubernetes.io/foo",
    "notk8s.io/foo", "example.org/\u00e9", "example.org/foo%20", "example.org/foo?x", "a/b", "-a/b", "EXAMPLE.ORG/FOO",
    "authentication.kubernetes.io/credential-id", ("a" * 64) + "." + ("b" * 190) + "/x", "example.org/" + "x" * 400,
]


def changes():
    """Every change, by name."""
    yield "unchanged", lambda config: None
    for version in ["v1beta1", "v1alpha1", "v2", "v1beta2", ""]:
        yield f"version {version}", put("apiVersion", f"apiserver.config.k8s.io/{version}")
    for value in ["apiserver.config.k8s.io", "v1", "", "apiserver.k8s.io/v1", 1, None]:
        yield f"apiVersion {value!r}", put("apiVersion", value)
    yield "no apiVersion", drop("apiVersion")
    for value in ["", "authenticationconfiguration", "AuthorizationConfiguration", "EncryptionConfiguration", 1, None]:
        yield f"kind {value!r}", put("kind", value)
    yield "no kind", drop("kind")
    for value in [[], None, {}, "x", [None], ["x"], [{}], [[]]]:
        yield f"jwt {value!r}", put("jwt", value)
    yield "no jwt", drop("jwt")
    yield "unknown field", put("unknown", 1)
    yield "metadata", put("metadata", {"name": "x"})
    for count in [64, 65]:
        many = [copy.deepcopy(base()["jwt"][0]) for _ in range(count)]
        for i, entry in enumerate(many):
            entry["issuer"]["url"] = f"https://issuer{i}.example"
        yield f"{count} authenticators", put("jwt", many)
    yield "unknown field of an authenticator", jwt("unknown", 1)
    yield "no issuer", drop("jwt", 0, "issuer")
    yield "no claimMappings", drop("jwt", 0, "claimMappings")
    yield "issuer null", jwt("issuer", None)
    yield "issuer list", jwt("issuer", [])
    yield "unknown field of an issuer", jwt("issuer", "unknown", "x")
    for url in URLS:
        yield f"url {url!r}", jwt("issuer", "url", url)
        yield f"discoveryURL {url!r}", jwt("issuer", "discoveryURL", url)
    for value in [1, None, True, ["x"]]:
        yield f"url {value!r}", jwt("issuer", "url", value)
        yield f"discoveryURL {value!r}", jwt("issuer", "discoveryURL", value)
    for url in ["https://issuer.example", "https://issuer.example/", "https://issuer.example//", "https://other.example/d"]:
        yield f"discoveryURL {url}", jwt("issuer", "discoveryURL", url)
    yield "same issuer twice", second(url="https://issuer.example")
    yield "same issuer but for the slash", second(url="https://issuer.example/")
    yield "two issuers", second()
    yield "same discoveryURL twice", both(
        jwt("issuer", "discoveryURL", "https://d.example"), second(discoveryURL="https://d.example"))
    yield "discoveryURL is another's url", both(jwt("issuer", "discoveryURL", "https://second.example"), second())
    for value in [CA, "", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                  "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 1, None]:
        yield f"certificateAuthority {str(value)[:30]!r}", jwt("issuer", "certificateAuthority", value)
    for value in [[], None, [""], ["a", ""], ["a", "a"], ["a", "b"], ["a", "b", "a", ""], [1], "a", [None]]:
        yield f"audiences {value!r}", jwt("issuer", "audiences", value)
    yield "no audiences", drop("jwt", 0, "issuer", "audiences")
    for policy in ["", "MatchAny", "MatchAll", "matchany", 1, None]:
        for audiences in [["a"], ["a", "b"], []]:
            yield f"policy {policy!r} of {audiences!r}", both(
                jwt("issuer", "audienceMatchPolicy", policy), jwt("issuer", "audiences", audiences))
    for selector in ["", "controlplane", "cluster", "etcd", "ControlPlane", 1, None]:
        yield f"egressSelectorType {selector!r}", jwt("issuer", "egressSelectorType", selector)
    yield from rules()
    yield from mappings()
    yield from users()
    yield from anonymous()


def rules():
    for value in [[], None, {}, [None], [{}], [{"unknown": 1}], "x"]:
        yield f"claimValidationRules {value!r}", jwt("claimValidationRules", value)
    for rule in [
        {"claim": "hd"}, {"claim": "hd", "requiredValue": "x"}, {"requiredValue": "x"}, {"message": "m"},
        {"claim": "hd", "message": "m"}, {"claim": "hd", "expression": "true"}, {"expression": "true", "requiredValue": "x"},
        {"expression": "true", "message": "m"}, {"claim": "hd", "expression": "nope", "message": "m", "requiredValue": "x"},
        {"claim": ""}, {"expression": ""}, {"claim": 1}, {"requiredValue": 1, "claim": "a"}, {"expression": None},
    ]:
        yield f"claimValidationRules {rule!r}", jwt("claimValidationRules", [rule])
    for expression in RULES:
        yield f"rule {expression!r}", jwt("claimValidationRules", [{"expression": expression}])
    for pair in [
        [{"claim": "a"}, {"claim": "a"}], [{"claim": "a"}, {"claim": "b"}], [{"expression": "true"}, {"expression": "true"}],
        [{"expression": "true"}, {"expression": " true"}], [{"expression": "nope"}, {"expression": "nope"}],
        [{}, {}], [{"claim": "a", "expression": "true"}, {"claim": "a"}],
    ]:
        yield f"claimValidationRules {pair!r}", jwt("claimValidationRules", pair)


def mappings():
    for value in [None, {}, [], "x", {"unknown": 1}]:
        yield f"claimMappings {value!r}", jwt("claimMappings", value)
    for name in ["username", "groups", "uid"]:
        for value in [
            {}, None, [], "x", {"claim": "a"}, {"claim": "a", "prefix": ""}, {"claim": "a", "prefix": "p:"}, {"prefix": "p:"},
            {"prefix": ""}, {"claim": "a", "expression": "claims.sub", "prefix": ""}, {"expression": "claims.sub"},
            {"expression": "claims.sub", "prefix": ""}, {"expression": "claims.sub", "prefix": "p:"}, {"claim": ""},
            {"claim": 1}, {"claim": "a", "prefix": 1}, {"claim": "a", "prefix": None}, {"unknown": 1}, {"expression": "nope"},
            {"claim": "a", "expression": "nope"}, {"expression": ""},
        ]:
            yield f"{name} {value!r}", jwt("claimMappings", name, value)
    yield "no username", drop("jwt", 0, "claimMappings", "username")
    for name in ["username", "groups", "uid"]:
        for expression in EXPRESSIONS:
            yield f"{name} expression {expression!r}", jwt("claimMappings", name, {"expression": expression})
    for value in [[], None, {}, [None], [{}], "x", [{"key": "example.org/a"}], [{"valueExpression": "claims.sub"}],
                  [{"key": "example.org/a", "valueExpression": ""}], [{"key": 1, "valueExpression": "claims.sub"}],
                  [{"key": "example.org/a", "valueExpression": "nope"}], [{"key": "example.org/a", "unknown": 1}],
                  [{"key": "example.org/a", "valueExpression": "claims.sub"}] * 2,
                  [{"key": "example.org/a", "valueExpression": "claims.sub"}, {"key": "example.org/a", "valueExpression": "nope"}],
                  [{"key": "example.org/a", "valueExpression": "claims.sub"}, {"key": "example.org/A", "valueExpression": ""}]]:
        yield f"extra {value!r}", jwt("claimMappings", "extra", value)
    for key in KEYS:
        yield f"extra key {key[:40]!r}", jwt("claimMappings", "extra", [{"key": key, "valueExpression": "claims.sub"}])
    yield from email()


def email():
    """Where `claims.email_verified` may stand so that a user name may use `claims.email`."""
    by_email = jwt("claimMappings", "username", {"expression": "claims.email"})
    for name, change in {
        "nowhere": lambda config: None,
        "in the same expression": jwt(
            "claimMappings", "username", {"expression": "claims.email_verified == true ? claims.email : ''"}),
        "in a rule": jwt("claimValidationRules", [{"expression": "claims.email_verified == true"}]),
        "in an optional of a rule": jwt("claimValidationRules", [{"expression": "claims.?email_verified.orValue(true) == true"}]),
        "in a presence test": jwt("claimValidationRules", [{"expression": "has(claims.email_verified)"}]),
        "by index": jwt("claimValidationRules", [{"expression": "claims['email_verified'] == true"}]),
        "in a rule that does not compile": jwt("claimValidationRules", [{"expression": "claims.email_verified == nope"}]),
        "in a rule that is no bool": jwt("claimValidationRules", [{"expression": "claims.email_verified"}]),
        "in an extra": jwt(
            "claimMappings", "extra", [{"key": "example.org/v", "valueExpression": "string(claims.email_verified)"}]),
        "in the groups": jwt("claimMappings", "groups", {"expression": "string(claims.email_verified)"}),
        "in the uid": jwt("claimMappings", "uid", {"expression": "string(claims.email_verified)"}),
        "in a claim rule": jwt("claimValidationRules", [{"claim": "email_verified", "requiredValue": "true"}]),
    }.items():
        yield f"email_verified {name}", both(by_email, change)
    for expression in [
        "claims.?email.orValue('x')", "claims['email']", "has(claims.email) ? 'a' : 'b'", "[claims.email][0]",
        "{'a': claims.email}.a", "{claims.email: 'a'}['x']", "dyn([1]).map(x, claims.email)[0]", "claims.nested.email",
        "claims.email.size() > 0 ? 'a' : 'b'", "dyn(claims).email", "claims.?email.optMap(e, e).orValue('x')", "'a' + claims.email",
    ]:
        yield f"email in {expression!r}", jwt("claimMappings", "username", {"expression": expression})


def users():
    for value in [[], None, {}, [None], [{}], [{"message": "m"}], [{"expression": 1}], [{"unknown": 1}], "x",
                  [{"expression": "true", "message": "m"}], [{"expression": "true"}] * 2,
                  [{"expression": "nope"}] * 2, [{"expression": ""}] * 2]:
        yield f"userValidationRules {value!r}", jwt("userValidationRules", value)
    for expression in USER_RULES:
        yield f"user rule {expression!r}", jwt("userValidationRules", [{"expression": expression}])


def anonymous():
    for value in [None, {}, [], "x", {"enabled": True}, {"enabled": False}, {"enabled": "true"}, {"enabled": None},
                  {"enabled": True, "conditions": []}, {"enabled": True, "conditions": [{"path": "/healthz"}]},
                  {"enabled": True, "conditions": [{"path": ""}]}, {"enabled": True, "conditions": [{}]},
                  {"enabled": True, "conditions": [{"path": "/a"}, {"path": "/a"}]}, {"conditions": [{"path": "/a"}]},
                  {"enabled": False, "conditions": [{"path": "/a"}]}, {"enabled": False, "conditions": []},
                  {"enabled": True, "conditions": [{"path": 1}]}, {"enabled": True, "unknown": 1},
                  {"enabled": True, "conditions": [{"path": "/a", "unknown": 1}]}, {"enabled": True, "conditions": None}]:
        yield f"anonymous {value!r}", put("anonymous", value)


TEXTS = {
    "empty": "",
    "blank": "  \n",
    "not YAML": "{",
    "tab": "\tapiVersion: x",
    "a list": "[]",
    "a string": '"x"',
    "a number": "1",
    "null": "null",
    "an empty object": "{}",
    "JSON with a comment": '{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"} # x',
    "duplicate key in JSON": '{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","jwt":[],"jwt":[]}',
    "other case of a key": '{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","JWT":[]}',
    "trailing comma": '{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","jwt":[],}',
    "two values": '{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration"}{}',
    "several unknown fields": '{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","a":1,"b":{"c":2},'
    '"jwt":[{"x":1,"issuer":{"y":2}}]}',
    "YAML": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: https://a.example\n"
    "    audiences: [k]\n  claimMappings:\n    username: {claim: sub, prefix: \"\"}\n",
    "YAML with a duplicate key": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: []\njwt: []\n",
    "YAML with an unknown field": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nnope: 1\n",
    "YAML with an anchor": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- &one\n  issuer:\n"
    "    url: https://a.example\n    audiences: [k]\n  claimMappings:\n    username: {claim: sub, prefix: \"\"}\n- *one\n",
    "YAML with a number for a string": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n"
    "    url: https://a.example\n    audiences: [1]\n",
    "YAML with two documents": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n---\nkind: X\n",
    "YAML with an early separator": "---\napiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n",
    "YAML with a yes": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: yes\n",
    "YAML with a merge": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n<<: {jwt: []}\n",
    "YAML with a multi-line expression": "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n"
    "    url: https://a.example\n    audiences: [k]\n  claimMappings:\n    username:\n      expression: |\n        claims.sub +\n"
    "        ':' + claims.missing\n",
}


# What versions read differently: functions and syntax that came or went.
OF_VERSIONS = [
    "claims.`email`",
    "claims.?`email`.orValue('')",
    "claims.`kubernetes.io`.namespace",
    "claims.sub.includes('a') ? 'a' : 'b'",
    "string(cidr('10.0.0.0/8').isMask())",
    "string(duration(1))",
    "string(duration(dyn(1)))",
    "claims.sub.orValue('x')",
    "claims.?sub.optMap(x, claims.?x).value().value()",
    "[1].map(net, string(type(.net.IP)))[0]",
    "[1].map(claims, .claims.sub)[0]",
    "nothing",
]


def of_versions():
    def username(expression):
        return lambda config: config["jwt"][0]["claimMappings"].update(username={"expression": expression})

    def verified(expression):
        def change(config):
            username("claims.`email`")(config)
            config["jwt"][0].update(claimValidationRules=[{"expression": expression}])

        return change

    for expression in OF_VERSIONS:
        yield f"username {expression}", username(expression)
    for rule in ["claims.`email_verified` == true", "claims.?`email_verified`.orValue(true) == true", "has(claims.`email_verified`)"]:
        yield f"email in backquotes, rule {rule}", verified(rule)


def main():
    out = sys.stdout

    def ask(name, text, issuers=None):
        question = {"name": name, "config": text}
        if issuers:
            question["serviceAccountIssuers"] = issuers
        out.write(json.dumps(question, ensure_ascii=False) + "\n")

    every = list(changes())
    for name, change in every:
        config = base()
        change(config)
        ask(name, json.dumps(config, ensure_ascii=False))
    for issuers in [["https://issuer.example"], ["https://other.example"], ["https://b.example", "https://issuer.example"]]:
        ask(f"service account issuers {issuers!r}", json.dumps(base()), issuers)
    ask("service account issuer and bad URL", json.dumps(base()).replace("https://issuer", "http://issuer"), ["http://issuer.example"])

    choose = random.Random(SEED)
    for number in range(MIXTURES):
        picked = choose.sample(every, choose.randint(2, 5))
        config = base(choose.choice(["v1", "v1", "v1beta1", "v1alpha1"]))
        names = []
        for name, change in picked:
            before = copy.deepcopy(config)
            try:
                change(config)
                names.append(name)
            except (TypeError, KeyError, IndexError, AttributeError):
                config = before  # an earlier change took away what this one needs
        ask(f"mixture {number}: {'; '.join(names)}"[:200], json.dumps(config, ensure_ascii=False))
    for name, text in TEXTS.items():
        ask(f"text: {name}", text)
    for name, change in of_versions():
        config = base()
        change(config)
        ask(f"version: {name}", json.dumps(config, ensure_ascii=False))


if __name__ == "__main__":
    main()
