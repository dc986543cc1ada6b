#!/bin/sh
# The first process of the test guest: devices, one recognisable line, then a shell on the console, or what `nestvm.run=` names.
export PATH=/bin HOME=/root TERM=vt100
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts 2>/dev/null
mount -t tmpfs tmp /tmp
ip link set lo up 2>/dev/null
hostname nestvm

run= fin=poweroff
for word in $(cat /proc/cmdline); do
  case $word in
    nestvm.run=*) run=${word#nestvm.run=} ;;
    nestvm.fin=*) fin=${word#nestvm.fin=} ;;
  esac
done

# Machines without ACPI cannot switch themselves off; nestvm.fin=reset ends them by a reset.
finish() {
  sync
  if [ "$fin" = reset ]; then reboot -f; else poweroff -f; fi
  sleep 60
}

echo "NESTVM-GUEST-READY $(uname -r) $(cut -d' ' -f1 /proc/uptime)"
case $run in
  '') ;;
  bench) /bin/bench-all; finish ;;
  true) finish ;;
  *) if [ -x "/bin/$run" ]; then "/bin/$run"; else echo "nestvm.run: no program /bin/$run"; fi; finish ;;
esac

tty=$(sed 's/.* //' /sys/class/tty/console/active 2>/dev/null)
while :; do
  setsid sh -c "exec sh -l </dev/${tty:-console} >/dev/${tty:-console} 2>&1" 2>/dev/null || sleep 1
done
