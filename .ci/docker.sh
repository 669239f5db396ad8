# A Docker daemon with the stand-in images, for the tests that need one; sourced by .ci/run.
# Where there is none and it cannot be made, those tests are skipped, and this says so.

daemon=

# PYTHON: one with the project's dependencies. Uses the daemon that answers, else installs and starts one.
start_docker() {
  local python=$1
  if ! answers "$python"; then
    if [ "$(id -u)" != 0 ]; then
      echo "WARNING: no Docker daemon answers and only root can start one: CONTAINER TESTS WILL BE SKIPPED"
      return
    fi
    install_packages
    # Its own socket and directories: nothing of it is there afterwards, and no system daemon is touched.
    # The servers use the host's network, so it needs no bridge and no packet filter.
    setsid dockerd --host "unix://$work/docker.sock" --data-root "$work/docker" \
      --exec-root "$work/docker-run" --pidfile "$work/dockerd.pid" \
      --bridge none --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
    daemon=$!
    export DOCKER_HOST=unix://$work/docker.sock
    for _ in $(seq 120); do
      if answers "$python" || ! kill -0 "$daemon" 2>/dev/null; then break; fi
      sleep 0.5
    done
    if ! answers "$python"; then
      tail -n 20 "$work/dockerd.log"
      echo "WARNING: the Docker daemon does not start here: CONTAINER TESTS WILL BE SKIPPED"
      stop_docker
      return
    fi
  fi
  "$python" tools/stand_in_images.py ||
    echo "WARNING: the stand-in images cannot be built: CONTAINER TESTS WILL BE SKIPPED"
}

stop_docker() {
  if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then
    wait "$daemon" || true
    # It leaves the network namespace of the host mounted, which nothing could remove.
    tac /proc/mounts | cut -d ' ' -f 2 | grep "^$work/" | xargs --no-run-if-empty umount || true
  fi
  daemon=
  unset DOCKER_HOST
}

answers() {
  "$1" -c 'import docker; docker.from_env(timeout=10).ping()' 2>/dev/null
}

# Docker, a static busybox and locales for the images, and servers for the tests of the system provider.
# No package may start a service: what runs beside the gate disturbs it, and the gate starts its own.
install_packages() {
  local policy=/usr/sbin/policy-rc.d mine=
  if [ ! -e "$policy" ]; then
    mine=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >"$work/apt.log" 2>&1 &&
    apt-get install -y -qq --no-install-recommends \
      docker.io busybox-static locales postgresql redis-server >>"$work/apt.log" 2>&1 ||
    { tail -n 20 "$work/apt.log"; echo "WARNING: packages cannot be installed"; }
  if [ -n "$mine" ]; then rm "$policy"; fi
}
