"""Judges what witnesses wrote: judge.py LOG [MARKS] or judge.py LOG --late. No two commands may overlap, and tokens must
grow. MARKS has the faults, each a line with seconds of CLOCK_MONOTONIC and a name; a command whose container was paused
may write once more when it wakes up, which is counted apart. --late prints only that count."""

import statistics
import sys

witnesses = {}
for line in open(sys.argv[1]):
    time, what, _, token = line.split()
    witness = witnesses.setdefault(int(token), {"token": int(token), "times": [], "starts": 0})
    witness["times"].append(int(time))
    witness["starts"] += what == "start"
order = sorted(witnesses.values(), key=lambda witness: witness["times"][0])
pairs = list(zip(order, order[1:]))


def late(one, next):
    return [time for time in one["times"] if time > next["times"][0]]


if sys.argv[2:] == ["--late"]:
    ticks = [time for one, next in pairs for time in late(one, next)]
    print(f"{len(ticks)} late ticks" + (f", over {(max(ticks) - min(ticks)) / 1e6:.1f} ms" if ticks else ""))
    sys.exit()

marks = [line.split(None, 1) for line in open(sys.argv[2])] if len(sys.argv) > 2 else []
marks = [(float(time) * 1e9, name.strip()) for time, name in marks]


def fault_before(start):
    """Returns the last fault before a start, if there is one since the leader before."""
    return max((mark for mark in marks if mark[0] <= start), default=(start, "other"))


overlaps, after_pause, gaps, by_fault = 0, [], [], {}
for one, next in pairs:
    start = next["times"][0]
    time, name = fault_before(start)
    ticks = late(one, next)
    if ticks and name == "pause it":
        after_pause.append(len(ticks))
    elif ticks:
        overlaps += 1
        print(f"overlap: token {one['token']} wrote {len(ticks)} times after the start of token {next['token']} ({name})")
    gaps.append((start - max(t for t in one["times"] if t < start)) / 1e6)
    by_fault.setdefault(name, []).append((start - time) / 1e6)
shrunk = sum(one["token"] >= next["token"] for one, next in pairs)
twice = sum(witness["starts"] != 1 for witness in order)

print(f"leaderships                {len(order)}")
print(f"overlaps                   {overlaps}")
print(f"tokens out of order        {shrunk + twice}")
print(f"longest gap                {max(gaps, default=0):.0f} ms")
if marks:
    print(f"writes after a pause       {sum(after_pause)}, of {len(after_pause)} commands")
    print("from the fault to the next start:")
    for name, times in sorted(by_fault.items()):
        print(f"  {name:<40} {len(times):>4} times, median {statistics.median(times):>5.0f} ms, at most {max(times):>5.0f} ms")
sys.exit(1 if overlaps or shrunk or twice else 0)
