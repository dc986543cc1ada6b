#!/bin/sh
# In Xen's dom0: starts the daemons that xl needs, then a PVH guest (L2), and shows the guest's console until it ends.
tools=/usr/lib/xen-4.17/bin
echo "hello from dom0, up $(cut -d' ' -f1 /proc/uptime) s"
mkdir -p /run/xen /run/xenstored /run/lock /var/lib/xen /var/lib/xenstored /var/log/xen/console /etc/xen
ln -s ../run /var/run
ln -s ../run/lock /var/lock
for module in $(cat /lib/modules/order); do
  insmod /lib/modules/$module || { echo "dom0: insmod $module failed"; exit 1; }
done
mount -t xenfs xenfs /proc/xen || exit 1
$tools/xenstored --pid-file /run/xen/xenstored.pid || exit 1
$tools/xen-init-dom0 || exit 1
$tools/xenconsoled --log=guest --log-dir=/var/log/xen/console || exit 1
$tools/xl info | grep -E '^(xen_version|virt_caps|hw_caps|free_memory)'

cat >/etc/xen/l2 <<END
name = "l2"
type = "pvh"
kernel = "/guest/vmlinuz"
ramdisk = "/guest/initrd.cpio"
memory = 160
vcpus = 1
extra = "console=hvc0 quiet cryptomgr.notests nestvm.run=levels nestvm.level=2 nestvm.levels=2"
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
END
: >/etc/xen/xl.conf
echo "dom0: starting L2, up $(cut -d' ' -f1 /proc/uptime) s"
log=/var/log/xen/console/guest-l2.log
: >$log
tail -f $log &
tail=$!
$tools/xl create /etc/xen/l2 </dev/null || exit 1
while $tools/xl list l2 >/dev/null 2>&1; do sleep 1; done
kill $tail
if grep -q 'hello from L2' $log; then echo "dom0: L2 ended"; else echo "dom0: L2 ended without a word"; cat /var/log/xen/*.log; fi
