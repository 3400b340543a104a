#!/bin/bash
# Kill the jobs that are left, then stop the daemons that start.sh started, by the pids in their own pid files.
: "${ROOT:?the folder that start.sh had}"; R=$ROOT/run
export SLURM_CONF=$ROOT/slurm.conf
if jobs=$(timeout 20 squeue -h -o %i) && [ -n "$jobs" ]; then
  timeout 20 scancel --signal=KILL --full $jobs; timeout 20 scancel $jobs
  for _ in $(seq 100); do [ -z "$(timeout 20 squeue -h -o %i)" ] && break; sleep 0.1; done
fi
for f in "$R"/slurmd.*.pid "$R/slurmctld.pid" "$R/munged.pid"; do
  [ -s "$f" ] || continue
  pid=$(cat "$f"); kill "$pid" 2>/dev/null || continue
  for _ in $(seq 20); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null  # nothing of it is kept
done
exit 0
