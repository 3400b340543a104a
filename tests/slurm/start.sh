#!/bin/bash
# Start a Slurm of two nodes on this machine, on the loopback interface, with all its files under $ROOT. Needs root and
# Debian's packages slurm-wlm and munge. Touches nothing outside $ROOT. docs/cluster.md has the pitfalls.
set -eu
: "${ROOT:?a folder that all may enter}"
CTLPORT=${CTLPORT:-26817}; DPORT1=${DPORT1:-26818}; DPORT2=${DPORT2:-26819}
HOST=$(hostname -s)
rm -rf "$ROOT/run"; mkdir -p "$ROOT/run"/{state,spool,log,munge}; chmod 755 "$ROOT" "$ROOT/run" "$ROOT/run/munge"
R=$ROOT/run
cat > "$ROOT/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$CTLPORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$R/munge/munge.sock,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$R/state
SlurmdSpoolDir=$R/spool/%n
SlurmctldPidFile=$R/slurmctld.pid
SlurmdPidFile=$R/slurmd.%n.pid
SlurmctldLogFile=$R/log/slurmctld.log
SlurmdLogFile=$R/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$R/log/jobcomp.txt
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=300
InactiveLimit=0
SlurmctldTimeout=60
SlurmdTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$DPORT1 CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$DPORT2 CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes=n[1-2] Default=YES MaxTime=60 DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20 State=UP
PartitionName=high Nodes=n[1-2] MaxTime=60 DefaultTime=10 PriorityTier=10 PreemptMode=OFF State=UP
CONF
mknod "$R/gpu0" c 1 3; mknod "$R/gpu1" c 1 3  # pretended GPUs, each a /dev/null: Slurm counts and assigns them
cat > "$ROOT/gres.conf" <<CONF
AutoDetect=off
NodeName=n[1-2] Name=gpu File=$R/gpu[0-1]
CONF
printf "CgroupPlugin=cgroup/v1\n" > "$ROOT/cgroup.conf"  # not used, but else slurmd 22.05 wants /sys/fs/cgroup mounted
export SLURM_CONF=$ROOT/slurm.conf
dd if=/dev/urandom of="$R/munge/key" bs=128 count=1 status=none; chmod 400 "$R/munge/key"
munged --key-file="$R/munge/key" --socket="$R/munge/munge.sock" --pid-file="$R/munged.pid" \
       --log-file="$R/munge/munged.log" --seed-file="$R/munge/seed" --num-threads=2
slurmctld -i -c -f "$SLURM_CONF" 2>>"$R/log/ctld.err" || { cat "$R/log/ctld.err"; exit 1; }
for n in n1 n2; do slurmd -N "$n" -c -f "$SLURM_CONF" 2>>"$R/log/slurmd.err" || { cat "$R/log/slurmd.err" "$R/log/slurmd.$n.log"; exit 1; }; done
for _ in $(seq 100); do
  [ "$(sinfo -h -p low -o %T:%D 2>/dev/null)" = idle:2 ] && { exit 0; }
  sleep 0.1
done
echo "not up"; sinfo -Nl; tail -n 5 -q "$R"/log/*; exit 1
