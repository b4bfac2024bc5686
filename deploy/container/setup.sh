#!/bin/sh
# Makes an image of a minimal Debian 12: installs the package that lies beside this script, and prepares for the MPI
# operator of Kubernetes, which starts 'sshd -De -f /home/mpiuser/.sshd_config' as the user mpiuser (1000), with its keys
# mounted at /home/mpiuser/.ssh. For Dockerfile and transfusion.def alike.
set -eu
cd "$(dirname "$0")"

export DEBIAN_FRONTEND=noninteractive
apt-get update
# What the package recommends, and the server for the ranks of other hosts.
apt-get install --yes --no-install-recommends ./transfusion_*.deb \
    openssh-server gdb fonts-dejavu-core fonts-noto-color-emoji unicode-data wordnet-base
apt-get clean
rm -rf /var/lib/apt/lists/*
# Each image would share the keys that the package of the server has made. The operator brings its own.
rm -f /etc/ssh/ssh_host_*

id -u mpiuser >/dev/null 2>&1 || useradd --create-home --uid 1000 --shell /bin/bash mpiuser
install -o mpiuser -g mpiuser -m 644 sshd_config /home/mpiuser/.sshd_config
# sshd started as root wants it.
mkdir -p /run/sshd

# Pods come and go, with the operator's key on all of them: there is nothing to compare a host's key with, and the mounted
# directory cannot be written.
cat >/etc/ssh/ssh_config.d/transfusion.conf <<'END'
Match localuser mpiuser
    Port 2222
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
END
