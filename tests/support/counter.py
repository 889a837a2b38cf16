"""A command for tests: it reads, changes and writes a counter in a file and one in a Redis server, again and again.

counter.py FOLDER PORT RULE

The rule says when the store compares its token with the largest that it has seen: never, at each write, or at each access.
It adds a line to FOLDER/added, with the sum, once a store has taken an addition, and ends when one refuses it. If GATED is set, it adds
once to the file only, and waits for FOLDER/go-TOKEN between reading and writing.
"""

import fcntl
import os
import socket
import sys
import time

folder, port, rule = sys.argv[1], int(sys.argv[2]), sys.argv[3]
token = int(os.environ["LEADERRUN_FENCING_TOKEN"])
compares = {"never": (), "writes": ("write",), "accesses": ("read", "write")}[rule]


class Refused(Exception):
    pass


def in_file(access, value=None):
    """The store compares under its own lock, as examples/fencing-token/store.sh does."""
    with open(f"{folder}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(f"{folder}/counter") as file:
            largest, stored = map(int, file.read().split())
        if access in compares:
            if token < largest:
                raise Refused
            largest = token
        stored = stored if value is None else value
        with open(f"{folder}/new", "w") as file:
            file.write(f"{largest} {stored}\n")
        os.rename(f"{folder}/new", f"{folder}/counter")
        return stored


SCRIPT = """
local largest = redis.call('GET', 'token') or '0'
if ARGV[1] ~= '' then
  if tonumber(ARGV[1]) < tonumber(largest) then return -1 end
  redis.call('SET', 'token', ARGV[1])
end
if ARGV[2] ~= '' then redis.call('SET', 'counter', ARGV[2]) end
return tonumber(redis.call('GET', 'counter') or '0')
"""

server = socket.create_connection(("127.0.0.1", port))
answers = server.makefile("rb")


def in_redis(access, value=None):
    words = ["EVAL", SCRIPT, "0", str(token) if access in compares else "", "" if value is None else str(value)]
    request = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    server.sendall(f"*{len(words)}\r\n{request}".encode())
    answer = int(answers.readline()[1:])
    if answer < 0:
        raise Refused
    return answer


def between():
    if "GATED" not in os.environ:
        return time.sleep(0.005)
    open(f"{folder}/read-{token}", "w").close()
    while not os.path.exists(f"{folder}/go-{token}"):
        time.sleep(0.002)


def add(store, name):
    value = store("read")
    between()
    store("write", value + 1)
    with open(f"{folder}/added", "a") as log:
        log.write(f"{name} {value + 1}\n")


try:
    add(in_file, "file")
    while "GATED" not in os.environ:
        add(in_redis, "redis")
        add(in_file, "file")
except Refused:
    sys.exit(0)
