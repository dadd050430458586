#!/bin/sh
# Records anew what kube-apiserver's own code answers: builds the reference program outside the tree and runs it over
# every list of questions. Run it after a change to the questions or to the pinned version in reference/go.mod; the
# difference in git is what changed.
set -eu
cd "$(dirname "$0")"

reference=${REFERENCE:-$(mktemp -d)/reference}
(cd reference && go build -o "$reference" .)

# cel/NAME.txt has an expression a line; those of user.txt are about `user`.
for questions in cel/*.txt; do
  name=$(basename "$questions" .txt)
  [ "$name" = signatures ] && continue
  env=claims
  [ "$name" = user ] && env=user
  echo "cel: $name" >&2
  python3 cel/questions.py "$env" "$questions" | "$reference" cel >"cel/$name.jsonl"
done
"$reference" signatures >cel/signatures.txt

echo "configurations" >&2
python3 configs/generate.py | "$reference" config >configs/configs.jsonl

echo "tokens" >&2
cargo run --quiet -p kube-authn --example tokens | "$reference" token >tokens/tokens.jsonl
