#!/bin/sh
# Uses the network card that virtio brings: loads the drivers, asks DHCP for an address, fetches what nestvm.url= names.
#   nestvm.url=URL   fetched with wget, its MD5 is printed (default: http://10.0.2.2:18973/, which hostfwd=tcp::18973-:80 leads back to the server in here)
#   nestvm.wait=N    then serves on port 80 for N seconds more
url=http://10.0.2.2:18973/ wait=0
for word in $(cat /proc/cmdline); do
  case $word in
    nestvm.url=*) url=${word#*=} ;;
    nestvm.wait=*) wait=${word#*=} ;;
  esac
done
for module in $(cat /lib/modules/order); do
  insmod /lib/modules/$module || echo "net: insmod $module failed"
done
cat >/tmp/dhcp <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "nameserver $dns" >/etc/resolv.conf
echo "net: $interface has $ip/$mask, router $router, dns $dns"
END
chmod 755 /tmp/dhcp
ip link set eth0 up || { echo "net: no eth0"; dmesg | tail -20; exit 1; }
echo "net: features $(cat /sys/class/net/eth0/device/features), address $(cat /sys/class/net/eth0/address)"
udhcpc -q -n -f -i eth0 -s /tmp/dhcp -t 10 -T 1 >/tmp/udhcpc 2>&1 || { echo "net: no lease"; cat /tmp/udhcpc; exit 1; }
grep '^net:' /tmp/udhcpc
ping -c 2 -W 5 10.0.2.2 >/tmp/ping && echo "net: the host answers pings"
mkdir -p /tmp/www
dd if=/dev/urandom of=/tmp/www/index.html bs=64k count=16 2>/dev/null
httpd -p 80 -h /tmp/www
echo "net: serving"
wget -q -O /tmp/file "$url" && echo "net: fetched $(wc -c </tmp/file) bytes, md5 $(md5sum </tmp/file | cut -c1-32)"
cmp -s /tmp/file /tmp/www/index.html && echo "net: what came is what was sent"
sleep "$wait"
