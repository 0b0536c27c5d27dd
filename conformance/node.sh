#!/usr/bin/env bash
# A machine of its own for one node, as far as the kernel is asked: run as process 1 of new network, mount,
# process, IPC and host name namespaces. Whoever ends it ends all that runs there. Being process 1, bash reaps
# what is left running there.
#
#   node.sh NAME NUMBER DIRECTORY PROGRAM [ARGUMENT...]
set -euo pipefail
name=$1 number=$2 dir=$3
shift 3

hostname "$name"
# An empty machine: what is in these directories of the host is none of this node's business.
mkdir -p "$dir"/{lib,log}
mount -t tmpfs tmpfs /run
mount --bind "$dir/lib" /var/lib
mount --bind "$dir/log" /var/log

# The far end is where a second node will be plugged in.
ip link set lo up
ip link add eth0 type veth peer name wire
ip addr add "192.168.77.$number/24" dev eth0
ip link set eth0 up
ip link set wire up
ip route add default via 192.168.77.254

# Nothing is pulled from afar: what was imported counts as pulled.
printf 'mirrors:\n  "*":\n    endpoint: [local]\n' >/run/registries.yaml
: >"$dir/up"
"$@" &
wait $!
