#!/bin/sh
# What busybox's init runs first: file systems, then a count of the starts, which shows that writes reach the disk.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
hostname -F /etc/hostname
starts=$(($(cat /root/starts 2>/dev/null || echo 0) + 1))
echo $starts > /root/starts
sync
echo "bootable: start $starts, $(head -c 4194304 /dev/urandom > /root/random && sync && wc -c < /root/random) bytes written"
