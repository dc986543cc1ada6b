#!/bin/sh
# The first process of a guest that firmware has started: loads the drivers of disks, finds the root file system or the CD, goes on there.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/lib/modules/$module" 2>/dev/null; done < /lib/modules/order

root=disk
for word in $(cat /proc/cmdline); do
  case $word in nestvm.root=*) root=${word#nestvm.root=} ;; esac
done
tries=0
while [ $tries -lt 100 ]; do
  if [ "$root" = cd ]; then
    [ -b /dev/sr0 ] && mount -t iso9660 -o ro /dev/sr0 /root 2>/dev/null && break
  else
    device=$(findfs LABEL=nestvm-root 2>/dev/null) && mount -t ext4 "$device" /root 2>/dev/null && break
  fi
  tries=$((tries + 1))
  usleep 100000
done
if [ "$root" = cd ]; then
  echo "bootable: $(cat /root/hello.txt)"
  # The host has written down what these files are.
  cd /root && md5sum -c sums
  poweroff -f
fi
if [ ! -x /root/sbin/init ]; then
  echo "bootable: no root file system; disks: $(ls /dev/[hsv]d* 2>/dev/null | tr '\n' ' ')"
  poweroff -f
fi
echo "bootable: root on $device"
mount --move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
