#!/usr/bin/env bash
# The comparisons whose results are in benchmarks/results/comparison-*.json; half an hour and twice a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

interp compare --concepts 4 --random 50 --sentences 3 --out comparison/smollm2
interp compare --model gemma-3-270m --site L9.mlp --place L9.resid_post --concepts 4 --random 50 --sentences 2 --out comparison/gemma
interp compare --model gemma-3-270m --site L3.mlp --place L9.resid_post --concepts 4 --random 50 --sentences 2 --out comparison/gemma-early

for name in smollm2 gemma gemma-early; do
    cp "comparison/$name/comparison.json" "benchmarks/results/comparison-$name.json"
done
