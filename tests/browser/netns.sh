#!/bin/sh
# Runs a command in a network of its own, as `unshare -n` leaves it: loopback, and one documentation address (RFC 5737)
# with a default route to nowhere. With loopback alone Chromium offers no candidate; so nothing leaves the machine.
set -eu
ip link set lo up
ip link add veth0 type veth peer name veth1
# An address of IPv6 that becomes usable after a second is a change of networks, for which Chromium breaks off requests.
ip link set veth0 addrgenmode none
ip link set veth1 addrgenmode none
ip addr add 192.0.2.1/24 dev veth0
ip link set veth0 up
ip link set veth1 up
ip route add default via 192.0.2.2 dev veth0
exec "$@"
