#!/bin/sh
# Writes files to a disk until somebody pulls the plug; after the next start says what is left of them.
#   nestvm.disk=vda   the disk
disk=vda
for word in $(cat /proc/cmdline); do
  case $word in nestvm.disk=*) disk=${word#*=} ;; esac
done
for module in $(cat /lib/modules/order); do
  insmod /lib/modules/$module || echo "crash: insmod $module failed"
done
until [ -b "/dev/$disk" ]; do sleep 0.1; done
if [ -z "$(dd if="/dev/$disk" bs=1k skip=1 count=1 2>/dev/null | tr -d '\0')" ]; then
  mkfs.ext4 -q "/dev/$disk" && sync && echo "crash: made a file system"
else
  # 0: nothing to do; 1: the journal was played, or something else that needs no question was mended.
  fsck.ext4 -p "/dev/$disk" >/tmp/fsck
  status=$?
  cat /tmp/fsck
  [ $status -le 1 ] || { echo "crash: fsck cannot mend it: $status"; exit 1; }
  fsck.ext4 -fn "/dev/$disk" >/tmp/fsck || { echo "crash: the file system is damaged"; cat /tmp/fsck; exit 1; }
  echo "crash: the file system is clean"
fi
mkdir -p /mnt
mount -t ext4 "/dev/$disk" /mnt || { echo "crash: mount failed"; exit 1; }
cd /mnt || exit 1
last=0
for sum in sums.*; do
  [ -f "$sum" ] || continue
  md5sum -c "$sum" >/tmp/checked 2>&1 || { echo "crash: lost ${sum#sums.}"; cat /tmp/checked; exit 1; }
  [ "${sum#sums.}" -gt $last ] && last=${sum#sums.}
done
echo "crash: kept up to $last"
i=$last
while :; do
  i=$((i + 1))
  dd if=/dev/urandom of=file.$i bs=4k count=$((i * 37 % 200 + 1)) 2>/dev/null
  sync
  md5sum file.$i >sums.$i
  sync
  echo "crash: synced $i"
  rm -f sums.$((i - 12))
  rm -f file.$((i - 12))
done
