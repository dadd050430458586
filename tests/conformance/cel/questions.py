"""Writes a question of the reference program for each line of a list of expressions."""

import json
import pathlib
import sys


def main() -> None:
    env, questions = sys.argv[1], pathlib.Path(sys.argv[2])
    here = pathlib.Path(__file__).parent
    data = json.loads((here / f"{env}.json").read_text(encoding="utf-8"))
    for expression in questions.read_text(encoding="utf-8").split("\n")[:-1]:
        question = {"expr": expression, env: data}
        if env != "claims":
            question["env"] = env
        print(json.dumps(question, ensure_ascii=False))


if __name__ == "__main__":
    main()
