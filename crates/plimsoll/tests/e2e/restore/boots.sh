# Run at each boot of the machine by its own unit; the file `stage` says how far it has come. Only what the last boot prints is
# handed out, so each boot writes its own file.
cd /lab || exit 1
p=/usr/bin/plimsoll
stage=$(cat stage 2>/dev/null || echo 1)
exec > "boot$stage" 2>&1
echo "--- boot $stage"

places() { $p inspect -f '{{.Name}} {{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}{{json .NetworkSettings.Ports}}' web db late; }
running() { echo running: $($p ps --format '{{.Names}}' | sort); }
states() { $p ps -a --format '{{.Names}} {{.State}}' | sort | tr '\n' ','; echo; }
answers() { # the published port, from the host's own address and from loopback
  [ "$(busybox wget -q -O - http://127.0.0.1:8080/)" = here ] && [ "$(busybox wget -q -O - http://192.0.2.10:8080/)" = here ]
}
another_boot() { [ "$(cat id)" != "$(cat /proc/sys/kernel/random/boot_id)" ] && echo ANOTHER-BOOT; }
# kexec_file_load(2): the machine's firmware would end the emulator, and with it the disk.
load_kernel() {
  cat /proc/sys/kernel/random/boot_id > id; echo $((stage + 1)) > stage; sync
  perl -e 'my ($k, $i, $c) = @ARGV; open K, $k or die; open I, $i or die; my $n = length($c) + 1; $c .= "\0";
    exit(syscall(320, fileno K, fileno I, $n, $c, 0) == 0 ? 0 : 1)' /boot/vmlinuz-* /boot/initrd.img-* "$(cat /proc/cmdline)"
}

case $stage in
1)
  install -m 755 plimsoll $p && install -m 644 plimsoll.service /etc/systemd/system/
  systemd-analyze verify /etc/systemd/system/plimsoll.service && echo VERIFIED
  $p load -q -i busybox.tar
  $p network create back
  serve='trap "echo bye; exit 0" TERM; mkdir -p /www; echo here > /www/index.html; httpd -h /www; while :; do sleep 0.1; done'
  $p run -d --name web --restart always -p 8080:80 busybox sh -c "$serve"
  $p run -d --name db --restart unless-stopped --network back busybox sleep 100000
  $p run -d --name early --network back busybox sleep 100000
  $p run -d --name late --restart always --network back -p 127.0.0.1::81 busybox sleep 100000
  $p run -d --name joined --restart always --network container:db busybox sleep 100000
  $p run -d --name failing --restart on-failure busybox sleep 100000
  $p run -d --name stopped --restart unless-stopped busybox sleep 100000
  $p run -d --name halted --restart always busybox sleep 100000
  $p create --name never --restart always busybox sleep 100000
  $p run -d --name gone --rm busybox sleep 100000
  $p stop -t 0 stopped halted
  $p rm -f early # so that addresses are not simply given out in their order again
  systemctl enable -q plimsoll.service && systemctl start plimsoll.service
  places > places; running
  # The laboratory's unit ends the machine when it ends. Not while it reboots: the drop-in is gone with /run.
  mkdir -p /run/systemd/system/lab.service.d
  printf '[Unit]\nSuccessAction=none\nFailureAction=none\n' > /run/systemd/system/lab.service.d/reboot.conf
  systemctl daemon-reload
  load_kernel && systemctl kexec # as `reboot`: units are stopped, processes asked to end
  sleep 600 ;;
2)
  systemctl is-active plimsoll.service
  another_boot; running; states
  places | diff places - && echo SAME-PLACES
  answers && echo REACHED
  [ "$($p logs web | head -1)" = bye ] && echo ASKED-TO-END
  $p exec late nslookup db 127.0.0.11 2>&1 | grep -q "Name:.*db" && echo NAMES
  $p system check --leaks
  # Nobody is asked this time: the kernel is replaced under everybody's feet.
  load_kernel && perl -e 'syscall(169, 0xfee1dead, 672274793, 0x45584543, 0)'
  sleep 600 ;;
3)
  another_boot; running; states
  places | diff places - && echo SAME-PLACES
  answers && echo REACHED
  $p system check --leaks
  systemctl stop plimsoll.service
  running; echo ended: $($p inspect -f '{{.State.Status}} {{.State.ExitCode}}' web db)
  systemctl start plimsoll.service
  running
  for jump in '+400 days' '-900 days'; do
    date -s "$jump" > /dev/null
    [ "$($p run --rm busybox echo works)" = works ] && $p ps -a > /dev/null && $p stop -t 1 db && $p start db \
      && $p exec db true && answers && $p system restore && $p system check --leaks && echo "JUMPED $jump"
  done
  echo DONE
  cat boot1 boot2 boot3 > /lab/.out ;;
esac
