#!/usr/bin/env python3
"""Holds the packages and modules of the workspace to architecture.toml; `make architecture` runs it.

It fails if a package depends on one that its row does not name, if a row or a package is missing, and if modules of a package
import each other in a circle of more than `largest-circle`. Tests inside a module do not count.

    tests/house/architecture.py            check, and print one line for each package
    tests/house/architecture.py PACKAGE    print the modules of a package with what each imports
"""

import json
import os
import re
import subprocess
import sys
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "architecture.toml")

# What is no code: comments, strings and characters. Lifetimes are left as they are.
NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<h>\#*)".*?"(?P=h)|b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\\n]|\\[^\n][^'\n]*)'""",
    re.DOTALL,
)
USE = re.compile(r"\buse\s+([^;]*);")
PATH = re.compile(r"(?<![:\w])\w+(?:\s*::\s*\w+)+")
TESTS = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*(\{|;)")


def packages():
    """The packages of the workspace by name, as cargo tells them."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--locked"]
    told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return {package["name"]: package for package in json.loads(told)["packages"]}


def dependencies(package, names, kinds):
    found = {d["name"] for d in package["dependencies"] if d["kind"] in kinds}
    return found & set(names) - {package["name"]}


def block_end(text, start):
    """The place after the brace that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)


def without_tests(text):
    """The code of a file, and the names of its test modules that lie in files of their own."""
    text = NO_CODE.sub(" ", text)
    named = set()
    while match := TESTS.search(text):
        if match[2] == ";":
            named.add(match[1])
            end = match.end()
        else:
            end = block_end(text, match.end() - 1)
        text = text[: match.start()] + text[end:]
    return text, named


def leaves(tree):
    """The paths of a `use` tree: `a::{b, c::d}` is a::b and a::c::d."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        yield re.sub(r"\s+as\s+\w+$", "", tree).split("::")
        return
    prefix = [part for part in tree[:brace].split("::") if part.strip()]
    depth, part = 0, ""
    for letter in tree[brace + 1 : block_end(tree, brace) - 1] + ",":
        if letter == "," and depth == 0:
            if part.strip():
                for rest in leaves(part):
                    yield prefix + rest
            part = ""
            continue
        depth += {"{": 1, "}": -1}.get(letter, 0)
        part += letter


def module_of(file, source):
    parts = os.path.relpath(file, source)[: -len(".rs")].split(os.sep)
    if parts[-1] in ("mod", "lib", "main"):
        parts.pop()
    return tuple(parts)


def resolve(path, here, modules):
    """The module that a path of a module means, the longest beginning that is one; its own if it leads elsewhere."""
    path = [part.strip() for part in path]
    if path[0] == "crate":
        at, path = (), path[1:]
    elif path[0] not in ("super", "self") and here + (path[0],) not in modules:
        return here
    else:
        at = here
        while path and path[0] in ("super", "self"):
            at = at[:-1] if path[0] == "super" else at
            path = path[1:]
    for part in path:
        if at + (part,) not in modules:
            break
        at += (part,)
    return at


def imports(package):
    """What each module of a package imports, of the package's own."""
    source = os.path.join(os.path.dirname(package["manifest_path"]), "src")
    texts, tests = {}, set()
    for folder, _, files in sorted(os.walk(source)):
        for name in sorted(files):
            if name.endswith(".rs"):
                file = os.path.join(folder, name)
                module = module_of(file, source)
                with open(file, encoding="utf-8") as opened:
                    code, named = without_tests(opened.read())
                texts[module] = texts.get(module, "") + code
                tests |= {module + (test,) for test in named}
    texts = {m: t for m, t in texts.items() if not any(m[: len(test)] == test for test in tests)}
    found = {}
    for module, text in texts.items():
        paths = [path for match in USE.finditer(text) for path in leaves(match[1])]
        paths += [match[0].split("::") for match in PATH.finditer(USE.sub(" ", text))]
        found[module] = {resolve(path, module, texts) for path in paths} - {module}
    return found


def circles(graph):
    """The sets of modules each of which reaches each other one (Tarjan), those of one left out."""
    index, low, stack, on, out = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on.add(node)
        for other in graph[node]:
            if other not in graph:
                continue
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
                on.discard(component[-1])
            if len(component) > 1:
                out.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return out


def shown(module):
    return "::".join(module) or "(root)"


def main():
    with open(RULES, "rb") as opened:
        rules = tomllib.load(opened)
    known = packages()
    if len(sys.argv) > 1:
        for module, others in imports(known[sys.argv[1]]).items():
            print(shown(module), "→", ", ".join(sorted(map(shown, others))) or "nothing")
        return 0
    faults = []
    rows = rules["packages"]
    for name in sorted(set(known) ^ set(rows)):
        where = "has no row" if name in known else "is no package"
        faults.append(f"{name} {where}: see tests/house/architecture.toml")
    for name in sorted(set(known) & set(rows)):
        package = known[name]
        built = dependencies(package, known, [None, "build"])
        tested = dependencies(package, known, ["dev"]) - built
        allowed, allowed_tests = set(rows[name].get("uses", [])), set(rows[name].get("tests-use", []))
        for kind, found, wanted in [("uses", built, allowed), ("tests-use", tested, allowed_tests)]:
            for other in sorted(found - wanted):
                faults.append(f"{name} may not depend on {other}: its row `{kind}` does not name it")
            for other in sorted(wanted - found):
                faults.append(f"{name} does not depend on {other}: take it out of its row `{kind}`")
        found = circles(imports(package))
        largest = max(map(len, found), default=1)
        bound = rows[name].get("largest-circle", rules["largest-circle"])
        if largest > bound:
            for circle in (circle for circle in found if len(circle) > bound):
                faults.append(f"{name}: a circle of {len(circle)} modules: {', '.join(map(shown, circle))}")
        print(f"{name:<22} uses {', '.join(sorted(built)) or 'nothing of ours'}; largest circle {largest}")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
