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

# The shell compares integers of 63 bits; anything else would be an error, which a condition takes for "no".
is_token() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ ${#1} -le 18 ]
}

# Puts a line in place of a file, on disk before we go on: a token that a crash of the machine could undo has not been seen.
store() {
  printf '%s\n' "$2" >"$1.new"
  sync "$1.new"
  mv "$1.new" "$1"
  sync "$folder"
}

case $action in
  get)
    cat "$folder/$key.value"
    ;;
  put)
    [ $# -eq 4 ] || usage
    token=${LEADERRUN_FENCING_TOKEN:?run this under leaderrun}
    is_token "$token" || { echo "store.sh: refused: $token is no fencing token" >&2; exit 1; }
    mkdir -p "$folder"
    exec 9>"$folder/.lock"
    flock 9
    largest=0
    if [ -e "$folder/.token" ]; then largest=$(cat "$folder/.token"); fi
    is_token "$largest" || { echo "store.sh: refused: $folder/.token is damaged; write the largest token to it" >&2; exit 1; }
    if [ "$token" -lt "$largest" ]; then
      echo "store.sh: refused: token $token is older than $largest; another leads by now" >&2
      exit 1
    fi
    # The token first: if we are killed in between, an older leader is still refused.
    store "$folder/.token" "$token"
    store "$folder/$key.value" "$4"
    ;;
  *) usage ;;
esac
