#!/bin/sh
# A small store that keeps what the latest leader wrote: store.sh put FOLDER KEY VALUE, store.sh get FOLDER KEY
#
# Under leaderrun each write carries the fencing token of its leader. The store refuses a token smaller than the largest it has
# seen, so a leader that was paused between its last check and its write can't overwrite what its successor wrote. The store
# must compare tokens under its own lock. In SQL that is one line (see README).
set -eu

usage() {
  echo "usage: store.sh put FOLDER KEY VALUE | get FOLDER KEY" >&2
  exit 64
}

[ $# -ge 3 ] || usage
action=$1 folder=$2 key=$3
case $key in */* | .* | '') usage ;; esac

case $action in
  get)
    cat "$folder/$key.value"
    ;;
  put)
    [ $# -eq 4 ] || usage
    token=${LEADERRUN_FENCING_TOKEN:?run this under leaderrun}
    mkdir -p "$folder"
    exec 9>"$folder/.lock"
    flock 9
    largest=$(cat "$folder/.token" 2>/dev/null || echo 0)
    if [ "$token" -lt "$largest" ]; then
      echo "store.sh: refused: token $token is older than $largest; another leads by now" >&2
      exit 1
    fi
    # The token first: if we are killed in between, an older leader is still refused.
    echo "$token" >"$folder/.token.new" && mv "$folder/.token.new" "$folder/.token"
    printf '%s\n' "$4" >"$folder/$key.new" && mv "$folder/$key.new" "$folder/$key.value"
    ;;
  *) usage ;;
esac
