#!/bin/sh
# Uses the disks, the random source and the console that virtio brings: loads the drivers, writes a file system, starts again, compares.
#   nestvm.disk=vda   the disk      nestvm.count=N   files to write (default 20)      nestvm.mkfs=yes   make the file system if there is none
disk=vda count=20 mkfs=
for word in $(cat /proc/cmdline); do
  case $word in
    nestvm.disk=*) disk=${word#*=} ;;
    nestvm.count=*) count=${word#*=} ;;
    nestvm.mkfs=*) mkfs=${word#*=} ;;
  esac
done

for module in $(cat /lib/modules/order); do
  insmod /lib/modules/$module || echo "disks: insmod $module failed"
done
tries=0
while [ ! -b "/dev/$disk" ]; do
  tries=$((tries + 1))
  [ $tries -lt 50 ] || { echo "disks: no /dev/$disk"; dmesg | tail -20; exit 1; }
  sleep 0.1
done
echo "disks: $disk has $(cat /sys/block/$disk/size) sectors, serial '$(cat /sys/block/$disk/serial)', cache '$(cat /sys/block/$disk/queue/write_cache)'"
for device in /sys/bus/virtio/devices/*; do
  echo "disks: ${device##*/} type $(cat "$device/device") features $(cat "$device/features")"
done
grep virtio /proc/interrupts
if [ -n "$mkfs" ]; then
  if [ -z "$(dd if="/dev/$disk" bs=1k skip=1 count=1 2>/dev/null | tr -d '\0')" ]; then
    mkfs.ext4 -q "/dev/$disk" || echo "disks: mkfs.ext4 failed"
  else
    fsck.ext4 -fn "/dev/$disk" >/tmp/fsck && echo "disks: the file system is clean"
  fi
fi
mkdir -p /mnt
mount -t ext4 "/dev/$disk" /mnt || { echo "disks: mount failed"; dmesg | tail -20; exit 1; }
if [ -f /mnt/sums ]; then
  (cd /mnt && md5sum -c sums >/tmp/checked) && echo "disks: $(grep -c OK /tmp/checked) files are as they were written"
  grep -v OK /tmp/checked
  umount /mnt
  if [ -c /dev/hwrng ]; then
    dd if=/dev/hwrng bs=64 count=16 2>/dev/null | wc -c | sed 's/^/disks: random bytes /'
  fi
  exit
fi
for i in $(seq "$count"); do
  dd if=/dev/urandom of=/mnt/file$i bs=4k count=$((i * 7)) 2>/dev/null
done
(cd /mnt && md5sum file* >sums)
fstrim /mnt 2>/dev/null
sync
umount /mnt
echo "disks: $count files written"
reboot -f
sleep 60
