#!/usr/bin/env bash
# Breaks each rule of the protocol once, and sees the tests object.
#
# Every patch of tests/mutants is applied to a copy of the tree, alone. The simulator must object to it, or what
# the patch says: "Caught by: loom", or a file of tests. `scripts/mutants.sh r5 r11` tries those only.
set -euo pipefail
cd "$(dirname "$0")/.."

histories=${SIM_HISTORIES:-3000}
target=$PWD/target
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/tree
log=$scratch/log
mkdir "$copy"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [[ ! -e $file ]] || printf '%s\0' "$file"
done | tar -c --null -T - | tar -x -C "$copy"

build() {
    case $1 in
    simulator) in_copy mutants "" test --test simulator "${@:2}" ;;
    loom) in_copy loom "--cfg loom_model" test --lib --release "${@:2}" ;;
    *) in_copy mutants "" test --all-features --test "$1" "${@:2}" ;;
    esac
}
in_copy() {
    (cd "$copy" && SIM_HISTORIES=$histories RUST_BACKTRACE=0 RUSTFLAGS="${RUSTFLAGS:-} $2" CARGO_TARGET_DIR=$target/$1 \
        CARGO_PROFILE_DEV_DEBUG=0 timeout 300 cargo "${@:3}") >"$log" 2>&1
}
run() {
    case $1 in
    # The random histories first: they stop at the first objection.
    simulator) build simulator -- ten_thousand && build simulator -- --skip ten_thousand ;;
    loom) build loom loom ;;
    *) build "$1" ;;
    esac
}
suite_of() {
    local suite
    suite=$(sed -n 's/^Caught by: //p' "$1")
    printf '%s' "${suite:-simulator}"
}
# What objected: the seed, and the first words of the objection.
caught_by() {
    local seed objection
    seed=$(grep -oE '^seed [0-9]+ fails' "$log" | head -n 1 | cut -d ' ' -f 2 || true)
    objection=$(grep -A 1 -E "^thread '.*' .*panicked at" "$log" | sed -n 2p | cut -c 1-70 || true)
    printf '%s' "${seed:+seed $seed: }$objection"
}
give_up() {
    tail -n 40 "$log"
    echo "$1" >&2
    exit 1
}

patches=()
for patch in tests/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    wanted=$(($# == 0))
    for prefix; do [[ $name != "$prefix"* ]] || wanted=1; done
    ((wanted == 0)) || patches+=("$PWD/$patch")
done
((${#patches[@]})) || { echo "no mutant is called $*" >&2; exit 1; }

for suite in $(for patch in "${patches[@]}"; do suite_of "$patch"; echo; done | sort -u); do
    run "$suite" || give_up "the $suite objects to the tree as it is"
done

survivors=0
printf '%-46s %-9s %s\n' mutant suite "caught by"
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    suite=$(suite_of "$patch")
    (cd "$copy" && git apply -C1 "$patch") || { echo "$name does not apply" >&2; exit 1; }
    build "$suite" --no-run || give_up "$name does not build"
    if run "$suite"; then
        survivors=$((survivors + 1))
        printf '%-46s %-9s %s\n' "$name" "$suite" "SURVIVES"
    else
        printf '%-46s %-9s %s\n' "$name" "$suite" "$(caught_by)"
    fi
    (cd "$copy" && git apply -R -C1 "$patch")
done
echo "${#patches[@]} mutants, $survivors survive, $SECONDS s"
exit $((survivors > 0))
