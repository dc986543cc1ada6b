#!/bin/sh
# Measures the disk, the folder `bench` (where the kernel has 9P), and the networks eth0 (user) and eth1 (socket), against the server of `pnpm bench --devices`; nestvm.port= is its port, nestvm.bench=a,b chooses tests, nestvm.rounds= says how often all of them are done.
scale=1 port=0 rounds=1 folder=
for word in $(cat /proc/cmdline); do
  case $word in
    nestvm.scale=*) scale=${word#*=} ;;
    nestvm.port=*) port=${word#*=} ;;
    nestvm.rounds=*) rounds=${word#*=} ;;
    nestvm.bench=*) export BENCH_ONLY=${word#*=} ;;
  esac
done
for module in $(cat /lib/modules/order); do insmod /lib/modules/$module; done
until [ -b /dev/vda ] && [ -d /sys/class/net/eth1 ]; do sleep 0.1; done
echo "BENCH-BEGIN $(uname -r)"
mkdir -p /mnt
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,ro bench /mnt && folder=/mnt
for place in 'eth0 2' 'eth1 3'; do
  set -- $place
  ip addr add 10.0.$2.15/24 dev "$1"
  ip link set "$1" up
done
while [ "$rounds" -gt 0 ]; do
  iobench disk /dev/vda "$scale"
  [ -n "$folder" ] && iobench files "$folder"
  iobench net user 10.0.2.2 "$port" "$scale"
  iobench net socket 10.0.3.2 "$port" "$scale"
  rounds=$((rounds - 1))
done
echo "BENCH-END"
