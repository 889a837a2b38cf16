#!/bin/sh
# Gives the pod that leads a label, and takes it from the one that led before: label-leader.sh RESOURCE SELECTOR
# The pods' holder is their name (LEADERRUN_HOLDER). Runs in a pod of leader-label.yaml.
leaderrun --watch --resource "$1" | while read -r _ _ pod leads _; do
  # While the servers can't be asked, the leader may lead on.
  [ "$pod $leads" != "not known:" ] || continue
  until kubectl label pods --selector "$2,leader=true" leader-; do sleep 1; done
  case "$pod $leads" in
    "nobody leads"*) ;;
    # A pod that has gone can't get it; another change follows. Whoever competes chooses a name, which may begin with a dash.
    *) kubectl label pods -- "$pod" leader=true ;;
  esac
done
