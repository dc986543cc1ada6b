#!/bin/sh
# Starts the next level: loads KVM and boots the same kernel in it, as deep as the kernel command line says.
#   nestvm.levels=N   levels in all (2: this machine and one guest)      nestvm.level=N   this level; the machine's own is 1
#   nestvm.vmm=V      tkvm, qemu-pc, qemu-q35 or qemu-microvm            nestvm.kvm=a=b,c=d   parameters for kvm-intel or kvm-amd
#   nestvm.last=P     program that the deepest level runs, e.g. bench-all
#   nestvm.beside=P   program that this machine runs while it runs the next level
#   nestvm.each=P     program that every level runs before it starts the next; with nestvm.exits, each level times them too and goes on
#   nestvm.memory=a,b,…  MiB for the levels from 2 on                    nestvm.exits=N   time N exits instead of booting
#   nestvm.vcpus=N       vCPUs of the levels from 2 on, under QEMU       nestvm.move=yes  move L2's threads from CPU to CPU of L1
level=1 levels=2 vmm=tkvm kvm= memory=320,112,80 exits= last= options= vcpus=1 move= each= beside=
for word in $(cat /proc/cmdline); do
  case $word in
    nestvm.level=*) level=${word#*=} ;;
    nestvm.levels=*) levels=${word#*=} ;;
    nestvm.vmm=*) vmm=${word#*=} ;;
    nestvm.kvm=*) kvm=${word#*=} ;;
    nestvm.memory=*) memory=${word#*=} ;;
    nestvm.exits=*) exits=${word#*=} ;;
    nestvm.last=*) last=${word#*=} ;;
    nestvm.each=*) each=${word#*=} ;;
    nestvm.beside=*) beside=${word#*=} ;;
    nestvm.vcpus=*) vcpus=${word#*=} ;;
    nestvm.move=*) move=${word#*=} ;;
    nestvm.scale=* | nestvm.bench=*) options="$options $word" ;;
  esac
done

echo "hello from L$level, up $(cut -d' ' -f1 /proc/uptime) s"
echo "L$level: CPUs: $(nproc)"
# Linux leaves huge pages off in machines of less than 512 MiB; with them a hypervisor maps its guest by 2 MiB, as machines that run hypervisors do.
# Before all else, so that programs find the same on each level.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
[ -z "$each" ] || "$each"
if [ "$level" -ge "$levels" ]; then
  [ -z "$last" ] || "$last"
  exit
fi

if grep -qw vmx /proc/cpuinfo; then vendor=intel; elif grep -qw svm /proc/cpuinfo; then vendor=amd; else
  echo "L$level: the CPU offers neither VMX nor SVM, so there is no L$((level + 1))"
  exit 1
fi
for module in $(cat /lib/modules/order); do
  case $module in
    kvm_intel.ko) [ $vendor = intel ] || continue; arguments="nested=1 $(echo "$kvm" | tr , ' ')" ;;
    kvm_amd.ko) [ $vendor = amd ] || continue; arguments="nested=1 $(echo "$kvm" | tr , ' ')" ;;
    *) arguments= ;;
  esac
  insmod /lib/modules/$module $arguments || { echo "L$level: insmod $module failed"; exit 1; }
done
echo "L$level: kvm-$vendor loaded, up $(cut -d' ' -f1 /proc/uptime) s"

if [ -n "$exits" ] && { [ -n "$each" ] || [ $((level + 1)) -eq "$levels" ]; }; then
  tkvm -x "$exits"
  [ -n "$each" ] || exit
fi

next=$((level + 1))
mib=$(echo "$memory" | cut -d, -f1)
words="console=ttyS0 quiet cryptomgr.notests nestvm.run=levels nestvm.fin=reset nestvm.level=$next nestvm.levels=$levels nestvm.vmm=$vmm"
rest=${memory#*,}
words="$words nestvm.memory=$rest${kvm:+ nestvm.kvm=$kvm}${exits:+ nestvm.exits=$exits}${last:+ nestvm.last=$last}${each:+ nestvm.each=$each}$options"
words="$words nestvm.vcpus=$vcpus"
# Without reboot=t Linux leaves a microvm by a jump to its firmware, which wanders off into memory and ends the machine by luck only.
# tkvm has no I/O APIC: noapic tells Linux that the PIC's interrupts come through the local APIC.
case $vmm in qemu-microvm*) words="$words reboot=t" ;; tkvm) words="$words noapic" ;; esac

# Moves the monitor's threads to the next CPU, again and again, as a host that balances its load does.
mover() {
  moves=0 cpus=$(nproc)
  while sleep 0.02; do
    pid=$(pidof tkvm || pidof qemu-system-x86_64) || continue
    moves=$((moves + 1))
    for task in /proc/$pid/task/*; do taskset -p $(printf %x $((1 << moves % cpus))) "${task##*/}" >/dev/null 2>&1; done
    [ $moves -ne 10 ] || echo "L$level: moved L$next from CPU to CPU ten times"
  done
}
[ -z "$move" ] || mover &
[ -z "$beside" ] || "$beside" &

case $vmm in
  tkvm) tkvm -m "$mib" -k /guest/vmlinuz -i /guest/initrd.cpio -a "$words" ;;
  qemu-*)
    qemu-system-x86_64 -L /usr/share/qemu -enable-kvm -cpu host -M "${vmm#qemu-}" -smp "$vcpus" -m "$mib" -kernel /guest/vmlinuz -initrd /guest/initrd.cpio -append "$words" \
      -display none -nodefaults -serial stdio -no-reboot ;;
  *) echo "L$level: no VMM named $vmm"; exit 1 ;;
esac
status=$?
# What the kernel has to say of a monitor that did not end as it should.
[ $status -eq 0 ] || dmesg | tail -n 20
echo "L$level: L$next ended with status $status"
