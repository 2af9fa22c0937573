#!/usr/bin/env bash
# Plants each bug of tests/planted/ in a copy of the sources and shows which check catches it. See docs/testing.md.
#
#   tests/planted.sh [--unchecked] [NAME…]   plants these bugs, or all
#   tests/planted.sh --table                 prints the table of all bugs with the results so far
#
# With --unchecked, the checks are not run first without a bug. The exit code is 1 if a bug was not caught, if a patch
# does not apply, or if a check fails without a bug.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
patches=$root/tests/planted
# The copy. Its own `target` stays, so that a bug costs one small build.
copy=$root/target/planted
results=$root/target/planted-results
# A check that takes longer has not caught its bug.
patience=${PLANTED_PATIENCE:-900}
# A bug that only the model finds must be found by this many of its cases.
export LEASE_CASES=${LEASE_CASES:-10}

head_of() { sed -n "s/^# $2: //p" "$patches/$1.patch"; }

# Makes the copy equal to the tracked files. A file that is equal keeps its time, so cargo builds what differs.
refresh() {
  local file
  mkdir -p "$copy"
  git ls-files -z >"$copy.tracked"
  while IFS= read -r -d '' file; do
    if [ -f "$file" ] && ! cmp -s "$file" "$copy/$file"; then
      mkdir -p "$copy/$(dirname "$file")"
      cp "$file" "$copy/$file"
      chmod --reference="$file" "$copy/$file"
    fi
  done <"$copy.tracked"
  (cd "$copy" && find . -path ./target -prune -o -name node_modules -prune -o -type f -printf '%P\0') |
    while IFS= read -r -d '' file; do
      [ -f "$file" ] || rm "$copy/$file"
    done
  rm "$copy.tracked"
}

# The copy lies below a repository, and git must not take it for a part of that.
apply() { (cd "$copy" && GIT_CEILING_DIRECTORIES=$root/target git apply "$@"); }

check() { (cd "$copy" && timeout "$patience" bash -c "$1") >"$log" 2>&1; }

# The test that failed, and the first case of the model that did. One test of the model has no cases of its own.
caught_by() {
  local test seeds
  test=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u |
    awk '/::the_same_seed_twice_/ { last = $0; next } { print } END { if (last) print last }' | head -n 1)
  seeds=$(sed -n 's/^Seed [0-9]*, case \([0-9]*\) of .*/\1/p' "$log" | sort -n | head -n 1)
  if [ -n "$seeds" ]; then
    printf '`%s` | %s' "$test" "after $seeds $([ "$seeds" = 1 ] && echo seed || echo seeds)"
  else
    printf '`%s` | at once' "$test"
  fi
}

record() {
  mkdir -p "$results"
  printf '%s' "$2" >"$results/$1"
}

# One table row for each bug, with the result of its last run.
table() {
  local patch name result
  printf '| bug | promise that it breaks | caught by | when |\n|---|---|---|---|\n'
  for patch in "$patches"/*.patch; do
    name=$(basename "$patch" .patch)
    result='not run yet | –'
    if [ -f "$results/$name" ]; then result=$(cat "$results/$name"); fi
    printf '| `%s` | %s | %s |\n' "$name" "$(head_of "$name" Promise)" "$result"
  done
}

unchecked=
names=()
for argument in "$@"; do
  case $argument in
    --unchecked) unchecked=1 ;;
    --table)
      table
      exit
      ;;
    -*)
      echo "There is no option $argument; see the head of $0" >&2
      exit 2
      ;;
    *) names+=("$(basename "$argument" .patch)") ;;
  esac
done
if [ ${#names[@]} = 0 ]; then
  for patch in "$patches"/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi
for name in "${names[@]}"; do
  [ -f "$patches/$name.patch" ] || { echo "There is no tests/planted/$name.patch" >&2; exit 2; }
done

log=$(mktemp)
planted=
trap '[ -z "$planted" ] || apply -R "$planted"; rm -f "$log"' EXIT
refresh
failed=0

if [ -z "$unchecked" ]; then
  for name in "${names[@]}"; do head_of "$name" Check; done | sort -u >"$copy.checks"
  while IFS= read -r command <&3; do
    if ! check "$command"; then
      tail -n 40 "$log" >&2
      echo "This check fails without any bug, so it shows nothing: $command" >&2
      failed=1
    elif ! grep -qE '^test .* ok$' "$log"; then
      echo "This check runs no test: $command" >&2
      failed=1
    fi
  done 3<"$copy.checks"
  rm "$copy.checks"
  [ "$failed" = 0 ] || exit 1
fi

for name in "${names[@]}"; do
  command=$(head_of "$name" Check)
  if ! apply "$patches/$name.patch" 2>"$log"; then
    result='**the patch does not apply** | –'
    cat "$log" >&2
  else
    planted=$patches/$name.patch
    status=0
    check "$command" || status=$?
    apply -R "$planted"
    planted=
    if [ "$status" = 0 ]; then
      result='**not caught** | –'
    elif [ "$status" = 124 ]; then
      result="**not caught: the check has not ended after $patience s** | –"
    elif grep -q '^test result: FAILED' "$log"; then
      result=$(caught_by)
    else
      tail -n 40 "$log" >&2
      result='**the planted bug does not compile** | –'
    fi
  fi
  record "$name" "$result"
  case $result in '**'*) failed=1 ;; esac
  echo "$name: $(sed -E 's/ \| (at|after)/ \1/; s/ \| –$//; s/^`/caught by `/; s/[`*]//g' <<<"$result")"
done
echo
table
exit "$failed"
