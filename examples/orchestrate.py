#!/usr/bin/env python3
"""Copies until it is proven or pointless, by what xfer says and never by guessing.

usage: orchestrate.py SOURCE... DESTINATION [FLAG...]

XFER names the program (default: xfer), PAUSE_S the first pause between attempts (default: 5).
Exit code: that of the last result; 1 when no attempt told its outcome.
"""

import json
import os
import subprocess
import sys
import time

XFER = os.environ.get("XFER", "xfer")
PAUSE_S = float(os.environ.get("PAUSE_S", "5"))
ATTEMPTS = 6


def attempt(arguments):
    """Runs one push; returns its result, or None when the outcome is unknown."""
    result = None
    command = [XFER, "push", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # A killed process leaves half a line.
            if event["type"] == "result":
                result = event
            else:
                show(event)
    # A process that said one thing and ended with another was not alone in deciding.
    return result if result and result["exit_code"] == process.returncode else None


def show(event):
    """Tells a log what happens."""
    if event["type"] == "progress" and event["bytes_to_move"]:
        print(f"{event['payload_bytes'] * 100 // event['bytes_to_move']} %", file=sys.stderr)
    elif event["type"] == "problem":
        print(f"problem: {event['message']}", file=sys.stderr)


def main(arguments):
    result = None
    for number in range(ATTEMPTS):
        if number:
            time.sleep(min(PAUSE_S * 2 ** (number - 1), 300))
        result = attempt(arguments)
        # Running the same command again is always safe: it resumes, and proves what is there.
        if result and (result["exit_code"] == 0 or result["retry"] != "same-command"):
            break
    if result is None:
        print("verdict: unknown; do not destroy the source")
        return 1
    if result["exit_code"] == 0:
        entries, level = result["entries"]["selected"], result["proof_level"]
        print(f"verdict: {entries} entries proven {level}, root {result['manifest_root']}")
    else:
        print(f"verdict: {result['status']} ({result['reason']}), retry {result['retry']}")
        for remedy in result["remedies"]:
            print(f"  {remedy['text']} {' '.join(remedy['argv'])}")
    return result["exit_code"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
