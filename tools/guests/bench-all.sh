#!/bin/sh
# Runs every benchmark once and prints `BENCH name seconds checksum` for each. `bench-all LIST` runs those of the list.
if [ ! -x /bin/nbench ]; then echo "BENCH-MISSING: built without a C compiler"; exit 1; fi
echo "BENCH-BEGIN $(uname -r)"
nbench ${*:-all}
echo "BENCH-END"
