#!/bin/bash
# Starts the watch below in the background, and again whenever it ends. It may be run at every
# start of the machine, and twice: one runs at a time. It holds no key and no token; xfer reads
# those where it always does. Printed by xfer @VERSION@.
set -u
directory=@DIRECTORY@
xfer=@PROGRAM@
name=@NAME@
words=(@WORDS@)

state=${XDG_STATE_HOME:-${HOME:-/root}/.local/state}/xfer
log=$state/$name.log
(umask 077 && mkdir -p -- "$state" && : >>"$log" && : >>"$state/$name.lock") || exit 1
cd -- "$directory" || exit 1
if ! [ -x "$xfer" ]; then
    xfer=$(command -v xfer) || {
        echo "there is no xfer on this machine" >&2
        exit 1
    }
fi

again_and_again() {
    local began code child='' pause=1
    trap '[ -z "$child" ] || kill -TERM "$child"; wait; exit 0' TERM INT
    trap '' HUP
    while :; do
        began=$SECONDS
        "$xfer" "${words[@]}" &
        child=$!
        wait "$child"
        code=$?
        child=''
        echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) ended with exit $code"
        case $code in
            2 | 3) exit "$code" ;; # what is wrong with the command stays wrong
            130 | 143) exit 0 ;;   # somebody stopped it
        esac
        [ $((SECONDS - began)) -lt 300 ] || pause=1
        sleep "$pause" &
        wait $!
        pause=$((pause < 60 ? pause * 2 : 60))
    done
}

# Whoever runs has the lock, and so has xfer itself.
exec 9>>"$state/$name.lock"
if command -v flock >/dev/null; then
    flock -n 9
else
    runs=$(cat -- "$state/$name.pid" 2>/dev/null)
    [ -z "$runs" ] || ! kill -0 "$runs" 2>/dev/null
fi || {
    echo "it runs already; its log is $log"
    exit 0
}
again_and_again </dev/null >>"$log" 2>&1 &
echo "$!" >"$state/$name.pid"
echo "it runs in the background; its log is $log, and it ends with: kill $!"
