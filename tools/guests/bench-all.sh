#!/bin/sh
# Runs the benchmarks; the kernel command line may make them shorter (nestvm.scale=DIVISOR) or choose some (nestvm.bench=a,b).
if [ ! -x /bin/nbench ]; then echo "BENCH-MISSING: this guest was built without a C compiler"; exit 1; fi
scale=1 list=all
for word in $(cat /proc/cmdline); do
  case $word in
    nestvm.scale=*) scale=${word#nestvm.scale=} ;;
    nestvm.bench=*) list=$(echo "${word#nestvm.bench=}" | tr , ' ') ;;
  esac
done
echo "BENCH-BEGIN $(uname -r)"
nbench -s "$scale" $list
echo "BENCH-END"
